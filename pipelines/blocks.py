"""The element that travels through the pipeline: a block of columns, and the coder that carries it between workers."""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.coders import Coder

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


class BlockCoder(Coder):  # type: ignore[misc]
    """A block as a JSON header and one Arrow IPC stream a part: the same bytes for the same block."""

    def encode(self, value: Block) -> bytes:
        names = sorted(value.parts)
        head = json.dumps({"meta": value.meta, "parts": names}, sort_keys=True).encode()
        bodies = [_ipc(value.parts[name]) for name in names]
        return b"".join([struct.pack("<I", len(head)), head, *(struct.pack("<Q", len(b)) + b for b in bodies)])

    def decode(self, encoded: bytes) -> Block:
        (size,) = struct.unpack_from("<I", encoded)
        head = json.loads(encoded[4 : 4 + size])
        at, parts = 4 + size, {}
        for name in head["parts"]:
            (length,) = struct.unpack_from("<Q", encoded, at)
            parts[name] = pa.ipc.open_stream(pa.py_buffer(encoded[at + 8 : at + 8 + length])).read_next_batch()
            at += 8 + length
        return Block(head["meta"], parts)

    def is_deterministic(self) -> bool:
        return True


def _ipc(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


beam.coders.registry.register_coder(Block, BlockCoder)


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


def group_bounds(message: Array, count: int) -> Int64s:
    """Where each message's readings begin in `message` (ascending): [count + 1], the last one past the end."""
    return np.searchsorted(message, np.arange(count + 1)).astype(np.int64)
