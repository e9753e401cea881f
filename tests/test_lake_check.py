import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from pipelines.entries import Entry, Kind, TableChange
from pipelines.lake_check import Report, lake_check
from pipelines.ledger import Ledger
from schemas.families import FAMILIES
from tests.lakes import JAN, Crash, CrashAt, Driver, rows

A = "study=a/observation"


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    driver = Driver(tmp_path)
    driver.land("a", "b")
    driver.land("a")
    return driver


def check(driver: Driver) -> Report:
    return lake_check(driver.store, Ledger(driver.store))


def last_file(driver: Driver) -> Path:
    return driver.store.root / max(file.path for file in driver.tables.live_files(A))


def test_a_sound_lake_has_no_problems_and_its_report_is_json(driver: Driver) -> None:
    report = check(driver)
    assert (report.problems, report.waiting, report.leavings) == ([], [], [])
    table = report.tables[A]
    assert (table.files, table.rows, table.entry, table.version) == (2, 6, 3, 1)
    assert (report.entries, report.epoch) == (3, 1)
    assert json.loads(json.dumps(report.as_json()))["sound"] is True


def test_a_missing_file_is_told(driver: Driver) -> None:
    last_file(driver).unlink()
    assert [p.partition(".parquet")[2] for p in check(driver).problems] == [" is missing"]


def test_a_file_of_another_size_or_that_cannot_be_read_is_told(driver: Driver) -> None:
    path = last_file(driver)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert "bytes where" in check(driver).problems[0]
    path.write_bytes(b"\0" * len(content))
    assert "cannot be read" in check(driver).problems[0]


def test_a_file_with_other_rows_than_the_ledger_counted_is_told(driver: Driver) -> None:
    path = last_file(driver)
    pq.write_table(rows(FAMILIES["observation"], 2), path)
    entry = driver.ledger.read(3)
    file = entry.tables[A].add[0].model_copy(update={"bytes": path.stat().st_size})
    forged = entry.model_copy(update={"tables": {A: TableChange(add=(file,))}})
    driver.store.put("_control/ledger/000000000003.json", forged.model_dump_json().encode())
    log = driver.store.root / A / "_delta_log/00000000000000000001.json"
    log.write_text(log.read_text().replace(f'"size":{entry.tables[A].add[0].bytes}', f'"size":{file.bytes}'))
    assert [p.partition(".parquet")[2] for p in check(driver).problems] == [" has 2 rows where the ledger counted 3"]


def test_a_commit_of_something_else_is_told(driver: Driver) -> None:
    DeltaTable(str(driver.store.root / A)).delete()
    problems = check(driver).problems
    assert "is at version 2; entry 3 was its commit 2" in problems[0]
    assert "lacks" in problems[1]
    assert "lacks" in problems[2]


def test_a_table_that_lacks_an_applied_entry_is_told_and_a_waiting_one_only_noted(driver: Driver) -> None:
    entry = driver.entry([driver.file("a", rows(FAMILIES["observation"], 1, 9000))])
    with pytest.raises(Crash):
        driver.tables.append_and_apply(entry, CrashAt(1))
    report = check(driver)
    assert (report.problems, report.waiting) == ([], [f"{A} does not hold entry 4"])
    Driver(driver.store.root).land("b")
    (driver.store.root / A / "_delta_log/00000000000000000002.json").unlink()
    assert f"{A} does not hold entry 4" in check(driver).problems


def test_leavings_files_in_the_making_and_strangers_are_told_apart(driver: Driver) -> None:
    leaving = driver.file("a", rows(FAMILIES["observation"], 1))
    gone = min(file.path for file in driver.tables.live_files(A))
    newer = Driver(driver.store.root)
    change = {A: TableChange(remove=(gone,))}
    newer.tables.append_and_apply(newer.ledger.draft(Kind.DISCARD, JAN, cause={}, tables=change))
    making = newer.file("a", rows(FAMILIES["observation"], 1))
    driver.store.put_new("study=a/observation/notes.txt", b"")
    driver.store.put_new("study=z/observation/_delta_log/00000000000000000000.json", b"{}")
    report = check(driver)
    assert sorted(report.leavings) == sorted(
        [
            f"{leaving.path}: no entry names it, and its driver is gone",
            f"{gone}: removed, kept for readers until its grace is over",
        ]
    )
    assert report.waiting == [f"{making.path}: written, and not in the ledger yet"]
    assert report.problems == [
        "study=a/observation/notes.txt is not a file of the lake",
        "study=z/observation is not in the ledger",
    ]


def test_a_broken_ledger_is_told(driver: Driver) -> None:
    driver.land("a")
    driver.store.put("_control/ledger/000000000003.json", driver.ledger.read(3).model_dump_json(indent=1).encode())
    assert check(driver).problems == ["entry 4 of the ledger does not follow the entry before it"]
    driver.store.delete("_control/ledger/000000000003.json")
    assert check(driver).problems == ["the ledger has no entry 3, but has entry 4"]


def test_the_sums_of_every_entry_are_asked_for(driver: Driver) -> None:
    def law(entry: Entry) -> Iterator[str]:
        landed = sum(file.rows for change in entry.tables.values() for file in change.add)
        if landed == 3:
            yield f"{landed} rows landed, which is too many"

    report = lake_check(driver.store, driver.ledger, law=law)
    assert report.problems == ["entry 3: 3 rows landed, which is too many"]


def test_a_damaged_log_is_told(driver: Driver) -> None:
    (driver.store.root / A / "_delta_log/00000000000000000000.json").write_bytes(b"{")
    assert f"{A} cannot be opened: its log is damaged" in check(driver).problems
