"""Which rows are there already: within the plan, in the study's table, or in its quarantine; and which are revisions.

Keys are 64-bit hashes that contain the study's and the member's secret, so equal keys mean equal person and reading.
A data file never changes, so the sorted keys of a file are read once and kept while there is room.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipelines.store import Store

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CACHE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class KeyedFile:
    """A live data file: where it lies, and the span of its rows' starts (microseconds, both inclusive)."""

    path: str
    start_min_us: int
    start_max_us: int


class FileKeys:
    """Sorted keys, and records with their revisions, of data files; the least recently used are forgotten."""

    def __init__(self, store: Store, limit_bytes: int = CACHE_BYTES) -> None:
        self._store, self._limit = store, limit_bytes
        self._held: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._bytes = 0

    def holds(self, path: str, wanted: Int64s) -> Flags:
        """[n] which of the wanted key64 are in the file."""
        return self._get("keys", path, _read_keys).holds(wanted)  # type: ignore[no-any-return]

    def records(self, path: str) -> tuple[Int64s, npt.NDArray[np.int16]]:
        """([n] record64 in ascending order, [n] the highest revision of each), of the rows that have a record id."""
        return self._get("records", path, _read_records)  # type: ignore[no-any-return]

    def numbers(self, path: str) -> tuple[Int64s, npt.NDArray[np.int16]]:
        """([n] key64, [n] revision) of the file's rows that have a record id."""
        return self._get("numbers", path, _read_numbers)  # type: ignore[no-any-return]

    def _get(self, kind: str, path: str, read: Callable[[pq.ParquetFile], Any]) -> Any:
        found = self._held.get((kind, path))
        if found is None:
            with self._store.open_file(path) as source:
                found = read(pq.ParquetFile(source))
            self._held[kind, path] = found
            self._bytes += _size(found)
            while self._bytes > self._limit and len(self._held) > 1:
                self._bytes -= _size(self._held.popitem(last=False)[1])
        else:
            self._held.move_to_end((kind, path))
        return found


def _size(held: Any) -> int:
    return sum(part.nbytes for part in held) if isinstance(held, tuple) else int(held.nbytes)


class _Keys:
    """The keys of a file. They are sorted when they are asked for a second time: many files are asked about once."""

    def __init__(self, keys: Int64s) -> None:
        self._keys = keys
        self._asked = 0

    @property
    def nbytes(self) -> int:
        return self._keys.nbytes

    def holds(self, wanted: Int64s) -> Flags:
        self._asked += 1
        if self._asked == 1:
            return _contains(np.sort(self._alike(wanted)), wanted)
        if self._asked == 2:
            self._keys = np.sort(self._keys)
        return _contains(self._keys, wanted)

    def _alike(self, wanted: Int64s) -> Int64s:
        """The keys that share their first bits with one that is wanted: all that are wanted, and few others."""
        first = np.zeros(1 << _FIRST_BITS, dtype=bool)
        first[wanted.view(np.uint64) >> np.uint64(64 - _FIRST_BITS)] = True
        alike: Int64s = self._keys[first[self._keys.view(np.uint64) >> np.uint64(64 - _FIRST_BITS)]]
        return alike


_FIRST_BITS = 22


def _read_keys(file: pq.ParquetFile) -> _Keys:
    return _Keys(file.read(columns=["key64"]).column("key64").to_numpy())


def _read_records(file: pq.ParquetFile) -> tuple[Int64s, npt.NDArray[np.int16]]:
    if not _has_records(file):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int16)
    table = file.read(columns=["record64", "revision"])
    table = table.filter(table.column("record64").is_valid())
    record, revision = table.column("record64").to_numpy(), table.column("revision").to_numpy()
    order = np.lexsort((revision, record))
    record, revision = record[order], revision[order]
    last = np.concatenate([record[1:] != record[:-1], [True]]) if len(record) else np.empty(0, dtype=bool)
    return record[last], revision[last]


