"""Stopping a run whose plan turns out too large: word that one stage leaves and the others find, on whatever worker.

It is no exception of a stage's: a runner of many machines would try the bundle again, and hand on a text of its own.
"""

from typing import Literal

from pipelines.plan import Plan
from pipelines.store import Store

Why = Literal["files", "bytes", "memory"]
_TOO_LARGE = {"files": "it has too many files", "bytes": "it has too many bytes", "memory": "it needs too much memory"}
_APART = b"apart"


class PlanTooLarge(Exception):
    """A run has stopped early, since its plan of so many records is more than one entry may take: nothing is committed."""

    def __init__(self, records: int, why: Why) -> None:
        super().__init__(f"the plan of {records} records is too large: {_TOO_LARGE[why]}")
        self.records, self.why = records, why


class MustNotRunApart(Exception):
    """Workers have brought the same reading, each on its own: nothing is committed, and one must run the whole plan."""


class Halt:
    """What a stage tells the others of one run, and hears from them."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan, self._store = plan, store
        self._called = False

    @property
    def is_called(self) -> bool:
        """Whether the run is to stop: there is nothing to be read or written any more."""
        return self._called or self._store.exists(self._plan.halt_key)

    def files(self, count: int) -> None:
        """Stop the run if it would write so many files and may not."""
        self._call("files", count, self._plan.most_files)

    def bytes(self, count: int) -> None:
        """Stop the run if it has read so many bytes and should not."""
        self._call("bytes", count, self._plan.most_bytes)

    def apart(self) -> None:
        """Stop the run, since its parts have to know of each other."""
        self._called = True
        self._store.put(self._plan.halt_key, _APART)

    def _call(self, why: Why, count: int, most: int | None) -> None:
        if most is not None and count > most and not self._called:
            self._called = True
            self._store.put(self._plan.halt_key, why.encode())


def heed(plan: Plan, store: Store) -> None:
    """PlanTooLarge or MustNotRunApart where a stage has stopped the run."""
    said = store.get(plan.halt_key)
    if said is not None:
        store.delete(plan.halt_key)
        if said == _APART:
            raise MustNotRunApart
        records = sum(item.end - item.start for item in plan.ranges)
        raise PlanTooLarge(records, "files" if said == b"files" else "bytes")
