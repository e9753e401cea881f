"""To which rows a check applies: "not applicable" is a third answer, beside pass and fail.

What a stratum says (its metric, whether the device names its firmware) is told apart from what differs from row to row.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from quality.checks import Check, checks
from quality.gate_ranges import POSSIBLE, range_checks
from quality.judged import Array
from schemas.metrics import catalogue

Condition = tuple[tuple[str, ...], ...]
"""Columns that a row must have: of each set one is enough."""
ALWAYS: Condition = ()
LASTING: Condition = (("lasting",),)
"""The row is about an interval, not an instant."""

_OF_STRATUM = frozenset({"firmware", "device_model"})


def counted(of: Mapping[str, Check], family: str) -> list[Check]:
    """The checks whose answers are counted of a family's rows."""
    return [check for check in of.values() if check.is_counted and (not check.families or family in check.families)]


def of_rows(check: Check) -> Condition:
    """What a row must have for the check to apply, of all that differs from row to row."""
    if check.id in range_checks():
        return LASTING
    return tuple(names for names in check.alternatives if not _OF_STRATUM & set(names))


def applies(check: Check, code: str, firmware: bool) -> Condition | None:
    """To which rows of a metric the check applies, of a device that names its firmware or of one that does not.

    None: to none of them.
    """
    if (check.metrics and code not in check.metrics) or not set(check.study_sets) <= set(check.parameters):
        return None
    if not firmware and ("firmware",) in check.alternatives:
        return None
    return _by_range(check.id, code) if check.id in range_checks() else of_rows(check)


def _by_range(check: str, code: str) -> Condition | None:
    metric = catalogue().metrics[code]
    if check == POSSIBLE:
        limit, rate = metric.hard is not None, metric.hard_per_second is not None
    else:
        limit, rate = (_own(found, check) for found in (metric.plausible, metric.plausible_per_minute))
    return ALWAYS if limit else LASTING if rate else None


def _own(limit: Any, check: str) -> bool:
    return limit is not None and limit.check == check


def conditions() -> frozenset[Condition]:
    """All that checks ask of rows."""
    return frozenset(of_rows(check) for check in checks().values() if check.is_counted) | {LASTING}


def fulfilled(condition: Condition, has: Callable[[str], Array], count: int) -> Array:
    """Which of so many rows fulfil a condition, by which of them have a column."""
    found = np.ones(count, dtype=bool)
    for names in condition:
        found &= np.logical_or.reduce([has(name) for name in names])
    return found


def columns(wanted: Iterable[Condition]) -> frozenset[str]:
    """The columns that conditions ask for."""
    return frozenset(name for condition in wanted for names in condition for name in names)
