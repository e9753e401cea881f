"""The pages that say how things stand: all of one's studies at a glance, a study, its coverage."""

from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa
from starlette.responses import Response

from quality import counts
from quality.breakdowns import outcome_rows
from quality.check_numbers import CheckNumbers, numbers_on
from quality.checks import Severity, Where, checks
from quality.coarse import share_told, together
from quality.coverage import coverage_until
from quality.desk import LakeDesk, StudyFacts
from quality.overview import State, by_check, by_severity, days_until, matrix, newest_day, standings
from quality.pictures import percent, sparkline
from quality.shown import coverage_map, drawn, in_force_of, signed_off
from quality.suppression import Share
from quality.web.visit import Visit

GLANCE_DAYS = 30


@dataclass(frozen=True)
class Glance:
    """One study on one page with others: its newest day, and what of it."""

    facts: StudyFacts
    day: date | None
    violated: dict[Severity, int]
    judged: int
    waiting: bool
    with_data: Share | None
    picture: str


def studies(visit: Visit) -> Response:
    """All studies in which the visitor has a role."""
    mine = [facts for id, facts in visit.desk.studies().items() if visit.user and visit.user.may("view", id)]
    found = [_glance(visit.desk, facts, visit.now.date()) for facts in sorted(mine, key=lambda facts: facts.id)]
    return visit.page("studies.html", glances=found)


def study(visit: Visit) -> Response:
    """Kahn's matrix, the checks and what came of the readings, of one day."""
    facts, (day, found) = visit.study, checks_of_day(visit)
    return visit.page(
        "study.html",
        day=day,
        before=day - timedelta(days=1),
        after=day + timedelta(days=1),
        matrix=matrix(found),
        judged=[one for one in found if one.state is not State.NOT_APPLICABLE],
        others=[one for one in found if one.state is State.NOT_APPLICABLE],
        pictures={one.check.id: _small_trend(one) for one in found},
        outcomes=outcome_rows(counts.outcomes(visit.desk, facts.id, day, day), facts.smallest_cell),
        signed=signed_off(visit.desk, facts.id, day),
    )


def coverage(visit: Visit) -> Response:
    """Which share of those enrolled has data, metric by day: as a picture, and as the table behind it."""
    last = visit.day() or visit.now.date()
    found = coverage_until(visit.desk, visit.study, last)
    return visit.page("coverage.html", day=last, found=found, picture=coverage_map(found))


def checks_of_day(visit: Visit) -> tuple[date, list[CheckNumbers]]:
    """The checks as they stand on the day that is asked for, or on the newest that was judged; and which day that is."""
    facts, last = visit.study, visit.day() or visit.now.date()
    table = _last_days(visit.desk, facts.id, last)
    day = visit.day() or newest_day(table) or last
    return day, numbers_on(visit.desk, facts, table, days_until(day, GLANCE_DAYS), in_force_of(visit.desk, facts.id))


def _last_days(desk: LakeDesk, study: str, last: date) -> pa.Table:
    return counts.check_days(desk, study, days_until(last, GLANCE_DAYS)[0], last)


def _glance(desk: LakeDesk, facts: StudyFacts, today: date) -> Glance:
    days = _last_days(desk, facts.id, today)
    day = newest_day(days)
    found = standings(by_check(days), day, in_force_of(desk, facts.id), facts.smallest_cell) if day else []
    return Glance(
        facts,
        day,
        by_severity(found),
        sum(one.state.is_judged for one in found),
        counts.anything_waits(desk, facts.id),
        coverage_until(desk, facts, day).any_data[-1] if day else None,
        _violations(facts, days, day or today),
    )


def _violations(facts: StudyFacts, days: pa.Table, last: date) -> str:
    """How the share of failures went, of all checks that judge rows together: the day's share of what was judged."""
    of_rows = [
        rows for name, rows in by_check(days).items() if name in checks() and checks()[name].where is not Where.JOB
    ]
    told = [[rows[day] for rows in of_rows if day in rows] for day in days_until(last, GLANCE_DAYS)]
    values = [drawn(share_told(together(of_day), facts.smallest_cell)) if of_day else None for of_day in told]
    shown = [value for value in values if value is not None]
    words = f"Between {percent(min(shown))} and {percent(max(shown))}." if shown else "Nothing was judged."
    return sparkline(f"glance-{facts.id}", values, "Share of failures, 30 days", words)


def _small_trend(one: CheckNumbers) -> str:
    if not one.has_trend:
        return ""
    values = [drawn(share) for share in one.trend.values()]
    shown = [value for value in values if value is not None]
    words = f"Between {percent(min(shown))} and {percent(max(shown))} failed."
    return sparkline(f"trend-{one.check.id}", values, f"{one.check.id}, 30 days", words)
