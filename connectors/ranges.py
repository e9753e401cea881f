"""Reading explicit ranges of offsets, each exactly to its end, as Arrow blocks.

A range is read without a group: the ledger, not Kafka, remembers how far a run has come. The networking is
kafka-python's consumer; only its loop over the records is replaced (`records`), through the one class that holds it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from connectors import bounded
from connectors.causes import cause, in_words, recent
from connectors.kafka import KafkaRefused, KafkaSettings, KafkaUnreachable, admin, consumer
from connectors.kafka_python import (
    CorruptRecordError,
    Fetcher,
    IsolationLevel,
    KafkaError,
    KafkaTimeoutError,
    LogTruncationError,
    OffsetOutOfRangeError,
    TopicPartition,
)
from connectors.records import BatchCursor, Rows

FETCH_BYTES = 8 * 1024 * 1024
_POLL_MS = 1000
_FAR = 5_000  # offsets: between two wanted ones that lie farther apart, the records are not read

Partition = tuple[str, int]


@dataclass(frozen=True, order=True)
class OffsetRange:
    """Records of one partition, [start, end)."""

    topic: str
    partition: int
    start: int
    end: int


class DataMissing(Exception):
    """Records that the range names are not there: deleted by retention, or it is another topic of the same name."""


class DataDamaged(Exception):
    """A batch's checksum is wrong: it was damaged after it was sent, on the broker's disk or on the way."""


@dataclass(frozen=True)
class _Block:
    """What one "record" of the consumer is here."""

    records: pa.RecordBatch
    offset: int  # of the last record


class _BlocksOfPartition(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python carries no types
    """kafka-python's reader of one fetched partition, yielding blocks instead of records."""

    def _unpack_records(self, tp: Any, records: Any, *deserializers: Any) -> Iterator[_Block]:
        rows = Rows()
        batch = None
        while records.has_next():
            batch = records.next_batch()
            if not batch.validate_crc():
                raise CorruptRecordError(f"wrong checksum at offset {batch.base_offset}")
            self.leader_epoch = batch.leader_epoch
            if self._is_hidden(batch):
                continue
            cursor = BatchCursor(batch, self.fetch_offset)
            while not cursor.fill(rows):
                yield self._block(rows, rows.offsets[-1] + 1)
                rows = Rows()
            if rows.full:
                yield self._block(rows, batch.next_offset)
                rows = Rows()
        if batch is not None:
            if rows:
                yield self._block(rows, batch.next_offset)
            self.next_fetch_offset = batch.next_offset
        self.drain()

    def _block(self, rows: Rows, next_offset: int) -> _Block:
        self.records_read += len(rows)
        self.bytes_read += rows.bytes
        self.next_fetch_offset = next_offset
        return _Block(rows.block(), rows.offsets[-1])

    def _is_hidden(self, batch: Any) -> bool:
        """Markers of transactions, and the records of those that were aborted."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


class RangeReader:
    """One consumer, for any number of ranges after one another. Only committed records are read.

    `patience_s`: how long a broker may be away before KafkaUnreachable. `fetch_bytes`: asked for at a time, compressed;
    less is better where single offsets are read.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        fetch_bytes: int = FETCH_BYTES,
        limits: bounded.Limits = bounded.Limits(),
        patience_s: float = 60.0,
    ) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._consumer = consumer(
            settings, fetch_max_bytes=fetch_bytes, max_partition_fetch_bytes=fetch_bytes, metadata_max_age_ms=30_000
        )
        bounded.install(limits)
        self._consumer._fetcher.PartitionRecords = _BlocksOfPartition

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def read(self, wanted: OffsetRange, offsets: Sequence[int] | None = None) -> Iterator[pa.RecordBatch]:
        """The range's records as blocks of `records.BLOCK_SCHEMA`, in order; with `offsets`, only those of them.

        A record that is too large or cannot be read has its row too, without key and value. Offsets that are not there
        (markers of transactions, compacted or aborted records) have none. DataMissing, DataDamaged, KafkaUnreachable.
        """
        if wanted.start >= wanted.end:
            return
        with _words(self._settings, wanted.topic):
            self._must_be_there(wanted)
            for part in _parts(wanted, offsets):
                for block in self._read(part):
                    chosen = _chosen(block, part, offsets)
                    if chosen.num_rows:
                        yield chosen

    def _must_be_there(self, wanted: OffsetRange) -> None:
        partition = TopicPartition(wanted.topic, wanted.partition)
        if wanted.partition not in self._partitions(wanted.topic):
            raise DataMissing(f"{wanted.topic} has no partition {wanted.partition}")
        begin = self._consumer.beginning_offsets([partition])[partition]
        end = self._consumer.end_offsets([partition])[partition]
        name = f"{wanted.topic} partition {wanted.partition}"
        if wanted.start < begin:
            raise DataMissing(f"{name}: offset {wanted.start} is gone, the first one kept is {begin} (retention)")
        if wanted.end > end:
            raise DataMissing(f"{name} ends at {end}, before {wanted.end}: another topic or cluster of the same name?")

    def _read(self, part: OffsetRange) -> Iterator[pa.RecordBatch]:
        partition = TopicPartition(part.topic, part.partition)
        self._consumer.assign([partition])
        self._consumer.seek(partition, part.start)
        position, moved = part.start, time.monotonic()
        while position < part.end:
            for block in self._consumer.poll(timeout_ms=_POLL_MS, max_records=1).get(partition, ()):
                yield block.records
                moved = time.monotonic()  # what the caller does with a block is not the broker's delay
            if (now_at := self._consumer.position(partition)) != position:
                position, moved = now_at, time.monotonic()
            elif time.monotonic() - moved > self._patience_s:
                raise KafkaUnreachable(cause(self._settings, recent()))

    def _partitions(self, topic: str) -> set[int]:
        found = self._consumer.partitions_for_topic(topic)
        if not found:
            raise DataMissing(f"there is no topic {topic}, or this user may not read it")
        return set(found)

    def end_offsets(self, topics: Sequence[str]) -> dict[Partition, int]:
        """Per topic and partition the offset after the last committed record. DataMissing where a topic is not there."""
        return self._bounds(topics, self._consumer.end_offsets)

    def begin_offsets(self, topics: Sequence[str]) -> dict[Partition, int]:
        """Per topic and partition the first offset that is kept. DataMissing where a topic is not there."""
        return self._bounds(topics, self._consumer.beginning_offsets)

    def _bounds(self, topics: Sequence[str], ask: Any) -> dict[Partition, int]:
        with _words(self._settings, ", ".join(topics)):
            wanted = [TopicPartition(topic, number) for topic in topics for number in self._partitions(topic)]
            found: Mapping[Any, int] = ask(wanted) if wanted else {}
        return {(partition.topic, partition.partition): offset for partition, offset in sorted(found.items())}


class _words:  # noqa: N801
    pass
