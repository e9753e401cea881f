"""App exports in the pipeline: a record's own value and its parts become readings of the catalogue's metrics."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectors import formats
from connectors.app_export import publish_export
from connectors.formats import Format, format_named, register
from connectors.kafka import KafkaRefused
from connectors.receipt import Receipt
from pipelines.blocks import Block
from pipelines.decode import Pointer, decode_block
from pipelines.normalise import normalise
from pipelines.selection import select
from pipelines.zones import QUALITIES
from schemas.contracts import encode
from schemas.reasons import Reason
from schemas.registry import Partner
from schemas.source_records import CLOCK, source_schema
from tests.messages import records

START = 1_700_000_000_000_000
MINUTE = 60_000_000
TOPIC = "acme.app-export.v1"
APPLE = format_named("apple-health")
assert APPLE is not None


class Sink:
    """Keeps what it is sent; from the `fails_at`th flush on fails, or says nothing where it `hangs`."""

    def __init__(self, fails_at: int = 99, hangs: bool = False) -> None:
        self.sent: list[bytes] = []
        self.keys: set[bytes] = set()
        self.failed = self.in_flight = 0
        self.refusals: list[str] = []
        self._left, self._hangs = fails_at, hangs

    def send(self, key: bytes, value: bytes) -> None:
        self.keys.add(key)
        self.sent.append(value)

    def flush(self) -> "Sink":
        self._left -= 1
        self.failed, self.in_flight = int(self._left < 0 and not self._hangs), int(self._left < 0 and self._hangs)
        return self


def source(kind: str, value: str | None = "72", unit: str | None = "count/min", **changes: Any) -> dict[str, Any]:
    made = {
        "type": kind,
        "start": START,
        "end": START,
        "offset_min": 60,
        "value": value,
        "unit": unit,
        "modality": "sensed",
        "source_name": "Ann's phone",
        "parts": [],
        "offset_of": "export",
        "metadata": [],
    }
    return {**made, **changes}


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [{n: row.get(n) for n in APPLE.schema.names} for row in rows], schema=APPLE.schema
    )


def messages(*rows: dict[str, Any], **options: Any) -> list[bytes]:
    sink = Sink()
    publish_export(APPLE, [batch(*rows)], "ann", Receipt(APPLE.name), sink, **options)
    return sink.sent


def decoded(*values: bytes) -> tuple[Block | None, list[Pointer]]:
    received = np.full(len(values), START + 40 * MINUTE)
    return decode_block(records(*values), TOPIC, 0, received)


def readings(*rows: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Pointer]]:
    """What lands of these records, in their order, and what is rejected."""
    block, rejected = decoded(*messages(*rows))
    assert block is not None and not rejected
    blocks, pointers = normalise(block, Partner(name="acme"))
    found = []
    for one in blocks:
        shared = one.messages.to_pylist()
        found += [{**shared[row["message"]], **row} for row in one.readings.to_pylist()]
    return sorted(found, key=lambda row: row["index"]), pointers


def test_a_fraction_is_a_percentage_once_and_units_are_the_catalogue_s() -> None:
    found, rejected = readings(
        source("HKQuantityTypeIdentifierOxygenSaturation", "0.97", "%"),
        source("HKQuantityTypeIdentifierBloodGlucose", "5.5", "mmol<180.1558800000541>/L"),
        source("HKQuantityTypeIdentifierStepCount", "12", "count"),
        source("HKQuantityTypeIdentifierActiveEnergyBurned", "100", "kJ", end=START + MINUTE),
    )
    assert not rejected
    assert [(row["metric"], row["unit"], row["unit_sent"]) for row in found] == [
        ("spo2", "%", "%"),
        ("glucose_meter", "mg/dL", "mmol<180.1558800000541>/L"),
        ("steps_interval", "{steps}", "count"),
        ("active_energy", "kcal", "kJ"),
    ]
    assert [row["value"] for row in found] == pytest.approx([97, 5.5 * 18.01559, 12, 100 / 4.184], rel=1e-4)


def test_codes_of_a_source_become_the_metric_s() -> None:
    kind, code = "HKCategoryTypeIdentifierSleepAnalysis", "HKCategoryValueSleepAnalysisAsleep"
    found, rejected = readings(
        source(kind, f"{code}Deep", None), source(kind, f"{code}REM", None), source(kind, f"{code}Hibernating", None)
    )
    assert [row["code"] for row in found] == ["deep", "rem"]
    assert [(p.first_reading, p.readings, p.reason) for p in rejected] == [(2, 1, Reason.CODE)]


def test_the_parts_of_a_record_are_readings_beside_its_own() -> None:
    parts = [
        {"type": "duration", "value": "30", "unit": "min", "start": None, "end": None},
        {"type": "totalDistance", "value": "5", "unit": "km", "start": None, "end": None},
        {
            "type": "InstantaneousBeatsPerMinute",
            "value": "70",
            "unit": "count/min",
            "start": START + 5,
            "end": START + 5,
        },
    ]
    run = source("HKWorkoutActivityTypeRunning", None, None, end=START + 30 * MINUTE, parts=parts)
    found, rejected = readings(run, source("HKQuantityTypeIdentifierHeartRate"))
    assert not rejected
    assert [(row["index"], row["metric"], row.get("code")) for row in found] == [
        (0, "workout", "running"),
        (1, "workout_duration", None),
        (2, "workout_distance", None),
        (3, "heart_rate", None),
        (4, "heart_rate", None),
    ]
    assert [row["start"] for row in found] == [START] * 3 + [START + 5, START]
    assert [row["value"] for row in found[1:]] == [30, 5000, 70, 72]


def test_a_kind_that_nobody_knows_is_rejected_and_counted_by_its_name() -> None:
    ring = {"type": "appleStandHours", "value": "9", "unit": None, "start": None, "end": None}
    found, rejected = readings(
        source("HKQuantityTypeIdentifierFlightsDreamed"),
        source("HKQuantityTypeIdentifierHeartRate"),
        source("HKQuantityTypeIdentifierFlightsDreamed"),
        source("a secret of Ann's"),
        source("ActivitySummary", None, None, parts=[ring]),
    )
    assert [row["index"] for row in found] == [1]
    assert {(p.path, p.first_reading, p.readings, p.reason) for p in rejected} == {
        ("records.HKQuantityTypeIdentifierFlightsDreamed", 0, 2, Reason.METRIC),
        ("records.other", 3, 1, Reason.METRIC),
        ("records.appleStandHours", 5, 1, Reason.METRIC),
    }


def test_what_is_no_number_no_unit_and_no_time_costs_that_reading_only() -> None:
    kind = "HKQuantityTypeIdentifierHeartRate"
    found, rejected = readings(
        source(kind, "0x10"),
        source(kind, None),
        source(kind, "1e999"),
        source(kind, "71"),
        source(kind, unit="furlong"),
        source(kind, start=START, end=START - 1),
        source(kind, start=START + 60 * MINUTE, end=START + 46 * MINUTE),
        source(kind, start=-3_000_000_000_000_000, end=START),
    )
    assert [row["value"] for row in found] == [71]
    assert sorted((p.first_reading, p.reason) for p in rejected if p.readings == 1) == [
        (4, Reason.UNIT),
        (5, Reason.INTERVAL),
        (6, Reason.FUTURE),
        (7, Reason.TIME),
    ]
    assert [(p.first_reading, p.readings) for p in rejected if p.reason == Reason.NOT_FINITE] == [(0, 3)]


@pytest.mark.parametrize("text", ["1e0001", "1E-9999", "inf", "nan", "+", "0x10"])
@pytest.mark.parametrize("beside", ["71", "7.1e1", "lots"])
def test_whether_a_text_is_a_number_does_not_depend_on_its_neighbours(text: str, beside: str) -> None:
    kind = "HKQuantityTypeIdentifierHeartRate"
    found, pointers = readings(source(kind, text), source(kind, beside))
    assert [row["value"] for row in found] == ([] if beside == "lots" else [71.0])
    assert {pointer.reason for pointer in pointers} == {Reason.NOT_FINITE}


def test_an_export_may_be_old_where_a_live_device_may_not() -> None:
    old = 1_200_000_000_000_000
    found, rejected = readings(source("HKQuantityTypeIdentifierHeartRate", start=old, end=old))
    assert len(found) == 1 and not rejected


def test_the_metadata_s_zone_goes_before_the_exporting_phone_s_offset() -> None:
    kind = "HKQuantityTypeIdentifierHeartRate"
    found, _ = readings(
        source(kind),
        source(kind, zone="America/New_York"),
        source(kind, zone="Mars/Olympus"),
        source(kind, offset_of="record", offset_min=-480),
    )
    assert [(row["offset_min"], QUALITIES[row["quality"]]) for row in found] == [
        (60, "export_offset"),
        (-300, "zone_metadata"),
        (60, "export_offset"),
        (-480, "offset_given"),
    ]


def test_a_record_of_two_kinds_of_sources_keeps_both_apart() -> None:
    kind = "HKQuantityTypeIdentifierStepCount"
    found, _ = readings(
        source(kind, "5", "count"), source(kind, "5", "count", source_name="Ann's watch", device_model="Watch6,1")
    )
    assert [(row["source_name"], row["device_model"]) for row in found] == [
        ("Ann's phone", None),
        ("Ann's watch", "Watch6,1"),
    ]
    assert found[0]["sent"] != found[1]["sent"]


def test_what_a_reading_is_does_not_depend_on_the_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import exports
    from schemas.export_mappings import export_mapping

    rows = [
        source("HKQuantityTypeIdentifierHeartRate"),
        source("HKCategoryTypeIdentifierSleepAnalysis", "HKCategoryValueSleepAnalysisAsleepDeep", None),
    ]
    before, _ = readings(*rows)
    assert APPLE.mapping is not None
    real = export_mapping(APPLE.mapping)
    heart = real.types["HKQuantityTypeIdentifierHeartRate"].model_copy(update={"metric": "resting_heart_rate"})
    sleep = real.types["HKCategoryTypeIdentifierSleepAnalysis"]
    codes = {**sleep.codes, "HKCategoryValueSleepAnalysisAsleepDeep": "rem"}
    changed = {
        "HKQuantityTypeIdentifierHeartRate": heart,
        "HKCategoryTypeIdentifierSleepAnalysis": sleep.model_copy(update={"codes": codes}),
    }
    monkeypatch.setattr(exports, "export_mapping", lambda _: real.model_copy(update={"types": changed}))
    after, _ = readings(*rows)
    assert [row["metric"] for row in after] == ["resting_heart_rate", "sleep_stage"] and after[1]["code"] == "rem"
    assert [row["sent"] for row in after] == [row["sent"] for row in before]


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"format": "no-such-format"}, Reason.FIELD, "format"),
        ({"format_version": 99}, Reason.FIELD, "format_version"),
        ({"subject": ""}, Reason.FIELD, "subject"),
        ({"part": -1}, Reason.FIELD, "part"),
        ({"records": b"no stream"}, Reason.TRUNCATED, "records"),
    ],
)
def test_a_message_that_is_no_export_is_rejected_whole(changes: dict[str, Any], reason: Reason, path: str) -> None:
    from connectors.app_export import CONTRACT
    from schemas.contracts import decode

    (good,) = messages(source("HKQuantityTypeIdentifierHeartRate"))
    bad = encode(CONTRACT, {**decode(good, CONTRACT), **changes})
    block, rejected = decoded(bad, good)
    assert [(p.offset, p.reason, p.path) for p in rejected] == [(100, reason, path)]
    assert block is not None and block.messages.num_rows == 1


def test_a_text_that_is_too_long_and_an_export_of_nothing_are_rejected_whole() -> None:
    long = messages(source("HKQuantityTypeIdentifierHeartRate", source_name="x" * 201))
    empty = messages(source("ActivitySummary", None, None))
    block, rejected = decoded(*long, *empty)
    assert block is None
    assert [(p.reason, p.path) for p in rejected] == [(Reason.FIELD, "source.name"), (Reason.NO_READINGS, "records")]


def test_a_large_batch_goes_in_pieces_that_hold_it_all_and_a_huge_record_is_named() -> None:
    rows = [
        source("HKQuantityTypeIdentifierHeartRate", str(60 + n % 50), start=START + n, end=START + n)
        for n in range(500)
    ]
    rows[250]["parts"] = [{"type": "x" * 100, "value": "1", "unit": None, "start": None, "end": None}] * 400
    sink, receipt = Sink(), Receipt("apple-health")
    publish_export(APPLE, [batch(*rows)], "ann", receipt, sink, most_bytes=20_000)
    assert all(len(value) < 20_200 for value in sink.sent) and sink.keys == {b"ann"}
    block, rejected = decoded(*sink.sent)
    assert block is not None and not rejected
    assert sum(block.messages.column("readings").to_pylist()) == 499
    assert (receipt.records, receipt.published, receipt.problems) == (500, 499, {"R_TOO_LARGE": 1})


@pytest.mark.parametrize("hangs", [False, True])
def test_what_is_not_confirmed_is_not_counted_as_published(hangs: bool) -> None:
    rows = [source("HKQuantityTypeIdentifierHeartRate") for _ in range(3)]
    sink, receipt = Sink(fails_at=1, hangs=hangs), Receipt("apple-health")
    publish_export(APPLE, [batch(*rows), batch(*rows), batch(*rows)], "ann", receipt, sink)
    assert (receipt.published, receipt.problems) == (3, {"R_UNACKNOWLEDGED": 3})
    assert receipt.partial and len(sink.sent) == 2


def test_a_refusal_is_told_in_the_broker_s_words_and_nothing_counts_as_published() -> None:
    rows = [source("HKQuantityTypeIdentifierHeartRate") for _ in range(3)]
    sink, receipt = Sink(fails_at=0), Receipt("apple-health")
    sink.refusals = ["acme.app-export.v1: user acme may not write to this topic"]
    with pytest.raises(KafkaRefused, match="user acme may not write"):
        publish_export(APPLE, [batch(*rows)], "ann", receipt, sink)
    assert (receipt.published, receipt.problems) == (0, {"R_UNACKNOWLEDGED": 3})


def test_a_hold_s_readings_are_found_again_among_those_of_other_kinds() -> None:
    rows = [source("HKQuantityTypeIdentifierHeartRate"), source("HKQuantityTypeIdentifierStepCount", "5", "count")] * 3
    block, _ = decoded(*messages(*rows))
    assert block is not None
    blocks, pointers = normalise(block, Partner(name="acme"))

    class Planned:
        topic, partition = TOPIC, 0
        selected = [type("Chosen", (), {"offset": 100, "runs": ((1, 3),)})]

    plan: Any = type("Plan", (), {"ranges": [Planned]})
    kept, skipped = select(blocks, pointers, plan)
    assert sorted(i for one in kept for i in one.readings.column("index").to_pylist()) == [1, 2, 3] and skipped == 3


# -- the wall clock's times


def weighings(assumed: str | None, *rows: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Pointer]]:
    """What becomes of records of a format with a column CLOCK, for a partner with this zone."""
    sink, schema = Sink(), source_schema(CLOCK)
    local = register(Format("wall", "wall", 1, "app-export", schema, APPLE.read, lambda *_: False, APPLE.mapping))
    whole = [
        {name: {**source(BODY, "71", "kg", offset_min=None), **row}.get(name) for name in schema.names} for row in rows
    ]
    publish_export(local, [pa.RecordBatch.from_pylist(whole, schema=schema)], "ann", Receipt("wall"), sink)
    block, rejected = decoded(*sink.sent)
    assert block is not None and not rejected
    blocks, pointers = normalise(block, Partner(name="acme", assumed_zone=assumed))
    return [
        {**one.messages.to_pylist()[row["message"]], **row} for one in blocks for row in one.readings.to_pylist()
    ], pointers


BODY = "HKQuantityTypeIdentifierBodyMass"


@pytest.fixture
def _registry_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_registered", dict(formats._registered))


@pytest.mark.parametrize(
    ("row", "shift_min", "quality"),
    [
        ({"clock": "local"}, -60, "zone_assumed"),
        ({"clock": "local", "zone": "Asia/Tokyo"}, -540, "zone_metadata"),
        ({"clock": "local", "offset_min": 300}, -300, "offset_given"),
        ({"clock": "utc", "offset_min": -300}, 0, "offset_given"),
    ],
)
@pytest.mark.usefixtures("_registry_as_before")
def test_a_wall_clock_s_time_is_placed_by_what_is_known_of_its_zone(
    row: dict[str, Any], shift_min: int, quality: str
) -> None:
    (found,), rejected = weighings("Europe/Madrid", row)
    assert not rejected
    assert found["start"] == found["end"] == START + shift_min * MINUTE
    assert QUALITIES[found["quality"]] == quality


@pytest.mark.usefixtures("_registry_as_before")
def test_a_wall_clock_s_time_of_no_known_zone_is_rejected() -> None:
    found, rejected = weighings(None, {"clock": "local"})
    assert not found
    assert [(one.readings, one.reason) for one in rejected] == [(1, Reason.ZONE)]
