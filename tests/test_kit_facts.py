"""What kits' own events say of results: times, lots, reasons, and whether everything came in order."""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from connectors.lab_results import CONTRACT
from pipelines.consent.register import Register
from pipelines.consent.snapshot import Snapshot, Snapshots
from pipelines.kits import with_kit_facts
from pipelines.normalise import normalise
from quality.checks import checks
from quality.gate import Gate
from schemas.barcodes import issue
from schemas.contracts import encode
from tests.messages import normalised, sensor
from tests.test_kits import NOW, news, told
from tests.test_pipeline_lab_results import LAB, block_of

HOUR = 3_600_000_000
_RANDOM = random.Random(11)
KIT, OTHER = (issue(_RANDOM.choice) for _ in range(2))
WAY = ("packed", "sent", "collected", "posted", "received", "resulted")


@pytest.fixture
def snapshots(register: Register, tmp_path: Path) -> Snapshots:
    return Snapshots(register, tmp_path / "snapshots", {}, ("hba1c",))


def moment(hours: float, precision: str = "minute") -> dict[str, Any]:
    return {"at": NOW + round(hours * HOUR), "offset_min": 60, "precision": precision}


def report(subject: str = KIT, kind: str = "kit", results: int = 1, **specimen: Any) -> bytes:
    one = {"code": {"code": "4548-4"}, "value": {"written": "5", "number": 5.0}, "unit": {"code": "%"}, "status": "F"}
    said = {"subject": subject, "subject_kind": kind, "laboratory": "North Lab", "order": {"id": "o"}}
    several = [{**one, "sub_id": str(number), "observed": moment(1)} for number in range(results)]
    return encode(CONTRACT, {**said, "specimen": specimen, "results": several})


def facts(snapshot: Snapshot, *reports: bytes) -> list[dict[str, Any]]:
    (block,), pointers = normalise(block_of(list(reports), received=NOW + 999 * HOUR), LAB)
    assert not pointers
    rows: list[dict[str, Any]] = with_kit_facts(block, snapshot).readings.to_pylist()
    return rows


def disorder(row: dict[str, Any]) -> tuple[str | None, float | None]:
    """The two events that are furthest out of order, and by how many hours."""
    back = row["custody_back_us"]
    return row["custody_gap"], None if back is None else back / HOUR


def test_a_kits_events_in_order(register: Register, snapshots: Snapshots) -> None:
    told(register, *(news(kind, hour, KIT) for hour, kind in enumerate(WAY, 1)), news("activated", 2.5, KIT))
    (row,) = facts(snapshots.refresh().open(), report())
    assert disorder(row) == (None, -0.5)
    assert (row["collected"], row["arrived"]) == (NOW + 3 * HOUR, NOW + 5 * HOUR)
    assert not [name for name in row if name.endswith("_exact")]


@pytest.mark.parametrize(("first", "then"), list(pairwise(WAY)) + [("packed", "resulted"), ("sent", "received")])
def test_each_two_events_in_the_wrong_order(register: Register, snapshots: Snapshots, first: str, then: str) -> None:
    told(register, news(first, 7, KIT), news(then, 4, KIT))
    (row,) = facts(snapshots.refresh().open(), report())
    assert disorder(row) == (f"{first} after {then}", 3)


def test_of_several_the_two_that_are_furthest_out_of_order(register: Register, snapshots: Snapshots) -> None:
    told(register, *(news(kind, hour, KIT) for kind, hour in (("packed", 9), ("sent", 8), ("collected", 2))))
    assert disorder(facts(snapshots.refresh().open(), report())[0]) == ("packed after collected", 7)


@pytest.mark.parametrize(("hour", "found"), [(0.5, ("sent after activated", 1.5)), (2, (None, 0)), (99, (None, -1))])
def test_a_kit_may_be_activated_at_any_time_after_it_was_sent(
    register: Register, snapshots: Snapshots, hour: float, found: tuple[str | None, float]
) -> None:
    told(register, news("packed", 1, KIT), news("sent", 2, KIT), news("received", 9, KIT), news("activated", hour, KIT))
    assert disorder(facts(snapshots.refresh().open(), report())[0]) == found


