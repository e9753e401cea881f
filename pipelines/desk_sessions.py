"""Who has signed out of the stewards' desk: sessions that were ended, in the vault, so that no restart lets them in again."""

from contextlib import closing
from pathlib import Path

from pipelines.database import Database
from pipelines.vault import Vault, as_vault
from quality.web.sessions import Session

FILE = "steward-sessions.sqlite"
MOST_OF_ONE = 200
"""So many ended sessions of a user are remembered one by one. Before the oldest of more, every session of theirs is over."""

_TABLES = """
CREATE TABLE IF NOT EXISTS ended (id TEXT PRIMARY KEY, name TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS over (name TEXT PRIMARY KEY, since REAL NOT NULL, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS changed (n INTEGER NOT NULL);
INSERT INTO changed SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM changed);
"""
_OF_ONE = "FROM ended WHERE name = ?1 ORDER BY since DESC, id LIMIT -1 OFFSET ?2"


class VaultSessions:
    """Implements `quality.web.sessions.EndedSessions`.

    Several desks on one vault in a folder know what the others ended; in a bucket, once they start or end one themselves.
    """

    def __init__(self, vault: Vault | Path) -> None:
        self._vault = as_vault(vault)

    def end(self, session: Session, until: float, now: float) -> None:
        """Durable when it returns. What nobody asks about any more goes."""
        while not self._ended(session, until, now):
            self._vault.renew(FILE)  # another desk was faster

    def _ended(self, session: Session, until: float, now: float) -> bool:
        with closing(self._open()) as database:
            with database.transaction():
                for table in ("ended", "over"):
                    database.execute(f"DELETE FROM {table} WHERE until <= ?", (now,))
                row = (session.id, session.name, session.since, until)
                database.execute("INSERT OR REPLACE INTO ended VALUES (?, ?, ?, ?)", row)
                self._bound(database, session.name)
                (number,) = database.execute("UPDATE changed SET n = n + 1 RETURNING n").fetchone()
            return self._vault.keep(FILE, number, database)

    def _bound(self, database: Database, name: str) -> None:
        """Forget none that would live again: what is too much becomes one moment."""
        of_one = (name, MOST_OF_ONE)
        (since, until) = database.execute(f"SELECT max(since), max(until) FROM (SELECT * {_OF_ONE})", of_one).fetchone()
        if since is not None:
            database.execute("INSERT OR REPLACE INTO over VALUES (?, ?, ?)", (name, since, until))
            database.execute(f"DELETE FROM ended WHERE id IN (SELECT id {_OF_ONE})", of_one)

    def is_ended(self, session: Session) -> bool:
        with closing(self._open()) as database:
            found = database.execute(
                "SELECT 1 FROM ended WHERE id = ? UNION ALL SELECT 1 FROM over WHERE name = ? AND since >= ?",
                (session.id, session.name, session.since),
            )
            return found.fetchone() is not None

    def _open(self) -> Database:
        return Database(self._vault.own(FILE), _TABLES, "FULL")
