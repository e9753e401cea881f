"""A bucket that is watched. An object is there as a whole or not at all; a move is a copy and then a deletion."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from connectors.object_called import Called
from connectors.objects import Objects, StoredObject
from connectors.source_file import SourceFile, StorageFailed
from connectors.watch_lease import LEASE_S, Lease
from connectors.watch_place import Changed, Item, PlaceRefused

WATCHED = Called("the watched bucket")


class Bucket:
    """A Place below `s3://bucket/prefix`; ValueError where that is no address."""

    poll_s = 10.0

    def __init__(self, url: str, lease_s: float = LEASE_S) -> None:
        self._objects = Objects(url, called=WATCHED)
        self._lease = Lease(self._objects, lease_s)

    @contextmanager
    def hold(self) -> Iterator[None]:
        with ExitStack() as held:
            try:
                held.enter_context(self._lease.hold())
            except StorageFailed as failure:
                raise PlaceRefused(str(failure)) from None
            yield

    def assert_held(self) -> None:
        self._lease.assert_held()

    def items(self) -> list[Item]:
        listed = self._objects.list()
        return [Item(one.key, one.size, _stamp(one), one.modified_us, math.inf) for one in listed]

    def open(self, item: Item) -> SourceFile:
        one = self._objects.head(item.name)
        if one is None or _stamp(one) != item.stamp:
            raise Changed
        return SourceFile(self._objects.open(one), one.size)

    def is_still(self, item: Item) -> bool:
        return self._stamp_of(item.name) == item.stamp

    def get(self, name: str) -> bytes | None:
        return self._objects.get(name)

    def put(self, name: str, data: bytes) -> None:
        self._objects.put(name, data)

    def exists(self, name: str) -> bool:
        return self._objects.head(name) is not None

    def below(self, part: str) -> Iterator[str]:
        return (one.key for one in self._objects.list(f"{part}/"))

    def move(self, name: str, stamp: str, to: str) -> None:
        if self._stamp_of(name) != stamp:
            return
        if not self.exists(to):
            self._objects.copy(name, to)
        self._objects.delete(name)

    def delete(self, name: str) -> None:
        self._objects.delete(name)

    def _stamp_of(self, name: str) -> str | None:
        one = self._objects.head(name)
        return _stamp(one) if one else None


def _stamp(one: StoredObject) -> str:
    return one.etag or f"{one.size}-{one.modified_us // 1_000_000}"
