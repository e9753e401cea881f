"""Looking at how the studies stand while the driver has nothing to do: for those who are alerted, and for the figures.

It costs nothing where nobody is alerted and no figures are shown. Whatever goes wrong in it is said, by its kind alone,
and the stream goes on.
"""

import time
from datetime import date, timedelta

from pipelines import measured
from pipelines.alert_book import AlertBook
from pipelines.alert_delivery import TIMEOUT_S
from pipelines.alerting import Telling, anything_due
from pipelines.driver import Driver
from pipelines.figures import HOUR_US, waiting
from pipelines.judging import Judging
from pipelines.metrics import Metrics
from quality.alerts import LOOKED_BACK, Condition, conditions, job_condition, waiting_condition
from quality.counts import check_days
from quality.job.times import instant
from quality.overview import by_check

REST = 20
"""After a look it rests for so many times as long as that took."""
LAST_S = 2.5 * TIMEOUT_S
"""How long a driver that ends waits for what is being told."""


class Lookout:
    """What one driver sees and tells of quality. `close` it."""

    def __init__(self, driver: Driver, judging: Judging, metrics: Metrics | None = None) -> None:
        self._driver, self._judging, self._metrics = driver, judging, metrics
        self._alerts = driver.settings.alerts
        self._book = AlertBook(driver.vault, driver.ledger.epoch) if self._alerts.receivers else None
        self._telling = Telling(driver.settings, driver.vault, driver.ledger.epoch, driver.clock, driver.say)
        self._looked_us, self._looked_at, self._rest_until = 0, -1, 0.0
        self._counted = self._cycled = self._head()
        self._found: dict[str, list[Condition]] = {}
        self._rows: dict[str, int | None] = {}
        self._said: set[str] = set()
        if self._book:
            self._book.forget_others(self._alerts.receivers)

    def close(self) -> None:
        if self._book:
            self._book.close()

    # -- when

    def cycled(self, seconds: float) -> None:
        """A cycle has ended, which took so long."""
        if self._metrics is None:
            return
        self._metrics.observe("wellspring_cycle_seconds", seconds)
        try:
            self._read_through(self._metrics, self._driver.clock() - round(seconds * 1_000_000))
            measured.measure_lag(self._metrics, self._driver)
        except Exception as error:  # Kafka may be away again: the next cycle says so itself
            self._say_once("the lag could not be measured", error)

    def missed(self) -> None:
        """A cycle could not be done, since Kafka is away."""
        if self._metrics:
            self._metrics.add("wellspring_cycles_missed_total", (), 1)

    def _read_through(self, metrics: Metrics, began_us: int) -> None:
        """A cycle that began then has read all that had come by then, unless its plan left something behind."""
        entries = list(self._driver.ledger.entries(self._cycled + 1))
        self._cycled = self._head()
        if not any("left" in entry.cause for entry in entries):
            metrics.set("wellspring_read_through_timestamp_seconds", {(): began_us / 1_000_000})

    def turn(self) -> None:
        """The driver's loop has come round: look, where something has changed, and tell what is due."""
        if self._metrics is None and self._book is None:
            return
        try:
            if self._is_due():
                self._look()
            if self._metrics:
                self._measure(self._metrics)
        except Exception as error:  # quality never stops the stream
            self._looked_at = -1
            self._say_once("how the studies stand could not be looked at", error)
        if self._book and anything_due(self._book, self._alerts, self._driver.clock()):
            self._telling.begin()

    def finish(self) -> None:
        """All is done: look once more, and wait for what is being told, but not for long."""
        self._rest_until, self._looked_at = 0.0, -1
        self._telling.wait(LAST_S)
        self.turn()
        self._telling.wait(LAST_S)

    def _is_due(self) -> bool:
        if self._judging.is_busy or time.monotonic() < self._rest_until:
            return False
        return self._head() != self._looked_at or self._driver.clock() - self._looked_us >= HOUR_US

    def _head(self) -> int:
        head = self._driver.ledger.head()
        return head.n if head else 0

    # -- what

    def _look(self) -> None:
        """How every study stands by now."""
        driver, began = self._driver, time.monotonic()
        self._looked_us, self._looked_at = driver.clock(), self._head()
        for study in driver.studies:
            try:
                self._look_at(study)
            except Exception as error:  # one study's trouble is not another's
                self._looked_at = -1
                self._say_once(f"how {study} stands could not be looked at", error)
        self._judging.desk.release()
        took = time.monotonic() - began
        self._rest_until = time.monotonic() + max(driver.settings.quality.every_s, REST * took)

    def _look_at(self, study: str) -> None:
        now_us = self._driver.clock()
        checks, (rows, late) = self._checks(study, instant(now_us).date()), self._waiting(study)
        self._found[study], self._rows[study] = checks, rows
        if self._book:
            went = self._judging.went.get(study)
            job = [] if went is None else [job_condition(study, went)]
            self._book.take_in(study, [*checks, *job, late], self._alerts.receivers, now_us)

    def _checks(self, study: str, today: date) -> list[Condition]:
        registered = self._driver.studies[study]
        in_force = self._driver.pinned.checks_of(registered)
        days = check_days(self._judging.desk, study, today - timedelta(days=LOOKED_BACK - 1), today)
        return conditions(study, by_check(days), in_force, today, registered.smallest_cell)

    def _waiting(self, study: str) -> tuple[int | None, Condition]:
        """How many rows wait, where that may be told, and whether any has for too long."""
        driver, days = self._driver, self._alerts.waiting_days
        found = waiting(self._judging.desk, driver.ledger, driver.studies[study], days, driver.clock())
        return found.rows, waiting_condition(study, days, found.is_late)

    def _measure(self, metrics: Metrics) -> None:
        metrics.alive()
        for entry in self._driver.ledger.entries(self._counted + 1):
            measured.measure_entry(metrics, self._driver, entry)
            self._counted = entry.n
        measured.measure_head(metrics, self._driver)
        measured.measure_job(metrics, self._driver, self._judging)
        measured.measure_machine(metrics, self._driver)
        measured.measure_conditions(metrics, [one for found in self._found.values() for one in found], self._rows)
        measured.measure_alerts(metrics, self._book.receivers() if self._book else ())

    def _say_once(self, what: str, error: Exception) -> None:
        """Say it when it happens first; the error's text may show what a row holds."""
        words = f"{what} ({type(error).__name__}); the stream goes on"
        if words not in self._said:
            self._said.add(words)
            self._driver.say(words)
