"""The readings of a block as the gate's kernels see them: columns, and runs of readings of one message."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.families import LAB_RESULT, WAVEFORM
from schemas.metrics import catalogue

Array = npt.NDArray[Any]
NO_OFFSET = -32768


@dataclass(frozen=True)
class Judged:
    """Reading i is of message `message[i]`; `low[i]` and `high[i]` are its extremes, NaN where it is no number.

    Those of a message are a run: run j begins at `begins[j]` and is of message `owner[j]`. `metric` is the catalogue's
    number of each message's metric, `known` the partner's list of firmware versions.
    """

    messages: pa.RecordBatch
    columns: pa.RecordBatch
    family: str
    known: tuple[str, ...]
    message: Array
    low: Array
    high: Array
    begins: Array

    @classmethod
    def of(cls, messages: pa.RecordBatch, readings: pa.RecordBatch, family: str, known: tuple[str, ...] = ()) -> Self:
        """The readings of a block; those of a message lie together."""
        message = np.asarray(readings.column("message"))
        begins = np.flatnonzero(np.concatenate([[True], message[1:] != message[:-1]]))
        return cls(messages, readings, family, known, message, *_extremes(readings, family), begins)

    def __len__(self) -> int:
        return len(self.message)

    @cached_property
    def owner(self) -> Array:
        return self.message[self.begins]

    @cached_property
    def lowest(self) -> Array:
        """Of each run."""
        return np.asarray(np.minimum.reduceat(self.low, self.begins))

    @cached_property
    def highest(self) -> Array:
        """Of each run."""
        return np.asarray(np.maximum.reduceat(self.high, self.begins))

    @cached_property
    def metric(self) -> Array:
        place, codes = self.distinct("metric")
        return np.array([catalogue().index[code] for code in codes], dtype=np.int64)[place]

    def distinct(self, name: str) -> tuple[Array, list[Any]]:
        """Texts of the messages as each one's place among the distinct ones, and these; null is one of them."""
        coded = self.messages.column(name).dictionary_encode(null_encoding="encode")
        return np.asarray(coded.indices), coded.dictionary.to_pylist()

    def number(self, name: str) -> Array:
        """A column of the readings without nulls."""
        return np.asarray(self.columns.column(name).to_numpy(zero_copy_only=True))

    def moments(self, name: str) -> tuple[Array, Array]:
        """A column of times: microseconds (UTC), 0 where it is not known, and where it is known."""
        if name not in self.columns.schema.names:
            return np.zeros(len(self), dtype=np.int64), np.zeros(len(self), dtype=bool)
        values = self.columns.column(name)
        return np.asarray(values.cast(pa.int64()).fill_null(0)), np.asarray(values.is_valid())

    def of_runs(self, chosen: Array) -> Array:
        """The places of the readings of the chosen runs."""
        return np.flatnonzero(np.repeat(chosen, np.diff(self.begins, append=len(self))))


Kernel = Callable[[Judged], Array | None]
"""Which readings [n] fail a check whose numbers are known; None for none of them."""


def _extremes(readings: pa.RecordBatch, family: str) -> tuple[Array, Array]:
    """The lowest and highest value of each reading: its value, or those of its block's samples."""
    names = ("low", "high") if family == WAVEFORM.name else ("value", "value")
    low, high = (np.asarray(readings.column(name).to_numpy(zero_copy_only=True)) for name in names)
    if family == LAB_RESULT.name:
        is_limit = np.asarray(readings.column("comparator").is_valid())
        low = high = np.where(is_limit, np.nan, low)  # what the true value is, is not known
    return low, high
