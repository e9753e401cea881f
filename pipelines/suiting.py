"""Suites on the lake: a day is judged beside the driver, which reads the lake as a desk does and leaves what it found.

`python -m pipelines.suiting` does it for a driver (`pipelines/suite_turns.py`), which takes the results as a request.
"""

import sys
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from pipelines.entries import Kind, now_us
from pipelines.lake_desk import LakeDesk
from pipelines.ledger import Ledger
from pipelines.pinned import DAYS, medians_of
from pipelines.places import store_of
from pipelines.requests import ask, selection_of
from pipelines.settings import Settings
from pipelines.suite_findings import Errand, Findings, Told, Unseen
from quality.checks import Check
from quality.desk import THE_JOB as BY
from quality.in_force import approved, checks_of
from quality.job.times import day_number, instant, moment
from quality.suite_day import EVERY_ROW, Asked, Judged, judge_days
from schemas.families import OBSERVATION, WAVEFORM
from schemas.registry import load_partners, load_studies

MOST_DAYS = 60
"""Of so many days at most the rows of laboratories are looked at in one night; the others are left to the next ones."""
_NEWEST = """
SELECT max(CAST(start AS DATE)) AS day FROM day_summary WHERE level = 'study' AND "rows" > 0 AND start < ?"""
_SUMMARIES = """
SELECT level, metric, "rows", people, median FROM day_summary WHERE level = 'metric' AND start >= ? AND start < ?"""
_BROUGHT = """
SELECT CAST(start AS DATE) AS day FROM {family}_all WHERE coalesce(released, entry) > ? AND coalesce(released, entry) <= ?
UNION
SELECT CAST(start AS DATE) AS day FROM quarantine WHERE family = '{family}' AND entry > ? AND entry <= ?"""


class Found(NamedTuple):
    """The day that was judged, what was found of it and of others, and the days that are left to the next time."""

    day: date
    judged: Judged
    left: tuple[date, ...]


class NothingToJudge(Exception):
    """There is no day that has ended and has rows."""


# -- one day


def judge_by_suites(
    settings: Settings,
    study: str,
    day: date | None = None,
    whole: Collection[str] | None = None,
    unseen: Unseen | None = None,
) -> Found:
    """Judge a day of a study (UTC), or the newest one that has ended and has rows.

    Of `whole` families every row is looked at; where nothing is said, of one family of sensors, another each day. So is
    every row of laboratories and questionnaires, also of other days of which any is `unseen`.
    """
    with closing(LakeDesk(settings)) as desk:
        now = instant(now_us())
        chosen = day or _newest(desk, study, now)
        others = _brought(desk, study, unseen, chosen) if unseen else []
        others, left = others[:MOST_DAYS], others[MOST_DAYS:]
        newest = chosen or max(others, default=None)
        if newest is None:
            raise NothingToJudge("there is no day that has ended and has readings")
        first = Asked(
            study=study,
            day=newest,
            of=_in_force(desk, settings, study),
            whole=(_of_the_night(newest),) if whole is None else whole,
            firmware={partner.name: partner.firmware for partner in load_partners(settings.partners).values()},
            medians=_medians(desk, study, newest),
            now=now,
        )
        rest = [replace(first, day=other, families=EVERY_ROW, units=False) for other in others if other != newest]
        return Found(newest, judge_days(desk, [first, *rest]), tuple(left))


def _brought(desk: LakeDesk, study: str, unseen: Unseen, chosen: date | None) -> list[date]:
    """The days, ended or not, of laboratories' and questionnaires' rows that no suite has looked at, in their turn.

    By the entry that brought them: rows that were held, released or judged again keep the moment of their first receipt.
    """
    sql = " UNION ".join(_BROUGHT.format(family=family) for family in EVERY_ROW)
    found = desk.query(study, f"{sql} ORDER BY day DESC", [unseen.after, unseen.through] * 2 * len(EVERY_ROW))
    days = dict.fromkeys((*unseen.left, *found.column("day").to_pylist()))
    return [day for day in days if day != chosen]


def _newest(desk: LakeDesk, study: str, now: datetime) -> date | None:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found: date | None = desk.query(study, _NEWEST, [today]).column("day")[0].as_py()
    return found


def _of_the_night(day: date) -> str:
    return (OBSERVATION.name, WAVEFORM.name)[day.toordinal() % 2]


def _in_force(desk: LakeDesk, settings: Settings, study: str) -> Mapping[str, Check]:
    changes = approved(desk.query(study, "SELECT * FROM decision").to_pylist())
    return checks_of(changes, transit_limit_us=load_studies(settings.studies)[study].transit_limit_us)


def _medians(desk: LakeDesk, study: str, day: date) -> dict[str, float]:
    """The population's medians of the days before."""
    end = moment(day_number(day))
    found = desk.query(study, _SUMMARIES, [end - timedelta(days=DAYS), end])
    return medians_of(found, desk.studies()[study].smallest_cell)


def request_of(study: str, day: date, found: Judged, by: str = BY) -> dict[str, JsonValue]:
    """What is asked of the driver: that the results take the place of the suites' earlier ones."""
    findings = Findings.of(found.results, [one.words for one in found.differences])
    about: dict[str, JsonValue] = {"day": day.isoformat(), "suites": findings.model_dump(mode="json")}
    return selection_of(study, by, "judged by suites", about)


def words_of(found: Judged) -> list[str]:
    """What could not be judged, and what the gate counted otherwise: nothing about a person."""
    failed = [f"{one.check or one.suite} could not be judged ({one.error})" for one in found.failures]
    return [*failed, *(one.words for one in found.differences)]


# -- for a driver


def main() -> int:
    """Judge, leave the request, and say on standard output what could not be judged and what was counted differently.

    1 where nothing could be judged at all: then it is tried again.
    """
    errand = Errand.model_validate_json(sys.stdin.buffer.read())
    settings = errand.settings()
    try:
        day, found, left = judge_by_suites(settings, errand.study, unseen=errand.unseen)
    except NothingToJudge:
        sys.stdout.write(Told().model_dump_json())
        return 0
    if found.results.num_rows:
        ask(Ledger(store_of(settings.lake)), Kind.JUDGE, request_of(errand.study, day, found), now_us())
    sys.stdout.write(Told(words=tuple(words_of(found)), left=left).model_dump_json())
    return int(any(one.is_of_all for one in found.failures))


if __name__ == "__main__":
    sys.exit(main())
