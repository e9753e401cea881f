"""Who watches a bucket: a lease, since no lock ends with a process that is far away.

The lease with the highest number counts. A new one is created only where none of its number is, and only when the one
before has not been renewed for LEASE_S by the watch of whoever waits for it. Whoever was taken for dead notices before
it moves anything: by then a higher number is there.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from connectors.objects import Objects, StoredObject
from connectors.source_file import StorageFailed
from connectors.watch_place import HIDDEN, PlaceRefused

LEASE_S = 30.0

_PREFIX = f"{HIDDEN}/lease-"
_RENEWALS = 6  # within the time of a lease
_LOOKS = 10
_ENDED = b"ended"


class Lease:
    """The right to watch what lies below a prefix of a bucket."""

    def __init__(self, objects: Objects, lease_s: float = LEASE_S, sleep: Callable[[float], None] = time.sleep) -> None:
        self._objects, self._lease_s, self._sleep = objects, lease_s, sleep
        self._number, self._nonce = 0, uuid.uuid4().hex

    @contextmanager
    def hold(self) -> Iterator[None]:
        """For the time of the block; PlaceRefused where somebody else has it."""
        self._number = self._wait_for_its_end() + 1
        if not self._objects.put_new(self._key, self._content(0)):
            raise PlaceRefused("another watcher has just begun to work on this bucket")
        for number, one in self._leases():
            if number < self._number:
                self._objects.delete(one.key)
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(ended,), daemon=True, name="lease")
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            with suppress(StorageFailed):
                self._objects.put(self._key, _ENDED)  # it stays, so that no number is ever given twice

    def assert_held(self) -> None:
        """PlaceRefused where somebody else has it by now."""
        if max((number for number, _ in self._leases()), default=0) != self._number:
            raise PlaceRefused("another watcher has taken over this bucket, since nothing was heard of this one")

    def _wait_for_its_end(self) -> int:
        """The number of the last lease, once that has ended or is no longer renewed; PlaceRefused where it is."""
        last = self._last()
        if last is None:
            return 0
        for _ in range(_LOOKS):
            if self._objects.get(last[1].key) == _ENDED:
                break
            self._sleep(self._lease_s / _LOOKS)
            if self._last() != last:
                raise PlaceRefused("another watcher is at work on this bucket")
        return last[0]

    def _last(self) -> tuple[int, StoredObject] | None:
        return max(self._leases(), default=None)

    def _leases(self) -> list[tuple[int, StoredObject]]:
        return [(int(one.key.removeprefix(_PREFIX)), one) for one in self._objects.list(_PREFIX)]

    @property
    def _key(self) -> str:
        return f"{_PREFIX}{self._number:012}"

    def _content(self, renewals: int) -> bytes:
        return f"{self._nonce} {renewals}".encode()

    def _renew(self, ended: threading.Event) -> None:
        renewals = 0
        while not ended.wait(self._lease_s / _RENEWALS):
            renewals += 1
            with suppress(StorageFailed):  # tried again in a moment; who waits for longer may take over
                self._objects.put(self._key, self._content(renewals))
