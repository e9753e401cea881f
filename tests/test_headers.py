"""The header of a sensor message: what is taken, and how a fault is told without its value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contracts import decode, encode
from schemas.headers import SensorHeader, sensor_header
from schemas.reasons import Reason, Rejected
from tests.messages import sensor

SECRET = "jane.doe@example.org " * 20


def read(message: dict[str, Any]) -> Any:
    return sensor_header(decode(encode("sensor-reading", message), "sensor-reading"))


def test_what_is_left_out_has_its_default() -> None:
    header = read(sensor())
    assert (header.modality, header.clock, header.offset_min, header.zone) == ("sensed", "utc", None, None)
    assert header.channels == ()
    assert header.source.model_dump(exclude={"name"}, exclude_none=True) == {}


def test_a_full_header() -> None:
    source = {"name": "w", "device_model": "m", "firmware": "1.0.0", "serial": "s", "app": "a", "app_version": "2.0.0"}
    header = read(sensor(source=source, clock="local", offset_min=-210, zone="America/St_Johns", channels=["bpm"]))
    assert header.source.model_dump() == source
    assert (header.clock, header.offset_min, header.zone) == ("local", -210, "America/St_Johns")
    assert header.channels == ("bpm",)


@pytest.mark.parametrize(
    ("changes", "path", "expected"),
    [
        ({"subject": ""}, "subject", "a text that is not empty"),
        ({"subject": SECRET}, "subject", "a text of at most 200 characters"),
        ({"metric": SECRET}, "metric", "a text of at most 80 characters"),
        ({"unit": SECRET}, "unit", "a text of at most 40 characters"),
        ({"source": {"name": ""}}, "source.name", "a text that is not empty"),
        ({"source": {"name": "w", "serial": SECRET}}, "source.serial", "a text of at most 200 characters"),
        ({"source": {"name": "w", "firmware": ""}}, "source.firmware", "a text that is not empty"),
        ({"offset_min": -1441}, "offset_min", "a number from -1440 on"),
        ({"offset_min": 1441}, "offset_min", "a number up to 1440"),
        ({"zone": SECRET}, "zone", "a text of at most 64 characters"),
        ({"channels": ["x"] * 65}, "channels", "at most 64 items"),
        ({"channels": ["x", SECRET]}, "channels[1]", "a text of at most 40 characters"),
    ],
)
def test_a_fault_is_told_by_path_and_limit(changes: dict[str, Any], path: str, expected: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(sensor(**changes))
    assert (caught.value.reason, caught.value.path, caught.value.expected) == (Reason.FIELD, path, expected)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "path", "expected"),
    [
        ({}, "subject", "the field to be there"),
        ({**sensor(), "clock": SECRET}, "clock", "'utc' or 'local'"),
        ({**sensor(), "weather": SECRET}, "weather", "no such field"),
        ({**sensor(), "subject": 17}, "subject", "a text"),
        ({**sensor(), "offset_min": SECRET}, "offset_min", "a value that the contract allows"),
    ],
)
def test_a_message_of_no_decoder_is_judged_too(message: dict[str, Any], path: str, expected: str) -> None:
    with pytest.raises(Rejected) as caught:
        sensor_header(message)
    assert (caught.value.reason, caught.value.path, caught.value.expected) == (Reason.FIELD, path, expected)
    assert SECRET not in str(caught.value)


def test_texts_are_counted_in_characters_not_bytes() -> None:
    assert read(sensor(subject="é" * 200)).subject == "é" * 200


POOL = st.sampled_from(["w", "x", "UTC", None])


@given(
    st.lists(st.tuples(POOL, POOL, POOL, POOL, POOL, st.sampled_from([[], ["w"], ["w", "x"]])), min_size=2, max_size=6)
)
def test_a_header_is_its_own_whatever_was_accepted_before(drawn: list[tuple[Any, ...]]) -> None:
    """The same texts in other fields make another header."""
    for model, firmware, serial, app, zone, channels in drawn:
        source = {"name": "w", "device_model": model, "firmware": firmware, "serial": serial, "app": app}
        message = decode(encode("sensor-reading", sensor(source=source, channels=channels)), "sensor-reading")
        message["zone"] = zone
        fields = {name: value for name, value in message.items() if name in SensorHeader.model_fields}
        assert sensor_header(message) == SensorHeader.model_validate(fields)


@pytest.mark.parametrize(
    "changes", [{"source": None}, {"source": "w"}, {"channels": None}, {"zone": []}, {"subject": {}}]
)
def test_what_is_no_header_is_refused_though_its_fields_are_those_of_a_decoder(changes: dict[str, Any]) -> None:
    message = decode(encode("sensor-reading", sensor()), "sensor-reading")
    sensor_header(message)
    with pytest.raises(Rejected) as caught:
        sensor_header({**message, **changes})
    assert (caught.value.reason, caught.value.path) == (Reason.FIELD, next(iter(changes)))
