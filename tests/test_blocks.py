"""Blocks: they survive the coder, the same block gives the same bytes, and nothing else carries them."""

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.coders import registry
from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocks import Block, arrow, batch, column, group_bounds, is_said_once, said_once, taken, with_columns
from pipelines.coder import BlockCoder

coder = BlockCoder()

_KINDS = {
    "whole": (st.integers(-(2**62), 2**62), pa.int64()),
    "small": (st.integers(-30_000, 30_000), pa.int16()),
    "number": (st.floats(allow_nan=False), pa.float64()),
    "text": (st.text(max_size=8), pa.string()),
    "token": (st.binary(max_size=8), pa.binary()),
    "list": (st.lists(st.floats(allow_nan=False), max_size=3), pa.list_(pa.float64())),
    "flag": (st.booleans(), pa.bool_()),
}


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Any columns that a block may carry, nulls among them, sometimes as a slice of a longer batch."""
    names = draw(st.lists(st.sampled_from(sorted(_KINDS)), min_size=1, unique=True))
    length, cut = draw(st.integers(0, 12)), draw(st.integers(0, 5))
    arrays = [
        pa.array(draw(st.lists(st.none() | _KINDS[n][0], min_size=length, max_size=length)), _KINDS[n][1])
        for n in names
    ]
    return pa.RecordBatch.from_arrays(arrays, names=names).slice(cut)


@given(messages=batches(), readings=batches(), meta=st.dictionaries(st.text(max_size=4), st.integers() | st.text()))
def test_a_block_comes_out_of_the_coder_as_it_went_in(
    messages: pa.RecordBatch, readings: pa.RecordBatch, meta: dict[str, object]
) -> None:
    block = Block(meta, {"messages": messages, "readings": readings})
    again = coder.decode(coder.encode(block))
    assert again.meta == meta
    assert again.messages.equals(messages) and again.readings.equals(readings)
    assert again.messages.schema.equals(messages.schema)
    assert coder.encode(again) == coder.encode(coder.decode(coder.encode(again)))


def test_the_order_in_which_a_block_was_put_together_does_not_show() -> None:
    part, other = batch({"a": [1, 2]}), batch({"b": ["x"]})
    one = Block({"topic": "t", "partition": 1}, {"messages": part, "readings": other})
    two = Block({"partition": 1, "topic": "t"}, {"readings": other, "messages": part})
    assert coder.is_deterministic()
    assert coder.encode(one) == coder.encode(two)


def test_a_slice_travels_without_the_rows_around_it() -> None:
    whole = batch({"value": np.arange(100_000), "text": ["x" * 10] * 100_000})
    assert len(coder.encode(Block({}, {"readings": whole.slice(50_000, 10)}))) < 2_000


def test_its_size_is_told_without_encoding_it() -> None:
    block = Block({}, {"readings": batch({"value": np.arange(1000)})})
    assert 8_000 <= coder.estimate_size(block) <= len(coder.encode(block))


def test_beam_knows_the_coder_by_the_type() -> None:
    assert isinstance(registry.get_coder(Block), BlockCoder)


def test_a_column_is_the_memory_itself_and_refuses_nulls() -> None:
    values = np.arange(5)
    assert np.shares_memory(column(batch({"value": values}), "value"), values)
    with pytest.raises(pa.ArrowInvalid):
        column(batch({"value": pa.array([1, None])}), "value")


def test_columns_are_replaced_where_they_are_and_added_where_not() -> None:
    part = with_columns(batch({"a": [1, 2], "b": [3, 4]}), [("b", np.array([5, 6])), ("c", ["x", "y"])])
    assert part.to_pydict() == {"a": [1, 2], "b": [5, 6], "c": ["x", "y"]}


def test_a_schema_gives_columns_their_types() -> None:
    schema = pa.schema([("a", pa.int16()), ("b", pa.string())])
    assert batch({"b": ["x"], "a": [1]}, schema).schema == schema
    assert arrow([1, 2], pa.int8()).type == pa.int8()


@given(counts=st.lists(st.integers(0, 4), max_size=8))
def test_group_bounds_find_each_message_among_its_readings(counts: list[int]) -> None:
    message = np.repeat(np.arange(len(counts)), counts)
    bounds = group_bounds(message, len(counts))
    assert np.diff(bounds).tolist() == counts


@given(
    lists=st.lists(st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5), max_size=8),
    kind=st.sampled_from([pa.int32(), pa.int64(), pa.float64()]),
    cut=st.integers(0, 4),
    data=st.data(),
)
def test_lists_are_taken_as_arrow_takes_them(
    lists: list[list[int] | None], kind: pa.DataType, cut: int, data: st.DataObject
) -> None:
    values = pa.array(lists, pa.list_(kind)).slice(cut)
    places = np.array(data.draw(st.lists(st.integers(0, len(values) - 1), max_size=9) if len(values) else st.just([])))
    found = taken(values, places.astype(np.int64))
    found.validate(full=True)
    assert found.equals(values.take(pa.array(places, pa.int64())))


@given(
    chunks=st.lists(st.lists(st.none() | st.lists(st.integers(0, 9), max_size=5), max_size=4), min_size=1, max_size=4),
    data=st.data(),
)
def test_lists_in_chunks_are_taken_in_pieces(chunks: list[list[list[int] | None]], data: st.DataObject) -> None:
    values = pa.chunked_array([pa.array(chunk, pa.list_(pa.int16())) for chunk in chunks])
    places = np.array(data.draw(st.lists(st.integers(0, len(values) - 1), max_size=9) if len(values) else st.just([])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.blocks._PIECE", 8)
        found = taken(values, places.astype(np.int64))
    found.validate(full=True)
    assert found.to_pylist() == values.take(pa.array(places, pa.int64())).to_pylist()
    assert all(len(chunk.values) <= 8 + 5 for chunk in found.chunks), (
        "a piece is not larger than said, but for one list"
    )
    assert found.num_chunks <= 1 + sum(len(chunk.values) for chunk in found.chunks) // 8, "nor are there many"


def test_what_is_said_once_is_so_in_any_order_and_is_the_same_as_said_for_each() -> None:
    once, each = said_once(np.int16(7), 5), np.full(5, 7, dtype=np.int16)
    assert is_said_once(once) and not is_said_once(each)
    places = np.array([4, 0, 0])
    found = taken(once, places)
    assert is_said_once(found) and found.dtype == np.int16
    np.testing.assert_array_equal(found, taken(each, places))
    assert arrow(once).equals(arrow(each)) and arrow(found).equals(arrow(taken(each, places)))
    assert len(taken(once, places[:0])) == 0
