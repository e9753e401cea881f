"""sensor-json, the times: texts by RFC 3339, local texts without an offset, seconds since 1970, and periods."""

from datetime import UTC, datetime
from typing import Any

from connectors.problems import LineError
from schemas.reasons import Reason

# Microseconds since the epoch; whether by a wall clock without an offset (else UTC); the offset that was said, minutes.
Moment = tuple[int, bool, int | None]

_BOUND_US = 9_000_000_000_000_000  # the years 1684 to 2255: what the contract's times can hold with room to add to them
_LONGEST_PERIOD_US = 1_000_000_000_000
_SHORTEST = len("2025-06-30T08:15:00")
_BEFORE_TIME = len("2025-06-30")
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_parse = datetime.fromisoformat
_EXPECTED = "a time such as 2025-06-30T08:15:00+02:00, the same without an offset, or seconds since 1970"


def moment(value: Any, field: str) -> Moment:
    """The time in a field; LineError where it is none, or one that the contract cannot hold.

    A number of seconds since 1970 is exact to the microsecond until the year 2106: the nearest float64 to what was
    written, and its product with a million, are together less than half a microsecond away from it. Digits of a text
    beyond the microsecond are cut off.
    """
    kind = type(value)
    if kind is str:
        found = _written(value, field)
    elif kind is float:
        found = (round(value * 1e6) if -_BOUND_US < value < _BOUND_US else _BOUND_US, False, None)
    elif kind is int:
        found = (value * 1_000_000, False, None)
    else:
        raise LineError(Reason.FIELD, field, _EXPECTED)
    if -_BOUND_US < found[0] < _BOUND_US:
        return found
    raise LineError(Reason.TIME, field, "a time that can be represented (a number is seconds, not milliseconds)")


def _written(text: str, field: str) -> Moment:
    try:
        parsed = _parse(text)
    except ValueError:
        raise LineError(Reason.FIELD, field, _EXPECTED) from None
    if len(text) < _SHORTEST or text[_BEFORE_TIME] not in "T ":
        raise LineError(Reason.FIELD, field, _EXPECTED)
    if parsed.tzinfo is None:
        since = parsed - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, True, None
    since = parsed - _EPOCH_UTC
    us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return us, False, None if text[-1] == "Z" else _offset_min(text, parsed, field)


def _offset_min(text: str, parsed: datetime, field: str) -> int | None:
    """The offset that a time states; None where it says by -00:00 that it is not known."""
    if text.endswith("-00:00"):
        return None
    offset = parsed.utcoffset()
    assert offset is not None
    minutes, seconds = divmod(offset.days * 86_400 + offset.seconds, 60)
    if seconds or offset.microseconds:
        raise LineError(Reason.FIELD, field, "an offset of whole minutes")
    return minutes


def period_us(value: Any, field: str) -> int:
    """The period in `period_ms` or `period_us`, in microseconds; LineError where it is not above 0, or not whole."""
    if type(value) not in (int, float) or not 0 < value < _LONGEST_PERIOD_US:
        raise LineError(Reason.INTERVAL, field, "a number above 0")
    exact = float(value) * 1000 if field == "period_ms" else float(value)
    whole = round(exact)
    if whole < 1 or abs(exact - whole) > 1e-9 * whole:  # 33.333 ms is not quite 33333 µs as a float64
        raise LineError(Reason.INTERVAL, field, "a period of whole microseconds")
    return whole
