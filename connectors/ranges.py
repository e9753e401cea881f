"""Reading explicit ranges of offsets, each exactly to its end, as Arrow blocks.

A range is read without a group: the ledger, not Kafka, remembers how far a run has come. The networking is
kafka-python's consumer; only its loop over the records is replaced (`records`), through the one class that holds it.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import pyarrow as pa

from connectors import bounded
from connectors.causes import cause, in_words, recent
from connectors.kafka import KafkaRefused, KafkaSettings, KafkaUnreachable, admin, consumer
from connectors.kafka_python import (
    ConfigResource,
    ConfigResourceType,
    CorruptRecordError,
    Fetcher,
    IsolationLevel,
    KafkaError,
    KafkaTimeoutError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RetriableError,
    TopicPartition,
)
from connectors.records import BatchCursor, Rows

FETCH_BYTES = 8 * 1024 * 1024
LOOK_MS = 30_000
"""Partitions that are added to a topic are seen after so long."""
_POLL_MS = 1000
_ANSWER_MS = 10_000  # a broker that says nothing about its offsets for so long is away
_MOMENT_S = 1.0  # for so long an answer of the broker about its offsets is good
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

    def __init__(self, limits: bounded.Limits, *fetched: Any, **config: Any) -> None:
        self._limits = limits
        super().__init__(*fetched, **config)

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
            batch.limits = self._limits
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
        limits: bounded.Limits = bounded.DEFAULT_LIMITS,
        patience_s: float = 60.0,
    ) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._consumer = consumer(
            settings, fetch_max_bytes=fetch_bytes, max_partition_fetch_bytes=fetch_bytes, metadata_max_age_ms=LOOK_MS
        )
        self._consumer._fetcher.PartitionRecords = partial(_BlocksOfPartition, limits)
        self._spans: dict[str, tuple[float, dict[int, tuple[int, int]]]] = {}

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
        if wanted.partition not in self._partitions(wanted.topic):
            self._consumer.topics()  # it may have come since this was asked last
            if wanted.partition not in self._partitions(wanted.topic):
                raise DataMissing(f"{wanted.topic} has no partition {wanted.partition}")
        begin, end = self._span(wanted)
        name = f"{wanted.topic} partition {wanted.partition}"
        if wanted.start < begin:
            raise DataMissing(f"{name}: offset {wanted.start} is gone, the first one kept is {begin} (retention)")
        if wanted.end > end:
            raise DataMissing(f"{name} ends at {end}, before {wanted.end}: another topic or cluster of the same name?")

    def _span(self, wanted: OffsetRange) -> tuple[int, int]:
        """First offset and end of the range's partition, of a moment ago: they are asked for a whole topic at a time."""
        asked, spans = self._spans.get(wanted.topic, (0.0, {}))
        begin, end = spans.get(wanted.partition, (0, -1))
        if wanted.start >= begin and wanted.end <= end and time.monotonic() - asked < _MOMENT_S:
            return begin, end
        asked, topics = time.monotonic(), [wanted.topic]
        begins, ends = self.begin_offsets(topics), self.end_offsets(topics)
        spans = {number: (first, ends.get((topic, number), -1)) for (topic, number), first in begins.items()}
        self._spans[wanted.topic] = asked, spans
        return spans[wanted.partition]

    def _read(self, part: OffsetRange) -> Iterator[pa.RecordBatch]:
        partition = TopicPartition(part.topic, part.partition)
        self._consumer.assign([partition])
        self._consumer.seek(partition, part.start)
        position, moved = part.start, time.monotonic()
        while position < part.end:
            for block in self._consumer.poll(timeout_ms=_POLL_MS, max_records=1).get(partition, ()):
                yield block.records
                moved = time.monotonic()  # what the caller does with a block is not the broker's delay
            if (now_at := self._consumer.position(partition, timeout_ms=_POLL_MS)) != position:
                position, moved = now_at, time.monotonic()
            elif time.monotonic() - moved > self._patience_s:
                raise KafkaUnreachable(cause(self._settings, recent()))

    def _partitions(self, topic: str) -> set[int]:
        found = self._consumer.partitions_for_topic(topic)
        if not found:
            raise DataMissing(f"there is no topic {topic}, or this user may not read it")
        return set(found)

    def end_offsets(self, topics: Sequence[str]) -> dict[Partition, int]:
        """Per topic and partition the offset after the last committed record. DataMissing for an unknown topic."""
        return self._bounds(topics, self._consumer.end_offsets)

    def begin_offsets(self, topics: Sequence[str]) -> dict[Partition, int]:
        """Per topic and partition the first offset that is kept. DataMissing for an unknown topic."""
        return self._bounds(topics, self._consumer.beginning_offsets)

    def _bounds(self, topics: Sequence[str], ask: Any) -> dict[Partition, int]:
        with _words(self._settings, ", ".join(topics)):
            wanted = [TopicPartition(topic, number) for topic in topics for number in self._partitions(topic)]
            found: Mapping[Any, int] = ask(wanted, timeout_ms=_ANSWER_MS) if wanted else {}
        return {(partition.topic, partition.partition): offset for partition, offset in sorted(found.items())}


