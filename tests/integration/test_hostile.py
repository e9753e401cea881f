"""Hostile input: each kind is rejected for its own reason at its own place, while its neighbours in the batch land."""

import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
import zstandard

from connectors.kafka_python import KafkaError
from infra.local_kafka import Address
from schemas.contracts import HEADER_BYTES, MARKER, contracts, encode, latest
from schemas.reasons import Reason
from tests.canaries import MARK, subject
from tests.kafka_batches import NONE, PACKED, ZSTD, Record, batch, rebuilt
from tests.raw_produce import produce_batch
from tests.worlds import DAY, SECOND, World, make_world, once

MIB = 1024 * 1024
NEW_YEAR_1970, NEW_YEAR_2085 = 0, 3_629_059_200 * SECOND


class Bad(NamedTuple):
    """One bad record: its value, and what is told of it."""

    name: str
    value: bytes | None
    reason: Reason
    path: str = ""
    readings: int = 0
    first: int | None = None


def content(world: World, person: str = "bad", **fields: Any) -> dict[str, Any]:
    """Five heart rates, all well; `fields` replace what is in the message."""
    return {
        "subject": subject(person),
        "metric": "heart_rate",
        "unit": "/min",
        "source": {"name": f"{MARK}-watch"},
        "times": {"at": [world.began - DAY + n * SECOND for n in range(5)]},
        "values": [60.0, 61.0, 62.0, 63.0, 64.0],
        **fields,
    }


def whole_records(world: World) -> Iterator[Bad]:
    """Records that are no message at all."""
    intact = encode("sensor-reading", content(world))
    rng = np.random.default_rng(1)
    yield Bad("null value", None, Reason.EMPTY)
    yield Bad("empty", b"", Reason.EMPTY)
    yield Bad("garbage", rng.bytes(300), Reason.NOT_AVRO)
    yield Bad("json", b'{"heart_rate": 61}', Reason.NOT_AVRO)
    yield Bad("marker alone", MARKER, Reason.NOT_AVRO)
    yield Bad("garbage body", intact[:HEADER_BYTES] + rng.bytes(300), Reason.TRUNCATED)
    yield Bad("no body", intact[:HEADER_BYTES], Reason.TRUNCATED)
    yield Bad("truncated", intact[:-1], Reason.TRUNCATED)
    yield Bad("trailing", intact + b"\0", Reason.TRAILING)
    yield Bad("two in one", intact + intact, Reason.TRAILING)
    yield Bad("unknown fingerprint", MARKER + bytes(8) + intact[HEADER_BYTES:], Reason.FINGERPRINT)
    yield Bad("wrong contract", encode("rejected", _POINTER), Reason.CONTRACT)
    not_utf8 = intact.replace(MARK.encode(), b"\xff\xfe\xfd\xfc", 1)
    yield Bad("not UTF-8", not_utf8, Reason.TRUNCATED)
    length = intact.replace(_long(len(subject("bad"))), _long(2**40), 1)
    yield Bad("a text of a terabyte", length, Reason.TRUNCATED)


_POINTER = {
    "topic": "t",
    "partition": 0,
    "offset": 0,
    "first_reading": None,
    "readings": 0,
    "reason": "R_UNIT",
    "path": "",
    "entry": 1,
}


