"""The summaries of earlier days, with which a day is compared."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from quality.desk import LakeDesk
from quality.job.results import Name
from quality.job.segments import DAY_US, Array, numbers
from quality.job.times import moment

STRATUM, METRIC, STUDY = "stratum", "metric", "study"
_HISTORY = """
SELECT level, partner, family, metric, device_model, firmware, start, rows, people, enrolled, median, spread, entry
FROM day_summary WHERE start >= ? AND start < ? AND level IN ('stratum', 'metric')"""


class History:
    """The summaries of earlier days, by level and name: what is known already, and what this job adds as it goes."""

    def __init__(self, table: pa.Table) -> None:
        self._days: dict[tuple[str, Name], dict[int, tuple[int, int, float, float]]] = {}
        columns = {name: table.column(name).to_pylist() for name in ("level", *Name._fields, "rows", "people")}
        start = table.column("start").cast(pa.int64()).to_pylist()
        middle, spread = (numbers(table.column(name)).tolist() for name in ("median", "spread"))
        names = map(Name, *(columns[name] for name in Name._fields))
        rest = zip(columns["rows"], columns["people"], middle, spread, strict=True)
        for level, name, at, row in zip(columns["level"], names, start, rest, strict=True):
            self._days.setdefault((level, name), {})[at // DAY_US] = row

    def replace(self, day: int, rows: Sequence[dict[str, Any]]) -> None:
        """Take a day's summaries in, in place of what was known of that day."""
        for days in self._days.values():
            days.pop(day, None)
        for row in rows:
            numbers_of = (row["rows"], row["people"], *(_number(row[name]) for name in ("median", "spread")))
            name = Name(*(row[field] for field in Name._fields))
            self._days.setdefault((row["level"], name), {})[day] = numbers_of

    def before(self, level: str, name: Name, day: int, days: int) -> tuple[Array, Array]:
        """Of the days before a day, at most so many: their numbers [n], and rows, people, median, spread [n, 4]."""
        known = self._days.get((level, name), {})
        chosen = sorted(at for at in known if day - days <= at < day)
        return np.array(chosen, dtype=np.int64), np.array([known[at] for at in chosen], dtype=np.float64).reshape(-1, 4)

    def on(self, level: str, day: int) -> dict[Name, Array]:
        """Rows, people, median, spread of a day by name."""
        return {
            name: np.array(days[day], dtype=np.float64)
            for (of, name), days in self._days.items()
            if of == level and day in days
        }

    def names(self, level: str) -> list[Name]:
        return [name for of, name in self._days if of == level]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def read_history(desk: LakeDesk, study: str, first: int, last: int) -> History:
    """The summaries of the days from the first to the last."""
    return History(desk.query(study, _HISTORY, [moment(first), moment(last + 1)]))
