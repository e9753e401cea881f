"""UQ-02: what contradicts what came before it, or together with it, and what does not."""

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.doubles import contradicting

Row = tuple[str, int, int, float, int]
"""Person, start, end, value, revision."""


def judged(rows: list[Row], metric: str = "heart_rate", **more: Any) -> list[bool]:
    """The answer for rows of one metric and source, a message each, in the order of a table."""
    messages = pa.table(
        {"pseudonym": [row[0] for row in rows], "metric": [metric] * len(rows), "source": ["w"] * len(rows)}
    )
    numbers = {
        name: np.array([row[place] for row in rows]) for place, name in ((1, "start"), (2, "end"), (4, "revision"))
    }
    readings = {
        **numbers,
        "message": np.arange(len(rows)),
        "value": np.array([row[3] for row in rows], dtype=float),
        **more,
    }
    return list(contradicting(messages, readings).tolist())


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([("a", 1, 2, 60, 0), ("a", 1, 2, 61, 0)], [False, True]),
        ([("a", 1, 2, 60, 0), ("a", 1, 2, 60, 0)], [False, False]),
        ([("a", 1, 2, 60, 0), ("a", 1, 3, 61, 0)], [False, False]),
        ([("a", 1, 2, 60, 0), ("a", 2, 2, 61, 0)], [False, False]),
        ([("a", 1, 2, 60, 0), ("b", 1, 2, 61, 0)], [False, False]),
        ([("a", 1, 2, 60, 0), ("a", 1, 3, 61, 0), ("a", 1, 2, 62, 0)], [False, False, True]),
        ([("a", 1, 2, 60, 0), ("a", 1, 2, 61, 0), ("a", 1, 2, 62, 0)], [False, True, True]),
        ([("a", 1, 2, 60, 0), ("a", 2, 3, 61, 1)], [False, True]),
        ([("a", 1, 2, 60, 0)], [False]),
    ],
    ids=[
        "another value", "the same value", "another end", "another start", "another person",
        "with another end between", "three values", "the same record", "alone",
    ],
)  # fmt: skip
def test_a_contradiction(rows: list[Row], wanted: list[bool]) -> None:
    assert judged(rows) == wanted


def test_times_between_beats_that_come_in_one_notification_are_no_contradiction() -> None:
    """Bluetooth sends up to nine of them with one moment; a record that was changed is a contradiction all the same."""
    rows: list[Row] = [("a", 1, 1, 812, 0), ("a", 1, 1, 820, 0), ("a", 1, 1, 799, 0), ("a", 2, 2, 805, 1)]
    assert judged(rows, "rr_interval") == [False, False, False, True]
    assert judged(rows) == [False, True, True, True]


def test_codes_contradict_each_other_and_blocks_do() -> None:
    rows: list[Row] = [("a", 1, 2, np.nan, 0)] * 3
    assert judged(rows, code=pa.array(["deep", "deep", "rem"])) == [False, False, True]
    assert judged(rows, code=pa.chunked_array([["deep"], ["deep", "rem"]])) == [False, False, True]
    messages = pa.table({"pseudonym": ["a", "a"], "metric": ["ecg"] * 2, "source": ["w"] * 2})
    blocks = {name: np.array([5, 5]) for name in ("start", "end")}
    found = contradicting(messages, {**blocks, "message": np.array([0, 1]), "revision": np.zeros(2)})
    assert found.tolist() == [False, True]


@settings(derandomize=True, database=None)
@given(seed=st.integers(0, 2**32))
def test_it_is_what_a_plain_comparison_finds(seed: int) -> None:
    rng = random.Random(seed)
    rows = sorted(
        (rng.choice("ab"), rng.randrange(3), rng.randrange(3, 5), float(rng.randrange(2)), 0)
        for _ in range(rng.randrange(1, 9))
    )
    rows.sort(key=lambda row: row[:2])
    wanted = []
    for place, (person, start, end, value, _) in enumerate(rows):
        before = [row for row in rows[:place] if row[:3] == (person, start, end)]
        wanted.append(bool(before) and before[-1][3] != value)
    assert judged(rows) == wanted
