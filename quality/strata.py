"""By what a check's answers are counted: numbers that add up over blocks, runs and days."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[Any]

DAY_US = 86_400_000_000
VERSION = 1


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


class Runs(NamedTuple):
    """Runs of readings of one message and day: where each begins, its message, its size, and the number of its stratum."""

    begins: Array
    message: Array
    size: Array
    number: Array
    names: list[tuple[str, str, str, str | None, str | None, int]]


def runs_of(messages: pa.RecordBatch, readings: pa.RecordBatch, partner: str, family: str) -> Runs:
    """The runs of a block in which the readings of a message lie together; `start` is microseconds, UTC."""
    start, message = (np.asarray(readings.column(name).to_numpy(zero_copy_only=True)) for name in ("start", "message"))
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
    return Runs(begins, rows, size, np.array(number), list(numbers))


def count(counts: Counts, runs: Runs, check: str, fails: Array, applies: Array) -> None:
    """Add a check's answers: which readings failed [n], and to which messages it applies."""
    applying = applies[runs.message]
    failed = np.add.reduceat(fails, runs.begins, dtype=np.int64) if fails.any() else np.zeros(len(runs.size))
    totals = (
        (counts.evaluated, np.where(applying, runs.size, 0)),
        (counts.failed, np.where(applying, failed, 0)),
        (counts.not_applicable, np.where(applying, 0, runs.size)),
    )
    for counter, per_run in totals:
        sums = np.bincount(runs.number, per_run, minlength=len(runs.names)).astype(np.int64)
        for number in np.flatnonzero(sums).tolist():
            counter[Stratum(*runs.names[number], check, VERSION)] += int(sums[number])
