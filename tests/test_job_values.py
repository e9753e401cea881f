"""Medians of a day's values are exact, whether these lie in memory or in a file, and however often one value is there."""

from contextlib import closing
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.job import values as module
from quality.job.values import Values

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64) | st.sampled_from([0.0, -0.0, 1.0, 1.5, -3.0])


def statistics(parts: list[list[tuple[int, float]]], groups: tuple[int, ...]) -> tuple[float, float]:
    with closing(Values()) as values:
        for part in parts:
            group, value = np.array([row[0] for row in part], np.int64), np.array([row[1] for row in part], np.float64)
            values.add(value, group, 3)
        middle = values.middle(groups)
        return middle, values.spread(groups, middle)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), NUMBERS), max_size=15), max_size=4), st.booleans())
def test_they_are_those_of_all_values(parts: list[list[tuple[int, float]]], in_file: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WHOLE", 2)
        patch.setattr(module, "_CHUNK", 4)
        patch.setattr(module, "_BITS", 8)
        patch.setattr(module, "HELD_BYTES", 24 if in_file else 1 << 20)
        for groups in ((0,), (1, 2), (0, 1, 2)):
            mine = np.array([value for part in parts for group, value in part if group in groups])
            found = statistics(parts, groups)
            with np.errstate(over="ignore", invalid="ignore"):
                middle = np.median(mine) if len(mine) else np.nan
                expected = middle, np.median(np.abs(mine - middle)) if len(mine) else np.nan
            assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_one_value_many_times() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WHOLE", 2)
        assert statistics([[(0, 36.5)] * 9, [(0, 40.0)] * 8], (0,)) == (36.5, 0.0)


def test_what_is_no_number_is_left_out_and_nothing_has_no_median() -> None:
    assert statistics([[(0, 1.0), (0, float("nan")), (0, 3.0)]], (0,)) == (2.0, 1.0)
    assert np.isnan(statistics([[(0, float("nan"))]], (0,))[0])
    assert np.isnan(statistics([], (1,))[0])


def test_what_is_more_than_a_little_lies_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 80)
    with closing(Values()) as values:
        for held in (True, True, False, False):
            values.add(np.arange(5.0), np.zeros(5, dtype=np.int64), 1)
            assert isinstance(values._file, BytesIO) == held
        assert values.middle((0,)) == 2.0
