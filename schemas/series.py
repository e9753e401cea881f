"""The series of a sensor message: times and values as NumPy arrays, whichever of the contract's forms they came in."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.reasons import Reason, Rejected

Numbers = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]
Texts: TypeAlias = list[str] | pa.StringArray
Float64s = npt.NDArray[np.float64]

_DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(f"<{name}") for name in ("f8", "f4", "i4", "i2")}
# The years 1684 to 2255: what int64 nanoseconds can hold, with room to add to them.
_TIME_BOUND = 9_000_000_000_000_000


@dataclass(slots=True)
class Series:
    """`count` samples as sent.

    `moments` are starts, int64 microseconds: the first only where `period` is above 0, else [count]; `end` [count] is
    None for instants. `numbers` [count * channels], sample by sample, of the type sent, are values after `scale`; `codes`
    [count] stand in their place; `record_ids` [count] or None. Both are lists, or Arrow arrays of texts.
    """

    count: int
    moments: Int64s
    end: Int64s | None
    period: int
    numbers: Numbers | None
    scale: float
    codes: Texts | None
    record_ids: Texts | None

    def __len__(self) -> int:
        return self.count

    @property
    def form(self) -> str:
        """How the times were sent: regular, irregular or intervals."""
        return "intervals" if self.end is not None else "regular" if self.period else "irregular"

    @property
    def start(self) -> Int64s:
        """The start of every sample [count]."""
        if not self.period:
            return self.moments
        first = int(self.moments[0])
        return np.arange(first, first + self.period * self.count, self.period, dtype=np.int64)

    @property
    def values(self) -> Float64s | None:
        """The numbers in the unit sent, float64 [count * channels]."""
        if self.numbers is None or (self.scale == 1.0 and self.numbers.dtype == np.float64):
            return self.numbers
        with np.errstate(over="ignore", invalid="ignore"):
            return np.multiply(self.numbers, self.scale, dtype=np.float64)


def series(message: dict[str, Any]) -> Series:
    """The series of a decoded message; Rejected where its parts do not fit together.

    A value that is not finite stays in: it costs that one reading, not its neighbours.
    """
    numbers, scale, codes = _values(message["values"])
    width = max(1, len(message["channels"]))
    if codes is not None and width > 1:
        raise Rejected(Reason.RAGGED, "channels", "no channels for codes: one a reading")
    held = len(codes) if codes is not None else len(numbers) if numbers is not None else 0
    if held % width:
        raise Rejected(Reason.RAGGED, "values", "a whole number of samples for the channels")
    count = held // width
    if count == 0:
        raise Rejected(Reason.NO_READINGS, "values")
    moments, end, period = _times(message["times"], count)
    record_ids = message.get("record_ids")
    if record_ids is not None and len(record_ids) != count:
        raise Rejected(Reason.RAGGED, "record_ids", "one identifier for each reading")
    return Series(count, moments, end, period, numbers, scale, codes, record_ids)


def _values(values: Any) -> tuple[Numbers | None, float, list[str] | None]:
    if isinstance(values, list):
        return np.asarray(values, dtype=np.float64), 1.0, None
    if "codes" in values:
        return None, 1.0, values["codes"]
    dtype = _DTYPES[values["dtype"]]
    data = values["data"]
    if len(data) % dtype.itemsize:
        raise Rejected(Reason.RAGGED, "values.data", "a whole number of values of its dtype")
    scale = values["scale"]
    if not math.isfinite(scale):
        raise Rejected(Reason.NOT_FINITE, "values.scale")
    if scale == 0.0:
        raise Rejected(Reason.FIELD, "values.scale", "a factor other than 0")
    return np.frombuffer(data, dtype=dtype), scale, None


def _times(times: dict[str, Any], count: int) -> tuple[Int64s, Int64s | None, int]:
    if "period" in times:
        start, period = times["start"], times["period"]
        if period <= 0:
            raise Rejected(Reason.INTERVAL, "times.period", "a period above 0")
        if not -_TIME_BOUND < start < _TIME_BOUND or period * count >= _TIME_BOUND:
            raise Rejected(Reason.TIME, "times.start", "a time that can be represented")
        return np.array([start], dtype=np.int64), None, period
    if "at" in times:
        return _moments(times["at"], count, "times.at"), None, 0
    start_array = _moments(times["start"], count, "times.start")
    end_array = _moments(times["end"], count, "times.end")
    if (end_array < start_array).any():
        raise Rejected(Reason.INTERVAL, "times.end", "an end not before its start")
    return start_array, end_array, 0


def _moments(raw: bytes | list[int], count: int, path: str) -> Int64s:
    if isinstance(raw, bytes):
        if len(raw) != 8 * count:
            raise Rejected(Reason.RAGGED, path, "as many times as values")
        moments: Int64s = np.frombuffer(raw, dtype="<i8")
    else:
        if len(raw) != count:
            raise Rejected(Reason.RAGGED, path, "as many times as values")
        moments = np.asarray(raw, dtype=np.int64)
    if moments.min() <= -_TIME_BOUND or moments.max() >= _TIME_BOUND:
        raise Rejected(Reason.TIME, path, "times that can be represented")
    return moments
