"""The series of a sensor message: every form of times and values gives the same columns."""

from typing import Any

import numpy as np
import pytest

from schemas.contracts import decode, encode
from schemas.reasons import Reason, Rejected
from schemas.series import Series, series
from tests.messages import MINUTE, SECOND, START, acceleration, moments, packed, sensor, sleep


def read(message: dict[str, Any]) -> Series:
    return series(decode(encode("sensor-reading", message), "sensor-reading"))


def rejection(message: dict[str, Any]) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as caught:
        read(message)
    return Reason(caught.value.reason), caught.value.path


THREE = [START, START + SECOND, START + 2 * SECOND]


@pytest.mark.parametrize(
    ("times", "form", "period"),
    [
        ({"start": START, "period": SECOND}, "regular", SECOND),
        ({"at": THREE}, "irregular", 0),
        ({"at": moments(*THREE)}, "irregular", 0),
    ],
)
def test_instants(times: dict[str, Any], form: str, period: int) -> None:
    found = read(sensor(times=times))
    assert found.start.tolist() == THREE
    assert found.start.dtype == np.int64
    assert (found.end, found.period, found.form, len(found)) == (None, period, form, 3)


@pytest.mark.parametrize("start", [THREE, moments(*THREE)])
@pytest.mark.parametrize("end", [[t + SECOND for t in THREE], moments(*(t + SECOND for t in THREE))])
def test_intervals(start: Any, end: Any) -> None:
    found = read(sensor(times={"start": start, "end": end}))
    assert found.start.tolist() == THREE
    assert found.end is not None
    assert found.end.tolist() == [t + SECOND for t in THREE]
    assert (found.form, found.period) == ("intervals", 0)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (packed("f8", 0.1, -2.5, 1e300), [0.1, -2.5, 1e300]),
        (packed("f4", 0.5, -2.5, 4096.25), [0.5, -2.5, 4096.25]),
        (packed("i4", 2**31 - 1, -(2**31), 7), [2**31 - 1, -(2**31), 7]),
        (packed("i2", 32767, -32768, 7), [32767, -32768, 7]),
        (packed("i2", 3312, -5, 0, scale=0.01), [3312 * 0.01, -5 * 0.01, 0]),
        (packed("f8", 1.0, 2.0, 3.0, scale=-2.0), [-2.0, -4.0, -6.0]),
        ([0.1, -2.5, 3], [0.1, -2.5, 3.0]),
    ],
)
def test_numbers(values: Any, wanted: list[float]) -> None:
    found = read(sensor(values=values))
    assert found.values is not None
    assert found.values.dtype == np.float64
    assert found.values.tolist() == wanted
    assert found.codes is None


def test_numbers_keep_every_bit() -> None:
    sent = np.array([-0.0, np.nan, np.inf, 5e-324, np.nextafter(1, 2)])
    found = read(sensor(times={"start": START, "period": SECOND}, values=packed("f8", *sent))).values
    assert found is not None
    assert found.tobytes() == sent.tobytes()


def test_codes_channels_and_record_ids() -> None:
    assert read(sleep("deep", "rem")).codes == ["deep", "rem"]
    assert read(sleep("deep", "rem")).values is None
    block = read(acceleration(1, 2, 3, 4, 5, 6))
    assert len(block) == 2
    assert block.values is not None
    assert block.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert read(sensor(record_ids=["a", "", "a"])).record_ids == ["a", "", "a"]


@pytest.mark.parametrize(
    ("message", "reason", "path"),
    [
        (sensor(values=packed("f8")), Reason.NO_READINGS, "values"),
        (sensor(values=[]), Reason.NO_READINGS, "values"),
        (sleep(), Reason.NO_READINGS, "values"),
        (acceleration(1, 2, 3, 4), Reason.RAGGED, "values"),
        (sleep("deep", "rem", channels=["a", "b"]), Reason.RAGGED, "channels"),
        (sensor(values={"dtype": "f4", "data": b"123456"}), Reason.RAGGED, "values.data"),
        (sensor(times={"at": moments(1, 2)}), Reason.RAGGED, "times.at"),
        (sensor(times={"at": moments(1, 2, 3) + b"\0"}), Reason.RAGGED, "times.at"),
        (sensor(times={"at": [1, 2, 3, 4]}), Reason.RAGGED, "times.at"),
        (sensor(times={"start": [1, 2], "end": [1, 2, 3]}), Reason.RAGGED, "times.start"),
        (sensor(times={"start": [1, 2, 3], "end": moments(1, 2)}), Reason.RAGGED, "times.end"),
        (sensor(record_ids=["a"]), Reason.RAGGED, "record_ids"),
        (sensor(values=packed("f8", 1, 2, 3, scale=float("nan"))), Reason.NOT_FINITE, "values.scale"),
        (sensor(values=packed("f8", 1, 2, 3, scale=float("inf"))), Reason.NOT_FINITE, "values.scale"),
        (sensor(values=packed("f8", 1, 2, 3, scale=-0.0)), Reason.FIELD, "values.scale"),
        (sensor(times={"start": START, "period": 0}), Reason.INTERVAL, "times.period"),
        (sensor(times={"start": START, "period": -(2**63)}), Reason.INTERVAL, "times.period"),
        (sensor(times={"start": [1, 2, 3], "end": [1, 1, 3]}), Reason.INTERVAL, "times.end"),
        (sensor(times={"start": -(2**63), "period": 1}), Reason.TIME, "times.start"),
        (sensor(times={"start": 2**63 - 1, "period": 1}), Reason.TIME, "times.start"),
        (sensor(times={"start": 0, "period": 2**63 - 1}), Reason.TIME, "times.start"),
        (sensor(times={"at": [1, 2, 2**63 - 1]}), Reason.TIME, "times.at"),
        (sensor(times={"at": moments(-(2**63), 2, 3)}), Reason.TIME, "times.at"),
        (sensor(times={"start": [1, 2, 3], "end": [2**62] * 3}), Reason.TIME, "times.end"),
    ],
)
def test_what_does_not_fit_together(message: dict[str, Any], reason: Reason, path: str) -> None:
    assert rejection(message) == (reason, path)


def test_an_overflow_becomes_infinite_without_a_warning() -> None:
    found = read(sensor(values=packed("f8", 1e300, 1.0, -1e300, scale=1e10))).values
    assert found is not None
    assert found.tolist() == [np.inf, 1e10, -np.inf]


def test_a_signalling_nan_is_a_nan_without_a_warning() -> None:
    found = read(sensor(times={"at": [START]}, values={"dtype": "f4", "data": bytes.fromhex("0100a07f")})).values
    assert found is not None
    assert np.isnan(found).all()


@pytest.mark.parametrize("period", [1, 7, 31_250, MINUTE])
@pytest.mark.parametrize("count", [1, 2, 999])
def test_regular_times_are_exact_to_the_last(period: int, count: int) -> None:
    found = read(sensor(times={"start": START + 1, "period": period}, values=packed("i2", *range(count))))
    assert found.start.tolist() == [START + 1 + i * period for i in range(count)]


def test_regular_times_at_the_edge_of_what_can_be_represented() -> None:
    edge = 9_000_000_000_000_000 - 1
    found = read(sensor(times={"start": -edge, "period": edge // 3}, values=packed("i2", 1, 2, 3)))
    assert found.start.tolist() == [-edge, -edge + edge // 3, -edge + 2 * (edge // 3)]
