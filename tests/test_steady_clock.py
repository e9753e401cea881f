"""A driver's time: it follows the machine's clock, but not a step that nobody can have meant."""

import pytest

from pipelines.steady_clock import SteadyClock, _since_boot_us

MINUTE = 60_000_000
START = 1_700_000_000_000_000


class Machine:
    """A machine whose clock can be set: `run` lets time go by, `set` steps the clock."""

    def __init__(self) -> None:
        self.wall, self.since_boot, self.said = START, 5 * MINUTE, list[str]()
        self.clock = SteadyClock(self.said.append, lambda: self.wall, lambda: self.since_boot)

    def run(self, us: int) -> int:
        self.wall += us
        self.since_boot += us
        return self.clock()

    def set(self, by: int) -> int:
        self.wall += by
        return self.clock()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_is_the_machines_clock(machine: Machine) -> None:
    assert machine.run(0) == START
    assert machine.run(90 * MINUTE) == START + 90 * MINUTE
    assert machine.said == []


@pytest.mark.parametrize("by", [MINUTE, -MINUTE])
def test_small_steps_are_followed_however_many(machine: Machine, by: int) -> None:
    for count in range(1, 100):
        assert machine.set(by) == START + count * by
    assert machine.said == []


@pytest.mark.parametrize(("by", "way"), [(3 * 1440 * MINUTE, "forward"), (-3 * 1440 * MINUTE, "back")])
def test_a_large_step_is_told_once_and_not_followed(machine: Machine, by: int, way: str) -> None:
    assert machine.set(by) == START
    assert machine.run(10 * MINUTE) == START + 10 * MINUTE
    assert len(machine.said) == 1
    assert f"was set {way} by 4320 minutes" in machine.said[0]


def test_a_clock_that_is_set_right_again_is_followed_again(machine: Machine) -> None:
    machine.set(60 * MINUTE)
    assert machine.set(-60 * MINUTE + 3) == START + 3
    assert machine.run(MINUTE) == START + MINUTE + 3
    machine.set(60 * MINUTE)
    assert len(machine.said) == 2


def test_time_since_the_start_goes_on() -> None:
    assert 0 < _since_boot_us() <= _since_boot_us()
