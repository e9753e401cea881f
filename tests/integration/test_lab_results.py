"""A laboratory's results all the way: a file, the connector, Kafka, consent, the lake; corrected, and taken back."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from pipelines.entries import now_us
from pipelines.views import sql
from schemas.barcodes import issue_many
from tests.canaries import subject
from tests.lab_messages import PID, message, obr, obx, spm
from tests.lakes import Crash
from tests.recount import counted, standing
from tests.worlds import DAY, World, make_world, outcomes

LONG_AGO = 1_262_304_000_000_000  # 2010-01-01T00:00:00Z
HBA1C = "4548-4^HbA1c^LN"
QUESTION = "44261-6^PHQ-9^LN"
METRICS = ("hba1c", "phq9_total")
CURRENT = "metric, value, code, comparator, status, revision"


@pytest.fixture
def world(broker: Address, tmp_path: Path) -> World:
    made = make_world(tmp_path, broker.bootstrap, partner={"contracts": ["lab-result"]})
    made.consent(made.link("ann"), made.grant("ann", "sleep", metrics=METRICS, effective_at=LONG_AGO))
    return made


def hba1c(value: str = "5.4", status: str = "F", number: int = 1, **fields: str) -> str:
    return obx(value, number=number, **{"f3": HBA1C, "f6": "%^^UCUM", "f11": status, **fields})


def current(world: World) -> list[dict[str, Any]]:
    """What holds now of the study's results."""
    found: list[dict[str, Any]] = sql(world.store, f"SELECT {CURRENT} FROM sleep_lab_result").to_pylist()
    return found


