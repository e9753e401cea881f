"""Where each table ought to stand: the last entry that touched it, and how many have.

One entry is one Delta commit, so a table's version is the number of entries that touched it, less one: two look-ups a
table tell a table that is ahead of the ledger or an older copy, without opening it. The standing is kept beside the
ledger as a file that may be rewritten. It follows from the ledger alone; the file saves reading all of it.
"""

from itertools import islice
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.entries import Entry, LedgerLost
from pipelines.ledger import Ledger
from pipelines.store import Store

KEY = "_control/standing.json"


class Place(NamedTuple):
    """The last entry that touched a table, and the number of entries that have."""

    last: int = 0
    commits: int = 0


class _Saved(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    through: int
    digest: str
    cleared_through: int
    tables: dict[str, Place]


class Standing:
    """The tables' places after entry `through`; what entries through `cleared_through` removed has been deleted."""

    def __init__(self, tables: dict[str, Place], through: int, cleared_through: int) -> None:
        self.tables = tables
        self.through = through
        self.cleared_through = cleared_through

    def place(self, table: str) -> Place:
        return self.tables.get(table, Place())

    def advance(self, entry: Entry) -> None:
        """Take in the next entry. Costs what the entry touches."""
        if entry.n != self.through + 1:
            raise LedgerLost(f"entry {entry.n} does not follow entry {self.through}")
        for table in entry.tables:
            self.tables[table] = Place(entry.n, self.place(table).commits + 1)
        self.through = entry.n

    def save(self, store: Store, ledger: Ledger) -> None:
        """Keep it for the next start."""
        digest = ledger.digest(self.through)
        if digest is None:
            raise LedgerLost(f"the ledger has lost entry {self.through}")
        saved = _Saved(
            through=self.through, digest=digest, cleared_through=self.cleared_through, tables=dict(self.tables)
        )
        store.put(KEY, saved.model_dump_json().encode())


def load_standing(store: Store, ledger: Ledger) -> Standing:
    """Where the tables stand by all that is known to be applied: the saved standing, or a later entry's word.

    LedgerLost where the saved one was made with another ledger: one that went further, or another copy.
    """
    head = ledger.head()
    saved = _read(store)
    if saved is None:
        standing = Standing({}, 0, 0)
    elif ledger.digest(saved.through) == saved.digest:
        standing = Standing(dict(saved.tables), saved.through, saved.cleared_through)
    else:
        raise LedgerLost(f"the ledger's entry {saved.through} is not the one that this lake was written with")
    applied_through = head.applied_through if head else 0
    if standing.through < applied_through:
        for entry in islice(ledger.entries(standing.through + 1), applied_through - standing.through):
            standing.advance(entry)
    return standing


def cleared_through(store: Store) -> int | None:
    """Through which entry what was removed has been deleted by the saved standing; None where there is none."""
    saved = _read(store)
    return saved.cleared_through if saved else None


def _read(store: Store) -> _Saved | None:
    data = store.get(KEY)
    try:
        return _Saved.model_validate_json(data) if data is not None else None
    except ValidationError:
        return None  # it follows from the ledger
