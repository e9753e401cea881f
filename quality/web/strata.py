"""From a check to its strata, and from there to the rows that wait: numbers only, small ones withheld."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from starlette.responses import Response

from quality import counts
from quality.breakdowns import BY, Strata, strata_of
from quality.check_numbers import TREND_DAYS, trend
from quality.checks import Check, Scope
from quality.chosen import condition
from quality.coarse import count_told
from quality.desk import Stratum
from quality.overview import by_check, days_until, is_weekly, newest_day, standings, told_of
from quality.shown import drawn, in_force_of, trend_picture
from quality.suppression import Share, withheld_rows
from quality.web.visit import STRATUM, Fault, Visit, stratum_of

MOST_STRATA = 100
_NONE = Share(0.0)


@dataclass(frozen=True)
class Waiting:
    """Rows in quarantine of one stratum and day; `n` is None where it is withheld."""

    stratum: Stratum
    n: int | None


def check(visit: Visit) -> Response:
    """A check: how it went in ninety days, and by stratum on one day."""
    known, day = check_of(visit), visit.day()
    facts, last = visit.study, day or visit.now.date()
    days = days_until(last, TREND_DAYS)
    table = counts.check_days(visit.desk, facts.id, days[0], last, known.id)
    day, of_checks = day or newest_day(table) or last, by_check(table)
    (standing,) = standings(of_checks, day, {known.id: known}, facts.smallest_cell)
    shares = trend(known, of_checks.get(known.id, {}), days, facts.smallest_cell)
    found = strata_of_day(visit, known, day)
    return visit.page(
        "check.html",
        check=known,
        day=day,
        trend=[(on, _told_on(known, on), share) for on, share in shares.items()],
        picture=trend_picture("trend", known, list(shares), [drawn(one) for one in shares.values()]) if shares else "",
        state=standing.state,
        of=standing.of,
        found=found,
        finest=[row for row in found.finest if row.fails != _NONE][:MOST_STRATA],
        names=counts.STRATUM,
        by=BY,
        titles=TITLES,
    )


def waiting(visit: Visit) -> Response:
    """What waits in quarantine, all of it or a part. A part's numbers are for those only who may see its rows.

    A part less another part may be a few people; whoever sees one division only cannot subtract.
    """
    is_part = any(visit.one(name, visit.asked) for name in STRATUM)
    chosen = stratum_of(visit.asked) if is_part else Stratum()
    where, values = condition(chosen)
    rows = counts.waiting(visit.desk, visit.study.id, where, values).to_pylist()
    found = _told(rows, chosen, visit.study.smallest_cell)
    if is_part and not visit.may("rows"):
        found = [replace(one, n=None) for one in found]
    return visit.page("waiting.html", chosen=chosen, found=found, titles=TITLES)


def check_of(visit: Visit) -> Check:
    """The check of the path, as it is in force in the study; Fault where there is none."""
    return check_of_name(visit, visit.place["check"])


def check_of_name(visit: Visit, name: str) -> Check:
    """The check of that name; Fault where there is none."""
    found = in_force_of(visit.desk, visit.study.id).get(name)
    if found is None:
        raise Fault(404, "There is no such check.")
    return found


def strata_of_day(visit: Visit, known: Check, day: date) -> Strata:
    """The check's shares by stratum on a day, or of the week that is told of then; none of what the coverage has."""
    if known.scope is Scope.STUDY_DAY:
        return Strata({name: [] for name in BY}, [], anything=False, any_withheld=False)
    rows = counts.strata(visit.desk, visit.study.id, known.id, told_of(known, day))
    return strata_of(known, rows, counts.STRATUM, visit.study.smallest_cell)


def _told_on(known: Check, day: date) -> date:
    """The first day on which that day of the trend is told of."""
    return day + timedelta(days=6) if is_weekly(known) else day


TITLES = {
    "check": "Check",
    "partner": "Partner",
    "family": "Family",
    "metric": "Metric",
    "device_model": "Device model",
    "firmware": "Firmware",
    "day": "Day",
}


def _told(rows: list[dict[str, Any]], chosen: Stratum, k: int) -> list[Waiting]:
    """Rounded; small strata and those that would give them away stand there without their number, the last of their day."""
    hidden = withheld_rows([row["people"] for row in rows], k)
    told = [
        Waiting(
            replace(chosen, **{name: row[name] for name in (*counts.STRATUM, "day")}),
            None if hides else count_told(row["n"], row["most_of_one"], k),
        )
        for row, hides in zip(rows, hidden, strict=True)
    ]
    days = {one.stratum.day: i for i, one in enumerate(told)}  # as they came: the newest first
    return sorted(told, key=lambda one: (days[one.stratum.day], one.n is None, -(one.n or 0), _named(one.stratum)))


def _named(stratum: Stratum) -> list[str]:
    return [stratum.metric or "", stratum.partner or "", stratum.device_model or "", stratum.firmware or ""]
