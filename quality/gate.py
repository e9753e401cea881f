"""The gate: the checks that look at one reading, on whole columns, between consent and the lake.

A reading outside its metric's hard range is quarantined; the other checks set a bit in `flags`. Every check answers
pass, fail or not applicable, and the three are counted by stratum.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.metrics import Metric, catalogue

Array = npt.NDArray[Any]

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
NO_OFFSET = -32768
VERSION = 1

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
QUARANTINES = 1 << BITS["PL-00"]
OUT_OF_ORDER_US = 1_000_000


class Stratum(NamedTuple):
    """By what the answers of a check are counted; the day is the reading's, in UTC, as days since 1970."""

    partner: str
    family: str
    metric: str
    device_model: str | None
    firmware: str | None
    day: int
    check: str
    version: int


@dataclass
class Counts:
    """How often each check passed or failed (`evaluated`), failed, and did not apply, by stratum."""

    evaluated: Counter[Stratum] = field(default_factory=Counter)
    failed: Counter[Stratum] = field(default_factory=Counter)
    not_applicable: Counter[Stratum] = field(default_factory=Counter)


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
        _outside_hard_range(metrics, message, low, high, duration),
        *_implausible(metrics, message, low, high, duration),
        _odd_offset(metrics, message, readings),
        _out_of_order(metrics, message, readings),
        _unknown_firmware(messages, message, firmware),
    ]
    flags = np.zeros(len(message), dtype=np.int64)
    counts = Counts()
    strata = _strata(messages, readings, message, partner, family)
    for answer in answers:
        _apply(answer, flags)
        _count(answer, strata, counts)
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


def _outside_hard_range(metrics: list[Metric], message: Array, low: Array, high: Array, duration: Array) -> _Answer:
    bottom = np.array([-np.inf if m.hard is None else m.hard.low for m in metrics])
    top = np.array([np.inf if m.hard is None else m.hard.high for m in metrics])
    fails = (low < bottom[message]) | (high > top[message])
    per_second = np.array([np.inf if m.hard_per_second is None else m.hard_per_second.limit for m in metrics])
    if np.isfinite(per_second).any():
        fails |= (high * 1e6 > per_second[message] * duration) & (duration > 0)
    applies = np.isfinite(bottom) | np.isfinite(top) | np.isfinite(per_second)
    return _Answer(fails, applies, "PL-00")


def _implausible(metrics: list[Metric], message: Array, low: Array, high: Array, duration: Array) -> list[_Answer]:
    """One answer a check, since a metric is judged by the one that its catalogue entry names."""
    ranges = [(m.plausible, m.plausible_per_minute) for m in metrics]
    names = {limit.check for pair in ranges for limit in pair if limit is not None}
    return [_outside_plausible(name, ranges, message, low, high, duration) for name in sorted(names)]


def _outside_plausible(
    name: str, ranges: list[tuple[Any, Any]], message: Array, low: Array, high: Array, duration: Array
) -> _Answer:
    own = [tuple(limit if limit is not None and limit.check == name else None for limit in pair) for pair in ranges]
    bottom = np.array([-np.inf if r is None else r.low for r, _ in own])
    top = np.array([np.inf if r is None else r.high for r, _ in own])
    fails = (low < bottom[message]) | (high > top[message])
    per_minute = np.array([np.inf if rate is None else rate.limit for _, rate in own])
    if np.isfinite(per_minute).any():
        fails |= (high * MINUTE_US > per_minute[message] * np.maximum(duration, MINUTE_US)) & (duration > 0)
    return _Answer(fails, np.array([pair != (None, None) for pair in own]), name)


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


class _Strata(NamedTuple):
    """Runs of readings of one message and day: where each begins, its message, its size, and the number of its stratum."""

    begins: Array
    message: Array
    size: Array
    number: Array
    names: list[tuple[str, str, str, str | None, str | None, int]]


def _strata(messages: pa.RecordBatch, readings: pa.RecordBatch, message: Array, partner: str, family: str) -> _Strata:
    start = _numbers(readings, "start")
    begins = np.flatnonzero(np.concatenate([[True], message[1:] != message[:-1]]))
    day, last = np.minimum.reduceat(start, begins) // DAY_US, np.maximum.reduceat(start, begins) // DAY_US
    if (day != last).any():
        days = start // DAY_US
        begins = np.flatnonzero(np.concatenate([[True], (message[1:] != message[:-1]) | (days[1:] != days[:-1])]))
        day = days[begins]
    described = zip(
        *(messages.column(name).to_pylist() for name in ("metric", "device_model", "firmware")), strict=True
    )
    keys = [(partner, family, *key) for key in described]
    numbers: dict[tuple[str, str, str, str | None, str | None, int], int] = {}
    rows = message[begins]
    number = [numbers.setdefault((*keys[m], d), len(numbers)) for m, d in zip(rows.tolist(), day.tolist(), strict=True)]
    size = np.diff(np.concatenate([begins, [len(start)]]))
    return _Strata(begins, rows, size, np.array(number), list(numbers))


def _count(answer: _Answer, strata: _Strata, counts: Counts) -> None:
    applies = answer.applies[strata.message]
    failed = (
        np.add.reduceat(answer.fails, strata.begins, dtype=np.int64)
        if answer.fails.any()
        else np.zeros(len(strata.size))
    )
    totals = (
        (counts.evaluated, np.where(applies, strata.size, 0)),
        (counts.failed, np.where(applies, failed, 0)),
        (counts.not_applicable, np.where(applies, 0, strata.size)),
    )
    for counter, per_run in totals:
        sums = np.bincount(strata.number, per_run, minlength=len(strata.names)).astype(np.int64)
        for number in np.flatnonzero(sums).tolist():
            counter[Stratum(*strata.names[number], answer.check, VERSION)] += int(sums[number])
