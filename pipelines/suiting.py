"""Suites on the lake: a day is judged beside the driver, which reads the lake as a desk does and leaves what it found.

`python -m pipelines.suiting` does it for a driver (`pipelines/suite_turns.py`), which takes the results as a request.
"""

import sys
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta

from pydantic import JsonValue

from pipelines.entries import Kind, now_us
from pipelines.lake_desk import LakeDesk
from pipelines.ledger import Ledger
from pipelines.pinned import DAYS, medians_of
from pipelines.requests import ask, selection_of
from pipelines.settings import Settings
from pipelines.store import FolderStore
from pipelines.suite_findings import Errand, Findings
from quality.checks import Check
from quality.desk import THE_JOB as BY
from quality.in_force import approved, checks_of
from quality.job.times import day_number, instant, moment
from quality.suite_day import EVERY_ROW, Asked, Judged, judge_days
from schemas.families import OBSERVATION, WAVEFORM
from schemas.registry import load_partners, load_studies

MOST_DAYS = 60
"""Of so many days at most the rows of laboratories are looked at in one night."""
_NEWEST = """
SELECT max(CAST(start AS DATE)) AS day FROM day_summary WHERE level = 'study' AND "rows" > 0 AND start < ?"""
_SUMMARIES = """
SELECT level, metric, "rows", people, median FROM day_summary WHERE level = 'metric' AND start >= ? AND start < ?"""

_RECEIVED = """
SELECT DISTINCT CAST(start AS DATE) AS day FROM {family}_all WHERE received >= ? AND received < ?"""


class NothingToJudge(Exception):
    """There is no day that has ended and has rows."""


# -- one day


def judge_by_suites(
    settings: Settings,
    study: str,
    day: date | None = None,
    whole: Collection[str] | None = None,
    since_us: int | None = None,
) -> tuple[date, Judged]:
    """Judge a day of a study (UTC), or the newest one that has ended and has rows: the day, and what was found.

    Of `whole` families every row is looked at; where nothing is said, of one family of sensors, another each day. So is
    every row of laboratories and questionnaires, also of other days of which any was received from `since_us` on.
    """
    with closing(LakeDesk(settings)) as desk:
        now = instant(now_us())
        chosen = day or _newest(desk, study, now)
        others = _received(desk, study, since_us, now) - {chosen} if since_us is not None else set()
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
        rest = [replace(first, day=other, families=EVERY_ROW, units=False) for other in sorted(others - {newest})]
        return newest, judge_days(desk, [first, *rest])


def _received(desk: LakeDesk, study: str, since_us: int, now: datetime) -> set[date]:
    """The newest days, ended or not, of laboratories' and questionnaires' rows that were received since then."""
    since = instant(since_us)
    sql = " UNION ".join(_RECEIVED.format(family=family) for family in EVERY_ROW)
    found = desk.query(study, f"{sql} ORDER BY day DESC LIMIT {MOST_DAYS}", [since, now] * len(EVERY_ROW))
    return set(found.column("day").to_pylist())


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
        day, found = judge_by_suites(settings, errand.study, since_us=errand.since_us)
    except NothingToJudge:
        return 0
    if found.results.num_rows:
        ask(Ledger(FolderStore(settings.lake)), Kind.JUDGE, request_of(errand.study, day, found), now_us())
    sys.stdout.writelines(f"{line}\n" for line in words_of(found))
    return int(any(one.is_of_all for one in found.failures))


if __name__ == "__main__":
    sys.exit(main())
