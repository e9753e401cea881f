"""A record that ends whoever reads it is found and rejected; a bug is not, and neither is what an operator has killed.

What stands in for a crash of native code is a `sitecustomize` in the path of the processes of a test.
"""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from pipelines import attempts
from tests.worlds import ROOT, World, make_world, once, wait_for

MARK = "evil"
PATCH = f"""
import os, signal, time, schemas.contracts
plain = schemas.contracts.decode
def decode(value, contract):
    if b"{MARK}" in value:
        DO
    return plain(value, contract)
schemas.contracts.decode = decode
"""
ABORTS = "os.abort()"
IS_KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
RAISES = 'raise KeyError("a bug")'
HANGS = "open(os.environ['HANGS'], 'w').close(); time.sleep(600)"


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    """Four messages of ten readings each, the third of them marked."""
    made = make_world(tmp_path / "world", broker.bootstrap, studies=("sleep",), partitions=1)
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    for n in range(4):
        marked = {"record_ids": [f"{MARK}{i}" for i in range(10)]} if n == 2 else {}
        made.publish(made.reading("ann", range(n * 10, n * 10 + 10), **marked))
    return made


def environment(world: World, does: str) -> dict[str, str]:
    folder = world.folder / "patch"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(PATCH.replace("DO", does), "utf-8")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "HANGS": str(world.folder / "hangs")}


def run(world: World, does: str) -> subprocess.CompletedProcess[str]:
    """The command, in whose processes the marked record does what it does."""
    words = world._words("run", "--once")
    return subprocess.run(
        words, capture_output=True, text=True, timeout=250, check=False, cwd=ROOT, env=environment(world, does)
    )


def reasons(world: World) -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in world.entries("ingest"):
        rejected: Any = entry.counts["rejected"]
        found.update(rejected)
    return found


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