def _read_numbers(file: pq.ParquetFile) -> tuple[Int64s, npt.NDArray[np.int16]]:
    if not _has_records(file):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int16)
    table = file.read(columns=["key64", "record64", "revision"])
    table = table.filter(table.column("record64").is_valid())
    return table.column("key64").to_numpy(), table.column("revision").to_numpy()


def _has_records(file: pq.ParquetFile) -> bool:
    leaf = next(i for i in range(file.metadata.num_columns) if file.metadata.schema.column(i).path == "record64")
    for group in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(group).column(leaf).statistics
        if statistics is None or statistics.null_count != file.metadata.row_group(group).num_rows:
            return True
    return False


@dataclass
class Seen:
    """What one study has been given in this plan so far: sorted keys of each portion, and revisions by record."""

    keys: list[Int64s] = field(default_factory=list)
    revisions: dict[int, int] = field(default_factory=dict)


def duplicates(key64: Int64s, start_us: Int64s, seen: Seen, files: list[KeyedFile], cache: FileKeys) -> Flags:
    """[n] which rows are there already: earlier in these rows, earlier in the plan, or in one of the files.

    The keys of the others are noted in `seen`. Only files whose span of starts contains a row's start can hold it, so
    what is newer than everything costs nothing.
    """
    in_order = np.sort(key64)
    repeated = _later_copies(key64) if (in_order[1:] == in_order[:-1]).any() else np.zeros(len(key64), dtype=bool)
    for earlier in seen.keys:
        again = in_order[_found(earlier, in_order)]
        if len(again):
            repeated |= _contains(again, key64)
    for file in files:
        rows = np.flatnonzero((start_us >= file.start_min_us) & (start_us <= file.start_max_us) & ~repeated)
        if len(rows):
            repeated[rows] = cache.holds(file.path, key64[rows])
    seen.keys.append(np.sort(key64[~repeated]) if repeated.any() else in_order)
    return repeated


def _later_copies(key64: Int64s) -> Flags:
    repeated = np.ones(len(key64), dtype=bool)
    repeated[np.unique(key64, return_index=True)[1]] = False
    return repeated


def _contains(ascending: Int64s, wanted: Int64s) -> Flags:
    order = np.argsort(wanted)
    found = np.empty(len(wanted), dtype=bool)
    found[order] = _found(ascending, wanted[order])
    return found


def _found(ascending: Int64s, wanted: Int64s) -> Flags:
    """[n] which of the wanted, in ascending order too, are among the others."""
    if not len(ascending):
        return np.zeros(len(wanted), dtype=bool)
    place = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return np.asarray(ascending[place] == wanted)


def revisions(
    record64: Int64s,
    has_record: Flags,
    seen: Seen,
    files: list[KeyedFile],
    cache: FileKeys,
    kept: Sequence[int | None] | None = None,
) -> npt.NDArray[np.int16]:
    """[n] how many times each row's record had come before with another content: 0 for the first and for rows without one.

    `kept` [n] is the revision of a row that a replay replaces. The row has it again where another of its record stays;
    where none does, all of the record is counted anew.
    """
    revision = np.zeros(len(record64), dtype=np.int16)
    rows = np.flatnonzero(has_record)
    if not len(rows):
        return revision
    distinct = np.unique(record64[rows])
    landed = np.full(len(distinct), -1, dtype=np.int64)
    for file in files:
        record, highest = cache.records(file.path)
        if len(record):
            place = np.minimum(np.searchsorted(record, distinct), len(record) - 1)
            landed = np.where(record[place] == distinct, np.maximum(landed, highest[place]), landed)
    newest = dict(zip(distinct.tolist(), landed.tolist(), strict=True))
    for row in rows.tolist():
        record_id = int(record64[row])
        before = kept[row] if kept is not None and newest[record_id] >= 0 else None
        highest_seen = seen.revisions.get(record_id, -1)
        number = max(newest[record_id], highest_seen) + 1 if before is None else before
        seen.revisions[record_id] = max(number, highest_seen)
        revision[row] = number
    return revision