def read_range(
    settings: KafkaSettings, wanted: OffsetRange, offsets: Sequence[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """`RangeReader.read` with a consumer of its own; with `offsets` it asks for little at a time."""
    with RangeReader(settings, fetch_bytes=FETCH_BYTES if offsets is None else FETCH_BYTES // 16) as reader:
        yield from reader.read(wanted, offsets)


def end_offsets(settings: KafkaSettings, topics: Sequence[str]) -> dict[Partition, int]:
    """`RangeReader.end_offsets` with a consumer of its own."""
    with RangeReader(settings) as reader:
        return reader.end_offsets(topics)


def begin_offsets(settings: KafkaSettings, topics: Sequence[str]) -> dict[Partition, int]:
    """`RangeReader.begin_offsets` with a consumer of its own."""
    with RangeReader(settings) as reader:
        return reader.begin_offsets(topics)


class Identity:
    """Who a cluster and its topics are, asked anew each time through one connection that is kept."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client = admin(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def cluster_id(self) -> str:
        """The id that the cluster was given when its storage was formatted: another id, another cluster."""
        with _words(self._settings, "the cluster"):
            return str(self._client.describe_cluster()["cluster_id"])

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Per topic its id, a UUID: made again under its name, a topic has another. DataMissing for an unknown one."""
        with _words(self._settings, ", ".join(topics)):
            told = self._client.describe_topics(topics)
        found = {topic["name"]: str(topic["topic_id"]) for topic in told if not topic["error_code"]}
        if missing := sorted(set(topics) - set(found)):
            raise DataMissing(f"there is no topic {', '.join(missing)}, or this user may not see it")
        return found

    def kept_ms(self, topics: Sequence[str]) -> dict[str, int | None]:
        """For how many milliseconds each topic keeps its records, None for ever; without those that this user may not ask."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        with _words(self._settings, ", ".join(topics)):
            told = self._client.describe_configs(resources, config_filter="all").get("topic", {})
        kept = {topic: int(found["retention.ms"]["value"]) for topic, found in told.items() if "retention.ms" in found}
        return {topic: None if value < 0 else value for topic, value in kept.items()}


def cluster_id(settings: KafkaSettings) -> str:
    """`Identity.cluster_id` with a connection of its own."""
    with Identity(settings) as identity:
        return identity.cluster_id()


def topic_ids(settings: KafkaSettings, topics: Sequence[str]) -> dict[str, str]:
    """`Identity.topic_ids` with a connection of its own."""
    with Identity(settings) as identity:
        return identity.topic_ids(topics)


def _parts(wanted: OffsetRange, offsets: Sequence[int] | None) -> list[OffsetRange]:
    """The stretches to be read: the range itself, or those around the wanted offsets."""
    if offsets is None:
        return [wanted]
    inside = np.unique(np.asarray(offsets, dtype=np.int64))
    inside = inside[(inside >= wanted.start) & (inside < wanted.end)]
    stretches = np.split(inside, np.flatnonzero(np.diff(inside) > _FAR) + 1)
    return [OffsetRange(wanted.topic, wanted.partition, int(s[0]), int(s[-1]) + 1) for s in stretches if len(s)]


def _chosen(block: pa.RecordBatch, part: OffsetRange, offsets: Sequence[int] | None) -> pa.RecordBatch:
    """A fetch ends with a batch, not with the range; and of single offsets only those are wanted."""
    found = block.column("offset").to_numpy()
    block = block.slice(0, int(np.searchsorted(found, part.end)))
    if offsets is None:
        return block
    return block.filter(pa.array(np.isin(found[: block.num_rows], np.asarray(offsets, dtype=np.int64))))


@contextmanager
def _words(settings: KafkaSettings, what: str) -> Iterator[None]:
    """kafka-python's errors as ours; `what` names topics, never their contents."""
    try:
        yield
    except (OffsetOutOfRangeError, LogTruncationError):
        raise DataMissing(f"{what}: the offsets are no longer there (retention, or a log that was cut)") from None
    except CorruptRecordError:
        raise DataDamaged(
            f"{what}: a batch has a wrong checksum; read it again, and look at the broker's disk"
        ) from None
    except (KafkaTimeoutError, RetriableError):
        raise KafkaUnreachable(cause(settings, recent())) from None
    except KafkaError as error:
        raise KafkaRefused(f"{what}: {in_words(error)}") from None
