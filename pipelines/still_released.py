"""What stewards have released stays released when its record is judged again, if it is still what they let in.

A row is the same if the same was sent (`key64`), it means the same by today's catalogue (every column that says what it is),
and nothing holds it back but what had held it back when it was released. Anything else is judged anew.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.rows import Rows, table
from pipelines.store import Store
from quality.gate import QUARANTINES
from schemas.families import Family

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_OF_THE_RUN = (
    *("flags", "received", "consent_seq", "entry", "key64", "record64"),
    *("revision", "origin", "origin_index", "released"),
)
"""Columns that do not say what a reading is."""


def still_released(store: Store, paths: Iterable[str], rows: Rows, family: Family) -> Int64s:
    """[n] the ledger entry by which each row was released and stays so, 0 for what is to be judged.

    `paths` are the files that a replay takes out of the rows' own table; the rows have their `flags`.
    """
    found = np.zeros(len(rows), dtype=np.int64)
    for path in paths:
        with store.open_file(path) as source:
            parquet = pq.ParquetFile(source)
            mine = _wanted(parquet, rows.readings["key64"])
            if mine.any():
                before = parquet.read(columns=family.schema.names).filter(pa.array(mine))
                _keep(before, rows, family, found)
    return found


def _wanted(parquet: pq.ParquetFile, keys: Int64s) -> Flags:
    """Which rows of a file are released, and come again."""
    released = parquet.read(columns=["released"]).column("released")
    if released.null_count == len(released):
        return np.zeros(len(released), dtype=bool)
    there = parquet.read(columns=["key64"]).column("key64").to_numpy()
    return np.asarray(released.is_valid().to_numpy() & np.isin(there, keys))


def _keep(before: pa.Table, rows: Rows, family: Family, found: Int64s) -> None:
    """Note for the rows that are the same as one of those before by which entry that was released."""
    keys = before.column("key64").to_numpy()
    order = np.argsort(keys)
    again = np.flatnonzero(np.isin(rows.readings["key64"], keys))
    same_key = order[np.searchsorted(keys[order], rows.readings["key64"][again])]
    before, now = before.take(pa.array(same_key)), table(rows.take(again), family, 0, family.name)
    holding = now.column("flags").to_numpy() & QUARANTINES
    same = holding & ~before.column("flags").to_numpy() == 0
    for field in family.schema:
        if field.name not in _OF_THE_RUN and same.any():
            same &= _equal(before.column(field.name).cast(field.type), now.column(field.name).cast(field.type))
    found[again[same]] = before.column("released").to_numpy()[same]


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Flags:
    """[n] where two columns say the same; nothing is the same as nothing."""
    if pa.types.is_list(one.type):
        return np.array([mine.equals(its) for mine, its in zip(one, other, strict=True)], dtype=bool)
    both_null = pc.and_(one.is_null(), other.is_null())
    return np.asarray(pc.or_(pc.fill_null(pc.equal(one, other), False), both_null).to_numpy())
