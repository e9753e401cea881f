"""When somebody is told: what stands how in a study, what of it has changed, and the words for it.

Pure functions. A condition is a check's, the job's, or that of rows that wait; its level is judged from the same numbers
and by the same thresholds as on the stewards' pages, and what they withhold is no news here either: it changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from quality.check_numbers import share_of
from quality.checks import Check, Severity
from quality.overview import State, counted, state_of
from quality.pictures import percent
from quality.suppression import Share, bound_of

LOOKED_BACK = 14
"""Days among which the newest one is looked for on which a check was judged."""
JOB, WAITING, TEST = "job", "waiting", "test"
"""Conditions that are no check's."""

OfDays = Mapping[date, Mapping[str, Any]]


class Level(StrEnum):
    """How a condition stands, the gravest last."""

    OK = "ok"
    WARNING = "warning"
    ALARM = "alarm"


_LEVELS = {State.PASSED: Level.OK, State.WARNING: Level.WARNING, State.ALARM: Level.ALARM}
_GRAVITY = {level: place for place, level in enumerate(Level)}


@dataclass(frozen=True)
class Condition:
    """How one thing stands: `about` is the check's id, `job` or `waiting`; `day` (UTC) and `share` where there are any.

    The share is rounded as on the pages; `bound` says "at least" or "at most" where it is not the share itself.
    """

    study: str
    about: str
    title: str
    severity: Severity
    level: Level
    day: date | None = None
    share: float | None = None
    bound: str | None = None


@dataclass(frozen=True)
class Change:
    """A condition that stands otherwise than before (None: it was not known); times are microseconds, UTC."""

    id: str
    at_us: int
    before: Level | None
    now: Condition


def conditions(
    study: str, of_checks: Mapping[str, OfDays], catalogue: Mapping[str, Check], today: date, k: int
) -> list[Condition]:
    """How the checks stand that were judged within `LOOKED_BACK` days and are not withheld.

    A check stands as on the newest of these days or on the day before it, whichever is worse, since readings of
    yesterday still come in when today's have begun to.
    """
    found = []
    for name, check in catalogue.items():
        judged = _judged(check, of_checks.get(name, {}), today, k) if check.is_active else []
        if judged:
            newest = judged[0][0]
            near = [one for one in judged if newest - one[0] <= timedelta(days=1)]
            day, level, share = max(near, key=lambda one: _GRAVITY[one[1]])
            told = (None, None) if share is None else (share.value, bound_of(share))
            found.append(Condition(study, name, check.title, check.severity, level, day, *told))
    return found


def _judged(check: Check, of_days: OfDays, today: date, k: int) -> list[tuple[date, Level, Share | None]]:
    """The days on which it was judged, the newest first, how it stood and which part of what was judged failed."""
    found = []
    for back in range(LOOKED_BACK):
        day = today - timedelta(days=back)
        level = _LEVELS.get(state_of(check.thresholds, counted(of_days.get(day), k)))
        if level is not None:
            found.append((day, level, share_of(check, of_days.get(day), k)))
    return found


def job_condition(study: str, went_well: bool) -> Condition:
    """How the quality job of a study went last."""
    level = Level.OK if went_well else Level.ALARM
    return Condition(study, JOB, "The quality job cannot judge the study's days", Severity.CRITICAL, level)


def waiting_condition(study: str, days: float, any_wait: bool) -> Condition:
    """Whether rows have waited in quarantine for longer than so many days; how many is for the desk to say."""
    level = Level.WARNING if any_wait else Level.OK
    return Condition(
        study, WAITING, f"Rows have waited in quarantine for more than {days:g} days", Severity.WARNING, level
    )


def changed(known: Mapping[str, Level], found: Iterable[Condition]) -> list[tuple[Level | None, Condition]]:
    """The conditions that stand otherwise than known, with how they stood; one that was never otherwise than ok is no news."""
    return [(known.get(one.about), one) for one in found if known.get(one.about, Level.OK) is not one.level]


def trial(study: str) -> Condition:
    """What a test tells."""
    title = "This is a test: the receiver would be told like this"
    return Condition(study, TEST, title, Severity.INFO, Level.OK)


# -- words


def line(change: Change) -> str:
    """A change in a line: study, condition, how it stands, since when it was otherwise, and where it may be told, the share."""
    one = change.now
    name = one.title if one.about in (JOB, WAITING, TEST) else f"{one.about} {one.title}"
    before = f", was {change.before}" if change.before and change.before is not one.level else ""
    bound = f"{one.bound} " if one.bound else ""
    share = f", {bound}{percent(one.share)} of what was judged" if one.share is not None else ""
    of_day = f" on {one.day.isoformat()}" if one.day else ""
    return f"{one.study}: {one.level} ({one.severity}{before}): {name}{share}{of_day}"


def headline(changes: Sequence[Change]) -> str:
    """What a mail's subject says: how many conditions stand how, in which studies."""
    levels = [change.now.level for change in changes]
    counts = [f"{levels.count(level)} {level}" for level in reversed(Level) if level in levels]
    return f"Wellspring: {', '.join(counts)} in {', '.join(sorted({change.now.study for change in changes}))}"


def as_json(change: Change, desk: str) -> dict[str, Any]:
    """A change as a webhook's message has it, with the address of the desk's page."""
    one = change.now
    return {
        "id": change.id,
        "at_us": change.at_us,
        "study": one.study,
        "about": one.about,
        "title": one.title,
        "severity": str(one.severity),
        "state": str(one.level),
        "before": str(change.before) if change.before else None,
        "day": one.day.isoformat() if one.day else None,
        "share": one.share,
        "bound": one.bound,
        "text": line(change),
        "link": link(one, desk),
    }


def of_json(said: Mapping[str, Any]) -> Change:
    """The change of which `as_json` made that."""
    day = date.fromisoformat(said["day"]) if said["day"] else None
    of = {name: said[name] for name in ("study", "about", "title", "share", "bound")}
    now = Condition(severity=Severity(said["severity"]), level=Level(said["state"]), day=day, **of)
    return Change(said["id"], said["at_us"], Level(said["before"]) if said["before"] else None, now)


def link(one: Condition, desk: str) -> str:
    """The page on which a steward sees it."""
    page = f"{desk}/studies/{quote(one.study)}"
    if one.about == WAITING:
        return f"{page}/waiting"
    if one.about in (JOB, TEST):
        return page
    return f"{page}/checks/{quote(one.about)}" + (f"?day={one.day.isoformat()}" if one.day else "")
