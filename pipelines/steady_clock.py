"""The time that a driver goes by: this machine's, but for steps of it that nobody can have meant.

A clock that is set forward by days would let everything that waits expire at once, which cannot be undone; one that is set
back would make the ledger's moments run backwards. So a step of more than a minute is not followed, but told: a driver
that is started anew goes by the clock as it then is.
"""

import time
from collections.abc import Callable

from pipelines.entries import Entry, now_us

STEP_US = 60_000_000
"""Smaller steps are followed: a clock that is kept right is stepped by seconds, if at all."""


class SteadyClock:
    """Microseconds since the epoch, UTC. `wall` is the machine's clock, `steady` one that nobody can set."""

    def __init__(
        self, say: Callable[[str], None], wall: Callable[[], int] = now_us, steady: Callable[[], int] | None = None
    ) -> None:
        self._say, self._wall, self._steady = say, wall, steady or _since_boot_us
        self._ahead_us = wall() - self._steady()
        self._told_us: int | None = None

    def __call__(self) -> int:
        now, own = self._wall(), self._steady() + self._ahead_us
        step = now - own
        if abs(step) <= STEP_US:
            self._ahead_us += step
            self._told_us = None
            return now
        self._tell(step)
        return own

    def _tell(self, step_us: int) -> None:
        """Once for each step."""
        if self._told_us is not None and abs(step_us - self._told_us) <= STEP_US:
            return
        self._told_us = step_us
        self._say(
            f"this machine's clock was set {'forward' if step_us > 0 else 'back'} by {abs(step_us) / 60_000_000:.0f} "
            "minutes: the driver goes on by what it was before, so that nothing that is held expires too soon; "
            "when the clock is right, start the driver again"
        )


def behind_the_ledger(head: Entry | None, now: int) -> str | None:
    """What an operator should read where the clock is behind the last entry; None where it is not."""
    if head is None or head.at_us - now <= STEP_US:
        return None
    return (
        f"this machine's clock is {(head.at_us - now) / 60_000_000:.0f} minutes behind the last entry of the ledger: set "
        "it right; until then entries bear that entry's time, and what is held expires later"
    )


def _since_boot_us() -> int:
    """Microseconds since the machine was started; on Linux those that it slept too."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1000
