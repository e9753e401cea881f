"""The parts of a report besides the checks: who has data, wear, latency, kits, what waits, what was decided."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from quality import counts
from quality.check_numbers import share_of
from quality.checks import Check
from quality.chosen import condition
from quality.coarse import at_least, count_told, mean_told, share_that_fails, share_that_passes, significant
from quality.coverage import COVERAGE_DAYS, Coverage, enrolled_by_day, told_coverage
from quality.desk import LakeDesk, Stratum, StudyFacts
from quality.overview import days_until, last_monday
from quality.suppression import Share, withheld_rows

KIT_WEEKS = 12
MOST_GROUPS = 100
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Covered:
    """Who has data, in rounded shares, and how many readings a participant with data has of each metric that day, rounded."""

    coverage: Coverage
    enrolled: int | None
    readings: Mapping[str, float]


def covered(desk: LakeDesk, facts: StudyFacts, day: date) -> Covered:
    """The coverage of the last days; `enrolled` is down to a multiple of the smallest cell."""
    days, k = days_until(day, COVERAGE_DAYS), facts.smallest_cell
    table = counts.coverage(desk, facts.id, days[0], day)
    today = [row for row in table.to_pylist() if row["day"] == day and row["metric"] and row["most_of_one"]]
    means = {row["metric"]: mean_told(row["rows"], row["people"], row["most_of_one"], k) for row in today}
    readings = {metric: mean for metric, mean in means.items() if mean}
    enrolled = enrolled_by_day(table).get(day, 0)
    return Covered(told_coverage(table, days, k), at_least(enrolled, k), readings)


@dataclass(frozen=True)
class Wear:
    """How long devices were worn that day, by those who wore one, and how many days of the last week counted.

    Nothing is withheld of what was not judged.
    """

    is_judged: bool
    worn_enough: Share | None
    median_hours: float | None
    monday: date
    week_is_judged: bool
    enough_days: Share | None
    median_days: float | None


def wear(desk: LakeDesk, facts: StudyFacts, day: date) -> Wear:
    """From WT-01 of the day and WT-02 of the last week that was over."""
    monday = last_monday(day)
    worn, week = _one_result(desk, facts, day, "WT-01"), _one_result(desk, facts, monday, "WT-02")
    return Wear(
        _is_judged(worn),
        _passes(worn, facts),
        _measure(worn, facts),
        monday,
        _is_judged(week),
        _passes(week, facts),
        _measure(week, facts),
    )


def _is_judged(row: Row | None) -> bool:
    return row is not None and row["n_eval"] > 0


def _one_result(desk: LakeDesk, facts: StudyFacts, day: date, check: str) -> Row | None:
    """A check's result where it has one of everybody."""
    rows = desk.history(facts.id, day, day, check).to_pylist()
    return next((row for row in rows if row["judge"] == "job"), None)


def _passes(row: Row | None, facts: StudyFacts) -> Share | None:
    if row is None or (row["people"] or 0) < facts.smallest_cell:
        return None
    return share_that_passes(row["n_fail"], row["n_eval"], facts.smallest_cell)


def _measure(row: Row | None, facts: StudyFacts) -> float | None:
    return significant(row["measure"]) if row and (row["people"] or 0) >= facts.smallest_cell else None


@dataclass(frozen=True)
class Late:
    """When the readings of a group of devices arrived: 95th percentile, hours, the median of its people's days."""

    metric: str | None
    partner: str | None
    device_model: str | None
    firmware: str | None
    hours: float | None
    late: Share | None


def latency(desk: LakeDesk, facts: StudyFacts, day: date, in_force: Mapping[str, Check]) -> list[Late]:
    """From TM-09 of the day, the latest first, groups of enough people only."""
    k, check = facts.smallest_cell, in_force["TM-09"]
    rows = desk.history(facts.id, day, day, check.id).to_pylist()
    told = [row for row in rows if row["judge"] == "job" and row["n_eval"] and (row["people"] or 0) >= k]
    told.sort(key=lambda row: (-(row["measure"] or 0.0), str(row["metric"]), str(row["partner"])))
    return [
        Late(
            row["metric"],
            row["partner"],
            row["device_model"],
            row["firmware"],
            significant(row["measure"]),
            share_of(check, {**row, "is_final": False}, k),
        )
        for row in told[:MOST_GROUPS]
    ]


@dataclass(frozen=True)
class KitWeek:
    """The kits of a week: `due` are those that should have come back by then, down to a multiple of the smallest cell."""

    monday: date
    due: int | None
    returned: Share | None
    arrived: int | None
    suitable: Share | None
    rejected: Mapping[str, Share | None]


