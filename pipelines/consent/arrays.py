"""Compiled chains as columns: flat arrays with offsets, one row of offsets for each chain.

    chain c    spans     span_at[c] : span_at[c + 1]      who had authority from when
               coverage  group_at[c] : group_at[c + 1]    metrics with the same history
    group g    covered   cover_at[g] : cover_at[g + 1]    intervals
               voided    void_at[g] : void_at[g + 1]      intervals

Times are int64 microseconds UTC. Sets of metrics are rows of one boolean matrix, `sets`, with a column for each metric
of the catalogue in the order the caller gave.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.consent.chains import NEVER, NO_END, Chain, Interval
from schemas.registry import Study, micros

Ints = NDArray[np.int64]
Seqs = NDArray[np.int32]
Bools = NDArray[np.bool_]

COLUMNS = {
    "span_at": "q",
    "span_from": "q",
    "span_last_seq": "i",
    "span_grant_seq": "i",
    "span_store_until": "q",
    "span_set": "i",
    "group_at": "q",
    "group_set": "i",
    "cover_at": "q",
    "cover_from": "q",
    "cover_to": "q",
    "void_at": "q",
    "void_from": "q",
    "void_to": "q",
    "first_grant": "q",
    "erased_until": "q",
}
"""The columns that do not depend on who asks, with the type of each: q is int64, i is int32."""

ALWAYS = (NEVER, NO_END)
NOT_ACTIVE = (NO_END, NEVER)


@dataclass(frozen=True)
class ChainColumns:
    """What chains say, without their studies' activity and their members' state. See the module for the layout."""

    sets: Bools
    span_at: Ints
    span_from: Ints
    span_last_seq: Seqs
    span_grant_seq: Seqs
    span_store_until: Ints
    span_set: Seqs
    group_at: Ints
    group_set: Seqs
    cover_at: Ints
    cover_from: Ints
    cover_to: Ints
    void_at: Ints
    void_from: Ints
    void_to: Ints
    first_grant: Ints
    erased_until: Ints

    def __len__(self) -> int:
        return len(self.first_grant)


@dataclass(frozen=True)
class ChainArrays:
    """Chains as `judge` asks them, one entry per chain in the last four.

    `lagging`: any chain of the member is; `active_from`, `active_until`: when the study runs; `absence`: 0, or
    NO_CHAIN / NO_CHAIN_AT_ALL for a pair of member and study that has no events but is asked about.
    """

    columns: ChainColumns
    lagging: Bools
    active_from: Ints
    active_until: Ints
    absence: NDArray[np.int8]


def chain_arrays(
    columns: ChainColumns, lagging: Bools, active: Sequence[Interval], absence: NDArray[np.int8] | None = None
) -> ChainArrays:
    """Columns with what surrounds each chain; `active` is when its study runs, [from, until)."""
    times = np.array(active, dtype=np.int64).reshape(-1, 2)
    none = np.zeros(len(columns), dtype=np.int8)
    return ChainArrays(columns, lagging, times[:, 0], times[:, 1], none if absence is None else absence)


def running(study: Study | None) -> Interval:
    """When a study runs, [from, until); never, where it is not registered."""
    if study is None:
        return NOT_ACTIVE
    return micros(study.active_from, NEVER), micros(study.active_until, NO_END)


class ChainPacker:
    """Packs compiled chains one after another."""

    def __init__(self, metrics: Sequence[str]) -> None:
        self._column_of = {metric: number for number, metric in enumerate(metrics)}
        self._row_of: dict[frozenset[str], int] = {frozenset(): 0}
        self._data = {name: array(kind) for name, kind in COLUMNS.items()}
        for offsets in ("span_at", "group_at", "cover_at", "void_at"):
            self._data[offsets].append(0)

    def add(self, chain: Chain) -> None:
        data = self._data
        for span in chain.spans:
            data["span_from"].append(span.from_us)
            data["span_last_seq"].append(span.last_seq)
            data["span_grant_seq"].append(span.grant_seq)
            data["span_store_until"].append(span.store_until)
            data["span_set"].append(self._row(span.metrics))
        for group in chain.coverage:
            data["group_set"].append(self._row(group.metrics))
            for kind, intervals in (("cover", group.covered), ("void", group.voided)):
                for start, end in intervals:
                    data[f"{kind}_from"].append(start)
                    data[f"{kind}_to"].append(end)
                data[f"{kind}_at"].append(len(data[f"{kind}_from"]))
        data["span_at"].append(len(data["span_from"]))
        data["group_at"].append(len(data["group_set"]))
        data["first_grant"].append(chain.first_grant)
        data["erased_until"].append(chain.erased_until)

    def _row(self, metrics: frozenset[str]) -> int:
        return self._row_of.setdefault(metrics, len(self._row_of))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Every column by name, `sets` included."""
        sets = np.zeros((len(self._row_of), len(self._column_of)), dtype=np.bool_)
        for metrics, row in self._row_of.items():
            sets[row, [self._column_of[metric] for metric in metrics if metric in self._column_of]] = True
        columns = {name: np.frombuffer(data, dtype=np.dtype(data.typecode)) for name, data in self._data.items()}
        return {"sets": sets, **columns}

    def columns(self) -> ChainColumns:
        return columns_of(self.arrays())


