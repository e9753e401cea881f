"""Sets of keys, against Python's own sets: keys that differ in few bits, in many, and more than are looked at at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import key_sets
from pipelines.key_sets import Asked, Keys, repeated

FULL = st.integers(-(2**63), 2**63 - 1)
NEAR = st.integers(-6, 6)
# Alike in the bits by which most are told apart, and different in one of the others.
ALIKE = st.integers(0, 63).map(lambda bit: int(np.uint64(0x9E3779B97F4A7C15 ^ 1 << bit).view(np.int64)))
KEY_LISTS = st.lists(FULL | NEAR | ALIKE, max_size=30)
FEW = st.sampled_from([1, 1000])
"""With 1 nearly every question is about few keys, so that they are sorted after some."""


def array(keys: list[int]) -> np.ndarray:
    return np.array(keys, dtype=np.int64)


def held(keys: Keys, wanted: np.ndarray) -> list[bool]:
    asked = Asked(wanted)
    keys.answer(asked)
    return list(asked.found().tolist())


def shrink(patch: pytest.MonkeyPatch, few: int) -> None:
    patch.setattr(key_sets, "_FEW", few)
    patch.setattr(key_sets, "STRETCH", 7)
    patch.setattr(key_sets, "_ASIDE", 5)


@given(kept=KEY_LISTS, asked=st.lists(KEY_LISTS, min_size=1, max_size=6), few=FEW)
def test_what_is_held_is_found_however_often_it_is_asked_for(kept: list[int], asked: list[list[int]], few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, few)
        keys = Keys(array(kept))
        for wanted in asked:
            mixed = [*wanted, *kept[::2]]
            assert held(keys, array(mixed)) == [key in set(kept) for key in mixed]
            assert keys.nbytes == 8 * len(kept)


@given(wanted=KEY_LISTS, portions=st.lists(st.tuples(KEY_LISTS, st.booleans()), max_size=5))
def test_keys_that_were_not_kept_are_found_in_whichever_portion(
    wanted: list[int], portions: list[tuple[list[int], bool]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, 1)
        asked, come = Asked(array(wanted)), set[int]()
        for number, (keys, ascending) in enumerate(portions):
            keys = [*keys, *wanted[number::7]]
            if ascending:
                asked.look_up(array(sorted(keys)))
            else:
                asked.look_through(array(keys))
            come.update(keys)
            assert sum(len(alike) for alike in asked._aside) <= 5, "they are not put aside without end"
            if number % 2:
                assert asked.found().tolist() == [key in come for key in wanted]
        assert asked.found().tolist() == [key in come for key in wanted]


@given(keys=KEY_LISTS, again=st.lists(st.integers(0, 29), max_size=5), before=st.lists(KEY_LISTS, max_size=4), few=FEW)
def test_only_the_first_of_equal_keys_is_new(
    keys: list[int], again: list[int], before: list[list[int]], few: int
) -> None:
    given_keys = keys + [keys[place % len(keys)] for place in again if keys]
    portions = [[*portion, *given_keys[number::4]] for number, portion in enumerate(before)]
    known = {key for portion in portions for key in portion}
    expected = []
    for key in given_keys:
        expected.append(key in known)
        known.add(key)
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, few)
        assert repeated(array(given_keys), [Keys(array(portion)) for portion in portions]).tolist() == expected


def test_many_keys() -> None:
    """More than are looked at at a time, so many that halves of different ones are the same, and few among them asked for."""
    random = np.random.default_rng(0)
    kept = random.integers(-(2**63), 2**63 - 1, 90_000)
    assert len(np.unique(kept.astype(np.uint32))) < len(kept), "no halves are the same"
    assert not repeated(kept).any()
    twice = np.concatenate([kept, kept[::1000]])
    assert np.flatnonzero(repeated(twice)).tolist() == list(range(len(kept), len(twice)))
    again = np.concatenate([random.integers(-(2**63), 2**63 - 1, 70_000), kept[::100]])
    assert np.flatnonzero(repeated(again, [Keys(kept[:45_000]), Keys(kept[45_000:])])).tolist() == [
        *range(70_000, 70_900)
    ]
    keys, there = Keys(kept), set(kept.tolist())
    for wanted in (kept[:100], random.integers(-(2**63), 2**63 - 1, 70_000), twice):
        mixed = random.permutation(np.concatenate([wanted, kept[-3:] + 1, kept[-3:]]))
        expected = [key in there for key in mixed.tolist()]
        for _ in range(4):
            assert held(keys, mixed) == expected


def test_nearly_all_other_keys_are_passed_over() -> None:
    """It would be right without, and slow: what is put aside is compared with all that are asked for."""
    random = np.random.default_rng(0)
    kept = random.integers(-(2**63), 2**63 - 1, 100_000)
    for count in (10, 1_000, 30_000):
        asked = Asked(random.integers(-(2**63), 2**63 - 1, count))
        asked.look_through(kept)
        assert sum(len(alike) for alike in asked._aside) < len(kept) / 100


def test_the_keys_that_were_given_stay_as_they_were() -> None:
    kept = array([3, 1, 2] * 100)
    keys = Keys(kept)
    for _ in range(5):
        assert held(keys, array([1])) == [True]
    assert kept.tolist() == [3, 1, 2] * 100
