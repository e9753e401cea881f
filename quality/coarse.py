"""How pages, exports and reports round, so that two of them, or two of their numbers, do not differ by a few people.

A report's days overlap with those of the next, and what comes late changes a day that was told before: what stands in
several reports is a rounded share and never a count. A count stands in the report of its own day only.

Rows are not people: what one person has of them may be most. So a step stands for what half of `k` people may have, each
as much as the one who has most; and of fewer than `k` people who fail, or who pass, only a bound is said, which would be
the same whoever of them it is. What is signed off changes no more, and is told as it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import ceil, floor, log10
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.suppression import Share, share_of_people, withheld

Row = Mapping[str, Any]
"""How often something was judged and failed, and the people behind it: `n_eval`, `n_fail` and `quality.counts.BEHIND`."""

_FINE_STEPS = (0.001, 0.002, 0.005)
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_EPSILON = 1e-9
_ROWS_STEP = 0.001
_REST_STEP = 0.05


def is_told(row: Row, k: int) -> bool:
    """Whether enough people stand behind a count: were evaluated, and failed and passed where anybody did."""
    if row["most_of_one"] is None:
        return False
    return row["people"] >= k and not any(0 < row[f"people_{how}"] < k for how in ("failing", "passing"))


def counts_told(row: Row, k: int) -> tuple[int | None, int | None]:
    """How much was judged and how much of it failed: as it was signed off, or rounded; None where it is withheld."""
    if not is_told(row, k):
        return None, None
    if row["is_final"]:
        return row["n_eval"], row["n_fail"]
    judged, failed = (count_told(row[name], row["most_of_one"], k) for name in ("n_eval", "n_fail"))
    return (judged, failed) if judged else (None, None)


def count_told(count: int, most: int, k: int) -> int | None:
    """A count of rows to a step that stands for what half of `k` people may have, of whom nobody has more than `most`.

    None where nothing would be left of it.
    """
    step = round(_round_number(max(1.0, k / 2 * most)))
    return (count + step // 2) // step * step or (None if count else 0)


def mean_told(count: int, people: int, most: int, k: int) -> float | None:
    """How many of a count one of the people has, in steps as wide; None where too few have any, or nothing is left of it."""
    if people < k:
        return None
    step = _round_number(k / 2 * most / people)
    return significant(round(count / people / step) * step) or None


def _round_number(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, 50, … and of 0.5, 0.2, 0.1, … that is not below."""
    power = 10.0 ** floor(log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least - _EPSILON)


def share_told(row: Row, k: int) -> Share | None:
    """The share that fails, in steps that stand for what half of `k` people may have; of fewer who fail or pass a bound.

    None where too few people are known to stand behind it, or where nothing would be said.
    """
    if not row["n_eval"] or row["most_of_one"] is None or row["people"] < k:
        return None
    share_of_one = row["most_of_one"] / row["n_eval"]
    step = next((step for step in (*_FINE_STEPS, *_STEPS) if step >= k / 2 * share_of_one - _EPSILON), 1.0)
    bound = min(1.0, ceil(k * share_of_one / step - _EPSILON) * step)
    few_fail, few_pass = 0 < row["people_failing"] < k, row["people_passing"] < k
    if few_fail or few_pass:
        found = Share(_at(bound), at_most=True) if few_fail else Share(_at(1 - bound), at_least=True)
    else:
        found = _rounded(row["n_fail"] / row["n_eval"], step)
    return None if (few_fail and few_pass) or _says_nothing(found, step) else found


def together(rows: Iterable[Row]) -> Row:
    """The sum of some rows, in which the same people may be: there are at least as many as in one of them."""
    rows = list(rows)
    largest = {name: max(row[name] or 0 for row in rows) for name in ("people", "people_failing", "people_passing")}
    most = None if any(row["most_of_one"] is None for row in rows) else sum(row["most_of_one"] for row in rows)
    sums = {name: sum(row[name] for row in rows) for name in ("n_eval", "n_fail", "n_na")}
    return {**sums, **largest, "most_of_one": most, "is_final": all(row["is_final"] for row in rows)}


def share_of_rows(part: int, whole: int, k: int) -> Share | None:
    """How large a part of rows is, to a tenth of a per cent; None of nothing.

    Of rows so few that this would tell how many they are, as of so many people: each may be another one's.
    """
    if whole * _ROWS_STEP < k / 2:
        return share_that_fails(part, whole, k)
    return _rounded(part / whole, _ROWS_STEP)


