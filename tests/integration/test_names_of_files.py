"""Names that a file holds – a phone's, a patient's, a next of kin's, a performer's – and where they may lie.

In no topic beyond the field that needs them, and in no file of the lake or the vault, no log, no receipt.
"""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.app_export import read_export
from infra.local_kafka import Address
from schemas.arrow_stream import to_stream
from schemas.contracts import decode
from tests.apple_exports import (
    HEART,
    PERSONS_DEVICE,
    PERSONS_PHONE,
    SLEEP,
    STEPS,
    export_zip,
    faults,
    metadata,
    record,
    workout,
    xml,
)
from tests.canaries import MARK, subject
from tests.lab_messages import NAMES, file_with_faults, message, obr, obx, spm
from tests.parquet_pages import found_in
from tests.worlds import World, make_world, on_topic

LONG_AGO = 1_262_304_000_000_000  # 2010-01-01T00:00:00Z
TYPED = "Zaphod"  # what somebody typed where a number, a unit or a code belongs
PHONE = {"a phone's name": PERSONS_PHONE, "its owner's": "Quibble"}
NOWHERE = {"a watch's name": PERSONS_DEVICE, "its number": "SERIAL-4711", "its address": "0x282a45810"}
NOWHERE |= {"a birthday": "1971-02-03", "who entered it": "HKWasUserEntered"}
FINE = ((HEART, "count/min"), (STEPS, "count"))
EXPORT = export_zip(
    xml(
        *(record(kind, "61", metadata("HKWasUserEntered", "1"), unit=unit) for kind, unit in FINE),
        record(HEART, TYPED),
        record(HEART, unit=TYPED),
        record(SLEEP, TYPED, unit=None),
        record("HKQuantityTypeIdentifierDreams", "3", unit="count"),
        workout(sourceName=PERSONS_PHONE),
        *(fault.element for fault in faults().values()),
    )
)


def columns_with(batch: pa.RecordBatch, text: str) -> set[str]:
    """The columns of a batch that hold a text, however it is nested."""
    return {name for name in batch.schema.names if text in json.dumps(batch.column(name).to_pylist(), default=str)}


def files_with(folder: Path, names: dict[str, str]) -> list[tuple[str, str]]:
    """Which of the names lie in which files below a folder, those of Parquet unpacked."""
    secrets, found = {name: text.encode() for name, text in names.items()}, []
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        content = path.read_bytes()
        seen = {name for name, text in secrets.items() if text in content}
        if path.suffix == ".parquet":
            seen |= {name for name, _ in found_in(path, secrets)}
        found += [(path.name, name) for name in sorted(seen)]
    return found


@pytest.fixture(scope="module")
def exported(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, str]:
    """An export that was published and landed, and all that was said meanwhile."""
    folder = tmp_path_factory.mktemp("names")
    world = make_world(folder / "world", broker.bootstrap, studies=["sleep"], partner={"contracts": ["app-export"]})
    metrics = ("heart_rate", "steps_interval", "sleep_stage", "workout")
    world.consent(world.link("ann"), world.grant("ann", "sleep", metrics=metrics, effective_at=LONG_AGO))
    (folder / "export.zip").write_bytes(EXPORT)
    said = []
    for options in (["--json"], []):
        words = ("connect", "apple-health", str(folder / "export.zip"), "--partner", world.partner)
        done = world.command(*words, "--subject", subject("ann"), *options)
        said += [done.stdout, done.stderr]
    run = world.command("run", "--once")
    assert run.returncode == 0, run.stderr
    return world, "".join([*said, run.stdout, run.stderr])


def test_the_name_of_a_phone_is_in_its_own_field_of_the_topic_alone(exported: tuple[World, str]) -> None:
    world, _ = exported
    assert on_topic(world, "app-export")
    for key, value in on_topic(world, "app-export"):
        content = decode(value, "app-export")
        _, records = read_export(content)
        assert {one for text in PHONE.values() for one in columns_with(records, text)} == {"source_name"}
        assert columns_with(records, TYPED) == {"value", "unit"}  # as written: what it means is decided behind Kafka
        assert not [name for name, text in NOWHERE.items() if text.encode() in key + value]
        content["records"] = to_stream(records.drop_columns(["source_name"]))
        assert not any(text in str(content) for text in PHONE.values())


def test_no_name_of_an_export_is_in_the_lake_or_the_vault_or_was_said(exported: tuple[World, str]) -> None:
    world, said = exported
    names = {**PHONE, **NOWHERE, "what was typed": TYPED}
    assert {row["metric"] for row in world.rows("sleep")} == {"heart_rate", "steps_interval", "workout"}
    assert files_with(world.folder, names) == []
    assert not [name for name, text in names.items() if text in said]
    told = b"".join(world.rejected_bytes())
    assert {one["reason"] for one in world.rejected()} == {"R_NOT_FINITE", "R_UNIT", "R_CODE", "R_METRIC"}
    assert not [name for name, text in names.items() if text.encode() in told]


def test_the_same_search_finds_what_is_there(exported: tuple[World, str], tmp_path: Path) -> None:
    world, _ = exported
    assert {name for _, name in files_with(world.settings.lake, {"model": "Watch6,2"})} == {"model"}
    (tmp_path / "a.log").write_text(PERSONS_PHONE)
    assert files_with(tmp_path, PHONE) == [("a.log", name) for name in sorted(PHONE)]


def test_no_name_of_a_laboratory_s_file_is_on_any_topic_or_said(broker: Address, tmp_path: Path) -> None:
    contracts = ["lab-result", "app-export", "sensor-reading"]
    world = make_world(tmp_path / "world", broker.bootstrap, studies=["sleep"], partner={"contracts": contracts})
    content, _ = file_with_faults(11)
    assert all(content.count(name.encode()) > 50 for name in NAMES if name != f"{MARK}-note")
    note = f"NTE|1||{MARK}-note: call her mother\r"
    content += message(
        obr(), obx(), note.rstrip("\r"), obx(f"{MARK}-patient^Jane", "XPN", 2), spm(), note.rstrip("\r")
    ).encode()
    (tmp_path / "results.hl7").write_bytes(content)
    said = []
    for options in (["--json"], []):
        words = ("connect", "hl7v2", str(tmp_path / "results.hl7"), "--partner", world.partner)
        done = world.command(*words, *options)
        said += [done.stdout, done.stderr]
    records = {contract: on_topic(world, contract) for contract in (*contracts, "rejected")}
    assert len(records["lab-result"]) > 100
    for contract, pairs in records.items():
        assert not [1 for key, value in pairs if MARK.encode() in key + value], contract
    assert MARK not in "".join(said)
    assert files_with(world.folder, {"a name": MARK}) == []


def test_a_name_that_a_laboratory_writes_into_a_text_is_carried_as_that_result(broker: Address, tmp_path: Path) -> None:
    """So that the test before this one could fail."""
    world = make_world(tmp_path / "world", broker.bootstrap, studies=["sleep"], partner={"contracts": ["lab-result"]})
    (tmp_path / "results.hl7").write_text(message(obr(), obx(f"{MARK}-patient", "ST"), spm()), newline="")
    world.execute("connect", "hl7v2", str(tmp_path / "results.hl7"), "--partner", world.partner)
    ((_, value),) = on_topic(world, "lab-result")
    assert value.count(MARK.encode()) == 1
