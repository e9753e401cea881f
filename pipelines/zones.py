"""Wall clocks and UTC: the offset of each reading, and how sure it is."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from schemas.reasons import Reason, Rejected

NO_OFFSET = -32768
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

QUALITIES = ("offset_given", "zone_metadata", "zone_assumed", "ambiguous_dst", "nonexistent_dst", "device_clock_only")
_QUALITY = {name: code for code, name in enumerate(QUALITIES)}


@dataclass(slots=True)
class Placed:
    """Where a message's clock stands: one answer for all its readings, or arrays [n] where a transition lies inside."""

    shift_us: Any
    offset_min: Any
    quality: Any


def place(
    first_us: int, last_us: int, times: npt.NDArray[np.int64], local: bool, offset_min: int | None, zone: str | None, assumed: str | None
) -> Placed:
    """How to bring times to UTC (`utc = time + shift_us`) and the offset to note; Rejected where local time has no zone.

    `first_us` and `last_us` bound `times`, microseconds since the epoch by the message's own clock. A zone that the
    message names is used before one that is assumed for its partner; an offset that it states before either.
    """
    if offset_min is not None:
        return Placed(-offset_min * MINUTE_US if local else 0, offset_min, _QUALITY["offset_given"])
    name = zone or assumed
    if name is None:
        if local:
            raise Rejected(Reason.ZONE, "zone")
        return Placed(0, NO_OFFSET, _QUALITY["device_clock_only"])
    rules = _zone(name)
    quality = _QUALITY["zone_metadata" if zone else "zone_assumed"]
    steady = _steady_offset(rules, first_us // DAY_US, last_us // DAY_US)
    if steady is not None:
        return Placed(-steady * MINUTE_US if local else 0, steady, quality)
    return _place_each(rules, times, local, quality)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Rejected(Reason.ZONE, "zone", "the name of an IANA time zone") from None


@lru_cache(maxsize=65536)
def _steady_offset(rules: ZoneInfo, first_day: int, last_day: int) -> int | None:
    """The offset in minutes where it is the same from the day before to the day after next, else None."""
    if last_day - first_day > 40:
        return None
    offsets = {_offset(rules, (day * DAY_US)) for day in range(first_day - 1, last_day + 3)}
    return offsets.pop() if len(offsets) == 1 else None


def _offset(rules: ZoneInfo, utc_us: int) -> int:
    moment = (_EPOCH + timedelta(microseconds=utc_us)).astimezone(rules)
    offset = moment.utcoffset()
    assert offset is not None
    return round(offset.total_seconds() / 60)


def _place_each(rules: ZoneInfo, times: npt.NDArray[np.int64], local: bool, quality: int) -> Placed:
    offsets = np.empty(len(times), dtype=np.int64)
    qualities = np.full(len(times), quality, dtype=np.int8)
    for row, time in enumerate(times.tolist()):
        if local:
            offsets[row], problem = _local_offset(rules, time)
            if problem is not None:
                qualities[row] = problem
        else:
            offsets[row] = _offset(rules, time)
    return Placed(-offsets * MINUTE_US if local else 0, offsets.astype(np.int16), qualities)


def _local_offset(rules: ZoneInfo, local_us: int) -> tuple[int, int | None]:
    """The offset of a wall clock's time: the earlier one where it came twice, the one before where it never came."""
    wall = (_EPOCH + timedelta(microseconds=local_us)).replace(tzinfo=rules)
    before, after = wall.replace(fold=0).utcoffset(), wall.replace(fold=1).utcoffset()
    assert before is not None and after is not None
    offset = round(before.total_seconds() / 60)
    if before == after:
        return offset, None
    return offset, _QUALITY["ambiguous_dst" if before > after else "nonexistent_dst"]
