"""A record that ends the workers of a job: two jobs fail for it, and the driver finds it in a process of its own."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from infra.flink.local_flink import LocalFlink
from infra.local_kafka import Address
from pipelines import attempts
from tests.flink_kills import job_server_in, on_job_server, started
from tests.poisoned import ABORTS, IS_KILLED, environment, marked_world, reasons, run
from tests.prism import prism_in
from tests.worlds import World, once

RESTARTS = 1  # of a job of Flink's; sixty would do as well, and take minutes


@pytest.fixture
def world(broker: Address, tmp_path: Path) -> World:
    return marked_world(tmp_path, broker.bootstrap)


def for_workers(world: World, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is started from now on does that when it reads the marked record."""
    for name, value in environment(world, does).items():
        monkeypatch.setenv(name, value)


@pytest.mark.timeout(900)
def test_a_record_that_ends_workers_on_flink_is_rejected_and_its_neighbours_land(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_workers(world, ABORTS, monkeypatch)
    with job_server_in(tmp_path / "flink", retries=RESTARTS) as flink:
        on_job_server(world, flink, parallelism=1)
        assert_found(world, flink, ABORTS, signal.SIGABRT)


@pytest.mark.timeout(900)
def test_a_record_that_ends_workers_on_prism_is_rejected_and_its_neighbours_land(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_workers(world, IS_KILLED, monkeypatch)
    prism = prism_in(tmp_path / "prism")
    with started(prism):
        on_job_server(world, prism, kind="prism")
        assert_found(world, prism, IS_KILLED, signal.SIGKILL)


def assert_found(world: World, local: LocalFlink, does: str, number: signal.Signals) -> None:
    """It is found after two jobs that failed, and jobs go on after it."""
    for _ in range(attempts.DEATHS):
        local.up()  # as a supervisor would, where it has ended with its workers
        failed = run(world, does)
        assert failed.returncode == 1 and "the job failed" in failed.stderr, failed.stderr
        assert world.entries("ingest") == [] and world.store.exists(attempts.KEY)
    survivor = run(world, does)
    assert survivor.returncode == 0, survivor.stderr
    found = f"{world.topic}/0 offset 2 has ended its process twice ({number.name}): rejected, R_POISON"
    assert "runs have died twice over the same 4 records" in survivor.stderr and found in survivor.stderr
    assert world.landed("sleep") == once([*range(20), *range(30, 40)])
    assert reasons(world) == Counter(R_POISON=1)
    assert [(one["offset"], one["reason"]) for one in world.rejected()] == [(2, "R_POISON")]
    assert world.leavings() == []
    world.publish(world.reading("ann", range(40, 50)))
    after = run(world, does)
    assert after.returncode == 0 and "runs have died" not in after.stderr, after.stderr
    assert world.landed("sleep") == once([*range(20), *range(30, 50)])
    assert not world.store.exists(attempts.KEY) and list(world.store.list("_control/manifests/")) == []
    world.assert_sound()
