"""sensor-json, the message: readings with one header, gathered as packed columns."""

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.sensor_json_header import LineHeader
from connectors.sensor_json_lines import Reading

MOST_READINGS = 3600

_MINUTE_US = 60_000_000
_FEWEST_REGULAR = 3
_NAMESPACE = "org.wellspring."


class OpenMessage:
    """The readings gathered so far. `since` is when the first of them came, by the gatherer's clock, in seconds.

    A signal's message is a block, and lies within one minute of its own clock; a series that goes on where the message
    ends is put behind it.
    """

    __slots__ = (
        "_codes",
        "_ends",
        "_numbers",
        "_record_ids",
        "_starts",
        "_until",
        "bytes",
        "header",
        "samples",
        "since",
    )

    def __init__(self, header: LineHeader, start: int, since: float) -> None:
        self.header = header
        self.since = since
        self.samples = 0
        self.bytes = 0
        self._until = start - start % _MINUTE_US + _MINUTE_US
        self._starts = array("q")
        self._ends = array("q")
        self._numbers = array("d")
        self._codes: list[str] = []
        self._record_ids: list[str] = []

    def continues(self, start: int) -> bool:
        """Whether a reading that starts there may come behind those that are here."""
        header = self.header
        if header.waveform and not 0 < self._until - start <= _MINUTE_US:
            return False
        if header.form != "series":
            return True
        return not header.local and start == self._starts[0] + self.samples * header.period_us

    def room(self, reading: Reading, most_bytes: int) -> int:
        """How many of a series' samples fit in, at least one."""
        room = min(MOST_READINGS - self.samples, (most_bytes - self.bytes) * reading.samples // _size(reading))
        if self.header.waveform:
            room = min(room, -(-(self._until - reading.start) // self.header.period_us))
        return max(1, room)

    def take(self, reading: Reading) -> int:
        """Put the reading behind those that are here; how many bytes that adds."""
        header, start, end, values, record_ids, samples = reading
        if not header.period_us or not self.samples:
            self._starts.append(start)
        if header.form == "interval":
            self._ends.append(end)
        if header.codes:
            self._codes += values
        else:
            self._numbers.extend(values)
        if record_ids is not None:
            self._record_ids += record_ids
        added = samples * header.sample_bytes if record_ids is None else _size(reading)
        self.samples += samples
        self.bytes += added
        return added

    def content(self) -> dict[str, Any]:
        """The message as the contract has it."""
        header = self.header
        values = (
            {"codes": self._codes} if header.codes else {"dtype": "f8", "data": _packed(self._numbers), "scale": 1.0}
        )
        return {
            **header.base,
            "times": self._times(),
            "values": (_NAMESPACE + ("Codes" if header.codes else "Packed"), values),
            "record_ids": self._record_ids if header.identified else None,
        }

    def _times(self) -> tuple[str, dict[str, Any]]:
        form, start = self.header.form, self._starts[0]
        if form == "interval":
            return _NAMESPACE + "Intervals", {"start": _packed(self._starts), "end": _packed(self._ends)}
        period = self.header.period_us
        if form == "instant" and self.header.may_be_regular:
            period = _period(np.frombuffer(self._starts, dtype=np.int64))
        if period:
            return _NAMESPACE + "Regular", {"start": start, "period": period}
        return _NAMESPACE + "Irregular", {"at": _packed(self._starts)}


def split(reading: Reading, samples: int) -> tuple[Reading, Reading]:
    """A series as its first samples and the rest."""
    header, start, end, values, record_ids, count = reading
    cut, later = samples * len(values) // count, samples * header.period_us
    first, last = (None, None) if record_ids is None else (record_ids[:samples], record_ids[samples:])
    return (
        Reading(header, start, end, values[:cut], first, samples),
        Reading(header, start + later, end + later, values[cut:], last, count - samples),
    )


def _size(reading: Reading) -> int:
    """About how many bytes the reading adds to a message."""
    size = reading.samples * reading.header.sample_bytes
    ids = reading.record_ids
    return size if ids is None else size + sum(len(record_id.encode()) + 2 for record_id in ids)


def _period(times: npt.NDArray[np.int64]) -> int:
    """The time between two readings where it is the same for all of at least three, and above 0; else 0."""
    if len(times) < _FEWEST_REGULAR:
        return 0
    period = int(times[1] - times[0])
    return period if period > 0 and bool((np.diff(times) == period).all()) else 0


def _packed(numbers: "array[int] | array[float]") -> bytes:
    """Little-endian bytes, whatever the machine's own order."""
    little = np.dtype(numbers.typecode).newbyteorder("<")
    return np.asarray(numbers).astype(little, copy=False).tobytes()