def not_applicable(rest: int, judged: int) -> Share | None:
    """Which part could not be judged, to five per cent: it may be a few people's, of whom no count is told."""
    return _rounded(rest / (rest + judged), _REST_STEP) if rest + judged else None


def share_that_fails(failed: int, whole: int, k: int) -> Share | None:
    """A share of people, or of their days, as `share_of_people`, rounded; of fewer than `k` it is said that it is less.

    None where too few are asked, or where nothing would be said.
    """
    if 0 < failed < k <= whole:
        step = _step(whole, k)
        found: Share | None = Share(_at(ceil(k / whole / step - _EPSILON) * step), at_most=True)
    else:
        found = share_of_people(failed, whole, k)
        found = None if found is None else coarse(found, whole, k)
    return None if found is None or _says_nothing(found) else found


def _says_nothing(share: Share, step: float = 0.0) -> bool:
    """Whether it could be any share at all."""
    return step >= 1 or (share.at_most and share.value >= 1) or (share.at_least and share.value <= 0)


def share_that_passes(failed: int, whole: int, k: int) -> Share | None:
    """What is left besides `share_that_fails`."""
    fails = share_that_fails(failed, whole, k)
    return None if fails is None else Share(_at(1 - fails.value), at_least=fails.at_most, at_most=fails.at_least)


def coarse(share: Share, whole: int, k: int) -> Share:
    """A share of so many people in steps of which each stands for at least half of `k` people."""
    step = _step(whole, k)
    steps = share.value / step
    whole_steps = floor(steps + _EPSILON) if share.at_least else max(round(steps), int(share.value > 0))
    return replace(share, value=_at(whole_steps * step))


def at_least(count: int, k: int) -> int | None:
    """A count of people or kits, down to a multiple of `k`; None where it is below."""
    return count // k * k or None


def significant(value: float | None, digits: int = 2) -> float | None:
    """A measure to so many digits: a median may be one person's."""
    return None if value is None else float(f"{value:.{digits}g}")


def telling_checks(judged: pa.Table, k: int) -> frozenset[str]:
    """Checks whose counts would tell, less those of others, how many rows or days there are of a small group.

    `judged` is what `counts.judged_strata` gives. A check of all metrics less a check of one is the rest, which may be a
    few people. So may be those of a stratum to which a check does not apply, where it applies to others of the stratum.
    Rows and days are different things: only the checks of one judge are compared.
    """
    found = set(judged.filter(judged.column("partly")).column("check").to_pylist())
    for judge in judged.column("judge").unique().to_pylist():
        found |= _telling(judged.filter(pc.equal(judged.column("judge"), judge)), k)
    return frozenset(found)


def _telling(judged: pa.Table, k: int) -> set[str]:
    place = np.unique(np.asarray(judged.column("stratum")), return_inverse=True)[1]
    number = int(place.max()) + 1
    people = np.zeros(number, dtype=np.int64)
    np.maximum.at(people, place, np.asarray(judged.column("people").fill_null(0)))
    if people.min() >= k:
        return set()
    of_check = _groups(judged.column("check"), place)
    tables = {f"check {check}": {check: strata} for check, strata in of_check.items()}
    tables["few"] = {str(i): [i] for i in np.flatnonzero(people < k).tolist()}
    for name in ("metric", "partner", "device_model"):
        groups = _groups(judged.column(name), place)
        few = {key: strata for key, strata in groups.items() if people[strata].max() < k}
        tables[f"few by {name}"] = few
    hidden = withheld(tables, people.tolist(), k)
    return {check for check in of_check if hidden.hides(f"check {check}", check)}


def _groups(keys: pa.ChunkedArray, place: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, list[int]]:
    """Which strata there are of each key."""
    encoded = keys.combine_chunks().dictionary_encode()
    codes = np.asarray(encoded.indices.fill_null(-1))
    names = encoded.dictionary.to_pylist()
    return {name: np.unique(place[codes == code]).tolist() for code, name in enumerate(names)}


def _step(whole: int, k: int) -> float:
    return next((step for step in _STEPS if step * whole >= k / 2 - _EPSILON), 1.0)


def _rounded(share: float, step: float) -> Share:
    """To the nearest step; what is more than nothing is not said to be nothing."""
    if 0 < share < step / 2:
        return Share(step, at_most=True)
    return Share(_at(round(share / step) * step))


def _at(share: float) -> float:
    return round(share, 3)
