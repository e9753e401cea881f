"""Release: rows leave quarantine and come to their family's table, in one entry, as they are.

Consent is asked again, as it was when they came in and as it is now, and so is what is there already: who has withdrawn
meanwhile stays out, and nothing is doubled. What may not be released stays in quarantine.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import JsonValue

from pipelines.chosen_rows import Flags, Found, Part, chosen_stretches
from pipelines.consent.again import judge_again
from pipelines.consent.snapshot import Snapshot
from pipelines.consent.verdict import CODES, NUMBER
from pipelines.decided import Decision, change
from pipelines.driver import Driver
from pipelines.duplicates import FileKeys, KeyedFile, Seen, duplicates
from pipelines.entries import Kind, RequestRefused
from pipelines.files import table_key
from pipelines.landing import numbered
from pipelines.moved_rows import MovedRows, Uncounted
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

_JUDGED_BY = ("pseudonym", "metric", "start", "end", "received", "family", "key64")


class _Judged(NamedTuple):
    """Which rows of a part's file may be released, and which of those are in the study's tables already."""

    part: Part
    may: Flags
    there: Flags


def release(driver: Driver, decision: Decision, about: Mapping[str, JsonValue], found: Found) -> Change:
    """The change that releases the chosen rows; RequestRefused where none of them may be."""
    withheld, judge = Counter[str](), _Judge(driver, decision.study)
    judged = [judge.judge(part, withheld) for part in found.parts]
    going = sum(int(one.may.sum()) for one in judged)
    told = dict(sorted(withheld.items()))
    if not going:
        words = ", ".join(f"{count} {code}" for code, count in told.items())
        raise RequestRefused(f"consent lets none of these rows be released: {words}")
    doubled = sum(int(one.there.sum()) for one in judged)
    moved = MovedRows(driver)
    _move(driver, decision.study, judged, moved)
    cause = {"released": going - doubled, "duplicate": doubled, "withheld": told}
    return change(driver, decision, Kind.RELEASE, about, rows=going, replaced=moved.finish(), cause=cause)


class _Judge:
    """Asks consent about rows again, and whether they are there already: of all of them it holds the keys alone."""

    def __init__(self, driver: Driver, study: str) -> None:
        self._driver, self._study = driver, study
        self._snapshot: Snapshot = driver.snapshots.refresh().open()
        self._cache, self._seen = FileKeys(driver.store), Seen()

    def judge(self, part: Part, withheld: Counter[str]) -> _Judged:
        """What becomes of a part's rows; those that may not be released are counted by why."""
        may, there = np.zeros(len(part.mine), dtype=bool), np.zeros(len(part.mine), dtype=bool)
        places, keys, starts, families = [], [], [], set[str]()
        for at, rows in chosen_stretches(self._driver, part, _JUDGED_BY):
            codes = self._codes(rows)
            ok = codes == NUMBER[Code.OK]
            _count(codes[~ok], withheld)
            may[at] = ok
            rows = rows.filter(pa.array(ok))
            places.append(at[ok])
            keys.append(rows.column("key64").to_numpy())
            starts.append(rows.column("start").cast(pa.int64()).to_numpy())
            families |= set(rows.column("family").unique().to_pylist())
        if may.any():
            files = self._where_they_may_be(families)
            found = duplicates(np.concatenate(keys), np.concatenate(starts), self._seen, files, self._cache)
            there[np.concatenate(places)] = found
        return _Judged(part, may, there)

    def _codes(self, rows: pa.Table) -> Any:
        """What consent says of rows."""
        driver, settings = self._driver, self._driver.settings
        of_kits = np.asarray(rows.column("family").to_numpy() == LAB_RESULT.name)
        hold_us = np.where(of_kits, max(settings.hold_us, settings.kit_hold_us), settings.hold_us)
        key = driver.keys.key(self._study)
        return judge_again(rows, key, driver.register, self._snapshot, driver.clock(), hold_us)

    def _where_they_may_be(self, families: Iterable[str]) -> list[KeyedFile]:
        """The files besides quarantine's in which rows of these families may be already."""
        tables = [table_key(self._study, name) for name in (*sorted(families), DISCARDED.name)]
        files = [file for table in tables for file in self._driver.tables.live_files(table)]
        return [KeyedFile(file.path, file.start_min_us or 0, file.start_max_us or 0) for file in files]


def _count(codes: Any, withheld: Counter[str]) -> None:
    found, counts = np.unique(codes, return_counts=True)
    for code, count in zip(found.tolist(), counts.tolist(), strict=True):
        withheld[str(CODES[code])] += count


def _move(driver: Driver, study: str, judged: list[_Judged], moved: MovedRows) -> None:
    """Quarantine loses the rows, the families' tables gain them; the checks' counts lose what is there already."""
    uncounted, takes_back = Uncounted(), False
    for one in judged:
        if not one.may.any():
            continue
        for places, rows in moved.take_out(one.part.file, one.may):
            there = one.there[places]
            if there.any():
                uncounted.add(rows.filter(pa.array(there)))
                rows = rows.filter(pa.array(~there))
            for name in rows.column("family").unique().to_pylist():
                own = _released(driver, rows, name)
                takes_back |= _takes_back(own, name)
                moved.bring(table_key(study, name), one.part.file.month, own)
        uncounted.end_of_file()
    counts = table_key(study, CHECK_COUNT.name)
    moved.change(counts, lessened(driver, counts, uncounted.finish()))
    if takes_back:  # what a released row says was entered in error is taken back after it
        ask(driver.ledger, Kind.RECALL, {"study": study}, driver.clock())


def _released(driver: Driver, rows: pa.Table, family: str) -> pa.Table:
    """The rows of one family as its table has them, marked with the entry that releases them."""
    own = rows.filter(pa.array(rows.column("family").to_numpy() == family))
    return numbered(own.select(FAMILIES[family].schema.names), "released", driver.ledger.next_n)


def _takes_back(rows: pa.Table, family: str) -> bool:
    """Whether one of the rows says of others that they were entered in error."""
    return family in REVISED_FAMILIES and bool(set(rows.column("status").unique().to_pylist()) & {*ENTERED_IN_ERROR})
