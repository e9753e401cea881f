"""Apple Health: times by the column, beats that say only the time of day, and devices without their owners."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apple_health_beats import beat_times
from connectors.apple_health_devices import Device, device, devices
from connectors.apple_health_times import instants
from tests.apple_exports import DEVICE

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NNBSP = "\u202f"


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def one(text: str | None) -> tuple[str, int, int]:
    """What one text is: a time with its microseconds and offset, or what is wrong with it."""
    found = instants(pa.array([text], pa.string()))
    if found.unreadable[0]:
        return "unreadable", 0, 0
    return "unplaced" if found.unplaced[0] else "time", int(found.us[0]), int(found.offset_min[0])


# -- times


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1900, 1, 2), datetime(9998, 12, 30)),
            st.integers(-17 * 60, 17 * 60),
        ),
        max_size=12,
    )
)
def test_a_column_is_what_python_reads_one_by_one(moments: list[tuple[datetime, int]]) -> None:
    texts, expected = [], []
    for moment, offset in moments:
        placed = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=offset)))
        texts.append(placed.strftime("%Y-%m-%d %H:%M:%S %z"))
        expected.append((us(placed), offset))
    found = instants(pa.array(texts, pa.string()))
    assert list(zip(found.us.tolist(), found.offset_min.tolist(), strict=True)) == expected
    assert not found.unreadable.any()
    assert not found.unplaced.any()


@given(st.lists(st.one_of(st.none(), st.text(max_size=30), st.text("0123456789-: +", min_size=25, max_size=25))))
def test_no_text_is_too_odd_for_a_column(texts: list[str | None]) -> None:
    found = instants(pa.array(texts, pa.string()))
    assert len(found.us) == len(found.unreadable) == len(texts)
    assert all(unreadable for text, unreadable in zip(texts, found.unreadable, strict=True) if text is None)


def test_a_slice_of_a_column_is_read_from_where_it_begins() -> None:
    texts = [f"2021-06-30 08:15:{second:02} +0200" for second in range(9)]
    found = instants(pa.array(texts, pa.string()).slice(4, 3))
    assert found.us.tolist() == instants(pa.array(texts[4:7], pa.string())).us.tolist()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, "unreadable"),
        ("", "unreadable"),
        ("2021-02-29 08:15:00 +0200", "unreadable"),
        ("2020-02-29 08:15:00 +0200", "time"),
        ("1900-02-29 08:15:00 +0200", "unreadable"),
        ("2021-13-01 08:15:00 +0200", "unreadable"),
        ("2021-00-01 08:15:00 +0200", "unreadable"),
        ("2021-06-00 08:15:00 +0200", "unreadable"),
        ("2021-06-30 24:00:00 +0200", "unreadable"),
        ("2021-06-30 08:60:00 +0200", "unreadable"),
        ("2021-06-30 08:15:60 +0200", "unreadable"),
        ("2021-06-30 08:15:00 +0260", "unreadable"),
        ("2021-06-30 08:15:00 +9900", "unreadable"),
        ("2021-06-30 08:15:00 *0200", "unreadable"),
        ("2021/06/30 08:15:00 +0200", "unreadable"),
        ("２０２１-06-30 08:15", "unreadable"),
        ("0001-01-01 00:00:00 +0000", "unreadable"),
        ("9999-12-31 23:59:59 -0100", "unreadable"),
        ("2021-06-30 08:15:00", "unplaced"),
        ("20210630081500", "unplaced"),
    ],
)
def test_what_is_no_time_is_told(text: str | None, kind: str) -> None:
    assert one(text)[0] == kind


@pytest.mark.parametrize(
    "text",
    [
        "2021-06-30 14:15:00 +0200",
        "20210630141500+0200",
        "2021-06-30T14:15:00+02:00",
        "2021-06-30 2:15:00 PM +0200",
        f"2021-06-30 2:15:00{NNBSP}p.m. +0200",
        "2021-06-30T14:15:00.000+02:00",
    ],
)
def test_rarer_forms_are_the_same_moment(text: str) -> None:
    assert one(text) == ("time", us(datetime(2021, 6, 30, 12, 15, tzinfo=UTC)), 120)


def test_zulu_is_an_offset_and_midnight_has_a_twelfth_hour() -> None:
    assert one("2021-06-30T12:15:00Z") == ("time", us(datetime(2021, 6, 30, 12, 15, tzinfo=UTC)), 0)
    assert one("2021-06-30 12:15:00 am +0000")[1] == us(datetime(2021, 6, 30, 0, 15, tzinfo=UTC))
    assert one("2021-06-30 12:15:00 pm +0000")[1] == us(datetime(2021, 6, 30, 12, 15, tzinfo=UTC))
    assert one("2021-06-30 13:15:00 pm +0000")[0] == "unreadable"


# -- beats


def beat(clock: str | None, start: datetime, seconds: int = 65, offset_min: int = 120) -> datetime | None:
    begun = np.array([us(start)])
    when, known = beat_times(
        pa.array([clock], pa.string()), begun, begun + seconds * 1_000_000, np.array([offset_min], np.int16)
    )
    return EPOCH + timedelta(microseconds=int(when[0])) if known[0] else None


MORNING = datetime(2021, 6, 30, 6, 14, 47, tzinfo=UTC)  # 08:14:47 at the phone


@pytest.mark.parametrize(
    "clock",
    [
        "8:14:48.94 AM",
        "8:14:48,94",
        "08:14:48.94",
        f"8:14:48.94{NNBSP}AM",
        "上午8:14:48.94",
        "8.14.48,94",
        "8:14:48.94 a. m.",
    ],
)
def test_a_beat_lies_within_its_record_in_every_language(clock: str) -> None:
    assert beat(clock, MORNING) == MORNING + timedelta(seconds=1, microseconds=940_000)


@pytest.mark.parametrize("clock", ["9:14:48.94 AM", "7:14:48.94", "2:44:48.94 PM", "13:44:48.94", "4:59:48.94"])
def test_the_hour_of_another_zone_does_not_matter(clock: str) -> None:
    assert beat(clock, MORNING) == MORNING + timedelta(seconds=1, microseconds=940_000)


def test_a_record_over_midnight_has_its_beats_on_both_days() -> None:
    start = datetime(2021, 6, 30, 21, 59, 30, tzinfo=UTC)  # 23:59:30 at the phone
    assert beat("11:59:45.10 PM", start) == start + timedelta(seconds=15, microseconds=100_000)
    for clock in ("12:00:10.20 AM", "0:00:10.20", "00:00:10,20", "24:00:10.20"):
        assert beat(clock, start) == start + timedelta(seconds=40, microseconds=200_000)


def test_times_of_a_record_are_cut_to_the_second() -> None:
    assert beat("8:15:52.90", MORNING) == MORNING + timedelta(seconds=65, microseconds=900_000)
    assert beat("8:14:46.50", MORNING) == MORNING - timedelta(microseconds=500_000)


def test_in_a_long_record_the_hour_counts() -> None:
    assert beat("9:44:48.00", MORNING, seconds=3 * 3600) == MORNING + timedelta(hours=1, minutes=30, seconds=1)
    assert beat("9:44:48.00", MORNING, seconds=3600) is None


@pytest.mark.parametrize("clock", [None, "", "soon", "8:14", "8:20:48.94", "8:75:48.94", "٨:١٤:٤٨"])
def test_a_beat_whose_clock_says_nothing_has_no_time_of_its_own(clock: str | None) -> None:
    assert beat(clock, MORNING) is None


# -- devices


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (DEVICE, Device("Apple Inc.", "Watch6,2", "8.5.1")),
        (
            "<<HKDevice: 0x282200190>, name:Mi Smart Band 4, hardware:V0.25.17.5, software:V1.0.9.66, localIdentifier:C1:2A>",
            Device(None, None, "V1.0.9.66"),
        ),
        (
            "<<HKDevice: 0x1>, name:Polar H7 4A2B, manufacturer:Polar, model:H7, hardware:31337800.02, firmware:2.1, software:9>",
            Device("Polar", "H7", "2.1"),
        ),
        ("<<HKDevice: 0x283e5a9c0, name:Apple Watch, manufacturer:Apple>>", Device("Apple", None, None)),
        ("<<HKDevice: 0x1>, name:Ann, model:Ann's, manufacturer:Apple, model:Watch>", Device("Apple", "Watch", None)),
        ("<<HKDevice: 0x123>>", Device()),
        ("Quibbles Uhr", Device()),
        ("", Device()),
        ("<<HKDevice: 0x1>, model:" + "m" * 300 + ">", Device()),
        ("<<HKDevice: 0x1>, model:Watch, " + "x" * 5000, Device()),
    ],
)
def test_a_device_is_its_make_model_and_version(description: str, expected: Device) -> None:
    assert device(description) == expected


@given(st.text())
def test_no_description_is_too_odd(text: str) -> None:
    assert isinstance(device(text), Device)


def test_devices_by_the_column() -> None:
    manufacturer, model, firmware = devices(pa.array([DEVICE, None, DEVICE.replace("0x282a45810", "0x1")], pa.string()))
    assert manufacturer.to_pylist() == ["Apple Inc.", None, "Apple Inc."]
    assert model.to_pylist() == ["Watch6,2", None, "Watch6,2"]
    assert firmware.to_pylist() == ["8.5.1", None, "8.5.1"]
