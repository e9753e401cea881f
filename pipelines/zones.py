"""Wall clocks and UTC: the offset of each reading, and how sure it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from schemas.clocks import clock_zone

NO_OFFSET = -32768
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
SKEW_US = 5 * MINUTE_US  # so much a clock may be ahead of the broker's
EARLIEST_US = -2_208_988_800_000_000  # 1900-01-01T00:00:00Z: nobody has measured anything before
EARLIEST_LIVE_US = 1_420_070_400_000_000  # 2015-01-01T00:00:00Z: a live device before it has lost its clock
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

QUALITIES = (
    *("offset_given", "zone_metadata", "zone_assumed", "export_offset"),
    *("ambiguous_dst", "nonexistent_dst", "device_clock_only"),
)
_QUALITY = {name: code for code, name in enumerate(QUALITIES)}

# A zone's changes are looked for in windows of this many weeks, week by week: two that undo each other within a week
# would be missed, and since 1970 no zone has had such a pair (a test looks).
_WEEK_US = 7 * DAY_US
_WINDOW_WEEKS = 52
_WINDOW_US = _WINDOW_WEEKS * _WEEK_US

Int64s = npt.NDArray[np.int64]


class Clock(NamedTuple):
    """What a message says of its clock (UTC or `local`, its offset in minutes, its zone), and its partner's `assumed` zone.

    `exported`: the offset is that of the device that made an export, not of the place where something was measured.
    """

    local: bool
    offset_min: int | None
    zone: str | None
    assumed: str | None
    exported: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a message's clock stands: one answer for all its readings, or arrays [n] where a transition lies inside.

    `utc = time + shift_us` for starts and `time + end_shift_us` for ends; `offset_min` is the starts'.
    """

    shift_us: Any
    end_shift_us: Any
    offset_min: Any
    quality: Any


def place(form: str, start: Int64s, end: Int64s, clock: Clock) -> Placed:
    """How to bring the times of a series to UTC and the offset to note; Rejected where local times have no zone.

    `form` is regular, irregular or intervals; `start` and `end` [n] are microseconds since the epoch by the message's
    own clock. An offset that the message states is used before its zone, and its zone before one that is assumed.
    """
    placed = place_alike(clock)
    if placed is not None:
        return placed
    if form == "intervals":
        return _place_intervals(start, end, clock)
    first, last = (start[0], start[-1]) if form == "regular" else (start.min(), start.max())
    placed = _place_times(int(first), int(last), start, clock)
    if form == "regular" and clock.local and isinstance(placed.shift_us, np.ndarray):
        return _place_onwards(start, clock)
    return placed


def place_moment(at: int, clock: Clock) -> tuple[int, int, int]:
    """A single moment: in UTC, its offset, and the number of its quality; Rejected where a local one has no zone."""
    times = np.array([at], dtype=np.int64)
    found = place("irregular", times, times, clock)
    shift, offset, quality = (int(np.ravel(part)[0]) for part in (found.shift_us, found.offset_min, found.quality))
    return at + shift, offset, quality


def place_alike(clock: Clock) -> Placed | None:
    """Where a clock stands at any time; None where its zone's rules say. Rejected where local times have no zone."""
    rules = clock_zone(clock.local, clock.offset_min, clock.zone, clock.assumed)
    if clock.offset_min is not None:
        return _placed_alike(clock.offset_min, clock.local, "export_offset" if clock.exported else "offset_given")
    return Placed(0, 0, NO_OFFSET, _QUALITY["device_clock_only"]) if rules is None else None