def connect(world: World, *messages: str, person: str = "ann") -> dict[str, Any]:
    path = world.folder / "results.hl7"
    path.write_text("".join(messages), newline="")
    done = world.execute(
        *("connect", "hl7v2", str(path), "--partner", world.partner, "--subject", subject(person), "--json")
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def results(*segments: str, number: int = 1, order: int = 1) -> str:
    return message(PID.format(n=number), obr(order), *segments, spm(), number=number)


def test_results_and_answers_land_in_their_families(world: World) -> None:
    limit = hba1c("<4.5", number=2, f4="2")
    answer = obx("12", number=3, f3=QUESTION, f6="{score}^^UCUM", f29="QST")
    assert connect(world, results(hba1c(), limit, answer))["published"] == 3
    world.work()
    rows = sorted(world.rows("sleep", "*", "lab_result"), key=lambda row: row["value"])
    assert [(row["metric"], row["value"], row["comparator"], row["value_sent"]) for row in rows] == [
        ("hba1c", 4.5, "less_than", "<4.5"),
        ("hba1c", 5.4, None, "5.4"),
    ]
    assert rows[0]["unit"] == "%" and rows[0]["status"] == "F" and rows[0]["code_sent"] == "4548-4"
    assert rows[0]["reference_range"] == "3.9-5.6" and rows[0]["abnormal_flags"] == ["N"]
    assert rows[0]["specimen_type"] == "119297000" and rows[0]["laboratory"] == "North Lab"
    assert str(rows[0]["start"]) == "2024-02-29 07:30:00+00:00" and rows[0]["time_from"] == "OBX-14"
    assert str(rows[0]["arrived"]) == "2024-03-01 08:00:00+00:00" and rows[0]["offset_min"] == 60
    (said,) = world.rows("sleep", "metric, value, modality", "answer")
    assert said == {"metric": "phq9_total", "value": 12.0, "modality": "self_reported"}
    world.assert_sound()


def test_a_correction_is_a_revision_and_the_same_file_again_adds_nothing(world: World) -> None:
    connect(world, results(hba1c(status="P")), results(hba1c(status="F")), results(hba1c("5.6", "C")))
    world.work()
    assert sorted(row["revision"] for row in world.rows("sleep", CURRENT, "lab_result")) == [0, 1, 2]
    (row,) = current(world)
    assert (row["value"], row["status"], row["revision"]) == (5.6, "C", 2)
    connect(world, results(hba1c(status="P")), results(hba1c(status="F")), results(hba1c("5.6", "C")))
    assert outcomes(world.work(), "sleep") == {"considered": 3, "duplicate": 3}
    world.assert_sound()


@pytest.mark.parametrize("status", ["D", "W"])
def test_what_was_entered_in_error_goes_to_quarantine(world: World, status: str) -> None:
    connect(world, results(hba1c(), hba1c("6.1", number=2, f4="2")), results(hba1c("7.7"), order=2))
    world.work()
    connect(world, results(hba1c("" if status == "D" else "5.4", status)))
    entries = world.work()
    assert [entry.kind for entry in entries] == ["ingest", "recall"]
    assert sorted(row["value"] for row in current(world)) == [6.1, 7.7]
    (gone,) = world.rows("sleep", "family, value, recalled", "quarantine")
    assert gone == {"family": "lab_result", "value": 5.4, "recalled": entries[-1].n}
    assert counted(world, "sleep") == standing(world, "sleep")
    connect(world, results(hba1c()))
    assert outcomes(world.work(), "sleep") == {"considered": 1, "duplicate": 1}, "what was taken back comes again"
    world.assert_sound()


@pytest.mark.parametrize("step", ["manifest", "append.checked", "append.done", "apply.table", "told"])
def test_what_is_taken_back_is_taken_back_once_wherever_the_driver_dies(world: World, step: str) -> None:
    connect(world, results(hba1c()))
    world.work()
    connect(world, results(hba1c("5.4", "W")))

    def die(at: str) -> None:
        if at == step:
            raise Crash

    with pytest.raises(Crash):
        world.work(on_step=die)
    world.work()
    assert len(world.entries("recall")) == 1 and current(world) == []
    assert [row["value"] for row in world.rows("sleep", "value", "quarantine")] == [5.4]
    assert list(world.store.list("_control/requests/")) == []
    world.assert_sound()


def test_a_replay_with_another_mapping_replaces_and_takes_back_again(world: World) -> None:
    coded = {"f3": "A1C^HbA1c^L", "f4": "2"}
    connect(world, results(hba1c(), hba1c("6.1", number=2, **coded)), results(hba1c("7.7"), order=2))
    connect(world, results(hba1c("", "D")))
    assert world.work()[0].counts["rejected"] == {"R_METRIC": 1}
    (world.folder / "laboratories").mkdir()
    mapping = "laboratory: North Lab\ncodes: [{code: A1C, metric: hba1c}]\n"
    (world.folder / "laboratories" / "north.yaml").write_text(mapping, encoding="utf-8")
    done = world.execute("run", "--replay", f"{world.partner}.lab-result.v1", "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(row["value"] for row in current(world)) == [6.1, 7.7]
    assert [row["value"] for row in world.rows("sleep", "value", "quarantine")] == [5.4]
    assert counted(world, "sleep") == standing(world, "sleep")
    world.assert_sound()


def test_results_are_compacted_like_everything_else(broker: Address, tmp_path: Path) -> None:
    world = make_world(tmp_path, broker.bootstrap, partner={"contracts": ["lab-result"]}, compact_files=2)
    world.consent(world.link("ann"), world.grant("ann", "sleep", metrics=METRICS, effective_at=LONG_AGO))
    for order, value in enumerate(("5.1", "<4.5", "5.3")):
        connect(world, results(hba1c(value, f2="ST"), order=order))
        world.work()
    assert world.entries("compact") != []
    found = world.rows("sleep", "value, comparator, abnormal_flags", "lab_result")
    assert sorted((row["value"], row["comparator"]) for row in found) == [(4.5, "less_than"), (5.1, None), (5.3, None)]
    assert all(row["abnormal_flags"] == ["N"] for row in found)
    world.assert_sound()


def test_what_nobody_understands_is_refused_by_name_and_its_neighbours_land(world: World) -> None:
    connect(
        world,
        results(
            hba1c(),
            obx(number=2, f3="99999-9^?^L"),
            hba1c("5", number=3, f6="furlong", f4="3"),
            obx("five", "ST", number=4, f3=HBA1C, f6="%"),
        ),
    )
    (entry,) = world.work()
    assert entry.counts["rejected"] == {"R_CODE": 1, "R_METRIC": 1, "R_UNIT": 1}
    assert {row["path"] for row in world.rejected()} == {"results.other", "results.hba1c.unit", "results.hba1c.value"}
    assert outcomes([entry], "sleep") == {"considered": 1, "landed": 1}
    world.assert_sound()


# -- kits


BARCODE = next(issue_many(1))
TAKEN, ARRIVED = "2024-02-29T08:30:00+01:00", "2024-03-01T09:00:00+01:00"


@pytest.fixture
def lab(broker: Address, tmp_path: Path) -> World:
    """Ann and Bob agree; nobody has activated a kit."""
    partner = {"contracts": ["lab-result", "kit-event"]}
    made = make_world(tmp_path, broker.bootstrap, studies=("sleep",), partner=partner)
    for person in ("ann", "bob"):
        made.consent(made.grant(person, "sleep", metrics=METRICS, effective_at=LONG_AGO))
    return made


def activates(world: World, person: str, barcode: str = BARCODE) -> None:
    link = world.link(person, f"{person} {barcode}")
    world.consent(link.model_copy(update={"partner": "kit", "subject": barcode, "from_us": None}))


def result_of_kit(world: World, barcode: str = BARCODE, order: int = 1) -> None:
    path = world.folder / "results.hl7"
    text = message(PID.format(n=1), obr(order), hba1c(), spm(barcode))
    path.write_text(text, newline="")
    done = world.execute("connect", "hl7v2", str(path), "--partner", world.partner, "--json")
    assert done.returncode == 0, done.stderr


def happened(world: World, *events: dict[str, Any], barcode: str = BARCODE) -> None:
    path = world.folder / "events.ndjson"
    path.write_text("".join(json.dumps({"barcode": barcode, **event}) + "\n" for event in events), encoding="utf-8")
    done = world.execute("kits", "publish", str(path), "--partner", world.partner, "--json")
    assert done.returncode == 0, done.stderr


def sums_of_checks_hold(world: World) -> None:
    assert counted(world, "sleep") == standing(world, "sleep")


def test_a_result_waits_for_its_kit_to_be_activated(lab: World) -> None:
    result_of_kit(lab)
    (entry,) = lab.work()
    assert entry.counts["held"] == {"H_KIT": 1}
    activates(lab, "ann")
    entries = lab.work()
    assert [entry.kind for entry in entries] == ["redrive"] and outcomes(entries, "sleep")["landed"] == 1
    lab.assert_sound()


def test_it_does_not_wait_for_longer_than_a_week(lab: World) -> None:
    result_of_kit(lab)
    lab.work()
    assert lab.work(clock=lambda: now_us() + 6 * DAY) == []
    (entry,) = lab.work(clock=lambda: now_us() + 8 * DAY)
    assert entry.holds is not None and entry.holds["expired"] == 1
    activates(lab, "ann")
    assert outcomes(lab.work(), "sleep")["landed"] == 0


def test_a_kit_that_two_people_have_activated_lands_for_nobody(lab: World) -> None:
    activates(lab, "ann")
    activates(lab, "bob")
    result_of_kit(lab)
    (entry,) = lab.work()
    assert entry.counts["held"] == {"H_ATTRIBUTION": 1} and entry.counts["studies"] == {}
    lab.assert_sound()


@pytest.mark.parametrize(
    ("events", "flag"),
    [
        (
            [
                {"event": "collected", "when": "2024-03-02T10:00:00+01:00"},
                {"event": "received", "when": ARRIVED, "laboratory": "north"},
            ],
            1 << 32,
        ),
        ([{"event": "packed", "when": "2023-12-01T10:00:00Z", "lot": "L1", "lot_expires": "2024-01-31"}], 1 << 34),
    ],
)
def test_a_misused_kit_waits_for_a_steward(lab: World, events: list[dict[str, Any]], flag: int) -> None:
    happened(lab, *events)
    activates(lab, "ann")
    result_of_kit(lab)
    lab.work()
    assert lab.rows("sleep", "*", "lab_result") == []
    (row,) = lab.rows("sleep", "family, flags", "quarantine")
    assert row == {"family": "lab_result", "flags": flag}
    sums_of_checks_hold(lab)
    lab.assert_sound()


def test_what_was_too_long_on_its_way_lands_with_a_flag(lab: World) -> None:
    studies = lab.folder / "studies.yaml"
    studies.write_text("studies: [{id: sleep, transit_limit_days: 1.5}]\n", encoding="utf-8")
    late, other = BARCODE, next(issue_many(1))
    for order, (barcode, arrived) in enumerate(((late, "2024-03-03T08:00:00+01:00"), (other, ARRIVED))):
        happened(
            lab,
            {"event": "collected", "when": TAKEN},
            {"event": "received", "when": arrived, "laboratory": "north"},
            barcode=barcode,
        )
        activates(lab, "ann", barcode)
        result_of_kit(lab, barcode, order)
    lab.work()
    found = lab.rows("sleep", "flags, date_diff('day', collected, arrived) AS days", "lab_result")
    assert sorted((row["flags"], row["days"]) for row in found) == [(0, 1), (1 << 41, 3)]
    sums_of_checks_hold(lab)
