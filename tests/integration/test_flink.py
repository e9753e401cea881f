"""The same plans on a real Flink, handed over by a job server that the test starts: the same rows, whatever is killed."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.broker_process import listens_on
from infra.flink.local_flink import LocalFlink
from infra.local_kafka import Address
from pipelines.driver import Driver
from pipelines.failure import StageFailed
from pipelines.runner_settings import RunnerFailed, RunnerSettings
from pipelines.settings import Settings
from tests import flink_kills
from tests.demo_elsewhere import assert_the_same, published
from tests.flink_kills import assert_exact, job_server_in, on_job_server
from tests.kafka_batches import ZSTD, batch
from tests.raw_produce import produce_batch
from tests.worlds import make_world, once, wait_for

KILLS = 5


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFlink]:
    """A job server with a cluster inside, and a worker pool."""
    with job_server_in(tmp_path_factory.mktemp("flink")) as started:
        yield started


def runner(flink: LocalFlink, **more: Any) -> RunnerSettings:
    endpoints = {"job_endpoint": f"127.0.0.1:{flink.job_port}", "worker_pool": f"127.0.0.1:{flink.pool_port}"}
    return RunnerSettings.model_validate({"kind": "flink", **endpoints, **more})


# -- the same rows


@pytest.fixture(scope="module")
def demo(own_kafka: Address, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return published(own_kafka, tmp_path_factory.mktemp("demo"))


def test_rows_and_sums_are_those_of_the_embedded_run_value_by_value(demo: Settings, flink: LocalFlink) -> None:
    assert_the_same(demo, runner(flink))


# -- what workers may do


def test_a_reading_in_two_partitions_of_two_workers_lands_once(
    own_kafka: Address, flink: LocalFlink, tmp_path: Path
) -> None:
    made = on_job_server(make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), flink)
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    for partition in (0, 1):
        records = [made.reading("ann", range(10 * partition, 10 * partition + 20))]
        produce_batch(
            own_kafka.bootstrap, made.topic, partition, batch([(0, key, value, []) for key, value in records], ZSTD)
        )
    (entry,) = [one for one in made.work() if one.kind == "ingest"]
    assert made.landed("sleep") == once(range(30))
    studies: Any = entry.counts["studies"]
    assert studies["sleep"]["duplicate"] == 10
    made.assert_sound()
    assert made.leavings() == []


def test_workers_that_the_task_manager_starts_bring_the_same(
    own_kafka: Address, flink: LocalFlink, tmp_path: Path
) -> None:
    made = on_job_server(
        make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), flink, workers="process", parallelism=1
    )
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    made.publish(made.reading("ann", range(50)))
    made.work()
    assert made.landed("sleep") == once(range(50))


def test_an_error_on_a_worker_is_told_at_once_and_never_tried_again(
    own_kafka: Address, flink: LocalFlink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = on_job_server(make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), flink, parallelism=1)
    made.publish(made.reading("ann", range(50)))
    whole = Driver.plan
    monkeypatch.setattr(Driver, "plan", lambda *a, **k: whole(*a, **k).model_copy(update={"snapshot": "/nowhere"}))
    with pytest.raises(StageFailed, match=r"^FileNotFoundError at pipelines/consent/\w+\.py:\d+$"):
        made.work()
    assert made.entries("ingest") == [] and made.landed("sleep") == Counter()


def test_a_pool_that_was_killed_gives_workers_again(own_kafka: Address, flink: LocalFlink, tmp_path: Path) -> None:
    pool = psutil.Process(flink.status()["worker-pool"])
    (nursery,) = pool.children()
    nursery.kill()
    wait_for(lambda: [one.pid for one in pool.children() if one != nursery] and listens_on(pool, flink.pool_port))
    made = on_job_server(make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), flink, parallelism=1)
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    made.publish(made.reading("ann", range(50)))
    made.work()
    assert made.landed("sleep") == once(range(50))
    assert flink.status()["worker-pool"] == pool.pid
    assert "is begun again" in (flink.folder / "worker-pool.log").read_text("utf-8")


def test_without_a_job_server_it_says_so_and_what_to_do(own_kafka: Address, tmp_path: Path) -> None:
    made = make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",))
    made.settings = made.settings.model_copy(
        update={"runner": RunnerSettings(kind="flink", job_endpoint="127.0.0.1:9")}
    )
    with pytest.raises(
        RunnerFailed, match=r"no job server answers at 127.0.0.1:9: start one with `wellspring flink up`"
    ):
        made.work()


# -- kills


@pytest.mark.timeout(900)
def test_every_reading_lands_once_however_often_drivers_and_workers_are_killed(
    own_kafka: Address, flink: LocalFlink, tmp_path: Path
) -> None:
    found = flink_kills.kill_drivers_and_workers(tmp_path, own_kafka.bootstrap, flink, KILLS, seed=7)
    assert_exact(found, driver=KILLS, worker=KILLS)


@pytest.mark.timeout(900)
def test_every_reading_lands_once_however_often_the_job_server_is_killed_and_the_driver_waits_for_it(
    own_kafka: Address, flink: LocalFlink, tmp_path: Path
) -> None:
    found = flink_kills.kill_job_servers(tmp_path, own_kafka.bootstrap, flink, KILLS, seed=7)
    assert_exact(found, job_server=KILLS)


@pytest.mark.timeout(900)
def test_every_reading_lands_once_however_often_the_task_manager_is_killed(own_kafka: Address, tmp_path: Path) -> None:
    found = flink_kills.kill_task_managers(tmp_path, own_kafka.bootstrap, KILLS, seed=7)
    assert_exact(found, task_manager=KILLS, job_manager=1)
