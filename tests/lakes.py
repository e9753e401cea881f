"""Small lakes for the tests: rows of any family, files of them, a driver, and crashes at named steps."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.entries import Entry, Kind, TableChange
from pipelines.files import DataFile, describe, new_key, table_key
from pipelines.ledger import Ledger
from pipelines.store import FolderStore
from pipelines.tables import Tables
from schemas.families import FAMILIES, Family

JAN = 1_736_899_200_000_000  # 2025-01-15T00:00:00Z in microseconds
HOUR = 3_600_000_000


class Crash(BaseException):
    """A kill: nothing in the code under test may catch it."""


class CrashAt:
    """Takes steps, and crashes at the one with the given place in their sequence."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.steps: list[str] = []

    def __call__(self, step: str) -> None:
        self.steps.append(step)
        if len(self.steps) == self.place + 1:
            raise Crash(step)


def rows(family: Family, count: int, first: int = 0, start_us: int = JAN, **columns: Sequence[Any]) -> pa.Table:
    """Rows that differ by their key64, a second apart, in the family's order; `columns` replace what is made up."""
    made = {
        "pbucket": [7] * count,
        "pseudonym": ["p"] * count,
        "start": [start_us + (first + i) * 1_000_000 for i in range(count)],
        "key64": [first + i for i in range(count)],
    }
    arrays = [pa.array(columns.get(f.name, made.get(f.name, [_filler(f)] * count)), f.type) for f in family.schema]
    return pa.Table.from_arrays(arrays, schema=family.schema)


def _filler(field: pa.Field) -> object:
    if field.nullable:
        return None
    if pa.types.is_string(field.type):
        return "x"
    return b"o" if pa.types.is_binary(field.type) else 0


class Driver:
    """A driver in miniature: takes over, recovers, and commits rows as entries."""

    def __init__(self, root: Path, now_us: int = JAN) -> None:
        self.store = FolderStore(root)
        self.ledger = Ledger(self.store)
        self.now_us = now_us
        self.ledger.takeover(now_us, {})
        self.tables = Tables(self.store, self.ledger)
        self.recovered = self.tables.recover()

    def file(self, study: str, content: pa.Table, family: str = "observation", month: str = "2025-01") -> DataFile:
        """The rows as a data file for the next entry."""
        key = new_key(table_key(study, family), month, self.ledger.next_n, self.ledger.epoch)
        temp = self.store.temp_path(key)
        pq.write_table(content, temp)
        size = temp.stat().st_size
        self.store.publish_file(temp, key)
        return describe(key, content, size)

    def entry(self, files: Sequence[DataFile], kind: Kind = Kind.INGEST, **more: Any) -> Entry:
        added: dict[str, list[DataFile]] = {}
        for file in files:
            added.setdefault(file.table, []).append(file)
        tables = {table: TableChange(add=tuple(own)) for table, own in added.items()}
        return self.ledger.draft(kind, self.now_us, cause={}, tables=tables, **more)

    def land(self, *studies: str, count: int = 3, **more: Any) -> Entry:
        """Commit an entry with one file of new rows for each study."""
        first = self.ledger.next_n * 1000
        files = [self.file(study, rows(FAMILIES["observation"], count, first), **more) for study in studies]
        entry = self.entry(files)
        self.tables.append_and_apply(entry)
        return entry


def noting(noted: list[Any], function: Callable[..., Any], place: int) -> Callable[..., Any]:
    """The function, which from now on notes its argument at the place."""

    def noted_function(*arguments: Any) -> Any:
        noted.append(arguments[place])
        return function(*arguments)

    return noted_function


def keys_landed(store: FolderStore, table: str) -> list[int]:
    """key64 of every row that the table shows, by Delta's own reading of its log."""
    from deltalake import DeltaTable

    return sorted(key for uri in DeltaTable(store.uri(table)).file_uris() for key in _keys(uri))


def _keys(uri: str) -> list[int]:
    return [int(key) for key in pq.ParquetFile(uri).read(columns=["key64"])["key64"].to_pylist()]


def buckets_in(store: FolderStore, table: str) -> dict[str, tuple[int, int]]:
    """The range of `pbucket` that Delta's own statistics give for each file of the table."""
    from deltalake import DeltaTable

    actions = pa.table(DeltaTable(store.uri(table)).get_add_actions(flatten=True)).to_pylist()
    return {f"{table}/{one['path']}": (one["min.pbucket"], one["max.pbucket"]) for one in actions}
