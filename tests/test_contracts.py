"""The contracts: their files, their examples, and bytes of every kind."""

import json
import re
import time
import tracemalloc
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import connectors.app_export  # noqa: F401  (the judge of its contract)
from pipelines.normalise import normalise
from schemas import contracts_page
from schemas.contract_check import Finding, check
from schemas.contracts import (
    FOLDER,
    HEADER_BYTES,
    MARKER,
    Contract,
    ContractError,
    contracts,
    decode,
    encode,
    identify,
    latest,
    read_contract,
)
from schemas.contracts_page import CONTRACTS
from schemas.generated_page import PAGE
from schemas.json_form import read_json
from schemas.reasons import Reason, Rejected
from schemas.registry import Partner
from tests.messages import acceleration, decoded, packed, sensor, sleep, version

EXAMPLES = sorted(FOLDER.with_name("examples").glob("*.json"))
OLD_DEVICES = Partner(name="acme", live_devices=False)


@cache
def checked(example: Path) -> Finding:
    """What the check says of an example, whatever contract it is of."""
    return check(example.read_bytes())


def name_of(example: Path) -> str:
    return example.name.removesuffix(".json")


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_example(example: Path) -> None:
    """`<contract>.<version>.<reason>.{pass,fail}.json`; the reason of a failure begins with the name of its code."""
    contract, major, minor, reason, verdict = name_of(example).split(".")
    found = check(example.read_bytes(), contract)
    assert (found.ok, found.contract, found.version) == (verdict == "pass", contract, f"{major}.{minor}")
    if not found.ok:
        assert reason.startswith(str(found.reason).removeprefix("R_").lower())
        assert found.path
        assert found.expected


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.name.startswith("sensor-reading")], ids=name_of)
def test_the_run_says_the_same_as_the_check(example: Path) -> None:
    found = checked(example)
    payload = bytes_of(example)
    if payload is None:
        assert found.reason == Reason.FIELD
        return
    block, pointers = decoded(payload)
    if block is not None:
        blocks, pointers = normalise(block, OLD_DEVICES)
        assert (
            sum(b.readings.num_rows for b in blocks) + sum(p.readings for p in pointers)
            == block.messages["readings"][0].as_py()
        )
        assert not found.ok or blocks[0].readings.num_rows == found.readings
    assert [p.reason for p in pointers] == ([] if found.ok else [found.reason])
    assert all(str(found.path).startswith(p.path) for p in pointers)


def bytes_of(example: Path) -> bytes | None:
    """An example as bytes; None for what no writer of the contract can put into bytes."""
    try:
        return read_json(example.read_bytes()).encode()
    except Rejected:
        return None


def test_there_is_an_example_for_every_version_and_every_reason_that_one_message_can_have() -> None:
    by_version = {".".join(e.name.split(".")[:3]) for e in EXAMPLES if e.name.endswith(".pass.json")}
    assert by_version == {f"{c.name}.{c.version}" for c in contracts().values()}
    without_bytes = {Reason.FIELD, Reason.METRIC, Reason.UNIT, Reason.CODE, Reason.RAGGED, Reason.NO_READINGS}
    without_bytes |= {Reason.NOT_FINITE, Reason.ZONE, Reason.INTERVAL, Reason.TIME}
    of_streams = {Reason.TRUNCATED, Reason.TRAILING}
    found = {checked(e).reason for e in EXAMPLES if e.name.endswith(".fail.json")}
    assert found == without_bytes | of_streams


