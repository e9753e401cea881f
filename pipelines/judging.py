"""The quality job: what a cycle has changed is judged as a whole, a few days at a time, when the driver has nothing to do.

The ledger alone says how far it has come. A turn's results replace the earlier ones of the same days and checks in one
entry, so that a day that is judged twice has one answer. Whatever goes wrong in it is said and counted, and the stream
goes on: the study's days wait until they are tried again.
"""

import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from datetime import date, datetime

from pipelines.days_to_judge import Look
from pipelines.driver import Driver
from pipelines.entries import Entry, Fenced, Kind, TableChange
from pipelines.judged_results import settle
from pipelines.judging_status import note_failure
from pipelines.lake_desk import LakeDesk
from pipelines.progress import Judged, Progress
from quality.checks import Check
from quality.job.results import Results
from quality.job.times import instant

Steps = Generator[None, None, Results]
"""A job that can be interrupted after each of its steps; it returns its results."""
TRY_AGAIN_US = 600 * 1_000_000
TURN_S = 2.0
"""A turn ends after the part of a day in which so much time is over: the stream waits while it goes on."""
LONG_S, SHORT_S = 20.0, 5.0
"""Days that take so long together are followed by half as many, those that take so little by twice as many.

The stream has its turn between their parts: this bounds what a crash has to repeat. Half of what one day costs, when it is
judged alone, is what it would have shared with others: the session, the history, the week, the entry.
"""
LOOK_S = 2.0
"""So long it looks at a time which days have changed."""


class Judging:
    """The job of one driver. `close` it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.desk = LakeDesk(driver.settings, driver.clock, threads=1, vault=driver.vault)
        self._judged: Judged | None = None
        self._looking: Look | None = None
        self._work: Work | None = None
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
        """Whether the last turn ended in the midst of a day or of a look, with which the next one goes on."""
        return self._work is not None or self._looking is not None

    def turn(self, every_s: float = 0.0) -> Entry | None:
        """Judge some of the days that have changed: the entry, or None where none is left but what failed of late.

        First it looks which days these are. Where that takes long the entry says no more than how far it has come.

        None also where it `is_busy`: then the stream has its turn, which is not to wait for a large day. Once none was left
        nothing is done for `every_s` seconds. Fenced where another driver has taken over.
        """
        now = self._driver.clock()
        if not self.is_busy and self._rested_us is not None and now - self._rested_us < every_s * 1_000_000:
            return None
        if self._work is None and not self._has_looked():
            return self._note_reached()
        while self._work is not None or self._begin(now):
            entry = self._go_on()
            if entry or self.is_busy:
                return entry
        self._rested_us = now
        return None

    def _begin(self, now: int) -> bool:
        """Take up a study's first days; False where no study has any that can be judged now."""
        judged = self._judged
        assert judged is not None, "it has looked"
        study = next((study for study in sorted(judged.left) if now >= self._again_us.get(study, now)), None)
        if study is None:
            return False
        days = judged.left[study][: self._at_once]
        self._work = Work(study, days, steps_of(self._driver, self.desk, study, days))
        left = {**judged.left, study: judged.left[study][self._at_once :]}
        self._judged = judged.model_copy(update={"left": {name: rest for name, rest in left.items() if rest}})
        return True

    def _has_looked(self) -> bool:
        """Whether it is known what is to be judged by now; a first look at an old lake takes many turns."""
        driver = self._driver
        self._looking = self._looking or Look(driver, self._judged or Progress.of(driver.ledger.head()).judged)
        found = self._looking.go_on(time.monotonic() + LOOK_S)
        if found is not None:
            self._judged, self._looking = found, None
        return found is not None

    def _note_reached(self) -> Entry | None:
        """An entry that says how far a long look has come, so that whoever drives next goes on from there."""
        assert self._looking is not None
        reached, kept = self._looking.reached, Progress.of(self._driver.ledger.head()).judged
        if reached.through == (kept.through if kept else 0):
            return None
        progress = {"judged": reached.model_dump(mode="json")}
        return self._driver.note(Kind.JUDGE, {"looked_through": reached.through}, {}, progress)

    def _go_on(self) -> Entry | None:
        """The entry of the days that were taken up; None where they are not done yet, or the job has failed."""
        driver, work, began = self._driver, self._work, time.monotonic()
        assert work is not None
        assert self._judged is not None
        try:
            with driver.at_work():
                found = work.go_on(began + TURN_S)
                replaced = None if found is None else settle(driver, work.study, found)
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

    def _give_back(self, work: "Work") -> None:
        assert self._judged is not None
        left = {**self._judged.left}
        left[work.study] = tuple(sorted({*work.days, *left.get(work.study, ())}))
        self._judged, self._work = self._judged.model_copy(update={"left": left}), None
        self.desk.release()

    def _learn(self, took_s: float) -> None:
        """Not so many days together that much is lost when the driver is killed."""
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


class Work:
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


def steps_of(driver: Driver, desk: LakeDesk, study: str, days: Iterable[date]) -> Steps:
    """The job of these days, by the checks in force now."""
    of = driver.pinned.checks_of(driver.studies[study])
    return (yield from job(desk, study, list(days), of, instant(driver.clock())))


def job(desk: LakeDesk, study: str, days: list[date], of: Mapping[str, Check], now: datetime) -> Steps:
    """What the job finds of some days by the checks in force; imported when the first day is judged."""
    from quality.job.judge import judge_in_steps

    return judge_in_steps(desk, study, days, of, now)