def _long(value: int) -> bytes:
    """As Avro writes a whole number, and the length of a text."""
    value, found = value << 1, b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def headers_and_shapes(world: World) -> Iterator[Bad]:
    """Messages whose header is not allowed, or whose parts do not fit together."""

    def bad(name: str, reason: Reason, path: str = "", **fields: Any) -> Bad:
        return Bad(name, encode("sensor-reading", content(world, **fields)), reason, path)

    at = [world.began - DAY] * 4
    yield bad("no subject", Reason.FIELD, "subject", subject="")
    yield bad("a subject of a megabyte", Reason.FIELD, "subject", subject="x" * 1_000_000)
    yield bad("65 channels", Reason.FIELD, "channels", channels=[f"c{n}" for n in range(65)])
    yield bad("100,000 channels", Reason.FIELD, "channels", channels=["c"] * 100_000)
    yield bad("ragged times", Reason.RAGGED, "times.at", times={"at": at})
    yield bad("ragged packed times", Reason.RAGGED, "times.at", times={"at": struct.pack("<4q", *at)})
    yield bad("ragged record ids", Reason.RAGGED, "record_ids", record_ids=["a"])
    yield bad("ragged channels", Reason.RAGGED, "values", channels=["x", "y"], metric="acceleration", unit="m/s2")
    half = {"dtype": "f8", "data": b"1234567", "scale": 1.0}
    yield bad("half a number", Reason.RAGGED, "values.data", values=half)
    yield bad("no readings", Reason.NO_READINGS, "values", values=[])
    yield bad(
        "a scale of infinity", Reason.NOT_FINITE, "values.scale", values={**half, "data": bytes(8), "scale": np.inf}
    )
    yield bad("a period of nothing", Reason.INTERVAL, "times.period", times={"start": at[0], "period": 0})
    ends = {"start": [*at, at[0]], "end": [*at, at[0] - 1]}
    yield bad(
        "an end before the start", Reason.INTERVAL, "times.end", times=ends, metric="steps_interval", unit="{steps}"
    )
    yield bad("a start at the end of time", Reason.TIME, "times.start", times={"start": 2**63 - 1, "period": 1})
    yield bad("a period beyond it", Reason.TIME, "times.start", times={"start": at[0], "period": 2**62})


def in_the_catalogues_terms(world: World) -> Iterator[Bad]:
    """Messages that can be read, of whose five readings none means anything."""

    def bad(name: str, reason: Reason, path: str, **fields: Any) -> Bad:
        value = encode("sensor-reading", content(world, **fields))
        return Bad(name, value, reason, path, readings=5, first=0)

    old, far = ([moment + n for n in range(5)] for moment in (NEW_YEAR_1970, NEW_YEAR_2085))
    yield bad("unknown metric", Reason.METRIC, "metric", metric="aura_brightness")
    yield bad("a laboratory's metric", Reason.METRIC, "metric", metric="hba1c", unit="%")
    yield bad("wrong unit", Reason.UNIT, "unit", unit="mm[Hg]")
    yield bad("codes for numbers", Reason.CODE, "values", values={"codes": ["a"] * 5})
    yield bad("numbers for codes", Reason.CODE, "values", metric="sleep_stage", unit="1")
    yield bad("unknown code", Reason.CODE, "values", metric="sleep_stage", unit="1", values={"codes": ["astral"] * 5})
    yield bad("1970", Reason.TIME, "times", times={"at": old})
    yield bad("2085", Reason.FUTURE, "times", times={"at": far})
    yield bad("local without a zone", Reason.ZONE, "zone", clock="local")
    yield bad("a path for a zone", Reason.ZONE, "zone", clock="local", zone="../../etc/passwd")


def single_readings(world: World) -> Iterator[tuple[bytes, list[Bad]]]:
    """Messages in which some readings are bad and their neighbours land."""
    mixed = [60.5, np.nan, np.inf, 61.5, -np.inf]
    yield (
        encode("sensor-reading", content(world, "ann", values=mixed, record_ids=list("abcde"))),
        [Bad("not finite", None, Reason.NOT_FINITE, "values", readings=3, first=1)],
    )
    times = [world.began - DAY, NEW_YEAR_1970, world.began - DAY + 1, NEW_YEAR_2085, world.began - DAY + 2]
    yield (
        encode("sensor-reading", content(world, "ann", times={"at": times}, values=[65.5] * 5)),
        [
            Bad("in 2085", None, Reason.FUTURE, "times", readings=1, first=3),
            Bad("in 1970", None, Reason.TIME, "times", readings=1, first=1),
        ],
    )


LANDED_WITH_BAD_ONES = 2 + 3


