"""Which results stay as they are: those of days that stewards have signed off, as the job found them next.

So what is told of such a day is what it was at its sign-off, whatever comes late.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa

from quality.desk import LakeDesk
from quality.job.results import GATE, JUDGE, Results
from quality.job.segments import DAY_US, integers
from quality.job.times import as_day, day_number, moment

_SIGNED = "SELECT about, min(entry) AS entry FROM decision WHERE kind = 'sign-off' GROUP BY about"
_FOUND = """
SELECT judge, "check", CAST(start AS DATE) AS day, min(entry) AS entry FROM check_result
WHERE start >= ? AND start < ? AND CAST(start AS DATE) IN (SELECT unnest(?::DATE[])) GROUP BY ALL"""

Final = frozenset[tuple[str, str, date]]
"""Judge, check and day of results that stay."""


def signed_days(desk: LakeDesk, study: str) -> dict[date, int]:
    """The days that are signed off, each with the ledger entry of its first sign-off."""
    found: dict[date, int] = {}
    for row in desk.query(study, _SIGNED).to_pylist():
        day = date.fromisoformat(json.loads(row["about"])["day"])
        found[day] = min(row["entry"], found.get(day, row["entry"]))
    return found


def is_final(day: date, entry: int, signed: Mapping[date, int]) -> bool:
    """Whether a day's results of that ledger entry were found after its sign-off."""
    return day in signed and entry > signed[day]


def read_final(desk: LakeDesk, study: str) -> Final:
    """The results that stay, of all days that are signed off."""
    signed = signed_days(desk, study)
    if not signed:
        return frozenset()
    span = [moment(day_number(min(signed))), moment(day_number(max(signed)) + 1)]
    rows = desk.query(study, _FOUND, [*span, sorted(signed)]).to_pylist()
    return frozenset(
        (row["judge"], row["check"], row["day"]) for row in rows if is_final(row["day"], row["entry"], signed)
    )


def without_final(found: Results, final: Final, weekly: Collection[str]) -> Results:
    """What was found, without what would take the place of results that stay; of a week no day's sign-off is one."""
    counted = {day for judge, _, day in final if judge == GATE}
    replaced = {(check, day) for judge, check, day in final if judge == JUDGE and check not in weekly}
    if not counted and not replaced:
        return found
    rows = found.results
    days = [as_day(day) for day in (integers(rows.column("start")) // DAY_US).tolist()]
    keys = zip(rows.column("judge").to_pylist(), rows.column("check").to_pylist(), days, strict=True)
    stays = [day in counted if judge == GATE else (check, day) in replaced for judge, check, day in keys]
    return replace(
        found,
        results=rows.filter(pa.array(~np.array(stays, dtype=bool))),
        replaced=found.replaced - replaced,
        counted=found.counted - counted,
    )
