"""The law over the ledger: an entry whose sums were edited is noticed, even where the edited sums add up."""

import copy
from pathlib import Path
from typing import Any

import pytest

from pipelines.entries import Entry, Kind
from pipelines.lake_check import lake_check
from pipelines.law import entry_law
from schemas.families import OBSERVATION, QUARANTINE, WAVEFORM
from tests.lakes import Driver, rows
from tests.test_accounts import accounts

COUNTS = accounts().counts()


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path)


def entry(driver: Driver, counts: dict[str, Any] = COUNTS, kind: Kind = Kind.INGEST) -> Entry:
    """An entry with the files that the counts speak of: 38 rows landed of sleep, 7 in quarantine."""
    files = [
        driver.file("sleep", rows(OBSERVATION, 30)),
        driver.file("sleep", rows(WAVEFORM, 8, first=30), "waveform"),
        driver.file("sleep", rows(QUARANTINE, 7, first=40), "quarantine"),
    ]
    return driver.entry(files, kind, counts=counts)


def test_an_entry_as_it_was_written_keeps_the_law(driver: Driver) -> None:
    assert list(entry_law(entry(driver))) == []
    assert list(entry_law(driver.ledger.read(1))) == []  # a takeover has no counts


def edited(*changes: tuple[tuple[str, ...], int]) -> dict[str, Any]:
    counts = copy.deepcopy(COUNTS)
    for (*path, last), by in changes:
        at: Any = counts
        for name in path:
            at = at[name]
        at[last] += by
    return counts


SLEEP = ("studies", "sleep")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([(("records", "read"), 1)], "records read"),
        ([(("records", "rejected"), -1)], "records read"),
        ([(("readings", "decoded"), 1)], "readings decoded"),
        ([(("readings", "held"), -1)], "readings decoded"),
        ([(("readings", "skipped"), 1)], "readings decoded"),
        ([((*SLEEP, "considered"), 1)], "considered by sleep"),
        ([((*SLEEP, "withheld", "R_NO_AUTHORITY"), -1)], "considered by sleep"),
        ([((*SLEEP, "duplicate"), -1)], "considered by sleep"),
        ([((*SLEEP, "landed"), -1), ((*SLEEP, "duplicate"), 1)], "sleep do not hold the rows that were landed"),
        (
            [((*SLEEP, "quarantined"), 1), ((*SLEEP, "considered"), 1)],
            "sleep do not hold the rows that were quarantined",
        ),
        ([((*SLEEP, "landed"), 1), ((*SLEEP, "quarantined"), -1)], "sleep do not hold"),
    ],
)
def test_an_edited_sum_is_said_in_words(driver: Driver, changes: list[Any], words: str) -> None:
    found = list(entry_law(entry(driver, edited(*changes))))
    assert found and any(words in text for text in found)


def test_files_of_a_study_without_counts_are_noticed(driver: Driver) -> None:
    counts = copy.deepcopy(COUNTS)
    del counts["studies"]["sleep"]
    assert len(list(entry_law(entry(driver, counts)))) == 2


def test_a_replays_files_hold_rows_that_stay_as_well(driver: Driver) -> None:
    assert (
        list(entry_law(entry(driver, edited(((*SLEEP, "landed"), -1), ((*SLEEP, "duplicate"), 1)), Kind.REPLAY))) == []
    )


def test_the_check_of_the_lake_tells_of_an_entry_that_was_edited(driver: Driver) -> None:
    """The last entry, whose bytes no later one vouches for; its sums are made to add up."""
    driver.tables.append_and_apply(entry(driver))
    sound = lake_check(driver.store, driver.ledger, law=entry_law)
    assert sound.problems == []
    path = next(driver.store.root.glob("_control/ledger/*2.json"))
    path.write_text(path.read_text().replace('"landed":38', '"landed":37').replace('"duplicate":6', '"duplicate":7'))
    report = lake_check(driver.store, driver.ledger, law=entry_law)
    assert report.problems == ["entry 2: the files of sleep do not hold the rows that were landed"]
