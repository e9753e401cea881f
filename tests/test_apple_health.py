"""Apple Health: every record of an export becomes a source record as written, or is told with its line; names stay put."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from connectors.apple_health import FORMAT
from connectors.apple_health_batches import SCHEMA
from connectors.formats import FileRefused, NotRead, Partial, Problem
from connectors.receipt import Receipt
from schemas.reasons import Reason
from tests.apple_exports import (
    BROKEN_DTD,
    CONTROL,
    DTD,
    END,
    HEART,
    HRV,
    PERSONS_DEVICE,
    PERSONS_PHONE,
    RUNNING,
    SLEEP,
    START,
    STEPS,
    SYSTOLIC,
    beats,
    correlation,
    element,
    export_with_faults,
    export_zip,
    faults,
    metadata,
    plain,
    record,
    shuffled,
    summary,
    workout,
    xml,
)
from tests.samples import samples

BEGAN, ENDED = (datetime(2021, 6, 30, 6, minute, tzinfo=UTC) for minute in (15, 16))


def read(content: bytes) -> tuple[list[dict[str, Any]], Receipt]:
    """The source records of an export, and its receipt; each batch is what its schema says."""
    receipt, rows = Receipt(FORMAT.name), []
    for batch in receipt.batches(FORMAT.read(io.BytesIO(content), "export.xml")):
        assert batch.schema.equals(SCHEMA)
        batch.validate(full=True)
        assert [field.name for field in SCHEMA if not field.nullable and batch.column(field.name).null_count] == []
        found = batch.to_pylist()
        assert not any(part["type"] is None for row in found for part in row["parts"])
        receipt.add(batch)
        rows += found
    assert receipt.records == len(rows) + receipt.problems.total()
    return rows, receipt


def read_one(*elements: str, **options: Any) -> dict[str, Any]:
    rows, receipt = read(xml(*elements, **options))
    assert not receipt.problems
    (row,) = rows
    return row


def facts(row: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    return [(part["type"], part["value"], part["unit"]) for part in row["parts"]]


# -- records


def test_a_record_is_carried_as_written() -> None:
    assert read_one(record(HEART, "61.50")) == {
        "type": HEART,
        "start": BEGAN,
        "end": ENDED,
        "offset_min": 120,
        "zone": None,
        "value": "61.50",
        "unit": "count/min",
        "modality": "sensed",
        "source_name": PERSONS_PHONE,
        "device_model": "Watch6,2",
        "firmware": "8.5.1",
        "app": None,
        "app_version": "15.1",
        "record_id": None,
        "parts": [],
        "manufacturer": "Apple Inc.",
        "offset_of": "export",
        "metadata": [],
    }


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("%", "0.97"),
        ("Cal", "3"),
        ("kJ", "12,5"),
        ("mmol<180.1558800000541>/L", "5.4"),
        ("mL/min·kg", "47.3"),
        (None, None),
    ],
)
def test_units_and_values_of_every_locale_stay_as_they_are(unit: str | None, value: str | None) -> None:
    row = read_one(record("HKQuantityTypeIdentifierOxygenSaturation", value, unit=unit))
    assert (row["unit"], row["value"]) == (unit, value)


def test_sleep_stages_stay_codes_over_their_intervals() -> None:
    row = read_one(record(SLEEP, "HKCategoryValueSleepAnalysisAsleepCore", unit=None, device=None))
    assert (row["value"], row["start"], row["end"]) == ("HKCategoryValueSleepAnalysisAsleepCore", BEGAN, ENDED)
    assert (row["device_model"], row["firmware"], row["manufacturer"]) == (None, None, None)


def test_types_that_nobody_knows_are_carried_too() -> None:
    assert read_one(record("HKQuantityTypeIdentifierOfAYearToCome"))["type"] == "HKQuantityTypeIdentifierOfAYearToCome"


def test_records_of_a_correlation_are_those_of_the_top_level() -> None:
    inside = record(SYSTOLIC, "121", unit="mmHg"), metadata("HKWasUserEntered", "1")
    rows, receipt = read(xml(inside[0], correlation(*inside), record(HEART)))
    assert [(row["type"], row["modality"]) for row in rows] == [(SYSTOLIC, "sensed"), (HEART, "sensed")]
    assert receipt.beside == [NotRead("Correlation", "1 in the XML; the records in it stand by themselves too")]


def test_elements_that_are_no_records_are_told_by_apples_names_only() -> None:
    odd = element("JaneDoe"), element("Audiogram", element("SensitivityPoint")), element("ClinicalRecord")
    rows, receipt = read(xml(*odd, element("Wrapper", record()), element("ClinicalRecord"), record()))
    assert len(rows) == 1
    assert {one.what: one.place for one in receipt.beside} == {
        "Audiogram": "1 in the XML",
        "ClinicalRecord": "2 in the XML",
        "other elements": "2 in the XML",
    }


def test_the_order_is_the_files_and_batches_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.apple_health_xml.BATCH_ROWS", 7)
    monkeypatch.setattr("connectors.apple_health.PIECE_BYTES", 999)
    inside = [metadata("HKTimeZone", "Asia/Tokyo"), metadata("HKLapLength", "25 m"), beats("8:15:01.00", "8:15:02.00")]
    elements = [record(HRV, str(n), *inside) if n % 3 else summary(f"2021-06-{n % 28 + 1:02}") for n in range(100)]
    content = xml(*elements)
    batches = [one for one in FORMAT.read(io.BytesIO(content), "") if isinstance(one, pa.RecordBatch)]
    assert len(batches) > 10
    rows = [row for batch in batches for row in batch.to_pylist()]
    for n, row in enumerate(rows):
        if n % 3:
            assert (row["value"], row["zone"], len(row["parts"])) == (str(n), "Asia/Tokyo", 2)
            assert row["metadata"] == [{"key": "HKLapLength", "value": "25 m"}]
        else:
            assert (row["type"], row["start"].astimezone(ZoneInfo("Europe/Madrid")).day) == (
                "ActivitySummary",
                n % 28 + 1,
            )
    assert len(rows) == 100


# -- what lies in a record


def test_a_workout_with_attributes_has_its_figures_as_parts() -> None:
    row = read_one(
        workout(duration="31.7", durationUnit="min", totalDistance="5.2", totalDistanceUnit="mi", totalEnergyBurned="0")
    )
    assert (row["type"], row["value"], row["unit"]) == (RUNNING, None, None)
    assert facts(row) == [("duration", "31.7", "min"), ("totalDistance", "5.2", "mi"), ("totalEnergyBurned", "0", None)]


def test_a_workout_with_statistics_has_each_figure_as_a_part() -> None:
    distance, heart = "HKQuantityTypeIdentifierDistanceWalkingRunning", HEART
    own, other = {"startDate": START, "endDate": END}, {"startDate": START, "endDate": "2021-06-30 08:15:30 +0200"}
    row = read_one(
        workout(
            element("WorkoutStatistics", type=distance, sum="5.2", unit="km", **own),
            element(
                "WorkoutStatistics", type=heart, average="140", minimum="90", maximum="171", unit="count/min", **other
            ),
            element("WorkoutActivity", element("WorkoutStatistics", type=distance, sum="5.2", unit="km", **own)),
            element("WorkoutEvent", type="HKWorkoutEventTypePause", date="2021-06-30 08:15:20 +0200"),
            element("WorkoutRoute", element("FileReference", path="/workout-routes/x.gpx")),
        )
    )
    assert facts(row) == [
        (f"{distance}/sum", "5.2", "km"),
        (f"{heart}/average", "140", "count/min"),
        (f"{heart}/minimum", "90", "count/min"),
        (f"{heart}/maximum", "171", "count/min"),
        ("HKWorkoutEventTypePause", None, None),
    ]
    assert [(part["start"], part["end"]) for part in row["parts"]] == [
        (None, None),
        *[(BEGAN, BEGAN.replace(second=30))] * 3,
        (BEGAN.replace(second=20), BEGAN.replace(second=20)),
    ]


def test_a_days_summary_is_about_the_day_of_the_exporting_phone() -> None:
    row = read_one(summary("2021-06-30", appleExerciseTime="31", appleExerciseTimeGoal="30"))
    assert (row["type"], row["source_name"], row["modality"]) == ("ActivitySummary", "Apple Health", "derived")
    assert (row["start"], row["end"]) == (datetime(2021, 6, 29, 22, tzinfo=UTC), datetime(2021, 6, 30, 22, tzinfo=UTC))
    assert facts(row) == [
        ("activeEnergyBurned", "412.5", "kcal"),
        ("appleExerciseTime", "31", None),
        ("appleStandHours", "11", None),
        ("activeEnergyBurnedGoal", "500", "kcal"),
        ("appleExerciseTimeGoal", "30", None),
    ]


def test_a_days_summary_without_the_exports_date_cannot_be_placed() -> None:
    rows, receipt = read(xml(summary(), record(), exported=None))
    assert [row["type"] for row in rows] == [HEART]
    assert receipt.problems == {Reason.ZONE: 1}


def test_beats_have_the_day_of_their_record() -> None:
    row = read_one(record(HRV, "49.4", beats("8:15:01.50", "8:15:59.99"), unit="ms"))
    assert facts(row) == [
        ("InstantaneousBeatsPerMinute", "60", "count/min"),
        ("InstantaneousBeatsPerMinute", "61", "count/min"),
    ]
    assert [part["start"] for part in row["parts"]] == [
        BEGAN.replace(second=1, microsecond=500_000),
        BEGAN.replace(second=59, microsecond=990_000),
    ]
    assert all(part["end"] == part["start"] for part in row["parts"])


# -- where and how


def test_the_records_own_zone_goes_before_the_exporting_phones_offset() -> None:
    row = read_one(record(HEART, "61", metadata("HKTimeZone", "Asia/Tokyo")))
    assert (row["zone"], row["offset_min"], row["offset_of"], row["start"]) == ("Asia/Tokyo", 540, "record", BEGAN)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "localtime", "x" * 500_000])
def test_a_zone_that_is_none_leaves_the_exporting_phones_offset(name: str) -> None:
    rows, receipt = read(xml(record(HEART, "61", metadata("HKTimeZone", name))))
    if len(name) > 200:
        assert receipt.problems == {Reason.TOO_LARGE: 1}
    else:
        assert [(row["zone"], row["offset_min"], row["offset_of"]) for row in rows] == [(None, 120, "export")]


@pytest.mark.parametrize(("said", "modality"), [("1", "self_reported"), ("0", "sensed"), ("true", "self_reported")])
def test_what_somebody_typed_in_is_self_reported(said: str, modality: str) -> None:
    assert read_one(record(HEART, "61", metadata("HKWasUserEntered", said)))["modality"] == modality


def test_metadata_goes_on_only_where_it_is_harmless() -> None:
    row = read_one(
        record(
            HEART,
            "61",
            metadata("HKMetadataKeyHeartRateMotionContext", "2"),
            metadata("Withings User Identifier", "12345"),
            metadata("HKMetadataKeySyncIdentifier", "5F1A"),
            metadata("HKWeatherTemperature", "56 degF"),
        )
    )
    assert row["metadata"] == [{"key": "HKMetadataKeyHeartRateMotionContext", "value": "2"}]


# -- faults


def test_the_receipt_finds_exactly_the_planted_faults() -> None:
    planted = faults()
    elements = shuffled([*plain(200), *(fault.element for fault in planted.values())])
    content = xml(*elements)
    found = list(FORMAT.read(io.BytesIO(content), ""))
    problems = [one for one in found if isinstance(one, Problem)]
    expected = Counter((str(fault.reason), fault.type) for fault in planted.values())
    assert Counter((str(one.reason), one.type) for one in problems) == expected
    rows, receipt = read(content)
    assert len(rows) == 200
    assert receipt.records == 200 + len(planted)
    assert receipt.partial is None
    text = content.decode()
    lines = {text[: text.index(fault.element)].count("\n") + 1 for fault in planted.values()}
    assert {one.place for one in problems} == {f"line {line}" for line in lines}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pack", [lambda content: content, export_zip], ids=["xml", "zip"])
def test_a_generated_file_s_receipt_has_each_planted_fault_and_no_other(
    seed: int, pack: Callable[[bytes], bytes]
) -> None:
    content, expected = export_with_faults(seed)
    _, receipt = read(pack(content))
    assert receipt.problems == expected.problems
    assert {*expected.problems} == {Reason.FIELD, Reason.ZONE, Reason.INTERVAL, Reason.TOO_LARGE}
    assert receipt.by_type == expected.published
    assert receipt.partial is None
    counted = {one.what: int(one.place.split()[0]) for one in receipt.beside if "in the XML" in one.place}
    assert counted == expected.beside


@pytest.mark.parametrize("name", faults())
def test_each_fault_costs_its_record_only(name: str) -> None:
    fault = faults()[name]
    rows, receipt = read(xml(record(HEART, "1"), fault.element, record(HEART, "2")))
    assert [row["value"] for row in rows] == ["1", "2"]
    assert receipt.problems == {fault.reason: 1}


def test_control_bytes_are_blanks_and_are_counted() -> None:
    content = xml(record(STEPS, "7"), record(HEART, "61"), dtd="").replace(b"Quibble", f"Quib{CONTROL}ble".encode())
    rows, receipt = read(content)
    assert [row["source_name"] for row in rows] == [PERSONS_PHONE.replace("Quibble", "Quib   ble")] * 2
    (told,) = receipt.beside
    assert told.place == "12 in the XML, the first in line 5"


@pytest.mark.parametrize(
    "dtd", ["", DTD, BROKEN_DTD, DTD.replace("\n", "\r\n")], ids=["none", "whole", "iOS 16", "CRLF"]
)
def test_the_document_type_is_nothing_to_stumble_over(dtd: str) -> None:
    rows, receipt = read(xml(record(), faults()["no start"].element, dtd=dtd))
    assert len(rows) == 1
    assert receipt.listed[0].place == f"line {6 + dtd.count(chr(10))}"


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert len(read(b"\xef\xbb\xbf" + xml(record()))[0]) == 1


def test_a_file_in_which_nothing_happened_has_no_records() -> None:
    rows, receipt = read(xml())
    assert (rows, receipt.records, receipt.partial) == ([], 0, None)


# -- files that break off


def test_a_file_cut_anywhere_yields_the_records_before_the_cut_and_names_the_place() -> None:
    inside = metadata("HKTimeZone", "Asia/Tokyo")
    elements = [record(HEART, str(n), *([inside] if n % 2 else []), device=None) for n in range(3)]
    content = xml(*elements, dtd="")
    ends = [content.index(one.encode()) + len(one.encode()) for one in elements]
    for cut in range(content.index(b"<HealthData") + 30, len(content) - 1, 7):
        rows, receipt = read(content[:cut])
        whole = sum(end <= cut for end in ends)
        assert [row["value"] for row in rows] == [str(n) for n in range(whole)], cut
        assert all(row["zone"] == ("Asia/Tokyo" if n % 2 else None) for n, row in enumerate(rows))
        assert receipt.partial is not None
        assert not receipt.problems
        assert "cut short" in receipt.partial.why
        place = re.fullmatch(r"line (\d+), byte (\d+) of the XML", receipt.partial.place)
        assert place is not None
        assert int(place[2]) <= cut
        assert int(place[1]) == content[: int(place[2])].count(b"\n") + 1


def test_xml_that_breaks_in_the_middle_is_read_to_there() -> None:
    content = xml(record(HEART, "1"), ' <Record type="<<<"/>', record(HEART, "2"), dtd="")
    rows, receipt = read(content)
    assert [row["value"] for row in rows] == ["1"]
    assert receipt.partial is not None
    assert receipt.partial.place.startswith("line 6, ")
    assert receipt.partial.why == "it is no XML there: not well-formed (invalid token)"


def test_nothing_follows_where_a_file_broke_off() -> None:
    content = xml(correlation(record()), faults()["no end"].element, *plain(10))[:-30]
    found = list(FORMAT.read(io.BytesIO(content), ""))
    assert isinstance(found[-1], Partial)
    assert sum(isinstance(one, Partial) for one in found) == 1
    assert {type(one) for one in found[:-1]} == {pa.RecordBatch, Problem, NotRead}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"   \n", "empty"),
        (b"%PDF-1.7 ...", "no Apple Health export"),
        (b'<?xml version="1.0"?><gpx/>', "no Apple Health export"),
        (b'<?xml version="1.0"?><ClinicalDocument/>', "export_cda.xml"),
        (xml().decode().encode("utf-16"), "UTF-16"),
        (xml()[:120], "no Apple Health export"),
        (b"<!-- <HealthData > --><Other/>", "root is not HealthData"),
    ],
)
def test_what_is_no_export_is_refused_with_words(content: bytes, words: str) -> None:
    with pytest.raises(FileRefused, match=words):
        list(FORMAT.read(io.BytesIO(content), ""))


# -- names


def test_a_persons_words_stay_in_the_field_that_needs_them() -> None:
    content = xml(
        record(HRV, "1", beats("8:15:01.00"), metadata("HKWasUserEntered", "1")),
        *(fault.element for fault in faults().values()),
        correlation(record()),
    )
    rows, receipt = read(content[:-20])
    assert [row.pop("source_name") for row in rows] == [PERSONS_PHONE]
    told = json.dumps([rows, receipt.as_json(), *receipt.lines("published")], default=str, ensure_ascii=False)
    assert "0x282a45810" not in told
    for name in (PERSONS_PHONE, PERSONS_DEVICE, "Quibble", "SERIAL", "1971"):
        assert name not in told


# -- real files


def sample(name: str) -> bytes:
    (path,) = samples(f"apple_health/{name}")
    return path.read_bytes()


def expected(kind: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sample(f"{kind}.csv").decode())))


def utc(written: str) -> datetime:
    return datetime.strptime(written, "%Y-%m-%d %H:%M:%S %z")


def test_a_real_export_has_the_figures_of_the_tables_beside_it() -> None:
    rows, receipt = read(sample("export6s3sample.xml"))
    assert (receipt.records, receipt.published, receipt.partial) == (18, 18, None)
    for kind in ("StepCount", "DistanceWalkingRunning"):
        found = [row for row in rows if row["type"].endswith(kind)]
        assert [
            (r["sourceName"], r["unit"], r["value"], utc(r["startDate"]), utc(r["endDate"])) for r in expected(kind)
        ] == [(r["source_name"], r["unit"], r["value"], r["start"], r["end"]) for r in found]
        assert {row["offset_min"] for row in found} == {60}
    for row, day in zip((r for r in rows if r["type"] == "ActivitySummary"), expected("ActivitySummary"), strict=True):
        assert row["start"].astimezone(ZoneInfo("Etc/GMT-1")).date().isoformat() == day["dateComponents"]
        unit = day["activeEnergyBurnedUnit"]
        names = [name for name in day if name not in ("dateComponents", "activeEnergyBurnedUnit")]
        assert {(name, day[name], unit if "Energy" in name else None) for name in names} == set(facts(row))
    (workout_row,) = (row for row in rows if "Workout" in row["type"])
    (told,) = expected("Workout")
    assert (workout_row["type"], workout_row["app_version"]) == (told["workoutActivityType"], told["sourceVersion"])
    assert (workout_row["start"], workout_row["end"]) == (utc(told["startDate"]), utc(told["endDate"]))
    figures = ("duration", "totalDistance", "totalEnergyBurned")
    assert facts(workout_row) == [(name, told[name], told[f"{name}Unit"]) for name in figures]


def test_another_real_export_with_a_route_inside() -> None:
    rows, receipt = read(sample("dogsheep_export.xml"))
    assert receipt.as_json()["by_type"] == {
        "ActivitySummary": 2,
        "HKQuantityTypeIdentifierBodyMassIndex": 1,
        "HKQuantityTypeIdentifierHeartRate": 1,
        "HKWorkoutActivityTypeRunning": 1,
    }
    assert receipt.beside == [NotRead("WorkoutRoute", "1 in the XML")]
    run = next(row for row in rows if row["type"] == RUNNING)
    assert (run["zone"], run["offset_min"], run["offset_of"]) == ("America/Los_Angeles", -480, "record")
    text = json.dumps(rows, default=str, ensure_ascii=False)
    assert not any(private in text for private in ("12345", "Simon", "37.77", "1990"))
