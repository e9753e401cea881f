"""Real input: the partner guide's worked examples carry real files all the way, and the lake says what the files say.

The expected figures are read here from the files once more, by other means than the adapters'.
"""

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from connectors.gateway import run_gateway
from connectors.publisher import Publisher
from infra.local_kafka import Address
from tests.canaries import MARK, subject
from tests.parquet_pages import found_in
from tests.samples import adapted, samples
from tests.worlds import World, make_world, outcomes

MADRID, UTC = ZoneInfo("Europe/Madrid"), ZoneInfo("UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JAN_2018 = 1_514_764_800_000_000
METRICS = ("heart_rate", "steps_interval", "acceleration")
G = 9.80665  # m/s2, by definition


@pytest.fixture(scope="module")
def world(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> World:
    """One partner, whose people live in Madrid, and one person in one study since 2018."""
    made = make_world(tmp_path_factory.mktemp("real"), broker.bootstrap, partner={"assumed_zone": "Europe/Madrid"})
    made.consent(made.link("ann"), made.grant("ann", "sleep", metrics=METRICS, effective_at=JAN_2018))
    return made


def brought(world: World, example: str, files: list[Path]) -> tuple[int, Counter[str]]:
    """The files through their adapter, the gateway, Kafka and a run: readings published, and the study's outcomes."""
    return carried(world, adapted(example, *files))


def carried(world: World, lines: bytes) -> tuple[int, Counter[str]]:
    """Lines of sensor-json through the gateway, Kafka and a run."""
    with Publisher(world.settings.kafka, world.topic) as publisher:
        result = run_gateway(io.BytesIO(lines), publisher, subject=subject("ann"))
    assert result.problems == {} and not result.partial
    return result.published, outcomes(world.work(), "sleep")


def table(files: Iterable[Path]) -> list[dict[str, str]]:
    return [row for file in files for row in csv.DictReader(gzip.open(file, "rt", encoding="utf-8"))]


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def landed(world: World, metric: str) -> list[dict[str, Any]]:
    columns = 'epoch_us(start) AS start_us, epoch_us("end") AS end_us, value, unit, offset_min, time_quality, flags'
    return [row for row in world.rows("sleep", f"metric, {columns}") if row["metric"] == metric]


def by_day(pairs: Iterable[tuple[int, float]]) -> dict[str, float]:
    """Sums of values by the civil day in Madrid on which their moments lie."""
    sums: Counter[str] = Counter()
    for us, value in pairs:
        day = (EPOCH + timedelta(microseconds=us)).astimezone(MADRID).date().isoformat()
        sums[day] += value  # type: ignore[assignment]
    return dict(sums)


def test_a_day_of_heart_rate(world: World) -> None:
    files = samples("polar/*.json")
    expected = []
    for day in (json.loads(file.read_text("utf-8")) for file in files):
        for sample in day["heart_rate_samples"]:
            wall = datetime.strptime(f"{day['date']} {sample['sample_time']}", "%Y-%m-%d %H:%M:%S")
            if sample["heart_rate"]:
                expected.append((micros(wall.replace(tzinfo=MADRID)), float(sample["heart_rate"])))
    published, found = brought(world, "polar_heart_rate.py", files)
    rows = landed(world, "heart_rate")
    assert published == len(expected) == found["landed"] + found["duplicate"]
    assert sorted((row["start_us"], row["value"]) for row in rows) == sorted(set(expected))
    assert by_day((row["start_us"], row["value"]) for row in rows) == by_day(set(expected))
    offsets = {(EPOCH + timedelta(microseconds=us)).astimezone(MADRID).utcoffset() for us, _ in expected}
    assert {timedelta(minutes=row["offset_min"]) for row in rows} == offsets
    assert {(row["unit"], row["time_quality"]) for row in rows} == {("/min", "zone_assumed")}


def test_a_zero_that_an_adapter_lets_through_is_no_reading_of_the_study(world: World) -> None:
    """Polar writes 0 where the sensor lost contact; the worked example leaves it out, another might not."""
    line = {"metric": "heart_rate", "unit": "/min", "source": "Polar AccessLink", "zone": "Europe/Madrid"}
    lines = [{**line, "time": f"2025-07-01T00:00:0{n}", "value": value} for n, value in enumerate((61, 0, 62))]
    before = len(landed(world, "heart_rate"))
    found = carried(world, "".join(json.dumps(line) + "\n" for line in lines).encode())[1]
    assert (found["landed"], found["quarantined"]) == (2, 1)
    assert [row["value"] for row in landed(world, "heart_rate")[before:] if row["value"] == 0] == []
    assert [row["value"] for row in world.rows("sleep", "value", "quarantine")].count(0) == 1


def test_a_users_steps(world: World) -> None:
    rows = table(samples("radar_base/*/android_phone_step_count/*.csv.gz"))
    expected = Counter((int(Decimal(row["value.time"]) * 1_000_000), float(row["value.steps"])) for row in rows)
    published, found = brought(world, "radar_base_steps.py", samples("radar_base/*/android_phone_step_count/*.csv.gz"))
    assert published == len(rows) == found["landed"] + found["duplicate"] + found["quarantined"]
    own = landed(world, "steps_interval")
    assert Counter((row["end_us"], row["value"]) for row in own) == expected
    assert by_day((row["end_us"], row["value"]) for row in own) == by_day(expected.elements())
    assert all(row["start_us"] <= row["end_us"] for row in own)


def test_an_hour_of_acceleration(world: World) -> None:
    """About 50 samples a second, many of which share a time stamp: all are there, in the order of the file."""
    files = samples("radar_base/*/android_phone_acceleration/*.csv.gz")
    rows = table(files)
    times = np.array([int(Decimal(row["value.time"]) * 1_000_000) for row in rows])
    values = np.array([[float(row[f"value.{axis}"]) for axis in "xyz"] for row in rows])
    assert len(np.unique(times)) < len(times)
    published, found = brought(world, "radar_base_acceleration.py", files)
    assert published == len(rows)
    columns = 'epoch_us(start) AS start_us, samples, channels, "values", times_us, unit'
    blocks = sorted(world.rows("sleep", columns, "waveform"), key=lambda block: block["start_us"])
    assert found["landed"] == len(blocks)
    assert {(tuple(block["channels"]), block["unit"]) for block in blocks} == {(("x", "y", "z"), "m/s2")}
    assert sum(block["samples"] for block in blocks) == len(rows)
    sent = np.concatenate([block["start_us"] + np.array(block["times_us"]) for block in blocks])
    kept = np.concatenate([np.array(block["values"]).reshape(-1, 3) for block in blocks])
    np.testing.assert_array_equal(sent, times)
    np.testing.assert_allclose(kept, values * G, rtol=1e-12)


def test_the_same_files_again_add_nothing(world: World) -> None:
    """The steps and the heart rate are known by their content, a signal's block by its minute."""
    before = (world.rows("sleep", "count(*) AS n"), world.rows("sleep", "count(*) AS n", "waveform"))
    for example, pattern in (
        ("polar_heart_rate.py", "polar/*.json"),
        ("radar_base_steps.py", "radar_base/*/android_phone_step_count/*.csv.gz"),
        ("radar_base_acceleration.py", "radar_base/*/android_phone_acceleration/*.csv.gz"),
    ):
        _, found = brought(world, example, samples(pattern))
        assert set(found) == {"considered", "duplicate"}
    assert (world.rows("sleep", "count(*) AS n"), world.rows("sleep", "count(*) AS n", "waveform")) == before
    world.assert_sound()


def test_the_files_own_names_for_people_and_devices_stay_outside(world: World) -> None:
    user = samples("radar_base/*")[0].name
    devices = {row["key.sourceId"] for row in table(samples("radar_base/*/android_phone_step_count/*.csv.gz"))}
    names = {name: name.encode() for name in (user, *devices, MARK)}
    for path in world.settings.lake.rglob("*.parquet"):
        assert found_in(path, names) == [] and not any(name in str(path) for name in names)
    for path in world.settings.lake.rglob("*.json"):
        assert not any(name in path.read_bytes() for name in names.values())
