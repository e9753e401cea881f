"""Release: rows leave quarantine and come to their family's table, in one entry, as they are.

Consent is asked again, as it was when they came in and as it is now, and so is what is there already: who has withdrawn
meanwhile stays out, and nothing is doubled. What may not be released stays in quarantine.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from pipelines.check_counts import TakenOut
from pipelines.chosen_rows import Flags, Part, joined, read, taken_out
from pipelines.consent.again import judge_again
from pipelines.consent.verdict import CODES, NUMBER
from pipelines.decided import Decision, change
from pipelines.driver import Driver
from pipelines.entries import Kind, RequestRefused
from pipelines.files import DataFile, table_key
from pipelines.key_sets import repeated
from pipelines.landing import numbered, publish
from pipelines.plan import Replacement
from pipelines.replay import lessened
from pipelines.requests import Change, ask
from schemas.families import (
    CHECK_COUNT,
    DISCARDED,
    ENTERED_IN_ERROR,
    FAMILIES,
    LAB_RESULT,
    REVISED_FAMILIES,
)
from schemas.reasons import Code

Place = tuple[str, str]
"""A family and a month."""


class _Judged(NamedTuple):
    """Which of a part's chosen rows may be released, and which of those are in the study's tables already."""

    part: Part
    may: Flags
    there: Flags


def release(driver: Driver, decision: Decision, about: Mapping[str, JsonValue], parts: list[Part]) -> Change:
    """The change that releases the chosen rows; RequestRefused where none of them may be."""
    codes = _codes(driver, decision.study, parts)
    withheld = _withheld(codes)
    judged = _judged(driver, decision.study, parts, codes)
    going = sum(int(one.may.sum()) for one in judged)
    if not going:
        told = ", ".join(f"{count} {code}" for code, count in withheld.items())
        raise RequestRefused(f"consent lets none of these rows be released: {told}")
    doubled = sum(int(one.there.sum()) for one in judged)
    replaced = _replaced(driver, decision.study, judged)
    cause = {"released": going - doubled, "duplicate": doubled, "withheld": withheld}
    return change(driver, decision, Kind.RELEASE, about, rows=going, replaced=replaced, cause=cause)


def _codes(driver: Driver, study: str, parts: list[Part]) -> list[Any]:
    """What consent says of each part's rows."""
    rows = pa.concat_tables([part.rows for part in parts])
    settings = driver.settings
    of_kits = np.asarray(rows.column("family").to_numpy() == LAB_RESULT.name)
    hold_us = np.where(of_kits, max(settings.hold_us, settings.kit_hold_us), settings.hold_us)
    snapshot = driver.snapshots.refresh().open()
    codes = judge_again(rows, driver.keys.key(study), driver.register, snapshot, driver.clock(), hold_us)
    return np.split(codes, np.cumsum([len(part.rows) for part in parts])[:-1])


def _withheld(codes: list[Any]) -> dict[str, int]:
    """How many rows may not be released, by why."""
    found, counts = np.unique(np.concatenate(codes), return_counts=True)
    told = {str(CODES[code]): count for code, count in zip(found.tolist(), counts.tolist(), strict=True)}
    return {code: count for code, count in sorted(told.items()) if code != Code.OK}


def _judged(driver: Driver, study: str, parts: list[Part], codes: list[Any]) -> list[_Judged]:
    judged, before = list[_Judged](), np.empty(0, dtype=np.int64)
    for part, code in zip(parts, codes, strict=True):
        may = np.asarray(code == NUMBER[Code.OK])
        key64, families = (part.rows.column(name).to_numpy() for name in ("key64", "family"))
        there = may & (repeated(key64) | np.isin(key64, before))
        for family in np.unique(families[may]).tolist():
            rows = may & (families == family)
            for file in _where_it_may_be(driver, study, family, part):
                there |= rows & np.isin(key64, read(driver, file, ["key64"]).column("key64").to_numpy())
        judged.append(_Judged(part, may, there))
        before = np.concatenate([before, key64[may]])
    return judged


def _where_it_may_be(driver: Driver, study: str, family: str, part: Part) -> list[DataFile]:
    """The files besides quarantine's in which rows of this family and of the part's starts may be already."""
    tables = (table_key(study, family), table_key(study, DISCARDED.name))
    span = pc.min_max(part.rows.column("start").cast(pa.int64()))
    first, last = span["min"].as_py(), span["max"].as_py()
    return [
        file
        for table in tables
        for file in driver.tables.live_files(table)
        if (file.start_min_us or 0) <= last and (file.start_max_us or 0) >= first
    ]


def _replaced(driver: Driver, study: str, judged: list[_Judged]) -> dict[str, Replacement]:
    """What quarantine loses, the families' tables gain, and the checks' counts lose of what is there already."""
    moved: dict[Place, list[pa.Table]] = {}
    replaced: list[tuple[str, Replacement]] = []
    taken = TakenOut()
    for one in judged:
        if not one.may.any():
            continue
        rows, replacement = taken_out(driver, one.part.file, one.part.going(one.may))
        replaced.append((one.part.file.table, replacement))
        there = one.there[one.may]
        doubled = rows.filter(pa.array(there))
        if len(doubled):
            taken.add(doubled, doubled.column("family"))
        _sort_out(rows.filter(pa.array(~there)), one.part.file.month, moved)
    counts = table_key(study, CHECK_COUNT.name)
    replaced.append((counts, lessened(driver, counts, taken)))
    replaced += [_landed(driver, study, place, rows) for place, rows in sorted(moved.items())]
    _take_back_again(driver, study, moved)
    return joined(replaced)


def _sort_out(rows: pa.Table, month: str, moved: dict[Place, list[pa.Table]]) -> None:
    """Put rows to those of their family and month."""
    families = rows.column("family").to_numpy()
    for family in np.unique(families).tolist() if len(rows) else ():
        moved.setdefault((family, month), []).append(rows.filter(pa.array(families == family)))


def _landed(driver: Driver, study: str, place: Place, parts: list[pa.Table]) -> tuple[str, Replacement]:
    """A file with the rows of one family and month, marked with the entry that released them."""
    (name, month), n = place, driver.ledger.next_n
    family = FAMILIES[name]
    own = numbered(pa.concat_tables(parts).select(family.schema.names), "released", n)
    own = own.sort_by([(column, "ascending") for column in family.sort_key]).cast(family.schema)
    table = table_key(study, name)
    return table, Replacement(add=(publish(driver.store, own, table, month, n, driver.ledger.epoch),))


def _take_back_again(driver: Driver, study: str, moved: Mapping[Place, list[pa.Table]]) -> None:
    """Where a released row says of others that they were entered in error, these are taken back after it."""
    says_so = any(
        status in ENTERED_IN_ERROR
        for (family, _), parts in moved.items()
        if family in REVISED_FAMILIES
        for rows in parts
        for status in rows.column("status").unique().to_pylist()
    )
    if says_so:
        ask(driver.ledger, Kind.RECALL, {"study": study}, driver.clock())
