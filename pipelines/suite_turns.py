"""When a driver has suites judged: one study after the other, in a process of its own, and at most every so many hours.

The driver starts it and looks whether it has ended; the results come back as a request. A failure is said and counted.
When it was last time is kept beside the ledger, so that a driver that is started often does not begin to count again.
"""

import subprocess
import sys
from collections import deque
from tempfile import TemporaryFile

from pipelines.driver import Driver
from pipelines.judging_status import note_suites, suites_began_us
from pipelines.suite_findings import Errand

HOUR_US = 3_600_000_000
LONGEST_US = HOUR_US
MOST_WORDS = 20


class SuiteTurns:
    """Of one driver. `close` it, which ends a process that is still at work."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._every_us = round(driver.settings.quality.suites_every_h * HOUR_US)
        self._began_us = suites_began_us(driver.store)
        self._since_us = 0
        self._waiting: deque[str] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._study, self._until_us, self._failed = "", 0, ""
        self._told = TemporaryFile()  # noqa: SIM115 - closed with this
        self.failures = 0

    def turn(self) -> None:
        """Look at the process that is at work, or start the next one where it is time."""
        now = self._driver.clock()
        if self._process is not None:
            self._look(self._process, now)
        elif self._every_us and not self._waiting and self._is_due(now):
            self._waiting.extend(sorted(self._driver.studies))
            self._since_us = self._began_us or 0
            self._note(now)
        if self._process is None and self._waiting:
            self._start(self._waiting.popleft(), now)

    def _is_due(self, now: int) -> bool:
        """Of a lake of which nothing is known, so many hours from now on."""
        if self._began_us is None:
            self._note(now)
        return self._began_us is not None and now >= self._began_us + self._every_us

    def _note(self, began_us: int) -> None:
        self._began_us = began_us
        note_suites(self._driver.store, began_us, self.failures, self._failed)

    def close(self) -> None:
        if self._process is not None:
            _end(self._process)
        self._told.close()

    def _start(self, study: str, now: int) -> None:
        self._study, self._until_us = study, now + LONGEST_US
        self._told.seek(0)
        self._told.truncate()
        with TemporaryFile() as errand:
            errand.write(Errand.of(self._driver.settings, study, self._since_us).model_dump_json().encode())
            errand.seek(0)
            command = [sys.executable, "-m", "pipelines.suiting"]
            self._process = subprocess.Popen(command, stdin=errand, stdout=self._told, stderr=subprocess.DEVNULL)

    def _look(self, process: subprocess.Popen[bytes], now: int) -> None:
        code = process.poll()
        if code is None and now < self._until_us:
            return
        if code is None:
            _end(process)
        self._process = None
        if code:
            self._fail("the process failed")
        elif code is None:
            self._fail("it took too long")
        else:
            self._tell()

    def _fail(self, why: str) -> None:
        self._count(1)
        self._driver.say(f"the suites of {self._study} could not be judged: {why}; the stream goes on")

    def _tell(self) -> None:
        """Whatever it had to say: counts of checks, nothing about a person."""
        self._told.seek(0)
        words = self._told.read().decode().splitlines()
        self._count(sum("could not be judged" in line for line in words))
        for line in words[:MOST_WORDS]:
            self._driver.say(f"{self._study}: {line}")

    def _count(self, failures: int) -> None:
        if failures and self._began_us is not None:
            self.failures, self._failed = self.failures + failures, self._study
            self._note(self._began_us)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its own process sees that it is gone, and ends too."""
    process.kill()
    process.wait()
