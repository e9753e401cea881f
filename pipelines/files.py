"""A data file: its name, what the ledger says of it, and what its footer says.

`study=<id>/<family>/month=<YYYY-MM>/<n>-<epoch>-<uuid>.parquet`: n is the ledger entry that adds the file, epoch the
driver's that wrote it. So the file's one possible entry is known from its name, and files of a dead driver are told
from those of the living without a search.
"""

import re
import uuid
from typing import Annotated, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipelines.store import Store

TABLE_PATTERN = r"study=[a-z][a-z0-9-]{0,39}/[a-z][a-z_]*"
_NAME = re.compile(rf"^({TABLE_PATTERN})/month=(\d{{4}}-\d{{2}})/(\d+)-(\d+)-[0-9a-f-]{{32,36}}\.parquet$")

TableKey = Annotated[str, StringConstraints(pattern=rf"^{TABLE_PATTERN}$")]


class DataFile(BaseModel):
    """One Parquet file of a table, as the ledger knows it: nothing in it is about one person.

    Times are microseconds since the epoch, UTC; both ends of a range are in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str
    table: TableKey
    month: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}$")]
    rows: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]
    start_min_us: int | None = None
    start_max_us: int | None = None


class Written(NamedTuple):
    """What the name of a data file tells."""

    table: str
    month: str
    n: int
    epoch: int


class Footer(NamedTuple):
    """What a Parquet file says of itself: its rows, and its columns without metadata, dictionaries as their values.

    `buckets` is the range of `pbucket`, both ends in it; None where the file has no such column, or does not say.
    """

    rows: int
    schema: pa.Schema
    buckets: tuple[int, int] | None


def table_key(study: str, family: str) -> str:
    """The folder of a study's table of one family."""
    return f"study={study}/{family}"


def table_folders(store: Store) -> list[str]:
    """Every folder that has the place and the name of a table, by a listing two levels deep."""
    found = [f"{study}/{family}" for study in store.folders("study=") for family in store.folders(f"{study}/")]
    return [table for table in found if re.fullmatch(TABLE_PATTERN, table)]


def study_and_family(table: str) -> tuple[str, str]:
    """What `table_key` made the folder of."""
    study, _, family = table.removeprefix("study=").partition("/")
    return study, family


def family_of(table: str) -> str:
    """The name of the family of a table."""
    return study_and_family(table)[1]


def new_key(table: str, month: str, n: int, epoch: int) -> str:
    """A key under which nothing has been written yet, for entry n of the driver with this epoch."""
    return f"{table}/month={month}/{n:012d}-{epoch}-{uuid.uuid4().hex}.parquet"


def written(key: str) -> Written | None:
    """What the file's name tells; None where it is not the name of a data file."""
    found = _NAME.match(key)
    return Written(found[1], found[2], int(found[3]), int(found[4])) if found else None


def describe(key: str, rows: pa.Table, size: int) -> DataFile:
    """What the ledger will say of the file with these rows; ValueError where the key is not a data file's name."""
    name = written(key)
    if name is None:
        raise ValueError("the key is not the name of a data file")
    start_min, start_max = _range(rows, "start")
    return DataFile(
        path=key,
        table=name.table,
        month=name.month,
        rows=rows.num_rows,
        bytes=size,
        start_min_us=start_min,
        start_max_us=start_max,
    )


def footer(store: Store, key: str) -> Footer:
    """Rows and columns of a Parquet file; OSError or pa.ArrowInvalid where there is none to read."""
    with store.open_file(key) as source:
        found = pq.read_metadata(source)
    columns = found.schema.to_arrow_schema()
    schema = pa.schema([pa.field(column.name, _plain(column.type), column.nullable) for column in columns])
    return Footer(found.num_rows, schema, _buckets(found))


def rows_in_footer(store: Store, key: str) -> int:
    """Rows of a Parquet file as its footer counts them."""
    return footer(store, key).rows


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _buckets(found: pq.FileMetaData) -> tuple[int, int] | None:
    leaf = next((i for i in range(found.num_columns) if found.schema.column(i).path == "pbucket"), None)
    if leaf is None:
        return None
    groups = [found.row_group(group).column(leaf).statistics for group in range(found.num_row_groups)]
    if not all(told is not None and told.has_min_max for told in groups):
        return None
    return min(told.min for told in groups), max(told.max for told in groups)


def _range(rows: pa.Table, column: str) -> tuple[int | None, int | None]:
    if column not in rows.schema.names:
        return None, None
    bounds = pc.min_max(rows[column].cast(pa.int64()))
    return bounds["min"].as_py(), bounds["max"].as_py()
