"""Results of the quality job that take the place of earlier ones, file by file: what goes, and what comes.

A file holds one day until its month is over, so that judging a day again writes little.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.changed_days import days_of
from pipelines.files import DataFile, family_of
from pipelines.landing import numbered, publish
from pipelines.plan import Replacement
from pipelines.store import Store
from pipelines.zones import DAY_US
from quality.job.results import GATE, JUDGE
from quality.job.times import day_number
from schemas.families import FAMILIES

Goes = Callable[[pa.Table], npt.NDArray[np.bool_]]
"""Which rows of a table [n] are replaced."""


def replacement(
    store: Store,
    table: str,
    live: Iterable[DataFile],
    rows: pa.Table,
    days: Iterable[int],
    goes: Goes,
    at: tuple[int, int],
) -> Replacement:
    """What entry and epoch `at` do to the table so that `rows` stand in place of those that go.

    `days`, counted since 1970, are those on which anything goes. The rows' `entry` becomes the entry's number.
    """
    n, epoch = at
    gone = np.array(sorted(set(days)), dtype=np.int64)
    remove, add = [], []
    for file in live:
        if not _may_hold(file, gone):
            continue
        kept = _kept(store, file, goes)
        if kept is None:
            continue
        remove.append(file.path)
        if kept.num_rows:
            add.append(publish(store, kept, table, file.month, n, epoch))
    by_day = _by_day(numbered(rows, "entry", n), FAMILIES[family_of(table)].sort_key)
    add += [publish(store, part, table, month, n, epoch) for month, part in by_day]
    return Replacement(remove=tuple(remove), add=tuple(add))


def result_goes(replaced: Iterable[tuple[str, date]], counted: Iterable[date]) -> Goes:
    """The rows of CHECK_RESULT that are the job's answers of these checks and days, or the gate's counts of those days."""
    days: dict[str, list[int]] = {}
    for check, day in replaced:
        days.setdefault(check, []).append(day_number(day))
    of_gate = [day_number(day) for day in counted]

    def goes(rows: pa.Table) -> npt.NDArray[np.bool_]:
        found, of_day = np.zeros(len(rows), dtype=bool), days_of(rows)
        for check, numbers in days.items():
            found |= pc.equal(rows.column("check"), check).to_numpy() & np.isin(of_day, numbers)
        found &= pc.equal(rows.column("judge"), JUDGE).to_numpy()
        found |= pc.equal(rows.column("judge"), GATE).to_numpy() & np.isin(of_day, of_gate)
        return np.asarray(found)

    return goes


def summary_goes(days: Iterable[date]) -> Goes:
    """The rows of DAY_SUMMARY of these days."""
    numbers = [day_number(day) for day in days]
    return lambda rows: np.isin(days_of(rows), numbers)


def _may_hold(file: DataFile, days: npt.NDArray[np.int64]) -> bool:
    span = (file.start_min_us or 0) // DAY_US, (file.start_max_us or 0) // DAY_US + 1  # results have a start
    first, after = np.searchsorted(days, span)
    return bool(first < after)


def _kept(store: Store, file: DataFile, goes: Goes) -> pa.Table | None:
    """The rows of a file that stay, None where all do."""
    with store.open_file(file.path) as source:
        rows = pq.ParquetFile(source).read(columns=FAMILIES[family_of(file.table)].schema.names)
    going = goes(rows)
    return rows.filter(pa.array(~going)) if going.any() else None


def _by_day(rows: pa.Table, sort_key: tuple[str, ...]) -> Iterator[tuple[str, pa.Table]]:
    """(month, rows) of each day in the family's order."""
    days = days_of(rows)
    for day in np.unique(days):
        part = rows.filter(pa.array(days == day)).sort_by([(name, "ascending") for name in sort_key])
        yield str(day.astype("datetime64[D]"))[:7], part
