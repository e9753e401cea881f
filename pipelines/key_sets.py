"""Which 64-bit keys are among others, on whole columns, and in not much more time than it takes to read them.

The keys are hashes, so any of their bits are as good as random: a small table of those that are asked for, by a few of
their bits, passes over nearly all others. Only what is left is compared in earnest.
"""

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_STRETCH = 65_536  # keys looked at a time: what is made of them stays in the processor's cache
_FEW = 32  # fewer than one in so many is few
_OFTEN = 3


class Keys:
    """Keys in any order, each once or more often.

    They are sorted when few have been asked for often: from then on that costs less than to look at all of them.
    """

    def __init__(self, keys: Int64s) -> None:
        self._keys = keys
        self._asked_for_few = 0

    @property
    def nbytes(self) -> int:
        return self._keys.nbytes

    def hold(self, wanted: Int64s) -> Flags:
        """[n] which of the wanted are here."""
        if len(wanted) * _FEW > len(self._keys):
            return _among(self._keys, wanted)
        self._asked_for_few += 1
        if self._asked_for_few < _OFTEN:
            return _among(self._keys, wanted)
        if self._asked_for_few == _OFTEN:
            self._keys = np.sort(self._keys)
        return _among_ascending(self._keys, wanted)


def repeated(keys: Int64s) -> Flags:
    """[n] which keys are the same as one before them."""
    found = np.zeros(len(keys), dtype=bool)
    ascending = np.sort(keys.astype(np.uint32))  # half of each key: twice as quick as to sort them whole
    twice = ascending[1:][ascending[1:] == ascending[:-1]]
    if len(twice):
        places = _passing(keys, [_Table(twice.astype(np.int64), 16, 16)])
        order = places[np.argsort(keys[places], kind="stable")]
        in_order = keys[order]
        found[order[1:][in_order[1:] == in_order[:-1]]] = True
    return found


def _among(keys: Int64s, wanted: Int64s) -> Flags:
    """[n] which of the wanted are among the keys, both in any order."""
    alike = keys[_alike(keys, wanted)]
    places = _alike(wanted, alike)
    found = np.zeros(len(wanted), dtype=bool)
    found[places] = _among_ascending(np.sort(alike), wanted[places])
    return found


def _alike(keys: Int64s, others: Int64s) -> Int64s:
    """The places of the keys that share two numbers of some bits with the others: all that are among them, few besides."""
    bits = min(22, max(12, len(others).bit_length() + 2))
    return _passing(keys, [_Table(others, 64 - bits, bits), _Table(others, 64 - 2 * bits, bits)])


def _passing(keys: Int64s, tables: list["_Table"]) -> Int64s:
    """The places of the keys that every table has."""
    found = [np.empty(0, dtype=np.int64)]
    for begin in range(0, len(keys), _STRETCH):
        stretch = keys[begin : begin + _STRETCH]
        places = np.flatnonzero(tables[0].has(stretch))
        for table in tables[1:]:
            places = places[table.has(stretch[places])]
        found.append(places + begin)
    return np.concatenate(found)


class _Table:
    """Which numbers there are in so many bits of the keys, from the bit `shift` on."""

    def __init__(self, keys: Int64s, shift: int, bits: int) -> None:
        self._shift, self._mask = np.int64(shift), np.int64((1 << bits) - 1)
        self._occurs = np.zeros(1 << bits, dtype=bool)
        self._occurs[self._number(keys)] = True

    def has(self, keys: Int64s) -> Flags:
        """[n] whether the key's number occurs."""
        return np.asarray(self._occurs.take(self._number(keys), mode="clip"))

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
