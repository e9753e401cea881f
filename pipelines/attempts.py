"""What is remembered of runs that a driver did not survive, so that the next one is careful with the same records.

A word in the lake is written before a run and taken back after it, whatever came of it: it stays where the process died.
That says little, since operators and machines end processes as they like. After two such deaths over the same records
the run goes on in a process of its own (`pipelines/poison.py`), and only what is seen there is believed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from pipelines.plan import Plan
from pipelines.runner_settings import RunnerFailed, RunnerUnreachable
from pipelines.store import Store

KEY = "_control/attempts.json"
DEATHS = 2

Spans = dict[str, tuple[int, int]]
"""Offsets [start, end) by partition."""


class Suspicion(BaseModel):
    """Records within which so many runs have died; those that all of them had."""

    spans: Spans
    deaths: int


class Attempts(BaseModel):
    """Which run is under way, of the driver with which epoch, and which have died."""

    running: Spans | None = None
    epoch: int = 0
    suspicions: list[Suspicion] = []

    def begin(self, plan: Plan) -> bool:
        """A run begins; whether it has records within which others have died too often."""
        if self.running is not None:
            self.died()
        self.running, self.epoch = spans_of(plan), plan.epoch
        return any(one.deaths >= DEATHS for one in self._about(self.running))

    def died(self) -> None:
        """The run that was under way is dead."""
        assert self.running is not None
        about = self._about(self.running)
        if not about:
            self.suspicions.append(Suspicion(spans=self.running, deaths=0))
            about = self.suspicions[-1:]
        for one in about:
            one.spans, one.deaths = overlap(one.spans, self.running), one.deaths + 1
        self.running = None

    def survived(self) -> None:
        """The run came to its end."""
        assert self.running is not None
        about = self._about(self.running)
        self.suspicions = [one for one in self.suspicions if one not in about]
        self.running = None

    def _about(self, spans: Spans) -> list[Suspicion]:
        return [one for one in self.suspicions if overlap(one.spans, spans)]


def spans_of(plan: Plan) -> Spans:
    """What a plan reads, of each partition from its first record to its last."""
    found: Spans = {}
    for item in plan.ranges:
        start, end = found.get(item.key, (item.start, item.end))
        found[item.key] = min(start, item.start), max(end, item.end)
    return found


def overlap(one: Spans, other: Spans) -> Spans:
    """The records that are in both."""
    both = {key: (max(one[key][0], other[key][0]), min(one[key][1], other[key][1])) for key in one.keys() & other}
    return {key: (start, end) for key, (start, end) in sorted(both.items()) if start < end}


@contextmanager
def attempt(plan: Plan, store: Store) -> Iterator[bool]:
    """Around a run: whether it must be done with care. An error is no death, except a runner's that nobody explains.

    Where others read the records, it says nothing of these that the driver dies.
    """
    kept = store.get(KEY)
    attempts = _read(kept)
    careful = attempts.begin(plan)
    if not plan.is_elsewhere:
        kept = _keep(store, attempts)
    try:
        yield careful
    except RunnerUnreachable:
        attempts.running = None  # nothing has run
        raise
    except RunnerFailed:
        attempts.died()
        raise
    except Exception:
        attempts.running = None
        raise
    else:
        attempts.survived()
    finally:
        if (
            attempts.running is None
            and (kept is not None or attempts.suspicions)
            and _read(store.get(KEY)).epoch <= attempts.epoch  # else another driver has taken over
        ):
            _keep(store, attempts)


def _read(word: bytes | None) -> Attempts:
    return Attempts() if word is None else Attempts.model_validate_json(word)


def _keep(store: Store, attempts: Attempts) -> bytes | None:
    """What is now kept; nothing, where there is nothing to remember."""
    if attempts.running is None and not attempts.suspicions:
        store.delete(KEY)
        return None
    word = attempts.model_dump_json().encode()
    store.put(KEY, word)
    return word
