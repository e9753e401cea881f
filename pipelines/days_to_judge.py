"""What the quality job has to judge by now: the days that entries have changed since it last looked, and those that have ended.

An old lake has many entries, and a large one many files: whoever looks can leave off after each file, and go on.
"""

import time
from collections.abc import Iterator
from datetime import date, timedelta

from pipelines.changed_days import days_changed
from pipelines.driver import Driver
from pipelines.files import table_key
from pipelines.progress import Judged
from pipelines.zones import DAY_US
from quality.job.times import as_day
from schemas.families import DAY_SUMMARY

LONGEST_SILENCE = 28
"""Days on which nothing came are judged as they end, so many at most after nobody has been at work."""


class Look:
    """One look at a lake, from what is known on: by nobody, from the first entry on."""

    def __init__(self, driver: Driver, known: Judged | None) -> None:
        self._driver = driver
        self._today = as_day(driver.clock() // DAY_US)
        known = known or Judged(through=0, until=self._today)
        self._left = {study: set(days) for study, days in known.left.items()}
        self._through, self._until = known.through, known.until
        self._steps = self._look()

    def go_on(self, until: float) -> Judged | None:
        """All that there is to judge; None where it is not known by a moment of the monotonic clock."""
        for _ in self._steps:
            if time.monotonic() >= until:
                return None
        return self.reached

    @property
    def reached(self) -> Judged:
        """What is known so far: of whole entries."""
        left = {study: tuple(sorted(days)) for study, days in sorted(self._left.items()) if days}
        mine = {study: days for study, days in left.items() if study in self._driver.studies}
        return Judged(through=self._through, until=self._until, left=mine)

    def _look(self) -> Iterator[None]:
        driver = self._driver
        for entry in driver.ledger.entries(self._through + 1):
            changed = yield from days_changed(entry, driver.ledger, driver.store)
            for study, days in changed.items():
                self._left.setdefault(study, set()).update(map(as_day, days))
            self._through = entry.n
            yield
        for day in _ended(self._until, self._today):
            for study in driver.studies:
                if driver.tables.live_files(table_key(study, DAY_SUMMARY.name)):
                    self._left.setdefault(study, set()).add(day)
        self._until = max(self._today, self._until)


def _ended(first: date, today: date) -> list[date]:
    """The days from `first` to yesterday, the last ones where they are many."""
    count = min((today - first).days, LONGEST_SILENCE)
    return [today - timedelta(days=back) for back in range(count, 0, -1)]
