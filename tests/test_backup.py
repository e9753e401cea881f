"""Copies of a lake without a driver at work in another process: what of it is copied, and what when it goes on meanwhile."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import backup, delta
from pipelines.backup import Copied, Side, copy
from pipelines.copy_check import copy_check
from pipelines.entries import Kind, TableChange
from pipelines.lake_check import lake_check
from pipelines.lake_copy import CopyRefused
from pipelines.ledger import Ledger
from pipelines.requests import Asked, ask, everything, remove
from pipelines.store import FolderStore
from pipelines.sweep import clear_removed
from schemas.families import FAMILIES
from tests.lakes import HOUR, JAN, Driver, keys_landed, rows

TABLE = "study=sleep/observation"


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path / "lake")


@pytest.fixture
def target(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "copy")


def quiet(what: str, done: int, of: int) -> None:
    """Nobody listens."""


def copied(driver: Driver, target: FolderStore, tell: Any = quiet) -> Copied:
    return copy(Side(driver.store, None), Side(target, None), target.root.parent / "work", tell)


def whole(target: FolderStore) -> list[str]:
    return lake_check(target, Ledger(target), deep=True).problems


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Lets something happen when it is known which entry is copied, and nothing was looked at yet."""
    applied = backup._applied

    def and_then(ledger: Ledger) -> int:
        found = applied(ledger)
        happens()
        return found

    monkeypatch.setattr(backup, "_applied", and_then)


def compacted(driver: Driver) -> None:
    """The table's files become one."""
    old = driver.tables.live_files(TABLE)
    made = driver.land("sleep")  # its file stands for what a compaction would write
    change = TableChange(remove=tuple(file.path for file in old))
    driver.tables.append_and_apply(driver.ledger.draft(Kind.DISCARD, JAN, cause={}, tables={TABLE: change}))
    assert made.n


def test_a_copy_shows_what_the_lake_showed_and_a_driver_goes_on_from_it(driver: Driver, target: FolderStore) -> None:
    for _ in range(5):
        driver.land("sleep", "cycle")
    told = copied(driver, target)
    assert told.files == 10 and told.entries == told.through == 6 and whole(target) == []
    assert keys_landed(target, TABLE) == keys_landed(driver.store, TABLE)
    again = Driver(target.root)
    again.land("sleep")
    assert whole(target) == [] and len(keys_landed(target, TABLE)) == 18


def test_a_log_is_copied_from_its_last_checkpoint_on(
    driver: Driver, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "CHECKPOINT_EVERY", 5)
    for _ in range(13):
        driver.land("sleep")
    for version in range(9):  # as the log's retention would
        (driver.store.root / delta.log_key(TABLE, version)).unlink()
    copied(driver, target)
    logs = sorted(path.name for path in (target.root / TABLE / "_delta_log").iterdir())
    assert logs == sorted([*(f"{n:020d}.json" for n in range(9, 13)), f"{9:020d}.checkpoint.parquet"])
    assert whole(target) == [] and keys_landed(target, TABLE) == keys_landed(driver.store, TABLE)
    for _ in range(4):  # the next copy has a later checkpoint
        driver.land("sleep")
    copied(driver, target)
    assert whole(target) == [] and keys_landed(target, TABLE) == keys_landed(driver.store, TABLE)


