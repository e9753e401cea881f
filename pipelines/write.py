"""The one writer of data files: rows in order, compact encodings, no statistics on who they are about.

Whatever sorts, everything that lands in a table is written here, a compacted file like a fresh one.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.families import Family

ROW_GROUP_ROWS = 1_000_000
_DELTA_PACKED = ("start", "end", "received", "entry", "origin_index", "samples", "period_us", "consent_seq", "counts")
_UNCOMPRESSED = ("key64", "counts.list.element")  # random; as small without, and half as quick with
_PROBE = 65_536  # samples looked at
_STATISTICS = ("pbucket", "start", "record64")


def write_sorted(table: pa.Table, family: Family, path: Path) -> int:
    """Write rows that lie in the family's order to `path`; the file's size in bytes.

    Columns of text may come as dictionaries whose every entry is used. AssertionError where the schema is not the
    family's: a defect of ours.
    """
    assert table.schema.names == family.schema.names, "columns are not the family's"
    with open(path, "wb") as file, pq.ParquetWriter(file, table.schema, **_options(table)) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return path.stat().st_size


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
