"""The same plans on a real Flink, handed over by a job server that the test starts: the same rows, whatever is killed."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.apple_health import FORMAT as APPLE_HEALTH
from connectors.hl7v2 import HL7V2
from connectors.topics import create_topics, wanted_topics
from infra.flink.local_flink import LocalFlink
from infra.local_kafka import Address, LocalKafka
from pipelines.demo.ground import Ground, settle
from pipelines.demo.people import NORTH_LAB, PHONES
from pipelines.demo.publish import publish_consents, publish_kit_events, publish_records, publish_source
from pipelines.demo.world import STUDIES, World, world
from pipelines.driver import Driver
from pipelines.entries import Entry, now_us
from pipelines.failure import StageFailed
from pipelines.lake_check import lake_check
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.runner_settings import RunnerFailed, RunnerSettings
from pipelines.settings import Settings
from pipelines.store import FolderStore
from pipelines.views import sql, tables
from schemas.lab_mapping import load_lab_mapping
from schemas.registry import load_partners
from tests import flink_kills
from tests.flink_kills import job_server_in, on_flink
from tests.kafka_batches import ZSTD, batch
from tests.raw_produce import produce_batch
from tests.worlds import make_world, once, work_off

KILLS = 5


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The topics of the demo have names of their own, which other tests use as well."""
    kafka = LocalKafka(tmp_path_factory.mktemp("kafka"))
    try:
        yield kafka.up()
    finally:
        kafka.down()


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
    """Everything that the demo's people have sent, by every contract, faults and all; nothing of it is read yet."""
    ground = Ground(tmp_path_factory.mktemp("demo"))
    settings = settle(ground, own_kafka)
    partners = load_partners(settings.partners).values()
    create_topics(settings.kafka, wanted_topics(partners, settings.authority, settings.held_us))
    story = world(now_us())
    for act in story.acts:
        publish_consents(settings, story.consent_lines(act.number, now_us() // 1000 * 1000))
        publish_records(settings, act.records, lambda *_: None)
    _publish_doors(story, ground, settings)
    return settings


def _publish_doors(story: World, ground: Ground, settings: Settings) -> None:
    kit, mapping = story.doors.kit, load_lab_mapping(ground.laboratory)
    publish_consents(settings, [*story.doors.consent_lines(), *kit.activation])
    publish_kit_events(settings, NORTH_LAB, [*kit.posted, *kit.resulted])
    folder = ground.folder / "exports"
    folder.mkdir()
    for export in story.doors.exports:
        (folder / export.file).write_bytes(export.content())
        publish_source(settings, APPLE_HEALTH, folder / export.file, PHONES, story.doors.phone.subject)
    for file in (kit.early, kit.final, kit.wrong):
        (folder / file.file).write_text(file.content(), "utf-8")
        publish_source(settings, HL7V2, folder / file.file, NORTH_LAB, mapping=mapping)


def landed(settings: Settings, name: str, runner: RunnerSettings) -> tuple[list[Entry], dict[str, Counter[str]]]:
    """What a lake of this name holds when a driver has worked everything off: entries, and rows by table as texts."""
    folder = settings.lake.parent / name
    shutil.copytree(settings.vault, folder / "vault")
    driver = Driver(settings.model_copy(update={"lake": folder / "lake", "vault": folder / "vault", "runner": runner}))
    try:
        driver.start()
        entries = work_off(driver)
    finally:
        driver.close()
    store = FolderStore(folder / "lake")
    assert lake_check(store, Ledger(store), law=entry_law).problems == []
    found: dict[str, Counter[str]] = {}
    for table in (info.table for info in tables(store)):
        study, family = table.removeprefix("study=").split("/")
        rows = sql(store, f"SELECT * FROM {study.replace('-', '_')}_{family}_all").to_pylist()
        found[table] = Counter(repr(row) for row in rows)
    return entries, found


def test_rows_and_sums_are_those_of_the_embedded_run_value_by_value(demo: Settings, flink: LocalFlink) -> None:
    here, rows_here = landed(demo, "here", RunnerSettings())
    there, rows_there = landed(demo, "there", runner(flink))
    assert set(rows_here) == set(rows_there) and len({table.split("/")[0] for table in rows_here}) == len(STUDIES) - 1
    assert rows_there == rows_here
    assert [sums(entry) for entry in there] == [sums(entry) for entry in here]
    assert sum(map(Counter.total, rows_here.values())) > 10_000


def sums(entry: Entry) -> dict[str, Any]:
    """What an entry counted, but for people: of them it says how many one part of the run had at least."""
    return {name: value for name, value in entry.counts.items() if name != "people"}


# -- what workers may do


def test_a_reading_in_two_partitions_of_two_workers_lands_once(
    own_kafka: Address, flink: LocalFlink, tmp_path: Path
) -> None:
    made = on_flink(make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), flink)
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
    made = on_flink(
        make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), flink, workers="process", parallelism=1
    )
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    made.publish(made.reading("ann", range(50)))
    made.work()
    assert made.landed("sleep") == once(range(50))


def test_an_error_on_a_worker_is_told_at_once_and_never_tried_again(
    own_kafka: Address, flink: LocalFlink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = on_flink(make_world(tmp_path / "world", own_kafka.bootstrap, studies=("sleep",)), flink, parallelism=1)
    made.publish(made.reading("ann", range(50)))
    whole = Driver.plan
    monkeypatch.setattr(Driver, "plan", lambda *a, **k: whole(*a, **k).model_copy(update={"snapshot": "/nowhere"}))
    with pytest.raises(StageFailed, match=r"^FileNotFoundError at pipelines/consent/\w+\.py:\d+$"):
        made.work()
    assert made.entries("ingest") == [] and made.landed("sleep") == Counter()


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
    flink_kills.kill_drivers_and_workers(tmp_path, own_kafka.bootstrap, flink, KILLS, seed=7)


@pytest.mark.timeout(900)
def test_every_reading_lands_once_however_often_the_task_manager_is_killed(own_kafka: Address, tmp_path: Path) -> None:
    flink_kills.kill_task_managers(tmp_path, own_kafka.bootstrap, KILLS, seed=7)
