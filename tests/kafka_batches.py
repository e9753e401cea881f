"""Record batches as a broker serves them, in every codec, well-formed or not."""

import gzip
import struct
from collections.abc import Sequence

import cramjam
import crc32c
import zstandard

from connectors.kafka_python import DefaultRecordBatch, DefaultRecordBatchBuilder

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = (NONE, GZIP, SNAPPY, LZ4, ZSTD)
PACKED = (GZIP, SNAPPY, LZ4, ZSTD)

Record = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]  # time in ms, key, value, headers

_HEADER = DefaultRecordBatch.HEADER_STRUCT
_XERIAL_BLOCK = 32 * 1024


def batch(records: Sequence[Record], codec: int = NONE, base_offset: int = 0, log_append_time: bool = False) -> bytes:
    """The records in one batch, with a right checksum."""
    builder = DefaultRecordBatchBuilder(2, NONE, 0, -1, -1, -1, 1 << 30)
    for delta, (time_ms, key, value, headers) in enumerate(records):
        builder.append(delta, time_ms, key, value, headers)
    plain = bytes(builder.build())
    return rebuilt(plain, pack(codec, plain[_HEADER.size :]), codec, base_offset, log_append_time)


def rebuilt(
    built: bytes,
    payload: bytes,
    codec: int,
    base_offset: int = 0,
    log_append_time: bool = False,
    count: int | None = None,
) -> bytes:
    """A batch with another payload, its header and checksum made to fit; `count` records, if given."""
    fields = list(_HEADER.unpack_from(built))
    fields[0], fields[1] = base_offset, _HEADER.size - 12 + len(payload)
    fields[5] = codec | (8 if log_append_time else 0)
    if count is not None:
        fields[6], fields[12] = count - 1, count
    whole = bytearray(_HEADER.pack(*fields) + payload)
    struct.pack_into(">I", whole, 17, crc32c.crc32c(bytes(whole[21:])))
    return bytes(whole)


def pack(codec: int, data: bytes) -> bytes:
    """As producers do: snappy in Java's blocks, the others as one stream."""
    if codec == GZIP:
        return gzip.compress(data)
    if codec == SNAPPY:
        pieces = (data[start : start + _XERIAL_BLOCK] for start in range(0, len(data), _XERIAL_BLOCK))
        blocks = [bytes(cramjam.snappy.compress_raw(piece)) for piece in pieces]
        return b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + b"".join(struct.pack(">i", len(b)) + b for b in blocks)
    if codec == LZ4:
        return bytes(cramjam.lz4.compress(data))
    if codec == ZSTD:
        return zstandard.ZstdCompressor().compress(data)
    return data


def zeros(codec: int, size: int) -> bytes:
    """`size` bytes of zeros, packed piece by piece: a bomb."""
    piece = bytes(1 << 20)
    if codec == SNAPPY:
        block = bytes(cramjam.snappy.compress_raw(piece))
        return b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + (struct.pack(">i", len(block)) + block) * (size >> 20)
    if codec == LZ4:
        return bytes(cramjam.lz4.compress(piece)) * (size >> 20)
    if codec == GZIP:
        return gzip.compress(piece) * (size >> 20)
    stream = zstandard.ZstdCompressor().compressobj()
    return b"".join(stream.compress(piece) for _ in range(size >> 20)) + stream.flush()
