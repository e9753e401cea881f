"""Apple Health, the times: `2016-04-15 07:27:26 +0100`, a column at once.

Every export that a phone of today writes has this one form. A few others have been seen, of older systems and of phones
with a 12-hour clock; they are read one by one.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US

_FORM = b"dddd-dd-dd dd:dd:dd sdddd"
_DIGITS = np.array([place for place, kind in enumerate(_FORM) if kind == ord("d")])
_FIXED = np.array([place for place, kind in enumerate(_FORM) if kind in b"-: "])
_SIGN = _FORM.index(b"s")
_YEARS = (1900, 9998)
_MOST_OFFSET_MIN = 18 * 60
_GAP = "[ \u00a0\u202f]?"
_OTHER_FORMS = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[ T]?(\d{1,2}):?(\d\d):?(\d\d)(?:[.,](\d{1,6})\d*)?"
    rf"(?:{_GAP}([ap])\.?{_GAP}m\.?)?{_GAP}(?:(z)|([+-])(\d\d):?(\d\d))?",
    re.IGNORECASE | re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Instants(NamedTuple):
    """A column of times [n]: microseconds since the epoch in UTC, the offset as written in minutes, and what is wrong.

    `unreadable`: it is no time, or there is none; `unplaced`: it is one, but says no offset. The numbers there mean
    nothing.
    """

    us: Ints
    offset_min: npt.NDArray[np.int16]
    unreadable: Bools
    unplaced: Bools


def instants(column: pa.StringArray) -> Instants:
    """The times of a column of texts, null where there is none."""
    count = len(column)
    found = Instants(
        np.zeros(count, np.int64), np.zeros(count, np.int16), np.ones(count, np.bool_), np.zeros(count, np.bool_)
    )
    usual = np.asarray(pc.fill_null(pc.equal(pc.binary_length(column), len(_FORM)), False))
    rows = np.flatnonzero(usual)
    if len(rows):
        us, offset_min, good = _usual(column if len(rows) == count else column.take(pa.array(rows)))
        found.us[rows], found.offset_min[rows], found.unreadable[rows] = us, offset_min, ~good
    for row in np.flatnonzero(found.unreadable):
        text = column[int(row)].as_py()
        if text is not None:
            _other(text, int(row), found)
    return found


def _usual(column: pa.StringArray) -> tuple[Ints, npt.NDArray[np.int16], Bools]:
    """Texts of the usual length, all of them: UTC, offset, and whether each is a time."""
    letters = _letters(column)
    digits = letters[:, _DIGITS].T.astype(np.int32) - ord("0")
    good = ((digits >= 0) & (digits <= 9)).all(0)
    good &= (letters[:, _FIXED] == np.frombuffer(_FORM, np.uint8)[_FIXED]).all(1)
    sign = letters[:, _SIGN]
    good &= (sign == ord("+")) | (sign == ord("-"))
    digits = np.where(good, digits, 1)
    year = ((digits[0] * 10 + digits[1]) * 10 + digits[2]) * 10 + digits[3]
    month, day, hour, minute, second, offset_h, offset_m = digits[4::2] * 10 + digits[5::2]
    good &= (year >= _YEARS[0]) & (year <= _YEARS[1]) & (month >= 1) & (month <= 12)
    good &= (hour <= 23) & (minute <= 59) & (second <= 59) & (offset_m <= 59)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    first = months.astype("M8[D]").astype(np.int64)
    length = (months + 1).astype("M8[D]").astype(np.int64) - first
    good &= (day >= 1) & (day <= length)
    offset_min = np.where(sign == ord("-"), -1, 1) * (offset_h * 60 + offset_m)
    good &= np.abs(offset_min) <= _MOST_OFFSET_MIN
    seconds = (first + day - 1) * 86_400 + (hour * 60 + minute - offset_min) * 60 + second
    return seconds * 1_000_000, offset_min.astype(np.int16), good


def _letters(column: pa.StringArray) -> npt.NDArray[np.uint8]:
    """The bytes of a column of texts of one length [n, length]."""
    _, offsets, data = column.buffers()
    first = np.frombuffer(offsets, np.int32)[column.offset]
    size = len(column) * len(_FORM)
    return np.frombuffer(data, np.uint8)[first : first + size].reshape(-1, len(_FORM))


def _other(text: str, row: int, found: Instants) -> None:
    """One of the rarer forms, put into its row."""
    match = _OTHER_FORMS.fullmatch(text.strip())
    if match is None:
        return
    year, month, day, hour, minute, second, fraction, half, zulu, sign, offset_h, offset_m = match.groups()
    if half:
        if not 1 <= int(hour) <= 12:
            return
        hour = str(int(hour) % 12 + (12 if half in "pP" else 0))
    offset = 0 if zulu or not sign else int(f"{sign}1") * (int(offset_h) * 60 + int(offset_m))
    if not _YEARS[0] <= int(year) <= _YEARS[1] or abs(offset) > _MOST_OFFSET_MIN or int(offset_m or 0) > 59:
        return
    us = int((fraction or "0").ljust(6, "0"))
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            int(second),
            us,
            timezone(timedelta(minutes=offset)),
        )
    except ValueError:
        return
    found.us[row] = (moment - _EPOCH) // timedelta(microseconds=1)
    found.offset_min[row] = offset
    found.unreadable[row] = False
    found.unplaced[row] = not (zulu or sign)
