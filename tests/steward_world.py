"""What a desk shows in tests: two studies, ninety days of counts, rows in quarantine, among them a small stratum.

`sleep` is judged by gate and job; partner acme's ring is worn by four people only, fewer than the smallest cell.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
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
PEOPLE = {(metric, model, firmware): people for _, metric, model, firmware, people in STRATA}
"""How many there are of each stratum."""
FOUND_IN, SIGNED_IN = 8, 4
"""The entries in which the job found what it did, and in which a day was signed off."""
Rows = Iterator[dict[str, Any]]


def moment(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def desk(days: int = 90, signed: Iterable[date] = ()) -> FakeDesk:
    """Both studies, with some days signed off; what is asked of it is kept in `asked` and `seen`."""
    facts = {
        "sleep": StudyFacts("sleep", "Sleep and shift work", K),
        "cycle": StudyFacts("cycle", "Cycle", K),
    }
    tables = dict(_tables(days))
    tables["decision"] = pa.concat_tables([tables["decision"], _table("decision", _signed_off(signed))])
    return FakeDesk(facts, {"sleep": tables})


@cache
def _tables(days: int) -> dict[str, pa.Table]:
    past = [TODAY - timedelta(days=i) for i in reversed(range(days))]
    return {
        "check_count": _table("check_count", (row for day in past for row in _counts(day))),
        "check_result": _table("check_result", (row for day in past for row in _found(_counts(day), PEOPLE))),
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


def _found(counted: Iterable[dict[str, Any]], people: Mapping[Any, int], everybody: int = 180) -> Rows:
    """What the job finds of such counts: the people of each stratum sent as much each, and each who can fails once."""
    of_check: dict[str, list[dict[str, Any]]] = {}
    for row in counted:
        who = people[row["metric"], row["device_model"], row["firmware"]]
        failing = min(row["n_fail"], who)
        passing = min(row["n_eval"] - row["n_fail"], who)
        behind = {"people": who, "people_failing": failing, "people_passing": passing}
        most = -(-row["n_eval"] // max(1, who))
        found = {**row, **behind, "judge": "gate", "most_of_one": most, "entry": FOUND_IN}
        of_check.setdefault(row["check"], []).append(found)
        yield found
    for check, rows in of_check.items():
        sums = {name: sum(row[name] for row in rows) for name in ("n_eval", "n_fail", "n_na")}
        behind = {name: sum(row[name] for row in rows) for name in ("people_failing", "people_passing")}
        who = min(everybody, sum(row["people"] for row in rows))
        whole = {"check": check, "start": rows[0]["start"], "version": 1, "judge": "gate", "people": who, **sums}
        yield {**whole, **behind, "most_of_one": max(row["most_of_one"] for row in rows), "entry": FOUND_IN}


def _summary(day: date) -> Iterator[dict[str, Any]]:
    base = {"family": "observation", "start": moment(day), "enrolled": ENROLLED}
    for partner, metric, model, firmware, people in STRATA:
        source = {"partner": partner, "metric": metric, "device_model": model, "firmware": firmware}
        yield {**base, **source, "level": "stratum", "rows": people * 100, "people": people}
    yield {**base, "level": "metric", "metric": "heart_rate", "rows": 18_900, "people": 180, "most_of_one": 120}
    yield {**base, "level": "metric", "metric": "skin_temperature", "rows": 300, "people": 3, "most_of_one": 100}
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


def _signed_off(days: Iterable[date]) -> Rows:
    for day in days:
        yield {**_decision(SIGNED_IN, "sign-off", "cyd", "", {"day": day.isoformat()}), "check": None}


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
        for outcome, reason, n, people in (
            ("landed", "", 18_000, 150),
            ("withheld", "R_NOT_MEMBER", 700, 40),
            ("duplicate", "", 500, 50),
        ):
            yield {"day": day, "outcome": outcome, "reason": reason, "n": n, "people": people}
