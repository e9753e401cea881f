"""What came of a study's readings, by day: the sums of the ledger's entries, kept in the vault so that nobody adds twice.

Nothing here is a source: delete the file and it is made again from the ledger.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from pipelines.database import Database
from pipelines.entries import Entry, Kind
from pipelines.ledger import Ledger
from pipelines.vault import Vault
from pipelines.zones import DAY_US
from schemas.reasons import Outcome

FILE = "came-of-readings.sqlite"
SCHEMA = pa.schema(
    [
        ("day", pa.date32()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("n", pa.int64()),
        ("people", pa.int64()),
    ]
)
AT_ONCE = 2_000

_TABLES = """
CREATE TABLE IF NOT EXISTS through (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outcomes (
    study TEXT, day INTEGER, outcome TEXT, reason TEXT, n INTEGER NOT NULL, people INTEGER NOT NULL,
    PRIMARY KEY (study, day, outcome, reason)) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET n = n + excluded.n, people = max(people, excluded.people)"""
FIRST_JUDGED = (Kind.INGEST, Kind.REDRIVE)
"""Entries of these kinds judge readings for the first time; a replay judges again what was counted then."""

SETTLED = (Outcome.QUARANTINED, Outcome.DUPLICATE, Outcome.LANDED)
"""What becomes of readings that consent lets in."""


class Outcomes:
    """The sums in the vault's folder, as far as the ledger had come when they were last brought up to it. `close` it."""

    def __init__(self, vault: Vault, ledger: Ledger) -> None:
        self._db, self._ledger = Database(vault.derived(FILE), _TABLES, "NORMAL"), ledger

    def close(self) -> None:
        self._db.close()

    def of(self, study: str, today: int) -> pa.Table:
        """Columns as in `SCHEMA`: the day (UTC) on which readings were judged, and how many came to each outcome and reason.

        The reason is empty for all outcomes but `withheld`. Rejected and held readings are of no study. `people` is how many
        there are at least: as many as one part of one run has had, since nobody knows who came in another. It is null of
        `today` (counted since 1970) and later, whose sums still grow: two of them would differ by what one person has sent.
        """
        while self._advance():
            pass
        found = self._db.execute(
            "SELECT day, outcome, reason, n, CASE WHEN day < ? THEN people END FROM outcomes WHERE study = ? "
            "ORDER BY day, outcome, reason",
            (today, study),
        ).fetchall()
        columns = zip(*found, strict=True) if found else [()] * len(SCHEMA)
        return pa.Table.from_arrays(
            [pa.array(list(values), field.type) for values, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
        )

    def _advance(self) -> bool:
        """Add the next entries, all or nothing; whether there may be more."""
        head = self._ledger.head()
        if head is None or self._reached() == (head.n, self._ledger.digest(head.n)):
            return False
        with self._db.transaction():
            n, digest = self._reached()
            if n and self._ledger.digest(n) != digest:  # another copy of the ledger: begin again
                self._db.execute("DELETE FROM outcomes")
                n = 0
            entries = list(islice(self._ledger.entries(n + 1), AT_ONCE))
            self._db.executemany(_ADD, [row for entry in entries for row in _outcomes(entry)])
            n = entries[-1].n if entries else n
            self._db.execute("INSERT OR REPLACE INTO through VALUES (1, ?, ?)", (n, self._ledger.digest(n) or ""))
        return n < head.n

    def _reached(self) -> tuple[int, str]:
        found = self._db.execute("SELECT n, digest FROM through").fetchone()
        return (int(found[0]), str(found[1])) if found else (0, "")


def _outcomes(entry: Entry) -> Iterator[tuple[Any, ...]]:
    """(study, day since 1970, outcome, reason), how many readings an entry brought there, and of how many people at least."""
    if entry.kind not in FIRST_JUDGED:
        return
    studies: Any = entry.counts.get("studies", {})
    known: Any = entry.counts.get("people", {})
    day = entry.at_us // DAY_US
    for study, sums in studies.items():
        people = known.get(study, {})
        for reason, count in sums["withheld"].items():
            yield study, day, str(Outcome.WITHHELD), reason, count, people.get(reason, 0)
        for outcome in SETTLED:
            if sums[outcome]:
                yield study, day, str(outcome), "", sums[outcome], people.get(str(outcome), 0)
