"""The checks of a message as a whole, on whole columns, before anything of it lands: what fails here holds all of it back.

A message is judged by what a study may have of it. The population medians are those of the study's days before.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from quality.checks import Check, checks
from quality.judged import Array, Judged
from schemas.families import OBSERVATION
from schemas.metrics import catalogue

SECOND_US = 1_000_000
UNITS, CLOCK = "PL-06", "TM-04"
NEAR_ONE = 1.5
"""Two units that are not this far apart cannot be told by the values alone."""


class Answers(NamedTuple):
    """Of the readings of a block [n]: the bits of what their messages fail, and which messages were compared (PL-06)."""

    flags: Array
    compared: Array


class MessageChecks:
    """Ready for a study's blocks; `medians` by metric in its unit, `of` the catalogue in force there."""

    def __init__(self, medians: Mapping[str, float], of: Mapping[str, Check] | None = None) -> None:
        found = checks() if of is None else of
        self._units, self._clock, self._medians = found[UNITS], found[CLOCK], medians

    def judge(self, judged: Judged) -> Answers:
        """The answers for the readings of a block; those of a message lie together."""
        flags, compared = np.zeros(len(judged), dtype=np.int64), np.zeros(len(judged), dtype=bool)
        if len(judged):
            self._judge_clock(judged, flags)
            self._judge_units(judged, flags, compared)
        return Answers(flags, compared)

    def _judge_clock(self, judged: Judged, flags: Array) -> None:
        """TM-04. A reading that ends after its message came in was dated by a clock that is ahead."""
        if judged.family not in self._clock.families:
            return
        received = np.asarray(judged.messages.column("received").to_numpy())[judged.owner]
        ahead_us = np.maximum.reduceat(judged.number("end"), judged.begins) - received
        held = ahead_us > self._clock.number("quarantine_above_s") * SECOND_US
        flagged = (ahead_us > self._clock.number("flag_above_s") * SECOND_US) & ~held
        for chosen, bit in ((held, self._clock.bit), (flagged, self._clock.mild_bit)):
            if chosen.any() and bit is not None:
                flags[judged.of_runs(chosen)] |= 1 << bit

    def _judge_units(self, judged: Judged, flags: Array, compared: Array) -> None:
        """PL-06. The median of a message is compared with what the population's would be in another unit."""
        usual = self._usual(judged)
        sizes = np.diff(judged.begins, append=len(judged))
        chosen = ~np.isnan(usual) & (sizes >= self._units.number("least_readings"))
        if not chosen.any():
            return
        compared[judged.of_runs(chosen)] = True
        mixed = np.zeros(len(judged.begins), dtype=bool)
        codes = catalogue().codes
        for run in np.flatnonzero(chosen).tolist():
            values = judged.low[judged.begins[run] : judged.begins[run] + sizes[run]]
            others = other_units(codes[judged.metric[judged.owner[run]]], float(usual[run]))
            mixed[run] = is_near(float(np.median(values)), others, self._units.number("off_share"))
        if mixed.any():
            flags[judged.of_runs(mixed)] |= self._units.mask

    def _usual(self, judged: Judged) -> Array:
        """The population median of each run's metric, NaN where it is not judged or there is none."""
        if judged.family != OBSERVATION.name:
            return np.full(len(judged.begins), np.nan)
        known = np.full(len(catalogue().codes), np.nan)
        for metric in self._units.metrics:
            known[catalogue().index[metric]] = self._medians.get(metric, np.nan)
        return known[judged.metric[judged.owner]]


@lru_cache(maxsize=4096)
def other_units(code: str, usual: float) -> tuple[float, ...]:
    """A metric's usual value as it would come in where one of its units was taken for another.

    Units in which it is nearly the same are left out.
    """
    metric = catalogue().get(code)
    assert metric is not None, "the check names metrics of the catalogue"
    value, found = np.array([usual]), set()
    for conversion in metric.quantity.conversions.values():
        if not conversion.identity:
            found |= {float(conversion.to_sent(value)[0]), float(conversion.to_canonical(value)[0])}
    return tuple(sorted(other for other in found if not usual / NEAR_ONE <= other <= usual * NEAR_ONE))


def is_near(median: float, others: tuple[float, ...], share: float) -> bool:
    """Whether a median is within `share` of one of the others."""
    return any(abs(median - other) <= share * abs(other) for other in others)
