"""The connectors against a real Apache Kafka."""

import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from connectors import ranges
from connectors.bounded import Limits
from connectors.kafka import KafkaRefused, KafkaSettings, KafkaUnreachable, admin, producer
from connectors.kafka_python import (
    ConfigResource,
    ConfigResourceType,
    DefaultRecordBatch,
    MemoryRecords,
    TopicPartition,
)
from connectors.publisher import UNKNOWN, Publisher, Receipt
from connectors.ranges import DataDamaged, DataMissing, OffsetRange, RangeReader, read_range
from connectors.records import BLOCK_SCHEMA
from connectors.topics import Held, TopicOutcome, TopicSpec, create_topics, list_topics, wanted_topics
from infra.local_kafka import Address
from schemas.registry import Partner

from .conftest import StartBroker

MIB = 1024 * 1024
NewTopic = Callable[..., str]


@pytest.fixture
def settings(broker: Address) -> KafkaSettings:
    return KafkaSettings(bootstrap=broker.bootstrap)


@pytest.fixture
def new_topic(settings: KafkaSettings) -> NewTopic:
    def new(partitions: int = 1, **config: str) -> str:
        return made(settings, partitions, config)

    return new


def made(settings: KafkaSettings, partitions: int = 1, config: dict[str, str] | None = None) -> str:
    spec = TopicSpec(f"t-{uuid.uuid4().hex}", partitions, config or {})
    assert create_topics(settings, [spec])[0].outcome is TopicOutcome.CREATED
    return spec.name


def publish(settings: KafkaSettings, topic: str, count: int, size: int = 20, first: int = 0) -> Receipt:
    with Publisher(settings, topic, patience_s=20) as publisher:
        for number in range(first, first + count):
            publisher.send(b"k%d" % number, b"%d" % number + bytes(size))
    return publisher.receipt


def whole(settings: KafkaSettings, topic: str, partition: int = 0) -> OffsetRange:
    begin, end = ranges.begin_offsets(settings, [topic]), ranges.end_offsets(settings, [topic])
    return OffsetRange(topic, partition, begin[topic, partition], end[topic, partition])


def read(settings: KafkaSettings, wanted: OffsetRange, offsets: Sequence[int] | None = None) -> pa.Table:
    return pa.Table.from_batches(read_range(settings, wanted, offsets), schema=BLOCK_SCHEMA)


def offsets_of(table: pa.Table) -> list[int]:
    return list(table.column("offset").to_pylist())


