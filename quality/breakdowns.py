"""Shares by stratum, and what came of readings, as they are published: small cells withheld.

Pure functions over what `quality/counts.py` gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from quality.check_numbers import share_of
from quality.checks import Check
from quality.coarse import together
from quality.overview import one_judge
from quality.suppression import Share, withheld_rows

BY = ("partner", "metric", "device_model", "firmware")
"""By what the strata of a check are summed, a table each."""


@dataclass(frozen=True)
class StratumRow:
    """A row of a table of strata: which one it is, and the rounded share that fails; None where it is withheld."""

    key: tuple[str | None, ...]
    fails: Share | None


@dataclass(frozen=True)
class Strata:
    """A check on one day by each of `BY` and by all of STRATUM; whether anything was judged, and anything is withheld."""

    tables: Mapping[str, list[StratumRow]]
    finest: list[StratumRow]
    anything: bool
    any_withheld: bool


def strata_of(check: Check, rows: pa.Table, finest: Sequence[str], k: int) -> Strata:
    """What `counts.strata` gives, in tables of shares; strata in which nothing was judged are left out.

    Counts would add up: those of one check less those of another, or of all strata less the larger ones, may be a few
    people's. Rounded shares do not, and their order says no more than they do.
    """
    kept = [row for row in one_judge(rows.to_pylist()) if row["n_eval"]]
    tables = {name: _summed(check, kept, (name,), k) for name in BY}
    told = _summed(check, kept, finest, k)
    return Strata(tables, told, bool(kept), any(row.fails is None for row in told))


def _summed(check: Check, kept: Sequence[Mapping[str, Any]], columns: Sequence[str], k: int) -> list[StratumRow]:
    """The strata summed by these columns, the greatest share first and what is withheld last."""
    groups: dict[tuple[str | None, ...], list[Mapping[str, Any]]] = {}
    for row in kept:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    told = [
        StratumRow(key, share_of(check, {**together(rows), "judge": rows[0]["judge"]}, k))
        for key, rows in groups.items()
    ]
    return sorted(told, key=lambda row: (-row.fails.value if row.fails else 1.0, [part or "" for part in row.key]))


@dataclass(frozen=True)
class OutcomeRow:
    """What came of readings, for which reason; numbers are None where they are withheld."""

    outcome: str
    reason: str
    n: int | None
    share: float | None


def outcome_rows(rows: pa.Table, k: int) -> list[OutcomeRow]:
    """Outcomes with their share of all: readings, which are told where it is known that enough people stand behind them.

    Nobody knows that of a day that goes on. It changes no more once it is over, so that no two looks differ.
    """
    found = rows.to_pylist()
    total = sum(row["n"] for row in found)
    hidden = withheld_rows([row["people"] for row in found], k)
    told = [
        OutcomeRow(row["outcome"], row["reason"] or "", *((None, None) if hides else (row["n"], row["n"] / total)))
        for row, hides in zip(found, hidden, strict=True)
        if row["n"]
    ]
    return sorted(told, key=lambda row: (row.outcome, row.n is None, -(row.n or 0), row.reason))
