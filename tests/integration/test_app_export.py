"""An Apple Health export all the way: a file, the connector, Kafka, consent, the lake; and sent again, nothing more."""

import csv
import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from infra.local_kafka import Address
from tests.canaries import subject
from tests.samples import samples
from tests.worlds import World, make_world, outcomes

LONG_AGO = 1_262_304_000_000_000  # 2010-01-01T00:00:00Z
METRICS = ("steps_interval", "distance_walk_run", "heart_rate", "workout", "workout_duration")
PHONE = "Zaphod's telephone"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<HealthData locale="en_GB">\n<ExportDate value="2025-03-01 10:00:00 +0100"/>\n'
DEVICE = (
    "&lt;&lt;HKDevice: 0x1&gt;, name:Zaphod's watch, manufacturer:Apple Inc., "
    "model:Watch, hardware:Watch6,1, software:9.1&gt;"
)


@pytest.fixture
def world(broker: Address, tmp_path: Path) -> World:
    made = make_world(tmp_path, broker.bootstrap, partner={"contracts": ["sensor-reading", "app-export"]})
    made.consent(made.link("ann"), made.grant("ann", "sleep", metrics=METRICS, effective_at=LONG_AGO))
    return made


def connect(world: World, path: Path, *words: str) -> dict[str, object]:
    done = world.execute(
        *("connect", "apple-health", str(path), "--partner", world.partner, "--subject", subject("ann"), "--json"),
        *words,
    )
    said: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.returncode == (1 if said["partial"] else 0)
    return said


def record(kind: str, value: str, unit: str, at: str, **more: str) -> str:
    attributes = {"type": kind, "sourceName": PHONE, "unit": unit, "value": value, "device": DEVICE, **more}
    times = dict.fromkeys(("creationDate", "startDate", "endDate"), f"2025-02-0{at} +0100")
    return "<Record " + " ".join(f'{k}="{v}"' for k, v in {**times, **attributes}.items()) + "/>\n"


def export(folder: Path, *records: str, name: str = "export.xml", tail: str = "</HealthData>\n") -> Path:
    path = folder / name
    path.write_text(HEAD + "".join(records) + tail, encoding="utf-8")
    return path


def test_the_real_export_lands_as_its_tables_say(world: World) -> None:
    (path,) = samples("apple_health/export6s3sample.xml")
    said = connect(world, path)
    world.work()
    # The file's steps were taken in five seconds each, which nobody can: they wait for a steward.
    columns = 'metric, epoch_us(start) AS start_us, epoch_us("end") AS end_us, value'
    rows = [row for view in ("observation", "quarantine") for row in world.rows("sleep", columns, view)]
    for metric, table, factor in (
        ("steps_interval", "StepCount", 1.0),
        ("distance_walk_run", "DistanceWalkingRunning", 1000.0),
    ):
        wanted = list(csv.DictReader(path.with_name(f"{table}.csv").read_text(encoding="utf-8").splitlines()))
        times = [(_us(row["startDate"]), _us(row["endDate"])) for row in wanted]
        found = sorted((r["start_us"], r["end_us"], r["value"]) for r in rows if r["metric"] == metric)
        assert [row[:2] for row in found] == sorted(times)
        values = sorted((*when, float(row["value"]) * factor) for when, row in zip(times, wanted, strict=True))
        assert [row[2] for row in found] == pytest.approx([row[2] for row in values], rel=1e-12)
    assert said["records"] == said["published"] == 18
    world.assert_sound()


def _us(text: str) -> int:
    return round(datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").timestamp() * 1_000_000)


def test_sent_again_and_next_month_s_only_what_is_new_lands(world: World, tmp_path: Path) -> None:
    heart, steps = "HKQuantityTypeIdentifierHeartRate", "HKQuantityTypeIdentifierStepCount"
    first = [record(heart, "61", "count/min", "1 08:00:00"), record(steps, "20", "count", "1 08:01:00")]
    first.append(record("HKQuantityTypeIdentifierDreams", "3", "count", "1 08:02:00"))
    connect(world, export(tmp_path, *first))
    assert outcomes(world.work(), "sleep") == Counter(considered=2, landed=2)
    connect(world, export(tmp_path, *first))
    assert outcomes(world.work(), "sleep") == Counter(considered=2, duplicate=2)
    more = [*first, record(heart, "64", "count/min", "2 09:00:00")]
    said = connect(world, export(tmp_path, *more, name="later.xml", tail='<Record type="HKQuan'))
    assert said["partial"] is True and said["published"] == 4
    assert outcomes(world.work(), "sleep") == Counter(considered=3, duplicate=2, landed=1)
    assert {(r["reason"], r["path"]) for r in world.rejected()} == {
        ("R_METRIC", "records.HKQuantityTypeIdentifierDreams")
    }
    world.assert_sound()


def test_names_that_a_person_gave_reach_no_study(world: World, tmp_path: Path) -> None:
    connect(world, export(tmp_path, record("HKQuantityTypeIdentifierHeartRate", "61", "count/min", "1 08:00:00")))
    world.work()
    (row,) = world.rows("sleep")
    assert (row["device_model"], row["firmware"], row["time_quality"], row["offset_min"]) == (
        "Watch6,1",
        "9.1",
        "export_offset",
        60,
    )
    kept = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".xml" and "register" not in p.name]
    assert not [p for p in kept if b"Zaphod" in p.read_bytes()]


def test_an_export_of_an_unknown_person_waits_and_lands_with_the_link(broker: Address, tmp_path: Path) -> None:
    world = make_world(tmp_path, broker.bootstrap, partner={"contracts": ["app-export"]})
    heart, steps = "HKQuantityTypeIdentifierHeartRate", "HKQuantityTypeIdentifierStepCount"
    mixed = [
        record(heart, "61", "count/min", f"1 08:0{n}:00") + record(steps, "9", "count", f"1 08:0{n}:30")
        for n in range(5)
    ]
    connect(world, export(tmp_path, *mixed))
    (entry,) = [e for e in world.work() if e.kind == "ingest"]
    assert not world.rows("sleep") if world.entries("redrive") else entry.counts
    world.consent(
        world.link("ann"), world.grant("ann", "sleep", metrics=METRICS, effective_at=LONG_AGO, retro_from=LONG_AGO)
    )
    world.work()
    found = Counter(row["metric"] for row in world.rows("sleep"))
    assert found == {"heart_rate": 5, "steps_interval": 5}
    world.assert_sound()
