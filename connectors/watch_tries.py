"""Files that killed their watcher: a process that dies of one has no other way to tell the next."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from connectors.watch_files import Dropped
from connectors.watch_place import HIDDEN, Place

_NAME = f"{HIDDEN}/tries.json"
_MOST = 3


class Tries:
    """How often a file was begun and not ended. One that was so `_MOST` times goes behind all others: it may be what
    the process dies of (memory, a native library), and must not keep the others from being published."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._begun: dict[str, int] | None = None

    def in_order(self, ready: list[Dropped]) -> list[Dropped]:
        """The files, those that were fatal at the end; what is no longer there is forgotten."""
        if self._begun is None:
            self._begun = json.loads(self._place.get(_NAME) or b"{}")
        stamps = {one.item.stamp for one in ready}
        begun = self._begun = {stamp: times for stamp, times in self._begun.items() if stamp in stamps}
        return sorted(ready, key=lambda one: begun.get(one.item.stamp, 0) >= _MOST)

    @contextmanager
    def noted(self, dropped: Dropped) -> Iterator[None]:
        """Note that work on a file begins, and, where the block ends at all, that it has ended."""
        stamp, begun = dropped.item.stamp, self._begun or {}
        self._begun = begun | {stamp: begun.get(stamp, 0) + 1}
        self._place.put(_NAME, json.dumps(self._begun).encode())
        try:
            yield
        finally:
            del self._begun[stamp]
