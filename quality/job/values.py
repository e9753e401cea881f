"""A day's values by stratum, for medians of all of them however many there are.

What is more than a little lies in a file without a name while the day is judged. A median is exact: of too many values
for the memory it is looked for by their bits, sixteen at a time, in as many passes over the file as that takes.
"""

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np

from quality.job.segments import Array, by_group, median

HELD_BYTES = 16 * 1024 * 1024
"""Up to so much is held in memory, and no file is made."""
WHOLE = 1_000_000
"""Values of which the median is taken in memory; of more it is looked for."""
_CHUNK = 500_000
_BITS = 16
_SIGN = np.uint64(1 << 63)


class _Stretch(NamedTuple):
    """Values of one group that lie together: the first one's place among all, and how many."""

    begin: int
    size: int


class Values:
    """Numbers by group. `close` it: the file, where there is one, goes with it."""

    def __init__(self) -> None:
        self._file: IO[bytes] = BytesIO()
        self._stretches: dict[int, list[_Stretch]] = {}
        self._count = 0

    def close(self) -> None:
        self._file.close()

    def add(self, values: Array, group: Array, count: int) -> None:
        """Keep values [n] of the groups 0 to count - 1; NaN is left out."""
        for number, part in by_group(values, group, count):
            self._file.seek(self._count * 8)
            self._file.write(np.asarray(part, dtype=np.float64).tobytes())
            self._stretches.setdefault(number, []).append(_Stretch(self._count, len(part)))
            self._count += len(part)
        if isinstance(self._file, BytesIO) and self._count * 8 > HELD_BYTES:
            held, self._file = self._file, TemporaryFile()  # noqa: SIM115  # closed with the values
            self._file.write(held.getbuffer())

    def middle(self, groups: Iterable[int]) -> float:
        """The median of all values of some groups; NaN where there is none."""
        return self._median([*groups], lambda values: values)

    def spread(self, groups: Iterable[int], middle: float) -> float:
        """The median distance of the values of some groups from `middle`; NaN where there is none."""
        return self._median([*groups], lambda values: np.abs(values - middle))

    def _median(self, groups: list[int], made: Callable[[Array], Array]) -> float:
        total = sum(stretch.size for group in groups for stretch in self._stretches.get(group, ()))
        if not total:
            return float("nan")
        if total <= WHOLE:
            return median(np.concatenate([made(chunk) for chunk in self._chunks(groups)]))

        def keys() -> Iterator[Array]:
            return (_ordered(made(chunk)) for chunk in self._chunks(groups))

        low, high = _of_rank(keys, (total - 1) // 2), _of_rank(keys, total // 2)
        return low if low == high else (low + high) / 2

    def _chunks(self, groups: list[int]) -> Iterator[Array]:
        for group in groups:
            for begin, size in self._stretches.get(group, ()):
                for place in range(0, size, _CHUNK):
                    self._file.seek((begin + place) * 8)
                    yield np.frombuffer(self._file.read(min(_CHUNK, size - place) * 8))


def _of_rank(keys: Callable[[], Iterator[Array]], rank: int) -> float:
    """The value of a rank (from 0 up) among all keys, whose leading bits are settled until few keys have them."""
    prefix, shift = 0, 64
    while shift:
        shift -= _BITS
        counts = sum(_counts(_under(part, prefix, shift + _BITS), shift) for part in keys())
        ends = np.cumsum(counts)
        here = int(np.searchsorted(ends, rank, side="right"))
        within = int(np.diff(ends, prepend=0)[here])
        rank -= int(ends[here]) - within
        prefix = prefix << _BITS | here
        if within <= WHOLE:
            found = np.concatenate([_under(part, prefix, shift) for part in keys()])
            return _number(int(np.partition(found, rank)[rank]))
    return _number(prefix)  # one value, very often


def _under(keys: Array, prefix: int, shift: int) -> Array:
    """Those that begin with a prefix, after which `shift` bits follow."""
    return keys if shift == 64 else keys[keys >> np.uint64(shift) == np.uint64(prefix)]


def _counts(keys: Array, shift: int) -> Array:
    """How often each number stands in the sixteen bits before the last `shift`."""
    bits = (keys >> np.uint64(shift)) & np.uint64((1 << _BITS) - 1)
    return np.bincount(bits.astype(np.int64), minlength=1 << _BITS)


def _ordered(values: Array) -> Array:
    """Numbers as uint64 of the same order."""
    bits = (values + 0.0).view(np.uint64)  # there is one zero
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _number(key: int) -> float:
    bits = np.array([key], dtype=np.uint64)
    return float(np.where(bits & _SIGN, bits ^ _SIGN, ~bits).view(np.float64)[0])
