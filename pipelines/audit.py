"""The audit: who decided or saw what, line after line, in the vault. Nothing is ever changed or taken away.

Each line carries the hash of the one before it, and the file remembers how many there were, so that a line that was
changed, or taken from the middle or the end, is noticed by whoever reads.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.database import Database
from pipelines.entries import LakeError
from quality.desk import Seen
from quality.job.times import instant, micros

FILE = "audit.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS seen (
    n INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, by TEXT NOT NULL, study TEXT NOT NULL,
    what TEXT NOT NULL, about TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS seen_study ON seen (study, n);
CREATE TRIGGER IF NOT EXISTS seen_stays BEFORE UPDATE ON seen BEGIN SELECT raise(ABORT, 'the audit is not changed'); END;
CREATE TRIGGER IF NOT EXISTS seen_is_kept BEFORE DELETE ON seen BEGIN SELECT raise(ABORT, 'the audit is kept'); END;
"""
_LINE = "n, at_us, by, study, what, about"


class AuditBroken(LakeError):
    """The audit is not as it was written."""

    exit_code = 4


class Audit:
    """The audit of one vault. Opened anew for each use, so that any thread may."""

    def __init__(self, vault: Path) -> None:
        self._path = vault / FILE

    def note(self, seen: Seen) -> None:
        """Add a line; it is on the disk when this returns."""
        about = json.dumps(dict(seen.about), sort_keys=True, ensure_ascii=False)
        with self._open() as db, db.transaction():
            last = db.execute("SELECT n, hash FROM seen ORDER BY n DESC LIMIT 1").fetchone() or (0, "")
            line = (last[0] + 1, micros(seen.at), seen.by, seen.study, seen.what, about)
            db.execute("INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?)", (*line, _hash(last[1], line)))

    def newest(self, study: str, limit: int) -> list[Seen]:
        """The study's last lines, newest first. AuditBroken where any line of the audit is not as it was written."""
        with self._open() as db:
            _verify(db)
            rows = db.execute(
                f"SELECT {_LINE} FROM seen WHERE study = ? ORDER BY n DESC LIMIT ?", (study, limit)
            ).fetchall()
        return [Seen(instant(at_us), by, of, what, json.loads(about)) for _, at_us, by, of, what, about in rows]

    @contextmanager
    def _open(self) -> Iterator[Database]:
        db = Database(self._path, _TABLES, "FULL")
        try:
            yield db
        finally:
            db.close()


def _verify(db: Database) -> None:
    """Follow the hashes from the first line to the last."""
    n, before = 0, ""
    for *line, found in db.execute(f"SELECT {_LINE}, hash FROM seen ORDER BY n"):
        if line[0] != n + 1 or found != _hash(before, tuple(line)):
            raise AuditBroken(f"line {n + 1} of the audit was changed or taken away: restore the vault's {FILE}")
        n, before = line[0], found
    written = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'seen'").fetchone()
    if n != (written[0] if written else 0):
        raise AuditBroken(f"the last lines of the audit were taken away: restore the vault's {FILE}")


def _hash(before: str, line: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps([before, *line], ensure_ascii=False).encode()).hexdigest()
