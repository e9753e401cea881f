"""Which 64-bit keys are among others, on whole columns, and in not much more time than it takes to read them.

The keys are hashes, so any of their bits are as good as random: a small table of those that are asked for, by a few of
their bits, passes over nearly all others. Only what is left is compared in earnest.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

STRETCH = 65_536  # keys looked at a time: what is made of them stays in the processor's cache
_ASIDE = 262_144  # keys put aside at most, and those of one portion
_FEW = 32  # fewer than one in so many is few
_OFTEN = 3


class Asked:
    """Keys that are looked for among others, which come a portion at a time and need not be kept.

    What may be one of them is put aside, and compared when there is enough of it or the answer is wanted.
    """

    def __init__(self, wanted: Int64s) -> None:
        self._wanted = wanted
        self._found = np.zeros(len(wanted), dtype=bool)
        self._aside: list[Int64s] = []

    def is_few_of(self, count: int) -> bool:
        """Whether so many keys are better sorted once than all looked at each time."""
        return len(self._wanted) * _FEW <= count

    def look_through(self, keys: Int64s) -> None:
        """Look among keys in any order."""
        self._aside.append(keys[_passing(keys, self._tables)])
        if sum(len(alike) for alike in self._aside) > _ASIDE:
            self._compare()

    def look_up(self, ascending: Int64s) -> None:
        """Look among keys that are sorted."""
        self._found |= _among_ascending(ascending, self._wanted)

    def found(self) -> Flags:
        """[n] which of the wanted were among any of them."""
        self._compare()
        return self._found

    @cached_property
    def _tables(self) -> list["_Table"]:
        return _tables(self._wanted)

    def _compare(self) -> None:
        if self._aside:
            alike = np.sort(np.concatenate(self._aside))
            self._aside.clear()
            places = _passing(self._wanted, _tables(alike))
            self._found[places] |= _among_ascending(alike, self._wanted[places])


class Keys:
    """Keys in any order, each once or more often.

    They are sorted when few have been asked for often: from then on that costs less than to look at all of them.
    """

    def __init__(self, keys: Int64s) -> None:
        self.keys = keys
        self._asked_for_few = 0

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes

    def answer(self, asked: Asked) -> None:
        """Have the wanted looked for here."""
        is_few = asked.is_few_of(len(self.keys))
        self._asked_for_few += is_few
        if self._asked_for_few < _OFTEN or not is_few:
            asked.look_through(self.keys)
            return
        if self._asked_for_few == _OFTEN:
            self.keys = np.sort(self.keys)
        asked.look_up(self.keys)


def repeated(keys: Int64s, before: Sequence[Keys] = ()) -> Flags:
    """[n] which keys are the same as one before them: earlier in these, or in a portion that came before."""
    asked, together = Asked(keys), []
    for portion in before:
        if asked.is_few_of(len(portion.keys)):
            portion.answer(asked)
        else:
            together.append(portion.keys)
    return asked.found() | _repeated_among(keys, together)


def _repeated_among(keys: Int64s, before: list[Int64s]) -> Flags:
    """[n] which keys are the same as one before them, compared by sorting all at once."""
    found = np.zeros(len(keys), dtype=bool)
    twice = _halves_that_occur_twice([*before, keys])
    if not len(twice):
        return found
    bits = _bits_for(len(twice))
    table = [_Table(twice.astype(np.int64), 32 - bits, bits)]
    places = _passing(keys, table)
    if before:
        alike = np.concatenate([portion[_passing(portion, table)] for portion in before])
        found[places] = _among_ascending(np.sort(alike), keys[places])
        places = places[~found[places]]
    order = places[np.argsort(keys[places], kind="stable")]
    in_order = keys[order]
    found[order[1:][in_order[1:] == in_order[:-1]]] = True
    return found


def _halves_that_occur_twice(portions: list[Int64s]) -> npt.NDArray[np.uint32]:
    """Halves of keys, which are twice as quick to sort as whole ones: of different keys, few are the same."""
    halves = np.concatenate(portions, dtype=np.uint32, casting="unsafe")
    halves.sort()
    return np.asarray(halves[1:][halves[1:] == halves[:-1]])


def _tables(keys: Int64s) -> list["_Table"]:
    """Two, of different bits: what is in both is one of the keys, or one of few besides."""
    bits = _bits_for(len(keys))
    return [_Table(keys, 64 - bits, bits), _Table(keys, 64 - 2 * bits, bits)]


def _bits_for(count: int) -> int:
    """So many that one in sixteen numbers or fewer occurs, as long as the table stays in the processor's cache."""
    return min(22, max(16, count.bit_length() + 4))


def _passing(keys: Int64s, tables: list["_Table"]) -> Int64s:
    """The places of the keys that every table has."""
    found = [np.empty(0, dtype=np.int64)]
    for begin in range(0, len(keys), STRETCH):
        stretch = keys[begin : begin + STRETCH]
        places = np.flatnonzero(tables[0].has(stretch))
        for table in tables[1:]:
            places = places[table.has(stretch[places])]
        found.append(places + begin)
    return np.concatenate(found)


class _Table:
    """Which numbers there are in so many bits of the keys, from the bit `shift` on: a bit for each number."""

    def __init__(self, keys: Int64s, shift: int, bits: int) -> None:
        self._shift, self._mask = np.int64(shift), np.int64((1 << bits) - 1)
        occurs = np.zeros(1 << bits, dtype=bool)
        occurs[self._number(keys)] = True
        self._occurs = np.packbits(occurs, bitorder="little")

    def has(self, keys: Int64s) -> Flags:
        """[n] whether the key's number occurs."""
        number = self._number(keys)
        place_in_byte = number.astype(np.uint8) & np.uint8(7)
        return (self._occurs.take(number >> 3, mode="clip") >> place_in_byte & np.uint8(1)).view(np.bool_)

    def _number(self, keys: Int64s) -> Int64s:
        return np.asarray(keys >> self._shift & self._mask)


def _among_ascending(ascending: Int64s, wanted: Int64s) -> Flags:
    """[n] which of the wanted are among the others, which are sorted."""
    if not len(ascending):
        return np.zeros(len(wanted), dtype=bool)
    order = np.argsort(wanted)  # neighbours are then looked for one after the other
    in_order = wanted[order]
    place = np.minimum(np.searchsorted(ascending, in_order), len(ascending) - 1)
    found = np.empty(len(wanted), dtype=bool)
    found[order] = ascending[place] == in_order
    return found
