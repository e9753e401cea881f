"""What a study holds of a day, by stratum, metric and in all, added up over the parts in which it is read.

It is what the days after it are compared with.
"""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from quality.job.readings import Readings
from quality.job.results import Name
from quality.job.segments import DAY_US, Array, groups_of, people_in
from quality.job.summaries import METRIC, STRATUM, STUDY
from quality.job.values import Values


class Totals:
    """Rows, people and values of a day's strata. Each person is in one part. `close` it."""

    def __init__(self) -> None:
        self._places: dict[Name, int] = {}
        self._metrics: dict[Name, int] = {}
        self._metric_of: list[int] = []
        self._rows: list[int] = []
        self._people: dict[str, dict[int, int]] = {level: {} for level in (STRATUM, METRIC, STUDY)}
        self._most: dict[int, int] = {}
        self._backed: dict[str, dict[int, int]] = {level: {} for level in (STRATUM, METRIC)}
        self._values = Values()
        self._middles: dict[tuple[int, ...], float] = {}

    def close(self) -> None:
        self._values.close()

    @property
    def names(self) -> list[Name]:
        """The strata, in the order in which they came."""
        return list(self._places)

    def has(self, family: str, metrics: Collection[str]) -> bool:
        """Whether there is a reading of a family and one of these metrics."""
        return any(name.family == family and name.metric in metrics for name in self._places)

    def people(self, level: str) -> Array:
        """How many people have a row, of each stratum, metric or of the study."""
        counts = self._people[level]
        return np.array([counts[place] for place in range(len(counts))], dtype=np.int64)

    def medians(self) -> Array:
        """[strata] of all values, however few people stand behind them; NaN where there is no value."""
        return np.array([self._middle((place,)) for place in self._places.values()], dtype=np.float64)

    def add(self, readings: Readings) -> None:
        """Add a part."""
        places = np.array([self._place(name) for name in readings.names], dtype=np.int64)
        name = places[readings.name]
        for place, rows in enumerate(np.bincount(name, minlength=len(self._rows)).tolist()):
            self._rows[place] += rows
        has_value = ~np.isnan(readings.value)
        of_metric = np.array(self._metric_of, dtype=np.int64)
        groups = {STRATUM: name, METRIC: of_metric[name], STUDY: np.zeros_like(name)}
        for level, group in groups.items():
            _note(self._people[level], people_in(readings.person, group))
            if level in self._backed:
                _note(self._backed[level], people_in(readings.person, group, has_value))
        for metric, most in enumerate(_most_of_one(groups[METRIC], readings.person).tolist()):
            self._most[metric] = max(most, self._most.get(metric, 0))
        self._values.add(readings.value, name, len(self._rows))

    def _place(self, name: Name) -> int:
        if name not in self._places:
            metric = Name(family=name.family, metric=name.metric)
            self._places[name] = len(self._places)
            self._metric_of.append(self._metrics.setdefault(metric, len(self._metrics)))
            self._rows.append(0)
        return self._places[name]

    def summaries(self, day: int, enrolled: int, smallest_cell: int) -> list[dict[str, Any]]:
        """The rows of DAY_SUMMARY of the day; the one of the study is there on a day without readings too."""
        common = {"start": day * DAY_US, "enrolled": enrolled, "entry": 0}
        return [
            {
                "level": level,
                **name._asdict(),
                **common,
                "rows": sum(self._rows[place] for place in strata),
                "people": self._people[level].get(number, 0),
                "most_of_one": self._most.get(number, 0) if level == METRIC else None,
                **self._statistics(level, number, strata, smallest_cell),
            }
            for level, number, name, strata in self._levels()
        ]

    def _levels(self) -> Iterator[tuple[str, int, Name, tuple[int, ...]]]:
        """Each level's groups: number, name, and the strata that are in it."""
        for name, place in self._places.items():
            yield STRATUM, place, name, (place,)
        for name, number in self._metrics.items():
            yield METRIC, number, name, tuple(np.flatnonzero(np.array(self._metric_of) == number).tolist())
        yield STUDY, 0, Name(), tuple(self._places.values())

    def _statistics(self, level: str, number: int, strata: tuple[int, ...], smallest_cell: int) -> dict[str, Any]:
        """Median and spread where enough people have a value; the study has none, of metrics so different."""
        if level == STUDY or self._backed[level].get(number, 0) < max(1, smallest_cell):
            return {"median": None, "spread": None}
        return {"median": self._middle(strata), "spread": self._values.spread(strata, self._middle(strata))}

    def _middle(self, strata: tuple[int, ...]) -> float:
        if strata not in self._middles:
            self._middles[strata] = self._values.middle(strata)
        return self._middles[strata]


def _most_of_one(group: Array, person: Array) -> Array:
    """How many rows the one has who has most, of each group up to the last."""
    pair, first = groups_of(group, person)
    found = np.zeros(int(group.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(found, group[first], np.bincount(pair))
    return found


def _note(counts: dict[int, int], more: Array) -> None:
    for place, count in enumerate(more.tolist()):
        counts[place] = counts.get(place, 0) + count
