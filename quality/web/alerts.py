"""The test button: whether those who are alerted of a study can be told at all."""

import threading
from collections import deque
from math import ceil

from starlette.responses import Response

from quality.web.sessions import Clock
from quality.web.visit import Fault, TestAlerts, Visit

WITHIN_S = 600.0
MOST = {"yours": 3, "all": 12}
"""So many tests are made within that time: by one user, and by all of them. Each is a message to every receiver."""


class Trials:
    """The tests of one desk. `clock` gives seconds."""

    def __init__(self, test_alerts: TestAlerts, clock: Clock) -> None:
        self._test, self._clock = test_alerts, clock
        self._made: deque[tuple[float, str]] = deque()
        self._lock = threading.Lock()

    def __call__(self, by: str) -> TestAlerts:
        """What a user may test with now; Fault where they, or all together, have tested too often of late."""
        with self._lock:
            now = self._clock()
            while self._made and self._made[0][0] <= now - WITHIN_S:
                self._made.popleft()
            every, own = [at for at, _ in self._made], [at for at, name in self._made if name == by]
            for whose, made in (("yours", own), ("all", every)):
                if len(made) >= MOST[whose]:
                    raise Fault(429, _words(whose, ceil((made[-MOST[whose]] + WITHIN_S - now) / 60)))
            self._made.append((now, by))
            return self._test


def _words(whose: str, minutes: int) -> str:
    of = "You have" if whose == "yours" else "The stewards of this desk have"
    wait = "1 minute" if minutes == 1 else f"{minutes} minutes"
    return f"{of} tested the alerts {MOST[whose]} times within {WITHIN_S / 60:.0f} minutes. Try again in {wait}."


def try_out(visit: Visit) -> Response:
    """Tell everybody who hears of the study, and say how it went."""
    tell = visit.test_alerts(visit.by) if visit.test_alerts else None
    visit.note("alerts test", {})
    return visit.page("alerts.html", tried=tell(visit.study.id) if tell else ())
