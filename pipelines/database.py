"""The vault's databases: SQLite files that are opened alike, and changed all or nothing."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from pipelines.entries import LakeError

WAIT_S = 5.0


class VaultLocked(LakeError):
    """Another process is in the middle of a change to one of the vault's databases, and does not come to an end."""


class Database(sqlite3.Connection):
    """One file of the vault, made with mode 600 where it is not there. VaultLocked where it had to wait for too long.

    With `FULL` a change is on the disk when it returns; with `NORMAL` a power cut may take the last ones back.
    """

    def __init__(self, path: Path, tables: str, synchronous: Literal["FULL", "NORMAL"]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        super().__init__(path, timeout=WAIT_S, isolation_level=None)
        self._name = path.name
        try:
            self.execute("PRAGMA journal_mode = WAL")
            self.execute(f"PRAGMA synchronous = {synchronous}")
            self.executescript(tables)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is done within happens, or nothing of it where it raises."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except sqlite3.OperationalError as error:
            raise self._in_words(error) from None

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.OperationalError as error:
            raise self._in_words(error) from None

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        try:
            return super().executescript(sql_script)
        except sqlite3.OperationalError as error:
            raise self._in_words(error) from None

    def _in_words(self, error: sqlite3.OperationalError) -> Exception:
        """The error as it is, unless it is that somebody else holds the file."""
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return error
        return VaultLocked(
            f"{self._name} in the vault is locked: another process, perhaps a driver that was paused, is in the "
            "middle of a change to it; let it go on or end it, then start again"
        )


def copied(database: sqlite3.Connection, path: Path) -> Path:
    """The database as it stands, as one new file of its owner's: SQLite's own copy, which a change in hand never tears."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        database.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # without a log beside it
    return path
