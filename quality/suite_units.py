"""The suite of units and its frame: participant-days, series, strata and weeks, by what the job after the commit measured.

What a unit measures is the job's; whether that is within what the catalogue allows, the suite judges by itself.
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np
import pyarrow as pa

from quality.checks import Check
from quality.job.results import Answers
from quality.job.segments import Array
from quality.suites import Asked, Clause, Compile, Suite, both, compiled, one_of
from schemas.metrics import catalogue

STEPS_OF_DAY = "steps_24h"
_Limit = Callable[[Check], tuple[Clause, ...]]


def units_suite(of: Mapping[str, Check]) -> Suite:
    """What units are asked, by the catalogue in force `of`."""
    return compiled("units", None, of, {name: _of_units(name) for name in _LIMITS})


def _of_units(name: str) -> Compile:
    def asked(check: Check) -> Asked:
        among = f"check == {name!r}"
        own = both(among, "applies == 1")
        clauses = [clause.model_copy(update={"where": both(own, clause.where)}) for clause in _LIMITS[name](check)]
        return Asked(applies=own, clauses=tuple(clauses), among=among)

    return asked


def _at_most(parameter: str) -> _Limit:
    return lambda check: (Clause(kind="between", column="statistic", high=check.number(parameter)),)


def _at_least(parameter: str) -> _Limit:
    return lambda check: (Clause(kind="between", column="statistic", low=check.number(parameter)),)


def _below(parameter: str) -> _Limit:
    return lambda check: (Clause(kind="between", column="statistic", high=check.number(parameter), strict=True),)


def _no_farther(parameter: str) -> _Limit:
    def limit(check: Check) -> tuple[Clause, ...]:
        most = check.number(parameter)
        return (Clause(kind="between", column="statistic", low=-most, high=most),)

    return limit


def _steps_of_day(check: Check) -> tuple[Clause, ...]:
    limit = catalogue().metrics[STEPS_OF_DAY].plausible
    assert limit is not None
    return (Clause(kind="between", column="statistic", high=limit.high),)


def _changes(check: Check) -> tuple[Clause, ...]:
    changes = check.by_metric("change_percent")
    return tuple(
        Clause(kind="between", column="statistic", high=percent, where=one_of("metric", (code,)))
        for code, percent in changes.items()
    )


_LIMITS: dict[str, _Limit] = {
    "LK-14": _changes,
    "PL-04": _steps_of_day,
    "PL-07": _no_farther("robust_z"),
    "PL-08": _no_farther("robust_sd"),
    "SQ-01": _at_most("gap_share"),
    "SQ-02": _at_most("deviation_share"),
    "TM-05": _at_most("drift_s_per_day"),
    "TM-08": _below("shift_h"),
    "TM-09": _at_most("late_h"),
    "UQ-03": _at_most("overlap_share"),
    "WT-02": _at_least("valid_days"),
    "WT-03": _below("silent_days"),
}
OF_UNITS = frozenset(_LIMITS)
"""The checks that the suite of units knows; of PL-04, which a suite of rows knows too, the days."""


# -- their frame

UNITS = pa.schema(
    [
        ("check", pa.string()),
        ("metric", pa.string()),
        ("applies", pa.int64()),
        ("statistic", pa.float64()),
        ("person", pa.int64()),
        ("people", pa.int64()),
    ]
)


class Units:
    """Hears the job's answers and keeps, of the checks that ask it, each unit's statistic and whose it is (-1: of several).

    A person has another number in the next answer: no two answers of a check are about the same people and day.
    """

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []
        self._people = 0

    def __call__(self, of: Answers) -> None:
        if of.check in OF_UNITS and of.measured is not None and len(of.name):
            self._parts.append(_units(of, of.measured, self._people))
            self._people += int(of.person.max(initial=0)) + 1

    def of_days(self, days: Collection[int]) -> Callable[[Answers], None]:
        """Hears only of some days, counted from 1970."""
        return lambda of: self(of) if of.day in days else None

    def frame(self) -> pa.Table:
        """`people` is how many there are behind a unit of several."""
        return pa.concat_tables(self._parts) if self._parts else UNITS.empty_table()


def _units(of: Answers, measured: Array, first: int) -> pa.Table:
    # whole hours, as the job compares them
    statistic = np.round(measured) if of.check == "TM-08" else measured
    metrics = pa.array([name.metric for name in of.names], pa.string())
    people = np.ones(len(of.name), dtype=np.int64) if of.people is None else of.people[of.name]
    columns = {
        "check": pa.repeat(of.check, len(of.name)),
        "metric": metrics.take(pa.array(of.name)),
        "applies": of.evaluated,
        "statistic": pa.array(statistic, from_pandas=True),
        "person": np.where(of.person >= 0, of.person.astype(np.int64) + first, -1),
        "people": people,
    }
    return pa.table(columns).cast(UNITS)
