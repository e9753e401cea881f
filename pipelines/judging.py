"""The quality job: what a cycle has changed is judged as a whole, a few days at a time, when the driver has nothing to do.

The ledger alone says how far it has come. A turn's results replace the earlier ones of the same days and checks in one
entry, so that a day that is judged twice has one answer. Whatever goes wrong in it is said and counted, and the stream
goes on: the study's days wait until they are tried again.
"""

import math
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Mapping
from datetime import date, datetime, timedelta

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from pipelines.changed_days import changed_days
from pipelines.driver import Driver
from pipelines.entries import Entry, Fenced, Kind, RequestRefused, TableChange
from pipelines.files import table_key
from pipelines.holds import Changes
from pipelines.judging_status import note_failure
from pipelines.lake_desk import LakeDesk
from pipelines.plan import Replacement
from pipelines.progress import Judged, Progress
from pipelines.replaced_results import replacement, result_goes, summary_goes
from pipelines.requests import Change, ask, everything, selection_of
from pipelines.suite_findings import Findings
from pipelines.zones import DAY_US
from quality.checks import Check
from quality.desk import THE_JOB as BY
from quality.desk import Stratum
from quality.job.results import JUDGE, Results
from quality.job.times import as_day, day_number, instant
from schemas.families import CHECK_RESULT, DAY_SUMMARY

Steps = Generator[None, None, Results]
"""A job that can be interrupted after each of its steps; it returns its results."""
TRY_AGAIN_US = 600 * 1_000_000
TURN_S = 2.0
"""A turn ends after the part of a day in which so much time is over: the stream waits while it goes on."""
LONG_S, SHORT_S = 2.0, 0.5
"""A turn that takes so long is followed by one of half as many days, one that takes so little by one of twice as many."""
LONGEST_SILENCE = 28
"""Days on which nothing came are judged as they end, so many at most after nobody has been at work."""


