"""Following: cycle after cycle, as soon as enough has come in or what has is old enough, through a broker's absence.

Between cycles the driver does what others have asked for, an entry at a time, so that neither keeps the other waiting.
"""

import threading
import time
from collections.abc import Callable

from connectors.kafka import KafkaUnreachable
from pipelines.answer import answer_next
from pipelines.driver import Driver

BACKOFF_S = (1.0, 2.0, 5.0, 10.0)
LOOK_S = 2.0
"""Seconds after which a driver that has nothing to do looks for requests again."""


def work_off(driver: Driver) -> None:
    """Cycle and do what was asked for, until nothing is left of either."""
    while driver.cycle() or answer_next(driver):
        pass


def follow_until(driver: Driver, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Go on until `stop` is set. While Kafka is away it says so once and waits; whatever else goes wrong ends it."""
    failures, due = 0, time.monotonic()
    while not stop.is_set():
        try:
            if time.monotonic() >= due:
                due = _cycle(driver)
                if failures:
                    say("Kafka is back")
                failures = 0
            entry = answer_next(driver)
        except KafkaUnreachable as error:
            if not failures:
                say(f"waiting for Kafka: {error}")
            stop.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures, due = failures + 1, 0.0
            continue
        if entry is None:
            stop.wait(max(0.0, min(due - time.monotonic(), LOOK_S)))


def _cycle(driver: Driver) -> float:
    """One cycle; when the next one is due, in seconds of the monotonic clock: at once where enough waits for it."""
    began = time.monotonic()
    busy = bool(driver.cycle())
    is_full = busy and driver.a_plan_waits()
    return began if is_full else began + driver.settings.limits.freshness_s