@pytest.mark.parametrize(
    ("specimen", "found"),
    [
        ({"collected": moment(9), "received": moment(5)}, ("collected after received", 4)),
        ({"collected": moment(5), "received": moment(9)}, (None, -4)),
        ({"collected": moment(9), "received": moment(0, "day")}, (None, None)),
        ({"collected": moment(9, "hour"), "received": moment(5)}, (None, None)),
        ({"collected": moment(9)}, (None, None)),
        ({}, (None, None)),
    ],
    ids=["wrong", "right", "a date", "an hour", "one", "none"],
)
@pytest.mark.parametrize(("subject", "kind"), [(KIT, "kit"), ("mrn-17", "person")])
def test_without_events_the_laboratorys_own_times_are_put_in_order(
    snapshots: Snapshots, subject: str, kind: str, specimen: dict[str, Any], found: tuple[str | None, float | None]
) -> None:
    (row,) = facts(snapshots.refresh().open(), report(subject, kind, **specimen))
    assert disorder(row) == found
    assert row["collected"] == (specimen["collected"]["at"] if "collected" in specimen else None)


def test_an_event_goes_before_the_laboratorys_time_and_stands_beside_it(
    register: Register, snapshots: Snapshots
) -> None:
    told(register, news("collected", 3, KIT), news("posted", 6, KIT))
    (row,) = facts(snapshots.refresh().open(), report(collected=moment(9), received=moment(5)))
    assert disorder(row) == ("posted after received", 1)
    assert (row["collected"], row["arrived"]) == (NOW + 3 * HOUR, NOW + 5 * HOUR)


def test_a_rejected_kit_says_why_before_the_laboratory_does(register: Register, snapshots: Snapshots) -> None:
    told(register, news("rejected", 3, KIT, reason="leaked"), news("rejected", 3, OTHER, reason="other"))
    own: dict[str, Any] = {"rejected": [{"code": "RM"}]}
    rows = facts(snapshots.refresh().open(), report(**own), report(OTHER, **own), report("KIT3", **own), report("KIT4"))
    assert [(row["rejection"], row["rejected_for"]) for row in rows] == [
        ("final", "leaked"),
        ("unknown", None),
        ("recoverable", "mislabelled"),
        (None, None),
    ]


def test_each_result_gets_its_own_kits_facts_and_a_person_none(register: Register, snapshots: Snapshots) -> None:
    told(register, news("collected", 3, KIT), news("collected", 4, OTHER), news("packed", 1, OTHER, lot_expires=20_000))
    sent = report(KIT, results=2), report("mrn-17", "person"), report(OTHER.lower())
    rows = facts(snapshots.refresh().open(), *sent)
    assert [row["collected"] and (row["collected"] - NOW) // HOUR for row in rows] == [3, 3, None, 4]
    assert [row["lot_expires"] is None for row in rows] == [True, True, True, False]


def test_what_is_no_laboratorys_is_left_as_it_is(snapshots: Snapshots) -> None:
    (block,), _ = normalised(sensor())
    assert with_kit_facts(block, snapshots.refresh().open()) is block


@pytest.mark.parametrize(
    ("precision", "hours", "fails"),
    [("minute", 73, True), ("day", 73, False), ("day", 24 + 73, True), ("minute", 72, False)],
)
def test_of_a_date_it_is_taken_that_it_was_the_end_of_the_day(
    snapshots: Snapshots, precision: str, hours: int, fails: bool
) -> None:
    said = report("mrn-17", "person", collected=moment(1, precision), received=moment(1 + hours))
    (block,), _ = normalise(block_of([said], received=NOW + 999 * HOUR), LAB)
    block = with_kit_facts(block, snapshots.refresh().open())
    (flags,) = Gate().flags(block.messages, block.readings, block.meta["family"])
    assert bool(flags & checks()["LK-05"].mask) is fails