class Judging:
    """The job of one driver. `close` it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.desk = LakeDesk(driver.settings, driver.clock, threads=1)
        self._judged: Judged | None = None
        self._work: _Work | None = None
        self._again_us: dict[str, int] = {}
        self._rested_us: int | None = None
        self._at_once = driver.settings.quality.days_at_once
        self.failed = Counter[str]()
        self.went: dict[str, bool] = {}
        """Whether each study's days were judged when this job last tried."""
        self.took_s: dict[str, float] = {}

    @property
    def failures(self) -> int:
        """How often it has failed."""
        return self.failed.total()

    def close(self) -> None:
        if self._work is not None:
            self._work.close()
        self.desk.close()

    @property
    def is_busy(self) -> bool:
        """Whether the last turn ended in the midst of a day, with which the next one goes on."""
        return self._work is not None

    def turn(self, every_s: float = 0.0) -> Entry | None:
        """Judge some of the days that have changed: the entry, or None where none is left but what failed of late.

        None also where it `is_busy`: then the stream has its turn, which is not to wait for a large day. Once none was left
        nothing is done for `every_s` seconds. Fenced where another driver has taken over.
        """
        now = self._driver.clock()
        if not self.is_busy and self._rested_us is not None and now - self._rested_us < every_s * 1_000_000:
            return None
        while self.is_busy or self._begin(now):
            entry = self._go_on()
            if entry or self.is_busy:
                return entry
        self._rested_us = now
        return None

    def _begin(self, now: int) -> bool:
        """Take up a study's first days; False where no study has any that can be judged now."""
        judged = self._look()
        study = next((study for study in sorted(judged.left) if now >= self._again_us.get(study, now)), None)
        if study is None:
            return False
        days = judged.left[study][: self._at_once]
        self._work = _Work(study, days, _steps(self._driver, self.desk, study, days))
        left = {**judged.left, study: judged.left[study][self._at_once :]}
        self._judged = judged.model_copy(update={"left": {name: rest for name, rest in left.items() if rest}})
        return True

    def _look(self) -> Judged:
        """What is to be judged by now: what entries have changed since, and the days that have ended."""
        driver, known = self._driver, self._judged or Progress.of(self._driver.ledger.head()).judged
        today = as_day(driver.clock() // DAY_US)
        known = known or Judged(through=0, until=today)
        left = {study: set(days) for study, days in known.left.items()}
        through = known.through
        for entry in driver.ledger.entries(known.through + 1):
            for study, changed in changed_days(entry, driver.ledger, driver.store).items():
                left.setdefault(study, set()).update(map(as_day, changed))
            through = entry.n
        for day in _ended(known.until, today):
            for study in driver.studies:
                if driver.tables.live_files(table_key(study, DAY_SUMMARY.name)):
                    left.setdefault(study, set()).add(day)
        mine = {study: tuple(sorted(days)) for study, days in sorted(left.items()) if study in driver.studies and days}
        self._judged = Judged(through=through, until=max(today, known.until), left=mine)
        return self._judged

    def _go_on(self) -> Entry | None:
        """The entry of the days that were taken up; None where they are not done yet, or the job has failed."""
        driver, work, began = self._driver, self._work, time.monotonic()
        assert work is not None
        assert self._judged is not None
        try:
            with driver.at_work():
                found = work.go_on(began + TURN_S)
                replaced = None if found is None else _replaced(driver, self.desk, work.study, found)
        except Fenced:
            raise
        except Exception as error:  # quality never stops the stream
            self._give_back(work)
            self._note_failure(work.study, error)
            return None
        work.took_s += time.monotonic() - began
        if replaced is None:
            return None
        self._work = None
        self.desk.release()
        self._learn(work.took_s)
        days = work.days
        self.went[work.study] = True
        self.took_s[work.study] = self.took_s.get(work.study, 0.0) + work.took_s
        return driver.note(
            Kind.JUDGE,
            {"study": work.study, "days": len(days), "first": days[0].isoformat(), "last": days[-1].isoformat()},
            {table: TableChange(add=one.add, remove=one.remove) for table, one in replaced.items()},
            {"judged": self._judged.model_dump(mode="json")},
        )

    def _give_back(self, work: "_Work") -> None:
        assert self._judged is not None
        left = {**self._judged.left}
        left[work.study] = tuple(sorted({*work.days, *left.get(work.study, ())}))
        self._judged, self._work = self._judged.model_copy(update={"left": left}), None
        self.desk.release()

    def _learn(self, took_s: float) -> None:
        """The stream waits while a turn goes on, so none should take long."""
        if took_s > LONG_S:
            self._at_once = max(1, self._at_once // 2)
        elif took_s < SHORT_S:
            self._at_once = min(self._driver.settings.quality.days_at_once, self._at_once * 2)

    def _note_failure(self, study: str, error: Exception) -> None:
        """Say and count it, by its kind alone: its text may show what a person's rows hold."""
        driver, kind = self._driver, type(error).__name__
        self.failed[study] += 1
        self.went[study] = False
        self._again_us[study] = driver.clock() + TRY_AGAIN_US
        driver.say(f"the quality job of {study} failed ({kind}) and is tried again in 10 minutes; the stream goes on")
        note_failure(driver.store, self.failures, study, kind, driver.clock())


class _Work:
    """Days of a study that are being judged, through as many turns as it takes."""

    def __init__(self, study: str, days: tuple[date, ...], steps: Steps) -> None:
        self.study, self.days, self._steps = study, days, steps
        self.took_s = 0.0

    def go_on(self, until: float) -> Results | None:
        """The results; None where they are not there by a moment of the monotonic clock."""
        while True:
            try:
                next(self._steps)
            except StopIteration as end:
                found: Results = end.value
                return found
            if time.monotonic() >= until:
                return None

    def close(self) -> None:
        self._steps.close()


def _steps(driver: Driver, desk: LakeDesk, study: str, days: Iterable[date]) -> Steps:
    """The job of these days, by the checks in force now."""
    of = driver.pinned.checks_of(driver.studies[study])
    return (yield from job(desk, study, list(days), of, instant(driver.clock())))


def _replaced(driver: Driver, desk: LakeDesk, study: str, found: Results) -> dict[str, Replacement]:
    """Ask for the recalls that the job wishes, and write its results for the driver's next entry."""
    driver.on_step("judged")
    _ask_for_recalls(driver, study, found.recalls)
    written = _written(driver, study, found)
    driver.on_step("results written")
    return written


def _ask_for_recalls(driver: Driver, study: str, wished: Collection[Stratum]) -> None:
    """Leave a request for each stratum for which none waits. What stewards have released is not taken back by it."""
    waiting = [one.request.selection for one in everything(driver.store) if one.request]
    known = [said.get("about") for said in waiting if said.get("by") == BY]
    for stratum in wished:
        if (about := stratum.as_json()) in known:
            continue
        reason = f"found by {stratum.check} after it had landed" if stratum.check else "found after it had landed"
        ask(driver.ledger, Kind.RECALL, selection_of(study, BY, reason, about), driver.clock())


def job(desk: LakeDesk, study: str, days: list[date], of: Mapping[str, Check], now: datetime) -> Steps:
    """What the job finds of some days by the checks in force; imported when the first day is judged."""
    from quality.job.judge import judge_in_steps

    return judge_in_steps(desk, study, days, of, now)


def _written(driver: Driver, study: str, found: Results) -> dict[str, Replacement]:
    at = driver.ledger.next_n, driver.ledger.epoch
    parts = (
        (CHECK_RESULT, found.results, {day for _, day in found.replaced}, result_goes(JUDGE, found.replaced)),
        (DAY_SUMMARY, found.summaries, found.summarised, summary_goes(found.summarised)),
    )
    changes = {}
    for family, rows, days, goes in parts:
        table = table_key(study, family.name)
        live = driver.tables.live_files(table)
        changes[table] = replacement(driver.store, table, live, rows, map(day_number, days), goes, at)
    return {table: change for table, change in changes.items() if change.add or change.remove}


# -- by hand


class _Day(BaseModel):
    """The day, and what suites found of it where it is this that is asked to be kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    day: date
    suites: Findings | None = None


class _Selection(BaseModel):
    """What is asked for by whoever wants a day judged again."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    study: str
    by: str
    reason: str
    about: _Day


def judge(driver: Driver, selected: Mapping[str, JsonValue]) -> Change | None:
    """The change that judges a day of a study again, or keeps what suites found of it; None where there is nothing to say."""
    try:
        asked = _Selection.model_validate(selected)
    except ValidationError:
        raise RequestRefused("it does not name the study and the day that are judged again") from None
    if asked.study not in driver.studies:
        raise RequestRefused("it names a study that is not registered")
    day = asked.about.day.isoformat()
    cause: dict[str, JsonValue] = {"study": asked.study, "days": 1, "first": day, "last": day}
    driver.consent_now()
    if asked.about.suites is not None:
        kept = _of_suites(driver, asked.study, asked.about.suites)
        return _change(driver, kept, {**cause, "suites": True, "differences": len(asked.about.suites.differences)})
    desk = LakeDesk(driver.settings, driver.clock, threads=1)
    try:
        work = _Work(asked.study, (asked.about.day,), _steps(driver, desk, asked.study, [asked.about.day]))
        found = work.go_on(math.inf)
        assert found is not None, "it has all the time"
        replaced = _replaced(driver, desk, asked.study, found)
    except Exception as error:  # quality never stops the stream, and its text may show what a person's rows hold
        raise RequestRefused(f"the quality job failed ({type(error).__name__}): ask again") from None
    finally:
        desk.close()
    return _change(driver, replaced, cause)


def _of_suites(driver: Driver, study: str, found: Findings) -> dict[str, Replacement]:
    """The suites' results in place of their earlier ones."""
    table, at = table_key(study, CHECK_RESULT.name), (driver.ledger.next_n, driver.ledger.epoch)
    live = driver.tables.live_files(table)
    change = replacement(driver.store, table, live, found.table(), found.days(), found.goes, at)
    return {table: change} if change.add or change.remove else {}


def _change(driver: Driver, replaced: dict[str, Replacement], cause: dict[str, JsonValue]) -> Change | None:
    if not replaced:
        return None
    plan = driver.plan(Kind.JUDGE, [], replaced=replaced)
    return Change(plan=plan, holds=Changes([], [], []), cause=cause, rest=None)


def _ended(first: date, today: date) -> list[date]:
    """The days from `first` to yesterday, the last ones where they are many."""
    count = min((today - first).days, LONGEST_SILENCE)
    return [today - timedelta(days=back) for back in range(count, 0, -1)]
