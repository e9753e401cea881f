"""The study tables: one way in which every kind of entry is applied, and recovery after a crash.

Entries are applied strictly in order, each table that an entry touches by one Delta transaction that carries the
entry's number. A cycle costs what it touches: nothing is opened, listed or read for any other table.
"""

from collections.abc import Mapping

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines import delta
from pipelines.delta import LiveFile
from pipelines.entries import Entry, Fenced, LakeError, LedgerLost, TableChange
from pipelines.files import DataFile, Footer, family_of, footer, table_folders
from pipelines.ledger import Ledger, OnStep
from pipelines.standing import Standing, load_standing
from pipelines.store import Store
from schemas.families import FAMILIES, Family

SAVE_EVERY = 500


def quiet(step: str) -> None:
    """Takes no notice of a step; tests put a crash in its place."""


class Tables:
    """The tables as the driver keeps them. After any error the object is done with: a new one recovers."""

    def __init__(self, store: Store, ledger: Ledger, families: Mapping[str, Family] = FAMILIES) -> None:
        self.store = store
        self.ledger = ledger
        self.families = families
        self._standing: Standing | None = None
        self._live: dict[str, dict[str, LiveFile]] = {}
        self._checked: dict[str, Footer] = {}

    @property
    def standing(self) -> Standing:
        """Where the tables stand; `verify` or `recover` comes first."""
        if self._standing is None:
            raise LakeError("the tables have not been recovered")
        return self._standing

    def verify(self) -> None:
        """Refuse, with LedgerLost, a ledger and tables that do not belong together. Changes nothing.

        Two look-ups for each table that the ledger knows, and a listing of the folders two levels deep.
        """
        while True:
            head = self.ledger.head()
            standing = load_standing(self.store, self.ledger)
            waiting = list(self.ledger.entries(standing.through + 1))
            problem = _disagreement(self.store, standing, waiting)
            if self.ledger.head() == head:
                break  # else a driver went on meanwhile, and the look-ups may be of two moments
        if problem:
            raise LedgerLost(problem)
        self._standing = standing

    def recover(self, on_step: OnStep = quiet) -> list[Entry]:
        """Verify, then apply whatever the ledger has and the tables may not; the entries that change tables.

        The driver's second act, after its takeover. Opens only the tables of those entries.
        """
        self.verify()
        waiting = list(self.ledger.entries(self.standing.through + 1))
        for entry in waiting:
            for table in entry.tables:
                self._clear_torn_commit(table)
            self.apply(entry, on_step)
        self.save()
        return [entry for entry in waiting if entry.tables]

    def check(self, entry: Entry) -> None:
        """Whether the entry could be applied, asked before it is appended; LakeError where not.

        Each added file must be there with its size, its rows and its family's columns, each removed one be live, and
        each table stand where the ledger brought it.
        """
        try:
            for table, change in entry.tables.items():
                if problem := _table_disagreement(self.store, table, self.standing.place(table).commits):
                    raise LedgerLost(problem)
                self._check_change(table, change, None, of_older=False)
        except LakeError:
            self._refuse_if_overtaken()  # then another driver's doings are what is wrong
            raise

    def apply(self, entry: Entry, on_step: OnStep = quiet) -> None:
        """Bring the tables to the entry, the next one after what they hold.

        Fenced where another driver has taken over, LedgerLost where a table is not what the ledger made it.
        """
        if entry.n != self.standing.through + 1:
            raise LakeError(f"entry {entry.n} cannot be applied after entry {self.standing.through}")
        for table, change in sorted(entry.tables.items()):
            on_step("apply.table")
            self._apply_to(table, change, entry, on_step)
        self.standing.advance(entry)
        self.ledger.mark_applied(entry.n)
        if entry.n % SAVE_EVERY == 0:
            self.save()
        on_step("apply.done")

    def append_and_apply(self, entry: Entry, on_step: OnStep = quiet) -> None:
        """Check, append, apply: the whole of a commit."""
        self.check(entry)
        on_step("append.checked")
        self.ledger.append(entry)
        on_step("append.done")
        self.apply(entry, on_step)

    def live(self, table: str) -> list[LiveFile]:
        """The table's files and since when they are live; read from its log once, then kept up by `apply`."""
        return list(self._index(table, None).values())

    def live_files(self, table: str) -> list[DataFile]:
        """The table's files."""
        return [live.file for live in self.live(table)]

    def names(self) -> list[str]:
        """Every table that an entry has touched."""
        return sorted(self.standing.tables)

    def save(self) -> None:
        """Keep the standing for the next start; done now and then, and when a driver leaves."""
        if self.standing.through:
            self.standing.save(self.store, self.ledger)

    def _apply_to(self, table: str, change: TableChange, entry: Entry, on_step: OnStep) -> None:
        handle = delta.current_table(self.store, table)
        at = delta.entry_of(handle)
        if at >= entry.n:
            self._refuse_others(table, at)
        else:
            self._commit(handle, at, table, change, entry, on_step)
        self._take_in(table, change, entry)

    def _commit(
        self, handle: DeltaTable | None, at: int, table: str, change: TableChange, entry: Entry, on_step: OnStep
    ) -> None:
        place, version = self.standing.place(table), handle.version() if handle else -1
        if (at, version) != (place.last, place.commits - 1):
            raise LedgerLost(
                f"{table} holds entry {at} at version {version}, but the ledger brought it to entry {place.last} at "
                f"version {place.commits - 1}: the table is an older copy, or something else has changed it"
            )
        schema = self._schema(table)
        try:
            self._check_change(table, change, handle, of_older=True)
        except LakeError as error:
            raise LedgerLost(f"entry {entry.n} is in the ledger, but cannot be applied: {error}") from None
        buckets = {file.path: self._checked[file.path].buckets for file in change.add}
        try:
            delta.commit(self.store, handle, table, schema, entry, change, buckets)
        except (DeltaError, OSError) as error:
            self._settle(table, entry, error)
        on_step("apply.committed")
        self.store.sync(delta.log_key(table, place.commits))
        on_step("apply.synced")
        delta.checkpoint(self.store, table, place.commits)

    def _settle(self, table: str, entry: Entry, error: Exception) -> None:
        """A commit that answered an error may be there all the same, ours or another driver's of the same entry."""
        at = delta.entry_of(delta.open_table(self.store, table))
        if at < entry.n:
            raise LakeError(f"entry {entry.n} could not be committed to {table}") from error
        self._refuse_others(table, at)

    def _refuse_others(self, table: str, at: int) -> None:
        self._refuse_if_overtaken()
        head = self.ledger.head()
        if head is None or at > head.n:
            raise LedgerLost(f"{table} holds entry {at}, which the ledger does not have: the ledger is an older copy")

    def _refuse_if_overtaken(self) -> None:
        head = self.ledger.head()
        if head and head.epoch != self.ledger.epoch:
            raise Fenced("another driver has taken over: this one stops")

    def _check_change(self, table: str, change: TableChange, handle: DeltaTable | None, *, of_older: bool) -> None:
        """`of_older`: its files may be those of an older version, as in an entry that was appended before an upgrade."""
        schema = self._schema(table)
        for file in change.add:
            self._check_file(file, schema, of_older)
        if change.remove:
            live = self._index(table, handle)
            if any(path not in live for path in change.remove):
                raise LakeError(f"a file that is to be removed from {table} is not live in it")

    def _check_file(self, file: DataFile, schema: pa.Schema, of_older: bool) -> None:
        size = self.store.size(file.path)
        if size is None:
            raise LakeError(f"{file.path} is to be added and is not there")
        if size != file.bytes:
            raise LakeError(f"{file.path} has {size} bytes where {file.bytes} were written")
        if file.path in self._checked:
            return
        found = footer(self.store, file.path)
        if found.rows != file.rows:
            raise LakeError(f"{file.path} has {found.rows} rows where {file.rows} were counted")
        if not (found.schema.equals(schema) or (of_older and lacks(found.schema, schema))):
            raise LakeError(f"{file.path} does not have its family's columns: {_differences(found.schema, schema)}")
        self._checked[file.path] = found

    def _take_in(self, table: str, change: TableChange, entry: Entry) -> None:
        for file in change.add:
            self._checked.pop(file.path, None)
        live = self._live.get(table)
        if live is None:
            return
        for path in change.remove:
            live.pop(path, None)
        for file in change.add:
            live[file.path] = LiveFile(file, entry.at_us)

    def _index(self, table: str, handle: DeltaTable | None) -> dict[str, LiveFile]:
        if table not in self._live:
            handle = handle or delta.open_table(self.store, table)
            found = delta.live_files(handle, table) if handle else []
            self._live[table] = {live.file.path: live for live in found}
        return self._live[table]

    def _schema(self, table: str) -> pa.Schema:
        family = self.families.get(family_of(table))
        if family is None:
            raise LakeError(f"{table} is not a table of any family")
        return family.schema

    def _clear_torn_commit(self, table: str) -> None:
        """A power cut may have left the next commit of a table half written: it did not happen."""
        key = delta.log_key(table, self.standing.place(table).commits)
        data = self.store.get(key)
        if data is not None and delta.is_torn(data):
            self.store.delete(key)


