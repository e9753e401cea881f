"""Following the consent topics: what the authority has published, read to a given end into the register."""

from typing import Any

import pyarrow as pa

from connectors.ranges import OffsetRange, RangeReader
from pipelines.consent.register import Register, Tombstone
from schemas.consent_events import read_event, read_link, unreadable_key
from schemas.contracts import decode
from schemas.reasons import Rejected


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
