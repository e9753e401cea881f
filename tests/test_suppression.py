"""Small cells: none is published, and none can be computed from what is."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.suppression import Share, share_of_people, withheld, withheld_rows

K = 10


def by(keys: list[int]) -> dict[int, list[int]]:
    """A table's rows from the key of each stratum."""
    return {key: [i for i, other in enumerate(keys) if other == key] for key in sorted(set(keys))}


def test_large_cells_are_all_published() -> None:
    assert withheld_rows([10, 50, 11], K) == [False, False, False]


def test_one_small_cell_takes_the_smallest_large_one_along() -> None:
    assert withheld_rows([9, 50, 11], K) == [True, False, True]


def test_small_cells_that_are_left_together_are_still_few_people() -> None:
    assert withheld_rows([5, 50, 4, 30], K) == [True, False, True, True]


def test_unknown_is_too_few() -> None:
    assert withheld_rows([None, 50, 60], K) == [True, True, False]


def test_a_total_about_too_few_is_withheld_too() -> None:
    found = withheld({"partner": {"acme": [0]}}, [9], K)
    assert found.total and found.hides("partner", "acme")


def test_a_small_cell_of_one_table_is_not_found_by_another() -> None:
    """Model X is acme's alone and small; acme less its other model would give it."""
    strata = [("acme", "x"), ("acme", "y"), ("beat", "z"), ("beat", "w")]
    tables = {
        "partner": {name: [i for i, s in enumerate(strata) if s[0] == name] for name in ("acme", "beat")},
        "model": {name: [i for i, s in enumerate(strata) if s[1] == name] for name in "xyzw"},
    }
    found = withheld(tables, [3, 90, 40, 50], K)
    assert found.hides("model", "x")
    assert found.hides("model", "y") or found.hides("partner", "acme")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 30)), min_size=1, max_size=7))
def test_no_small_cell_is_a_sum_of_published_ones(strata: list[tuple[int, int, int]]) -> None:
    tables = {"a": by([a for a, _, _ in strata]), "b": by([b for _, b, _ in strata])}
    people = [n for _, _, n in strata]
    found = withheld(tables, people, K)
    cells = [("", None, list(range(len(strata)))), *((t, key, at) for t in tables for key, at in tables[t].items())]
    vectors = [np.bincount(at, minlength=len(strata)).astype(float) for _, _, at in cells]
    hidden = [found.total if not t else found.hides(t, key) for t, key, _ in cells]
    shown = [v for v, h in zip(vectors, hidden, strict=True) if not h]
    rank = np.linalg.matrix_rank(np.array(shown)) if shown else 0
    for vector, (_, _, at) in zip(vectors, cells, strict=True):
        if max(people[i] for i in at) < K:
            assert np.linalg.matrix_rank(np.array([*shown, vector])) == rank + 1


def test_nothing_is_withheld_without_need() -> None:
    sizes = chain.from_iterable(combinations((10, 20, 30), n) for n in (1, 2, 3))
    assert not any(any(withheld_rows(list(people), K)) for people in sizes)


@pytest.mark.parametrize(
    ("part", "whole", "share"),
    [
        (0, 100, Share(0.0)),
        (1, 100, None),
        (9, 100, None),
        (10, 100, Share(0.1)),
        (90, 100, Share(0.9)),
        (91, 100, Share(0.9, at_least=True)),
        (100, 100, Share(0.9, at_least=True)),
        (5, 9, None),
        (0, 9, None),
        (10, 10, Share(0.0, at_least=True)),
    ],
)
def test_a_share_of_people_tells_neither_of_few_who_are_in_nor_of_few_who_are_not(
    part: int, whole: int, share: Share | None
) -> None:
    assert share_of_people(part, whole, K) == share
