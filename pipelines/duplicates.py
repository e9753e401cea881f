"""Which rows are there already: within the plan, in the study's table, or in its quarantine; and which are revisions.

Keys are 64-bit hashes that contain the study's and the member's secret, so equal keys mean equal person and reading.
A data file never changes, so its keys are read once and kept while there is room.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipelines.key_sets import STRETCH, Asked, Keys, repeated
from pipelines.store import Store

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CACHE_BYTES = 96 * 1024 * 1024
_SMALL = 32  # a portion of fewer rows than one in so many of a file's is small beside it
_BUFFER_BYTES = 256 * 1024
_LEAST = 8  # at least one in so many of these bytes is for files, however many keys the plan itself has


@dataclass(frozen=True)
class KeyedFile:
    """A live data file: where it lies, and the span of its rows' starts (microseconds, both inclusive)."""

    path: str
    start_min_us: int
    start_max_us: int


class FileKeys:
    """Keys, and records with their revisions, of data files in `store`.

    Those of files that no longer live are forgotten when `keep_only` says so, and where there is no room the least
    recently used.
    """

    def __init__(self, store: Store, limit_bytes: int = CACHE_BYTES) -> None:
        self.store, self._limit, self._room = store, limit_bytes, limit_bytes
        self._held: OrderedDict[_Part, Any] = OrderedDict()
        self._of_table: defaultdict[str, set[_Part]] = defaultdict(set)
        self._bytes = 0

    def answer(self, path: str, asked: Asked, portion: int) -> None:
        """Have keys looked for in the file, which are asked for with a portion of so many rows.

        Beside a large portion it costs little to read the file once more, a stretch at a time, and nothing of it is held.
        """
        if ("keys", path) not in self._held:
            with self.store.open_file(path) as source:
                file = pq.ParquetFile(source, buffer_size=_BUFFER_BYTES, pre_buffer=False)
                if portion * _SMALL > file.metadata.num_rows:
                    for batch in file.iter_batches(STRETCH, columns=["key64"], use_threads=False):
                        asked.look_through(batch.column(0).to_numpy())
                    return
        self._get("keys", path, _read_keys).answer(asked)

    def records(self, path: str) -> tuple[Int64s, npt.NDArray[np.int16]]:
        """([n] record64 in ascending order, [n] the highest revision of each), of the rows that have a record id."""
        return self._get("records", path, _read_records)  # type: ignore[no-any-return]

    def numbers(self, path: str) -> tuple[Int64s, npt.NDArray[np.int16]]:
        """([n] key64, [n] revision) of the file's rows that have a record id."""
        return self._get("numbers", path, _read_numbers)  # type: ignore[no-any-return]

    def keep_only(self, table: str, live: Collection[str]) -> None:
        """Forget the table's files but these: where many small ones have been made into one, nobody asks for them again."""
        for part in [part for part in self._of_table[table] if part[1] not in live]:
            self._drop(part)

    def make_room(self, plan_bytes: int) -> None:
        """The keys of a plan, so many bytes, count as held: a long backlog has many, and needs few of files."""
        self._room = max(self._limit // _LEAST, self._limit - plan_bytes)
        self._forget()

    def _get(self, kind: str, path: str, read: Callable[[pq.ParquetFile], Any]) -> Any:
        found = self._held.get((kind, path))
        if found is None:
            with self.store.open_file(path) as source:
                found = read(pq.ParquetFile(source))
            self._held[kind, path] = found
            self._of_table[_table_of(path)].add((kind, path))
            self._bytes += _size(found)
            self._forget()
        else:
            self._held.move_to_end((kind, path))
        return found

    def _forget(self) -> None:
        while self._bytes > self._room and len(self._held) > 1:
            self._drop(next(iter(self._held)))

    def _drop(self, part: "_Part") -> None:
        self._bytes -= _size(self._held.pop(part))
        self._of_table[_table_of(part[1])].discard(part)


_Part = tuple[str, str]  # which of the columns, of which file


def _table_of(path: str) -> str:
    return path.partition("/month=")[0]


def _size(held: Any) -> int:
    return sum(part.nbytes for part in held) if isinstance(held, tuple) else int(held.nbytes)


def _read_keys(file: pq.ParquetFile) -> Keys:
    return Keys(file.read(columns=["key64"]).column("key64").to_numpy())


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
    """What one study has been given in this plan so far: the keys of each portion, and revisions by record."""

    keys: list[Keys] = field(default_factory=list)
    revisions: dict[int, int] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Of the keys."""
        return sum(portion.nbytes for portion in self.keys)


def duplicates(key64: Int64s, start_us: Int64s, seen: Seen, files: list[KeyedFile], cache: FileKeys) -> Flags:
    """[n] which rows are there already: earlier in these rows, earlier in the plan, or in one of the files.

    The keys of the others are noted in `seen`. Only files whose span of starts contains a row's start can hold it, so
    what is newer than everything costs nothing.
    """
    found = repeated(key64, seen.keys)
    rows = _within(files, start_us)
    rows = rows[~found[rows]]
    asked, starts = Asked(key64[rows]), np.sort(start_us[rows])
    for file in files:
        if np.searchsorted(starts, file.start_min_us) < np.searchsorted(starts, file.start_max_us, "right"):
            cache.answer(file.path, asked, len(key64))
    found[rows] = asked.found()
    seen.keys.append(Keys(key64[~found] if found.any() else key64))
    return found


def _within(files: list[KeyedFile], start_us: Int64s) -> Int64s:
    """The rows that start neither before all files nor after them."""
    if not files:
        return np.empty(0, dtype=np.int64)
    first, last = min(file.start_min_us for file in files), max(file.start_max_us for file in files)
    return np.flatnonzero((start_us >= first) & (start_us <= last))


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
