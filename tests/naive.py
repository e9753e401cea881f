"""A driver as one would write it without a ledger: files first, then the offsets in a file. It loses or doubles.

It runs the very graph of the real driver; what is visible is what lies in the tables' folders, as a reader of a folder
of Parquet files sees it. It knows nothing of entries, recovery, sweeps or holds.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq

from connectors.ranges import RangeReader
from pipelines.consent.follow import follow
from pipelines.consent.register import Register
from pipelines.consent.snapshot import Snapshots
from pipelines.entries import now_us
from pipelines.plan import Plan, PlannedRange, partition_key
from pipelines.run import run
from schemas.metrics import catalogue
from schemas.registry import load_partners, load_studies
from tests.worlds import World, number_of


class NaiveDriver:
    """Plan, run, note the offsets, and again."""

    def __init__(self, world: World, on_step: Callable[[str], None]) -> None:
        self._world, self._on_step = world, on_step
        self._offsets = world.folder / "offsets.json"
        settings = world.settings
        self._reader = RangeReader(settings.kafka)
        self._register = Register(settings.vault / "register.sqlite")
        studies = load_studies(settings.studies)
        self._snapshots = Snapshots(self._register, settings.vault / "snapshots", studies, catalogue().codes)

    def cycle(self) -> bool:
        """Whether there was anything to do."""
        settings = self._world.settings
        done = self._read_offsets()
        ends = {partition_key(*at): end for at, end in self._reader.end_offsets([self._world.topic]).items()}
        ranges = tuple(_range(key, done.get(key, 0), end) for key, end in ends.items() if end > done.get(key, 0))
        if not ranges:
            return False
        follow(self._reader, self._register, settings.consent_topic, settings.link_topic)
        self._on_step("planned")
        run(self._plan(ranges), self._world.store)
        self._on_step("ran")
        self._write_offsets({**done, **ends})
        self._on_step("offsets")
        return True

    def _plan(self, ranges: tuple[PlannedRange, ...]) -> Plan:
        settings = self._world.settings
        return Plan(
            n=now_us(),
            epoch=1,
            planned_at_us=now_us(),
            hold_us=settings.hold_us,
            ranges=ranges,
            snapshot=str(self._snapshots.refresh().path),
            lake=str(settings.lake),
            vault=str(settings.vault),
            kafka=settings.kafka,
            partners=load_partners(settings.partners),
        )

    def _read_offsets(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self._offsets.read_text()) if self._offsets.exists() else {}
        return found

    def _write_offsets(self, offsets: dict[str, int]) -> None:
        temporary = self._offsets.with_suffix(".new")
        temporary.write_text(json.dumps(offsets))
        os.replace(temporary, self._offsets)


def visible(world: World, study: str) -> Counter[int]:
    """How often a reader of the study's folders meets each numbered reading."""
    found: Counter[int] = Counter()
    for table in ("observation", "quarantine"):
        for key in world.store.list(f"study={study}/{table}/"):
            values: Any = pq.read_table(world.lake_folder / key, columns=["value"]).column("value").to_pylist()
            found.update(number_of(value) for value in values)
    return found


def _range(key: str, start: int, end: int) -> PlannedRange:
    topic, partition = key.rsplit("/", 1)
    return PlannedRange(topic=topic, partition=int(partition), start=start, end=end)
