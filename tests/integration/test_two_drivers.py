"""Two drivers on one lake: the older one is fenced wherever it was stopped, and takes nothing of the newer one's."""

import signal
from pathlib import Path

import pytest

from infra.local_kafka import Address
from pipelines.entries import Fenced
from pipelines.store import FolderStore
from tests.worlds import World, make_world, once, wait_for, work_off

STEPS = ("ran", "append.checked", "append.done", "apply.committed", "told", "compacted")


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    made = make_world(tmp_path, broker.bootstrap, compact_files=2)
    made.consent(made.link("ann"), made.grant("ann", "sleep"), made.grant("ann", "cycle"))
    return made


def files(world: World) -> set[str]:
    """Everything that lies in the lake and in the vault's runs, but for what is rewritten all the time."""
    vault = FolderStore(world.settings.vault)
    kept = (*world.store.list("study="), *world.store.list("_control/ledger/"), *vault.list("runs/"))
    return set(kept)


class TakenOverAt:
    """At the first time that a driver comes to a step, a newer one takes over and works everything off."""

    def __init__(self, world: World, step: str) -> None:
        self.world, self.step = world, step
        self.newer: set[str] = set()
        self.happened = False

    def __call__(self, step: str) -> None:
        if step != self.step or self.happened:
            return
        self.happened = True
        self.world.publish(self.world.reading("ann", range(20, 30)), self.world.reading("bob", range(100, 105)))
        with self.world.driver(take_over=True) as newer:
            work_off(newer)
        self.newer = files(self.world)


@pytest.mark.parametrize("step", STEPS)
def test_a_driver_that_was_overtaken_at_a_step_stops_and_destroys_nothing(world: World, step: str) -> None:
    world.publish(world.reading("ann", range(5)), (b"x", b"no message"))
    with world.driver() as older:
        older.cycle()
        older.on_step = taken = TakenOverAt(world, step)
        world.publish(world.reading("ann", range(10)), world.reading("bob", range(90, 95)))
        with pytest.raises(Fenced):
            older.cycle()
        assert taken.happened
        with pytest.raises(Fenced):
            older.cycle()
    assert taken.newer <= files(world)
    world.consent(world.link("bob"), world.grant("bob", "sleep"))
    world.work()
    assert world.landed("cycle") == once([*range(10), *range(20, 30)])
    assert world.landed("sleep") == once([*range(10), *range(20, 30), *range(90, 95), *range(100, 105)])
    world.assert_sound()


def test_a_paused_command_is_fenced_when_it_goes_on(world: World) -> None:
    world.publish(world.reading("ann", range(10)))
    with world.following("run", "--follow", "--json") as older:
        wait_for(lambda: world.landed("sleep") == once(range(10)))
        older.process.send_signal(signal.SIGSTOP)
        world.publish(world.reading("ann", range(10, 20)))
        refused = world.command("run", "--once")
        assert refused.returncode == 1
        assert "--take-over" in refused.stderr
        taken = world.command("run", "--once", "--take-over")
        assert taken.returncode == 0, taken.stderr
        assert world.landed("sleep") == once(range(20))
        newer = files(world)
        world.publish(world.reading("ann", range(20, 30)))
        older.process.send_signal(signal.SIGCONT)
        assert older.process.wait(120) == 3, older.errors
        assert "another driver has taken over" in older.errors
    assert newer <= files(world)
    assert world.landed("sleep") == once(range(20))
    world.work()
    assert world.landed("sleep") == world.landed("cycle") == once(range(30))
    world.assert_sound()
