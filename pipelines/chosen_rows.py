"""The rows of a study's tables that a decision is about: found by the condition that showed them, file by file.

Of what is found only the places are held: a decision may be about more rows than fit into memory, and reads them again, a
stretch at a time.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.driver import Driver
from pipelines.files import DataFile, table_key
from pipelines.key_sets import STRETCH
from pipelines.zones import DAY_US
from quality.chosen import RowSet, condition, is_critical
from quality.desk import Stratum
from quality.job.times import day_number
from schemas.families import QUARANTINE, READING_FAMILIES

Flags = npt.NDArray[np.bool_]

_ASKED = ("metric", "partner", "device_model", "firmware", "start", "key64", "flags", "entry")
_OF_QUARANTINE = (*_ASKED, "family", "recalled")
_BUFFER_BYTES = 256 * 1024


class Part(NamedTuple):
    """What is chosen of one file: `mine` [rows of the file]."""

    file: DataFile
    mine: Flags


@dataclass
class Found:
    """All that is chosen: which rows of which files, these as a set, and what they failed, as (flags, recalled)."""

    parts: list[Part] = field(default_factory=list)
    chosen: RowSet = field(default_factory=RowSet)
    failed: set[tuple[int, int | None]] = field(default_factory=set)

    def need_two(self, decisions: pa.Table) -> bool:
        """Whether one of the chosen rows in quarantine is for two people to decide about."""
        found = {row["entry"]: row["check"] for row in decisions.to_pylist() if row["kind"] == "recall"}
        return any(is_critical(flags, recalled, found) for flags, recalled in self.failed)


def held_back(driver: Driver, study: str, stratum: Stratum, decisions: pa.Table) -> Found:
    """The chosen rows in quarantine. `decisions` is the study's table of them, since recalls say what they found."""
    asked = condition(stratum)
    return _found(driver, [table_key(study, QUARANTINE.name)], _OF_QUARANTINE, stratum, asked, decisions)


def landed(driver: Driver, study: str, stratum: Stratum, undecided: bool = False) -> Found:
    """The chosen rows in the study's tables of readings; with `undecided`, those that nobody has released."""
    tables = [table_key(study, name) for name in READING_FAMILIES if stratum.family in (None, name)]
    where, values = condition(stratum, landed=True)
    where += " AND released IS NULL" if undecided else ""
    return _found(driver, tables, (*_ASKED, "released"), stratum, (where, values))


def stretches(driver: Driver, file: DataFile, columns: Iterable[str]) -> Iterator[tuple[slice, pa.Table]]:
    """The rows of a file in their order, some at a time, and their places.

    A group of rows of blocks has no more numbers than are read at once. Texts are as they are: dictionaries would bring
    along what goes.
    """
    begin = 0
    with driver.store.open_file(file.path) as source:
        parquet = pq.ParquetFile(source, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        for group in range(parquet.num_row_groups):
            for batch in parquet.iter_batches(STRETCH, row_groups=[group], columns=list(columns), use_threads=False):
                rows = pa.Table.from_batches([batch])
                yield slice(begin, begin + len(rows)), rows
                begin += len(rows)


def chosen_stretches(
    driver: Driver, part: Part, columns: Iterable[str]
) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
    """The chosen rows alone, some at a time, and their places in the file."""
    if not part.mine.any():
        return
    for places, rows in stretches(driver, part.file, columns):
        mine = part.mine[places]
        if mine.any():
            yield np.flatnonzero(mine) + places.start, rows.filter(pa.array(mine))


def read(driver: Driver, file: DataFile, columns: Iterable[str]) -> pa.Table:
    """All rows of a small file."""
    with driver.store.open_file(file.path) as source:
        return pq.ParquetFile(source).read(columns=list(columns))


def _found(
    driver: Driver,
    tables: Iterable[str],
    columns: Iterable[str],
    stratum: Stratum,
    asked: tuple[str, list[object]],
    decisions: Any = None,
) -> Found:
    found = Found()
    with closing(_database().cursor()) as session:
        session.execute("SET TimeZone = 'UTC'")
        if decisions is not None:
            session.register("decision", decisions)
        for table in tables:
            for file in driver.tables.live_files(table):
                if _may_hold(file, stratum):
                    _look(driver, file, columns, session, asked, found)
    return found


def _look(driver: Driver, file: DataFile, columns: Iterable[str], session: Any, asked: Any, found: Found) -> None:
    """Find the chosen rows of a file."""
    mine = np.zeros(file.rows, dtype=bool)
    for places, rows in stretches(driver, file, columns):
        mine[places] = meant = _meant(session, rows, asked)
        if meant.any():
            _note(rows.filter(pa.array(meant)), found)
    if mine.any():
        found.parts.append(Part(file, mine))


def _note(rows: pa.Table, found: Found) -> None:
    keys = rows.column("key64").to_numpy().astype(np.uint64).sum(dtype=np.uint64)
    if "recalled" not in rows.column_names:
        rows = rows.append_column("recalled", pa.nulls(len(rows), pa.int64()))
    entries = sum(pc.sum(rows.column(name)).as_py() or 0 for name in ("entry", "recalled"))
    found.chosen = RowSet.together([found.chosen, RowSet(len(rows), int(keys), entries)])
    pairs = rows.group_by(["flags", "recalled"]).aggregate([])
    found.failed |= set(zip(pairs["flags"].to_pylist(), pairs["recalled"].to_pylist(), strict=True))


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """An empty one, which takes twenty milliseconds to make. What a cursor registers is seen by it alone."""
    return duckdb.connect(":memory:")


def _may_hold(file: DataFile, stratum: Stratum) -> bool:
    """Whether the span of the file's starts meets the stratum's day."""
    if stratum.day is None or file.start_min_us is None or file.start_max_us is None:
        return True
    first = day_number(stratum.day) * DAY_US
    return file.start_min_us < first + DAY_US and file.start_max_us >= first


def _meant(session: duckdb.DuckDBPyConnection, rows: pa.Table, asked: tuple[str, list[object]]) -> Flags:
    where, values = asked
    session.register("held", rows.append_column("place", pa.array(np.arange(len(rows)))))
    found: Any = session.sql(f"SELECT place FROM held WHERE {where}", params=values).to_arrow_table()
    mine = np.zeros(len(rows), dtype=bool)
    mine[found.column("place").to_numpy()] = True
    return mine
