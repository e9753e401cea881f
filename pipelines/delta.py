"""One Delta transaction: what delta-rs does for us, and what it has to be kept from.

delta-rs takes a stale handle, a version it has seen, a file that is not there, the removal of a file that is not live,
and syncs nothing. So the caller checks, a commit is tried once on the handle that was checked, and we sync.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, PostCommitHookProperties, RemoveAction, create_table_with_add_actions

from pipelines.entries import Entry, Kind, TableChange
from pipelines.files import DataFile
from pipelines.store import Store

APP = "wellspring"
CHECKPOINT_EVERY = 50
KEPT_TABLES = 200
KEPT_COMMITS = 10  # a handle grows with each that it takes in, in memory and in what the next one costs
# Transaction identifiers have no retention, so they never expire. The log is short on purpose: the ledger has the
# history, and an open lists the whole log (120 ms for 20,000 commits, which is a lot every few seconds).
PROPERTIES: Mapping[str, str] = {
    "delta.logRetentionDuration": "interval 2 hours",
    "delta.deletedFileRetentionDuration": "interval 1 days",
    "delta.enableExpiredLogCleanup": "true",
    "delta.dataSkippingStatsColumns": "pbucket,start",
}
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


class LiveFile(NamedTuple):
    """A file of a table as it stands, and when its entry was appended (microseconds since the epoch, UTC)."""

    file: DataFile
    added_us: int


def log_key(table: str, version: int) -> str:
    return f"{table}/_delta_log/{version:020d}.json"


def open_table(store: Store, table: str, options: Mapping[str, str] | None = None) -> DeltaTable | None:
    """The table as it stands, None where there is none; with the store's options of this moment, unless others are given."""
    told = dict(store.delta_options() if options is None else options)
    with _told(store):
        try:
            return DeltaTable(store.uri(table), storage_options=told)
        except TableNotFoundError:
            return None


@contextmanager
def _told(store: Store) -> Iterator[None]:
    """What fails on the way to the storage is told in the store's words."""
    try:
        yield
    except OSError as error:
        store.explain(error)
        raise


class _Kept(NamedTuple):
    """An open table, the version and the options at which it was opened, and the commit at which it stands."""

    handle: DeltaTable
    since: int
    options: Mapping[str, str]
    commit: bytes | None


class _Open(threading.local):
    """Each thread's own: a handle goes on while it is used by nobody else."""

    def __init__(self) -> None:
        self.tables: dict[str, _Kept] = {}


_OPEN = _Open()


def current_table(store: Store, table: str) -> DeltaTable | None:
    """As `open_table`, by a handle that is kept: to bring it up to date takes a tenth. Good until the next call for it."""
    uri = store.uri(table)
    kept = _OPEN.tables.pop(uri, None)
    if kept is None or not _goes_on(store, table, kept):
        options = store.delta_options()  # of this moment: a handle goes on as long as the credentials in them do
        handle = open_table(store, table, options)
        if handle is None:
            return None
        kept = _Kept(handle, handle.version(), options, None)
    else:
        with _told(store):
            kept.handle.update_incremental()
    _OPEN.tables[uri] = kept._replace(commit=store.get(log_key(table, kept.handle.version())))
    if len(_OPEN.tables) > KEPT_TABLES:
        del _OPEN.tables[next(iter(_OPEN.tables))]
    return kept.handle


def _goes_on(store: Store, table: str, kept: _Kept) -> bool:
    """Whether the log still holds the very commit: if not, it is another copy of the table, or has long gone on."""
    version = kept.handle.version()
    if version - kept.since >= KEPT_COMMITS or kept.commit is None or kept.options != store.delta_options():
        return False
    return store.get(log_key(table, version)) == kept.commit


def columns_of(handle: DeltaTable) -> pa.Schema:
    """The table's columns by its own log, without the month that it is parted by."""
    found = pa.schema(handle.schema().to_arrow())
    return pa.schema([field for field in found if field.name != "month"])


def entry_of(handle: DeltaTable | None) -> int:
    """The number of the last ledger entry that the table holds, 0 for none."""
    return (handle.transaction_version(APP) or 0) if handle else 0


def live_files(handle: DeltaTable, table: str) -> list[LiveFile]:
    """The table's files, from its own log."""
    actions = pa.table(handle.get_add_actions(flatten=True)).to_pylist()
    return [_live_file(action, table) for action in actions]


