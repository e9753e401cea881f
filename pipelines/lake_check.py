"""Does the lake agree with its ledger: an audit from the first entry to the last that changes nothing.

It reads every entry, every table's log and every live file's footer, so it takes its time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from pipelines import delta
from pipelines.entries import Entry, Kind, LedgerLost
from pipelines.files import DataFile, family_of, footer, written
from pipelines.ledger import Ledger
from pipelines.store import Store
from schemas.families import FAMILIES, Family

UNFINISHED = "_control/unfinished-copy.json"
"""Here a copy of a lake was begun and has not come to its end."""

Law = Callable[[Entry], Iterable[str]]
"""The sums that an entry's counts must satisfy: each one that does not, in words."""


def no_law(entry: Entry) -> Iterable[str]:
    """For lakes whose entries carry no counts."""
    return ()


@dataclass
class TableReport:
    """One table: what it holds, and the entry and Delta version at which it stands."""

    files: int = 0
    rows: int = 0
    bytes: int = 0
    entry: int = 0
    version: int = -1


@dataclass
class Report:
    """What was found. `problems` must be empty; `leavings` are files that the next sweep or clearing deletes."""

    entries: int = 0
    epoch: int = 0
    tables: dict[str, TableReport] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    leavings: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, object]:
        return {"sound": self.is_sound, **asdict(self)}


NOT_HELD = "does not hold entry"
UNFINISHED_WORDS = "a copy into this place was broken off: copy again, or into an empty place"


def refuse_unfinished(store: Store) -> None:
    """LedgerLost where a copy of a lake was broken off."""
    if store.exists(UNFINISHED):
        raise LedgerLost(UNFINISHED_WORDS)


class History:
    """Every table's files after each entry that touched it, as far as the check needs them."""

    def __init__(self) -> None:
        self.touched: dict[str, list[int]] = {}
        self.changes: dict[str, list[tuple[list[DataFile], list[str]]]] = {}
        self.named: set[str] = set()

    def take(self, entry: Entry) -> Iterator[str]:
        for table, change in entry.tables.items():
            twice = sorted(file.path for file in change.add if file.path in self.named)
            yield from (f"entry {entry.n} adds {path}, which was added before" for path in twice)
            self.named.update(file.path for file in change.add)
            self.touched.setdefault(table, []).append(entry.n)
            self.changes.setdefault(table, []).append((list(change.add), list(change.remove)))

    def live_at(self, table: str, commits: int) -> dict[str, DataFile]:
        live: dict[str, DataFile] = {}
        for add, remove in self.changes[table][:commits]:
            for path in remove:
                live.pop(path, None)
            live.update((file.path, file) for file in add)
        return live


def lake_check(
    store: Store, ledger: Ledger, families: Mapping[str, Family] = FAMILIES, law: Law = no_law, deep: bool = False
) -> Report:
    """Audit the lake. A broken ledger ends the audit early: without it there is nothing to compare with.

    With `deep` all of every file is read, where else its footer is.
    """
    report = Report()
    history = History()
    if store.exists(UNFINISHED):
        report.problems.append(UNFINISHED_WORDS)
    try:
        applied_through = _read_ledger(ledger, history, report, law)
    except LedgerLost as error:
        report.problems.append(str(error))
        return report
    for table in sorted(history.touched):
        _check_table(store, table, history, applied_through, families, report, deep)
    _check_files(store, history, report)
    return report


def _read_ledger(ledger: Ledger, history: History, report: Report, law: Law) -> int:
    before: Entry | None = None
    for entry in ledger.entries():
        report.problems += _sequence_problems(before, entry)
        report.problems += [f"entry {entry.n}: {words}" for words in law(entry)]
        report.problems += history.take(entry)
        before = entry
    report.entries, report.epoch = (before.n, before.epoch) if before else (0, 0)
    return before.applied_through if before else 0


def _sequence_problems(before: Entry | None, entry: Entry) -> Iterator[str]:
    epoch, applied = (before.epoch, before.applied_through) if before else (0, 0)
    if entry.epoch != epoch + (entry.kind == Kind.TAKEOVER):
        yield f"entry {entry.n} is of epoch {entry.epoch}, after epoch {epoch}"
    if entry.applied_through < applied:
        yield f"entry {entry.n} says that less was applied than entry {entry.n - 1} said"
    if entry.kind == Kind.COMPACT and entry.tables and not _keeps_rows(entry):
        yield f"entry {entry.n} compacts files and adds none"


