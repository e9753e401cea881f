"""sensor-json, the line: one JSON object says one reading, or a series of them, and is judged before it goes on.

The format is described for partners in `connectors/README.md`. A line that is not what it should be costs itself only:
what was wrong is said by the field's path, a reason and what was expected, never by the value.
"""

import sys
from typing import Any, NamedTuple

from pydantic_core import from_json

from connectors.problems import NOT_JSON, LineError
from connectors.sensor_json_header import Form, Headers, LineHeader, Shape
from connectors.sensor_json_times import Moment, moment
from schemas.reasons import Reason

_SHARED = frozenset(("subject", "metric", "unit", "source", "modality", "zone", "channels"))
_REQUIRED: dict[Form, tuple[str, ...]] = {
    "instant": ("time", "value", "metric", "unit", "source"),
    "interval": ("start", "end", "value", "metric", "unit", "source"),
    "series": ("start", "values", "metric", "unit", "source"),
}
_ALLOWED: dict[Form, frozenset[str]] = {
    "instant": _SHARED | {"time", "value", "record_id"},
    "interval": _SHARED | {"start", "end", "value", "record_id"},
    "series": _SHARED | {"start", "period_ms", "period_us", "values", "record_ids"},
}
FIELDS = frozenset().union(*_ALLOWED.values())
_KEPT_SHAPES = 1024
_LONGEST_RECORD_ID = 200
_MOST_FLOAT = sys.float_info.max
_new_tuple = tuple.__new__  # a named tuple's own constructor takes four times as long
_NOT_ONE_OBJECT = "one JSON object in UTF-8, without NaN or Infinity"


class Reading(NamedTuple):
    """What a line says: `samples` readings with one header.

    `start` is the first reading's time by the header's clock, `end` the end of an interval and otherwise the same,
    int64 microseconds; `values` holds numbers sample by sample, or codes; `record_ids` [samples], or None.
    """

    header: LineHeader
    start: int
    end: int
    values: list[Any]
    record_ids: list[str] | None
    samples: int


class LineReader:
    """Reads lines of sensor-json, each on its own.

    `subject` is of whom lines without a subject speak. With `needs_zone`, local times must bring their zone; without,
    the zone that the partner's registration assumes will be used.
    """

    def __init__(self, subject: str | None = None, needs_zone: bool = False) -> None:
        self._headers = Headers(subject, needs_zone)
        self._shapes: dict[tuple[str, ...], Shape] = {}

    def read(self, line: bytes | None) -> Reading | None:
        """The readings of one line as the splitter gives it (None: too long); None where the line is empty.

        LineError where it is not what the format, the contract or the catalogue say.
        """
        if line is None:
            raise LineError(Reason.TOO_LARGE, "", "a line of at most 1 MB")
        fields = self._fields(line)
        if fields is None:
            return None
        names = tuple(fields)
        shape = self._shapes.get(names) or self._judge(names)
        form = shape.form
        if form == "instant":
            start = end = moment(fields["time"], "time")
        else:
            start = moment(fields["start"], "start")
            end = moment(fields["end"], "end") if form == "interval" else start
        header = self._headers.of(fields, shape, start)
        if form == "series":
            return _series(header, fields, start[0])
        if end is not start:
            _refuse_backwards(start, end)
        values = _sample(header, fields["value"], "value")
        record_ids = [_record_id(fields["record_id"], "record_id")] if shape.identified else None
        return _new_tuple(Reading, (header, start[0], end[0], values, record_ids, 1))

    def _fields(self, line: bytes) -> dict[str, Any] | None:
        """The object of a line, None for an empty line; a field that is null counts as one that is not there."""
        try:
            fields = from_json(line, allow_inf_nan=False)
        except ValueError:
            if not line.strip():
                return None
            raise LineError(NOT_JSON, "", _NOT_ONE_OBJECT) from None
        if type(fields) is not dict:
            raise LineError(NOT_JSON, "", _NOT_ONE_OBJECT)
        if b"null" in line and None in fields.values():
            return {name: value for name, value in fields.items() if value is not None}
        return fields

    def _judge(self, names: tuple[str, ...]) -> Shape:
        """Which of the three forms a line has by the names of its fields: each must be known, none may be missing."""
        given = set(names)
        if not given <= FIELDS:
            raise LineError(Reason.FIELD, "", f"no fields but {', '.join(sorted(FIELDS))}")
        form: Form = "series" if "values" in given else "interval" if given & {"start", "end"} else "instant"
        for name in _REQUIRED[form]:
            if name not in given:
                raise LineError(Reason.FIELD, name, "the field to be there")
        if excess := sorted(given - _ALLOWED[form]):
            raise LineError(Reason.FIELD, excess[0], f"no such field beside {' and '.join(_REQUIRED[form][:-3])}")
        if form == "series" and ("period_ms" in given) == ("period_us" in given):
            raise LineError(Reason.FIELD, "period_ms", "either period_ms or period_us")
        shape = Shape(form, names)
        if len(self._shapes) >= _KEPT_SHAPES:
            self._shapes.clear()
        self._shapes[names] = shape
        return shape


def _refuse_backwards(start: Moment, end: Moment) -> None:
    if start[1] is not end[1]:
        raise LineError(Reason.FIELD, "end", "an offset in both start and end, or in neither")
    if end[0] < start[0]:
        raise LineError(Reason.INTERVAL, "end", "an end not before its start")


def _series(header: LineHeader, fields: dict[str, Any], start: int) -> Reading:
    samples = fields["values"]
    if type(samples) is not list:
        raise LineError(Reason.FIELD, "values", "an array")
    if not samples:
        raise LineError(Reason.NO_READINGS, "values", "at least one value")
    values = [number for index, sample in enumerate(samples) for number in _sample(header, sample, "values", index)]
    record_ids = None
    if header.identified:
        given = fields["record_ids"]
        if type(given) is not list or len(given) != len(samples):
            raise LineError(Reason.RAGGED, "record_ids", "one identifier for each value")
        record_ids = [_record_id(record_id, "record_ids", index) for index, record_id in enumerate(given)]
    return Reading(header, start, start, values, record_ids, len(samples))


def _sample(header: LineHeader, value: Any, field: str, index: int | None = None) -> list[Any]:
    """The numbers of one sample, one for each channel, or its code."""
    if header.codes:
        if type(value) is not str or value not in header.codes:
            raise LineError(
                Reason.CODE,
                _at(field, index),
                f"one of the metric's codes: {', '.join(sorted(header.codes))}",
            )
        return [value]
    numbers = value if type(value) is list else [value]
    if len(numbers) != header.width:
        raise LineError(Reason.RAGGED, _at(field, index), "one number for each of the channels")
    for number in numbers:
        kind = type(number)
        if not ((kind is float or kind is int) and -_MOST_FLOAT <= number <= _MOST_FLOAT):
            raise _no_number(kind, _at(field, index))
    return numbers


def _no_number(kind: type, path: str) -> LineError:
    if kind is float or kind is int:
        return LineError(Reason.NOT_FINITE, path, "a number that a float64 can hold")
    return LineError(Reason.FIELD, path, "a number")


def _record_id(value: Any, field: str, index: int | None = None) -> str:
    if type(value) is not str or not 0 < len(value) <= _LONGEST_RECORD_ID:
        raise LineError(
            Reason.FIELD,
            _at(field, index),
            f"a text of 1 to {_LONGEST_RECORD_ID} characters",
        )
    return value


def _at(field: str, index: int | None) -> str:
    return field if index is None else f"{field}.{index}"
