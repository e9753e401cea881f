"""By what a check's answers are counted: numbers that add up over files, runs and days."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quality.gate import BITS, NO_OFFSET, OF_SPECIMENS, Scope, scope
from schemas.families import LAB_RESULT

Array = npt.NDArray[Any]

DAY_US = 86_400_000_000
VERSION = 1
KINDS = ("evaluated", "failed", "not_applicable")


_Name = tuple[str, str, str, str | None, str | None, int]


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

    def listed(self) -> list[list[Any]]:
        """As lists that add up: a stratum, which of the three answers, and how often."""
        return [[*stratum, kind, count] for kind in KINDS for stratum, count in getattr(self, kind).items()]


def tally(messages: pa.Table, readings: Mapping[str, Any], family: str) -> Counts:
    """The answers for readings that have their `flags`; readings of a message lie together.

    Of the messages partner, metric, device_model and firmware are asked, of the readings [n] their message, start and
    end (microseconds, UTC), offset_min and flags, and of laboratory results what is known of the specimen.
    """
    runs = _runs_of(messages, readings["message"], readings["start"], family)
    sizes = {
        Scope.ALL: runs.sums(np.ones(len(readings["start"]), dtype=bool)),
        Scope.LASTING: runs.sums(readings["end"] > readings["start"]),
        Scope.LOCATED: runs.sums(readings["offset_min"] != NO_OFFSET),
        Scope.NONE: np.zeros(len(runs.names), dtype=np.int64),
    }
    of_specimens = family == LAB_RESULT.name
    if of_specimens:
        sizes[Scope.IN_TRANSIT] = runs.sums(_known(readings, "collected", "arrived"))
        sizes[Scope.OF_LOT] = runs.sums(_known(readings, "collected", "lot_expires"))
    seen, counts = int(np.bitwise_or.reduce(readings["flags"])), Counts()
    for check, bit in BITS.items():
        if check in OF_SPECIMENS and not of_specimens:
            continue
        failed = runs.sums((readings["flags"] >> bit & 1).astype(bool)) if seen >> bit & 1 else sizes[Scope.NONE]
        applies = _applying(check, runs.names, sizes)
        _add(
            counts, [Stratum(*name, check, VERSION) for name in runs.names], applies, failed, sizes[Scope.ALL] - applies
        )
    return counts


def _known(readings: Mapping[str, Any], *names: str) -> Array:
    """Which readings [n] have all of these columns."""
    return np.asarray(np.logical_and.reduce([_is_valid(readings[name]) for name in names]))


def _is_valid(values: Any) -> Array:
    if isinstance(values, np.ndarray):
        return np.ones(len(values), dtype=bool)  # a column without nulls
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False))


def _applying(check: str, names: list[_Name], sizes: Mapping[Scope, Array]) -> Array:
    """To how many readings of each stratum a check applies."""
    kinds = [(name[2], name[4] is not None) for name in names]
    found = {kind: sizes[scope(check, *kind)] for kind in set(kinds)}
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
