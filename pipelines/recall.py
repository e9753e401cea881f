"""Recall: rows that landed and were entered in error go to quarantine.

A laboratory says so with a later row of the same record, of status D or W. That row stays where it is, as the record's
last revision; what was before it is no longer among the study's data, and a steward still sees it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from pipelines.driver import Driver
from pipelines.entries import Kind, RequestRefused
from pipelines.files import DataFile, family_of, table_key
from pipelines.holds import Changes
from pipelines.landing import publish
from pipelines.plan import Replacement
from pipelines.requests import Change
from schemas.families import ENTERED_IN_ERROR, FAMILIES, QUARANTINE, REVISED_FAMILIES

Int64s = npt.NDArray[np.int64]


class _Selection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    study: str


def recall(driver: Driver, selected: Mapping[str, JsonValue]) -> Change | None:
    """The change that takes back what a study holds and was entered in error; None where there is nothing."""
    try:
        study = _Selection.model_validate(selected).study
    except ValidationError:
        raise RequestRefused("it does not name the study in which rows are taken back") from None
    if study not in driver.studies:
        raise RequestRefused("it names a study that is not registered")
    tables = [table_key(study, family) for family in REVISED_FAMILIES]
    taken_back = _taken_back(driver, tables)
    found = [_Found.of(driver, file, taken_back) for table in tables for file in driver.tables.live_files(table)]
    found = [one for one in found if one.rows]
    if not found:
        return None
    driver.consent_now()
    return Change(
        plan=driver.plan(Kind.RECALL, [], replaced=_replacements(driver, study, found)),
        holds=Changes([], [], []),
        cause={"study": study, "rows": sum(one.rows for one in found)},
        rest=None,
    )


def _taken_back(driver: Driver, tables: list[str]) -> dict[int, int]:
    """The records that were entered in error, each with the last revision that says so."""
    found: dict[int, int] = {}
    for table in tables:
        for file in driver.tables.live_files(table):
            rows = _read(driver, file, ["record64", "revision", "status"])
            says_so = pc.is_in(rows.column("status"), pa.array(ENTERED_IN_ERROR))
            rows = rows.filter(pc.and_(says_so, pc.is_valid(rows.column("record64"))))
            pairs = zip(rows.column("record64").to_pylist(), rows.column("revision").to_pylist(), strict=True)
            for record, revision in pairs:
                found[record] = max(revision, found.get(record, -1))
    return found


class _Found:
    """A file and which of its rows are taken back."""

    def __init__(self, file: DataFile, mine: npt.NDArray[np.bool_]) -> None:
        self.file, self.mine, self.rows = file, mine, int(mine.sum())

    @classmethod
    def of(cls, driver: Driver, file: DataFile, taken_back: Mapping[int, int]) -> "_Found":
        rows = _read(driver, file, ["record64", "revision"])
        pairs = zip(rows.column("record64").to_pylist(), rows.column("revision").to_pylist(), strict=True)
        mine = [record in taken_back and revision < taken_back[record] for record, revision in pairs]
        return cls(file, np.array(mine, dtype=bool))


def _replacements(driver: Driver, study: str, found: list[_Found]) -> dict[str, Replacement]:
    """What leaves the study's tables, and what comes to its quarantine, by table."""
    n, epoch = driver.ledger.next_n, driver.ledger.epoch
    gone: dict[str, list[str]] = {}
    stays: dict[str, list[DataFile]] = {}
    moved: dict[str, list[pa.Table]] = {}
    for one in found:
        table, month = one.file.table, one.file.month
        rows = _read(driver, one.file, FAMILIES[family_of(table)].schema.names)
        gone.setdefault(table, []).append(one.file.path)
        if one.rows < rows.num_rows:
            rest = rows.filter(pa.array(~one.mine))
            stays.setdefault(table, []).append(publish(driver.store, rest, table, month, n, epoch))
        moved.setdefault(month, []).append(_quarantined(rows.filter(pa.array(one.mine)), family_of(table), n))
    changes = {
        table: Replacement(remove=tuple(paths), add=tuple(stays.get(table, ()))) for table, paths in gone.items()
    }
    quarantine = table_key(study, QUARANTINE.name)
    order = [(name, "ascending") for name in QUARANTINE.sort_key]
    come = [
        publish(driver.store, pa.concat_tables(parts).sort_by(order), quarantine, month, n, epoch)
        for month, parts in sorted(moved.items())
    ]
    return {**changes, quarantine: Replacement(add=tuple(come))}


def _quarantined(rows: pa.Table, family: str, n: int) -> pa.Table:
    """Rows of a family as quarantine keeps them, with the entry that took them back."""
    own: dict[str, Any] = {
        "family": pa.repeat(family, rows.num_rows),
        "recalled": pa.repeat(pa.scalar(n, pa.int64()), rows.num_rows),
    }
    columns = [
        own[f.name]
        if f.name in own
        else rows.column(f.name)
        if f.name in rows.column_names
        else pa.nulls(rows.num_rows, f.type)
        for f in QUARANTINE.schema
    ]
    return pa.Table.from_arrays(columns, schema=QUARANTINE.schema)


def _read(driver: Driver, file: DataFile, columns: list[str]) -> pa.Table:
    with driver.store.open_file(file.path) as source:
        return pq.ParquetFile(source).read(
            columns=columns
        )  # texts as they are: a dictionary would bring along what goes
