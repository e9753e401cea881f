"""Which days of a study an entry has changed: what the quality job has to judge again, and nothing else.

Most files hold one day, as the ledger says; of the others a column or three are read. Where a file has been deleted
since, all days that it may have held count.
"""

from collections.abc import Generator, Iterable, Iterator
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.entries import Entry, Kind
from pipelines.files import DataFile, study_and_family, written
from pipelines.ledger import Ledger
from pipelines.store import Store
from pipelines.zones import DAY_US
from quality.job.times import day_number
from schemas.families import QUARANTINE, READING_FAMILIES

_JUDGED = (*READING_FAMILIES, QUARANTINE.name)
_SAME_ROWS = (Kind.COMPACT, Kind.JUDGE, Kind.TAKEOVER)
"""Kinds of entries after which the readings' tables hold the same rows as before."""
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

SIGNED_OFF = "signed_off"
"""What names the day in the cause of an entry that signs it off."""

Days = set[int]


Steps = Generator[None, None, Days]
"""Days that are found file by file; whoever looks can leave off after each."""


def days_changed(entry: Entry, ledger: Ledger, store: Store) -> Generator[None, None, dict[str, Days]]:
    """The days, counted since 1970 in UTC, on which readings begin that the entry brought or took, by study.

    And a day that it signs off: what is found of it then is what stays. In steps, one a file.
    """
    found: dict[str, Days] = {}
    if entry.kind in _SAME_ROWS:
        return found
    if SIGNED_OFF in entry.cause:
        return {str(entry.cause["study"]): {day_number(date.fromisoformat(str(entry.cause[SIGNED_OFF])))}}
    for table, change in sorted(entry.tables.items()):
        study, family = study_and_family(table)
        if family not in _JUDGED:
            continue
        removed = [_described(path, ledger) for path in change.remove]
        days = yield from _differing(store, removed, change.add) if removed else _days_of_all(store, change.add)
        found.setdefault(study, set()).update(days)
    return {study: days for study, days in found.items() if days}


def _described(path: str, ledger: Ledger) -> DataFile:
    """What the ledger said of a file when it was added."""
    name = written(path)
    assert name is not None, "the ledger names data files only"
    return next(file for file in ledger.read(name.n).tables[name.table].add if file.path == path)


def _days_of_all(store: Store, files: Iterable[DataFile]) -> Steps:
    found: Days = set()
    for file in files:
        found.update(_days_of_file(store, file))
        yield
    return found


def _days_of_file(store: Store, file: DataFile) -> Iterable[int]:
    possible = _possible(file)
    if len(possible) == 1:
        return possible
    rows = _read(store, file, ["start"])
    return possible if rows is None else np.unique(days_of(rows)).tolist()


def _differing(store: Store, removed: Iterable[DataFile], added: Iterable[DataFile]) -> Steps:
    """The days of which other rows came than went: those that a file was written again with are the same as before."""
    sums: dict[int, int] = {}
    unknown: Days = set()
    for sign, files in ((-1, removed), (1, added)):
        for file in files:
            rows = _read(store, file, ["start", "key64", "entry"])
            yield
            if rows is None:
                unknown.update(_possible(file))
                continue
            for day, number in _fingerprints(rows):
                sums[day] = (sums.get(day, 0) + sign * number) % (1 << 64)
    return unknown | {day for day, number in sums.items() if number}


def _fingerprints(rows: pa.Table) -> Iterator[tuple[int, int]]:
    """Each day and a number that any other set of rows is not likely to have."""
    days, place = np.unique(days_of(rows), return_inverse=True)
    mixed = (rows.column("key64").to_numpy().astype(np.uint64) + np.uint64(1)) * _ODD[0]
    mixed ^= (rows.column("entry").to_numpy().astype(np.uint64) + np.uint64(1)) * _ODD[1]
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _ODD[0]
    sums = np.zeros(len(days), dtype=np.uint64)
    np.add.at(sums, place, mixed | np.uint64(1))
    yield from zip(days.tolist(), sums.tolist(), strict=True)


def _possible(file: DataFile) -> range:
    first_us, last_us = file.start_min_us, file.start_max_us
    return range((first_us or 0) // DAY_US, (last_us or 0) // DAY_US + 1)  # what is judged has a start


def days_of(rows: pa.Table) -> npt.NDArray[np.int64]:
    """The day of each row's start, counted since 1970 in UTC."""
    return np.asarray(rows.column("start").cast(pa.int64()).to_numpy() // DAY_US)


def _read(store: Store, file: DataFile, columns: list[str]) -> pa.Table | None:
    try:
        with store.open_file(file.path) as source:
            return pq.ParquetFile(source).read(columns=columns)
    except (OSError, pa.ArrowInvalid):  # it is gone; or damaged, which the job will say of these days
        return None
