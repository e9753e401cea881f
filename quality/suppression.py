"""Small cells: which numbers are not published, so that nothing is said of fewer people than a study allows.

A number about too few people is withheld, and so are further ones (complementary suppression) until no sum or difference
of what is published gives a withheld one. How many people stand behind a sum of strata is seldom known, since one person
may be in several of them: the largest stratum's people are a number that there are at least, and that is what counts.

What is known of everybody is known of each of them: where nothing failed at all, nothing failed in a small cell either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Key = Any
Table = Mapping[Key, Sequence[int]]
"""A table's rows by key: which strata each of them sums."""

_NOTHING = 1e-6


@dataclass(frozen=True)
class Withheld:
    """What is not published: whether the total is, and the keys of each table's rows."""

    total: bool
    rows: Mapping[str, frozenset[Key]]

    def hides(self, table: str, key: Key) -> bool:
        return key in self.rows[table]


class _Published:
    """All that might be published as sums of strata: the total first, then row by row of each table."""

    def __init__(self, tables: Mapping[str, Table], people: Sequence[int | None], k: int) -> None:
        self.k = k
        places: list[Sequence[int]] = [range(len(people))]
        self.names: list[tuple[str, Key]] = [("", None)]
        for name, rows in tables.items():
            places += rows.values()
            self.names += [(name, key) for key in rows]
        self.sums = np.zeros((len(places), len(people)))
        for i, strata in enumerate(places):
            self.sums[i, list(strata)] = 1
        self.size = self.sums.sum(axis=1)
        numbers: dict[bytes, int] = {}
        self.same = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in self.sums])
        known = np.array([number or 0 for number in people], dtype=np.int64)
        self.people = np.array([known[list(strata)].max(initial=0) for strata in places], dtype=np.int64)
        self.small: Bools = self.people < k
        self.hidden: Bools = self.small.copy()

    def of_table(self, name: str) -> Rows:
        return np.array([i for i, (table, _) in enumerate(self.names) if table == name], dtype=np.intp)

    def hide_smallest(self, among: Rows) -> None:
        """Withhold one of these, wherever it stands: of the finest, that of fewest people; the total last."""
        size = self.size[among] + (among == 0) * len(self.sums)
        chosen = among[np.lexsort((self.people[among], size))[0]]
        self.hidden[self.same == self.same[chosen]] = True


def withheld(tables: Mapping[str, Table], people: Sequence[int | None], k: int) -> Withheld:
    """What to withhold of tables that each divide the same strata, beside which their total is published.

    `people[i]` is how many stand behind stratum i (None where nobody knows, which counts as too few); a row is named by
    its key, and sums the strata whose numbers it gives.
    """
    published = _Published(tables, people, k)
    for name in tables:
        _blur_rest(published, published.of_table(name))
    while ways := _ways_to_small_ones(published):
        for rows in ways:
            if not published.hidden[rows].any():  # a way that is barred already need not be barred again
                published.hide_smallest(rows)
    return Withheld(
        bool(published.hidden[0]),
        {
            name: frozenset(published.names[i][1] for i in published.of_table(name) if published.hidden[i])
            for name in tables
        },
    )


def withheld_rows(people: Sequence[int | None], k: int) -> list[bool]:
    """The same for a single table of rows: whether each is withheld. Their total may then be published."""
    found = withheld({"rows": {i: [i] for i in range(len(people))}}, people, k)
    return [found.hides("rows", i) for i in range(len(people))]


def _blur_rest(published: _Published, rows: Rows) -> None:
    """What is left of the total besides a table's published rows must be about enough people too."""
    hidden = rows[published.hidden[rows]]
    left = rows[~published.hidden[rows]]
    if len(hidden) and len(left) and (published.people[hidden] < published.k).all():
        published.hide_smallest(left)


def _ways_to_small_ones(published: _Published) -> list[Rows]:
    """For small cells whose number can be computed, the published sums from which it can."""
    shown, small = np.flatnonzero(~published.hidden), np.flatnonzero(published.small)
    alone = shown[published.size[shown] == 1]
    rest = published.sums[alone].sum(axis=0) == 0  # what is published by itself is known: the other strata are asked
    if not len(small) or not rest.any():
        return []
    columns = published.sums[:, rest]
    shown = shown[columns[shown].any(axis=1)]
    shown = _independent(columns, shown[np.argsort(published.size[shown], kind="stable")])
    if not len(shown):
        return []
    weights = np.linalg.lstsq(columns[shown].T, columns[small].T, rcond=None)[0]
    found = np.flatnonzero(np.abs(columns[shown].T @ weights - columns[small].T).max(axis=0) < _NOTHING)
    left = np.abs(weights.T @ published.sums[shown] - published.sums[small])[found] > _NOTHING
    singles = published.sums[alone] @ left.T > 0
    return [
        np.concatenate([shown[np.abs(weights[:, i]) > _NOTHING], alone[singles[:, n]]]) for n, i in enumerate(found)
    ]


def _independent(columns: npt.NDArray[np.float64], rows: Rows) -> Rows:
    """Those of the rows, the first first, that are no sum of those before."""
    basis = np.zeros((0, columns.shape[1]))
    kept = []
    for row in rows:
        rest = columns[row] - basis.T @ (basis @ columns[row])
        rest -= basis.T @ (basis @ rest)
        length = float(np.linalg.norm(rest))
        if length > _NOTHING:
            basis = np.vstack([basis, rest / length])
            kept.append(row)
    return np.array(kept, dtype=np.intp)


@dataclass(frozen=True)
class Share:
    """A share of people, 0 to 1; with `at_least` the true one is that or more, with `at_most` that or less."""

    value: float
    at_least: bool = False
    at_most: bool = False


def share_of_people(part: int, whole: int, k: int) -> Share | None:
    """How large a part of people is; None where it would tell of fewer than `k`.

    Nobody at all may be said. Where fewer than `k` are missing from the whole, only the share that leaves `k` out is.
    """
    if whole < k or 0 < part < k:
        return None
    if part > whole - k:
        return Share((whole - k) / whole, at_least=True)
    return Share(part / whole)


def bound_of(share: Share | None) -> str | None:
    """What kind of bound a share is, None where it is the share itself."""
    if share is None:
        return None
    return "at least" if share.at_least else "at most" if share.at_most else None


def said(k: int) -> str:
    """What stands in place of a number that is withheld."""
    return f"fewer than {k} people: nothing is published for this group"
