"""Recall: rows that landed and were entered in error go to quarantine.

A laboratory says so with a later row of the same record, of status D or W. That row stays where it is, as the record's
last revision; what was before it is no longer among the study's data, and a steward still sees it.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from pipelines.chosen_rows import Flags, Part, stretches
from pipelines.driver import Driver
from pipelines.entries import Kind, RequestRefused
from pipelines.files import family_of, table_key
from pipelines.holds import Changes
from pipelines.moved_rows import MovedRows
from pipelines.plan import Replacement
from pipelines.requests import Change
from schemas.families import ENTERED_IN_ERROR, QUARANTINE, REVISED_FAMILIES


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
    found = _entered_in_error(driver, study)
    if not found:
        return None
    driver.consent_now()
    return Change(
        plan=driver.plan(Kind.RECALL, [], replaced=to_quarantine(driver, study, found)),
        holds=Changes([], [], []),
        cause={"study": study, "rows": sum(int(part.mine.sum()) for part in found)},
        rest=None,
    )


_HEAD = ("record64", "revision", "status", "entry", "released")


def _entered_in_error(driver: Driver, study: str) -> list[Part]:
    """The rows of records that a later row of theirs takes back; only the records that are taken back are held."""
    tables = [table_key(study, family) for family in REVISED_FAMILIES]
    files = [file for table in tables for file in driver.tables.live_files(table)]
    taken_back = _taken_back(rows for file in files for _, rows in stretches(driver, file, _HEAD))
    found = list[Part]()
    for file in files if taken_back else ():
        mine = np.zeros(file.rows, dtype=bool)
        for places, rows in stretches(driver, file, _HEAD):
            mine[places] = _earlier(rows, taken_back)
        if mine.any():
            found.append(Part(file, mine))
    return found


def _taken_back(heads: Iterable[pa.Table]) -> dict[int, tuple[int, int]]:
    """The records that were entered in error, each with the last revision that says so, and the entry since which it does."""
    found: dict[int, tuple[int, int]] = {}
    for rows in heads:
        says_so = pc.is_in(rows.column("status"), pa.array(ENTERED_IN_ERROR))
        said = rows.filter(pc.and_(says_so, pc.is_valid(rows.column("record64"))))
        since = pc.coalesce(said.column("released"), said.column("entry")).to_pylist()
        for (record, revision, _), entry in zip(_revisions(said), since, strict=True):
            found[record] = max((revision, entry), found.get(record, (-1, 0)))
    return found


def _earlier(rows: pa.Table, taken_back: Mapping[int, tuple[int, int]]) -> Flags:
    """Which rows came before the one that takes their record back; not what stewards have released since that stands."""
    of_record = np.flatnonzero(pc.is_in(rows.column("record64"), pa.array([*taken_back], pa.int64())).to_numpy())
    found = np.zeros(len(rows), dtype=bool)
    for place, (record, revision, released) in zip(of_record.tolist(), _revisions(rows.take(of_record)), strict=True):
        last, since = taken_back[record]
        found[place] = revision < last and (released is None or released < since)
    return found


def _revisions(rows: pa.Table) -> Iterator[tuple[int, int, int | None]]:
    return zip(*(rows.column(name).to_pylist() for name in ("record64", "revision", "released")), strict=True)


def to_quarantine(driver: Driver, study: str, found: list[Part]) -> dict[str, Replacement]:
    """For these rows of files: what leaves the study's tables, and what comes to its quarantine, by table."""
    moved, quarantine = MovedRows(driver), table_key(study, QUARANTINE.name)
    for file, mine in found:
        for _, rows in moved.take_out(file, mine):
            moved.bring(quarantine, file.month, _quarantined(rows, family_of(file.table), driver.ledger.next_n))
    return moved.finish()


def _quarantined(rows: pa.Table, family: str, n: int) -> pa.Table:
    """Rows of a family as quarantine keeps them, with the entry that took them back."""
    own = {name: rows.column(name) for name in rows.column_names}
    own["family"] = pa.repeat(family, rows.num_rows)
    own["recalled"] = pa.repeat(pa.scalar(n, pa.int64()), rows.num_rows)
    columns = [own.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in QUARANTINE.schema]
    return pa.Table.from_arrays(columns, schema=QUARANTINE.schema)
