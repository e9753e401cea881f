"""`contract check`: the finding about one message, as bytes or as JSON, never with a value of it."""

import json
from typing import Any

import pytest

from schemas.contract_check import check
from schemas.contracts import encode
from schemas.reasons import Reason
from tests.messages import acceleration, packed, sensor, sleep, version

SECRET = "jane.doe@example.org"


def form(message: Any, contract: str = "sensor-reading", **more: Any) -> bytes:
    return json.dumps({"contract": contract, "message": message, **more}).encode()


IN_JSON = sensor(values={"dtype": "i2", "data": {"hex": "3c00 3D00 3f00"}})


def test_the_bytes_of_a_message() -> None:
    found = check(encode("sensor-reading", sensor()))
    assert found.as_json() == {
        "ok": True,
        "contract": "sensor-reading",
        "version": "1.1",
        "readings": 3,
        "reason": None,
        "path": None,
        "expected": None,
    }
    assert check(encode("sensor-reading", sensor(), version("1.0"))).version == "1.0"


def test_the_json_form_is_the_same_message() -> None:
    assert check(form(IN_JSON)) == check(encode("sensor-reading", sensor(values=packed("i2", 60, 61, 63))))
    assert check(form(IN_JSON, version="1.0")).version == "1.0"
    assert check(b"\xef\xbb\xbf \n" + form(IN_JSON)).ok


@pytest.mark.parametrize(
    ("message", "readings"), [(sensor(), 3), (sleep("deep", "rem"), 2), (acceleration(1, 2, 3, 4, 5, 6), 1)]
)
def test_a_block_of_a_high_rate_signal_is_one_reading(message: dict[str, Any], readings: int) -> None:
    assert check(encode("sensor-reading", message)).readings == readings


def test_a_contract_that_was_asked_for_and_is_not_this_one() -> None:
    for data in (encode("sensor-reading", sensor()), form(IN_JSON)):
        assert check(data, "sensor-reading").ok
        found = check(data, "identity-link")
        assert (found.ok, found.reason, found.contract) == (False, Reason.CONTRACT, "sensor-reading")
        assert found.expected == "a message of the contract identity-link"


POINTER = {"topic": "t", "partition": -1, "offset": 0, "readings": 0, "reason": "R_UNIT", "path": "", "entry": 1}
GOOD = encode("sensor-reading", sensor())


@pytest.mark.parametrize(
    ("data", "reason", "path"),
    [
        (b"", Reason.EMPTY, ""),
        (b"hello", Reason.NOT_AVRO, ""),
        (b"\xc3\x01" + bytes(20), Reason.FINGERPRINT, ""),
        (GOOD[:-1], Reason.TRUNCATED, ""),
        (GOOD + b"\x00", Reason.TRAILING, ""),
        (b"{", Reason.FIELD, ""),
        (b"{} {}", Reason.FIELD, ""),
        (b'{"contract": "sensor-reading", "message": {"offset_min": NaN}}', Reason.FIELD, ""),
        (b"{" * 100_000, Reason.FIELD, ""),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, Reason.FIELD, ""),
        (json.dumps(IN_JSON).encode(), Reason.FIELD, "contract"),
        (b'{"contract": "sensor-reading"}', Reason.FIELD, "message"),
        (form(IN_JSON, sender=SECRET), Reason.FIELD, "(unknown field)"),
        (form(IN_JSON, contract=SECRET), Reason.CONTRACT, "contract"),
        (form(IN_JSON, contract=["sensor-reading"]), Reason.CONTRACT, "contract"),  # type: ignore[arg-type]
        (form(IN_JSON, version=SECRET), Reason.FINGERPRINT, "version"),
        (form([SECRET]), Reason.FIELD, ""),
        (form({**IN_JSON, "values": {"dtype": "i2", "data": {"hex": SECRET}}}), Reason.FIELD, "values.data.hex"),
        (form({**IN_JSON, "values": {"dtype": "i2", "data": {"hex": 5}}}), Reason.FIELD, "values.data.hex"),
        (form({**IN_JSON, "values": {"dtype": "i2", "data": SECRET}}), Reason.FIELD, "values.data"),
        (form({**IN_JSON, "subject": {"hex": "70"}}), Reason.FIELD, "subject"),
        (form({**IN_JSON, "subject": "\ud800"}), Reason.FIELD, ""),
        (form({**IN_JSON, "times": {"begin": 1}}), Reason.FIELD, "times"),
        (form({**IN_JSON, "times": {"at": [1], "start": [1]}}), Reason.FIELD, "times.(unknown field)"),
        (form({**IN_JSON, "times": {"start": [1], "end": 5}}), Reason.FIELD, "times.end"),
        (form({**IN_JSON, "times": None}), Reason.FIELD, "times"),
        (form({**IN_JSON, SECRET: 1}), Reason.FIELD, "(unknown field)"),
        (form({**IN_JSON, "unit": SECRET}), Reason.UNIT, "unit"),
        (form({**IN_JSON, "metric": SECRET}), Reason.METRIC, "metric"),
        (form({**IN_JSON, "zone": SECRET}), Reason.ZONE, "zone"),
        (form({**IN_JSON, "clock": "local"}), Reason.ZONE, "zone"),
        (form(sleep("deep", SECRET)), Reason.CODE, "values.codes[1]"),
        (encode("sensor-reading", acceleration(1, 2, 3, 4, float("nan"), 6)), Reason.NOT_FINITE, "values[1]"),
        (encode("rejected", POINTER), Reason.FIELD, "partition"),
    ],
)
def test_a_fault_is_named_by_reason_and_path_without_the_value(data: bytes, reason: Reason, path: str) -> None:
    found = check(data)
    assert (found.ok, found.reason, found.path, found.readings) == (False, reason, path, None)
    assert found.expected
    assert SECRET not in json.dumps(found.as_json())


def test_what_was_expected_helps() -> None:
    assert "Cel, K, [degF]" in str(check(form({**IN_JSON, "metric": "body_temperature"})).expected)
    assert "sensor-reading" in str(check(form({}, contract="sensor-readings")).expected)
    assert "1.0, 1.1" in str(check(form({}, version="2.0")).expected)
    assert '{"contract": "…", "version": "…", "message": {…}}' in str(check(json.dumps(IN_JSON).encode()).expected)


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "grant", "member": SECRET, "study": "s", "seq": 1, "effective_at": 2**62, "metrics": ["heart_rate"]},
        {"kind": "erase", "member": SECRET, "study": "s", "seq": 1, "effective_at": 1},
    ],
)
def test_a_consent_event_is_judged_as_the_register_does(message: dict[str, Any]) -> None:
    found = check(form(message, "consent-event"))
    assert (found.ok, found.reason) == (False, Reason.FIELD)
    assert found.path in ("effective_at", "kind")
    assert "2026" not in str(found.expected), "microseconds in a record, not a text"
    assert SECRET not in json.dumps(found.as_json())
