"""How each check stands: its state, its numbers of the day, and its trend, as pages, exports and reports may tell them.

Counts stand there where enough people are behind them and nothing else that is told gives away a small group with them;
until the day is signed off they are rounded. The trend has rounded shares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from quality import counts
from quality.checks import Check, Scope, Where
from quality.coarse import (
    counts_told,
    is_told,
    not_applicable,
    share_of_rows,
    share_that_fails,
    share_told,
    telling_checks,
)
from quality.desk import LakeDesk, StudyFacts
from quality.job.results import JUDGE
from quality.overview import Standing, State, by_check, days_until, in_order, is_weekly, last_monday, standings
from quality.suppression import Share

TREND_DAYS = 90

Row = Mapping[str, Any]


@dataclass(frozen=True)
class CheckNumbers:
    """One check. `of` is its day or, of a week, its Monday; the trend has every day, or Monday, until then.

    `judged` and `failed` count rows, rounded unless they are what was signed off (`is_final`); they are None where they are
    withheld and where a check is of people and their days, of whom there are rounded shares only. `fails` (the share) is
    None also where nothing was judged, `not_applicable` until it is signed off.
    """

    check: Check
    state: State
    of: date
    judged: int | None
    failed: int | None
    fails: Share | None
    not_applicable: Share | None
    trend: Mapping[date, Share | None]
    is_final: bool = False

    @property
    def has_trend(self) -> bool:
        return any(share is not None for share in self.trend.values())


def check_numbers(desk: LakeDesk, facts: StudyFacts, day: date, in_force: Mapping[str, Check]) -> list[CheckNumbers]:
    """Every check of the catalogue, what is violated first. A check of weeks is told of the last that was over."""
    days = days_until(day, TREND_DAYS)
    return numbers_on(desk, facts, counts.check_days(desk, facts.id, days[0], day), days, in_force)


def numbers_on(
    desk: LakeDesk, facts: StudyFacts, table: pa.Table, days: Sequence[date], in_force: Mapping[str, Check]
) -> list[CheckNumbers]:
    """The same of the last of these days, from what `counts.check_days` gives of them."""
    day, k, of_checks = days[-1], facts.smallest_cell, by_check(table)
    telling = telling_checks(counts.judged_strata(desk, facts.id, day), k)
    found = in_order(standings(of_checks, day, in_force, k))
    return [_numbers(one, of_checks.get(one.check.id, {}), days, k, telling) for one in found]


def _numbers(
    one: Standing, rows: Mapping[date, Row], days: Sequence[date], k: int, telling: frozenset[str]
) -> CheckNumbers:
    """Nothing but the state of WT-04: it sums who sent nothing over all metrics, small ones too. The coverage has it."""
    check, state, of = one.check, one.state, one.of
    if not state.is_judged:
        nothing = 0 if state is State.NOT_APPLICABLE else None
        return CheckNumbers(check, state, of, nothing, nothing, None, None, trend(check, rows, days, k))
    if check.scope is Scope.STUDY_DAY:
        return CheckNumbers(check, state, of, None, None, None, None, {})
    row, fails, judged, failed = rows[of], share_of(check, rows[of], k), None, None
    final = bool(row["is_final"])
    if not (is_weekly(check) or check.id in telling or _counts_people(check, row)):  # several days tell of a week
        judged, failed = counts_told(row, k)
        if final and judged and failed is not None:
            fails = Share(failed / judged)
    rest = not_applicable(row["n_na"], row["n_eval"]) if final or not row["n_na"] else None
    return CheckNumbers(check, state, of, judged, failed, fails, rest, trend(check, rows, days, k), final)


def share_of(check: Check, row: Row | None, k: int) -> Share | None:
    """The share that fails; None where it is withheld or nothing was judged."""
    if row is None or not row["n_eval"] or (row["people"] or 0) < k or check.scope is Scope.STUDY_DAY:
        return None
    if row["most_of_one"] is None:  # strata as a whole are judged by the job alone
        return share_that_fails(row["n_fail"], row["n_eval"], k) if row["judge"] == JUDGE else None
    if row["is_final"] and is_told(row, k) and not _counts_people(check, row):
        return share_of_rows(row["n_fail"], row["n_eval"], k)
    return share_told(row, k)


def _counts_people(check: Check, row: Row) -> bool:
    """Whether what failed may be as many people: days, weeks or windows of theirs, and not strata or rows."""
    return check.where is Where.JOB and bool(row["n_eval"] >= row["people"])


def trend(check: Check, rows: Mapping[date, Row], days: Sequence[date], k: int) -> dict[date, Share | None]:
    """The share that fails by day, or of each week that is over by its Monday; none of what the coverage has."""
    if check.scope is Scope.STUDY_DAY:
        return {}
    last = last_monday(days[-1])
    shown = [day for day in days if day.weekday() == 0 and day <= last] if is_weekly(check) else days
    return {day: share_of(check, rows.get(day), k) for day in shown}
