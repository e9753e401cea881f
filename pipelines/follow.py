"""Following: cycle after cycle, as soon as enough has come in or what has is old enough, through a broker's absence."""

import threading
import time
from collections.abc import Callable

from connectors.kafka import KafkaUnreachable
from pipelines.driver import Driver

BACKOFF_S = (1.0, 2.0, 5.0, 10.0)


def follow_until(driver: Driver, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Cycle until `stop` is set. While Kafka is away it says so once and waits; whatever else goes wrong ends it."""
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            busy = bool(driver.cycle())
            if failures:
                say("Kafka is back")
            failures = 0
        except KafkaUnreachable as error:
            if not failures:
                say(f"waiting for Kafka: {error}")
            stop.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1
            continue
        if not (busy and driver.backlog() >= driver.settings.limits.plan_records):
            stop.wait(max(0.0, driver.settings.limits.freshness_s - (time.monotonic() - began)))