def fields(node: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every field of a schema, at any depth, with its path."""
    if isinstance(node, list):
        return [found for branch in node for found in fields(branch, path)]
    if not isinstance(node, dict):
        return []
    own = [(f"{path}.{field['name']}", field) for field in node.get("fields", [])]
    inner = [found for place, field in own for found in fields(field["type"], place)]
    return own + inner + fields(node.get("items"), path)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.avsc")), ids=lambda file: str(file.stem))
def test_every_field_says_what_it_is_and_in_which_unit(file: Path) -> None:
    schema = json.loads(file.read_text(encoding="utf-8"))
    assert schema["doc"].endswith(f"Version {file.stem.split('.', 1)[1]}.")
    units = ("microseconds", "minutes", "number", "count", "index", "unit", "numbers", "factor", "event")
    for path, field in fields(schema):
        assert len(field.get("doc", "")) > 10, path
        if any(kind in json.dumps(field["type"]) for kind in ('"int"', '"long"', '"double"')):
            said = (field["doc"] + json.dumps(field["type"])).lower()
            assert any(unit in said for unit in units), path


PUBLISHED = {
    "app-export 1.0": "edc4ba0ff445e357",
    "consent-event 1.0": "85a74d97ea401dfb",
    "kit-event 1.0": "b2cc3afc60fe0497",
    "identity-link 1.0": "8b7f5cda84e4c80a",
    "lab-result 1.0": "07b135f35e096da9",
    "lab-result 1.1": "a86b8e32505e6ed6",
    "rejected 1.0": "b3836f21c68fa0ed",
    "sensor-reading 1.0": "871e0a7bb2f6889a",
    "sensor-reading 1.1": "4cee58e3aad43393",
}


def test_a_published_version_never_changes() -> None:
    assert {c.label: c.fingerprint.hex() for c in contracts().values()} == PUBLISHED


def test_the_fingerprint_is_crc_64_avro_little_endian() -> None:
    """By the algorithm of the Avro specification, over a canonical form made by its rules."""
    empty = 0xC15D213AA4D7A795
    for contract in contracts().values():
        raw = json.loads((FOLDER / f"{contract.name}.{contract.version}.avsc").read_text(encoding="utf-8"))
        print_ = empty
        for byte in json.dumps(canonical(raw, ""), separators=(",", ":"), ensure_ascii=False).encode():
            entry = (print_ ^ byte) & 0xFF
            for _ in range(8):
                entry = (entry >> 1) ^ (empty if entry & 1 else 0)
            print_ = (print_ >> 8) ^ entry
        assert print_.to_bytes(8, "little") == contract.fingerprint


def canonical(node: Any, namespace: str) -> Any:
    """Avro's parsing canonical form: full names, no docs and defaults, attributes in their order."""
    if isinstance(node, list):
        return [canonical(branch, namespace) for branch in node]
    if not isinstance(node, dict):
        return node
    namespace = node.get("namespace", namespace)
    shaped: dict[str, Any] = {"name": f"{namespace}.{node['name']}"} if node["type"] in ("record", "enum") else {}
    shaped["type"] = node["type"]
    if "fields" in node:
        shaped["fields"] = [{"name": f["name"], "type": canonical(f["type"], namespace)} for f in node["fields"]]
    if "symbols" in node:
        shaped["symbols"] = node["symbols"]
    if "items" in node:
        shaped["items"] = canonical(node["items"], namespace)
    return shaped


# Written with sensor-reading 1.0 by another Avro library's rules, byte for byte: subject "p", metric "heart_rate",
# unit "/min", sensed, source "w" (firmware "1.2.3"), utc, regular from 2 with period 4, packed i2 of 60 and 61.
OLD_BYTES = bytes.fromhex(
    "c301 871e0a7bb2f6889a 0270 14 68656172745f72617465 08 2f6d696e 00 0277 00 02 0a 312e322e33 00 00 00 00 00"
    " 00 04 08 00 06 08 3c003d00 000000000000f03f 00 00"
)


def test_an_older_writers_bytes_are_read_as_todays() -> None:
    assert identify(OLD_BYTES).version == "1.0"
    message = decode(OLD_BYTES, "sensor-reading")
    assert message == {
        "subject": "p",
        "metric": "heart_rate",
        "unit": "/min",
        "modality": "sensed",
        "source": {
            "name": "w",
            "device_model": None,
            "firmware": "1.2.3",
            "serial": None,
            "app": None,
            "app_version": None,
        },
        "clock": "utc",
        "offset_min": None,
        "zone": None,
        "times": {"start": 2, "period": 4},
        "values": {"dtype": "i2", "data": b"\x3c\x00\x3d\x00", "scale": 1.0},
        "channels": [],
        "record_ids": None,
    }


FORMS = [
    sensor(),
    sensor(times={"at": [1, 2, 3]}, values=[1.0, 2.0, 3.0], record_ids=["a", "b", "c"]),
    sensor(times={"start": [1], "end": b"\x02" + bytes(7)}, values=packed("i4", 7, scale=0.5), zone="Europe/Madrid"),
    acceleration(1, 2, 3, offset_min=-210, clock="local", modality="derived"),
    sleep("deep", "rem", source={"name": "w", "device_model": "m", "firmware": "f", "serial": "s", "app": "a"}),
]


@pytest.mark.parametrize("message", FORMS)
def test_every_form_is_the_same_in_both_versions(message: dict[str, Any]) -> None:
    today = decode(encode("sensor-reading", message), "sensor-reading")
    assert today == decode(encode("sensor-reading", message, version("1.0")), "sensor-reading")
    sent = {**message, "source": {**today["source"], **message["source"]}}
    assert today == {**today, **sent}


@pytest.mark.parametrize("contract", [version("1.0"), version("1.1")], ids=lambda c: str(c.version))
@pytest.mark.parametrize("message", FORMS)
def test_every_truncation_and_every_trailing_byte_is_rejected(message: dict[str, Any], contract: Contract) -> None:
    payload = encode("sensor-reading", message, contract)
    for length in range(len(payload)):
        wanted = Reason.EMPTY if not length else Reason.NOT_AVRO if length < HEADER_BYTES else Reason.TRUNCATED
        assert rejection(payload[:length]) == wanted
    for byte in (b"\x00", b"\x02", b"\xff"):
        assert rejection(payload + byte) == Reason.TRAILING


def rejection(payload: bytes | None, name: str = "sensor-reading") -> Reason:
    with pytest.raises(Rejected) as caught:
        decode(payload, name)
    return Reason(caught.value.reason)


def test_what_is_no_message_of_the_contract() -> None:
    payload = encode("sensor-reading", sensor())
    assert rejection(None) == Reason.EMPTY
    assert rejection(b"") == Reason.EMPTY
    assert rejection(b"\x00" + payload[1:]) == Reason.NOT_AVRO
    assert rejection(b'{"subject": "p-0017"}') == Reason.NOT_AVRO
    assert rejection(MARKER + bytes(8) + payload[HEADER_BYTES:]) == Reason.FINGERPRINT
    assert rejection(payload[:2] + payload[2:HEADER_BYTES][::-1] + payload[HEADER_BYTES:]) == Reason.FINGERPRINT
    assert rejection(payload, "consent-event") == Reason.CONTRACT


def varint(number: int) -> bytes:
    """Avro's variable-length zig-zag."""
    number, out = (number << 1) ^ (number >> 63), bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


HUGE = (2**31, 2**40, 2**62, 2**63 - 1)
BEFORE_VALUES = {"values": packed("i2", 5)}


def claims(count: int) -> dict[str, bytes]:
    """Messages that claim a number of items or bytes that they do not have, by where they claim it."""
    start = encode("sensor-reading", sensor(values=[1.0]))
    head, tail = start[: -(1 + 8 + 1 + 2)], start[-2:]  # up to the values' count; empty channels and no record ids
    assert head + varint(1) + start[-11:-3] + b"\x00" + tail == start
    coded = encode("sensor-reading", sensor(values={"codes": ["a"]}))
    return {
        "list of numbers": head + varint(count) + bytes(8) + b"\x00" + tail,
        "list of numbers in a sized block": head + varint(-count) + varint(count) + bytes(8) + b"\x00" + tail,
        "codes": coded[:-6] + varint(count) + b"\x02a\x00" + tail,
        "channels": start[:-2] + varint(count) + b"\x02x\x00\x00",
        "record ids": start[:-1] + b"\x02" + varint(count) + b"\x02x\x00",
        "record id": start[:-1] + b"\x02" + varint(1) + varint(count) + b"x\x00",
        "subject": start[:HEADER_BYTES] + varint(count) + start[HEADER_BYTES + 1 :],
    }


@pytest.mark.parametrize("place", sorted(claims(1)))
def test_a_message_that_claims_more_than_it_has_costs_nothing(place: str) -> None:
    begun = time.process_time()
    tracemalloc.start()
    try:
        reasons = {rejection(claims(count)[place]) for count in HUGE}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reasons <= {Reason.TRUNCATED, Reason.TRAILING}
    assert peak < 1_000_000
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "items",
    [
        "null",
        {"type": "null"},
        {"type": "record", "name": "Nothing", "fields": []},
        {"type": "record", "name": "Nulls", "fields": [{"name": "a", "type": "null"}]},
        {"type": "fixed", "name": "None", "size": 0},
    ],
)
@pytest.mark.parametrize("kind", ["array", "map"])
def test_a_contract_with_items_of_no_bytes_is_refused(items: Any, kind: str, tmp_path: Path) -> None:
    inner = {"type": kind, "items" if kind == "array" else "values": items}
    schema = {"type": "record", "name": "Bomb", "fields": [{"name": "field", "type": ["null", inner]}]}
    file = tmp_path / "bomb.1.0.avsc"
    file.write_text(json.dumps(schema), encoding="utf-8")
    with pytest.raises(ContractError, match=re.escape(file.name)):
        read_contract(file)


