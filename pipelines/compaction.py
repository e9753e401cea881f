"""Many small files become few large ones: which, is a pure function; the rows go through the one writer.

A live month is compacted when it has many files or some have waited an hour, a closed month once its stragglers have
waited a day. Files are taken from the smallest upwards and only while each is at most `ratio` times what is gathered
already, so that a large file is not rewritten for the sake of a few rows; a file of `enough` bytes is finished.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.blocks import is_lists_of_numbers, taken
from pipelines.delta import LiveFile
from pipelines.entries import LakeError, TableChange
from pipelines.files import DataFile, describe, family_of, new_key, rows_in_footer
from pipelines.store import Store
from schemas.families import CHECK_RESULT, DAY_SUMMARY, Family

MB = 1024 * 1024
Write = Callable[[pa.Table, Family, Path], object]
"""Writes rows that lie in the family's order as one Parquet file at the path."""


class Limits(NamedTuple):
    """When to compact, and how much at once. Bytes are of Parquet files, times microseconds."""

    hot_files: int = 50
    hot_age_us: int = 3600 * 1_000_000
    closed_age_us: int = 24 * 3600 * 1_000_000
    small: int = 1 * MB
    enough: int = 128 * MB
    most: int = 256 * MB
    most_rows: int = 5_000_000
    ratio: int = 2


DEFAULT = Limits()
REPLACED_BY_DAY = (CHECK_RESULT.name, DAY_SUMMARY.name)
"""Families of whose rows a day's are replaced at once: while the month lasts they stay in files of a day each."""


class Job(NamedTuple):
    """Files of one month of one table that become one file."""

    table: str
    month: str
    files: tuple[DataFile, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


def choose(live: Mapping[str, Iterable[LiveFile]], now_us: int, limits: Limits = DEFAULT) -> list[Job]:
    """What to compact now, given the live files of some tables: no file in two jobs, no job without a gain."""
    this_month = datetime.fromtimestamp(now_us // 1_000_000, UTC).strftime("%Y-%m")
    jobs = []
    for table, files in live.items():
        for month, found in sorted(_by_month(files).items()):
            if month >= this_month and family_of(table) in REPLACED_BY_DAY:
                continue
            group = _gather(found, limits)
            if _is_due(group, month < this_month, now_us, limits):
                jobs.append(Job(table, month, tuple(one.file for one in group)))
    return jobs


def compact(job: Job, family: Family, store: Store, n: int, epoch: int, write: Write) -> TableChange:
    """Write the job's rows as one file for entry n, and say what the table gains and loses.

    LakeError where the rows written are not as many as the rows read, or as many as the ledger says.
    """
    rows = _gathered(store, job, family)
    key = new_key(job.table, job.month, n, epoch)
    temp = store.temp_path(key)
    write(rows, family, temp)
    size = temp.stat().st_size
    store.publish_file(temp, key)
    counted = rows_in_footer(store, key)
    if not rows.num_rows == counted == job.rows:
        raise LakeError(f"compaction of {job.table} read {rows.num_rows} rows of {job.rows} and wrote {counted}")
    return TableChange(add=(describe(key, rows, size),), remove=tuple(file.path for file in job.files))


def _by_month(files: Iterable[LiveFile]) -> dict[str, list[LiveFile]]:
    months: dict[str, list[LiveFile]] = {}
    for one in files:
        months.setdefault(one.file.month, []).append(one)
    return months


def _gather(files: list[LiveFile], limits: Limits) -> list[LiveFile]:
    """From the smallest upwards, as long as it is worth it and fits into one file."""
    group: list[LiveFile] = []
    size = rows = 0
    for one in sorted(files, key=lambda one: (one.file.bytes, one.file.path)):
        if not _is_worth_it(one.file, size, limits):
            break
        if size + one.file.bytes > limits.most or rows + one.file.rows > limits.most_rows:
            break
        group.append(one)
        size, rows = size + one.file.bytes, rows + one.file.rows
    return group


def _is_worth_it(file: DataFile, gathered: int, limits: Limits) -> bool:
    if file.bytes >= limits.enough or 2 * file.rows > limits.most_rows:
        return False
    return file.bytes <= max(limits.small, limits.ratio * gathered)


def _is_due(group: list[LiveFile], is_closed: bool, now_us: int, limits: Limits) -> bool:
    if len(group) < 2:
        return False
    waited_us = now_us - min(one.added_us for one in group)
    if is_closed and len(group) < limits.hot_files:
        return waited_us >= limits.closed_age_us
    return len(group) >= limits.hot_files or waited_us >= limits.hot_age_us


def _gathered(store: Store, job: Job, family: Family) -> pa.Table:
    """All rows of the job's files in the family's order, text as dictionaries of exactly the texts in use.

    One column at a time, so that the rows are not in memory twice.
    """
    with ExitStack() as stack:
        sources = [stack.enter_context(store.open_file(file.path)) for file in job.files]
        files = [_opened(source, family) for source in sources]
        order = _order([_column(files, family.schema.field(name)) for name in family.sort_key])
        columns = [taken(_column(files, field), order) for field in family.schema]
    kinds = zip(family.schema, columns, strict=True)
    fields = [pa.field(field.name, column.type, field.nullable) for field, column in kinds]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _opened(source: pa.NativeFile, family: Family) -> pq.ParquetFile:
    """The file, its texts to be read as dictionaries."""
    told = pq.read_metadata(source)
    there = set(told.schema.to_arrow_schema().names)
    return pq.ParquetFile(source, metadata=told, read_dictionary=[name for name in _texts(family) if name in there])


def _texts(family: Family) -> list[str]:
    return [field.name for field in family.schema if _is_text(field.type)]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _column(files: list[pq.ParquetFile], field: pa.Field) -> Any:
    """The column over all files, in one piece unless it holds blocks of samples; null in files that are older than it."""
    parts = pa.concat_tables([_part(file, field).replace_schema_metadata(None) for file in files])
    column = parts.unify_dictionaries()[field.name]
    return column if is_lists_of_numbers(column.type) else column.combine_chunks()


def _part(file: pq.ParquetFile, field: pa.Field) -> pa.Table:
    if field.name in file.schema_arrow.names:
        return file.read(columns=[field.name])
    kind = pa.dictionary(pa.int32(), field.type) if _is_text(field.type) else field.type
    return pa.table({field.name: pa.nulls(file.metadata.num_rows, kind)})


def _order(keys: list[pa.Array]) -> npt.NDArray[np.int64]:
    return np.lexsort([_ranks(values) for values in reversed(keys)])


def _ranks(values: pa.Array) -> npt.NDArray[np.int64]:
    """Numbers that lie in the order of the values."""
    if not pa.types.is_dictionary(values.type):
        return np.asarray(values.cast(pa.int64()).to_numpy(zero_copy_only=False))
    texts = np.asarray(values.dictionary.to_numpy(zero_copy_only=False))
    rank = np.empty(len(texts), dtype=np.int64)
    rank[np.argsort(texts, kind="stable")] = np.arange(len(texts))
    return np.asarray(rank[values.indices.to_numpy(zero_copy_only=False)])
