"""A record that ends the workers of a job: two jobs fail for it, and the driver finds it in a process of its own."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from infra.local_kafka import Address
from pipelines import attempts
from tests.flink_kills import job_server_in, on_job_server
from tests.poisoned import ABORTS, IS_KILLED, environment, marked_world, reasons, run
from tests.worlds import once

RESTARTS = 1  # of a job; sixty would do as well, and take minutes


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("workers", "does", "number"), [("external", ABORTS, signal.SIGABRT), ("process", IS_KILLED, signal.SIGKILL)]
)
def test_a_record_that_ends_workers_on_flink_is_rejected_and_its_neighbours_land(
    workers: str, does: str, number: signal.Signals, broker: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = marked_world(tmp_path, broker.bootstrap)
    for name, value in environment(world, does).items():
        monkeypatch.setenv(name, value)  # for whatever starts workers
    with job_server_in(tmp_path / "flink", retries=RESTARTS) as flink:
        on_job_server(world, flink, workers=workers, parallelism=1)
        for _ in range(attempts.DEATHS):
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
