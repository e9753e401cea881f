"""Sets of keys, against Python's own sets: keys that differ in few bits, in many, and more than are looked at at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import key_sets
from pipelines.key_sets import Keys, repeated

FULL = st.integers(-(2**63), 2**63 - 1)
NEAR = st.integers(-6, 6)
# Alike in the bits by which most are told apart, and different in one of the others.
ALIKE = st.integers(0, 63).map(lambda bit: int(np.uint64(0x9E3779B97F4A7C15 ^ 1 << bit).view(np.int64)))
KEY_LISTS = st.lists(FULL | NEAR | ALIKE, max_size=30)


def array(keys: list[int]) -> np.ndarray:
    return np.array(keys, dtype=np.int64)


@given(held=KEY_LISTS, asked=st.lists(KEY_LISTS, min_size=1, max_size=6), few=st.sampled_from([1, 1000]))
def test_what_is_held_is_found_however_often_it_is_asked_for(held: list[int], asked: list[list[int]], few: int) -> None:
    """With `few` 1 nearly every question is about few keys, so that they are sorted after some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_sets, "_FEW", few)
        patch.setattr(key_sets, "_STRETCH", 7)
        keys = Keys(array(held))
        for wanted in asked:
            mixed = [*wanted, *held[::2]]
            assert keys.hold(array(mixed)).tolist() == [key in set(held) for key in mixed]
            assert keys.nbytes == 8 * len(held)


@given(keys=KEY_LISTS, again=st.lists(st.integers(0, 29), max_size=5))
def test_only_the_first_of_equal_keys_is_new(keys: list[int], again: list[int]) -> None:
    given_keys = keys + [keys[place % len(keys)] for place in again if keys]
    before: set[int] = set()
    expected = []
    for key in given_keys:
        expected.append(key in before)
        before.add(key)
    assert repeated(array(given_keys)).tolist() == expected


def test_many_keys() -> None:
    """More than are looked at at a time, so many that halves of different ones are the same, and few among them asked for."""
    random = np.random.default_rng(0)
    held = random.integers(-(2**63), 2**63 - 1, 90_000)
    assert len(np.unique(held.astype(np.uint32))) < len(held), "no halves are the same"
    assert not repeated(held).any()
    twice = np.concatenate([held, held[::1000]])
    assert np.flatnonzero(repeated(twice)).tolist() == list(range(len(held), len(twice)))
    keys, there = Keys(held), set(held.tolist())
    for wanted in (held[:100], random.integers(-(2**63), 2**63 - 1, 70_000), twice):
        mixed = random.permutation(np.concatenate([wanted, held[-3:] + 1, held[-3:]]))
        expected = np.array([key in there for key in mixed.tolist()])
        for _ in range(4):
            assert np.array_equal(keys.hold(mixed), expected)


def test_the_keys_that_were_given_stay_as_they_were() -> None:
    held = array([3, 1, 2] * 100)
    keys = Keys(held)
    for _ in range(5):
        assert keys.hold(array([1])).tolist() == [True]
    assert held.tolist() == [3, 1, 2] * 100
