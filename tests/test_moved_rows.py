"""A decision about many rows goes through in parts: several files, each in order, the same rows, little at once."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import chosen_rows, moved_rows
from pipelines.check_counts import TakenOut
from pipelines.entries import Entry
from pipelines.files import family_of
from pipelines.lake_check import lake_check
from pipelines.law import entry_law
from pipelines.moved_rows import MovedRows, Uncounted
from quality.checks import Severity, checks
from schemas.families import FAMILIES, QUARANTINE
from tests.canaries import member, subject
from tests.lakes import rows
from tests.offline import Offline
from tests.readings import DAY, NOON, grant, linked, message
from tests.recount import counted, standing

PEOPLE = ("ann", "ben", "cat")
A_FILE = 4_000


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of quarantine with impossible heart rates of three people among flagged ones that have landed."""
    folder = tmp_path_factory.mktemp("landed") / "lake"
    made = Offline(folder)
    for person in PEOPLE:
        made.consent(linked(subject(person), member(person)), grant(member(person)))
    for day in range(3):
        values = [*range(400, 420), *range(241, 249)]
        made.land(*(message(subject(person), values, start=NOON + day * DAY // 4) for person in PEOPLE), offset=day * 3)
    made.close()
    return folder


@pytest.fixture
def opened(tmp_path: Path, landed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Offline]]:
    """Copies of it, in which one person may decide about impossible values."""
    mild = {**checks(), "PL-00": checks()["PL-00"].model_copy(update={"severity": Severity.WARNING})}
    monkeypatch.setattr("quality.chosen.checks", lambda: mild)
    lakes: list[Offline] = []

    def copy(name: str) -> Offline:
        shutil.copytree(landed, tmp_path / name)
        lakes.append(Offline(tmp_path / name, there=True))
        return lakes[-1]

    yield copy
    for lake in lakes:
        lake.close()


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on very little fits into a file, and very few rows are read at once."""

    def lower() -> None:
        monkeypatch.setattr(moved_rows, "FILE_BYTES", A_FILE)
        monkeypatch.setattr(moved_rows, "HELD_BYTES", A_FILE)
        monkeypatch.setattr(moved_rows, "COUNTED_ROWS", 5)
        monkeypatch.setattr(chosen_rows, "STRETCH", 3)

    return lower


DECISIONS: list[tuple[str, dict[str, Any], str]] = [
    ("release", {"check": "PL-00", "expected": 180}, "observation"),
    ("discard", {"check": "PL-00", "expected": 180}, "discarded"),
    ("recall", {"check": "PL-01", "expected": 72}, "quarantine"),
]


def content(lake: Offline) -> list[str]:
    views = ("observation", "quarantine", "discarded", "check_count")
    return sorted(json.dumps([view, row], default=str) for view in views for row in told(lake, view))


def told(lake: Offline, view: str) -> list[dict[str, Any]]:
    """Rows without what no two lakes have in common, each count summed."""
    if view == "check_count":
        return [{"of": repr(key), "counts": counts} for key, counts in sorted(counted(lake.world, "sleep").items())]
    return lake.world.rows("sleep", view=view)


def in_order(lake: Offline, entry: Entry) -> bool:
    files = [file for change in entry.tables.values() for file in change.add]
    return all(_is_sorted(lake, file.path, FAMILIES[family_of(file.table)].sort_key) for file in files)


def _is_sorted(lake: Offline, path: str, key: tuple[str, ...]) -> bool:
    with lake.driver.store.open_file(path) as source:
        found = [tuple(row[name] for name in key) for row in pq.ParquetFile(source).read(columns=list(key)).to_pylist()]
    return found == sorted(found)


@pytest.mark.parametrize(("kind", "about", "comes_to"), DECISIONS)
def test_a_decision_about_many_rows_makes_several_files_with_the_same_rows(
    opened: Callable[[str], Offline], little: Callable[[], None], kind: str, about: dict[str, Any], comes_to: str
) -> None:
    at_once, in_parts = opened("at_once"), opened("in_parts")
    whole = at_once.decided(kind, about)
    little()
    entry = in_parts.decided(kind, about)
    table = f"study=sleep/{comes_to}"
    assert len(whole.tables[table].add) == 1 and len(entry.tables[table].add) > 3
    assert content(in_parts) == content(at_once)
    assert in_order(in_parts, entry) and in_order(at_once, whole)
    assert lake_check(in_parts.driver.store, in_parts.driver.ledger, law=entry_law).problems == []
    assert counted(in_parts.world, "sleep") == standing(in_parts.world, "sleep")


def test_what_stays_of_a_large_file_is_written_again_in_parts(
    opened: Callable[[str], Offline], little: Callable[[], None]
) -> None:
    lake = opened("lake")
    before = lake.values()
    little()
    entry = lake.decided("recall", {"day": "2025-03-14", "check": "PL-01", "expected": 48})
    assert len(entry.tables["study=sleep/observation"].add) == 0, "nothing but flagged rows has landed"
    entry = lake.decided("discard", {"check": "PL-00", "day": "2025-03-14", "expected": 120})
    assert in_order(lake, entry) and len(lake.values("quarantine")) == 60 + 48
    some = {"rows": [_number(row) for row in lake.world.rows("sleep", view="quarantine")[::5]]}
    entry = lake.decided("release", {**some, "expected": len(some["rows"])})
    assert len(entry.tables["study=sleep/quarantine"].add) > len(entry.tables["study=sleep/quarantine"].remove)
    assert in_order(lake, entry)
    assert len(lake.values()) + len(lake.values("quarantine")) == len(before) + 60
    assert counted(lake.world, "sleep") == standing(lake.world, "sleep")


def _number(row: dict[str, Any]) -> str:
    return f"{row['key64'] % 2**64:016x}"


@pytest.mark.parametrize(("kind", "about", "comes_to"), DECISIONS)
def test_no_more_rows_are_gathered_than_a_file_takes(
    opened: Callable[[str], Offline],
    little: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    about: dict[str, Any],
    comes_to: str,
) -> None:
    written: list[int] = []
    write = MovedRows._write

    def note(moved: Any, table: str, month: str, rows: Any) -> None:
        written.append(rows.nbytes)
        write(moved, table, month, rows)

    monkeypatch.setattr(MovedRows, "_write", note)
    little()
    opened("lake").decided(kind, about)
    assert len(written) > 3 and max(written) < 2 * A_FILE, comes_to


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 7, 100])
def test_portions_of_rows_that_are_uncounted_end_with_a_message(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Whether there were enough readings to be compared is known of whole messages only."""
    origins = [b"a"] * 6 + [b"b"] * 2 + [b"c"] * 5 + [b"d"]
    table = rows(QUARANTINE, len(origins), origin=origins, metric=["weight"] * len(origins))
    whole = TakenOut()
    whole.add(table, table.column("family"))
    monkeypatch.setattr(moved_rows, "COUNTED_ROWS", at_once)
    uncounted = Uncounted()
    for begin in range(0, len(origins), 3):
        uncounted.add(table.slice(begin, 3))
    assert sums(uncounted.finish()) == sums(whole)


def sums(taken: TakenOut) -> dict[str, int]:
    found: dict[str, int] = {}
    for groups in taken._groups.values():
        for group in groups:
            key = repr({**group, "count_all": None})
            found[key] = found.get(key, 0) + group["count_all"]
    return found
