"""What a desk shows in tests: two studies, ninety days of counts, rows in quarantine, among them a small stratum.

`sleep` is judged by gate and job; partner acme's ring is worn by four people only, fewer than the smallest cell.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import pyarrow as pa

from quality.checks import checks
from quality.chosen import RowSet
from quality.desk import StudyFacts
from schemas.families import FAMILIES
from tests.canaries import MARK
from tests.desks import OUTCOME, FakeDesk

TODAY = date(2026, 11, 29)
NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
K = 10
PSEUDONYM = f"{MARK}PSEUDONYM".upper()
VALUE = 987654.25
STRATA: list[tuple[str, str, str | None, str | None, int]] = [
    ("acme", "heart_rate", "watch", "1.2.3", 60),
    ("acme", "heart_rate", "watch", "1.3.0", 40),
    ("acme", "heart_rate", "ring", "2.0.0", 4),
    ("beat", "heart_rate", "band", None, 55),
    ("beat", "heart_rate", "strap", "0.9.1", 30),
]
ENROLLED = 200


def moment(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def desk(days: int = 90) -> FakeDesk:
    """Both studies; what is asked of it is kept in `asked` and `seen`."""
    facts = {
        "sleep": StudyFacts("sleep", "Sleep and shift work", K),
        "cycle": StudyFacts("cycle", "Cycle", K),
    }
    return FakeDesk(facts, {"sleep": dict(_tables(days))})


@cache
def _tables(days: int) -> dict[str, pa.Table]:
    past = [TODAY - timedelta(days=i) for i in reversed(range(days))]
    return {
        "check_count": _table("check_count", (row for day in past for row in _counts(day))),
        "day_summary": _table("day_summary", (row for day in past for row in _summary(day))),
        "quarantine": _table("quarantine", _held_back()),
        "decision": _table("decision", _decided()),
        "outcome": pa.Table.from_pylist(list(_outcomes(past)), schema=OUTCOME),
    }


def _table(name: str, rows: Iterator[dict[str, Any]]) -> pa.Table:
    schema = FAMILIES[name].schema
    return pa.Table.from_pylist(
        [{**{field.name: _filler(field) for field in schema}, **row} for row in rows], schema=schema
    )


def _filler(field: pa.Field) -> Any:
    if field.nullable:
        return None
    kind = field.type
    if pa.types.is_timestamp(kind):
        return moment(TODAY)
    if pa.types.is_binary(kind):
        return b""
    return "" if pa.types.is_string(kind) else 0


def _counts(day: date) -> Iterator[dict[str, Any]]:
    for i, (partner, metric, model, firmware, people) in enumerate(STRATA):
        for check in ("PL-01", "PL-00", "CF-09"):
            usual = day.toordinal() * 7 % 5 * 8 if i == 0 and day != TODAY else 0
            failed = {"PL-01": people * 6 if i == 1 and day == TODAY else usual, "PL-00": i % 2, "CF-09": people}
            yield {
                "partner": partner,
                "family": "observation",
                "metric": metric,
                "device_model": model,
                "firmware": firmware,
                "start": moment(day),
                "check": check,
                "version": 1,
                "n_eval": people * 100,
                "n_fail": failed[check],
                "n_na": 0,
            }


def _summary(day: date) -> Iterator[dict[str, Any]]:
    base = {"family": "observation", "start": moment(day), "enrolled": ENROLLED}
    for partner, metric, model, firmware, people in STRATA:
        source = {"partner": partner, "metric": metric, "device_model": model, "firmware": firmware}
        yield {**base, **source, "level": "stratum", "rows": people * 100, "people": people}
    yield {**base, "level": "metric", "metric": "heart_rate", "rows": 18_900, "people": 180}
    yield {**base, "level": "metric", "metric": "skin_temperature", "rows": 300, "people": 3}
    yield {**base, "level": "study", "rows": 19_200, "people": 182}


def _held_back() -> Iterator[dict[str, Any]]:
    for i in range(24):
        partner, metric, model, firmware, _ = STRATA[2 if i < 3 else 1]
        yield {
            "family": "observation",
            "pbucket": 0,
            "pseudonym": f"{PSEUDONYM}{i:02}",
            "metric": metric,
            "unit": "/min",
            "value": VALUE + i,
            "start": moment(TODAY) + timedelta(minutes=i),
            "end": moment(TODAY) + timedelta(minutes=i),
            "partner": partner,
            "device_model": model,
            "firmware": firmware,
            "flags": checks()["PL-01" if i % 2 else "PL-00"].mask,
            "key64": i - 5,
        }


def _decided() -> Iterator[dict[str, Any]]:
    """A proposal about a critical check's rows by bob, and a threshold that two people agreed on."""
    threshold = {"threshold": {"check": "CF-09", "warning": 0.5, "alarm": None}}
    yield _decision(1, "propose", "bob", "CF-09", threshold)
    yield _decision(2, "approve", "cyd", "CF-09", {**threshold, "proposal": f"{1:032x}"}, second="bob")
    rows = {"decision": "release", "check": "PL-00", "metric": "heart_rate", "expected": 12}
    rows["fingerprint"] = _fingerprint("PL-00", "heart_rate")
    yield _decision(3, "propose", "bob", "PL-00", rows, rows=12)


def _fingerprint(check: str, metric: str) -> str:
    mask = checks()[check].mask
    keys = [row["key64"] for row in _held_back() if row["flags"] & mask and row["metric"] == metric]
    return RowSet(len(keys), sum(keys), 0).fingerprint


def _decision(n: int, kind: str, by: str, check: str, about: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "decision": f"{n:032x}",
        "kind": kind,
        "start": moment(TODAY) + timedelta(hours=n),
        "by": by,
        "check": check,
        "about": json.dumps(about),
        "reason": f"reason {n}",
        "rows": 0,
        "entry": n,
        **more,
    }


def _outcomes(past: list[date]) -> Iterator[dict[str, Any]]:
    for day in past:
        for outcome, reason, n in (("landed", "", 18_000), ("withheld", "R_NOT_MEMBER", 700), ("duplicate", "", 500)):
            yield {"day": day, "outcome": outcome, "reason": reason, "n": n}
