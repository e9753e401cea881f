"""The one writer of data files: rows in order, compact encodings, no statistics on who they are about.

Whatever sorts, everything that lands in a table is written here, a compacted file like a fresh one.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.families import Family

ROW_GROUP_ROWS = 1_000_000
ROW_GROUP_NUMBERS = 4_000_000
"""Numbers of a group of blocks, in the mean: half of somebody's day of acceleration."""
HISTORY_GROUP_ROWS = 16_384
"""Of tables that are sorted by check: a trend then reads of a file little but the check's own rows."""
_DELTA_PACKED = ("start", "end", "received", "entry", "origin_index", "samples", "period_us", "consent_seq", "counts")
_UNCOMPRESSED = ("key64", "counts.list.element")  # random; as small without, and half as quick with
_PAGE_ROWS = 131_072  # rows of a page, if its bytes allow; Arrow's 20,000 take a sixth more time, and more bytes
_PROBE = 65_536  # samples looked at
_STATISTICS = ("pbucket", "start", "record64", "check", "level")


def write_sorted(table: pa.Table, family: Family, path: Path) -> int:
    """Write rows that lie in the family's order to `path`; the file's size in bytes.

    Columns of text may come as dictionaries whose every entry is used. AssertionError where the schema is not the
    family's: a defect of ours.
    """
    assert table.schema.names == family.schema.names, "columns are not the family's"
    with open(path, "wb") as file, pq.ParquetWriter(file, table.schema, **_options(table)) as writer:
        writer.write_table(table, row_group_size=_group_rows(table, family))
    return path.stat().st_size


def _group_rows(table: pa.Table, family: Family) -> int:
    """Rows of a group: whoever reads a block reads up to 2,048 at once of its group, as large as they are."""
    if family.sort_key[0] in ("check", "level"):
        return HISTORY_GROUP_ROWS
    lists = [table.column(name) for name in ("counts", "values") if name in table.schema.names]
    numbers: int = max((pc.sum(pc.list_value_length(column)).as_py() or 0 for column in lists), default=0)
    fitting: int = ROW_GROUP_NUMBERS * table.num_rows // max(1, numbers)
    return max(1, min(ROW_GROUP_ROWS, fitting))


def _options(table: pa.Table) -> dict[str, object]:
    names = table.schema.names
    leaves = [_leaf(table.schema, name) for name in names]
    delta_packed = [name for name in names if name in _DELTA_PACKED]
    encodings = {_leaf(table.schema, name): "DELTA_BINARY_PACKED" for name in delta_packed}
    plain = {"key64", "record64", "times_us", "value", "values", *delta_packed}
    if "value" in names:
        encodings["value"] = "BYTE_STREAM_SPLIT"
    if "values" in names and _has_few_values(table.column("values")):
        plain.remove("values")
    elif "values" in names:
        encodings["values.list.element"] = "BYTE_STREAM_SPLIT"
    return {
        "compression": {leaf: "none" if leaf in _UNCOMPRESSED else "zstd" for leaf in leaves},
        "compression_level": {leaf: 1 for leaf in leaves if leaf not in _UNCOMPRESSED},
        "use_dictionary": [_leaf(table.schema, name) for name in names if name not in plain],
        "column_encoding": encodings,
        "write_statistics": [name for name in _STATISTICS if name in names],
        "store_schema": False,
        "data_page_size": 1024 * 1024,
        "max_rows_per_page": _PAGE_ROWS,
        "dictionary_pagesize_limit": 16 * 1024 * 1024,
        "version": "2.6",
    }


def _has_few_values(samples: pa.ChunkedArray) -> bool:
    """Whether a dictionary of the samples stays small, as with integers from a sensor: a quarter of the size, as quick."""
    step = max(1, sum(len(chunk.values) for chunk in samples.chunks) // _PROBE)
    probed = [np.asarray(chunk.values)[::step] for chunk in samples.chunks]
    return bool(probed) and len(np.unique(np.concatenate(probed))) < _PROBE // 8


def _leaf(schema: pa.Schema, name: str) -> str:
    return f"{name}.list.element" if pa.types.is_list(schema.field(name).type) else name
