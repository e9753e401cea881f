"""The gate: the checks that look at one reading, on whole columns, between consent and the lake.

A reading outside its metric's hard range is quarantined; the other checks set a bit in `flags`. Every check answers
pass, fail or not applicable; how often, is counted of what lands (`quality/strata.py`).
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.families import LAB_RESULT
from schemas.metrics import Metric, catalogue

Array = npt.NDArray[Any]

SECOND_US = 1_000_000
MINUTE_US = 60_000_000
NO_OFFSET = -32768

# The bit of each check in `flags`; a bit is never given to another check.
BITS = {
    "PL-00": 0,
    "PL-01": 1,
    "PL-02": 2,
    "PL-03": 3,
    "PL-04": 4,
    "PL-05": 5,
    "PL-09": 6,
    "TM-06": 16,
    "TM-10": 17,
    "CF-09": 24,
    "LK-03": 32,
    "LK-05": 33,
    "LK-06": 34,
}
OF_SPECIMENS = ("LK-03", "LK-05", "LK-06")
"""The checks of laboratory results, by what is known of the specimen; other families are not asked."""
PLAUSIBILITY = tuple(name for name in BITS if name.startswith("PL-") and name != "PL-00")
QUARANTINES = 1 << BITS["PL-00"] | 1 << BITS["LK-03"] | 1 << BITS["LK-06"]
OUT_OF_ORDER_US = 1_000_000
EVENTS_US = 5 * MINUTE_US
"""By how much two clocks that note a kit's events may differ."""


class Scope(Enum):
    """To which readings of a metric and firmware a check applies."""

    ALL = "all"
    LASTING = "those that last"
    LOCATED = "those whose offset from UTC is known"
    IN_TRANSIT = "those of which it is known when the specimen was taken and when it arrived"
    OF_LOT = "those of which it is known when the specimen was taken and when the kit's lot expires"
    NONE = "none"


class _Answer(NamedTuple):
    """One check on one block: which readings failed (None for none of them), and its name."""

    fails: Array | None
    check: str


@dataclass
class _Readings:
    """The readings of a block: reading i is of message `message[i]`, and `low[i]` and `high[i]` are its extremes.

    Those of a message are a run: run j begins at `begins[j]`, is of message `owner[j]`, and has the extremes `lowest[j]`
    and `highest[j]`.
    """

    columns: pa.RecordBatch
    message: Array
    low: Array
    high: Array
    begins: Array
    owner: Array
    lowest: Array
    highest: Array

    @classmethod
    def of(cls, columns: pa.RecordBatch, family: str) -> Self:
        message, (low, high) = _numbers(columns, "message"), _extremes(columns, family)
        begins = np.flatnonzero(np.concatenate([[True], message[1:] != message[:-1]]))
        lowest, highest = np.minimum.reduceat(low, begins), np.maximum.reduceat(high, begins)
        return cls(columns, message, low, high, begins, message[begins], lowest, highest)

    def of_runs(self, chosen: Array) -> Array:
        """The places of the readings of the chosen runs."""
        return np.flatnonzero(np.repeat(chosen, np.diff(self.begins, append=len(self.message))))


@dataclass
class _Metrics:
    """The metrics of a block's messages: that of message m is `distinct[place[m]]`."""

    distinct: list[Metric]
    place: Array

    @classmethod
    def of(cls, messages: pa.RecordBatch) -> Self:
        place, codes = _distinct(messages, "metric")
        return cls([_metric(code) for code in codes], place)


def gate(
    messages: pa.RecordBatch,
    readings: pa.RecordBatch,
    family: str,
    firmware: tuple[str, ...],
    transit_limit_us: int | None = None,
) -> Array:
    """Flags int64 [n] of the readings; readings of a message lie together.

    `firmware` is the partner's list of known versions; where it is empty any version of the form a.b.c will do. A study
    may limit how long a specimen is on its way to the laboratory.
    """
    metrics, judged = _Metrics.of(messages), _Readings.of(readings, family)
    answers = [
        _outside_hard_range(metrics, judged),
        _outside_channels(metrics, messages, judged),
        *_implausible(metrics, judged),
        _odd_offset(judged),
        _out_of_order(judged),
        _unknown_firmware(messages, judged, firmware),
    ]
    if family == LAB_RESULT.name:
        answers += _misused_kit(readings, transit_limit_us)
    flags = np.zeros(readings.num_rows, dtype=np.int64)
    for fails, check in answers:
        if fails is not None:
            flags[fails] |= 1 << BITS[check]
    return flags


