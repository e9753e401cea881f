"""Arrow streams in messages: what goes in comes out, and nothing is unpacked or believed that was not asked for."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.arrow_stream import from_stream, to_stream
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


def rejection(data: bytes) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as caught:
        from_stream(data, SCHEMA, "records")
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
    empty = [{"type": "", "count": 0, "parts": []}] * 1_000_000
    bomb = written(pa.RecordBatch.from_pylist(empty, schema=SCHEMA), compression=codec)
    before = pa.total_allocated_bytes()
    assert rejection(bomb) == (Reason.FIELD, "records")
    assert pa.total_allocated_bytes() == before


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


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_stream_is_read_whole_or_rejected(changes: list[tuple[int, int]]) -> None:
    data = bytearray(to_stream(BATCH))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        found = from_stream(bytes(data), SCHEMA, "records")
    except Rejected:
        return
    found.validate(full=True)
    assert found.schema.equals(SCHEMA, check_metadata=False)
