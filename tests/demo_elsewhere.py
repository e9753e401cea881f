"""The demo's world on another runner than the embedded one: whether the lake holds the same rows, value by value."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from connectors.apple_health import FORMAT as APPLE_HEALTH
from connectors.hl7v2 import HL7V2
from connectors.topics import create_topics, wanted_topics
from infra.local_kafka import Address
from pipelines.demo.ground import Ground, settle
from pipelines.demo.people import NORTH_LAB, PHONES
from pipelines.demo.publish import publish_consents, publish_kit_events, publish_records, publish_source
from pipelines.demo.world import STUDIES, World, world
from pipelines.driver import Driver
from pipelines.entries import Entry, now_us
from pipelines.lake_check import lake_check
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.runner_settings import RunnerSettings
from pipelines.settings import Settings
from pipelines.store import FolderStore
from pipelines.views import sql, tables
from schemas.lab_mapping import load_lab_mapping
from schemas.registry import load_partners
from tests.worlds import work_off


def published(kafka: Address, folder: Path) -> Settings:
    """Everything that the demo's people have sent, by every contract, faults and all; nothing of it is read yet."""
    ground = Ground(folder)
    settings = settle(ground, kafka)
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


def assert_the_same(demo: Settings, runner: RunnerSettings) -> None:
    """The runner brings what the embedded one brings, and counts it so."""
    here, rows_here = landed(demo, "here", RunnerSettings())
    there, rows_there = landed(demo, "there", runner)
    assert set(rows_here) == set(rows_there) and len({table.split("/")[0] for table in rows_here}) == len(STUDIES) - 1
    assert rows_there == rows_here
    assert [sums(entry) for entry in there] == [sums(entry) for entry in here]
    assert sum(map(Counter.total, rows_here.values())) > 10_000


def sums(entry: Entry) -> dict[str, Any]:
    """What an entry counted, but for people: of them it says how many one part of the run had at least."""
    return {name: value for name, value in entry.counts.items() if name != "people"}
