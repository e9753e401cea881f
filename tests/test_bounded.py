from collections.abc import Iterator

import pytest
import zstandard

from connectors import bounded
from connectors.bounded import CORRUPT, TOO_LARGE, BoundedRecordBatch, Limits, OverCeiling, Unreadable, decompress
from connectors.kafka_python import MemoryRecords
from tests.kafka_batches import CODECS, GZIP, NONE, PACKED, SNAPPY, ZSTD, Record, batch, pack, rebuilt, zeros

KIB = 1024
RECORDS: list[Record] = [(1_000 + i, b"k%d" % i, bytes([i]) * 300, [("h", b"v")]) for i in range(5)]


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    before = BoundedRecordBatch.limits
    bounded.install(Limits(batch_bytes=64 * KIB, record_bytes=16 * KIB))
    yield
    bounded.install(before)


def seen(*batches: bytes) -> list[tuple[int, int | None, str]]:
    """Offset, length of the value and mark of each record, read as kafka-python's consumer reads them."""
    records, found = MemoryRecords(b"".join(batches)), []
    while (one := records.next_batch()) is not None:
        assert one.validate_crc()
        for record in one:
            mark = record.headers[0][0] if record.value is None and record.headers else ""
            found.append((record.offset, None if record.value is None else len(record.value), mark))
    return found


@pytest.mark.parametrize("codec", PACKED)
def test_unpacks_what_was_packed(codec: int) -> None:
    data = bytes(range(256)) * 200
    assert decompress(codec, pack(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", PACKED)
def test_stops_one_byte_above_the_ceiling(codec: int) -> None:
    data = bytes(range(256)) * 200
    with pytest.raises(OverCeiling):
        decompress(codec, pack(codec, data), len(data) - 1)


@pytest.mark.parametrize("codec", PACKED)
def test_damaged_bytes_are_unreadable(codec: int) -> None:
    packed = pack(codec, bytes(range(256)) * 200)
    for damaged in (packed[: len(packed) // 2], packed[:-1], packed[:20] + b"\xff" * (len(packed) - 20)):
        with pytest.raises(Unreadable):
            decompress(codec, damaged, 1 << 20)


def test_streams_of_several_frames_and_without_a_stated_size_are_read_whole() -> None:
    stream = zstandard.ZstdCompressor().compressobj()
    unsized = stream.compress(b"b" * 1000) + stream.flush()
    assert decompress(ZSTD, pack(ZSTD, b"a" * 1000) + unsized, 4000) == b"a" * 1000 + b"b" * 1000
    assert decompress(GZIP, pack(GZIP, b"a") + pack(GZIP, b"b"), 10) == b"ab"


def test_snappy_without_blocks_is_read_too() -> None:
    raw = pack(SNAPPY, b"a" * 1000)[20:]
    assert decompress(SNAPPY, raw, 1000) == b"a" * 1000
    with pytest.raises(OverCeiling):
        decompress(SNAPPY, raw, 999)


@pytest.mark.parametrize("codec", CODECS)
def test_ordinary_batches_come_out_as_ever(codec: int) -> None:
    assert seen(batch(RECORDS, codec, 70)) == [(70 + i, 300, "") for i in range(5)]


@pytest.mark.parametrize("codec", PACKED)
def test_a_bomb_comes_out_marked_at_its_offsets_between_its_neighbours(codec: int) -> None:
    bomb = rebuilt(batch(RECORDS), zeros(codec, 1 << 20), codec, base_offset=5)
    found = seen(batch(RECORDS, codec, 0), bomb, batch(RECORDS, codec, 10))
    assert [offset for offset, *_ in found] == list(range(15))
    assert [mark for *_, mark in found] == [""] * 5 + [TOO_LARGE] * 5 + [""] * 5


@pytest.mark.parametrize("codec", PACKED)
def test_damaged_compression_under_a_right_checksum_comes_out_marked(codec: int) -> None:
    payload = pack(codec, batch(RECORDS)[61:])
    found = seen(rebuilt(batch(RECORDS), payload[: len(payload) // 2], codec), batch(RECORDS, codec, 5))
    assert [mark for *_, mark in found] == [CORRUPT] * 5 + [""] * 5


def test_of_one_batch_only_the_record_over_its_limit_is_marked() -> None:
    large: Record = (9, b"k", bytes(17 * KIB), [])
    found = seen(batch([RECORDS[0], large, RECORDS[1]], ZSTD))
    assert found == [(0, 300, ""), (1, None, TOO_LARGE), (2, 300, "")]


def test_records_that_end_too_soon_are_marked_and_those_before_them_pass() -> None:
    found = seen(rebuilt(batch(RECORDS), batch(RECORDS)[61:-10], NONE))
    assert [mark for *_, mark in found] == [""] * 4 + [CORRUPT]
    assert seen(rebuilt(batch(RECORDS), pack(ZSTD, b""), ZSTD)) == [(i, None, CORRUPT) for i in range(5)]


def test_a_count_that_was_invented_makes_no_more_records_than_offsets() -> None:
    payload = pack(ZSTD, b"\xff" * 50)
    assert len(seen(rebuilt(batch(RECORDS), payload, ZSTD, count=7))) == 7
    assert seen(rebuilt(batch(RECORDS), payload, ZSTD, count=-3)) == []


def test_marked_records_keep_the_time_of_the_broker() -> None:
    one = BoundedRecordBatch(rebuilt(batch(RECORDS), zeros(ZSTD, 1 << 20), ZSTD, log_append_time=True))
    assert {(record.timestamp, record.timestamp_type) for record in one} == {(1_004, 1)}


def test_record_formats_of_before_kafka_0_11_are_refused() -> None:
    old = bytearray(batch(RECORDS))
    old[16] = 1
    with pytest.raises(Exception, match="older than Kafka"):
        MemoryRecords(bytes(old)).next_batch()
