"""The same plans on Beam's Prism, which is one process: the same rows, whatever is killed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from pipelines.blocks import Block
from pipelines.runner_settings import RunnerSettings, RunnerUnreachable
from pipelines.settings import Settings
from pipelines.stages import Decode
from tests import flink_kills
from tests.demo_elsewhere import assert_the_same, published
from tests.flink_kills import assert_exact, on_job_server, started
from tests.prism import LocalPrism, prism_in
from tests.worlds import make_world, once

KILLS = 3
ANSWER_S = 4


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPrism]:
    """Prism and a worker pool."""
    local = prism_in(tmp_path_factory.mktemp("prism"))
    with started(local):
        yield local


def runner(prism: LocalPrism, **more: Any) -> RunnerSettings:
    endpoints = {"job_endpoint": f"127.0.0.1:{prism.job_port}", "worker_pool": f"127.0.0.1:{prism.pool_port}"}
    return RunnerSettings.model_validate({"kind": "prism", **endpoints, **more})


def test_rows_and_sums_are_those_of_the_embedded_run_value_by_value(
    own_kafka: Address, prism: LocalPrism, tmp_path: Path
) -> None:
    demo: Settings = published(own_kafka, tmp_path)
    assert_the_same(demo, runner(prism))


@pytest.mark.parametrize("workers", ["external", "process", "loopback"])
def test_workers_of_each_kind_bring_the_same(
    workers: str, own_kafka: Address, prism: LocalPrism, tmp_path: Path
) -> None:
    made = on_job_server(
        make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), prism, kind="prism", workers=workers
    )
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    made.publish(made.reading("ann", range(50)))
    made.work()
    assert made.landed("sleep") == once(range(50))
    assert "Logging client failed" not in (prism.folder / "worker-pool.log").read_text("utf-8")


def test_a_job_may_take_longer_than_an_answer_of_its_server(
    own_kafka: Address, prism: LocalPrism, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beam's own streams of what becomes of a job end then, and it would seem that Prism is away."""
    quick = Decode.each

    def slow(stage: Decode, block: Block) -> Iterator[Block | str]:
        time.sleep(2 * ANSWER_S)
        yield from quick(stage, block)

    monkeypatch.setattr(Decode, "each", slow)
    options = [f"--job_server_timeout={ANSWER_S}"]
    made = make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",))
    on_job_server(made, prism, kind="prism", workers="loopback", options=options)
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    made.publish(made.reading("ann", range(50)))
    made.work()
    assert made.landed("sleep") == once(range(50))


def test_prism_ends_where_no_pool_answers_and_the_driver_says_that_it_is_gone(
    own_kafka: Address, prism: LocalPrism, tmp_path: Path
) -> None:
    made = on_job_server(make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), prism, kind="prism")
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    made.publish(made.reading("ann", range(50)))
    prism.kill("worker-pool")
    with pytest.raises(RunnerUnreachable):
        made.work()
    assert prism.status()["job-server"] is None
    prism.up()
    made.work()
    assert made.landed("sleep") == once(range(50))


def test_without_prism_it_says_so_and_what_to_do(own_kafka: Address, tmp_path: Path) -> None:
    made = make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",))
    away = RunnerSettings(kind="prism", job_endpoint="127.0.0.1:9")
    made.settings = made.settings.model_copy(update={"runner": away})
    with pytest.raises(
        RunnerUnreachable,
        match=r"^no Prism answers at 127.0.0.1:9: start it with `prism --job_port=9 --serve_http=false`",
    ):
        made.work()


@pytest.mark.timeout(900)
def test_every_reading_lands_once_however_often_drivers_and_prism_are_killed(
    own_kafka: Address, prism: LocalPrism, tmp_path: Path
) -> None:
    with flink_kills.killing(tmp_path, own_kafka.bootstrap, prism, seed=7, kind="prism") as one:
        one.drivers(KILLS)
        one.job_servers(KILLS)
    assert_exact(one.figures, driver=KILLS, job_server=KILLS)
