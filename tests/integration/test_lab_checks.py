"""The checks of laboratories and kits on a real broker: a file and events in which each defect is planted once or twice."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from quality.checks import checks
from schemas.barcodes import issue_many
from tests.lab_messages import PID, message, obr, obx
from tests.recount import counted, standing
from tests.test_hl7v2_about import aside
from tests.worlds import World, make_world, outcomes

LONG_AGO = 1_262_304_000_000_000  # 2010-01-01T00:00:00Z
METRICS = ("potassium", "sodium", "magnesium", "hba1c")
TAKEN, ARRIVED, LATE = "20240229083000+0100", "20240229103000+0100", "20240229183000+0100"
MAPPING = """
laboratory: North Lab
limits:
  - {code: 19123-9, loq: 0.5}
  - {code: 2951-2, low: 100, high: 180}
haemolysis: {code: HIDX}
run: {code: RUN}
controls: {code: QC, passed: [PASS]}
"""
KITS = tuple(issue_many(15, random.Random(23).choice))
(
    CLEAN,
    DISORDER,
    UNTOLD,
    SPOILT,
    EXPIRED,
    REJECTED,
    BURST,
    INDEX,
    MILD,
    LITTLE,
    HIGH,
    DILUTED,
    FAILED,
    MISREAD,
    BOBS,
) = KITS


def potassium(value: str = "4.1") -> str:
    return obx(value, f3="2823-3^K^LN", f7="3.5-5.1")


def sodium(value: str = "140") -> str:
    return obx(value, number=2, f3="2951-2^Na^LN", f7="135-145")


def hba1c() -> str:
    return obx("5.4", number=3, f3="4548-4^HbA1c^LN", f6="%")


def magnesium(value: str, **fields: str) -> str:
    return obx(value, "ST" if value[0] == "<" else "NM", 4, f3="19123-9^Mg^LN", f6="mg/dL", **fields)


def specimen(barcode: str, received: str = ARRIVED, rejected: str = "", condition: str = "") -> str:
    fields = {2: barcode, 4: "119297000^Blood^SCT", 17: TAKEN, 18: received, 21: rejected, 24: condition}
    return "|".join(["SPM", *(fields.get(number, "") for number in range(1, 25))])


def report(barcode: str, *results: str, container: str = "", **of_specimen: str) -> str:
    """A message about one kit, of an order of its own."""
    segments = (obr(int(barcode[:9], 36)), container, *results, specimen(barcode, **of_specimen))
    return message(PID.format(n=1), *(one for one in segments if one))


QC_PASSED, RUN = aside("QC", "PASS"), aside("RUN", "run of a patient")
FILE = "".join(
    (
        report(CLEAN, potassium(), sodium(), hba1c(), QC_PASSED, RUN),
        report(BOBS, sodium("139"), QC_PASSED, RUN),
        report(DISORDER, hba1c()),
        report(UNTOLD, hba1c(), received=""),
        report(SPOILT, potassium(), sodium(), hba1c(), received=LATE),
        report(EXPIRED, hba1c()),
        report(REJECTED, hba1c(), rejected="ZZ^a patient^L"),
        report(BURST, potassium(), sodium(), condition="HEM^Hemolyzed^HL70493"),
        report(INDEX, potassium("6.8"), sodium(), aside("HIDX", "95", "NM")),
        report(MILD, potassium("4.4"), aside("HIDX", "85", "NM")),
        report(LITTLE, magnesium("0.3"), magnesium("<0.5", f4="2")),
        report(HIGH, sodium("190")),
        report(DILUTED, sodium("190"), container="|".join(["SAC", *[""] * 28, "^1^:^2"])),
        report(FAILED, potassium(), sodium(), aside("QC", "1-3s"), RUN),
        report(MISREAD[:-1] + ("7" if MISREAD[-1] != "7" else "8"), hba1c()),
    )
)
EVENTS: list[dict[str, Any]] = [
    {"barcode": DISORDER, "event": "posted", "when": "2024-02-29T11:00:00+01:00"},
    {"barcode": EXPIRED, "event": "packed", "when": "2023-12-01T10:00:00Z", "lot": "L1", "lot_expires": "2024-01-31"},
]
QUARANTINED = {
    ("LK-03", "hba1c"): 1,
    ("LK-04", "hba1c"): 1,
    ("LK-05", "potassium"): 1,
    ("LK-06", "hba1c"): 1,
    ("LK-08", "potassium"): 2,
    ("LK-09", "magnesium"): 1,
    ("LK-11", "potassium"): 1,
    ("LK-11", "sodium"): 1,
}
FLAGGED = {("LK-07", "hba1c"): 1, ("LK-10", "sodium"): 1}
ANSWERS = {
    "LK-03": (21, 1, 1),  # of one kit nobody knows when it arrived
    "LK-04": (22, 1, 0),
    "LK-05": (13, 1, 9),  # what keeps for ever, and what nobody knows when it arrived
    "LK-06": (21, 1, 1),
    "LK-07": (1, 1, 21),
    "LK-08": (3, 2, 19),  # of a specimen without a word on its condition it is not asked
    "LK-09": (2, 1, 20),
    "LK-10": (8, 1, 14),
    "LK-11": (6, 2, 16),
    "LK-16": (0, 0, 22),
}
"""How many results each check evaluated, how many failed, and of how many it was not asked."""


@pytest.fixture
def world(broker: Address, tmp_path: Path) -> World:
    partner = {"contracts": ["lab-result", "kit-event"]}
    made = make_world(tmp_path, broker.bootstrap, studies=("sleep",), partner=partner)
    for person in ("ann", "bob"):
        made.consent(made.grant(person, "sleep", metrics=METRICS, effective_at=LONG_AGO))
    for kit in (one for one in KITS if one != MISREAD):
        link = made.link("bob" if kit == BOBS else "ann", kit)
        made.consent(link.model_copy(update={"partner": "kit", "subject": kit, "from_us": None}))
    (made.folder / "laboratories").mkdir()
    (made.folder / "laboratories" / "north.yaml").write_text(MAPPING, encoding="utf-8")
    return made


def told(world: World, *words: str) -> dict[str, Any]:
    done = world.execute(*words, "--json")
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def sends(world: World, results: str = "", *events: dict[str, Any]) -> None:
    """The laboratory's file, and what happened to kits."""
    file, lines = world.folder / "results.hl7", world.folder / "events.ndjson"
    if events:
        lines.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
        told(world, "kits", "publish", str(lines), "--partner", world.partner)
    if results:
        file.write_text(results, newline="")
        laboratory = world.folder / "laboratories" / "north.yaml"
        told(world, "connect", "hl7v2", str(file), "--partner", world.partner, "--laboratory", str(laboratory))