def commit(
    store: Store,
    handle: DeltaTable | None,
    table: str,
    schema: pa.Schema,
    entry: Entry,
    change: TableChange,
    buckets: Mapping[str, tuple[int, int] | None],
) -> None:
    """Bring one entry's change into the table, creating it where there is no handle.

    `buckets` has, by path of an added file, the range of its `pbucket`, which the ledger may not know. One try:
    DeltaError where another commit came between, or where the storage fails.
    """
    moment_ms = entry.at_us // 1000
    moves_only = entry.kind == Kind.COMPACT
    adds = [_add(file, buckets[file.path], table, moment_ms, not moves_only) for file in change.add]
    removes = [_remove(path, table, moment_ms, not moves_only) for path in change.remove]
    properties = CommitProperties(
        custom_metadata={"wellspring.entry": str(entry.n)},
        max_commit_retries=0,
        app_transactions=[Transaction(APP, entry.n)],
    )
    columns = Schema.from_arrow(schema.append(pa.field("month", pa.string(), nullable=False)))
    if handle is not None and change.columns:
        added = Schema.from_arrow(pa.schema([schema.field(name) for name in change.columns])).fields
        handle.alter.add_columns(added, commit_properties=properties, post_commithook_properties=_NO_HOOKS)
    elif handle is None:
        create_table_with_add_actions(
            store.uri(table),
            columns,
            adds,
            mode="error",
            partition_by=["month"],
            configuration=PROPERTIES,
            storage_options=dict(store.delta_options()),
            commit_properties=properties,
            post_commithook_properties=_NO_HOOKS,
        )
    else:
        handle.create_write_transaction(
            [*adds, *removes],
            "append",
            columns,
            ["month"],
            commit_properties=properties,
            post_commithook_properties=_NO_HOOKS,
        )


def checkpoint(store: Store, table: str, version: int) -> None:
    """Now and then, gather the log into a checkpoint and drop what is older than its retention."""
    if (version + 1) % CHECKPOINT_EVERY:
        return
    handle = open_table(store, table)
    if handle is None:
        return
    with _told(store):
        handle.create_checkpoint()
    for name in (f"{handle.version():020d}.checkpoint.parquet", "_last_checkpoint"):
        store.sync(f"{table}/_delta_log/{name}")
    with _told(store):
        handle.cleanup_metadata()
    store.forget(f"{table}/_delta_log/")


def is_torn(data: bytes) -> bool:
    """Whether a commit was cut off by a failing machine before it was durable."""
    try:
        return not data.strip() or any(not isinstance(json.loads(line), dict) for line in data.splitlines())
    except ValueError:
        return True


_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


def _add(file: DataFile, buckets: tuple[int, int] | None, table: str, moment_ms: int, data_change: bool) -> AddAction:
    bounds = {
        "pbucket": buckets or (None, None),
        "start": (_stamp(file.start_min_us), _stamp(file.start_max_us)),
    }
    known = {name: pair for name, pair in bounds.items() if None not in pair}
    stats = {
        "numRecords": file.rows,
        "minValues": {name: pair[0] for name, pair in known.items()},
        "maxValues": {name: pair[1] for name, pair in known.items()},
        "nullCount": dict.fromkeys(known, 0),
    }
    path = file.path.removeprefix(f"{table}/")
    return AddAction(path, file.bytes, {"month": file.month}, moment_ms, data_change, json.dumps(stats))


def _remove(path: str, table: str, moment_ms: int, data_change: bool) -> RemoveAction:
    inner = path.removeprefix(f"{table}/")
    month = inner.partition("/")[0].removeprefix("month=")
    return RemoveAction(inner, data_change, moment_ms, partition_values={"month": month})


def _live_file(action: Mapping[str, object], table: str) -> LiveFile:
    file = DataFile.model_validate(
        {
            "path": f"{table}/{action['path']}",
            "table": table,
            "month": action["partition.month"],
            "rows": action["num_records"],
            "bytes": action["size_bytes"],
            "start_min_us": _micros(action.get("min.start")),
            "start_max_us": _micros(action.get("max.start")),
        }
    )
    moment = action["modification_time"]
    return LiveFile(file, int(moment) * 1000 if isinstance(moment, int) else 0)


def _stamp(micros: int | None) -> str | None:
    if micros is None:
        return None
    return (_EPOCH_START + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _micros(moment: object) -> int | None:
    return (moment - _EPOCH_START) // timedelta(microseconds=1) if isinstance(moment, datetime) else None
