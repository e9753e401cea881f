"""The bound: a tuned pyarrow writer of the same landed rows from memory, sorting included, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.write import write_sorted
from schemas.families import OBSERVATION, Family

_GROUP = ("pbucket", "pseudonym", "metric", "source")


def in_arrival_order(paths: list[str], family: Family = OBSERVATION) -> pa.Table:
    """The rows of landed files in memory, texts as dictionaries, in the order in which they came in."""
    texts = [f.name for f in family.schema if pa.types.is_string(f.type) or pa.types.is_binary(f.type)]
    tables = [pq.ParquetFile(path, read_dictionary=texts).read(columns=family.schema.names) for path in paths]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    order = np.lexsort(
        (table.column("origin_index").to_numpy(), _codes(table.column("origin")), table.column("received").to_numpy())
    )
    return table.take(pa.array(order)).combine_chunks()


def write_bound(table: pa.Table, path: Path, family: Family = OBSERVATION) -> None:
    """Sort the rows as they lie in a file and write them with the same columns and encodings."""
    start = table.column("start").to_numpy().astype("datetime64[us]").astype(np.int64)
    group = np.zeros(table.num_rows, dtype=np.int64)
    for name in _GROUP:
        codes = _codes(table.column(name))
        group = group * (int(codes.max()) + 1) + codes
    _, rank = np.unique(group, return_inverse=True) if group.max() > 1 << 20 else (None, group)
    offset = start - start.min()
    key = (rank.astype(np.int64) << int(offset.max()).bit_length()) | offset
    write_sorted(table.take(pa.array(np.argsort(key, kind="stable"))), family, path)


def _codes(values: Any) -> Any:
    """Small numbers that sort as the texts do."""
    array = values.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        return array.to_numpy().astype(np.int64)
    place = np.empty(len(array.dictionary), dtype=np.int64)
    place[np.argsort(np.asarray(array.dictionary.to_pylist(), dtype=object), kind="stable")] = np.arange(
        len(array.dictionary)
    )
    return place[array.indices.to_numpy()]