@cache
def scope(check: str, code: str, firmware: bool) -> Scope:
    """Which readings of the metric a check applies to, of a device that says its firmware, or of one that does not."""
    if check == "TM-06":
        return Scope.LOCATED
    if check == "TM-10":
        return Scope.ALL
    if check == "CF-09":
        return Scope.ALL if firmware else Scope.NONE
    if check in OF_SPECIMENS:
        return Scope.OF_LOT if check == "LK-06" else Scope.IN_TRANSIT
    metric = _metric(code)
    if check == "PL-00":
        limit, rate = metric.hard, metric.hard_per_second
    else:
        limit, rate = _own(metric.plausible, check), _own(metric.plausible_per_minute, check)
    return Scope.ALL if limit else Scope.LASTING if rate else Scope.NONE


def _numbers(part: pa.RecordBatch, name: str) -> Array:
    return np.asarray(part.column(name).to_numpy(zero_copy_only=True))


def _distinct(messages: pa.RecordBatch, name: str) -> tuple[Array, list[Any]]:
    """A column of texts as each message's place among the distinct ones, and these; null is one of them."""
    coded = messages.column(name).dictionary_encode(null_encoding="encode")
    return np.asarray(coded.indices), coded.dictionary.to_pylist()


@cache
def _metric(code: str) -> Metric:
    metric = catalogue().get(code)
    assert metric is not None
    return metric


def _extremes(readings: pa.RecordBatch, family: str) -> tuple[Array, Array]:
    """The lowest and highest value of each reading: its value, or those of its block's samples."""
    names = ("low", "high") if family == "waveform" else ("value", "value")
    low, high = (_numbers(readings, name) for name in names)
    if family == LAB_RESULT.name:
        is_limit = np.asarray(readings.column("comparator").is_valid())
        low = high = np.where(is_limit, np.nan, low)  # what the true value is, is not known
    return low, high


def _outside_channels(metrics: _Metrics, messages: pa.RecordBatch, readings: _Readings) -> _Answer:
    """Which blocks leave the range that the catalogue gives one of their channels, such as a latitude."""
    with_ranges = np.array([bool(metric.channels) for metric in metrics.distinct])[metrics.place]
    if not with_ranges.any():
        return _Answer(None, "PL-00")
    fails = np.zeros(len(readings.message), dtype=bool)
    for reading in np.flatnonzero(with_ranges[readings.message]).tolist():
        row = int(readings.message[reading])
        names = messages.column("channels")[row].as_py()
        samples = _samples(readings.columns, reading).reshape(-1, max(1, len(names)))
        for place, name in enumerate(names):
            bounds = metrics.distinct[metrics.place[row]].channels.get(name)
            if bounds and ((samples[:, place] < bounds.low) | (samples[:, place] > bounds.high)).any():
                fails[reading] = True
    return _Answer(fails, "PL-00")


def _samples(readings: pa.RecordBatch, reading: int) -> Array:
    """The values of a block, channel by channel."""
    values, counts, scale, zero = (readings.column(name)[reading] for name in ("values", "counts", "scale", "zero"))
    if values.is_valid:
        return np.asarray(values.values.to_numpy())
    return np.asarray(counts.values.to_numpy() * scale.as_py() + zero.as_py())


def _outside_hard_range(metrics: _Metrics, readings: _Readings) -> _Answer:
    ranges, rates = [m.hard for m in metrics.distinct], [m.hard_per_second for m in metrics.distinct]
    return _Answer(_outside(ranges, rates, metrics.place, readings, SECOND_US), "PL-00")


def _implausible(metrics: _Metrics, readings: _Readings) -> list[_Answer]:
    """One answer a check, since a metric is judged by the one that its catalogue entry names."""
    answers = []
    for name in PLAUSIBILITY:
        ranges = [_own(m.plausible, name) for m in metrics.distinct]
        rates = [_own(m.plausible_per_minute, name) for m in metrics.distinct]
        answers.append(_Answer(_outside(ranges, rates, metrics.place, readings, MINUTE_US), name))
    return answers


