"""The ledger: one create-only object per change of the lake, in one sequence without holes.

The append of entry n is the moment at which its change happened. A driver begins with a takeover, which raises the
epoch; the number that an older driver takes next is then taken already, and that driver is fenced. Every entry names
the digest of the one before it, so a ledger that went on from an older copy does not pass for this one.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pydantic import JsonValue, ValidationError

from connectors.source_file import StorageFailed
from pipelines.entries import (
    Entry,
    Fenced,
    Kind,
    LakeError,
    LedgerLost,
    TableChange,
    checked_entry,
    places,
    rfc3339,
)
from pipelines.store import Store, Taken

__all__ = ["Entry", "Fenced", "Kind", "LakeError", "Ledger", "LedgerLost", "OnStep", "TableChange", "rfc3339"]

FOLDER = "_control/ledger/"

OnStep = Callable[[str], None]


class _Head(NamedTuple):
    entry: Entry
    digest: str


class Ledger:
    """The sequence as one process sees it: to read, and after `takeover` to append to."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.epoch = 0
        self.applied_through = 0
        self._head: _Head | None = None

    def head(self) -> Entry | None:
        """The last entry; None in a new lake. Reads only what came since it was last asked; a first call lists."""
        if self._head is None:
            self._head = self._newest()
        while self._head is not None and (found := self._load(self._head.entry.n + 1)) is not None:
            self._head = _following(self._head, found)
        return self._head.entry if self._head else None

    def read(self, n: int) -> Entry:
        """Entry n; LedgerLost where there is none or it cannot be read."""
        return self._loaded(n).entry

    def digest(self, n: int) -> str | None:
        """The SHA-256 of entry n's bytes, None where there is no such entry."""
        found = self._load(n)
        return found.digest if found else None

    def entries(self, first: int = 1) -> Iterator[Entry]:
        """Entries from `first` to the head, each checked to follow the one before it."""
        head = self.head()
        before = self._loaded(first - 1) if head and 1 < first <= head.n else None
        for n in range(first, head.n + 1 if head else first):
            found = self._loaded(n)
            if before is not None or n == 1:
                _following(before, found)
            before = found
            yield found.entry

    def takeover(self, at_us: int, cause: Mapping[str, JsonValue]) -> Entry:
        """Become the one driver: append a takeover with the next epoch. Fenced where another did so just now."""
        head = self.head()
        self.applied_through = head.applied_through if head else 0
        entry = self._following_entry(Kind.TAKEOVER, (head.epoch if head else 0) + 1, at_us, cause)
        self._create(entry)
        self.epoch = entry.epoch
        return entry

    def draft(
        self,
        kind: Kind,
        at_us: int,
        *,
        cause: Mapping[str, JsonValue],
        tables: Mapping[str, TableChange],
        progress: Mapping[str, JsonValue] | None = None,
        counts: Mapping[str, JsonValue] | None = None,
        holds: Mapping[str, JsonValue] | None = None,
    ) -> Entry:
        """The next entry of this driver, not yet appended.

        Keys of `progress` replace the head's, the others are carried forward. LakeError where an earlier entry is not
        applied yet, Fenced where another driver has taken over.
        """
        head = self._own_head()
        if self.applied_through != head.n:
            raise LakeError(f"entry {head.n} must be applied before another is appended")
        draft = self._following_entry(kind, self.epoch, at_us, cause)
        changes = {"tables": dict(tables), "counts": dict(counts or {}), "holds": dict(holds) if holds else None}
        return checked_entry({**dict(draft), **changes, "progress": {**head.progress, **(progress or {})}})

    @property
    def next_n(self) -> int:
        """The number of this driver's next entry, which names the files that it will add."""
        return self._own_head().n + 1

    def append(self, entry: Entry) -> None:
        """Make the entry part of the ledger: it has happened when this returns. Fenced where its number is taken."""
        head = self._own_head()
        if (entry.n, entry.epoch) != (head.n + 1, self.epoch):
            raise LakeError(f"entry {entry.n} of epoch {entry.epoch} does not follow entry {head.n} of {self.epoch}")
        self._create(entry)

    def mark_applied(self, n: int) -> None:
        """Say that the tables hold everything through entry n."""
        self.applied_through = max(self.applied_through, n)

    def _own_head(self) -> Entry:
        if self._head is None or not self.epoch:
            raise LakeError("only a driver that has taken over appends to the ledger")
        if self._head.entry.epoch != self.epoch:
            raise Fenced(_FENCED.format(self._head.entry.epoch))
        return self._head.entry

    def _following_entry(self, kind: Kind, epoch: int, at_us: int, cause: Mapping[str, JsonValue]) -> Entry:
        head = self._head
        at_us = (
            max(at_us, head.entry.at_us) if head else at_us
        )  # a clock that was set back does not turn the order round
        return Entry(
            n=head.entry.n + 1 if head else 1,
            kind=kind,
            epoch=epoch,
            nonce=uuid.uuid4().hex,
            at=rfc3339(at_us),
            cause=dict(cause),
            tables={},
            progress=head.entry.progress if head else {},
            counts={},
            holds=None,
            applied_through=self.applied_through,
            previous=head.digest if head else "",
        )

    def _create(self, entry: Entry) -> None:
        data = entry.model_dump_json().encode()
        key = _key(entry.n)
        try:
            self.store.put_new(key, data)
        except (Taken, OSError, StorageFailed) as error:
            self._settle(entry, key, error)
        self._head = _Head(entry, _digest(data))

    def _settle(self, entry: Entry, key: str, error: Exception) -> None:
        """The answer was no, or none: what lies under the number now says whether this entry was appended."""
        found = self._load(entry.n)
        if found is None:
            raise error
        if found.entry.nonce != entry.nonce:
            raise Fenced(_FENCED.format(found.entry.epoch)) from None
        self.store.sync(key)

    def _newest(self) -> _Head | None:
        numbers = sorted(int(key.removeprefix(FOLDER).removesuffix(".json")) for key in self.store.list(FOLDER))
        if not numbers:
            return None
        if numbers[-1] != len(numbers):
            hole = next(n for n, found in enumerate(numbers, start=1) if n != found)
            raise LedgerLost(f"the ledger has no entry {hole}, but has entry {numbers[-1]}")
        return self._loaded(numbers[-1])

    def _loaded(self, n: int) -> _Head:
        found = self._load(n)
        if found is None:
            raise LedgerLost(f"the ledger has no entry {n}")
        return found

    def _load(self, n: int) -> _Head | None:
        data = self.store.get(_key(n))
        if data is None:
            return None
        try:
            found = _Head(Entry.model_validate_json(data), _digest(data))
        except ValidationError as error:
            raise LedgerLost(f"entry {n} of the ledger is damaged at {places(error)}") from None
        if found.entry.n != n:
            raise LedgerLost(f"entry {n} of the ledger says that it is entry {found.entry.n}")
        return found


_FENCED = "another driver has taken over (epoch {}): this one stops and has changed nothing since"


def _following(before: _Head | None, found: _Head) -> _Head:
    if found.entry.previous != (before.digest if before else ""):
        raise LedgerLost(f"entry {found.entry.n} of the ledger does not follow the entry before it")
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _key(n: int) -> str:
    return f"{FOLDER}{n:012d}.json"
