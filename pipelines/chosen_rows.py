"""The rows of a study's tables that a decision is about: found by the condition that showed them, file by file."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.driver import Driver
from pipelines.files import DataFile, family_of, table_key
from pipelines.plan import Replacement
from pipelines.replay import rewritten
from pipelines.zones import DAY_US
from quality.chosen import RowSet, condition, is_critical
from quality.desk import Stratum
from quality.job.times import day_number
from schemas.families import FAMILIES, QUARANTINE, READING_FAMILIES

Flags = npt.NDArray[np.bool_]

_ASKED = ("metric", "partner", "device_model", "firmware", "start", "key64", "flags", "entry")
_OF_QUARANTINE = (*_ASKED, "family", "recalled", "pseudonym", "end", "received")


class Part(NamedTuple):
    """What is chosen of one file: which of its rows, and these rows' columns by which they are judged."""

    file: DataFile
    mine: Flags
    rows: pa.Table

    def going(self, chosen: Flags) -> Flags:
        """Which of the file's rows go, where these of the chosen do."""
        mine = self.mine.copy()
        mine[np.flatnonzero(self.mine)[~chosen]] = False
        return mine


def held_back(driver: Driver, study: str, stratum: Stratum, decisions: pa.Table) -> list[Part]:
    """The chosen rows in quarantine. `decisions` is the study's table of them, since recalls say what they found."""
    asked = condition(stratum)
    return list(_parts(driver, [table_key(study, QUARANTINE.name)], _OF_QUARANTINE, stratum, asked, decisions))


def landed(driver: Driver, study: str, stratum: Stratum, undecided: bool = False) -> list[Part]:
    """The chosen rows in the study's tables of readings; with `undecided`, those that nobody has released."""
    tables = [table_key(study, name) for name in READING_FAMILIES if stratum.family in (None, name)]
    where, values = condition(stratum, landed=True)
    where += " AND released IS NULL" if undecided else ""
    return list(_parts(driver, tables, (*_ASKED, "released"), stratum, (where, values)))


def all_of(parts: Iterable[Part]) -> RowSet:
    """The chosen rows as a set."""
    return RowSet.together(_set_of(part.rows) for part in parts)


def _set_of(rows: pa.Table) -> RowSet:
    keys = rows.column("key64").to_numpy().astype(np.uint64).sum(dtype=np.uint64)
    entries = pc.sum(rows.column("entry")).as_py() or 0
    if "recalled" in rows.column_names:
        entries += pc.sum(rows.column("recalled")).as_py() or 0
    return RowSet(len(rows), int(keys), entries)


def need_two(parts: Iterable[Part], decisions: pa.Table) -> bool:
    """Whether one of the chosen rows in quarantine is for two people to decide about."""
    found = {row["entry"]: row["check"] for row in decisions.to_pylist() if row["kind"] == "recall"}
    distinct: set[tuple[int, int | None]] = set()
    for part in parts:
        pairs = part.rows.group_by(["flags", "recalled"]).aggregate([])
        distinct |= set(zip(pairs["flags"].to_pylist(), pairs["recalled"].to_pylist(), strict=True))
    return any(is_critical(flags, recalled, found) for flags, recalled in distinct)


def read(driver: Driver, file: DataFile, columns: Iterable[str]) -> pa.Table:
    """Texts as they are: dictionaries would bring along what goes."""
    with driver.store.open_file(file.path) as source:
        return pq.ParquetFile(source).read(columns=list(columns))


def taken_out(driver: Driver, file: DataFile, going: Flags) -> tuple[pa.Table, Replacement]:
    """The rows of the file that go, and what takes the file's place."""
    rows = read(driver, file, FAMILIES[family_of(file.table)].schema.names)
    rest = rows.filter(pa.array(~going))
    add = (rewritten(driver, file, rest),) if len(rest) else ()
    return rows.filter(pa.array(going)), Replacement(remove=(file.path,), add=add)


def joined(replacements: Iterable[tuple[str, Replacement]]) -> dict[str, Replacement]:
    """What happens to each table, where much happens to one."""
    found: dict[str, Replacement] = {}
    for table, more in replacements:
        before = found.get(table, Replacement())
        found[table] = Replacement(remove=(*before.remove, *more.remove), add=(*before.add, *more.add))
    return {table: change for table, change in found.items() if change.remove or change.add}


def _parts(
    driver: Driver,
    tables: Iterable[str],
    columns: Iterable[str],
    stratum: Stratum,
    asked: tuple[str, list[object]],
    decisions: Any = None,
) -> Iterator[Part]:
    with closing(_database().cursor()) as session:
        session.execute("SET TimeZone = 'UTC'")
        if decisions is not None:
            session.register("decision", decisions)
        for table in tables:
            for file in driver.tables.live_files(table):
                if not _may_hold(file, stratum):
                    continue
                rows = read(driver, file, columns)
                mine = _meant(session, rows, asked)
                if mine.any():
                    yield Part(file, mine, rows.filter(pa.array(mine)))


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