def _keeps_rows(entry: Entry) -> bool:
    return all(change.add for change in entry.tables.values())


def _check_table(
    store: Store,
    table: str,
    history: History,
    applied_through: int,
    families: Mapping[str, Family],
    report: Report,
    deep: bool,
) -> None:
    touched = history.touched[table]
    try:
        handle = delta.open_table(store, table)
    except DeltaError:
        report.problems.append(f"{table} cannot be opened: its log is damaged")
        return
    at = delta.entry_of(handle)
    version = handle.version() if handle else -1
    if at and at not in touched:
        report.problems.append(f"{table} holds entry {at}, which is not one of the ledger's entries for it")
        return
    commits = touched.index(at) + 1 if at else 0
    if version != commits - 1:
        report.problems.append(f"{table} is at version {version}; entry {at} was its commit {commits}")
    for n in touched[commits:]:
        words = f"{table} {NOT_HELD} {n}"
        (report.waiting if n > applied_through else report.problems).append(words)
    found = {one.file.path: one.file for one in delta.live_files(handle, table)} if handle else {}
    report.problems += _differences(table, history.live_at(table, commits), found)
    family = families.get(family_of(table))
    for file in found.values():
        report.problems += _file_problems(store, file, family, deep)
    total_rows, total_bytes = sum(f.rows for f in found.values()), sum(f.bytes for f in found.values())
    report.tables[table] = TableReport(len(found), total_rows, total_bytes, at, version)


def _differences(table: str, expected: dict[str, DataFile], found: dict[str, DataFile]) -> Iterator[str]:
    yield from (f"{table} lacks {path}" for path in sorted(expected.keys() - found.keys()))
    yield from (
        f"{table} has {path}, which the ledger does not give it" for path in sorted(found.keys() - expected.keys())
    )
    both = sorted(expected.keys() & found.keys())
    yield from (f"{table} describes {path} otherwise than the ledger" for path in both if expected[path] != found[path])


def _file_problems(store: Store, file: DataFile, family: Family | None, deep: bool) -> Iterator[str]:
    size = store.size(file.path)
    if size is None:
        yield f"{file.path} is missing"
        return
    if size != file.bytes:
        yield f"{file.path} has {size} bytes where {file.bytes} were written"
        return
    try:
        found = footer(store, file.path)
        if deep and _rows_read(store, file.path) != file.rows:
            yield f"{file.path} does not have the rows that it says"
    except (OSError, pa.ArrowInvalid):
        yield f"{file.path} cannot be read"
        return
    if found.rows != file.rows:
        yield f"{file.path} has {found.rows} rows where the ledger counted {file.rows}"
    if family is None or not found.schema.equals(family.schema):
        yield f"{file.path} does not have its family's columns"


def _rows_read(store: Store, key: str) -> int:
    """How many rows there are, every page of every column unpacked."""
    with store.open_file(key) as source, pq.ParquetFile(source) as parquet:
        return sum(batch.num_rows for batch in parquet.iter_batches())


def _check_files(store: Store, history: History, report: Report) -> None:
    """Files that no table shows: a dead driver's leavings, a plan under way, removals within their grace, strangers."""
    live = {path for table in history.touched for path in history.live_at(table, len(history.touched[table]))}
    for key in store.list("study="):
        table, is_log, _ = key.partition("/_delta_log/")
        name = written(key)
        if is_log:
            if table not in history.touched and f"{table} is not in the ledger" not in report.problems:
                report.problems.append(f"{table} is not in the ledger")
        elif name is None:
            report.problems.append(f"{key} is not a file of the lake")
        elif key in history.named:
            if key not in live:
                report.leavings.append(f"{key}: removed, kept for readers until its grace is over")
        elif name.epoch < report.epoch:
            report.leavings.append(f"{key}: no entry names it, and its driver is gone")
        else:
            report.waiting.append(f"{key}: written, and not in the ledger yet")
