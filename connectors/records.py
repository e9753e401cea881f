"""From Kafka's record batches to Arrow columns, without an object per record.

kafka-python makes twelve calls and a named tuple of each record; here one loop reads the fields that the pipeline uses
into lists. A record is bounded by its own length: one that cannot be read is marked, and its neighbours pass.
"""

import numpy as np
import pyarrow as pa

from connectors.bounded import CORRUPT, TOO_LARGE, BoundedRecordBatch
from connectors.kafka_python import decode_varint

BLOCK_RECORDS = 2_000
BLOCK_BYTES = 8 * 1024 * 1024  # of values; the record that passes it is still in the block

BLOCK_SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_us", pa.int64(), nullable=False),
        pa.field("timestamp_type", pa.int8(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("too_large", pa.bool_(), nullable=False),
        pa.field("corrupt", pa.bool_(), nullable=False),
        pa.field("received_header_us", pa.int64()),
    ]
)
"""A block of records: offset; the record's time in microseconds since the epoch, UTC, of type 0 (the sender's clock) or
1 (the broker's); key and value, null where the record has none or is marked; the header `received`, microseconds, null
where there is none or it is not a whole number."""

RECEIVED = b"received"
_MARKS = {"": 0, TOO_LARGE: 1, CORRUPT: 2}
_TIME_LIMIT_MS = 9_000_000_000_000_000  # what still fits into 64 bits as microseconds
_RECEIVED_DIGITS = 18


class Rows:
    """A block in the making: one list per column. Times in milliseconds until the block is built."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.times: list[int] = []
        self.time_types: list[int] = []
        self.keys: list[bytes | None] = []
        self.values: list[bytes | None] = []
        self.received: list[int | None] = []
        self.marks: list[int] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def full(self) -> bool:
        return len(self.offsets) >= BLOCK_RECORDS or self.bytes >= BLOCK_BYTES

    def block(self) -> pa.RecordBatch:
        """The rows as one batch of BLOCK_SCHEMA."""
        marks = np.array(self.marks, dtype=np.int8)
        columns = [
            np.array(self.offsets, dtype=np.int64),
            np.array(self.times, dtype=np.int64) * 1000,
            np.array(self.time_types, dtype=np.int8),
            pa.array(self.keys, type=pa.binary()),
            _in_one_piece(self.values),
            marks == _MARKS[TOO_LARGE],
            marks == _MARKS[CORRUPT],
            pa.array(self.received, type=pa.int64()),
        ]
        return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=BLOCK_SCHEMA)


def _in_one_piece(values: list[bytes | None]) -> pa.BinaryArray:
    """The values as a column. Arrow's builder copies what it has whenever it needs room; large values want it at once."""
    whole = [value for value in values if value is not None]
    if len(whole) < len(values):
        return pa.array(values, type=pa.binary())
    ends = np.cumsum([0, *map(len, whole)], dtype=np.int32)
    return pa.Array.from_buffers(pa.binary(), len(whole), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(whole))])


