"""The gate's checks of values: ranges and rates of the metric catalogue, as arrays by metric."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
import pyarrow as pa

from quality.checks import Check, Where, checks
from quality.judged import Array, Judged
from schemas.metrics import Metric, Range, Rate, catalogue

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
POSSIBLE = "PL-00"


@cache
def range_checks() -> frozenset[str]:
    """The checks that judge by the metric catalogue."""
    limits = [limit for m in catalogue().metrics.values() for limit in (m.plausible, m.plausible_per_minute)]
    return frozenset({POSSIBLE, *(limit.check for limit in limits if limit)})


def limits(found: Mapping[str, Check]) -> tuple["Limits", ...]:
    """What the checks of values judge by; studies that have changed none of them share it."""
    if all(found[check] is checks()[check] for check in range_checks()):
        return _unchanged()
    return Limits.possible(found), Limits.plausible(found)


@cache
def _unchanged() -> tuple["Limits", ...]:
    return Limits.possible(checks()), Limits.plausible(checks())


@dataclass(frozen=True)
class Limits:
    """By metric of the catalogue: range and rate, and what to add to the flags of a reading that leaves or exceeds it.

    A rate is meant for each `per_us` of a reading's interval. A metric without a range, or rate, adds nothing.
    """

    low: Array
    high: Array
    rate: Array
    range_bits: Array
    rate_bits: Array
    per_us: int

    @classmethod
    def possible(cls, found: Mapping[str, Check]) -> Self:
        """The ranges outside which nothing can be."""
        return cls._of(found, SECOND_US, lambda m: (POSSIBLE, m.hard), lambda m: (POSSIBLE, m.hard_per_second))

    @classmethod
    def plausible(cls, found: Mapping[str, Check]) -> Self:
        """The ranges outside which a reading is doubtful, each by the check that the catalogue names."""
        return cls._of(
            found,
            MINUTE_US,
            lambda m: (m.plausible.check if m.plausible else "", m.plausible),
            lambda m: (m.plausible_per_minute.check if m.plausible_per_minute else "", m.plausible_per_minute),
        )

    @classmethod
    def _of(
        cls,
        found: Mapping[str, Check],
        per_us: int,
        range_of: Callable[[Metric], tuple[str, Range | None]],
        rate_of: Callable[[Metric], tuple[str, Rate | None]],
    ) -> Self:
        rows = []
        for metric in catalogue().metrics.values():
            (by, bounds), (rate_by, rate) = range_of(metric), rate_of(metric)
            bits, rate_bits = _bits(found, by, bounds), _bits(found, rate_by, rate)
            own = own_range(found[by], metric.code, bounds) if bits and bounds else None
            ends = (own.low, own.high) if own else (-np.inf, np.inf)
            rows.append((*ends, rate.limit if rate_bits and rate else np.inf, bits, rate_bits))
        low, high, most, of_range, of_rate = map(np.array, zip(*rows, strict=True))
        return cls(low, high, most, of_range, of_rate, per_us)

    def judge(self, of: Judged, flags: Array) -> None:
        """Add to the flags of the readings.

        They are looked at one by one only where a message's extremes leave the range, or its metric has a rate.
        """
        metric = of.metric[of.owner]
        left = ~((of.lowest >= self.low[metric]) & (of.highest <= self.high[metric]))
        has_rate = self.rate_bits[metric] != 0
        doubtful = left & (self.range_bits[metric] != 0) | has_rate
        if not doubtful.any():
            return
        rows = of.of_runs(doubtful)
        metric, low, high = of.metric[of.message[rows]], of.low[rows], of.high[rows]
        outside = (low < self.low[metric]) | (high > self.high[metric])
        flags[rows] |= np.where(outside, self.range_bits[metric], 0)
        if has_rate.any():
            duration = (of.number("end") - of.number("start"))[rows]
            flags[rows] |= np.where(self._too_fast(high, metric, duration), self.rate_bits[metric], 0)

    def _too_fast(self, value: Array, metric: Array, duration: Array) -> Array:
        """Which values exceed their rate over their interval, taken as one unit long at least; no instant does."""
        limit = self.rate[metric]
        judged = np.isfinite(limit) & (duration > 0)
        limit[judged] *= np.maximum(duration[judged], self.per_us) / self.per_us
        return np.asarray(judged & (value > limit))


def _bits(found: Mapping[str, Check], name: str, limit: object) -> int:
    check = found.get(name)
    return (
        check.mask if limit is not None and check is not None and check.is_active and check.where is Where.GATE else 0
    )


def own_range(check: Check, code: str, bounds: Range) -> Range:
    """The catalogue's range, or what the study has put in its place."""
    own: dict[str, Any] = {name: check.parameters.get(name, {}) for name in ("low", "high")}
    changed = {name: numbers[code] for name, numbers in own.items() if code in numbers}
    return bounds.model_copy(update=changed) if changed else bounds


@cache
def _has_channels() -> Array:
    """By metric of the catalogue."""
    return np.array([bool(metric.channels) for metric in catalogue().metrics.values()])


def outside_channels(of: Judged) -> Array | None:
    """Which blocks leave the range that the catalogue gives one of their channels, such as a latitude."""
    with_ranges = _has_channels()[of.metric]
    if not with_ranges.any():
        return None
    channels = [metric.channels for metric in catalogue().metrics.values()]
    fails = np.zeros(len(of), dtype=bool)
    for reading in np.flatnonzero(with_ranges[of.message]).tolist():
        row = int(of.message[reading])
        names, ranges = of.messages.column("channels")[row].as_py(), channels[int(of.metric[row])]
        fails[reading] = _leaves(_samples(of.columns, reading).reshape(-1, max(1, len(names))), names, ranges)
    return fails


def _leaves(samples: Array, names: Iterable[str], ranges: Mapping[str, Range]) -> bool:
    for place, name in enumerate(names):
        bounds = ranges.get(name)
        if bounds and ((samples[:, place] < bounds.low) | (samples[:, place] > bounds.high)).any():
            return True
    return False


def _samples(readings: pa.RecordBatch, reading: int) -> Array:
    """The values of a block, channel by channel."""
    values, counts, scale, zero = (readings.column(name)[reading] for name in ("values", "counts", "scale", "zero"))
    if values.is_valid:
        return np.asarray(values.values.to_numpy())
    return np.asarray(counts.values.to_numpy() * scale.as_py() + zero.as_py())