def columns_of(arrays: Mapping[str, NDArray[np.generic]]) -> ChainColumns:
    """The columns among named arrays."""
    return ChainColumns(**{name: arrays[name] for name in ("sets", *COLUMNS)})  # type: ignore[arg-type]


def take(columns: ChainColumns, chains: Ints) -> ChainColumns:
    """Only these chains, in this order, as columns of their own."""
    span_at, spans = slices(columns.span_at, chains)
    group_at, groups = slices(columns.group_at, chains)
    cover_at, covers = slices(columns.cover_at, groups)
    void_at, voids = slices(columns.void_at, groups)
    used, inverse = np.unique(np.concatenate([columns.span_set[spans], columns.group_set[groups]]), return_inverse=True)
    row: Seqs = inverse.astype(np.int32, copy=False)
    return ChainColumns(
        sets=columns.sets[used],
        span_at=span_at,
        span_from=columns.span_from[spans],
        span_last_seq=columns.span_last_seq[spans],
        span_grant_seq=columns.span_grant_seq[spans],
        span_store_until=columns.span_store_until[spans],
        span_set=row[: len(spans)],
        group_at=group_at,
        group_set=row[len(spans) :],
        cover_at=cover_at,
        cover_from=columns.cover_from[covers],
        cover_to=columns.cover_to[covers],
        void_at=void_at,
        void_from=columns.void_from[voids],
        void_to=columns.void_to[voids],
        first_grant=columns.first_grant[chains],
        erased_until=columns.erased_until[chains],
    )


def concatenate(first: ChainColumns, second: ChainColumns) -> ChainColumns:
    """The chains of both, those of `first` before those of `second`."""
    shift = np.int32(len(first.sets))
    joined = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in COLUMNS}
    for offsets in ("span_at", "group_at", "cover_at", "void_at"):
        one, other = getattr(first, offsets), getattr(second, offsets)
        joined[offsets] = np.concatenate([one, other[1:] + one[-1]])
    for rows in ("span_set", "group_set"):
        joined[rows] = np.concatenate([getattr(first, rows), getattr(second, rows) + shift])
    return columns_of({"sets": np.concatenate([first.sets, second.sets]), **joined})


def slices(offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """For the chosen rows of a list column: their new offsets, and the positions of their items."""
    return spread(offsets[rows], offsets[rows + 1])


def spread(starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Runs [start, end) one after another: their offsets, and the numbers in them."""
    counts = ends - starts
    at = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    return at, np.arange(at[-1]) + np.repeat(starts - at[:-1], counts)
