"""A clock that is set, before or while a driver is at work: nothing that is held expires by it, and moments keep order."""

from pathlib import Path

import pytest

from infra.local_kafka import Address
from pipelines import steady_clock
from pipelines.entries import now_us
from tests.worlds import DAY, HOUR, World, make_world, once, work_off


class Machine:
    """A machine's clock, which a test sets."""

    def __init__(self) -> None:
        self.ahead = 0
        self.said: list[str] = []

    def __call__(self) -> int:
        return now_us() + self.ahead


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(steady_clock.SteadyClock.__init__, "__defaults__", (made, None))
    return made


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    """Ann's readings wait for her link."""
    made = make_world(tmp_path, broker.bootstrap, studies=("sleep",))
    made.publish(made.reading("ann", range(10)))
    return made


def test_a_step_of_days_lets_nothing_expire(world: World, machine: Machine) -> None:
    with world.driver(say=machine.said.append) as driver:
        work_off(driver)
        machine.ahead = 30 * DAY
        assert work_off(driver) == []
        world.consent(world.link("ann"), world.grant("ann", "sleep"))
        work_off(driver)
    assert world.landed("sleep") == once(range(10))
    assert [line for line in machine.said if "was set forward by 43200 minutes" in line]


def test_time_that_goes_by_lets_holds_expire(world: World) -> None:
    """So that the test before can fail."""
    world.work()
    world.work(clock=lambda: now_us() + 30 * DAY)
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.work()
    assert not world.landed("sleep")


def test_a_driver_that_starts_with_a_clock_that_is_late_says_so_and_keeps_the_order(
    world: World, machine: Machine
) -> None:
    world.work()
    machine.ahead = -3 * HOUR
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    with world.driver(say=machine.said.append) as driver:
        work_off(driver)
    assert any("minutes behind the last entry" in line for line in machine.said)
    moments = [entry.at_us for entry in world.entries()]
    assert moments == sorted(moments)
    assert world.landed("sleep") == once(range(10))
    world.assert_sound()
