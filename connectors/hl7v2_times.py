"""HL7 v2, the times: `20240131093000.25+0100`, as precisely as written, and an offset from where there is one."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from schemas.headers import DAY_MINUTES

_STAMP = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{0,6})\d*)?)?)?)?)?)?(?:([+-])(\d\d)(\d\d))?",
    re.ASCII,
)
_OF_DAY = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{0,6})\d*)?)?)?(?:[+-]\d{4})?", re.ASCII)
_PRECISION = ("year", "month", "day", "hour", "minute", "second")
_EPOCH = datetime(1970, 1, 1)
_LAST_YEAR = 9998  # so that the year after it is one, too
_MICROSECOND = timedelta(microseconds=1)
_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US


class Stamp(NamedTuple):
    """A time as written: `wall_us` are the wall clock's microseconds counted as if it were UTC."""

    wall_us: int
    precision: str
    offset_min: int | None


class Clocks(NamedTuple):
    """What places a time that has no offset of its own: the offsets of others, each with its field, then a zone."""

    offsets: Sequence[tuple[str, int]]
    zone: str | None


@lru_cache(maxsize=4096)
def stamp(text: str) -> Stamp | None:
    """The time that a text is; None where it is none, such as `20240231` or `DeIdentified`."""
    found = _STAMP.fullmatch(text)
    if found is None:
        return None
    *parts, fraction, sign, hours, minutes = found.groups()
    written = [int(part) for part in parts if part is not None]
    offset = None if sign is None else (int(hours) * 60 + int(minutes)) * (-1 if sign == "-" else 1)
    try:
        wall = datetime(*(written + [1, 1][len(written) - 1 :]))  # type: ignore[arg-type]
    except ValueError:
        return None
    if written[0] > _LAST_YEAR:
        return None
    if offset is not None and (abs(offset) > DAY_MINUTES or int(minutes) > 59):
        return None
    micros = int((fraction or "").ljust(6, "0"))
    return Stamp((wall - _EPOCH) // _MICROSECOND + micros, _PRECISION[len(written) - 1], offset)


def moment(found: Stamp, taken_from: str | None, clocks: Clocks) -> dict[str, Any]:
    """The time as a Moment of the contract; one without an offset borrows the first that there is."""
    offset, offset_from = found.offset_min, None
    if offset is None and clocks.offsets:
        offset_from, offset = clocks.offsets[0]
    zone = clocks.zone if offset is None else None
    return {
        "at": found.wall_us - (offset or 0) * _MINUTE_US,
        "clock": "local" if offset is None else "utc",
        "offset_min": offset,
        "zone": zone,
        "precision": found.precision,
        "taken_from": taken_from,
        "offset_from": "laboratory" if zone else offset_from,
    }


def end_us(one: dict[str, Any]) -> int:
    """Where a moment ends: a date lasts a day, a time with minutes is an instant."""
    at, precision = int(one["at"]), one["precision"]
    if precision in ("minute", "second"):
        return at
    if precision in ("hour", "day"):
        return at + (_HOUR_US if precision == "hour" else _DAY_US)
    shift = (one["offset_min"] or 0) * _MINUTE_US
    wall = _EPOCH + timedelta(microseconds=at + shift)
    months = wall.month + (1 if precision == "month" else 12)
    after = datetime(wall.year + (months - 1) // 12, (months - 1) % 12 + 1, 1)
    return (after - _EPOCH) // _MICROSECOND - shift


def time_of_day(text: str) -> int | None:
    """Microseconds since midnight of a TM; None where the text is none."""
    found = _OF_DAY.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + int((found[4] or "").ljust(6, "0"))