def test_what_was_published_is_read_with_its_receipt(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic(**{"message.timestamp.type": "LogAppendTime"})
    told: list[Receipt] = []
    began = time.time_ns() // 1000
    with Publisher(settings, topic, on_progress=told.append) as publisher:
        for number in range(3_000):
            publisher.send(b"k", b"%d" % number, [("received", b"%d" % number)])
        assert publisher.flush(20) == Receipt(acknowledged=3_000)
    assert told[-1] == publisher.receipt == Receipt(acknowledged=3_000)
    found = read(settings, whole(settings, topic))
    assert offsets_of(found) == list(range(3_000))
    assert found.column("value").to_pylist() == [b"%d" % number for number in range(3_000)]
    assert found.column("received_header_us").to_pylist() == list(range(3_000))
    assert set(found.column("timestamp_type").to_pylist()) == {1}
    assert began - 1_000 <= min(found.column("timestamp_us").to_pylist()) <= time.time_ns() // 1000


def test_a_range_is_read_exactly_and_in_blocks(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    publish(settings, topic, 5_000)
    with RangeReader(settings, fetch_bytes=20_000) as reader:
        blocks = list(reader.read(OffsetRange(topic, 0, 1_234, 4_321)))
        assert offsets_of(pa.Table.from_batches(blocks)) == list(range(1_234, 4_321))
        assert max(block.num_rows for block in blocks) <= 2_000
        assert list(reader.read(OffsetRange(topic, 0, 9, 9))) == []


def test_single_offsets_are_read_without_what_lies_between(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    publish(settings, topic, 20_000)
    wanted = [0, 1, 77, 12_000, 19_999]
    assert offsets_of(read(settings, whole(settings, topic), wanted)) == wanted


@pytest.mark.timeout(180)
def test_a_range_ends_though_its_last_offsets_are_markers(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    with closing(producer(settings, transactional_id=topic)) as transactional:
        transactional.init_transactions()
        for keep in (True, False, True, False):
            transactional.begin_transaction()
            for number in range(3):
                transactional.send(topic, b"%d" % number).get(60)
            transactional.commit_transaction() if keep else transactional.abort_transaction()
    wanted = whole(settings, topic)
    assert wanted.end == 16
    assert offsets_of(read(settings, wanted)) == [0, 1, 2, 8, 9, 10]
    assert offsets_of(read(settings, OffsetRange(topic, 0, 3, 8))) == []


def test_an_open_transaction_is_not_yet_there(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    publish(settings, topic, 2)
    with closing(producer(settings, transactional_id=topic)) as transactional:
        transactional.init_transactions()
        transactional.begin_transaction()
        transactional.send(topic, b"unfinished").get(60)
        assert ranges.end_offsets(settings, [topic]) == {(topic, 0): 2}
        transactional.commit_transaction()
    assert ranges.end_offsets(settings, [topic]) == {(topic, 0): 4}


@pytest.mark.timeout(240)
def test_a_range_ends_though_its_last_offsets_were_compacted(own_broker: StartBroker) -> None:
    address = own_broker({"log.cleaner.backoff.ms": "100"}).address
    settings = KafkaSettings(bootstrap=address.bootstrap)
    config = {"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01"}
    topic = made(settings, config=config)
    for round_number in range(3):
        publish(settings, topic, 50, first=0)
        time.sleep(0.3)
        publish(settings, topic, 1, first=1_000 + round_number)
    wanted, deadline = whole(settings, topic), time.monotonic() + 60
    while len(found := offsets_of(read(settings, wanted))) > 60 and time.monotonic() < deadline:
        time.sleep(0.5)
        publish(settings, topic, 1, first=2_000)
    assert len(found) <= 60
    assert found == sorted(found)
    assert wanted.end == 153
    hole = next(number for number in range(152, 0, -1) if number not in found)
    kept = [number for number in found if number <= hole]
    assert offsets_of(read(settings, OffsetRange(topic, 0, 0, hole + 1))) == kept


def test_what_retention_has_deleted_is_missing(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    publish(settings, topic, 100)
    with closing(admin(settings)) as client:
        client.delete_records({TopicPartition(topic, 0): 40})
    with pytest.raises(DataMissing, match=r"offset 39 is gone, the first one kept is 40"):
        read(settings, OffsetRange(topic, 0, 39, 100))
    assert offsets_of(read(settings, whole(settings, topic))) == list(range(40, 100))


@pytest.mark.timeout(180)
def test_what_is_deleted_while_it_is_read_is_missing(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    for part in range(6):
        publish(settings, topic, 200, size=3_000, first=part * 200)
    with RangeReader(settings, fetch_bytes=1_000) as reader:
        blocks = reader.read(whole(settings, topic))
        next(blocks)
        with closing(admin(settings)) as client:
            client.delete_records({TopicPartition(topic, 0): 1_199})
        with pytest.raises(DataMissing):
            list(blocks)


def test_a_topics_offsets_are_asked_for_once_for_all_of_its_partitions(
    settings: KafkaSettings, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, other = new_topic(partitions=3), new_topic()
    publish(settings, topic, 90)
    publish(settings, other, 5)
    wanted, asked = [whole(settings, topic, number) for number in range(3)], []
    monkeypatch.setattr(ranges, "_MOMENT_S", 600.0)
    with RangeReader(settings) as reader:
        true = reader._bounds
        monkeypatch.setattr(reader, "_bounds", lambda topics, ask: asked.append(topics) or true(topics, ask))
        assert sum(block.num_rows for one in wanted for block in reader.read(one)) == 90
        assert asked == [[topic], [topic]]
        publish(settings, topic, 30, first=90)
        assert (
            sum(block.num_rows for number in range(3) for block in reader.read(whole(settings, topic, number))) == 120
        )
        list(reader.read(whole(settings, other)))
    assert asked == [[topic]] * 4 + [[other]] * 2


@pytest.mark.timeout(180)
def test_what_is_deleted_after_the_offsets_were_asked_for_is_missing(
    settings: KafkaSettings, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic()
    publish(settings, topic, 100)
    monkeypatch.setattr(ranges, "_MOMENT_S", 600.0)
    with RangeReader(settings) as reader:
        list(reader.read(OffsetRange(topic, 0, 0, 50)))
        with closing(admin(settings)) as client:
            client.delete_records({TopicPartition(topic, 0): 60})
        with pytest.raises(DataMissing):
            list(reader.read(OffsetRange(topic, 0, 20, 100)))
        monkeypatch.setattr(ranges, "_MOMENT_S", 0.0)
        with pytest.raises(DataMissing, match=r"offset 20 is gone, the first one kept is 60"):
            list(reader.read(OffsetRange(topic, 0, 20, 100)))


@pytest.mark.timeout(180)
def test_a_topic_that_is_not_there_or_not_that_long_is_missing(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    publish(settings, topic, 3)
    for wanted in (OffsetRange("no-such-topic", 0, 0, 1), OffsetRange(topic, 7, 0, 1), OffsetRange(topic, 0, 0, 4)):
        with pytest.raises(DataMissing):
            read(settings, wanted)
    with pytest.raises(DataMissing, match="no-such-topic"):
        ranges.end_offsets(settings, [topic, "no-such-topic"])


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_what_is_too_large_is_marked_between_its_neighbours(
    settings: KafkaSettings, new_topic: NewTopic, codec: str
) -> None:
    topic = new_topic()
    sizes = [10, 40 * MIB, 11, 9 * MIB, 12]
    with closing(producer(settings, compression_type=codec, max_request_size=64 * MIB)) as unbounded:
        for size in sizes:
            unbounded.send(topic, value=bytes(size)).get(60)
    rows = read(settings, whole(settings, topic)).to_pylist()
    assert [row["offset"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["too_large"] for row in rows] == [False, True, False, True, False]
    assert [row["value"] and len(row["value"]) for row in rows] == [10, None, 11, None, 12]


def test_the_readers_ceilings_are_its_own(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    with closing(producer(settings, compression_type="zstd")) as other:
        other.send(topic, value=bytes(100_000)).get(60)
    with RangeReader(settings, limits=Limits(batch_bytes=50_000)) as reader:
        (block,) = reader.read(whole(settings, topic))
    assert block.column("too_large").to_pylist() == [True]
    assert read(settings, whole(settings, topic)).column("too_large").to_pylist() == [False]


def test_a_wrong_checksum_stops_loudly(
    settings: KafkaSettings, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic()
    publish(settings, topic, 3)
    wanted, true = whole(settings, topic), MemoryRecords.next_batch

    def damaged(records: Any, *rest: Any) -> Any:
        batch: DefaultRecordBatch = true(records, *rest)
        batch._buffer[-1] ^= 1
        return batch

    monkeypatch.setattr(MemoryRecords, "next_batch", damaged)
    with pytest.raises(DataDamaged):
        read(settings, wanted)


def test_clusters_and_topics_have_ids(broker: Address, settings: KafkaSettings, new_topic: NewTopic) -> None:
    assert ranges.cluster_id(settings) == broker.cluster_id
    topic, other = new_topic(), new_topic()
    before = ranges.topic_ids(settings, [topic, other])
    assert len(set(before.values())) == 2
    assert all(uuid.UUID(value) for value in before.values())
    with closing(admin(settings)) as client:
        client.delete_topics([topic])
    deadline = time.monotonic() + 60
    while list_topics(settings, [topic]) and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(DataMissing, match=topic):
        ranges.topic_ids(settings, [topic])
    create_topics(settings, [TopicSpec(topic, 1)])
    assert ranges.topic_ids(settings, [topic])[topic] != before[topic]


def test_offsets_of_several_topics_and_partitions(settings: KafkaSettings, new_topic: NewTopic) -> None:
    one, two = new_topic(partitions=3), new_topic()
    publish(settings, one, 90)
    ends = ranges.end_offsets(settings, [one, two])
    assert set(ends) == {(one, 0), (one, 1), (one, 2), (two, 0)}
    assert sum(ends.values()) == 90
    assert set(ranges.begin_offsets(settings, [one, two]).values()) == {0}


def test_topics_are_created_found_and_compared(settings: KafkaSettings) -> None:
    name = f"p{uuid.uuid4().hex[:8]}"
    wanted = wanted_topics([Partner(name=name)], f"{name}-trust", Held(0, 0))
    assert {result.outcome for result in create_topics(settings, wanted)} == {TopicOutcome.CREATED}
    assert {result.outcome for result in create_topics(settings, wanted)} == {TopicOutcome.EXISTS}
    changed = wanted_topics([Partner(name=name, retention_days=30, partitions=6)], f"{name}-trust", Held(0, 0))
    results = {result.name: result for result in create_topics(settings, changed)}
    differing = results[f"{name}.sensor-reading.v1"]
    assert differing.outcome is TopicOutcome.DIFFERS
    assert differing.differences == ("partitions is 4, not 6", "retention.ms is 604800000, not 2592000000")
    assert results[f"{name}-trust.consent-event.v1"].outcome is TopicOutcome.EXISTS
    listed = {spec.name: spec for spec in list_topics(settings)}
    assert listed[f"{name}.rejected.v1"].partitions == 1
    assert listed[f"{name}-trust.identity-link.v1"].settings["cleanup.policy"] == "compact"


def test_a_topic_that_cannot_be_created_is_refused_in_words(settings: KafkaSettings) -> None:
    with pytest.raises(KafkaRefused, match="replication factor"):
        create_topics(settings, [TopicSpec(f"t-{uuid.uuid4().hex}", 1)], replication=3)


def test_publishing_to_a_topic_that_is_not_there_is_refused(settings: KafkaSettings) -> None:
    with pytest.raises(KafkaRefused, match="there is no such topic"):
        Publisher(settings.model_copy(update={"connect_timeout_s": 3.0}), "no-such-topic")


def test_a_record_that_is_too_large_fails_and_its_neighbours_pass(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic, random = new_topic(**{"max.message.bytes": "20000"}), os.urandom(25_000)
    with Publisher(settings, topic, patience_s=20) as publisher:
        for value in (b"small", random, bytes(100_000), bytes(20 * MIB), random[:19_700], b"small too"):
            publisher.send(b"k", value)
    receipt = publisher.receipt
    assert (receipt.acknowledged, receipt.failed, receipt.in_flight) == (4, 2, 0)
    assert all("larger" in reason for reason in receipt.reasons)
    values = read(settings, whole(settings, topic)).column("value").to_pylist()
    assert values == [b"small", bytes(100_000), random[:19_700], b"small too"]


def test_a_topic_made_stricter_meanwhile_refuses_in_words(settings: KafkaSettings, new_topic: NewTopic) -> None:
    topic = new_topic()
    with Publisher(settings, topic, patience_s=20) as publisher:
        with closing(admin(settings)) as client:
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "2000"})
            client.alter_configs([resource])
        publisher.send(b"k", os.urandom(5_000))
        publisher.flush()
        with pytest.raises(KafkaRefused, match="larger than the topic allows"):
            publisher.send(b"k", b"not taken")
        publisher.send(b"k", b"small")
    assert (publisher.receipt.acknowledged, publisher.receipt.failed) == (1, 1)


@pytest.fixture
def steady(own_broker: StartBroker) -> Any:
    """A broker of the test's own, and a topic on it."""
    own = own_broker()
    mine = KafkaSettings(bootstrap=own.address.bootstrap)
    return own.kafka, mine, made(mine)


@pytest.mark.timeout(180)
def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(steady: Any) -> None:
    kafka, settings, topic = steady

    def crash() -> None:
        time.sleep(0.5)
        kafka.kill()
        time.sleep(1)
        kafka.up()

    crashing = threading.Thread(target=crash)
    crashing.start()
    with Publisher(settings, topic, max_records=200, patience_s=60) as publisher:
        number = 0
        while crashing.is_alive() or number < 2_000:
            publisher.send(b"k", b"%d" % number)
            number += 1
            time.sleep(0.0005)
    crashing.join()
    assert publisher.receipt == Receipt(acknowledged=number)
    found = read(settings, whole(settings, topic)).column("value").to_pylist()
    assert found == [b"%d" % sent for sent in range(number)]


@pytest.mark.timeout(180)
def test_who_publishes_is_told_in_bounded_time_and_can_go_on(steady: Any) -> None:
    kafka, settings, topic = steady
    settings = settings.model_copy(update={"connect_timeout_s": 3.0})
    in_doubt = Receipt(failed=50, reasons={UNKNOWN: 50}, told={UNKNOWN: f"{topic}: {UNKNOWN}"})
    with Publisher(settings, topic, max_records=50, patience_s=3) as publisher:
        publisher.send(b"k", b"before")
        publisher.flush()
        kafka.down()
        began = time.monotonic()
        for number in range(50):
            publisher.send(b"k", b"lost %d" % number)
        with pytest.raises(KafkaUnreachable, match="nothing listens there"):
            publisher.send(b"k", b"waits for room, and is not taken")
        assert time.monotonic() - began < 40
        assert publisher.receipt == replace(in_doubt, acknowledged=1)
        with pytest.raises(KafkaUnreachable):
            publisher.send(b"k", b"not taken")
        kafka.up()
        publisher.send(b"k", b"after")
    assert publisher.receipt == replace(in_doubt, acknowledged=2)
    found = read(settings, whole(settings, topic)).column("value").to_pylist()
    assert (found[0], found[-1]) == (b"before", b"after")


@pytest.mark.timeout(180)
def test_reading_goes_on_when_the_broker_is_back_and_ends_when_it_is_not(steady: Any) -> None:
    kafka, settings, topic = steady
    for part in range(6):
        publish(settings, topic, 200, size=3_000, first=part * 200)
    wanted = whole(settings, topic)
    with RangeReader(settings, fetch_bytes=1_000, patience_s=60) as reader:
        blocks = reader.read(wanted)
        first = next(blocks)
        kafka.kill()
        kafka.up()
        rest = list(blocks)
        assert offsets_of(pa.Table.from_batches([first, *rest])) == list(range(1_200))
    with RangeReader(settings, fetch_bytes=1_000, patience_s=2) as reader:
        blocks = reader.read(wanted)
        next(blocks)
        kafka.down()
        began = time.monotonic()
        with pytest.raises(KafkaUnreachable, match="nothing listens there"):
            list(blocks)
        assert time.monotonic() - began < 40


@pytest.mark.parametrize("none_yet", [None, -1])
def test_the_offsets_of_a_partition_without_a_leader_are_waited_for(
    settings: KafkaSettings, new_topic: NewTopic, none_yet: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic(partitions=3)
    publish(settings, topic, 90)
    with RangeReader(settings) as reader:
        cluster, asked = reader._consumer._client.cluster, list[TopicPartition]()
        leader = cluster.leader_for_partition

        def hesitant(partition: TopicPartition) -> int | None:
            asked.append(partition)
            found: int | None = leader(partition)
            return none_yet if partition.partition == 1 and len(asked) < 8 else found

        monkeypatch.setattr(cluster, "leader_for_partition", hesitant)
        assert sum(reader.end_offsets([topic]).values()) == 90
        assert len(asked) == 9