_KITS = """
WITH week AS (SELECT unnest(?::TIMESTAMPTZ[]) AS monday), of_week AS (
  SELECT monday, received, rejected, rejected_reason,
    sent + to_days(?) >= monday AND sent + to_days(?) < monday + to_days(7) AS due,
    received >= monday AND received < monday + to_days(7) AS arrived
  FROM kit, week
)
SELECT monday, CASE WHEN arrived THEN rejected_reason END AS reason, count(*) FILTER (due) AS due,
  count(*) FILTER (due AND received < monday + to_days(7)) AS returned, count(*) FILTER (arrived) AS arrived,
  count(*) FILTER (arrived AND rejected IS NULL) AS suitable
FROM of_week WHERE due OR arrived GROUP BY ALL ORDER BY monday, reason"""


def kits(desk: LakeDesk, facts: StudyFacts, day: date, in_force: Mapping[str, Check]) -> list[KitWeek]:
    """The last weeks that were over, oldest first, with what LK-13 compares; those without a kit are left out."""
    mondays = [last_monday(day) - timedelta(days=7 * back) for back in reversed(range(KIT_WEEKS))]
    wait = round(in_force["LK-13"].number("due_days"))
    begins = [datetime.combine(monday, time(), UTC) for monday in mondays]
    rows = desk.query(facts.id, _KITS, [begins, wait, wait]).to_pylist()
    weeks = {monday: [row for row in rows if row["monday"].date() == monday] for monday in mondays}
    return [_kit_week(monday, of_week, facts.smallest_cell) for monday, of_week in weeks.items() if of_week]


def _kit_week(monday: date, rows: Iterable[Row], k: int) -> KitWeek:
    rows = list(rows)
    due, returned, arrived, suitable = (
        sum(row[name] for row in rows) for name in ("due", "returned", "arrived", "suitable")
    )
    rejected = {row["reason"]: share_that_fails(row["arrived"], arrived, k) for row in rows if row["reason"]}
    return KitWeek(
        monday,
        at_least(due, k),
        share_that_passes(due - returned, due, k),
        at_least(arrived, k),
        share_that_passes(arrived - suitable, arrived, k),
        rejected if arrived >= k else {},
    )


@dataclass(frozen=True)
class Held:
    """Rows of one group that wait in quarantine, rounded; None where nothing would be left of the number."""

    metric: str | None
    partner: str | None
    device_model: str | None
    firmware: str | None
    n: int | None


@dataclass(frozen=True)
class Waiting:
    """What waits of the day's rows, the most first; whether groups are not told of; whether earlier rows wait too."""

    groups: list[Held]
    any_withheld: bool
    earlier: bool


def waiting(desk: LakeDesk, facts: StudyFacts, day: date) -> Waiting:
    """Each row is told of in the report of its own day. Small groups, and those that give them away, are not named."""
    where, values = condition(Stratum(day=day))
    rows = counts.waiting(desk, facts.id, where, values).to_pylist()
    k = facts.smallest_cell
    hidden = withheld_rows([row["people"] for row in rows], k)
    groups = [
        Held(
            row["metric"],
            row["partner"],
            row["device_model"],
            row["firmware"],
            count_told(row["n"], row["most_of_one"], k),
        )
        for row, hides in zip(rows, hidden, strict=True)
        if not hides
    ]
    begin = datetime.combine(day, time(), UTC)
    earlier = counts.anything_waits(desk, facts.id, "start < ?", [begin])
    return Waiting(groups[:MOST_GROUPS], any(hidden), earlier)


@dataclass(frozen=True)
class Decided:
    """A decision of the day (`at`, UTC): its kind, about which check, and the thresholds where it is about these.

    Not which rows and how many: they may be one person's. Nor its reason, which somebody wrote freely.
    """

    at: datetime
    kind: str
    by: str
    second: str | None
    check: str | None
    warning: float | None
    alarm: float | None


def decided(desk: LakeDesk, facts: StudyFacts, day: date) -> list[Decided]:
    """What was decided and proposed that day, in order."""
    rows = [row for row in counts.decisions(desk, facts.id).to_pylist() if row["start"].astimezone(UTC).date() == day]
    return [_decided(row) for row in reversed(rows)]


def _decided(row: Row) -> Decided:
    threshold = json.loads(row["about"]).get("threshold") or {}
    return Decided(
        row["start"].astimezone(UTC),
        row["kind"],
        row["by"],
        row["second"] or None,
        row["check"] or threshold.get("check"),
        threshold.get("warning"),
        threshold.get("alarm"),
    )
