"""Arrow streams in messages: what goes in comes out, and nothing is unpacked or believed that was not asked for."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.arrow_stream import MOST_WORDS, WORDS, as_words, from_stream, to_stream
from schemas.reasons import Reason, Rejected

PART = pa.struct([pa.field("type", pa.string(), nullable=False), pa.field("value", pa.string())])
SCHEMA = pa.schema(
    [
        pa.field("type", pa.string(), nullable=False, metadata={"doc": "what it is"}),
        pa.field("count", pa.int16()),
        pa.field("parts", pa.list_(pa.field("element", PART, nullable=False)), nullable=False),
    ]
)
ROWS = [
    {"type": f"kind {number % 3}", "count": number, "parts": [{"type": "a", "value": None}] * (number % 4)}
    for number in range(100)
]
BATCH = pa.RecordBatch.from_pylist(ROWS, schema=SCHEMA)


def rejection(data: bytes, repeating: tuple[str, ...] = ()) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as caught:
        from_stream(data, SCHEMA, "records", repeating)
    return caught.value.reason, caught.value.path


def written(batch: pa.RecordBatch, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def test_a_slice_comes_back_as_it_was_and_alone() -> None:
    stream = to_stream(BATCH.slice(10, 5))
    assert from_stream(stream, SCHEMA, "records").equals(BATCH.slice(10, 5))
    assert len(stream) < 2_000 and b"what it is" not in stream


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_stream_is_refused_before_it_is_unpacked(codec: str) -> None:
    empty = pa.RecordBatch.from_pylist([{"type": "", "count": 0, "parts": []}], schema=SCHEMA)
    bomb = written(empty.take(pa.repeat(0, 1_000_000)), compression=codec)
    before = pa.total_allocated_bytes()
    assert rejection(bomb) == (Reason.FIELD, "records")
    assert pa.total_allocated_bytes() <= before


def test_other_columns_missing_values_and_more_than_one_batch_are_refused() -> None:
    stream = to_stream(BATCH)
    assert rejection(written(BATCH.select(["count", "type", "parts"]))) == (Reason.FIELD, "records")
    assert rejection(stream + b"\0") == (Reason.TRAILING, "records")
    assert rejection(stream + stream) == (Reason.TRAILING, "records")
    assert rejection(stream[:-9]) == (Reason.TRUNCATED, "records")
    assert rejection(b"") == (Reason.TRUNCATED, "records")


def test_a_null_is_refused_at_any_depth_where_there_is_always_a_value() -> None:
    parts = pa.ListArray.from_arrays(
        pa.array([0, 1], pa.int32()),
        pa.StructArray.from_arrays([pa.array([None], pa.string()), pa.array(["x"])], fields=list(PART)),
        type=SCHEMA.field("parts").type,
    )
    hollow = pa.RecordBatch.from_arrays([pa.array(["a"]), pa.array([1], pa.int16()), parts], schema=SCHEMA)
    assert rejection(to_stream(hollow)) == (Reason.FIELD, "records.parts.type")


def in_words(types: pa.Array, batch: pa.RecordBatch = BATCH) -> pa.RecordBatch:
    """The batch with these types."""
    fields = [batch.schema.field("type").with_type(types.type), *list(batch.schema)[1:]]
    return pa.RecordBatch.from_arrays([types, *batch.columns[1:]], schema=pa.schema(fields))


CODED = in_words(as_words(BATCH.column("type")))


def words(codes: list[int | None], texts: list[str | None], kind: pa.DataType = WORDS) -> bytes:
    """A stream whose types are these codes of these texts."""
    codes = codes + [0] * (BATCH.num_rows - len(codes))
    indices = pa.array(codes, kind.index_type)
    return written(in_words(pa.DictionaryArray.from_arrays(indices, pa.array(texts, pa.string()), safe=False)))


def test_a_column_of_few_texts_may_say_each_once_where_the_format_lets_it() -> None:
    stream = to_stream(CODED.slice(10, 50))
    found = from_stream(stream, SCHEMA, "records", ("type",))
    assert found.column("type").type == WORDS and len(stream) < len(to_stream(BATCH.slice(10, 50)))
    assert found.to_pylist() == BATCH.slice(10, 50).to_pylist()
    assert from_stream(to_stream(BATCH), SCHEMA, "records", ("type",)).equals(BATCH)
    assert rejection(stream) == (Reason.FIELD, "records")
    few, many = (pa.array([str(n) for n in range(count)]) for count in (MOST_WORDS, MOST_WORDS + 1))
    assert as_words(few).type == WORDS and as_words(many).equals(many)


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (words([0, None], ["a", "b"]), (Reason.FIELD, "records.type")),
        (words([0, 1], ["a", "a"]), (Reason.FIELD, "records.type")),
        (words([0, 1], ["a", None]), (Reason.FIELD, "records.type")),
        (words([0], [str(n) for n in range(MOST_WORDS + 1)]), (Reason.FIELD, "records.type")),
        (words([0, 2], ["a", "b"]), (Reason.TRUNCATED, "records")),
        (words([0, -1], ["a", "b"]), (Reason.TRUNCATED, "records")),
        (words([0], ["a"], pa.dictionary(pa.int32(), pa.string())), (Reason.FIELD, "records")),
        (written(CODED, compression="zstd"), (Reason.FIELD, "records")),
    ],
)
def test_a_dictionary_that_is_none_is_refused(stream: bytes, found: tuple[Reason, str]) -> None:
    assert rejection(stream, ("type",)) == found


def test_a_compressed_dictionary_is_refused_before_it_is_unpacked() -> None:
    texts = pa.array(["x" * 10_000_000] * 3)
    bombs = pa.DictionaryArray.from_arrays(CODED.column("type").indices, texts)
    whole = written(in_words(bombs), compression="zstd")
    head, _, rows, end = messages_of(written(CODED))
    hidden = b"".join([head, messages_of(whole)[1], rows, end])
    del texts, bombs
    before = pa.total_allocated_bytes()
    for stream in (whole, hidden):
        assert len(stream) < 100_000 and rejection(stream, ("type",)) == (Reason.FIELD, "records")
    assert pa.total_allocated_bytes() <= before


def messages_of(stream: bytes) -> list[bytes]:
    """The messages of a stream one by one, the mark of its end last."""
    found, source = [], pa.BufferReader(stream)
    for message in pa.ipc.MessageReader.open_stream(source):
        found.append(message.serialize().to_pybytes())
    return [*found, b"\xff\xff\xff\xff\0\0\0\0"]


def test_every_dictionary_comes_once_and_before_the_batch() -> None:
    head, dictionary, rows, end = messages_of(written(CODED))
    assert from_stream(head + dictionary + rows + end, SCHEMA, "records", ("type",)).equals(CODED)
    for pieces in ((head, rows), (head, dictionary, dictionary, rows), (head, rows, dictionary), (head, head, rows)):
        assert rejection(b"".join([*pieces, end]), ("type",)) == (Reason.FIELD, "records")
    assert rejection(head + dictionary + end, ("type",)) == (Reason.TRUNCATED, "records")


@given(
    st.sampled_from([BATCH, CODED]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_mutated_stream_is_read_whole_or_rejected(batch: pa.RecordBatch, changes: list[tuple[int, int]]) -> None:
    data = bytearray(to_stream(batch))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        found = from_stream(bytes(data), SCHEMA, "records", ("type",))
    except Rejected:
        return
    found.validate(full=True)
    assert found.schema.equals(SCHEMA, check_metadata=False) or found.schema.equals(CODED.schema, check_metadata=False)
