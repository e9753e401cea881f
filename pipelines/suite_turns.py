"""When a driver has suites judged: a study in a process of its own, one after the other, and each at most every so many hours.

The driver starts it and looks whether it has ended; the results come back as a request. That a study was judged is noted
beside the ledger once its process has ended well, and no sooner: one that failed, or whose driver was killed, is tried
again. A failure is said and counted.
"""

import subprocess
import sys
from tempfile import TemporaryFile

from pydantic import ValidationError

from pipelines.driver import Driver
from pipelines.judging_status import StudySuites, Suites, note_suites, suites_known
from pipelines.suite_findings import Errand, Told, Unseen
from pipelines.zones import DAY_US

HOUR_US = 3_600_000_000
LONGEST_US = HOUR_US
AGAIN_US = 600 * 1_000_000
"""After a failure the next try is so long after it."""
MOST_TRIES = 4
"""So many tries may fail in a day; then it is left alone until the first of them is a day old."""
MOST_WORDS = 20


class SuiteTurns:
    """Of one driver. `close` it, which ends a process that is still at work."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._every_us = round(driver.settings.quality.suites_every_h * HOUR_US)
        self._known = dict(suites_known(driver.store).studies)
        self._process: subprocess.Popen[bytes] | None = None
        self._study, self._began_us, self._through, self._failed = "", 0, 0, ""
        self._told = TemporaryFile()  # noqa: SIM115 - closed with this
        self.failures = 0

    def turn(self) -> None:
        """Look at the process that is at work, or start the next one where it is time."""
        now = self._driver.clock()
        if self._process is not None:
            self._look(self._process, now)
        if self._process is None and self._every_us and (study := self._due(now)):
            self._start(study, now)

    def _due(self, now: int) -> str | None:
        """The study that has waited longest of those whose turn it is. One of which nothing is known has to wait first."""
        for study in sorted(set(self._driver.studies) - set(self._known)):
            self._note(study, StudySuites(began_us=now))
        due = [(self._due_us(self._known[study]), study) for study in self._driver.studies]
        return min(((at, study) for at, study in due if at <= now), default=(0, None))[1]

    def _due_us(self, known: StudySuites) -> int:
        due = known.began_us + self._every_us
        if not known.failed_us:
            return due
        is_enough = len(known.failed_us) >= MOST_TRIES
        return max(due, known.failed_us[0] + DAY_US if is_enough else known.failed_us[-1] + AGAIN_US)

    def _note(self, study: str, known: StudySuites) -> None:
        self._known[study] = known
        mine = {study: one for study, one in self._known.items() if study in self._driver.studies}
        note_suites(self._driver.store, Suites(studies=mine, failures=self.failures, failed=self._failed))

    def close(self) -> None:
        if self._process is not None:
            _end(self._process)
        self._told.close()

    def _start(self, study: str, now: int) -> None:
        head, known = self._driver.ledger.head(), self._known[study]
        self._study, self._began_us, self._through = study, now, head.n if head else 0
        unseen = Unseen(after=known.through, through=self._through, left=known.left)
        self._told.seek(0)
        self._told.truncate()
        with TemporaryFile() as errand:
            errand.write(Errand.of(self._driver.settings, study, unseen).model_dump_json().encode())
            errand.seek(0)
            command = [sys.executable, "-m", "pipelines.suiting"]
            self._process = subprocess.Popen(command, stdin=errand, stdout=self._told, stderr=subprocess.DEVNULL)

    def _look(self, process: subprocess.Popen[bytes], now: int) -> None:
        code = process.poll()
        if code is None and now < self._began_us + LONGEST_US:
            return
        if code is None:
            _end(process)
        self._process, told = None, self._heard()
        words = told.words if told else ()
        for line in words[:MOST_WORDS]:
            self._driver.say(f"{self._study}: {line}")
        if code == 0 and told:
            self._count(sum("could not be judged" in line for line in words))
            done = StudySuites(began_us=self._began_us, done_us=now, through=self._through, left=told.left)
            self._note(self._study, done)
        else:
            self._fail("it took too long" if code is None else "the process failed", now)

    def _fail(self, why: str, now: int) -> None:
        known = self._known[self._study]
        failed_us = (*(at for at in known.failed_us if now - at < DAY_US), now)
        self._count(1)
        self._note(self._study, known.model_copy(update={"failed_us": failed_us}))
        next_one = "tried again in 10 minutes"
        if len(failed_us) >= MOST_TRIES:
            next_one = (
                f"left alone for a day after {MOST_TRIES} tries: "
                f"`wellspring quality suites --study {self._study}` says what is wrong"
            )
        self._driver.say(
            f"the suites of {self._study} could not be judged ({why}) and are {next_one}; the stream goes on"
        )

    def _heard(self) -> Told | None:
        """What it had to say; None where it did not come to that."""
        self._told.seek(0)
        try:
            return Told.model_validate_json(self._told.read())
        except ValidationError:
            return None

    def _count(self, failures: int) -> None:
        if failures:
            self.failures, self._failed = self.failures + failures, self._study


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its own process sees that it is gone, and ends too."""
    process.kill()
    process.wait()
