"""How a study's data stand, from sums: each check's state by its thresholds, its trend, and Kahn's matrix.

Pure functions over what `quality/counts.py` gives. Whatever would tell of fewer people than the study allows comes out
withheld, so that pages, exports and reports cannot but say the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any, Protocol

import pyarrow as pa

from quality.checks import Check, Context, Dimension, Scope, Severity, Thresholds

_JUDGES = ("gate", "job", "suite")


class State(StrEnum):
    """How a check stands. The first two are violated; the last two say nothing about the data."""

    ALARM = "alarm"
    WARNING = "warning"
    PASSED = "passed"
    WITHHELD = "withheld"
    NOT_APPLICABLE = "not applicable"

    @property
    def is_violated(self) -> bool:
        return self in (State.ALARM, State.WARNING)

    @property
    def is_judged(self) -> bool:
        return self.is_violated or self is State.PASSED


_GRAVEST = {state: place for place, state in enumerate(State)}
_SEVERITY = {severity: place for place, severity in enumerate(reversed(Severity))}


@dataclass(frozen=True)
class Counted:
    """How often a check was asked; numbers are None where they are withheld."""

    n_eval: int | None
    n_fail: int | None
    n_na: int | None

    @property
    def share(self) -> float | None:
        """Which part of what was judged failed; None where nothing was judged or it is withheld."""
        return self.n_fail / self.n_eval if self.n_eval and self.n_fail is not None else None


NOTHING = Counted(0, 0, 0)
HIDDEN = Counted(None, None, None)


@dataclass(frozen=True)
class Standing:
    """One check: how it stood on the day `of` or, of a check of weeks, in the week that began then."""

    check: Check
    state: State
    of: date


class Stands(Protocol):
    """Whatever says how a check stands."""

    @property
    def check(self) -> Check: ...

    @property
    def state(self) -> State: ...


def one_judge(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of the first of gate, job and suite that has judged at all, so that nothing is counted twice."""
    rows = list(rows)
    judges = {row["judge"] for row in rows}
    first = next((judge for judge in _JUDGES if judge in judges), None)
    return [row for row in rows if row["judge"] == first]


def by_check(days: pa.Table) -> dict[str, dict[date, Mapping[str, Any]]]:
    """The sums of `check_days`, by check and day."""
    rows = sorted(days.to_pylist(), key=lambda row: row["check"])
    return {
        name: {row["day"]: row for row in one_judge(of_check)}
        for name, of_check in groupby(rows, key=lambda row: row["check"])
    }


def newest_day(days: pa.Table) -> date | None:
    """The last day of which anything was judged."""
    return max(days.column("day").to_pylist(), default=None)


def counted(row: Mapping[str, Any] | None, k: int) -> Counted:
    """A sum by which a check is judged; where nothing was, that says nothing of anybody. `check_numbers` publishes it."""
    if row is None:
        return NOTHING
    if row["n_eval"] and (row["people"] or 0) < k:
        return HIDDEN
    return Counted(row["n_eval"], row["n_fail"], row["n_na"] if row["n_eval"] else None)


def state_of(thresholds: Thresholds, numbers: Counted) -> State:
    """How these numbers stand to the thresholds: above them, or not."""
    if numbers.n_eval is None:
        return State.WITHHELD
    share = numbers.share
    if share is None:
        return State.NOT_APPLICABLE
    if thresholds.alarm is not None and share > thresholds.alarm:
        return State.ALARM
    return State.WARNING if share > thresholds.warning else State.PASSED


def standings(
    of_checks: Mapping[str, Mapping[date, Mapping[str, Any]]],
    day: date,
    catalogue: Mapping[str, Check],
    k: int,
) -> list[Standing]:
    """Every check of the catalogue in force on that day, also those that wait for something and do not apply."""
    found = []
    for name, check in catalogue.items():
        of = told_of(check, day)
        numbers = counted(of_checks.get(name, {}).get(of), k) if check.is_active else NOTHING
        found.append(Standing(check, state_of(check.thresholds, numbers), of))
    return found


def in_order(found: list[Standing]) -> list[Standing]:
    """What is violated first, the gravest first; then what is in order, and last what does not apply."""
    return sorted(found, key=lambda one: (_GRAVEST[one.state], _SEVERITY[one.check.severity]))


def told_of(check: Check, day: date) -> date:
    """What is told of a check on a day: that day, or the last week that was over, by its Monday."""
    return last_monday(day) if is_weekly(check) else day


def last_monday(day: date) -> date:
    """The Monday of the last week that is over at the end of that day."""
    return day - timedelta(days=(day.weekday() + 1) % 7 + 6)


def is_weekly(check: Check) -> bool:
    return check.scope in (Scope.PARTICIPANT_WEEK, Scope.STUDY_WEEK)


def days_until(last: date, count: int) -> list[date]:
    """So many days, of which that is the last."""
    return [last - timedelta(days=count - 1 - i) for i in range(count)]


@dataclass
class KahnCell:
    """How many checks of a dimension and context are violated, of how many that were judged; and the others."""

    violated: int = 0
    judged: int = 0
    withheld: int = 0
    not_applicable: int = 0


def matrix(found: Iterable[Stands]) -> dict[Dimension, dict[Context, KahnCell]]:
    """Kahn's matrix: dimensions with their subcategories by context."""
    cells = {dimension: {context: KahnCell() for context in Context} for dimension in Dimension}
    for one in found:
        cell = cells[one.check.dimension][one.check.context]
        cell.violated += one.state.is_violated
        cell.judged += one.state.is_judged
        cell.withheld += one.state is State.WITHHELD
        cell.not_applicable += one.state is State.NOT_APPLICABLE
    return cells


def by_severity(found: Iterable[Stands]) -> dict[Severity, int]:
    """How many checks are violated, the gravest first."""
    violated = [one.check.severity for one in found if one.state.is_violated]
    return {severity: violated.count(severity) for severity in reversed(Severity)}
