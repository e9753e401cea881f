"""Sessions of DuckDB for tests that are about something else: cursors of one database, each with a catalogue of its own.

To make a database takes twenty milliseconds, more than most of what is asked of it. Such a session is not locked: that
the lake's are is what the tests of the views and of the desk hold.
"""

from collections.abc import Sequence
from functools import cache
from itertools import count

import duckdb

from pipelines.store import Store

_numbers = count()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    off = dict.fromkeys(("autoinstall_known_extensions", "autoload_known_extensions"), "false")
    return duckdb.connect(":memory:", config={"threads": 1, **off})


def connect(spill: str, store: Store) -> duckdb.DuckDBPyConnection:
    """In place of `pipelines.views.connect`."""
    session, name = _database().cursor(), f"catalogue_{next(_numbers)}"
    for statement in (f"ATTACH ':memory:' AS {name}", f"USE {name}", "SET TimeZone = 'UTC'"):
        session.execute(statement)
    return session


def lock(session: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """In place of `pipelines.views.lock`."""