def test_what_comes_after_the_entry_is_not_copied(
    driver: Driver, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver lands and makes a checkpoint while it is copied."""
    monkeypatch.setattr(delta, "CHECKPOINT_EVERY", 4)
    for _ in range(3):
        driver.land("sleep")
    before, went_on = keys_landed(driver.store, TABLE), Counter[str]()

    def go_on(what: str, done: int, of: int) -> None:
        if not went_on[what]:
            driver.land("sleep", "cycle")
        went_on[what] += 1

    told = copied(driver, target, go_on)
    assert told.through < driver.ledger.next_n - 1 and len(went_on) == 2
    assert whole(target) == [] and keys_landed(target, TABLE) == before
    again = copied(driver, target)
    assert again.files > 0 and whole(target) == [] and keys_landed(target, TABLE) == keys_landed(driver.store, TABLE)


def test_a_checkpoint_of_a_later_entry_is_not_copied(
    driver: Driver, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "CHECKPOINT_EVERY", 4)
    for _ in range(3):
        driver.land("sleep")
    before = keys_landed(driver.store, TABLE)
    meanwhile(monkeypatch, lambda: [driver.land("sleep") for _ in range(2)])
    copied(driver, target)
    assert whole(target) == [] and keys_landed(target, TABLE) == before


def test_a_log_with_a_hole_is_not_copied(driver: Driver, target: FolderStore) -> None:
    for _ in range(3):
        driver.land("sleep")
    (driver.store.root / delta.log_key(TABLE, 1)).unlink()
    with pytest.raises(CopyRefused, match="the driver deletes faster"):
        copied(driver, target)


def test_what_was_deleted_meanwhile_makes_it_a_copy_of_a_later_entry(
    driver: Driver, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        driver.land("sleep")
    missing, times = backup.missing, []

    def and_then_it_goes(*words: Any) -> Any:
        found = missing(*words)
        times.append(found)
        if len(times) == 1:
            compacted(driver)
            clear_removed(driver.store, driver.ledger, driver.tables.standing, JAN + 2 * HOUR)
        return found

    monkeypatch.setattr(backup, "missing", and_then_it_goes)
    copied(driver, target)
    assert len(times) == 2 and whole(target) == []
    assert keys_landed(target, TABLE) == keys_landed(driver.store, TABLE)


def test_what_an_earlier_copy_has_and_is_removed_since_goes_when_a_driver_goes_on(
    driver: Driver, target: FolderStore
) -> None:
    for _ in range(3):
        driver.land("sleep")
    copied(driver, target)
    compacted(driver)
    copied(driver, target)
    assert len(list(target.list(f"{TABLE}/month="))) == 4 and whole(target) == []
    again = Driver(target.root)
    clear_removed(again.store, again.ledger, again.tables.standing, JAN + 2 * HOUR)
    assert len(list(target.list(f"{TABLE}/month="))) == 1 and whole(target) == []


def test_a_first_copy_leaves_nothing_to_clear(driver: Driver, target: FolderStore) -> None:
    driver.land("sleep")
    compacted(driver)
    copied(driver, target)
    again = Driver(target.root)
    assert again.tables.standing.cleared_through > 2


def test_an_empty_place_is_no_whole_copy(target: FolderStore) -> None:
    assert "there is no ledger" in copy_check(target, None).problems[0]


def test_a_lake_without_an_applied_entry_is_not_copied(tmp_path: Path, target: FolderStore) -> None:
    with pytest.raises(CopyRefused, match="nothing to copy yet"):
        copy(Side(FolderStore(tmp_path / "nothing"), None), Side(target, None), tmp_path / "work", quiet)
    assert not target.root.exists()


def test_requests_that_wait_are_copied_whatever_comes_of_them_meanwhile(driver: Driver, target: FolderStore) -> None:
    driver.land("sleep")
    one, other = (ask(driver.ledger, "count", {"which": n}, JAN) for n in range(2))
    driver.tables.append_and_apply(driver.ledger.draft(Kind.DECIDE, JAN, cause={"request": one.mark}, tables={}))

    def answer(what: str, done: int, of: int) -> None:
        remove(driver.store, other)

    copied(driver, target, answer)
    assert [asked.id for asked in everything(target)] == [other.id]
    copied(driver, target)
    assert everything(target) == []


def answered(driver: Driver, asked: Asked) -> None:
    """The driver does it and takes it away."""
    driver.tables.append_and_apply(driver.ledger.draft(Kind.DECIDE, JAN, cause={"request": asked.mark}, tables={}))
    remove(driver.store, asked)


def test_a_request_that_is_answered_by_a_later_entry_waits_in_the_copy(
    driver: Driver, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.land("sleep")
    asked = ask(driver.ledger, "count", {}, JAN)
    meanwhile(monkeypatch, lambda: answered(driver, asked))
    copied(driver, target)
    assert [found.id for found in everything(target)] == [asked.id]


def test_a_request_that_comes_meanwhile_is_not_lost(
    driver: Driver, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is gone before anybody looked is answered in the copy too: it is of a later entry then."""
    driver.land("sleep")
    found: list[Asked] = []
    meanwhile(monkeypatch, lambda: found.append(ask(driver.ledger, "count", {}, JAN)) if not found else None)
    copied(driver, target)
    assert [asked.id for asked in everything(target)] == [asked.id for asked in found]
    answered(driver, found[0])
    gone: list[int] = []

    def come_and_go() -> None:
        if not gone:
            answered(driver, ask(driver.ledger, "count", {}, JAN))
            gone.append(driver.ledger.next_n - 1)

    meanwhile(monkeypatch, come_and_go)
    assert copied(driver, target).through == gone[0] and everything(target) == []


def test_an_earlier_copy_is_whole_while_files_are_added_to_it(driver: Driver, target: FolderStore) -> None:
    class Broken(Exception):
        """The copying process ends."""

    def end(what: str, done: int, of: int) -> None:
        raise Broken

    driver.land("sleep")
    copied(driver, target)
    before = keys_landed(target, TABLE)
    driver.land("sleep", "cycle")
    with pytest.raises(Broken):
        copied(driver, target, end)
    assert copy_check(target, None).problems == [] and keys_landed(target, TABLE) == before
    copied(driver, target)
    assert copy_check(target, None).problems == [] and keys_landed(target, TABLE) == keys_landed(driver.store, TABLE)


def test_a_table_that_is_behind_the_ledger_is_no_whole_copy(driver: Driver, target: FolderStore) -> None:
    driver.land("sleep")
    copied(driver, target)
    driver.ledger.append(driver.entry([driver.file("cycle", rows(FAMILIES["observation"], 1))]))
    target.put_new("_control/ledger/000000000003.json", driver.store.get("_control/ledger/000000000003.json") or b"")
    assert "study=cycle/observation does not hold entry 3" in copy_check(target, None).problems