class BatchCursor:
    """Reads one batch into rows, from an offset on, in as many turns as blocks it fills."""

    def __init__(self, batch: BoundedRecordBatch, from_offset: int) -> None:
        self._batch = batch
        self._from = from_offset
        self._buffer = batch.unpacked()
        self._position = 0
        self._index = 0
        self._marked = iter(batch.marked_offsets()) if batch.mark else None

    def fill(self, rows: Rows) -> bool:
        """Add records until the rows are full or the batch is at its end; True at its end."""
        if self._marked is None:
            self._read(rows)
        if self._marked is not None:
            return self._mark(rows)
        return bool(self._index >= self._batch.records_count)

    def _mark(self, rows: Rows) -> bool:
        """Offsets without contents, for as long as there is room."""
        batch, mark = self._batch, _MARKS[self._batch.mark]
        for offset in self._marked or ():
            if offset >= self._from:
                _append(rows, offset, batch.timestamp_of_marked, batch.timestamp_type, mark)
                if rows.full:
                    return False
        return True

    def _read(self, rows: Rows) -> None:
        """The hot loop: everything that it uses is a local name, and the usual one-byte numbers are read in place."""
        batch, buffer, position, index = self._batch, self._buffer, self._position, self._index
        base, last_delta, count, wanted_from = (
            batch.base_offset,
            batch.last_offset_delta,
            batch.records_count,
            self._from,
        )
        kind, record_bytes = batch.timestamp_type, batch.limits.record_bytes
        stamp, first = batch.max_timestamp, batch.first_timestamp
        offsets, times, keys, values = rows.offsets, rows.times, rows.keys, rows.values
        received, marks, kinds = rows.received, rows.marks, rows.time_types
        room, size, end_of_all = BLOCK_RECORDS - len(rows), rows.bytes, len(buffer)
        number = decode_varint
        while index < count and room > 0 and size < BLOCK_BYTES:
            try:
                length, position = number(buffer, position)
            except (IndexError, ValueError):
                length = -1
            end = position + length
            if length < 0 or end > end_of_all:
                self._give_up(index)
                break
            offset = base + index
            index += 1
            try:
                position += 1  # attributes: none are in use
                delta, position = number(buffer, position)
                byte = buffer[position]
                if byte & 0x81:
                    offset_delta, position = number(buffer, position)
                else:
                    offset_delta, position = byte >> 1, position + 1
                if not 0 <= offset_delta <= last_delta:
                    raise ValueError
                offset = base + offset_delta
                if offset < wanted_from:
                    position = end
                    continue
                if length > record_bytes:
                    _append(rows, offset, stamp if kind else first + delta, kind, _MARKS[TOO_LARGE])
                    position, room = end, room - 1
                    continue
                key_length, position = number(buffer, position)
                key_end = position + key_length if key_length >= 0 else position
                value_length, value_start = number(buffer, key_end)
                value_end = value_start + value_length if value_length >= 0 else value_start
                headers = buffer[value_end]
                if value_end >= end:
                    raise ValueError
                if headers:
                    arrived = _received(buffer, value_end, end)
                elif value_end + 1 == end:
                    arrived = None
                else:
                    raise ValueError
            except (IndexError, ValueError):
                if offset >= wanted_from:
                    _append(rows, offset, stamp if kind else first, kind, _MARKS[CORRUPT])
                    room -= 1
                position = end
                continue
            offsets.append(offset)
            times.append(stamp if kind else _limited(first + delta))
            kinds.append(kind)
            keys.append(buffer[position:key_end] if key_length >= 0 else None)
            values.append(buffer[value_start:value_end] if value_length >= 0 else None)
            received.append(arrived)
            marks.append(0)
            size += value_length
            room -= 1
            position = end
        self._position, self._index, rows.bytes = position, index, size

    def _give_up(self, index: int) -> None:
        """From here on no record's end is known: the rest of the batch is marked."""
        self._batch.mark_rest(CORRUPT, index)
        self._marked = iter(self._batch.marked_offsets())


def _append(rows: Rows, offset: int, time_ms: int, kind: int, mark: int) -> None:
    rows.offsets.append(offset)
    rows.times.append(_limited(time_ms))
    rows.time_types.append(kind)
    rows.keys.append(None)
    rows.values.append(None)
    rows.received.append(None)
    rows.marks.append(mark)


def _limited(time_ms: int) -> int:
    """A sender's clock may say anything; what it says must still fit into microseconds."""
    return max(-_TIME_LIMIT_MS, min(_TIME_LIMIT_MS, time_ms))


def _received(buffer: bytes, position: int, end: int) -> int | None:
    """The last header `received`, in microseconds; ValueError where the headers are not what their lengths say."""
    count, position = decode_varint(buffer, position)
    if count < 0:
        raise ValueError
    found = None
    for _ in range(count):
        length, position = decode_varint(buffer, position)
        if length < 0 or position + length > end:
            raise ValueError
        name, position = buffer[position : position + length], position + length
        length, position = decode_varint(buffer, position)
        if length >= 0:
            if name == RECEIVED:
                found = _whole_number(buffer[position : position + length])
            position += length
        if position > end:
            raise ValueError
    if position != end:
        raise ValueError
    return found


def _whole_number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= _RECEIVED_DIGITS else None
