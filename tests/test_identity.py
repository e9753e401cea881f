"""What a reading is: hashes that are equal for the same and differ for anything else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.identity import Uint64s, block_hash64, hash64, keyed, mix, sent64, value_bits

PINNED = [16_747_731_394_110_873_570, 3_339_516_989_067_042_888, 10_512_645_913_913_086_270, 4_433_118_356_046_984_572]


def uints(*numbers: int) -> Uint64s:
    return np.array(numbers, dtype=np.uint64)


def one(message: int = 7, start: int = 1, end: int = 2, value: float = 60.0) -> int:
    begin, finish = (np.array([time], dtype=np.int64) for time in (start, end))
    return int(sent64(uints(message), begin, finish, value_bits(np.array([value])))[0])


def test_both_zeros_are_one_value_and_neighbours_are_two() -> None:
    bits = value_bits(np.array([0.0, -0.0, 5e-324, -5e-324, 1.0, np.nextafter(1, 2)]))
    assert bits[0] == bits[1]
    assert len(set(bits.tolist())) == 5
    assert one(value=0.0) == one(value=-0.0)


def test_the_values_are_left_as_they_were() -> None:
    values, message, start = np.array([-0.0, 60.0]), uints(1, 2), np.array([5, 6])
    bits = value_bits(values)
    kept = bits.copy()
    sent64(message, start, start, bits)
    keyed(bits, message)
    assert np.signbit(values).tolist() == [True, False]
    assert (message.tolist(), start.tolist(), bits.tolist()) == ([1, 2], [5, 6], kept.tolist())


@pytest.mark.parametrize(
    "changes", [{"message": 8}, {"start": 2}, {"end": 3}, {"value": 60.00000000000001}, {"start": 2, "end": 1}]
)
def test_anything_else_is_another_reading(changes: dict[str, float]) -> None:
    assert one(**changes) != one()  # type: ignore[arg-type]


def test_a_time_does_not_make_up_for_another() -> None:
    """No two of a grid of readings are alike: starts, ends and values that differ by the same steps."""
    grid = np.arange(-20, 20, dtype=np.int64) * 1_000_000
    start, end, value = (axis.ravel() for axis in np.meshgrid(grid, grid, grid))
    hashes = sent64(np.full(len(start), 7, np.uint64), start, end, value_bits(value.astype(np.float64)))
    assert len(np.unique(hashes)) == len(hashes)


@settings(derandomize=True, database=None)
@given(st.permutations(range(12)))
def test_the_order_of_readings_does_not_matter(order: list[int]) -> None:
    start, message = np.arange(12, dtype=np.int64) * 1000, np.arange(12, dtype=np.uint64) % np.uint64(3)
    values = np.linspace(-1, 1, 12)
    straight = sent64(message, start, start + 5, value_bits(values))
    shuffled = sent64(message[order], start[order], start[order] + 5, value_bits(values[order]))
    assert straight[order].tolist() == shuffled.tolist()


def test_a_long_column_is_hashed_like_its_parts() -> None:
    random = np.random.default_rng(3)
    message, value, secret = random.integers(0, 2**63, (3, 40_000)).astype(np.uint64)
    start = random.integers(-(2**40), 2**40, 40_000)
    hashes, end = sent64(message, start, start + 5, value), start + 5
    keys = keyed(hashes, secret)
    parts = [slice(at, at + 999) for at in range(0, 40_000, 999)]
    apart = [sent64(message[own], start[own], end[own], value[own]) for own in parts]
    assert (np.concatenate(apart) == hashes).all()
    assert (np.concatenate([keyed(hashes[own], secret[own]) for own in parts]) == keys).all()


def test_parts_are_told_apart() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("a", "b", "c"), (1,), ("1",), (None,)]
    assert len({hash64(*part) for part in parts}) == len(parts)


def test_the_lake_holds_keys_made_with_these_very_hashes() -> None:
    assert hash64("acme", "wrist", "heart_rate", "/min") == PINNED[0]
    assert one() == PINNED[1]
    assert block_hash64(["x"], np.array([1.5]), np.empty(0)) == PINNED[2]
    assert keyed(uints(7), uints(9)).tolist() == PINNED[3:]


def test_a_block_is_its_channels_values_and_times() -> None:
    values, times = np.array([1.0, 0.0, 3.0, 4.0]), np.array([0, 20_000])
    same = block_hash64(["x", "y"], values, times)
    assert same == block_hash64(["x", "y"], np.array([1.0, -0.0, 3.0, 4.0]), times)
    others = [
        block_hash64(["y", "x"], values, times),
        block_hash64([], values, times),
        block_hash64(["x", "y"], values[::-1], times),
        block_hash64(["x", "y"], values[:2], times),
        block_hash64(["x", "y"], values, times + 1),
        block_hash64(["x", "y"], values, np.empty(0)),
        block_hash64(["x", "y"], values[:3], np.concatenate([values[3:].view(np.int64), times])),
    ]
    assert len({same, *others}) == 8


def test_integers_are_the_same_in_either_width() -> None:
    narrow = np.array([1, -2, 300], dtype=np.int16)
    same = block_hash64(["x"], narrow, np.empty(0), 0.5)
    assert same == block_hash64(["x"], narrow.astype(np.int32), np.empty(0), 0.5)
    assert same != block_hash64(["x"], narrow, np.empty(0), 0.25)
    wide = np.array([1, -2, 300 + 2**16], dtype=np.int32)
    assert same != block_hash64(["x"], wide, np.empty(0), 0.5), "what does not fit is not cut to size"


def test_two_studies_or_members_cannot_be_joined_by_a_key() -> None:
    sent = mix(np.arange(1000, dtype=np.uint64))
    keys = [keyed(sent, np.full(1000, secret, dtype=np.uint64)) for secret in (1, 2)]
    assert keys[0].dtype == np.int64
    assert not set(keys[0].tolist()) & set(keys[1].tolist())
    assert len(set(keys[0].tolist())) == 1000
    assert (keys[0] == keyed(sent, np.full(1000, 1, dtype=np.uint64))).all()


def test_mixing_spreads_every_bit() -> None:
    """Half of the output's bits change with any one of the input's, give or take a few."""
    base = np.arange(2000, dtype=np.uint64)
    for bit in range(64):
        flipped = mix(base.copy()) ^ mix(base ^ np.uint64(1 << bit))
        assert 31 < np.bitwise_count(flipped).mean() < 33
