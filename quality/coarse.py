"""How pages, exports and reports round, so that two of them, or two of their numbers, do not differ by a few people.

A report's days overlap with those of the next, and what comes late changes a day that was told before: what stands in
several reports is a rounded share and never a count. A count stands in the report of its own day only.
"""

from dataclasses import replace
from math import ceil, floor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.suppression import Share, share_of_people, withheld

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_EPSILON = 1e-9
_ROWS_STEP = 0.001
_REST_STEP = 0.05


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
    says_nothing = found is not None and ((found.at_most and found.value >= 1) or (found.at_least and found.value <= 0))
    return None if says_nothing else found


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