@pytest.mark.parametrize("content", ["{", '{"type": "recrod"}', '{"type": "record", "fields": []}'])
def test_a_file_that_is_no_schema_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.1.0.avsc"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ContractError, match=re.escape(file.name)):
        read_contract(file)


def test_versions_are_ordered_as_numbers_and_unknown_contracts_refused() -> None:
    assert latest("sensor-reading").version == "1.1"
    schema = latest("rejected").schema
    assert Contract("rejected", "1.10", schema, b"").order > Contract("rejected", "1.9", schema, b"").order
    with pytest.raises(ContractError, match="weather"):
        latest("weather")


SECRET = "jane.doe@example.org"


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (sensor(subject=None), "subject"),
        (sensor(subject=17), "subject"),
        (sensor(subject="\ud800"), "subject"),
        (sensor(source={"name": SECRET, "sirial": SECRET}), "source.(unknown field)"),
        (sensor(source=SECRET), "source"),
        (sensor(clock=SECRET), "clock"),
        (sensor(offset_min=2**40), "offset_min"),
        (sensor(offset_min=True), "offset_min"),
        (sensor(values=[1.0, SECRET]), "values[1]"),
        (sensor(values=SECRET), "values"),
        (sensor(times={"start": SECRET, "period": 1}), "times.start"),
        (sensor(times={"start": [1], "end": [SECRET]}), "times.end[0]"),
        (sensor(times={"start": 2**70, "period": 1}), "times.start"),
        (sensor(record_ids=[SECRET, 5]), "record_ids[1]"),
        (sensor(channels=5), "channels"),
        (sensor(**{SECRET: 1}), "(unknown field)"),
    ],
)
def test_what_a_publisher_may_not_send_is_told_by_its_path_without_the_value(
    message: dict[str, Any], path: str
) -> None:
    with pytest.raises(Rejected) as caught:
        encode("sensor-reading", message)
    assert (caught.value.reason, caught.value.path) == (Reason.FIELD, path)
    assert SECRET not in str(caught.value) + caught.value.expected
    assert caught.value.__context__ is None


def test_the_page_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert CONTRACTS.main(["--check"]) == 0, capsys.readouterr().err


def test_the_page_lists_every_field_with_its_type_and_doc() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in {c.name for c in contracts().values()}:
        schema = json.loads((FOLDER / f"{name}.{latest(name).version}.avsc").read_text(encoding="utf-8"))
        for path, field in fields(schema):
            assert f"| `{path.removeprefix('.')}` | " in page
            assert field["doc"] in page
    assert all(c.fingerprint.hex(" ") in page for c in contracts().values())


def test_a_stale_list_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(contracts_page, "contracts", lambda: {c.fingerprint: c for c in [latest("rejected")]})
    assert CONTRACTS.main(["--check", "--page", str(page)]) == 1