def _place_times(first: int, last: int, times: Int64s, clock: Clock) -> Placed:
    rules = clock_zone(clock.local, clock.offset_min, clock.zone, clock.assumed)
    assert rules is not None, "without rules a clock stands alike at any time"
    quality = "zone_metadata" if clock.zone else "zone_assumed"
    steady = _steady_offset(rules, first // DAY_US, last // DAY_US)
    if steady is not None:
        return _placed_alike(steady, clock.local, quality)
    return _place_each(rules, times, clock.local, _QUALITY[quality])


def _placed_alike(offset_min: int, local: bool, quality: str) -> Placed:
    shift = -offset_min * MINUTE_US if local else 0
    return Placed(shift, shift, offset_min, _QUALITY[quality])


def _place_onwards(times: Int64s, clock: Clock) -> Placed:
    """Equally spaced readings: the wall clock gave the first, the others follow whatever it did meanwhile."""
    first = int(times[0])
    begin = _place_times(first, first, times[:1], clock)
    shift, quality = int(np.ravel(begin.shift_us)[0]), int(np.ravel(begin.quality)[0])
    in_utc = times + shift
    onwards = _place_times(int(in_utc[0]), int(in_utc[-1]), in_utc, clock._replace(local=False))
    return Placed(shift, shift, onwards.offset_min, quality)


def _place_intervals(start: Int64s, end: Int64s, clock: Clock) -> Placed:
    """The ends may lie beyond a transition; the quality is the less sure one of both.

    Where an end would so come before its start (a clock that went on through an hour that its zone left out), the
    end is placed as its start is, which keeps the length that the device measured.
    """
    starts = _place_times(int(start.min()), int(start.max()), start, clock)
    if not clock.local:
        return starts
    ends = _place_times(int(end.min()), int(end.max()), end, clock)
    if not any(isinstance(p.shift_us, np.ndarray) for p in (starts, ends)) and starts.shift_us == ends.shift_us:
        return starts
    shift = np.where(end + ends.shift_us < start + starts.shift_us, starts.shift_us, ends.shift_us)
    sure = np.less(starts.quality, _QUALITY["ambiguous_dst"])
    return Placed(starts.shift_us, shift, starts.offset_min, np.where(sure, ends.quality, starts.quality))


@lru_cache(maxsize=65536)
def _steady_offset(rules: ZoneInfo, first_day: int, last_day: int) -> int | None:
    """The offset in minutes where it is the same from the day before to the day after next, else None."""
    earliest, latest = (first_day - 1) * DAY_US, (last_day + 2) * DAY_US
    if latest - earliest > _WINDOW_US:
        return None
    begins, offsets = _spans(rules, {earliest // _WINDOW_US, latest // _WINDOW_US})
    within = slice(np.searchsorted(begins, earliest, "right") - 1, np.searchsorted(begins, latest, "right"))
    found = set(offsets[within].tolist())
    return found.pop() if len(found) == 1 else None


def _place_each(rules: ZoneInfo, times: Int64s, local: bool, quality: int) -> Placed:
    """A wall clock's time that came twice is taken as the earlier one, one that never came by the offset before."""
    windows = np.unique(np.concatenate([times - DAY_US, times + DAY_US]) // _WINDOW_US)
    begins, offsets = _spans(rules, windows.tolist())
    qualities = np.full(len(times), quality, dtype=np.int8)
    if local:
        before, after = offsets[:-1], offsets[1:]
        span = np.searchsorted(begins[1:] + np.maximum(before, after) * MINUTE_US, times, "right")
        unsure_from = np.append(begins[1:] + np.minimum(before, after) * MINUTE_US, np.iinfo(np.int64).max)
        unsure = times >= unsure_from[span]
        back = np.append(after < before, False)[span]
        qualities[unsure] = np.where(back, _QUALITY["ambiguous_dst"], _QUALITY["nonexistent_dst"])[unsure]
    else:
        span = np.searchsorted(begins, times, "right") - 1
    offset = offsets[span]
    shift = -offset * MINUTE_US if local else 0
    return Placed(shift, shift, offset.astype(np.int16), qualities)


def _spans(rules: ZoneInfo, windows: Iterable[int]) -> tuple[Int64s, Int64s]:
    """Since when (microseconds, UTC, ascending) which offset holds (minutes), within the windows of those numbers."""
    spans = [span for window in sorted(windows) for span in _spans_of_window(rules, window)]
    return np.array([begin for begin, _ in spans], dtype=np.int64), np.array(
        [offset for _, offset in spans], dtype=np.int64
    )


@lru_cache(maxsize=16384)
def _spans_of_window(rules: ZoneInfo, window: int) -> tuple[tuple[int, int], ...]:
    begin = window * _WINDOW_US
    offset = _offset(rules, begin)
    spans = [(begin, offset)]
    for week in range(1, _WINDOW_WEEKS + 1):
        end = window * _WINDOW_US + week * _WEEK_US
        while offset != _offset(rules, end):
            begin = _next_change(rules, begin, end)
            offset = _offset(rules, begin)
            spans.append((begin, offset))
        begin = end
    return tuple(spans)


def _next_change(rules: ZoneInfo, begin: int, end: int) -> int:
    """When the offset changes between two moments (microseconds, UTC) at which it differs."""
    before = _offset(rules, begin)
    while end - begin > 1:
        middle = (begin + end) // 2
        if _offset(rules, middle) == before:
            begin = middle
        else:
            end = middle
    return end


def _offset(rules: ZoneInfo, utc_us: int) -> int:
    moment = (_EPOCH + timedelta(microseconds=utc_us)).astimezone(rules)
    offset = moment.utcoffset()
    assert offset is not None
    return round(offset.total_seconds() / 60)
