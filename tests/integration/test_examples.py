"""The partner guide's worked examples, on the real files: what comes out equals an independent reading of them."""

import csv
import gzip
import io
import json
import struct
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.problems import Problem
from connectors.sensor_json import messages, read_lines
from schemas.contracts import decode
from schemas.series import Series, series
from tests.samples import adapted, samples

DAY_US = 86_400_000_000


def published(content: bytes) -> list[tuple[dict[str, Any], Series]]:
    """The messages that sensor-json lines become, as the pipeline decodes them."""
    problems: list[Problem] = []
    found = list(messages(read_lines(io.BytesIO(content), problems.append, "p1")))
    assert problems == []
    decoded = [decode(message.payload, "sensor-reading") for message in found]
    return [(message, series(message)) for message in decoded]


def rows(files: list[Path]) -> list[dict[str, str]]:
    return [row for file in files for row in csv.DictReader(gzip.decompress(file.read_bytes()).decode().splitlines())]


def micros(row: dict[str, str]) -> int:
    """RADAR-base's time by decimal arithmetic, where the adapter and the connector use floats."""
    return int(Decimal(row["value.time"]) * 1_000_000)


def readings(found: list[tuple[dict[str, Any], Series]]) -> Iterator[tuple[int, int, float]]:
    """Start, end and value of each reading of a metric with one number a reading."""
    for _, held in found:
        assert held.values is not None
        ends = held.start if held.end is None else held.end
        yield from zip(held.start.tolist(), ends.tolist(), held.values.tolist(), strict=True)


def per_day(times_and_values: Iterator[tuple[int, float]]) -> dict[int, float]:
    """Sums by day, in UTC, counted from the epoch."""
    sums: Counter[int] = Counter()
    for us, value in times_and_values:
        sums[us // DAY_US] += value  # type: ignore[assignment]
    return dict(sums)


@pytest.mark.parametrize("zone", [None, "Europe/Madrid"])
def test_polar_heart_rate(zone: str | None) -> None:
    files = samples("polar/*.json")
    days = [json.loads(file.read_bytes()) for file in files]
    expected = [
        (
            int(datetime.fromisoformat(f"{day['date']} {s['sample_time']}+00:00").timestamp()) * 1_000_000,
            s["heart_rate"],
        )
        for day in days
        for s in day["heart_rate_samples"]
        if s["heart_rate"] > 0
    ]
    content = adapted("polar_heart_rate.py", *files, *([] if zone is None else ["--zone", zone]))
    lines = [json.loads(line) for line in content.splitlines()]
    assert [line["value"] for line in lines] == [value for _, value in expected]
    found = published(content)
    assert {(m["clock"], m["zone"], m["offset_min"], m["unit"]) for m, _ in found} == {("local", zone, None, "/min")}
    assert [(start, value) for start, _, value in readings(found)] == expected


def test_polar_writes_0_where_there_is_no_reading(tmp_path: Path) -> None:
    samples = [{"heart_rate": rate, "sample_time": f"00:00:0{second}"} for second, rate in enumerate((61, 0, 62))]
    day = tmp_path / "day.json"
    day.write_text(json.dumps({"date": "2025-06-30", "heart_rate_samples": samples}))
    lines = [json.loads(line) for line in adapted("polar_heart_rate.py", day).splitlines()]
    assert [line["value"] for line in lines] == [61, 62]


def test_radar_base_steps() -> None:
    files = samples("radar_base/*/android_phone_step_count/*.csv.gz")
    expected = [(micros(row), int(row["value.steps"])) for row in rows(files)]
    content = adapted("radar_base_steps.py", *files)
    assert sum(json.loads(line)["value"] for line in content.splitlines()) == sum(steps for _, steps in expected)
    found = published(content)
    ends = sorted((end, value) for _, end, value in readings(found))
    assert ends == sorted(expected)
    of_the_files = per_day(iter(expected))
    assert per_day((end, value) for _, end, value in readings(found)) == of_the_files
    assert per_day((start, value) for start, _, value in readings(found)) == of_the_files


def test_radar_base_steps_are_counted_since_the_record_before() -> None:
    file = samples("radar_base/*/android_phone_step_count/*.csv.gz")[0]
    ends = [micros(row) for row in rows([file])]
    hour = ends[0] // 3_600_000_000 * 3_600_000_000
    found = published(adapted("radar_base_steps.py", file))
    assert [(start, end) for start, end, _ in readings(found)] == list(zip([hour, *ends], ends, strict=False))


def test_radar_base_acceleration() -> None:
    files = samples("radar_base/*/android_phone_acceleration/*.csv.gz")
    source = rows(files)
    content = adapted("radar_base_acceleration.py", *files)
    assert len(content.splitlines()) == len(source)
    found = published(content)
    assert {(m["unit"], tuple(m["channels"])) for m, _ in found} == {("[g]", ("x", "y", "z"))}
    assert all(len(held) <= 3600 and held.start.max() - held.start.min() < 60_000_000 for _, held in found)
    times = [us for _, held in found for us in held.start.tolist()]
    assert times == [micros(row) for row in source]
    assert len(set(times)) < len(times), "the samples that share a time stamp are what this is about"
    values = b"".join(held.values.astype("<f8").tobytes() for _, held in found if held.values is not None)
    assert values == b"".join(struct.pack("<3d", *(float(row[f"value.{axis}"]) for axis in "xyz")) for row in source)
