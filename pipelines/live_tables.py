"""The live files of a lake's tables as a reader sees them: a table's log is read once, then the ledger's entries say more.

A file that an entry removes is deleted an hour later, so whoever has just asked can open what it was told.
"""

from collections.abc import Iterable

from pipelines import delta
from pipelines.entries import Entry
from pipelines.files import DataFile
from pipelines.ledger import Ledger
from pipelines.store import Store


class LiveTables:
    """The tables of one lake; nothing is listed, and an entry that came costs one read."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger
        self._files: dict[str, dict[str, DataFile]] = {}
        self._through: dict[str, int] = {}
        self._seen = 0

    def refresh(self) -> set[str]:
        """Take in the entries that came since; the tables among those asked for that they changed."""
        head = self._ledger.head()
        if head is None or head.n == self._seen:
            return set()
        changed: set[str] = set()
        if self._files:
            for entry in self._ledger.entries(self._seen + 1):
                changed |= self._take_in(entry, entry.tables)
        self._seen = head.n
        return changed

    def files(self, table: str) -> list[DataFile]:
        """The table's files; none where there is no table."""
        if table not in self._files:
            self._open(table)
        return list(self._files[table].values())

    def _open(self, table: str) -> None:
        """What the table's log says, and what entries say that it may not hold yet."""
        head = self._ledger.head()
        handle = delta.open_table(self._store, table)
        found = delta.live_files(handle, table) if handle else []
        self._files[table] = {live.file.path: live.file for live in found}
        self._through[table] = delta.entry_of(handle)
        if head is not None:
            for entry in self._ledger.entries(head.applied_through + 1):
                self._take_in(entry, [table])

    def _take_in(self, entry: Entry, tables: Iterable[str]) -> set[str]:
        changed = set()
        for table in tables:
            change = entry.tables.get(table)
            if change is None or entry.n <= self._through.get(table, entry.n):
                continue
            files = self._files[table]
            for path in change.remove:
                files.pop(path, None)
            files.update((file.path, file) for file in change.add)
            self._through[table] = entry.n
            changed.add(table)
        return changed
