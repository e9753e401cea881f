from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import records
from connectors.bounded import BoundedRecordBatch, Limits
from connectors.kafka_python import DefaultRecordBatch
from connectors.records import BLOCK_SCHEMA, BatchCursor, Rows
from tests.kafka_batches import CODECS, NONE, ZSTD, Record, batch, rebuilt, zeros

KIB = 1024
bytes_or_none = st.none() | st.binary(max_size=300)
header = st.tuples(st.sampled_from(["received", "trace", ""]), bytes_or_none | st.just(b"1700000000000000"))
record = st.tuples(
    st.integers(0, 1 << 45), bytes_or_none, bytes_or_none | st.just(bytes(9_000)), st.lists(header, max_size=3)
)


def blocks(data: bytes, from_offset: int = 0) -> list[pa.RecordBatch]:
    """Everything in one batch from an offset on, block by block."""
    cursor, found = BatchCursor(BoundedRecordBatch(data), from_offset), []
    done = False
    while not done:
        rows = Rows()
        done = cursor.fill(rows)
        found.append(rows.block())
    return found


def rows_of(data: bytes, from_offset: int = 0) -> list[dict[str, Any]]:
    return [row for block in blocks(data, from_offset) for row in block.to_pylist()]


def as_kafka_python_reads(data: bytes) -> list[dict[str, Any]]:
    return [
        {
            "offset": one.offset,
            "timestamp_us": one.timestamp * 1000,
            "timestamp_type": one.timestamp_type,
            "key": one.key,
            "value": one.value,
            "too_large": False,
            "corrupt": False,
            "received_header_us": received(one.headers),
        }
        for one in DefaultRecordBatch(data)
    ]


def received(headers: list[tuple[str, bytes | None]]) -> int | None:
    last = next((value for name, value in reversed(headers) if name == "received" and value is not None), b"")
    return int(last) if last.isdigit() and len(last) <= 18 else None


@given(st.lists(record, min_size=1, max_size=12), st.sampled_from((NONE, ZSTD)), st.integers(0, 1 << 40), st.booleans())
def test_reads_what_kafka_python_reads(listed: list[Record], codec: int, base: int, stamped: bool) -> None:
    plain = batch(listed, NONE, base, stamped)
    assert rows_of(batch(listed, codec, base, stamped)) == as_kafka_python_reads(plain)


@pytest.mark.parametrize("codec", CODECS)
def test_reads_every_codec(codec: int) -> None:
    listed: list[Record] = [(i, b"k", b"v" * i, []) for i in range(200)]
    assert [row["value"] for row in rows_of(batch(listed, codec, 5))] == [b"v" * i for i in range(200)]


@given(st.data())
def test_mutated_records_never_raise_and_never_lose_an_offset_below_the_damage(data: st.DataObject) -> None:
    good = batch([(i, b"key%d" % i, b"value" * i, [("received", b"17")]) for i in range(8)])
    payload = bytearray(good[61:])
    first = data.draw(st.integers(0, len(payload) - 1))
    for at in {first, data.draw(st.integers(first, len(payload) - 1))}:
        payload[at] = data.draw(st.integers(0, 255))
    rows = rows_of(rebuilt(good, bytes(payload[: data.draw(st.integers(first, len(payload)))]), NONE))
    whole = rows_of(good)
    starts = [good[61:].index(b"key%d" % i) for i in range(8)]
    untouched = sum(start + 40 + 5 * i < first for i, start in enumerate(starts))
    assert rows[:untouched] == whole[:untouched]
    assert all(0 <= row["offset"] < 8 for row in rows)


def test_a_record_that_cannot_be_read_is_marked_and_its_neighbours_pass() -> None:
    good = batch([(i, b"key%d" % i, b"value", []) for i in range(3)])
    payload = bytearray(good[61:])
    payload[payload.index(b"key1") - 1] = 0x7E  # the key's length: 63 bytes, more than the record has
    rows = rows_of(rebuilt(good, bytes(payload), NONE))
    assert [(row["offset"], row["corrupt"], row["value"]) for row in rows] == [
        (0, False, b"value"),
        (1, True, None),
        (2, False, b"value"),
    ]


def test_a_record_over_the_limit_is_marked_and_its_neighbours_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedRecordBatch, "limits", Limits(batch_bytes=64 * KIB, record_bytes=16 * KIB))
    rows = rows_of(batch([(1, b"a", b"x", []), (2, b"b", bytes(17 * KIB), []), (3, b"c", b"z", [])], ZSTD))
    assert [(row["too_large"], row["value"], row["timestamp_us"]) for row in rows] == [
        (False, b"x", 1_000),
        (True, None, 2_000),
        (False, b"z", 3_000),
    ]


def test_a_bomb_is_marked_in_blocks_that_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedRecordBatch, "limits", Limits(batch_bytes=64 * KIB))
    bomb = rebuilt(batch([(1, b"k", b"v", [])]), zeros(ZSTD, 1 << 20), ZSTD, 100, count=5_000)
    found = blocks(bomb, from_offset=103)
    assert [block.num_rows for block in found] == [2_000, 2_000, 997]
    assert found[0].column("offset")[0].as_py() == 103
    assert all(row["too_large"] and not row["corrupt"] for block in found for row in block.to_pylist())


def test_a_batch_is_read_from_its_middle() -> None:
    data = batch([(i, b"k", b"%d" % i, []) for i in range(10)], base_offset=50)
    assert [row["value"] for row in rows_of(data, from_offset=57)] == [b"7", b"8", b"9"]


def test_blocks_are_cut_by_records_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    many = batch([(1, None, b"v", []) for _ in range(4_500)])
    assert [block.num_rows for block in blocks(many)] == [2_000, 2_000, 500]
    monkeypatch.setattr(records, "BLOCK_BYTES", 10 * KIB)
    heavy = batch([(1, None, bytes(4 * KIB), []) for _ in range(7)])
    assert [block.num_rows for block in blocks(heavy)] == [3, 3, 1]
    assert blocks(heavy)[0].schema == BLOCK_SCHEMA


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"1700000000000000", 1_700_000_000_000_000), (b"-5", None), (b"1e9", None), (b"", None), (b"9" * 30, None)],
)
def test_the_header_received_is_a_whole_number_or_nothing(content: bytes, expected: int | None) -> None:
    rows = rows_of(batch([(1, b"k", b"v", [("other", b"9"), ("received", content)])]))
    assert [row["received_header_us"] for row in rows] == [expected]


def test_a_senders_clock_may_say_anything() -> None:
    rows = rows_of(batch([(0, b"k", b"v", []), ((1 << 62), b"k", b"v", [])]))
    assert [row["timestamp_us"] for row in rows] == [0, 9_000_000_000_000_000_000]


@given(st.lists(bytes_or_none, min_size=1))
def test_the_values_of_a_block_are_those_that_were_read(values: list[bytes | None]) -> None:
    rows, count = Rows(), len(values)
    rows.offsets, rows.times, rows.time_types, rows.marks = list(range(count)), [0] * count, [0] * count, [0] * count
    rows.keys, rows.values, rows.received = [None] * count, values, [None] * count
    block = rows.block()
    block.validate(full=True)
    assert block.column("value").to_pylist() == values
