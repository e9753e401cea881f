"""Arrow IPC streams in messages: bounded before they are read, and read only where they hold what they should.

A stream of a message is one schema and one record batch, not compressed. A compressed one is refused before it is
unpacked: 24 kB of it can hold 800 MB. Columns that say the same few texts over and over may come as WORDS, each text
once in a dictionary: the stream is less than a third of the size, and who reads them looks at the texts and not at the rows.
"""

import struct
from collections.abc import Collection

import pyarrow as pa

from schemas.reasons import Reason, Rejected

WORDS = pa.dictionary(pa.int8(), pa.string())
"""A column of few texts. Its dictionary has at most MOST_WORDS of them, each once, none of them null."""
MOST_WORDS = 127

_SCHEMA, _DICTIONARY, _RECORD_BATCH = "schema", "dictionary", "record batch"
_NO_FIELD = 0
# of Message, DictionaryBatch and RecordBatch in Arrow's flatbuffers (Message.fbs)
_HEADER_SLOT, _DATA_SLOT, _COMPRESSION_SLOT = 2, 1, 3


def as_words(texts: pa.Array) -> pa.Array:
    """A column of texts as WORDS where it has few, else as it is."""
    coded = texts.dictionary_encode()
    if len(coded.dictionary) > MOST_WORDS:
        return texts
    return pa.DictionaryArray.from_arrays(coded.indices.cast(pa.int8()), coded.dictionary)


def to_stream(batch: pa.RecordBatch) -> bytes:
    """The batch as a stream, without what its schema says besides names and types."""
    sink = pa.BufferOutputStream()
    bare = batch.replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, _bare(bare.schema), options=pa.ipc.IpcWriteOptions(compression=None)) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(bare.columns, schema=_bare(bare.schema)))
    return bytes(sink.getvalue().to_pybytes())


def from_stream(data: bytes, schema: pa.Schema, path: str, repeating: Collection[str] = ()) -> pa.RecordBatch:
    """The one batch of a stream whose columns must be the schema's; Rejected, with `path`, for anything else.

    Columns of these names, `repeating`, may be WORDS, and stay so.
    """
    try:
        source = pa.BufferReader(data)
        messages = pa.ipc.MessageReader.open_stream(source)
        words = _read_head(messages, schema, path, repeating)
        for expected in (*[_DICTIONARY] * words, _RECORD_BATCH):
            _refuse_other(messages.read_next_message(), expected, path)
        batch = pa.ipc.open_stream(data).read_next_batch()
        batch.validate(full=True)
        _refuse_more(messages, source, len(data), path)
    except (pa.ArrowException, struct.error, EOFError, ValueError, IndexError, OSError, StopIteration):
        raise Rejected(Reason.TRUNCATED, path, "a whole Arrow stream") from None
    for field, values in zip(schema, batch.columns, strict=True):
        _refuse_nulls(values, field, f"{path}.{field.name}")
    return batch


def _read_head(messages: pa.ipc.MessageReader, schema: pa.Schema, path: str, repeating: Collection[str]) -> int:
    """How many columns are WORDS; Rejected where the columns are not the schema's."""
    head = messages.read_next_message()
    if head.type != _SCHEMA:  # Arrow does not look, and dies of any other
        raise Rejected(Reason.TRUNCATED, path, "an Arrow stream, which begins with its schema")
    found = pa.ipc.read_schema(head)
    words = {field.name for field in found if field.name in repeating and field.type.equals(WORDS)}
    wanted = pa.schema([field.with_type(WORDS) if field.name in words else field for field in schema])
    if not found.equals(wanted, check_metadata=False):
        raise Rejected(Reason.FIELD, path, "the columns of its format and version, in their order")
    return len(words)


def _refuse_other(message: pa.ipc.Message, expected: str, path: str) -> None:
    if message.type != expected or _is_compressed(message):
        raise Rejected(
            Reason.FIELD, path, "an Arrow stream that is not compressed, with a dictionary for each column that says so"
        )


def _refuse_nulls(values: pa.Array, field: pa.Field, path: str) -> None:
    """Rejected where something is missing that the schema says is always there, at any depth."""
    if not field.nullable and values.null_count:
        raise Rejected(Reason.FIELD, path, "a value in every record")
    if pa.types.is_dictionary(values.type):
        _refuse_other_words(values.dictionary, path)
    elif pa.types.is_list(field.type):
        _refuse_nulls(values.flatten(), field.type.value_field, path)
    elif pa.types.is_struct(field.type):
        for inner in field.type:
            _refuse_nulls(values.field(inner.name), inner, f"{path}.{inner.name}")


def _refuse_other_words(words: pa.Array, path: str) -> None:
    if len(words) > MOST_WORDS or words.null_count or len(set(words.to_pylist())) < len(words):
        raise Rejected(Reason.FIELD, path, f"at most {MOST_WORDS} texts in its dictionary, each once")


def _refuse_more(reader: pa.ipc.MessageReader, source: pa.BufferReader, size: int, path: str) -> None:
    try:
        reader.read_next_message()
    except StopIteration:
        if source.tell() == size:
            return
    raise Rejected(Reason.TRAILING, path, "one record batch and nothing after it")


def _is_compressed(message: pa.ipc.Message) -> bool:
    """Whether a batch's metadata names a compression: a look into its flatbuffer, which Arrow has verified."""
    data = memoryview(message.metadata)
    (root,) = struct.unpack_from("<I", data)
    batch = _table(data, root, _HEADER_SLOT)
    if message.type == _DICTIONARY:
        batch = _table(data, batch, _DATA_SLOT)
    return _field(data, batch, _COMPRESSION_SLOT) != _NO_FIELD


def _table(data: memoryview, table: int, slot: int) -> int:
    """Where the table lies to which a table's field points."""
    at = _field(data, table, slot)
    (offset,) = struct.unpack_from("<I", data, at)
    return at + int(offset)


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
