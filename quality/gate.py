"""The gate: the checks that look at one reading, on whole columns, between consent and the lake.

A reading outside its metric's hard range is quarantined; the other checks set a bit in `flags`. Every check answers
pass, fail or not applicable, and the three are counted by stratum.
"""

from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quality.strata import Counts, count, runs_of
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
}
PLAUSIBILITY = tuple(name for name in BITS if name.startswith("PL-") and name != "PL-00")
QUARANTINES = 1 << BITS["PL-00"]
OUT_OF_ORDER_US = 1_000_000


class _Answer(NamedTuple):
    """One check on one block: which readings failed, which messages it applies to, and its name."""

    fails: Array
    applies: Array
    check: str


def gate(
    messages: pa.RecordBatch, readings: pa.RecordBatch, partner: str, family: str, firmware: tuple[str, ...]
) -> tuple[Array, Counts]:
    """Flags int64 [n] of the readings, and the counts by stratum; readings of a message lie together.

    `firmware` is the partner's list of known versions; where it is empty any version of the form a.b.c will do.
    """
    message = np.asarray(readings.column("message").to_numpy(zero_copy_only=True))
    low, high = _extremes(readings, family)
    metrics = [_metric(code) for code in messages.column("metric").to_pylist()]
    duration = _numbers(readings, "end") - _numbers(readings, "start")
    answers = [
        _outside_hard_range(metrics, message, low, high, duration, _outside_channels(metrics, messages, readings)),
        *_implausible(metrics, message, low, high, duration),
        _odd_offset(metrics, message, readings),
        _out_of_order(metrics, message, readings),
        _unknown_firmware(messages, message, firmware),
    ]
    flags = np.zeros(len(message), dtype=np.int64)
    counts = Counts()
    runs = runs_of(messages, readings, partner, family)
    for answer in answers:
        _apply(answer, flags)
        count(counts, runs, answer.check, answer.fails, answer.applies)
    return flags, counts


def _numbers(readings: pa.RecordBatch, name: str) -> Array:
    return np.asarray(readings.column(name).to_numpy(zero_copy_only=True))


@cache
def _metric(code: str) -> Metric:
    metric = catalogue().get(code)
    assert metric is not None
    return metric


def _extremes(readings: pa.RecordBatch, family: str) -> tuple[Array, Array]:
    """The lowest and highest value of each reading: its value, or those of its block's samples."""
    if family != "waveform":
        value = _numbers(readings, "value")
        return value, value
    lists = readings.column("values")
    flat, offsets = lists.flatten().to_numpy(zero_copy_only=True), lists.offsets.to_numpy(zero_copy_only=True)
    begins = (offsets - offsets[0])[:-1]
    return np.minimum.reduceat(flat, begins), np.maximum.reduceat(flat, begins)


def _outside_channels(metrics: list[Metric], messages: pa.RecordBatch, readings: pa.RecordBatch) -> Array:
    """Which blocks leave the range that the catalogue gives one of their channels, such as a latitude."""
    fails = np.zeros(readings.num_rows, dtype=bool)
    with_ranges = np.array([bool(metric.channels) for metric in metrics])
    message = _numbers(readings, "message")
    for reading in np.flatnonzero(with_ranges[message]).tolist():
        row = int(message[reading])
        names = messages.column("channels")[row].as_py()
        samples = readings.column("values")[reading].values.to_numpy().reshape(-1, max(1, len(names)))
        for place, name in enumerate(names):
            bounds = metrics[row].channels.get(name)
            if bounds and ((samples[:, place] < bounds.low) | (samples[:, place] > bounds.high)).any():
                fails[reading] = True
    return fails


def _outside_hard_range(
    metrics: list[Metric], message: Array, low: Array, high: Array, duration: Array, outside_channels: Array
) -> _Answer:
    ranges, rates = [m.hard for m in metrics], [m.hard_per_second for m in metrics]
    fails = outside_channels | _outside(ranges, message, low, high)
    fails |= _too_fast(rates, message, high, duration, SECOND_US)
    return _Answer(fails, _applies(ranges, rates, message, duration), "PL-00")


def _implausible(metrics: list[Metric], message: Array, low: Array, high: Array, duration: Array) -> list[_Answer]:
    """One answer a check, since a metric is judged by the one that its catalogue entry names."""
    answers = []
    for name in PLAUSIBILITY:
        ranges = [_own(m.plausible, name) for m in metrics]
        rates = [_own(m.plausible_per_minute, name) for m in metrics]
        fails = _outside(ranges, message, low, high)
        fails |= _too_fast(rates, message, high, duration, MINUTE_US)
        answers.append(_Answer(fails, _applies(ranges, rates, message, duration), name))
    return answers


def _own(limit: Any, name: str) -> Any:
    return limit if limit is not None and limit.check == name else None


def _outside(ranges: list[Any], message: Array, low: Array, high: Array) -> Array:
    """Which readings leave their metric's range; none where it has none."""
    if not any(ranges):
        return np.zeros(len(message), dtype=bool)
    bottom = np.array([-np.inf if r is None else r.low for r in ranges])
    top = np.array([np.inf if r is None else r.high for r in ranges])
    return np.asarray((low < bottom[message]) | (high > top[message]))


def _too_fast(rates: list[Any], message: Array, high: Array, duration: Array, per_us: int) -> Array:
    """Which readings exceed their metric's rate over their interval, taken as one unit long at least; no instant does."""
    if not any(rates):
        return np.zeros(len(message), dtype=bool)
    limit = np.array([np.inf if rate is None else rate.limit for rate in rates])[message]
    judged = np.isfinite(limit) & (duration > 0)
    limit[judged] *= np.maximum(duration[judged], per_us) / per_us
    return np.asarray(judged & (high > limit))


def _applies(ranges: list[Any], rates: list[Any], message: Array, duration: Array) -> Array:
    """The messages that a range judges, or a rate, which needs a reading that lasts."""
    lasting = np.zeros(len(ranges), dtype=bool)
    lasting[message[duration > 0]] = True
    return np.array([r is not None for r in ranges]) | (np.array([r is not None for r in rates]) & lasting)


def _odd_offset(metrics: list[Metric], message: Array, readings: pa.RecordBatch) -> _Answer:
    offset = _numbers(readings, "offset_min")
    known = offset != NO_OFFSET
    fails = known & ((offset < -720) | (offset > 840) | (offset % 15 != 0))
    applies = np.zeros(len(metrics), dtype=bool)
    applies[message[known]] = True
    return _Answer(fails, applies, "TM-06")


def _out_of_order(metrics: list[Metric], message: Array, readings: pa.RecordBatch) -> _Answer:
    start = _numbers(readings, "start")
    fails = np.zeros(len(start), dtype=bool)
    fails[1:] = (start[1:] < start[:-1] - OUT_OF_ORDER_US) & (message[1:] == message[:-1])
    return _Answer(fails, np.ones(len(metrics), dtype=bool), "TM-10")


def _unknown_firmware(messages: pa.RecordBatch, message: Array, known: tuple[str, ...]) -> _Answer:
    versions = messages.column("firmware").to_pylist()
    wrong = np.array([version is not None and not _acceptable(version, known) for version in versions])
    return _Answer(wrong[message], np.array([version is not None for version in versions]), "CF-09")


@lru_cache(maxsize=4096)
def _acceptable(version: str, known: tuple[str, ...]) -> bool:
    parts = version.split(".")
    return version in known if known else len(parts) == 3 and all(part.isdigit() for part in parts)


def _apply(answer: _Answer, flags: Array) -> None:
    if answer.fails.any():
        flags[answer.fails] |= 1 << BITS[answer.check]
