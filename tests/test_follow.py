"""Following the topics of kit events: each record once, wall clocks to UTC, what cannot be read passed over."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pyarrow as pa
import pytest

from connectors.ranges import DataMissing, OffsetRange, RangeReader
from connectors.records import BLOCK_SCHEMA
from pipelines.consent.follow import follow_kits, kit_topics
from pipelines.consent.register import Register
from schemas.contracts import encode
from schemas.registry import Partner
from tests.test_register import DAY

LAB = Partner(name="lab", contracts=("lab-result", "kit-event"), assumed_zone="Europe/Madrid")
APP = Partner(name="app", contracts=("kit-event",))
TOPICS = kit_topics([LAB, APP, Partner(name="acme")])
LABS, APPS = ("lab.kit-event.v1", 0), ("app.kit-event.v1", 0)
BARCODE = "9Y875XRT6M0NFKBN"
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000
HOUR = DAY // 24


class Kafka:
    """Records by partition, of which the first ones may be gone; what was read of it."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[bytes | None]] = {(topic, 0): [] for topic in TOPICS}
        self.gone = dict.fromkeys(self.records, 0)
        self.asked: list[OffsetRange] = []

    def end_offsets(self, topics: list[str]) -> dict[tuple[str, int], int]:
        return {at: len(values) for at, values in self.records.items() if at[0] in topics}

    def begin_offsets(self, topics: list[str]) -> dict[tuple[str, int], int]:
        return {at: first for at, first in self.gone.items() if at[0] in topics}

    def read(self, wanted: OffsetRange) -> Iterator[pa.RecordBatch]:
        self.asked.append(wanted)
        values = self.records[wanted.topic, wanted.partition][wanted.start : wanted.end]
        rows = [
            {"offset": offset, "timestamp_us": NOON_US + 10 * DAY, "timestamp_type": 1, "value": value}
            | {"too_large": value is None, "corrupt": False}
            for offset, value in enumerate(values, start=wanted.start)
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=BLOCK_SCHEMA)


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


def collected(number: int = 1, **when: Any) -> bytes:
    message = {
        "event_id": f"00000000-0000-4000-8000-{number:012d}",
        "barcode": BARCODE,
        "event": "collected",
        "when": {"at": NOON_US, **when},
    }
    return encode("kit-event", message)


def followed(kafka: Kafka, register: Register) -> list[tuple[str, str]]:
    follow_kits(cast(RangeReader, kafka), register, TOPICS)
    return [(row["at"], row["partner"]) for row in register.kit_events(BARCODE)]


def test_the_topics_are_those_of_partners_who_send_events_of_kits() -> None:
    assert set(TOPICS) == {LABS[0], APPS[0]}


def test_without_such_partners_nothing_is_asked(register: Register) -> None:
    follow_kits(cast(RangeReader, None), register, {})


def test_each_record_is_read_once_from_all_topics(kafka: Kafka, register: Register) -> None:
    kafka.records[LABS].append(collected())
    kafka.records[APPS].append(collected(2))
    assert followed(kafka, register) == [("2026-06-01T12:00:00Z", "lab"), ("2026-06-01T12:00:00Z", "app")]
    assert register.positions() == {LABS: 1, APPS: 1}
    kafka.records[LABS].append(collected(3))
    assert len(followed(kafka, register)) == 3
    assert [one for one in kafka.asked if one.start < one.end][2:] == [OffsetRange(*LABS, 1, 2)]


@pytest.mark.parametrize(
    ("when", "hour"),
    [
        ({}, 12),
        ({"offset_min": 120, "clock": "utc"}, 12),
        ({"offset_min": 120, "clock": "local"}, 10),
        ({"zone": "America/New_York", "clock": "local"}, 16),
        ({"clock": "local"}, 10),
    ],
)
def test_a_wall_clock_is_placed_as_that_of_a_reading(
    kafka: Kafka, register: Register, when: dict[str, Any], hour: int
) -> None:
    kafka.records[LABS].append(collected(**when))
    assert followed(kafka, register) == [(f"2026-06-01T{hour}:00:00Z", "lab")]


def test_what_cannot_be_read_is_passed_over_and_counted(kafka: Kafka, register: Register) -> None:
    pointer = {"topic": "t", "partition": 0, "offset": 0, "first_reading": None, "readings": 0}
    foreign = encode("rejected", {**pointer, "reason": "R_FIELD", "path": "", "entry": 1})
    unplaced = collected(7, clock="local")
    kafka.records[APPS] += [None, b"", b"\x00", foreign, collected()[:-1], unplaced, collected()]
    assert len(followed(kafka, register)) == 1
    assert register.kit_status().not_understood == 6
    assert register.positions()[APPS] == 7


def test_what_was_deleted_before_it_was_read_is_counted_and_stops_nothing(kafka: Kafka, register: Register) -> None:
    kafka.records[LABS] += [collected(1), collected(2), collected(3)]
    kafka.gone[LABS] = 2
    for _ in range(2):
        assert len(followed(kafka, register)) == 1
        assert register.kit_status().deleted_unread == 2


def test_what_was_deleted_after_another_register_had_read_it_is_not_passed_over(
    kafka: Kafka, register: Register
) -> None:
    kafka.records[LABS] += [collected(1), collected(2), collected(3)]
    kafka.gone[LABS] = 2
    with pytest.raises(DataMissing, match="lab.kit-event.v1: kit events from 0 on were read once"):
        follow_kits(cast(RangeReader, kafka), register, TOPICS, {LABS: 1})
    assert register.positions() == {}
    found = follow_kits(cast(RangeReader, kafka), register, TOPICS, {LABS: 0})
    assert found == {LABS: 3}


def test_a_topic_that_ends_before_what_was_read_of_it_is_another_one(kafka: Kafka, register: Register) -> None:
    kafka.records[LABS] += [collected(1), collected(2)]
    followed(kafka, register)
    kafka.records[LABS].pop()
    with pytest.raises(DataMissing, match="lab.kit-event.v1 has lost kit events: it ends at 1, before 2"):
        followed(kafka, register)
