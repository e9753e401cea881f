"""What a check answered about its units, and the rows that tell of it: counts by stratum, and never a person."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from quality.checks import Check
from quality.desk import Stratum
from quality.job.segments import DAY_US, Array, by_group, groups_of, median, people_in
from schemas.families import CHECK_RESULT, DAY_SUMMARY

JUDGE = "job"
GATE = "gate"
"""The judge of the gate's counts, as the job found them."""


class Name(NamedTuple):
    """What a result is about; None for all of them."""

    partner: str | None = None
    family: str | None = None
    metric: str | None = None
    device_model: str | None = None
    firmware: str | None = None

    @property
    def of_source(self) -> "Name":
        """The devices without what they measured."""
        return Name(partner=self.partner, device_model=self.device_model, firmware=self.firmware)


def coarser(names: Sequence[Name], kept: Callable[[Name], Name]) -> tuple[list[Name], Array]:
    """Of strata what is kept of them, each once, and the place of each stratum's among these."""
    places: dict[Name, int] = {}
    place = [places.setdefault(kept(name), len(places)) for name in names]
    return list(places), np.array(place, dtype=np.int64)


@dataclass(frozen=True)
class Answers:
    """What one check answered about units of a day: each is of `names[name]`, and of a person by number (-1 for none).

    `evaluated`, `failed` and `not_applicable` [n] are how often each answer was given about the unit, mostly 0 or 1.
    `measured` [n] is the statistic that was compared, NaN where there was none; a result's is the median of them.
    `people` [names] is how many there are of each where units are not told apart by person.
    """

    check: str
    day: int
    names: list[Name]
    name: Array
    person: Array
    evaluated: Array
    failed: Array
    not_applicable: Array
    measured: Array | None = None
    people: Array | None = None


def answered(
    check: str,
    day: int,
    names: list[Name],
    name: Array,
    person: Array,
    *,
    applies: Array,
    fails: Array,
    measured: Array | None = None,
    people: Array | None = None,
) -> Answers:
    """The answers where every unit [n] is judged once: whether the check applies to it, and whether it fails."""
    failed = applies & fails
    numbers = None if measured is None else np.where(applies, measured, np.nan)
    counts = [column.astype(np.int64) for column in (applies, failed, ~applies)]
    return Answers(check, day, names, name, person, counts[0], counts[1], counts[2], numbers, people)


@dataclass(frozen=True)
class Results:
    """What the job found of some days of a study.

    `results` and `summaries` have the columns of CHECK_RESULT and DAY_SUMMARY; their `entry` is 0, to be replaced by the
    ledger entry's number. They take the place of all earlier rows of the judge `job` that are of `replaced`, pairs of a
    check and a day (of a week its first), of all of the judge `gate` that are of `counted` days, and of all summaries of
    `summarised` days. `recalls` are the strata whose rows ought to go to quarantine.
    """

    results: pa.Table
    summaries: pa.Table
    replaced: frozenset[tuple[str, date]] = frozenset()
    summarised: frozenset[date] = frozenset()
    recalls: tuple[Stratum, ...] = ()
    counted: frozenset[date] = frozenset()


class Tallies:
    """Answers added up by check, day and stratum. Nobody who is in one of the answers of a stratum is in another."""

    def __init__(self) -> None:
        self._sums: dict[_Unit, list[int]] = {}
        self._behind: dict[_Unit, list[int]] = {}
        self._measured: dict[_Unit, list[Array]] = {}

    def add(self, answers: Answers) -> None:
        """Add a part's answers."""
        total = len(answers.names)
        counts = [
            np.bincount(answers.name, column, minlength=total).astype(np.int64)
            for column in (answers.evaluated, answers.failed, answers.not_applicable)
        ]
        columns = np.stack([*counts, _people(answers)], axis=1)
        for place in np.unique(answers.name).tolist():
            sums = self._sums.setdefault(_Unit(answers.check, answers.day, answers.names[place]), [0] * 4)
            sums[:] = (one + more for one, more in zip(sums, columns[place].tolist(), strict=True))
        self._add_behind(answers)
        if answers.measured is not None:
            for place, part in by_group(answers.measured, answers.name, total):
                unit = _Unit(answers.check, answers.day, answers.names[place])
                self._measured.setdefault(unit, []).append(part.copy())

    def _add_behind(self, answers: Answers) -> None:
        """Who failed and who passed at least once, and how often one person was asked at most."""
        if answers.people is not None or (answers.person < 0).any() or not len(answers.name):
            return
        total, pair = len(answers.names), groups_of(answers.name, answers.person)
        name = answers.name[pair[1]]
        evaluated, failed = (
            np.bincount(pair[0], column).astype(np.int64) for column in (answers.evaluated, answers.failed)
        )
        failing, passing = (np.bincount(name[some], minlength=total) for some in (failed > 0, evaluated > failed))
        most = np.zeros(total, dtype=np.int64)
        np.maximum.at(most, name, evaluated)
        for place in np.unique(name).tolist():
            unit = _Unit(answers.check, answers.day, answers.names[place])
            before = self._behind.get(unit, [0, 0, 0])
            more = int(failing[place]), int(passing[place]), int(most[place])
            self._behind[unit] = [before[0] + more[0], before[1] + more[1], max(before[2], more[2])]

    def units(self) -> set[tuple[str, int]]:
        """The checks that were asked, each with the day."""
        return {(unit.check, unit.day) for unit in self._sums}

    def table(
        self, catalogue: Mapping[str, Check], smallest_cell: int, besides: Iterable[dict[str, Any]] = ()
    ) -> pa.Table:
        """The rows of CHECK_RESULT, in the family's order: one for each stratum that has a unit, and those `besides`."""
        rows = [self._row(unit, catalogue[unit.check].version, smallest_cell) for unit in self._sums]
        rows += besides
        return _in_order(pa.Table.from_pylist(rows, schema=CHECK_RESULT.schema), CHECK_RESULT.sort_key)

    def _row(self, unit: "_Unit", version: int, smallest_cell: int) -> dict[str, Any]:
        sums = dict(zip(("n_eval", "n_fail", "n_na", "people"), self._sums[unit], strict=True))
        behind = self._behind.get(unit, [None] * 3)
        told = sums["people"] >= smallest_cell and unit in self._measured
        return {
            **unit.name._asdict(),
            "judge": JUDGE,
            "check": unit.check,
            "version": version,
            "start": unit.day * DAY_US,
            "entry": 0,
            **sums,
            **dict(zip(("people_failing", "people_passing", "most_of_one"), behind, strict=True)),
            "measure": median(np.concatenate(self._measured[unit])) if told else None,
        }


class _Unit(NamedTuple):
    check: str
    day: int
    name: Name


def summary_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows of DAY_SUMMARY, in the family's order."""
    return _in_order(pa.Table.from_pylist(rows, schema=DAY_SUMMARY.schema), DAY_SUMMARY.sort_key)


def _in_order(table: pa.Table, sort_key: tuple[str, ...]) -> pa.Table:
    """By the family's order, and among equals by stratum: the same input gives the same rows."""
    rest = [name for name in Name._fields if name not in sort_key]
    return table.sort_by([(name, "ascending") for name in (*sort_key, *rest)])


def _people(answers: Answers) -> Array:
    """How many people were evaluated in each stratum."""
    if answers.people is not None:
        return answers.people
    chosen = (answers.evaluated > 0) & (answers.person >= 0)
    return people_in(answers.person, answers.name, chosen, len(answers.names))
