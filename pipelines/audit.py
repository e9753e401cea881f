"""The audit: who decided or saw what, line after line, in the vault. Nothing is ever changed or taken away.

Each line carries the hash of the one before it, and the file remembers how many there were, so that a line that was
changed, or taken from the middle or the end, is noticed by whoever reads.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
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
Line = tuple[int, int, str, str, str, str]
"""A line: its number, when (microseconds, UTC), who, which study, what, and about what as JSON."""


class AuditBroken(LakeError):
    """The audit is not as it was written."""

    exit_code = 4


class Audit:
    """The audit of a vault in a folder, in its file. Opened anew for each use, so that any thread may."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, seen: Seen) -> None:
        """Add a line; it is on the disk when this returns."""
        with self._open() as db, db.transaction():
            last = db.execute("SELECT n, hash FROM seen ORDER BY n DESC LIMIT 1").fetchone() or (0, "")
            line = line_of(last[0] + 1, seen)
            db.execute("INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?)", (*line, hash_of(last[1], line)))

    def newest(self, study: str, limit: int) -> list[Seen]:
        """The study's last lines, newest first. AuditBroken where any line of the audit is not as it was written."""
        with self._open() as db:
            _verify(db)
            rows = db.execute(
                f"SELECT {_LINE} FROM seen WHERE study = ? ORDER BY n DESC LIMIT ?", (study, limit)
            ).fetchall()
        return [as_seen(row) for row in rows]

    def verify(self) -> None:
        """AuditBroken where any line is not as it was written."""
        if self._path.exists():
            with self._open() as db:
                _verify(db)

    def lines(self) -> Iterator[tuple[Line, str]]:
        """Every line with its hash, from the first one on."""
        if not self._path.exists():
            return
        with self._open() as db:
            for *line, found in db.execute(f"SELECT {_LINE}, hash FROM seen ORDER BY n"):
                n, at_us, by, study, what, about = line
                yield (n, at_us, by, study, what, about), found

    def take(self, lines: Iterable[tuple[Line, str]]) -> None:
        """Add lines of another copy of this audit, as they are; those that are there stay."""
        rows = [(*line, found) for line, found in lines]
        with self._open() as db, db.transaction():
            db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

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
        if line[0] != n + 1 or found != hash_of(before, tuple(line)):
            raise AuditBroken(f"line {n + 1} of the audit was changed or taken away: restore the vault's {FILE}")
        n, before = line[0], found
    written = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'seen'").fetchone()
    if n != (written[0] if written else 0):
        raise AuditBroken(f"the last lines of the audit were taken away: restore the vault's {FILE}")


def line_of(n: int, seen: Seen) -> Line:
    """What was seen, as line n."""
    about = json.dumps(dict(seen.about), sort_keys=True, ensure_ascii=False)
    return n, micros(seen.at), seen.by, seen.study, seen.what, about


def as_seen(line: Line) -> Seen:
    """What a line says was seen."""
    _, at_us, by, study, what, about = line
    return Seen(instant(at_us), by, study, what, json.loads(about))


def hash_of(before: str, line: tuple[Any, ...]) -> str:
    """A line's hash, which carries that of the line before it."""
    return hashlib.sha256(json.dumps([before, *line], ensure_ascii=False).encode()).hexdigest()
