"""What waits in Kafka: since when, until when it is kept, and what retention took unread."""

from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa
import pytest

from connectors.ranges import DataMissing, OffsetRange, RangeReader
from pipelines import lag
from pipelines.entries import rfc3339
from pipelines.progress import Progress
from pipelines.settings import Settings
from schemas.registry import Partner

T, DAY = "acme.sensor-reading.v1", 86_400_000_000
NOW = 1_800_000_000_000_000


class Kafka:
    """Stamps by partition; None for a marker, and a partition that is not there for what retention took."""

    def __init__(self, stamps: dict[int, int | None]) -> None:
        self.stamps, self.asked = stamps, list[OffsetRange]()

    def read(self, wanted: OffsetRange) -> Iterator[pa.RecordBatch]:
        self.asked.append(wanted)
        if wanted.partition not in self.stamps:
            raise DataMissing("it is gone")
        stamp = self.stamps[wanted.partition]
        if stamp is not None:
            yield pa.RecordBatch.from_pydict({"timestamp_us": pa.array([stamp], pa.int64())})


def came(kafka: Kafka, first: dict[Any, int], waits: dict[str, int]) -> dict[Any, int]:
    return lag._came(cast(RangeReader, kafka), first, waits)


def test_the_first_unread_record_of_each_partition_says_since_when() -> None:
    kafka = Kafka({0: NOW, 1: None})
    assert came(kafka, {(T, 0): 7, (T, 1): 3, (T, 2): 5}, {}) == {(T, 0): NOW}
    assert kafka.asked[0] == OffsetRange(T, 0, 7, 8)


def test_of_many_partitions_those_with_most_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "LOOKED_INTO", 2)
    kafka = Kafka(dict.fromkeys(range(4), NOW))
    waits = {f"{T}/{part}": n for part, n in enumerate((5, 90, 1, 60))}
    came(kafka, {(T, part): 0 for part in range(4)}, waits)
    assert [wanted.partition for wanted in kafka.asked] == [1, 3]


def test_retention_is_that_of_the_partners_topic() -> None:
    partners = {"acme": Partner(name="acme", retention_days=10)}
    until = lag._kept_until(Settings(), partners, {(T, 0): NOW, (T, 1): NOW - DAY})
    assert until == rfc3339(NOW + 9 * DAY) and lag._kept_until(Settings(), partners, {}) is None


def test_what_retention_took_unread_is_counted_and_said_as_a_driver_says_it() -> None:
    progress = Progress(offsets={f"{T}/0": 4})
    found = lag._lost(progress, {(T, 0): 6}, {(T, 0): 9})
    assert found["lost"] == 2 and "records 4 to 5 were deleted by retention" in found["refused"]
    assert lag._lost(progress, {(T, 0): 4}, {(T, 0): 9}) == {"lost": 0}


def test_partitions_are_told_by_topic() -> None:
    assert lag._nested({f"{T}/0": 1, f"{T}/11": 2, "b/0": 0}) == {T: {"0": 1, "11": 2}, "b": {"0": 0}}
