"""By what a check's answers are counted: numbers that add up over files, runs and days."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from quality.applicable import ALWAYS, Condition, applies, counted, fulfilled
from quality.checks import Check, checks
from quality.judged import NO_OFFSET, Array

DAY_US = 86_400_000_000
KINDS = ("evaluated", "failed", "not_applicable")


_Name = tuple[str, str, str, str | None, str | None, int]


class Stratum(NamedTuple):
    """By what the answers of a check are counted; the day is the reading's, in UTC, as days since 1970.

    The version is the check's in the study: of the catalogue, and of what the study has changed.
    """

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

    def listed(self) -> list[list[Any]]:
        """As lists that add up: a stratum, which of the three answers, and how often."""
        return [[*stratum, kind, count] for kind in KINDS for stratum, count in getattr(self, kind).items()]


def tally(
    messages: pa.Table, readings: Mapping[str, Any], family: str, of: Mapping[str, Check] | None = None
) -> Counts:
    """The answers for readings that have their `flags`, by the checks in force (`of`); readings of a message lie together.

    Of the messages partner, metric, device_model and firmware are asked, of the readings [n] their message, start and
    end (microseconds, UTC), offset_min and flags, and the columns that checks need where there are such.
    """
    runs = _runs_of(messages, readings["message"], readings["start"], family)
    sizes = _Sizes(runs, readings)
    seen, counts = int(np.bitwise_or.reduce(readings["flags"])), Counts()
    for check in counted(checks() if of is None else of, family):
        failed = runs.sums(readings["flags"] & check.mask != 0) if seen & check.mask else sizes.of(None)
        strata = [Stratum(*name, check.id, check.version) for name in runs.names]
        evaluated = _applying(check, runs.names, sizes)
        _add(counts, strata, evaluated, failed, sizes.of(ALWAYS) - evaluated)
    return counts


@dataclass
class _Sizes:
    """How many readings of each stratum fulfil a condition, found once for all checks that ask it."""

    runs: "_Runs"
    readings: Mapping[str, Any]
    known: dict[Condition | None, Array] = field(default_factory=dict)

    def of(self, condition: Condition | None) -> Array:
        if condition not in self.known:
            self.known[condition] = self._count(condition)
        return self.known[condition]

    def _count(self, condition: Condition | None) -> Array:
        if condition is None:
            return np.zeros(len(self.runs.names), dtype=np.int64)
        return self.runs.sums(fulfilled(condition, self._has, len(self.readings["start"])))

    def _has(self, name: str) -> Array:
        """Which readings [n] have a column."""
        if name == "lasting":
            return np.asarray(self.readings["end"] > self.readings["start"])
        if name == "offset_min":
            return np.asarray(self.readings[name] != NO_OFFSET)
        if name not in self.readings:
            return np.zeros(len(self.readings["start"]), dtype=bool)
        return _is_valid(self.readings[name])


def _is_valid(values: Any) -> Array:
    if isinstance(values, np.ndarray):
        return np.ones(len(values), dtype=bool)  # a column without nulls
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False))


def _applying(check: Check, names: list[_Name], sizes: _Sizes) -> Array:
    """To how many readings of each stratum a check applies."""
    kinds = [(name[2], name[4] is not None) for name in names]
    found = {kind: sizes.of(applies(check, *kind)) for kind in set(kinds)}
    return np.array([found[kind][number] for number, kind in enumerate(kinds)])


def _add(counts: Counts, strata: list[Stratum], *numbers: Array) -> None:
    """Count how often each of the three answers was given in each stratum."""
    for kind, of_kind in zip(KINDS, numbers, strict=True):
        counter: Counter[Stratum] = getattr(counts, kind)
        for stratum, number in zip(strata, of_kind.tolist(), strict=True):
            if number:
                counter[stratum] += number


class _Runs(NamedTuple):
    """Runs of readings of one message and day: where each begins, and the number of its stratum among `names`."""

    begins: Array
    number: Array
    names: list[_Name]

    def sums(self, chosen: Array) -> Array:
        """How many readings are chosen [n] in each stratum."""
        in_run = np.add.reduceat(chosen, self.begins, dtype=np.int64)
        return np.bincount(self.number, in_run, minlength=len(self.names)).astype(np.int64)


def _runs_of(messages: pa.Table, message: Array, start: Array, family: str) -> _Runs:
    begins = np.flatnonzero(np.concatenate([[True], message[1:] != message[:-1]]))
    day, last = np.minimum.reduceat(start, begins) // DAY_US, np.maximum.reduceat(start, begins) // DAY_US
    if (day != last).any():
        days = start // DAY_US
        begins = np.flatnonzero(np.concatenate([[True], (message[1:] != message[:-1]) | (days[1:] != days[:-1])]))
        day = days[begins]
    columns = (messages.column(name).to_pylist() for name in ("partner", "metric", "device_model", "firmware"))
    keys = [(partner, family, *rest) for partner, *rest in zip(*columns, strict=True)]
    numbers: dict[Any, int] = {}
    places = zip(message[begins].tolist(), day.tolist(), strict=True)
    number = [numbers.setdefault((*keys[row], on), len(numbers)) for row, on in places]
    return _Runs(begins, np.array(number), list(numbers))
