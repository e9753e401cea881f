"""The one writer of data files: rows in order, compact encodings, no statistics on who they are about.

Whatever sorts, everything that lands in a table is written here, a compacted file like a fresh one.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.families import Family

ROW_GROUP_ROWS = 1_000_000
_DELTA_PACKED = ("start", "end", "received", "entry", "origin_index", "samples", "period_us", "consent_seq")
_SPLIT = ("value", "values.list.element")
_STATISTICS = ("pbucket", "start", "record64")


def write_sorted(table: pa.Table, family: Family, path: Path) -> int:
    """Write rows that lie in the family's order to `path`; the file's size in bytes.

    Columns of text may come as dictionaries whose every entry is used. AssertionError where the schema is not the
    family's: a defect of ours.
    """
    assert table.schema.names == family.schema.names, "columns are not the family's"
    with open(path, "wb") as file:
        with pq.ParquetWriter(file, table.schema, **_options(table.schema)) as writer:
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return path.stat().st_size


def _options(schema: pa.Schema) -> dict[str, object]:
    names = [field.name for field in schema]
    encodings = {name: "DELTA_BINARY_PACKED" for name in names if name in _DELTA_PACKED}
    encodings |= {leaf: "BYTE_STREAM_SPLIT" for leaf in _SPLIT if leaf.split(".")[0] in names}
    plain = {"key64", "record64", *encodings, "values", "times_us"}
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [_leaf(schema, name) for name in names if name not in plain],
        "column_encoding": encodings,
        "write_statistics": [name for name in _STATISTICS if name in names],
        "store_schema": False,
        "data_page_size": 1024 * 1024,
        "dictionary_pagesize_limit": 16 * 1024 * 1024,
        "version": "2.6",
    }


def _leaf(schema: pa.Schema, name: str) -> str:
    return f"{name}.list.element" if pa.types.is_list(schema.field(name).type) else name
