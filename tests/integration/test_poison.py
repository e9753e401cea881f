"""A record that ends its process is found and rejected; a bug is not, and neither is what an operator has killed."""

import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from infra.local_kafka import Address
from pipelines import attempts
from tests.poisoned import ABORTS, HANGS, IS_KILLED, RAISES, environment, marked_world, reasons, run
from tests.worlds import ROOT, World, once, wait_for


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    return marked_world(tmp_path, broker.bootstrap)


@pytest.mark.parametrize(("does", "number"), [(ABORTS, signal.SIGABRT), (IS_KILLED, signal.SIGKILL)])
def test_a_record_that_ends_its_process_is_rejected_and_its_neighbours_land(
    does: str, number: signal.Signals, world: World
) -> None:
    for _ in range(attempts.DEATHS):
        assert run(world, does).returncode == -number
    assert world.entries("ingest") == []
    survivor = run(world, does)
    assert survivor.returncode == 0, survivor.stderr
    assert (
        f"{world.topic}/0 offset 2 has ended its process twice ({number.name}): rejected, R_POISON" in survivor.stderr
    )
    assert world.landed("sleep") == once([*range(20), *range(30, 40)])
    assert reasons(world) == Counter(R_POISON=1)
    told = world.rejected()
    assert [(one["offset"], one["reason"], one["readings"]) for one in told] == [(2, "R_POISON", 0)]
    assert not world.store.exists(attempts.KEY) and list(world.store.list("_control/manifests/")) == []
    world.assert_sound()
    assert world.leavings() == []


def test_a_bug_is_loud_each_time_and_no_poison(world: World) -> None:
    for _ in range(attempts.DEATHS + 1):
        failed = run(world, RAISES)
        assert failed.returncode == 1 and "KeyError" in failed.stderr
    assert not world.store.exists(attempts.KEY) and world.entries("ingest") == []
    world.work()
    assert world.landed("sleep") == once(range(40))


def test_what_operators_kill_is_no_poison(world: World) -> None:
    """However often it was in the midst of the same record."""
    hangs = world.folder / "hangs"
    for _ in range(attempts.DEATHS + 1):  # the last one is killed with its own process in the midst of it
        process = subprocess.Popen(world._words("run", "--once"), cwd=ROOT, env=environment(world, HANGS))
        wait_for(hangs.exists)
        process.kill()
        process.wait()
        hangs.unlink()
    survivor = run(world, "pass")
    assert survivor.returncode == 0 and "a process of its own" in survivor.stderr
    assert (world.landed("sleep"), reasons(world)) == (once(range(40)), Counter())
    assert not world.store.exists(attempts.KEY)
    world.assert_sound()
