"""Who has signed out of the stewards' desk: sessions that were ended, in the vault, so that no restart lets them in again."""

from contextlib import closing
from pathlib import Path

from pipelines.database import Database
from quality.web.sessions import Session

FILE = "steward-sessions.sqlite"
MOST_OF_ONE = 200
"""So many ended sessions of a user are remembered one by one. Before the oldest of more, every session of theirs is over."""

_TABLES = """
CREATE TABLE IF NOT EXISTS ended (id TEXT PRIMARY KEY, name TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS over (name TEXT PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL);
"""
_OF_ONE = "FROM ended WHERE name = ?1 ORDER BY since DESC, id LIMIT -1 OFFSET ?2"


class VaultSessions:
    """Implements `quality.web.sessions.EndedSessions`. Several desks on one vault know what the others ended."""

    def __init__(self, vault: Path) -> None:
        self._path = vault / FILE

    def end(self, session: Session, until: float, now: float) -> None:
        """On the disk when it returns. What nobody asks about any more goes."""
        with closing(self._open()) as vault, vault.transaction():
            for table in ("ended", "over"):
                vault.execute(f"DELETE FROM {table} WHERE until <= ?", (now,))
            row = (session.id, session.name, session.since, until)
            vault.execute("INSERT OR REPLACE INTO ended VALUES (?, ?, ?, ?)", row)
            self._bound(vault, session.name)

    def _bound(self, vault: Database, name: str) -> None:
        """Forget none that would live again: what is too much becomes one moment."""
        of_one = (name, MOST_OF_ONE)
        (since, until) = vault.execute(f"SELECT max(since), max(until) FROM (SELECT * {_OF_ONE})", of_one).fetchone()
        if since is not None:
            vault.execute("INSERT OR REPLACE INTO over VALUES (?, ?, ?)", (name, since, until))
            vault.execute(f"DELETE FROM ended WHERE id IN (SELECT id {_OF_ONE})", of_one)

    def is_ended(self, session: Session) -> bool:
        with closing(self._open()) as vault:
            found = vault.execute(
                "SELECT 1 FROM ended WHERE id = ? UNION ALL SELECT 1 FROM over WHERE name = ? AND since >= ?",
                (session.id, session.name, session.since),
            )
            return found.fetchone() is not None

    def _open(self) -> Database:
        return Database(self._path, _TABLES, "FULL")
