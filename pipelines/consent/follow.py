"""Following the topics that decide: what the authority and the senders of kits have published, read into the register."""

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from connectors.ranges import DataMissing, OffsetRange, RangeReader
from pipelines.consent.kits import KitNews, KitUnclear
from pipelines.consent.register import Register, Tombstone
from pipelines.zones import Clock, place_moment
from schemas.consent_events import read_event, read_link, unreadable_key
from schemas.contracts import decode
from schemas.kit_events import CONTRACT, KitMoment, kit_event
from schemas.reasons import Rejected
from schemas.registry import Partner


def follow(reader: RangeReader, register: Register, consent_topic: str, link_topic: str) -> dict[tuple[str, int], int]:
    """Read both topics to their present ends; the ends by (topic, partition)."""
    ends = reader.end_offsets([consent_topic, link_topic])
    positions = register.positions()
    for (topic, partition), end in sorted(ends.items()):
        start = positions.get((topic, partition), 0)
        understand = _event if topic == consent_topic else _link
        for block in reader.read(OffsetRange(topic, partition, start, end)):
            register.apply(topic, partition, _records(block, understand))
        register.reached(topic, partition, end)
    return ends


def kit_topics(partners: Iterable[Partner]) -> dict[str, Partner]:
    """The topics of kit events, by name, with who publishes to each."""
    return {partner.topic(CONTRACT): partner for partner in partners if CONTRACT in partner.contracts}


def follow_kits(
    reader: RangeReader,
    register: Register,
    topics: Mapping[str, Partner],
    known: Mapping[tuple[str, int], int] = MappingProxyType({}),
) -> dict[tuple[str, int], int]:
    """Read the topics of kit events to their present ends; the next offsets by (topic, partition).

    What cannot be read is counted and passed over, and so is what retention deleted before it was read. DataMissing
    where a topic ends before what the register has read of it, and where events are gone that a register had read:
    `known` says to where.
    """
    if not topics:
        return {}
    ends, begins = reader.end_offsets(list(topics)), reader.begin_offsets(list(topics))
    positions = register.positions()
    for (topic, partition), end in sorted(ends.items()):
        start = positions.get((topic, partition), 0)
        if end < start:
            raise DataMissing(f"{topic} has lost kit events: it ends at {end}, before {start}; restore the topic")
        if begins[topic, partition] > start:
            if known.get((topic, partition), 0) > start:
                raise DataMissing(
                    f"{topic}: kit events from {start} on were read once, and neither the vault's register nor Kafka has "
                    "them: restore the vault's newest register; --accept-loss goes on without them"
                )
            start = begins[topic, partition]
            register.passed_over(topic, partition, start)
        understand = partial(_kit_event, topics[topic])
        for block in reader.read(OffsetRange(topic, partition, start, end)):
            register.apply(topic, partition, _records(block, understand))
        if end > start:
            register.reached(topic, partition, end)
    return {at: position for at, position in register.positions().items() if at in ends}


def _records(block: pa.RecordBatch, understand: Any) -> list[tuple[int, int, bytes | None, Any]]:
    columns = [block.column(name).to_pylist() for name in ("offset", "timestamp_us", "key", "value")]
    return [(offset, at, key, understand(key, value)) for offset, at, key, value in zip(*columns, strict=True)]


def _event(key: bytes | None, value: bytes | None) -> Any:
    """An event; where it cannot be read, whatever tells its chain, so that the chain can be closed."""
    try:
        return read_event(decode(value, "consent-event"))
    except Rejected:
        return unreadable_key(key)


def _link(key: bytes | None, value: bytes | None) -> Any:
    if value is None:
        return Tombstone()
    try:
        return read_link(decode(value, "identity-link"))
    except Rejected:
        return unreadable_key(None)


def _kit_event(partner: Partner, key: bytes | None, value: bytes | None) -> Any:
    try:
        event = kit_event(decode(value, CONTRACT), partner.assumed_zone)
    except Rejected:
        return KitUnclear()
    return KitNews(partner.name, event, _in_utc(event.when, partner.assumed_zone))


def _in_utc(when: KitMoment, assumed_zone: str | None) -> int:
    """The moment in microseconds, UTC, by the rules that place the times of readings."""
    clock = Clock(when.clock == "local", when.offset_min, when.zone, assumed_zone)
    return place_moment(when.at, clock)[0]
