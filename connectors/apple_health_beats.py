"""Apple Health, the beats: a heart rate variability record's own list says the time of day of each beat, and no date.

`6:14:48.94 PM`, `18:14:48,94`, `下午6:14:48.94`: the form follows the phone's language, and the hour the zone where it
happened, while the record's times are in the zone of the export. What can be relied on is that a beat lies within its
record, which takes a minute or so. So the hour only counts as far as it has to, and midnight is nothing special.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.apple_health_times import DAY_US, MINUTE_US, Bools, Ints

_CLOCK = r"^[^0-9]*(?P<hour>[0-9]{1,2})[:.](?P<minute>[0-9]{2})[:.](?P<second>[0-9]{2}(?:[.,][0-9]{1,6})?)[^0-9]*$"
_HALF_DAY_US = DAY_US // 2
_QUARTER_HOUR_US = 15 * MINUTE_US  # zones differ by multiples of it
_LEEWAY_US = 2_000_000  # the record's times are cut to the second


def beat_times(clocks: pa.StringArray, start: Ints, end: Ints, offset_min: npt.NDArray[np.int16]) -> tuple[Ints, Bools]:
    """When each beat [n] was, microseconds UTC, by its clock and its record's interval and offset; and whether that is
    known: it is not where the clock cannot be read, or says a time outside the record.
    """
    clock, readable = _clocks(clocks)
    longest = end - start + _LEEWAY_US
    local = start + offset_min.astype(np.int64) * MINUTE_US
    since = (clock - local) % _HALF_DAY_US
    since = np.where(_HALF_DAY_US - since <= _LEEWAY_US, since - _HALF_DAY_US, since)
    in_quarter = since % _QUARTER_HOUR_US
    otherwise = (since > longest) & (in_quarter <= longest) & (longest < _QUARTER_HOUR_US)
    since = np.where(otherwise, in_quarter, since)
    return start + since, readable & (since <= longest)


def _clocks(clocks: pa.StringArray) -> tuple[Ints, Bools]:
    """Microseconds since noon or midnight, and whether that could be read."""
    parts = pc.extract_regex(clocks, _CLOCK)
    readable = np.asarray(parts.is_valid())
    hour, minute = (
        np.asarray(pc.struct_field(parts, name).fill_null("0").cast(pa.int64())) for name in ("hour", "minute")
    )
    second = pc.replace_substring(pc.struct_field(parts, "second").fill_null("0"), ",", ".").cast(pa.float64())
    us = np.rint(np.asarray(second) * 1e6).astype(np.int64) + (hour * 60 + minute) * MINUTE_US
    return us % _HALF_DAY_US, readable & (hour <= 24) & (minute <= 59) & (us < 25 * 60 * MINUTE_US)
