"""What a reading is: a hash over what was sent, before any mapping, and its keyed forms that a study may hold.

`sent64` is the same wherever the reading goes; it never leaves the run. `key64` and `record64` mix it with a secret of
the study and the member, so two studies that hold the same reading cannot find each other by it.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Uint64s = npt.NDArray[np.uint64]

# Odd constants: the golden ratio's, and the shifts and factors of the SplitMix64 finaliser (Steele, Lea and Flood,
# OOPSLA 2014).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_END = np.uint64(0xD6E8FEB86659FD93)
_ROUNDS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


# Numbers that are mixed at a time, so that they stay in the processor's cache from one step to the next.
_STRETCH = 16_384


def mix(x: Uint64s, spare: Uint64s | None = None) -> Uint64s:
    """SplitMix64's finaliser on each number; changes `x` in place and returns it. `spare` is room of the same length."""
    shifted = np.empty_like(x) if spare is None else spare
    for shift, factor in _ROUNDS:
        np.right_shift(x, shift, out=shifted)
        x ^= shifted
        x *= factor
    np.right_shift(x, np.uint64(31), out=shifted)
    x ^= shifted
    return x


def _stretches(length: int) -> Iterator[tuple[slice, Uint64s]]:
    """The places of so many numbers, a stretch at a time, each with spare room of its length."""
    spare = np.empty(min(length, _STRETCH), dtype=np.uint64)
    for begin in range(0, length, _STRETCH):
        end = min(begin + _STRETCH, length)
        yield slice(begin, end), spare[: end - begin]


@lru_cache(maxsize=32_768, typed=True)
def hash64(*parts: Any) -> int:
    """64 bits of BLAKE2b over the parts' texts, unambiguous about where one ends.

    Remembered: it is asked about what a device says of itself, and about codes, which come again and again.
    """
    return record_hash64(*parts)


def record_hash64(*parts: Any) -> int:
    """`hash64` of what comes once."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def block_hash64(channels: list[str], numbers: npt.NDArray[Any], times: npt.NDArray[Any], scale: float = 1.0) -> int:
    """64 bits of SHA-256 (which processors are quick at) over a block: its channels' names, its numbers and its samples' times.

    Integers, of either width, count as int16 where all of them fit, else as int32, with their `scale`; of float64 values,
    which have it in them, both zeros are the same.
    """
    is_counts = numbers.dtype.kind == "i"
    head = (channels, len(numbers), len(times), *([scale] if is_counts else []))
    hashed = hashlib.sha256(repr(head).encode())
    hashed.update((_narrow(numbers) if is_counts else numbers + 0.0).data)
    hashed.update(times.data)
    return int.from_bytes(hashed.digest()[:8], "little")


def _narrow(integers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """int16 where all fit, else int32."""
    if integers.dtype == np.int16:
        return integers
    narrow = integers.astype(np.int16)
    return narrow if np.array_equal(narrow, integers) else integers.astype(np.int32, copy=False)


def value_bits(values: npt.NDArray[np.float64]) -> Uint64s:
    """The bits of float64 values; both zeros have the same."""
    return (values + 0.0).view(np.uint64)


def sent64(message_hash: Uint64s, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], value: Uint64s) -> Uint64s:
    """[n] hashes over what is common to the message, the interval (microseconds, UTC) and the value's bits."""
    hashed = np.empty(len(start), dtype=np.uint64)
    for own, spare in _stretches(len(start)):
        x = hashed[own]
        np.multiply(start[own].view(np.uint64), _GOLDEN, out=x)
        np.multiply(end[own].view(np.uint64), _END, out=spare)
        x += spare
        x += message_hash[own]
        mix(x, spare)
        x ^= value[own]
        mix(x, spare)
    return hashed


def keyed(hashes: Uint64s, secret: Uint64s) -> npt.NDArray[np.int64]:
    """[n] hashes under each row's secret, as the signed numbers that the lake stores."""
    made = np.empty(len(hashes), dtype=np.uint64)
    for own, spare in _stretches(len(hashes)):
        x = made[own]
        np.bitwise_xor(hashes[own], secret[own], out=x)
        x *= _GOLDEN
        x += secret[own]
        mix(x, spare)
    return made.view(np.int64)