def _disagreement(store: Store, standing: Standing, waiting: list[Entry]) -> str:
    """What is wrong between the ledger and the tables' logs, in words; empty where they agree."""
    more: dict[str, int] = {}
    for entry in waiting:
        for table in entry.tables:
            more[table] = more.get(table, 0) + 1
    for table in sorted(standing.tables.keys() | more.keys()):
        if problem := _table_disagreement(store, table, standing.place(table).commits, more.get(table, 0)):
            return problem
    for table in _tables_on_disk(store):
        if table not in standing.tables and table not in more:
            return f"{table} is a table that the ledger does not know"
    return ""


def _table_disagreement(store: Store, table: str, commits: int, more: int = 0) -> str:
    """The same for one table that has had `commits` commits, and perhaps up to `more` besides."""
    if commits and not store.exists(delta.log_key(table, commits - 1)):
        return f"{table} is older than the ledger: version {commits - 1} of it is missing"
    if store.exists(delta.log_key(table, commits + more)):
        return f"{table} is ahead of the ledger: the ledger is an older copy, or something else changed the table"
    return ""


def _tables_on_disk(store: Store) -> list[str]:
    return [table for table in table_folders(store) if "_delta_log" in store.folders(f"{table}/")]


def lacks(found: pa.Schema, schema: pa.Schema) -> list[str]:
    """The columns that an older version did not have yet; none where these are other columns in any other way."""
    missing = [field.name for field in schema if field.name not in found.names and field.nullable]
    rest = pa.schema([field for field in schema if field.name not in missing])
    return missing if found.equals(rest) else []


def _differences(found: pa.Schema, schema: pa.Schema) -> str:
    wrong = [f.name for f in schema if f.name not in found.names or not found.field(f.name).equals(f)]
    return ", ".join(wrong + [name for name in found.names if name not in schema.names]) or "their order"
