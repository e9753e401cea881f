"""What outlives a bundle in a worker's process and may be used by one bundle at a time: a runner may have several at work."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Lent(Generic[T]):
    """Things by key. Whoever asks gets one that nobody else has, a new one where all are lent."""

    def __init__(self) -> None:
        self._free: dict[str, list[T]] = defaultdict(list)

    def take(self, key: str, make: Callable[[], T]) -> T:
        try:
            return self._free[key].pop()
        except IndexError:
            return make()

    def give_back(self, key: str, thing: T) -> None:
        self._free[key].append(thing)

    @contextmanager
    def lend(self, key: str, make: Callable[[], T]) -> Iterator[T]:
        """One for the time of the block; what the block has not come through with is not lent again."""
        thing = self.take(key, make)
        yield thing
        self.give_back(key, thing)

    def clear(self) -> Iterator[T]:
        """All that are not lent; they are forgotten."""
        while self._free:
            yield from self._free.popitem()[1]