@pytest.fixture(scope="module")
def world(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(
        tmp_path_factory.mktemp("hostile"), broker.bootstrap, partitions=1, partner={"max_message_bytes": 8 * MIB}
    )
    metrics = ("heart_rate", "acceleration", "sleep_stage", "steps_interval")
    made.consent(*(item for p in ("ann", "bad") for item in (made.link(p), made.grant(p, "sleep", metrics=metrics))))
    return made


def send(world: World, records: list[bytes | None], codec: int = ZSTD) -> int:
    """All in one record batch; the offset of the first."""
    rows: list[Record] = [(0, b"key", value, []) for value in records]
    return produce_batch(world.settings.kafka.bootstrap, world.topic, 0, batch(rows, codec))


def told(world: World, first: int, last: int) -> list[tuple[int, int | None, int, str, str]]:
    """What the partner reads of records first to last: offset, first reading, readings, reason, path."""
    found = [row for row in world.rejected() if first <= row["offset"] <= last]
    assert {(row["topic"], row["partition"]) for row in found} <= {(world.topic, 0)}
    entries = {entry.n for entry in world.entries("ingest")}
    assert all(row["entry"] in entries for row in found)
    names = ("offset", "first_reading", "readings", "reason", "path")
    return sorted(tuple(row[name] for name in names) for row in found)


@pytest.mark.parametrize("codec", [NONE, ZSTD], ids=["plain", "zstd"])
def test_each_kind_has_its_reason_while_its_neighbours_land(world: World, codec: int) -> None:
    """Every bad record has a good one before and after it, all in one batch."""
    landed = world.landed("sleep")
    numbers = count(1000 * codec)
    good = [next(numbers)]
    records: list[bytes | None] = [world.reading("ann", good)[1]]
    expected: list[tuple[int, int | None, int, str, str]] = []
    for bad in (*whole_records(world), *headers_and_shapes(world), *in_the_catalogues_terms(world)):
        expected.append((len(records), bad.first, bad.readings, str(bad.reason), bad.path))
        good.append(next(numbers))
        records += [bad.value, world.reading("ann", good[-1:])[1]]
    for value, bads in single_readings(world):
        expected += [(len(records), bad.first, bad.readings, str(bad.reason), bad.path) for bad in bads]
        records.append(value)
    begin = send(world, records, codec)
    (entry,) = (entry for entry in world.work() if entry.kind == "ingest")
    assert told(world, begin, begin + len(records)) == sorted((begin + offset, *rest) for offset, *rest in expected)
    new = world.landed("sleep") - landed
    assert {number: new[number] for number in new if number in range(good[0], good[0] + 1000)} == dict.fromkeys(good, 1)
    counts: Any = entry.counts
    if codec == NONE:
        assert counts["studies"]["sleep"]["landed"] == len(good) + LANDED_WITH_BAD_ONES
    reasons = Counter({reason: 0 for *_, reason, _ in expected})
    for _, _, readings, reason, _ in expected:
        reasons[reason] += readings or 1
    assert counts["rejected"] == dict(sorted(reasons.items()))
    world.assert_sound()


def test_every_reason_of_the_contract_is_provoked(world: World) -> None:
    """Those that are not here have their own tests below, or, as what ends a process, in `test_poison`."""
    kinds = (*whole_records(world), *headers_and_shapes(world), *in_the_catalogues_terms(world))
    provoked = {bad.reason for bad in kinds} | {bad.reason for _, bads in single_readings(world) for bad in bads}
    assert set(Reason) - provoked == {Reason.TOO_LARGE, Reason.CORRUPT, Reason.POISON}


def test_an_older_contract_is_no_fault(world: World) -> None:
    older = next(c for c in contracts().values() if c.name == "sensor-reading" and c is not latest("sensor-reading"))
    send(world, [encode("sensor-reading", content(world, "ann", values=[70.25] * 5), older)])
    (entry,) = (entry for entry in world.work() if entry.kind == "ingest")
    counts: Any = entry.counts
    assert counts["readings"]["rejected"] == 0 and counts["studies"]["sleep"]["landed"] == 5


def test_five_megabytes_in_one_message_land(world: World) -> None:
    values = np.random.default_rng(2).uniform(60, 100, 5 * MIB // 8)
    packed = {"dtype": "f8", "data": values.tobytes(), "scale": 1.0}
    times = {"start": world.began - 9 * DAY, "period": SECOND}
    good = world.reading("ann", [5_000])[1]
    send(world, [good, encode("sensor-reading", content(world, "ann", times=times, values=packed))], NONE)
    (entry,) = (entry for entry in world.work() if entry.kind == "ingest")
    counts: Any = entry.counts
    assert counts["studies"]["sleep"]["landed"] == len(values) + 1 and counts["rejected"] == {}


def over_the_record_limit() -> bytes:
    return MARKER + latest("sensor-reading").fingerprint + bytes(9 * MIB)


def test_a_record_over_the_limit_costs_itself_alone(world: World) -> None:
    neighbours = [world.reading("ann", [n])[1] for n in (6_000, 6_001)]
    begin = send(world, [neighbours[0], over_the_record_limit(), neighbours[1]], ZSTD)
    world.work()
    assert told(world, begin, begin + 2) == [(begin + 1, None, 0, "R_TOO_LARGE", "")]
    assert world.landed("sleep")[6_000] == world.landed("sleep")[6_001] == 1


@pytest.mark.parametrize("codec", PACKED, ids=["gzip", "snappy", "lz4", "zstd"])
def test_a_damaged_batch_does_not_pass_the_broker(world: World, codec: int) -> None:
    """It stamps each batch of our topics with its own time, and so looks inside."""
    damaged = rebuilt(batch([(0, b"key", bytes(200), [])] * 3), b"\x00\x01\x02" * 50, codec)
    with pytest.raises(KafkaError):
        produce_batch(world.settings.kafka.bootstrap, world.topic, 0, damaged)


# -- memory


def bomb(size: int) -> bytes:
    """A batch with one record of so many zeros."""
    head, tail = b"\0\0\0\1" + _long(size), b"\0"  # attributes, time, offset and no key before the value; no headers
    stream = zstandard.ZstdCompressor().compressobj()
    packed = stream.compress(_long(len(head) + size + len(tail)) + head)
    packed += b"".join(stream.compress(bytes(MIB)) for _ in range(size // MIB)) + stream.compress(tail) + stream.flush()
    return rebuilt(batch([(0, None, b"", [])]), packed, ZSTD)


def test_a_gigabyte_in_32_kilobytes_is_rejected_with_memory_flat(broker: Address, tmp_path: Path) -> None:
    """Two runs of the command, one before the bombs and one with them, by the peak of their memory."""
    world = make_world(tmp_path / "bombs", broker.bootstrap, partitions=1, partner={"max_message_bytes": 8 * MIB})
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(100)))
    plain = peak_of_a_run(world)
    small = bomb(1024 * MIB)
    assert len(small) < 36_000
    first = produce_batch(broker.bootstrap, world.topic, 0, small)
    world.publish(world.reading("ann", range(100, 200)))
    hostile = peak_of_a_run(world)
    assert told(world, first, first + 9) == [(first, None, 0, "R_TOO_LARGE", "")]
    assert world.landed("sleep") == once(range(200))
    assert hostile - plain < 100 * MIB, f"{plain / MIB:.0f} MB became {hostile / MIB:.0f} MB"


def peak_of_a_run(world: World) -> int:
    """The most resident memory, bytes, that `run --once` has had."""
    code = (
        "import resource, sys; from pipelines.cli import execute\n"
        "code = execute(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "sys.stdout.flush(); import os; os._exit(code)"
    )
    words = ["run", "--once", "--config", str(world.config)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert MARK not in done.stdout + done.stderr
    return int(done.stdout.split()[-1]) * 1024


def test_hostile_messages_leave_no_memory_behind(world: World) -> None:
    """The same bad batch again and again: the process does not grow with it."""
    records = [bad.value for bad in (*whole_records(world), *headers_and_shapes(world))]
    sizes = []
    for _ in range(3):
        send(world, [*records, over_the_record_limit()])
        world.work()
        sizes.append(psutil.Process().memory_info().rss)
    assert sizes[-1] - sizes[0] < 64 * MIB
