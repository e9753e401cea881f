"""The lake in SQL: one DuckDB view per study and family, read only.

`<study>_<family>` (hyphens as underscores) shows what holds now: of a record that its source revised, the last
revision, unless that took it back. `<study>_<family>_all` shows every row. A query sees the files that were live when
it began, and no other file.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from pipelines import delta
from pipelines.entries import LakeError
from pipelines.files import family_of, study_and_family, table_folders
from pipelines.object_files import in_words, reach
from pipelines.store import Store
from schemas.families import ENTERED_IN_ERROR, FAMILIES, REVISED_FAMILIES, Family

_ALLOWED = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


class QueryRefused(LakeError):
    """The query is not one that may be asked, or DuckDB could not answer it."""


class TableInfo(NamedTuple):
    """What a table holds at its latest version. `view` is its name in SQL."""

    table: str
    view: str
    rows: int
    files: int
    bytes: int
    version: int
    entry: int


def table_keys(store: Store, families: Mapping[str, Family] = FAMILIES) -> list[str]:
    """The lake's tables, `study=<id>/<family>`, by name."""
    return [table for table in table_folders(store) if family_of(table) in families]


def view_name(table: str) -> str:
    """`study=heart-a/observation` is `heart_a_observation` in SQL."""
    study, family = study_and_family(table)
    return f"{study}_{family}".replace("-", "_")


def tables(store: Store, families: Mapping[str, Family] = FAMILIES) -> list[TableInfo]:
    """Every table with its rows, files, bytes, Delta version and the last ledger entry that it holds."""
    found = []
    for table in table_keys(store, families):
        handle = delta.open_table(store, table)
        if handle is None:
            continue
        files = [live.file for live in delta.live_files(handle, table)]
        rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
        entry = delta.entry_of(handle)
        found.append(TableInfo(table, view_name(table), rows, len(files), size, handle.version(), entry))
    return found


def sql(store: Store, query: str, families: Mapping[str, Family] = FAMILIES) -> pa.Table:
    """The answer to one SELECT over the lake's views; times come as UTC. QueryRefused for anything else.

    The views of the tables that the query names are made, or all where it names none, as `SHOW TABLES` does. From then
    on the session opens the live files of these views and nothing else, and its settings are locked.
    """
    named = [table for table in table_keys(store, families) if _names(query, view_name(table))]
    with tempfile.TemporaryDirectory(prefix="wellspring-sql-") as spill, connect(spill, store) as session:
        paths = make_views(session, store, named or table_keys(store, families), families)
        lock(session, paths)
        return answer_of(session, query)


def answer_of(session: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
    """The answer of a locked session to one SELECT; QueryRefused for anything else."""
    try:
        statements = session.extract_statements(query)
        if len(statements) != 1 or statements[0].type not in _ALLOWED:
            raise QueryRefused("one SELECT at a time, please: the lake is changed by the driver alone")
        with in_words():
            return session.sql(statements[0], params=list(parameters)).to_arrow_table()
    except duckdb.Error as error:
        raise QueryRefused(_told(error)) from None


def make_views(
    session: duckdb.DuckDBPyConnection, store: Store, tables: Iterable[str], families: Mapping[str, Family] = FAMILIES
) -> list[str]:
    """Create the views of these tables in a session; the addresses of the files that they read."""
    paths: list[str] = []
    for table in tables:
        family = families[family_of(table)]
        handle = delta.open_table(store, table)
        if handle is not None:
            # not file_uris(): it escapes a blank in the lake's own path, and DuckDB takes it as it is
            files = [store.uri(live.file.path) for live in delta.live_files(handle, table)]
            make_view(session, files, view_name(table), family)
            paths += files
    return paths


def connect(spill: str, store: Store) -> duckdb.DuckDBPyConnection:
    """A session over the store's files, in UTC, which writes what it has no memory for to the folder `spill`."""
    session = duckdb.connect(
        ":memory:",
        config={
            "temp_directory": spill,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    reach(session, store)
    session.execute("SET TimeZone = 'UTC'")
    return session


def lock(session: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """From now on the session opens these files and nothing else, and its settings stay as they are."""
    session.execute(f"SET allowed_paths = {_list(paths)}")
    session.execute("SET enable_external_access = false")
    session.execute("SET lock_configuration = true")


def make_view(
    session: duckdb.DuckDBPyConnection, paths: Sequence[str], name: str, family: Family, *, with_counts: bool = False
) -> None:
    """Create the views `name` and `name_all` of the files with these addresses, or of none.

    `with_counts` also shows the integers of a block that lies in the file as such, as `counts`, `scale` and `zero`.
    """
    columns = ", ".join(_expressions(family, with_counts))
    if paths:
        options = "hive_partitioning = true, union_by_name = true, hive_types = {'month': VARCHAR}"
        with in_words():
            session.execute(
                f"CREATE VIEW {name}_all AS SELECT {columns} FROM read_parquet({_list(paths)}, {options}) AS t"
            )
    else:
        session.register(f"{name}_none", family.schema.append(pa.field("month", pa.string())).empty_table())
        session.execute(f"CREATE VIEW {name}_all AS SELECT {columns} FROM {name}_none AS t")
    session.execute(f"CREATE VIEW {name} AS {_current(name, family)}")


_FROM_COUNTS = ("counts", "scale", "zero")


def _expressions(family: Family, with_counts: bool) -> Iterator[str]:
    """The view's columns: the family's and the month, a block's values as numbers whichever way they lie in the file."""
    for name in (*family.schema.names, "month"):
        if name == "values" and "counts" in family.schema.names:
            yield 'coalesce(t."values", list_transform(t.counts, lambda n: n * t.scale + t.zero)) AS "values"'
        elif with_counts or name not in _FROM_COUNTS:
            yield f't."{name}"'


def _current(name: str, family: Family) -> str:
    if "record64" not in family.schema.names:
        return f"SELECT * FROM {name}_all"
    # the bucket follows from the pseudonym: a query that is narrowed to some of them then looks at theirs alone
    last = "max(revision) OVER (PARTITION BY pbucket, pseudonym, record64)"
    current = (
        f"SELECT * FROM {name}_all WHERE record64 IS NULL UNION ALL "
        f"SELECT * FROM {name}_all WHERE record64 IS NOT NULL QUALIFY revision = {last}"
    )
    if family.name in REVISED_FAMILIES:
        return f"SELECT * FROM ({current}) WHERE status NOT IN ({', '.join(map(repr, ENTERED_IN_ERROR))})"
    return current


def _told(error: duckdb.Error) -> str:
    """DuckDB's own words where they are about the query; about rows they would show a value."""
    about_query = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.PermissionException)
    return str(error) if isinstance(error, about_query) else f"DuckDB could not answer: {type(error).__name__}"


def _names(query: str, view: str) -> bool:
    return view in query.lower()


def _list(texts: Sequence[str]) -> str:
    quoted = ("'" + text.replace("'", "''") + "'" for text in texts)
    return f"[{', '.join(quoted)}]"
