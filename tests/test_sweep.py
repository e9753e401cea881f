import os
from pathlib import Path

import pytest

from pipelines.entries import Fenced, Kind, LakeError, TableChange
from pipelines.files import new_key
from pipelines.ledger import Ledger
from pipelines.store import FolderStore
from pipelines.sweep import GRACE_US, Swept, clear_removed, sweep
from schemas.families import FAMILIES
from tests.lakes import HOUR, JAN, Driver, keys_landed, rows

A = "study=a/observation"


def data_files(store: FolderStore) -> set[str]:
    return {key for key in store.list("study=") if key.endswith(".parquet")}


def leave_file(driver: Driver) -> str:
    """A plan that wrote a file and died."""
    return driver.file("a", rows(FAMILIES["observation"], 1)).path


def test_files_of_a_dead_driver_that_no_entry_names_go_and_nothing_else(tmp_path: Path) -> None:
    dead = Driver(tmp_path)
    dead.land("a")
    leaving = leave_file(dead)
    stranger = "study=a/observation/notes.txt"
    dead.store.put_new(stranger, b"somebody's")
    driver = Driver(tmp_path)
    kept = driver.land("a"), leave_file(driver)
    before = set(driver.store.list(""))
    assert sweep(driver.store, driver.ledger, JAN) == Swept(1, 0)
    assert before - set(driver.store.list("")) == {leaving}
    assert kept[1] in data_files(driver.store)
    assert driver.store.exists(stranger)
    assert len(keys_landed(driver.store, A)) == 6


def test_a_file_that_an_entry_names_stays_though_no_table_shows_it(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    path = driver.land("a").tables[A].add[0].path
    gone = {A: TableChange(remove=(path,))}
    driver.tables.append_and_apply(driver.ledger.draft(Kind.DISCARD, JAN, cause={}, tables=gone))
    driver = Driver(tmp_path)
    assert sweep(driver.store, driver.ledger, JAN) == Swept(0, 0)
    assert driver.store.exists(path)


def test_an_older_driver_destroys_no_file_of_a_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Driver(tmp_path)
    new = Driver(tmp_path)
    path = leave_file(new)
    with pytest.raises(Fenced):
        sweep(old.store, old.ledger, JAN)
    head = old.ledger.read(1)
    monkeypatch.setattr(old.ledger, "head", lambda: head)  # it was paused after it had asked
    assert sweep(old.store, old.ledger, JAN) == Swept(0, 0)
    assert new.store.exists(path)


def test_who_has_not_taken_over_sweeps_nothing(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    with pytest.raises(LakeError):
        sweep(driver.store, Ledger(driver.store), JAN)


def test_temporary_files_go_with_their_driver_or_with_age(tmp_path: Path) -> None:
    store = Driver(tmp_path).store
    driver = Driver(tmp_path)
    dead, mine = store.temp_path(new_key(A, "2025-01", 2, 1)), store.temp_path(new_key(A, "2025-01", 3, 2))
    entry, old_entry = store.temp_path("_control/ledger/1.json"), store.temp_path("_control/ledger/2.json")
    for temp in (dead, mine, entry, old_entry):
        temp.write_bytes(b"")
        os.utime(temp, ns=(JAN * 1000, JAN * 1000))
    os.utime(old_entry, ns=((JAN - 2 * HOUR) * 1000,) * 2)
    assert sweep(store, driver.ledger, JAN) == Swept(0, 2)
    assert (dead.exists(), mine.exists(), entry.exists(), old_entry.exists()) == (False, True, True, False)


def test_removed_files_are_deleted_after_the_grace_by_the_entries_that_removed_them(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    path = driver.land("a").tables[A].add[0].path
    kept = driver.land("a").tables[A].add[0].path
    gone = {A: TableChange(remove=(path,))}
    driver.tables.append_and_apply(driver.ledger.draft(Kind.DISCARD, JAN, cause={}, tables=gone))
    standing = driver.tables.standing
    clear_removed(driver.store, driver.ledger, standing, JAN + GRACE_US - 1)
    assert driver.store.exists(path)
    assert clear_removed(driver.store, driver.ledger, standing, JAN + GRACE_US) == 4
    assert data_files(driver.store) == {kept}
    driver.tables.save()
    again = Driver(tmp_path)
    assert clear_removed(again.store, again.ledger, again.tables.standing, JAN + 2 * GRACE_US) == 1
    assert keys_landed(again.store, A) == [3000, 3001, 3002]
