"""Wall clocks: every offset and every doubt of a zone, against the standard library asked one time after another."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipelines.zones import DAY_US, NO_OFFSET, QUALITIES, Clock, Placed, place
from schemas.clocks import iana_zone
from schemas.reasons import Reason, Rejected

MINUTE = 60_000_000
HOUR = 60 * MINUTE
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ODD_ZONES = (
    "Europe/Madrid",
    "America/St_Johns",
    "Australia/Lord_Howe",  # half an hour
    "Antarctica/Troll",  # two hours
    "Pacific/Apia",  # left out a day
    "Africa/Casablanca",  # four changes a year
    "Asia/Kathmandu",
    "America/Caracas",
)


def us(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


def array(*times: int) -> Any:
    return np.array(times, dtype=np.int64)


def clock(
    zone: str | None = None, *, local: bool = True, offset_min: int | None = None, assumed: str | None = None
) -> Clock:
    return Clock(local, offset_min, zone, assumed)


def each(placed: Placed, count: int) -> list[tuple[int, int, int, str]]:
    """Shift of the start and of the end, offset and quality of each reading."""
    columns = (placed.shift_us, placed.end_shift_us, placed.offset_min, placed.quality)
    spread = [np.broadcast_to(np.asarray(values), (count,)).tolist() for values in columns]
    return [(shift, end, offset, QUALITIES[quality]) for shift, end, offset, quality in zip(*spread, strict=True)]


def asked(zone: str, time: int, local: bool) -> tuple[int, str]:
    """Offset and quality of one time by the standard library."""
    moment = EPOCH + timedelta(microseconds=time)
    if not local:
        offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
        assert offset is not None
        return offset // timedelta(minutes=1), "zone_metadata"
    first, second = (moment.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
    assert first is not None
    assert second is not None
    quality = "zone_metadata" if first == second else "ambiguous_dst" if first > second else "nonexistent_dst"
    return first // timedelta(minutes=1), quality


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("zone", ODD_ZONES)
def test_three_years_together_and_alone(zone: str, local: bool) -> None:
    times = np.arange(us("2011-06-01"), us("2014-06-01"), 30 * MINUTE, dtype=np.int64)[:: 23 if local else 29] + 17
    found = each(place("irregular", times, times, clock(zone, local=local)), len(times))
    wanted = [asked(zone, time, local) for time in times.tolist()]
    assert [(offset, quality) for _, _, offset, quality in found] == wanted
    assert all(shift == end == (-offset * MINUTE if local else 0) for shift, end, offset, _ in found)
    for row in range(0, len(times), 41):
        one = times[row : row + 1]
        assert each(place("irregular", one, one, clock(zone, local=local)), 1) == [found[row]]


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_the_microseconds_around_each_change_of_2026(zone: str) -> None:
    days = np.arange(us("2026-01-01"), us("2027-01-01"), DAY_US, dtype=np.int64).tolist()
    changing = [a for a, b in pairwise(days) if asked(zone, a, False) != asked(zone, b, False)]
    for day in changing:
        near = [day + half * 30 * MINUTE + after for half in range(-24, 73) for after in (-1, 0, 1)]
        for local in (False, True):
            found = each(place("irregular", array(*near), array(*near), clock(zone, local=local)), len(near))
            assert [(offset, quality) for _, _, offset, quality in found] == [asked(zone, t, local) for t in near]


def test_an_offset_that_is_stated_goes_before_any_zone() -> None:
    times = array(us("2026-07-01"))
    stated = place("irregular", times, times, clock("Europe/Madrid", offset_min=-210, assumed="Asia/Tokyo"))
    assert each(stated, 1) == [(210 * MINUTE, 210 * MINUTE, -210, "offset_given")]
    in_utc = place("irregular", times, times, clock(local=False, offset_min=-210))
    assert each(in_utc, 1) == [(0, 0, -210, "offset_given")]


def test_a_zone_that_is_named_goes_before_one_that_is_assumed() -> None:
    times = array(us("2026-07-01"))
    for named, offset, quality in (("Europe/Madrid", 120, "zone_metadata"), (None, 540, "zone_assumed")):
        placed = place("irregular", times, times, clock(named, assumed="Asia/Tokyo"))
        assert each(placed, 1) == [(-offset * MINUTE, -offset * MINUTE, offset, quality)]


def test_no_zone_at_all() -> None:
    times = array(0)
    assert each(place("irregular", times, times, clock(local=False)), 1) == [(0, 0, NO_OFFSET, "device_clock_only")]
    with pytest.raises(Rejected) as caught:
        place("irregular", times, times, clock())
    assert (caught.value.reason, caught.value.path) == (Reason.ZONE, "zone")


@pytest.mark.parametrize(
    "name",
    [
        *("Mars/Olympus", "europe/madrid", "CEST", "UTC+2", " Europe/Madrid", "Europe/Madrid ", "Europe", "Europe/"),
        *("localtime", "posixrules", "Factory", "posix/Europe/Madrid", "right/Europe/Madrid", "zone.tab", "tzdata.zi"),
        *("../../etc/localtime", "/etc/localtime", "Europe/../Europe/Madrid", ".", "..", "\0", "Europe/Madrid\0", "é"),
    ],
)
def test_what_is_not_the_name_of_an_iana_zone(name: str) -> None:
    with pytest.raises(Rejected) as caught:
        iana_zone(name)
    assert (caught.value.reason, caught.value.path) == (Reason.ZONE, "zone")
    assert caught.value.expected == "the name of an IANA time zone, such as Europe/Madrid"


def test_old_names_and_utc_are_zones() -> None:
    for name in ("UTC", "Etc/GMT+12", "US/Eastern", "Asia/Calcutta", "America/Argentina/Buenos_Aires"):
        assert iana_zone(name).key == name


def test_a_steady_message_has_one_answer_and_a_long_one_an_answer_a_reading() -> None:
    summer = np.arange(us("2026-06-01"), us("2026-06-20"), HOUR, dtype=np.int64)
    assert isinstance(place("irregular", summer, summer, clock("Europe/Madrid")).shift_us, int)
    year = np.arange(us("2026-01-01"), us("2027-01-01"), DAY_US, dtype=np.int64)
    placed = place("irregular", year, year, clock("Europe/Madrid"))
    assert sorted(set(np.asarray(placed.offset_min).tolist())) == [60, 120]


def test_times_at_the_edges_of_what_a_message_can_say() -> None:
    edges = array(-8_999_999_999_999_999, 8_999_999_999_999_999)
    for local in (False, True):
        for zone in ODD_ZONES:
            found = each(place("irregular", edges, edges, clock(zone, local=local)), 2)
            assert all(abs(offset) < 24 * 60 for _, _, offset, _ in found)


def test_a_day_that_was_left_out() -> None:
    """Apia had no 30 December 2011: from -600 to +840 minutes at 2011-12-30T10:00Z."""
    times = array(us("2011-12-29T23:59"), us("2011-12-30T12:00"), us("2011-12-31T00:00"))
    found = each(place("irregular", times, times, clock("Pacific/Apia")), 3)
    assert [(offset, quality) for _, _, offset, quality in found] == [
        (-600, "zone_metadata"),
        (-600, "nonexistent_dst"),
        (840, "zone_metadata"),
    ]


def test_equally_spaced_readings_begin_at_a_time_that_came_twice() -> None:
    """The first of the two 02:30 of 25 October 2026 in Madrid, and on: all are as unsure as the first."""
    times = array(*(us("2026-10-25T02:30") + i * HOUR for i in range(3)))
    found = each(place("regular", times, times, clock("Europe/Madrid")), 3)
    shift = -120 * MINUTE
    assert found == [(shift, shift, offset, "ambiguous_dst") for offset in (120, 60, 60)]
