"""Arrow IPC streams in messages: bounded before they are read, and read only where they hold what they should.

A stream of a message is one schema and one record batch, not compressed and without dictionaries. A compressed one is
refused before it is unpacked: 24 kB of it can hold 800 MB.
"""

import struct

import pyarrow as pa

from schemas.reasons import Reason, Rejected

_SCHEMA, _RECORD_BATCH = "schema", "record batch"
_NO_FIELD = 0
_HEADER_SLOT, _COMPRESSION_SLOT = 2, 3  # of Message and RecordBatch in Arrow's flatbuffers (Message.fbs)


def to_stream(batch: pa.RecordBatch) -> bytes:
    """The batch as a stream, without what its schema says besides names and types."""
    sink = pa.BufferOutputStream()
    bare = batch.replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, _bare(bare.schema), options=pa.ipc.IpcWriteOptions(compression=None)) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(bare.columns, schema=_bare(bare.schema)))
    return bytes(sink.getvalue().to_pybytes())


def from_stream(data: bytes, schema: pa.Schema, path: str) -> pa.RecordBatch:
    """The one batch of a stream whose columns must be the schema's; Rejected, with `path`, for anything else."""
    try:
        source = pa.BufferReader(data)
        reader = pa.ipc.MessageReader.open_stream(source)
        head = reader.read_next_message()
        if head.type != _SCHEMA:  # Arrow does not look, and dies of any other
            raise Rejected(Reason.TRUNCATED, path, "an Arrow stream, which begins with its schema")
        found = pa.ipc.read_schema(head)
        message = reader.read_next_message()
        if not found.equals(schema, check_metadata=False):
            raise Rejected(Reason.FIELD, path, "the columns of its format and version, in their order")
        if message.type != _RECORD_BATCH or _is_compressed(message.metadata):
            raise Rejected(Reason.FIELD, path, "an Arrow stream that is not compressed and has no dictionaries")
        batch = pa.ipc.read_record_batch(message, found)
        batch.validate(full=True)
        _refuse_more(reader, source, len(data), path)
    except (pa.ArrowException, struct.error, EOFError, ValueError, IndexError, OSError, StopIteration):
        raise Rejected(Reason.TRUNCATED, path, "a whole Arrow stream") from None
    for field in schema:
        _refuse_nulls(batch.column(field.name), field, f"{path}.{field.name}")
    return batch


def _refuse_nulls(values: pa.Array, field: pa.Field, path: str) -> None:
    """Rejected where something is missing that the schema says is always there, at any depth."""
    if not field.nullable and values.null_count:
        raise Rejected(Reason.FIELD, path, "a value in every record")
    if pa.types.is_list(field.type):
        _refuse_nulls(values.flatten(), field.type.value_field, path)
    elif pa.types.is_struct(field.type):
        for inner in field.type:
            _refuse_nulls(values.field(inner.name), inner, f"{path}.{inner.name}")


def _refuse_more(reader: pa.ipc.MessageReader, source: pa.BufferReader, size: int, path: str) -> None:
    try:
        reader.read_next_message()
    except StopIteration:
        if source.tell() == size:
            return
    raise Rejected(Reason.TRAILING, path, "one record batch and nothing after it")


def _is_compressed(metadata: pa.Buffer) -> bool:
    """Whether a record batch's metadata names a compression: a look into its flatbuffer, which Arrow has verified."""
    data = memoryview(metadata)
    (root,) = struct.unpack_from("<I", data)
    header = _field(data, root, _HEADER_SLOT)
    (offset,) = struct.unpack_from("<I", data, header)
    return _field(data, header + offset, _COMPRESSION_SLOT) != _NO_FIELD


def _field(data: memoryview, table: int, slot: int) -> int:
    """Where a table's field lies; 0 where it has none."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable = table - back
    (size,) = struct.unpack_from("<H", data, vtable)
    if 4 + 2 * slot >= size:
        return _NO_FIELD
    (offset,) = struct.unpack_from("<H", data, vtable + 4 + 2 * slot)
    return table + offset if offset else _NO_FIELD


def _bare(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.remove_metadata() for field in schema])
