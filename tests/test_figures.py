"""The figures that `status` and `/metrics` share: what is unread, what came of readings, how fast a lake grows, disks."""

from pathlib import Path
from typing import Any, cast

import pytest

from pipelines import figures
from pipelines.entries import Entry, Kind, TableChange, rfc3339
from pipelines.figures import DAY_US, HOUR_US
from pipelines.files import DataFile
from pipelines.ledger import Ledger
from pipelines.progress import Progress
from tests.lakes import Driver

T = "acme.sensor-reading.v1"


def test_unread_is_what_kafka_still_keeps_beyond_what_was_read() -> None:
    progress = Progress(offsets={f"{T}/0": 10, f"{T}/1": 3})
    begin, end = {(T, 0): 0, (T, 1): 5, (T, 2): 7}, {(T, 0): 14, (T, 1): 9, (T, 2): 9}
    assert figures.unread(progress, begin, end) == {f"{T}/0": 4, f"{T}/1": 4, f"{T}/2": 2}
    assert figures.by_topic(figures.unread(progress, begin, end)) == {T: 10}


def test_what_the_register_has_not_taken_in() -> None:
    assert figures.not_taken_in({("c", 0): 5}, {("c", 0): 8, ("l", 0): 2}) == {("c", 0): 3, ("l", 0): 2}
    assert figures.not_taken_in({("c", 0): 9}, {("c", 0): 8}) == {("c", 0): 0}


def entry(n: int, at_us: int, kind: Kind = Kind.INGEST, size: int = 0, **counts: Any) -> Entry:
    path = f"study=sleep/observation/month=2026-01/{n:012d}-000001-{'0' * 32}.parquet"
    file = DataFile.model_construct(path=path, table="study=sleep/observation", month="2026-01", rows=1, bytes=size)
    tables = {"study=sleep/observation": TableChange.model_construct(add=(file,), remove=())} if size else {}
    return Entry.model_construct(n=n, kind=kind, at=rfc3339(at_us), tables=tables, counts=counts)


def test_outcomes_are_summed_over_the_studies() -> None:
    study = {"withheld": {"A": 1, "B": 2}, "quarantined": 1, "duplicate": 0, "landed": 5}
    found = figures.outcomes_of(entry(1, 0, readings={"decoded": 9, "held": 2}, studies={"a": study, "b": study}))
    assert found == {"decoded": 9, "held": 2, "withheld": 6, "quarantined": 2, "landed": 10}
    assert figures.outcomes_of(entry(1, 0)) is None


def test_a_lake_grows_by_what_came_and_not_by_what_compaction_replaced() -> None:
    entries = [
        entry(3, 3 * HOUR_US, size=100),
        entry(2, 2 * HOUR_US, Kind.COMPACT, 1000),
        entry(1, 1 * HOUR_US, size=50),
    ]
    assert figures.bytes_per_day(entries) == pytest.approx(100 * 24 / 2)  # what entry 1 added came before the span
    assert figures.bytes_per_day([entry(2, HOUR_US - 1, size=9), entry(1, 0)]) is None
    assert figures.bytes_per_day([]) is None


class Entries:
    """A ledger with an entry each hour until hour `last`."""

    def __init__(self, last: int) -> None:
        self.last = last

    def head(self) -> Entry | None:
        return self.read(self.last) if self.last else None

    def read(self, n: int) -> Entry:
        return entry(n, n * HOUR_US)


def test_recent_entries_are_those_of_a_day_and_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = figures.recent_entries(cast(Ledger, Entries(100)), 100 * HOUR_US)
    assert [one.n for one in recent] == list(range(100, 74, -1)) and DAY_US == 24 * HOUR_US
    monkeypatch.setattr(figures, "RECENT", 3)
    assert [one.n for one in figures.recent_entries(cast(Ledger, Entries(100)), 100 * HOUR_US)] == [100, 99, 98]
    assert figures.recent_entries(cast(Ledger, Entries(0)), 0) == []


def test_the_disk_of_a_folder_that_is_not_there_yet_is_its_parents(tmp_path: Path) -> None:
    found = dict(figures.disks({"lake": tmp_path / "a" / "b", "vault": "s3://elsewhere/vault"}))
    assert list(found) == ["lake"] and 0 <= found["lake"].free <= found["lake"].size


def test_a_real_ledgers_entries_are_read(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "lake")
    driver.land("sleep", count=4)
    recent = figures.recent_entries(driver.ledger, driver.ledger.head().at_us)  # type: ignore[union-attr]
    assert [one.n for one in recent] == list(range(driver.ledger.head().n, 0, -1))  # type: ignore[union-attr]
