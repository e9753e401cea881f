"""Following: cycle after cycle, as soon as enough has come in or what has is old enough, through a broker's absence or a
job server's.

Between cycles the driver does what others have asked for, an entry at a time, so that neither keeps the other waiting;
when nothing else is to be done, days that have changed are judged, a few at a time, and whoever is alerted is told.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing

from connectors.kafka import KafkaUnreachable
from pipelines.answer import answer_next
from pipelines.driver import Driver
from pipelines.judging import Judging
from pipelines.lookout import Lookout
from pipelines.memory import give_back
from pipelines.metrics import Metrics
from pipelines.runner_settings import RunnerUnreachable
from pipelines.suite_turns import SuiteTurns

BACKOFF_S = (1.0, 2.0, 5.0, 10.0)
LOOK_S = 2.0
"""Seconds after which a driver that has nothing to do looks for requests again."""


def work_off(driver: Driver) -> None:
    """Cycle, do what was asked for and judge what has changed, until nothing is left of any."""
    with closing(Judging(driver)) as judging, closing(Lookout(driver, judging)) as lookout:
        while driver.cycle() or answer_next(driver) or driver.unfinished or judging.turn() or judging.is_busy:
            pass
        lookout.finish()


def follow_until(
    driver: Driver, stop: threading.Event, say: Callable[[str], None], metrics: Metrics | None = None
) -> None:
    """Go on until `stop` is set. While Kafka or the job server is away it says each cause once and waits; all else ends it."""
    with (
        closing(Judging(driver)) as judging,
        closing(Lookout(driver, judging, metrics)) as lookout,
        closing(SuiteTurns(driver)) as suites,
    ):
        _follow(driver, judging, lookout, suites, stop, say)


def _follow(
    driver: Driver,
    judging: Judging,
    lookout: Lookout,
    suites: SuiteTurns,
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    failures, away, due, causes, used = 0, "", time.monotonic(), set[str](), False
    while not stop.is_set():
        lookout.turn()
        suites.turn()
        try:
            if time.monotonic() >= due:
                if failures:
                    driver.cancel_left()
                busy, due = _cycle(driver, lookout)
                used = used or busy
                if failures:
                    say(f"{away} is back")
                failures, causes = 0, set()
            entry = answer_next(driver)
            if entry is None and driver.unfinished is None and time.monotonic() < due:
                entry = judging.turn(driver.settings.quality.every_s)
            used = used or entry is not None
        except (KafkaUnreachable, RunnerUnreachable) as error:
            away = "Kafka" if isinstance(error, KafkaUnreachable) else "the job server"
            if str(error) not in causes:  # a broker that comes back with an expired certificate is another matter
                say(f"{away} is still away: {error}" if failures else f"waiting for {away}: {error}")
                causes.add(str(error))
            lookout.missed()
            stop.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures, due = failures + 1, 0.0
            continue
        left_s = due - time.monotonic()
        if entry is None and driver.unfinished is None and not judging.is_busy and left_s > 0:
            if used:
                give_back()
                used = False
            stop.wait(min(left_s, LOOK_S))


def _cycle(driver: Driver, lookout: Lookout) -> tuple[bool, float]:
    """One cycle: whether it did anything, and when the next one is due, in seconds of the monotonic clock: at once where
    enough waits for it.
    """
    began = time.monotonic()
    busy = bool(driver.cycle())
    lookout.cycled(time.monotonic() - began)
    is_full = busy and driver.a_plan_waits()
    return busy, began if is_full else began + driver.settings.limits.freshness_s
