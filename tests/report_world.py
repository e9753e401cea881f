"""The stewards' world with what a report adds: results after the commit, kits, a sign-off, and small groups to be found.

Small groups have numbers of rows by which they are known again: `SMALL_METRIC` rows of three people's metric, and, once
`late` people have come, `LATE` rows more on the day before the last.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import chain
from typing import Any

import pyarrow as pa

from tests.desks import KIT, FakeDesk
from tests.steward_world import (
    ENROLLED,
    PEOPLE,
    STRATA,
    TODAY,
    K,
    _counts,
    _decision,
    _found,
    _held_back,
    _signed_off,
    _summary,
    _table,
    desk,
    moment,
)

SMALL_METRIC = 7_919
LATE = 307
BEFORE = TODAY - timedelta(days=1)
MONDAY = date(2026, 11, 23)
REASON = "because of a remark"
SILENT, SHORT, LATE_DAYS = 4, 60, 20
HOURS = 14.25
DAYS = 8


def report_desk(late: bool = False) -> FakeDesk:
    """The world at the end of the last day, which is signed off; `late`: after two people's readings of the day before
    have come.
    """
    world = desk(DAYS)
    past = [TODAY - timedelta(days=back) for back in reversed(range(DAYS))]
    tables = world.tables["sleep"]
    tables["check_count"] = _table("check_count", (row for day in past for row in _counted(day, late)))
    tables["day_summary"] = _table("day_summary", (row for day in past for row in _summarised(day)))
    tables["check_result"] = _table("check_result", chain(*(chain(_results(day), _gate(day, late)) for day in past)))
    tables["quarantine"] = _table("quarantine", _waiting(late))
    signed = [{**row, "reason": REASON} for row in _signed_off((TODAY,))]
    released = _decision(5, "release", "bob", "PL-00", {"check": "PL-00", "rows": ["0" * 16]}, rows=3, reason=REASON)
    tables["decision"] = pa.concat_tables([tables["decision"], _table("decision", iter([*signed, released]))])
    tables["kit"] = pa.Table.from_pylist(list(_kits()), schema=KIT)
    return world


def _counted(day: date, late: bool) -> Iterator[dict[str, Any]]:
    """Besides what the desk shows: a check of all metrics, and a metric of three people that it judged too."""
    for row in _counts(day):
        if late and day == BEFORE and row["device_model"] == "watch" and row["firmware"] == "1.2.3":
            row = {**row, "n_eval": row["n_eval"] + LATE, "n_fail": row["n_fail"] + 1}
        yield row
        if row["check"] == "PL-01":
            yield {**row, "check": "TM-10", "n_fail": 0}
    small = {**row, "metric": "skin_temperature", "n_eval": SMALL_METRIC, "n_fail": 0}
    yield {**small, "check": "TM-10"}
    yield {**small, "check": "PL-03"}


def _gate(day: date, late: bool) -> Iterator[dict[str, Any]]:
    """What the job found of the gate's counts."""
    known = {**PEOPLE, ("skin_temperature", *STRATA[-1][2:4]): 3}
    yield from _found(_counted(day, late), known, everybody=182)


def _summarised(day: date) -> Iterator[dict[str, Any]]:
    yield from _summary(day)
    partner, _, model, firmware, _ = STRATA[-1]
    source = {"partner": partner, "device_model": model, "firmware": firmware, "metric": "skin_temperature"}
    base = {"family": "observation", "start": moment(day), "enrolled": ENROLLED, "level": "stratum"}
    yield {**base, **source, "rows": SMALL_METRIC, "people": 3}


def _results(day: date) -> Iterator[dict[str, Any]]:
    for row in _of_people(day):
        if row["check"] in ("WT-04", "LK-13"):  # whose units are not one person's each
            yield row
        else:
            passed = row["n_eval"] - row["n_fail"]
            yield {**row, "people_failing": row["n_fail"], "people_passing": passed, "most_of_one": 1}


def _of_people(day: date) -> Iterator[dict[str, Any]]:
    base = {"judge": "job", "version": 1, "start": moment(day), "n_na": 0, "people": 180}
    yield {**base, "check": "WT-01", "n_eval": 180, "n_fail": SHORT, "measure": HOURS}
    yield {**base, "check": "WT-03", "n_eval": ENROLLED, "n_fail": SILENT, "people": ENROLLED}
    for metric, there in ((None, 182), ("heart_rate", 180), ("skin_temperature", 3)):
        missing = {"n_eval": ENROLLED, "n_fail": ENROLLED - there, "people": ENROLLED}
        yield {**base, **missing, "check": "WT-04", "metric": metric}
    for partner, metric, model, firmware, people in STRATA:
        source = {"partner": partner, "metric": metric, "device_model": model, "firmware": firmware}
        shares = {"n_eval": people, "n_fail": LATE_DAYS if people == 60 else 0, "people": people}
        hours = 30.04 if people >= K else 77.7
        yield {**base, **source, **shares, "check": "TM-09", "family": "observation", "measure": hours}
    if day == MONDAY:
        yield {**base, "check": "WT-02", "n_eval": 150, "n_fail": 15, "people": 150, "measure": 6.0}
        yield {**base, "check": "LK-13", "n_eval": 2, "n_fail": 1, "people": 40, "measure": 0.75}


def _waiting(late: bool) -> Iterator[dict[str, Any]]:
    """Twelve people's rows of the band on the last day and the day before, and those of four people's ring."""
    for place, row in enumerate(_held_back()):
        yield row
        if place >= 3:
            for day, count in ((TODAY, 3), (BEFORE, 2)):
                for n in range(count):
                    at = moment(day) + timedelta(hours=1 + n)
                    other = {"partner": "beat", "device_model": "band", "firmware": None}
                    yield {**row, **other, "start": at, "end": at, "key64": 1000 + place * 10 + n}
    if late:
        yield {**row, "start": moment(BEFORE), "key64": 5}


def _kits() -> Iterator[dict[str, Any]]:
    """Of 40 that were due in the last week 30 came back, 4 of them rejected."""
    for n in range(40):
        back = moment(MONDAY) + timedelta(days=1) if n < 30 else None
        rejected = {"rejected": back, "rejected_reason": "haemolysed"} if n < 4 else {}
        yield {"barcode_hash": str(n), "sent": moment(MONDAY) - timedelta(days=20), "received": back, **rejected}


def numbers(value: Any) -> Iterator[float]:
    """Every number of a JSON value."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