def _own(limit: Any, name: str) -> Any:
    return limit if limit is not None and limit.check == name else None


def _outside(ranges: list[Any], rates: list[Any], place: Array, readings: _Readings, per_us: int) -> Array | None:
    """Which readings leave the range, or exceed the rate, of their message's metric, where it has one.

    They are looked at one by one only where a message's extremes leave the range, or its metric has a rate.
    """
    if not any(ranges) and not any(rates):
        return None
    bottom = np.array([-np.inf if r is None else r.low for r in ranges])[place]
    top = np.array([np.inf if r is None else r.high for r in ranges])[place]
    limit = np.array([np.inf if r is None else r.limit for r in rates])[place]
    owner = readings.owner
    doubtful = ~((readings.lowest >= bottom[owner]) & (readings.highest <= top[owner])) | np.isfinite(limit[owner])
    if not doubtful.any():
        return None
    rows = readings.of_runs(doubtful)
    message, low, high = readings.message[rows], readings.low[rows], readings.high[rows]
    fails = np.zeros(len(readings.message), dtype=bool)
    fails[rows] = (low < bottom[message]) | (high > top[message])
    if any(rates):
        duration = (_numbers(readings.columns, "end") - _numbers(readings.columns, "start"))[rows]
        fails[rows] |= _too_fast(high, limit[message], duration, per_us)
    return fails


def _too_fast(value: Array, limit: Array, duration: Array, per_us: int) -> Array:
    """Which values exceed a rate over their interval, taken as one unit long at least; no instant does."""
    judged = np.isfinite(limit) & (duration > 0)
    limit[judged] *= np.maximum(duration[judged], per_us) / per_us
    return np.asarray(judged & (value > limit))


def _odd_offset(readings: _Readings) -> _Answer:
    """Judged once for each stretch of readings that have the same offset: mostly one a message, or less."""
    offset = _numbers(readings.columns, "offset_min")
    begins = np.flatnonzero(np.concatenate([[True], offset[1:] != offset[:-1]]))
    stated = offset[begins]
    odd = (stated != NO_OFFSET) & ((stated < -720) | (stated > 840) | (stated % 15 != 0))
    return _Answer(np.repeat(odd, np.diff(begins, append=len(offset))) if odd.any() else None, "TM-06")


def _out_of_order(readings: _Readings) -> _Answer:
    start = _numbers(readings.columns, "start")
    fails = np.zeros(len(start), dtype=bool)
    np.less(np.diff(start), -OUT_OF_ORDER_US, out=fails[1:])
    fails[readings.begins] = False  # the order of messages is not judged
    return _Answer(fails if fails.any() else None, "TM-10")


def _unknown_firmware(messages: pa.RecordBatch, readings: _Readings, known: tuple[str, ...]) -> _Answer:
    place, versions = _distinct(messages, "firmware")
    wrong = np.array([version is not None and not _acceptable(version, known) for version in versions])[place]
    return _Answer(wrong[readings.message] if wrong.any() else None, "CF-09")


def _misused_kit(readings: pa.RecordBatch, limit_us: int | None) -> list[_Answer]:
    """Taken after it had arrived, too long on its way for the study, or with a kit whose lot had expired."""
    columns = [readings.column(name) for name in ("collected", "arrived", "lot_expires")]
    collected, arrived, expires = (np.asarray(values.cast(pa.int64()).fill_null(0)) for values in columns)
    knows_collected, knows_arrived, knows_lot = (np.asarray(values.is_valid()) for values in columns)
    travelled = knows_collected & knows_arrived
    late = travelled & (arrived - collected > limit_us) if limit_us is not None else None
    return [
        _Answer(travelled & (collected > arrived + EVENTS_US), "LK-03"),
        _Answer(late, "LK-05"),
        _Answer(knows_collected & knows_lot & (collected >= expires), "LK-06"),
    ]


@lru_cache(maxsize=4096)
def _acceptable(version: str, known: tuple[str, ...]) -> bool:
    parts = version.split(".")
    return version in known if known else len(parts) == 3 and all(part.isdigit() for part in parts)
