"""The element that travels through the pipeline: a block of columns."""

from collections.abc import Iterable
from dataclasses import dataclass, field
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


def arrow(values: Any, kind: pa.DataType | None = None) -> pa.Array:
    """An Arrow array over NumPy memory, a list, or an Arrow array as it is."""
    return values if isinstance(values, pa.Array) else pa.array(values, type=kind)


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


def taken(values: Any, places: Int64s) -> Any:
    """The items of a NumPy or Arrow column at these places, in memory of their own.

    Lists are long here (a block of samples each), so they are copied as slices; Arrow would copy number by number.
    """
    if isinstance(values, np.ndarray):
        return values.take(places)
    if not pa.types.is_list(values.type) or not pa.types.is_primitive(values.type.value_type) or values.null_count:
        return values.take(pa.array(places))
    offsets, flat = np.asarray(values.offsets), np.asarray(values.values)
    slices = [flat[offsets[place] : offsets[place + 1]] for place in places.tolist()]
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in slices])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(bounds), pa.array(np.concatenate(slices) if slices else flat[:0]))


def group_bounds(message: Array, count: int) -> Int64s:
    """Where each message's readings begin in `message` (ascending): [count + 1], the last one past the end."""
    return np.searchsorted(message, np.arange(count + 1)).astype(np.int64)
