"""The element that travels through the pipeline: a block of columns."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]


@dataclass
class Block:
    """Columns of many messages of one topic partition: `meta` says what they share, each part is one record batch.

    `parts["messages"]` has a row a message; `parts["readings"]` a row a reading, its column `message` the row of its
    message. What else a stage needs it adds as a part of its own.
    """

    meta: dict[str, Any]
    parts: dict[str, pa.RecordBatch] = field(default_factory=dict)

    @property
    def messages(self) -> pa.RecordBatch:
        return self.parts["messages"]

    @property
    def readings(self) -> pa.RecordBatch:
        return self.parts["readings"]


def batch(columns: dict[str, Any], schema: pa.Schema | None = None) -> pa.RecordBatch:
    """A record batch of columns by name, each an Arrow or NumPy array or a list."""
    if schema is not None:
        return pa.RecordBatch.from_arrays([arrow(columns[f.name], f.type) for f in schema], schema=schema)
    return pa.RecordBatch.from_arrays([arrow(values) for values in columns.values()], names=list(columns))


def arrow(values: Any, kind: pa.DataType | None = None) -> Any:
    """An Arrow array over NumPy memory, a list, or an Arrow array as it is, in one chunk or several."""
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, type=kind)


def column(part: pa.RecordBatch, name: str) -> Array:
    """A column without nulls as a NumPy array over the same memory."""
    return np.asarray(part.column(name).to_numpy(zero_copy_only=True))


def texts(part: pa.RecordBatch, name: str) -> list[Any]:
    """A column as Python values: for what there is one of per message, never per reading."""
    return list(part.column(name).to_pylist())


def with_columns(part: pa.RecordBatch, columns: Iterable[tuple[str, Any]]) -> pa.RecordBatch:
    """The part with columns added, or replaced where the name is there already."""
    named = {name: part.column(name) for name in part.schema.names}
    named.update({name: arrow(values) for name, values in columns})
    return pa.RecordBatch.from_arrays(list(named.values()), names=list(named))


def said_once(number: Any, count: int) -> Array:
    """A column of which every item is this number (of NumPy's): it takes no room, and none to be put in order."""
    return np.broadcast_to(number, count)


def is_said_once(values: Array) -> bool:
    """Whether the column was made by `said_once`."""
    return values.strides == (0,)


def taken(values: Any, places: Int64s) -> Any:
    """The items of a NumPy or Arrow column at these places, in memory of their own; in chunks if the column has chunks."""
    if isinstance(values, np.ndarray) and is_said_once(values) and len(values):
        return said_once(values[0], len(places))
    if isinstance(values, np.ndarray):
        return values.take(places)
    if is_lists_of_numbers(values.type):
        return _taken_lists(values, places)
    return values.take(pa.array(places))


def is_lists_of_numbers(kind: pa.DataType) -> bool:
    """Whether the column holds a block of samples, or their times, in each row."""
    return bool(pa.types.is_list(kind) and pa.types.is_primitive(kind.value_type))


# Numbers of lists that are copied into one piece: what is then done with a piece finds it in the processor's cache.
_PIECE = 131_072


def _taken_lists(lists: Any, places: Int64s) -> Any:
    """Lists of numbers, none of them null, at these places.

    A list is long here (a block of samples) and is copied as a slice; Arrow would copy it number by number.
    """
    is_chunked = isinstance(lists, pa.ChunkedArray)
    chunks = lists.chunks if is_chunked else [lists]
    slices, nulls = _slices(chunks, places), _nulls(chunks, places)
    if not is_chunked:
        return _piece(slices, nulls, lists.type)
    piece = np.cumsum([len(part) for part in slices]) // _PIECE
    bounds = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(slices)]
    owns = [slice(begin, end) for begin, end in pairwise(bounds)]
    return pa.chunked_array([_piece(slices[own], nulls[own], lists.type) for own in owns], type=lists.type)


def _piece(slices: list[Array], nulls: Array, kind: pa.DataType) -> pa.ListArray:
    """The numbers of each slice as one list, or none where it is null."""
    offsets = np.cumsum([0, *(len(part) for part in slices)], dtype=np.int32)
    numbers = np.concatenate([np.asarray(pa.array([], kind.value_type)), *slices])
    mask = pa.array(nulls) if nulls.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers), type=kind, mask=mask)


def _nulls(chunks: list[pa.ListArray], places: Int64s) -> Array:
    """Which of the lists at these places are null, counted over all chunks."""
    if not any(chunk.null_count for chunk in chunks):
        return np.zeros(len(places), dtype=bool)
    return np.concatenate([chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks])[places]


def _slices(chunks: list[pa.ListArray], places: Int64s) -> list[Array]:
    """The numbers of the lists at these places, counted over all chunks."""
    begins = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    offsets = [np.asarray(chunk.offsets) for chunk in chunks]
    flat = [np.asarray(chunk.values) for chunk in chunks]
    of_chunk = np.searchsorted(begins, places, "right") - 1
    within = places - begins[of_chunk]
    pairs = zip(of_chunk.tolist(), within.tolist(), strict=True)
    return [flat[chunk][offsets[chunk][row] : offsets[chunk][row + 1]] for chunk, row in pairs]


def group_bounds(message: Array, count: int) -> Int64s:
    """Where each message's readings begin in `message` (ascending): [count + 1], the last one past the end."""
    return np.searchsorted(message, np.arange(count + 1)).astype(np.int64)