def failed(rows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """How often each check failed, by metric."""
    return Counter(
        (check.id, row["metric"]) for row in rows for check in checks().values() if row["flags"] & check.mask
    )


def test_each_planted_defect_is_found_and_what_is_clean_lands(world: World) -> None:
    sends(world, FILE, *EVENTS)
    (entry,) = world.work()
    assert entry.counts["rejected"] == {"R_FIELD": 1}, "LK-01"
    assert [row["path"] for row in world.rejected()] == ["subject"]
    assert outcomes([entry], "sleep") == {"considered": 22, "quarantined": 9, "landed": 13}
    held = world.rows("sleep", "*", "quarantine")
    landed = world.rows("sleep", "*", "lab_result")
    assert failed(held) == QUARANTINED
    assert failed(landed) == FLAGGED
    assert counted(world, "sleep") == standing(world, "sleep")
    assert sums(world) == ANSWERS
    world.assert_sound()
    _a_steward_sees_why(held, landed)


def sums(world: World) -> dict[str, tuple[int, int, int]]:
    found: dict[str, list[int]] = {}
    for row in world.rows("sleep", '"check", n_eval, n_fail, n_na', "check_count"):
        total = found.setdefault(row["check"], [0, 0, 0])
        for place, name in enumerate(("n_eval", "n_fail", "n_na")):
            total[place] += row[name]
    return {check: (e, f, n) for check, (e, f, n) in found.items() if check.startswith("LK-")}


def _a_steward_sees_why(held: list[dict[str, Any]], landed: list[dict[str, Any]]) -> None:
    by_check = {check: row for row in held for check, _ in failed([row])}
    assert by_check["LK-03"]["custody_gap"] == "posted after received"
    assert by_check["LK-03"]["custody_back_us"] == 30 * 60 * 1_000_000
    assert by_check["LK-04"]["arrived"] is None and by_check["LK-04"]["collected"] is not None
    assert {row["specimen_condition"] for row in held if row["metric"] == "potassium"} >= {"haemolysed", None}
    assert by_check["LK-09"]["loq"] == 0.5 and by_check["LK-11"]["run_controls"] == "failed"
    (rejected,) = (row for row in landed if row["rejection"])
    assert (rejected["rejection"], rejected["rejected_for"]) == ("unknown", None)
    assert [row["dilution"] for row in landed if row["value"] == 190] in ([None, 2.0], [2.0, None])
    runs = {row["run"] for row in [*held, *landed] if row["run"]}
    assert len(runs) == 1 and "run of a patient" not in runs
    assert len({row["pseudonym"] for row in landed if row["run"]}) == 2, "one run, whoever was measured in it"


def test_what_nobody_knew_is_judged_again_once_an_event_says_it(world: World) -> None:
    sends(world, report(UNTOLD, hba1c(), received="") + report(CLEAN, hba1c()))
    assert outcomes(world.work(), "sleep") == {"considered": 2, "quarantined": 1, "landed": 1}
    arrived = {"barcode": UNTOLD, "event": "received", "when": "2024-02-29T10:00:00+01:00", "laboratory": "north"}
    sends(world, "", arrived)
    world.work()
    done = world.execute("run", "--replay", f"{world.partner}.lab-result.v1", "--json")
    assert done.returncode == 0, done.stderr
    assert world.rows("sleep", "*", "quarantine") == []
    assert [row["flags"] for row in world.rows("sleep", "flags", "lab_result")] == [0, 0]
    assert counted(world, "sleep") == standing(world, "sleep")
    world.assert_sound()
