"""Decompression with a ceiling: a small hostile batch must not become gigabytes in the consumer.

kafka-python unpacks a batch in one piece, however large it becomes: 32 kB of zstd were seen to become 2.9 GB. After
`install`, every consumer of the process unpacks in pieces and stops at the ceiling. What lies above it does not stop
the stream: each record of that batch still comes out at its offset, without key and value, marked by one header, so
that the reader can reject it by its coordinates while its neighbours pass.

    wellspring-too-large   the batch unpacks to more than `Limits.batch_bytes`, or the record is over `record_bytes`
    wellspring-corrupt     the checksum is right, but the compressed bytes or the records inside cannot be read:
                           so the sender wrote them

A batch whose checksum is wrong was damaged after it was sent; kafka-python raises for it, and so it should.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
import pyarrow as pa

from connectors.kafka_python import CorruptRecordError, DefaultRecord, DefaultRecordBatch, memory_records

TOO_LARGE = "wellspring-too-large"
CORRUPT = "wellspring-corrupt"

_MIB = 1024 * 1024
_PIECE = 256 * 1024  # bytes unpacked at a time: the most that is allocated beyond the ceiling
_STREAMED = {
    DefaultRecordBatch.CODEC_GZIP: "gzip",
    DefaultRecordBatch.CODEC_LZ4: "lz4",
    DefaultRecordBatch.CODEC_ZSTD: "zstd",
}
_XERIAL = b"\x82SNAPPY\x00"  # the block format of Java's snappy streams: this, two int32, then (length, block) …
_XERIAL_HEADER = 16


@dataclass(frozen=True)
class Limits:
    """Ceilings in bytes after decompression."""

    batch_bytes: int = 32 * _MIB
    record_bytes: int = 8 * _MIB


DEFAULT_LIMITS = Limits()


class OverCeiling(Exception):
    """The batch unpacks to more than the ceiling."""


class Unreadable(Exception):
    """The compressed bytes are not what their codec writes."""


def decompress(codec: int, packed: bytes | memoryview, ceiling: int) -> bytes:
    """One batch's records, unpacked; OverCeiling as soon as they exceed `ceiling` bytes, Unreadable if damaged.

    `codec` is Kafka's number: 1 gzip, 2 snappy (raw, or in Java's blocks), 3 lz4 frames, 4 zstd.
    """
    if codec == DefaultRecordBatch.CODEC_SNAPPY:
        return b"".join(_snappy_blocks(bytes(packed), ceiling))
    if codec not in _STREAMED:
        raise Unreadable("unknown codec")
    pieces: list[bytes] = []
    total = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(packed), _STREAMED[codec]) as stream:
            while piece := stream.read(_PIECE):
                total += len(piece)
                if total > ceiling:
                    raise OverCeiling
                pieces.append(piece)
    except OSError:
        raise Unreadable("damaged stream") from None
    return b"".join(pieces)


def _snappy_blocks(packed: bytes, ceiling: int) -> Iterator[bytes]:
    """A snappy block states its unpacked length at its head; nothing is allocated before that length is judged."""
    if not packed.startswith(_XERIAL):
        yield _snappy(packed, ceiling)
        return
    position, left = _XERIAL_HEADER, ceiling
    while position < len(packed):
        if position + 4 > len(packed):
            raise Unreadable("truncated block length")
        (length,) = struct.unpack_from(">i", packed, position)
        position += 4
        if length < 0 or position + length > len(packed):
            raise Unreadable("truncated block")
        block = _snappy(packed[position : position + length], left)
        left -= len(block)
        position += length
        yield block


def _snappy(block: bytes, ceiling: int) -> bytes:
    try:
        if cramjam.snappy.decompress_raw_len(block) > ceiling:
            raise OverCeiling
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError:
        raise Unreadable("damaged block") from None


class BoundedRecordBatch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python carries no types
    """A batch that never unpacks beyond the ceiling; iterating it never fails, what cannot be read comes out marked.

    `mark` is empty, TOO_LARGE or CORRUPT once the batch has been unpacked.
    """

    limits: Limits = DEFAULT_LIMITS  # of the process; a reader may give a batch its own
    _buffer: bytes | bytearray
    _pos: int
    _decompressed: bool

    def __init__(self, buffer: bytes | memoryview) -> None:
        super().__init__(buffer)
        self.mark = ""
        self._marked_from = 0

    def unpacked(self) -> bytes:
        """The records' bytes; empty where `mark` is set."""
        self._maybe_uncompress()
        return bytes(memoryview(self._buffer)[self._pos :]) if self._pos else bytes(self._buffer)

    def marked_offsets(self) -> range:
        """Offsets of the records that come out marked, by the header's count, which the broker has checked.

        Only in a compacted batch, whose offsets have gaps that are written inside, can they differ from the true ones.
        """
        most = min(self.records_count, self.last_offset_delta + 1)
        return range(self.base_offset + self._marked_from, self.base_offset + most)

    def _maybe_uncompress(self) -> None:
        if self._decompressed:
            return
        self._decompressed = True
        if self.compression_type == self.CODEC_NONE:
            return
        try:
            packed = memoryview(self._buffer)[self._pos :]
            self._buffer = decompress(self.compression_type, packed, self.limits.batch_bytes)
            self._pos = 0
        except OverCeiling:
            self.mark_rest(TOO_LARGE, 0)
        except Unreadable:
            self.mark_rest(CORRUPT, 0)

    def mark_rest(self, mark: str, index: int) -> None:
        """From the record at `index` on, the batch's records are known by their offsets alone."""
        self.mark, self._marked_from = mark, index
        self._buffer, self._pos = b"", 0

    def __next__(self) -> Any:
        if not self.mark:
            if self._next_record_index >= self._num_records:
                raise StopIteration
            try:
                return self._within_limit(super().__next__())
            except (CorruptRecordError, struct.error):
                self.mark_rest(CORRUPT, self._next_record_index)
        offsets = self.marked_offsets()
        index = self._next_record_index - self._marked_from
        if index >= len(offsets):
            raise StopIteration
        self._next_record_index += 1
        return self._marked(offsets[index], self.timestamp_of_marked, self.mark)

    next = __next__

    @property
    def timestamp_of_marked(self) -> int:
        """Milliseconds since the epoch, UTC: the broker's stamp, or the first of the sender's."""
        return int(self.max_timestamp if self.timestamp_type == self.LOG_APPEND_TIME else self.first_timestamp)

    def _within_limit(self, record: Any) -> Any:
        if record.size_in_bytes <= self.limits.record_bytes:
            return record
        return self._marked(record.offset, record.timestamp, TOO_LARGE)

    def _marked(self, offset: int, timestamp: int, mark: str) -> Any:
        return DefaultRecord(0, offset, timestamp, self.timestamp_type, None, None, [(mark, None)])


def _refuse_old_format(buffer: bytes | memoryview, magic: int) -> Any:
    raise CorruptRecordError(f"record format {magic} is older than Kafka 0.11 and is not read")


def install(limits: Limits = DEFAULT_LIMITS) -> None:
    """Let every consumer of this process unpack with these ceilings; calling it again only changes them."""
    BoundedRecordBatch.limits = limits
    memory_records.DefaultRecordBatch = BoundedRecordBatch
    memory_records.LegacyRecordBatch = _refuse_old_format
