"""Runs of equal keys in sorted columns, and statistics of them, without a Python object per row."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]

SECOND_US = 1_000_000
MINUTE_US = 60_000_000
HOUR_US = 3_600_000_000
DAY_US = 86_400_000_000
MAD_TO_SD = 1.4826
"""What a median absolute deviation is multiplied by to estimate a normal distribution's standard deviation."""


class Runs(NamedTuple):
    """Runs of rows that lie together: where each begins, and which run each of the rows [n] is of."""

    begins: Array
    of_row: Array

    @property
    def total(self) -> int:
        return len(self.begins)

    @property
    def sizes(self) -> Array:
        return np.diff(self.begins, append=len(self.of_row))

    def sums(self, values: Array) -> Array:
        """The sum of `values` [n] in each run, as float64; of truths how many."""
        return np.bincount(self.of_row, values, minlength=self.total)

    def counts(self, chosen: Array) -> Array:
        """How many rows are chosen [n] in each run, as int64."""
        return self.sums(chosen).astype(np.int64)

    def pairs(self) -> Array:
        """[n - 1] whether a row and the next are of one run."""
        return np.asarray(self.of_row[1:] == self.of_row[:-1])


def runs_of(*keys: Array) -> Runs:
    """Runs of rows that agree in all keys [n]."""
    changes = np.zeros(len(keys[0]), dtype=bool)
    changes[:1] = True
    for key in keys:
        changes[1:] |= key[1:] != key[:-1]
    return Runs(np.flatnonzero(changes), np.cumsum(changes) - 1)


def groups_of(*keys: Array) -> tuple[Array, Array]:
    """The group of each row [n] that agrees in all keys (integers from 0 up), and the first row of each group."""
    combined = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        combined = combined * (int(key.max(initial=0)) + 1) + key
    _, first, group = np.unique(combined, return_index=True, return_inverse=True)
    return group, first


def people_in(person: Array, group: Array, chosen: Array | None = None, count: int = 0) -> Array:
    """How many people have a row [n], or a chosen one, in each group up to the last that has any, or of `count` groups."""
    if chosen is not None:
        person, group = person[chosen], group[chosen]
    if not len(person):
        return np.zeros(count, dtype=np.int64)
    changes = np.flatnonzero(np.append(True, (person[1:] != person[:-1]) | (group[1:] != group[:-1])))
    person, group = person[changes], group[changes]
    _, first = groups_of(group, person)
    return np.bincount(group[first], minlength=count)


def medians(values: Array, group: Array, count: int) -> Array:
    """The median of `values` [n] in each of the groups 0 to count - 1, NaN where it has none; NaN values are left out."""
    found = np.full(count, np.nan)
    for number, part in by_group(values, group, count):
        found[number] = median(part)
    return found


def quantiles(values: Array, group: Array, count: int, share: float) -> Array:
    """The smallest value that at least `share` of a group's values do not exceed, as `medians` has it."""
    found = np.full(count, np.nan)
    for number, part in by_group(values, group, count):
        place = max(0, int(np.ceil(share * len(part))) - 1)
        found[number] = np.partition(part, place)[place]
    return found


def by_group(values: Array, group: Array, count: int) -> Iterator[tuple[int, Array]]:
    """Each group's values [n] that are numbers, of the groups that have any."""
    known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), dtype=bool)
    if not known.all():
        values, group = values[known], group[known]
    if len(group) and (group[1:] < group[:-1]).any():
        order = np.argsort(group.astype(np.uint16) if count < 1 << 16 else group, kind="stable")
        values, group = values[order], group[order]
    edges = np.searchsorted(group, np.arange(count + 1))
    for number in np.flatnonzero(np.diff(edges)).tolist():
        yield number, values[edges[number] : edges[number + 1]]


def median(part: Array) -> float:
    """The median of some numbers, at least one."""
    middle = len(part) // 2
    if len(part) % 2:
        return float(np.partition(part, middle)[middle])
    low, high = np.partition(part, (middle - 1, middle))[middle - 1 : middle + 1]
    return (float(low) + float(high)) / 2


def codes(column: pa.ChunkedArray) -> tuple[Array, list[Any]]:
    """A text column's places among its distinct values (null among them), as int32 [n], and these."""
    encoded = column.dictionary_encode(null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], column.type).dictionary_encode()
    return np.asarray(encoded.indices).astype(np.int32), encoded.dictionary.to_pylist()


def integers(column: pa.ChunkedArray, missing: int = 0) -> Array:
    """A column of integers or times (microseconds, UTC) as int64 [n], with a number where there is null."""
    plain = column.cast(pa.int64())
    return np.asarray(plain.fill_null(missing) if plain.null_count else plain)


def numbers(column: pa.ChunkedArray) -> Array:
    """A column of numbers as float64 [n], NaN where there is null."""
    plain = column.cast(pa.float64())
    return np.asarray(plain.fill_null(np.nan) if plain.null_count else plain)
