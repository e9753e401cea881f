"""Tables of an older version, brought up to date: they gain the columns that have come since, and so do their files.

Done once, by the first driver of a new version, after it has applied what the older one left: an entry gives each table
its columns, then files are written anew, some at a time, each time one entry. A driver that is killed goes on where the
last one was. Only columns that may be null can be added.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby

from pipelines import delta
from pipelines.compaction import DEFAULT, REPLACED_BY_DAY, Job, Limits, compact
from pipelines.entries import Entry, Kind, LakeError, TableChange
from pipelines.files import DataFile, family_of, footer
from pipelines.ledger import Ledger
from pipelines.tables import Tables, lacks
from pipelines.write import write_sorted
from schemas.families import Family

Note = Callable[[Kind, Mapping[str, object], Mapping[str, TableChange]], Entry]


class OtherColumns(LakeError):
    """The tables have columns that this version cannot go on with."""


def upgrade(tables: Tables, ledger: Ledger, note: Note, say: Callable[[str], None], limits: Limits = DEFAULT) -> None:
    """Bring every table to the columns of its family. OtherColumns, before anything is changed, where that cannot be."""
    missing = {table: columns for table in tables.names() if (columns := _missing(tables, table))}
    for table, columns in missing.items():
        say(f"{table} gains {', '.join(columns)}: it was made by an older version")
        note(Kind.WIDEN, {"columns": list(columns)}, {table: TableChange(columns=columns)})
    for table in tables.names():
        family = tables.families[family_of(table)]
        for job in _jobs(table, _older(tables, table, family), limits):
            change = compact(job, family, tables.store, ledger.next_n, ledger.epoch, write_sorted)
            note(Kind.COMPACT, {"files": len(job.files), "rows": job.rows, "why": "older columns"}, {table: change})


def _missing(tables: Tables, table: str) -> tuple[str, ...]:
    """The columns that the table's own log does not know."""
    handle = delta.open_table(tables.store, table)
    if handle is None:
        return ()
    found, schema = delta.columns_of(handle), tables.families[family_of(table)].schema
    kinds = {field.name: field.type for field in found}
    wanted = {field.name: field.type for field in schema}
    missing = tuple(field.name for field in schema if field.name not in kinds)
    changed = [name for name, kind in kinds.items() if wanted.get(name) != kind]
    changed += [name for name in missing if not schema.field(name).nullable]
    if changed:
        raise OtherColumns(
            f"{table} was made by another version of Wellspring, in which {', '.join(changed)} is another column: go on "
            "with that version, or begin a new lake with this one and read the topics again"
        )
    return missing


def _older(tables: Tables, table: str, family: Family) -> Iterator[DataFile]:
    """Its live files that lack columns, by month."""
    for file in sorted(tables.live_files(table), key=lambda file: (file.month, file.path)):
        if lacks(footer(tables.store, file.path).schema, family.schema):
            yield file


def _jobs(table: str, files: Iterable[DataFile], limits: Limits) -> Iterator[Job]:
    """Files of a month, as many as are written anew at once."""
    for month, found in groupby(list(files), key=lambda file: file.month):
        group: list[DataFile] = []
        for file in found:
            rows, size = sum(one.rows for one in group) + file.rows, sum(one.bytes for one in group) + file.bytes
            is_full = rows > limits.most_rows or size > limits.most or family_of(table) in REPLACED_BY_DAY
            if group and is_full:
                yield Job(table, month, tuple(group))
                group = []
            group.append(file)
        yield Job(table, month, tuple(group))
