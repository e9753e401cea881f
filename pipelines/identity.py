"""What a reading is: a hash over what was sent, before any mapping, and its keyed forms that a study may hold.

`sent64` is the same wherever the reading goes; it never leaves the run. `key64` and `record64` mix it with a secret of
the study and the member, so two studies that hold the same reading cannot find each other by it.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

Uint64s = npt.NDArray[np.uint64]

# Odd constants: the golden ratio's and those of the SplitMix64 finaliser (Steele, Lea and Flood, OOPSLA 2014).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_END = np.uint64(0xD6E8FEB86659FD93)


def mix(x: Uint64s) -> Uint64s:
    """SplitMix64's finaliser on each number; changes `x` in place and returns it."""
    x ^= x >> np.uint64(30)
    x *= _MIX_1
    x ^= x >> np.uint64(27)
    x *= _MIX_2
    x ^= x >> np.uint64(31)
    return x


def hash64(*parts: Any) -> int:
    """64 bits of BLAKE2b over the parts' texts, unambiguous about where one ends."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def block_hash64(channels: list[str], values: npt.NDArray[np.float64], times: npt.NDArray[Any]) -> int:
    """64 bits of BLAKE2b over a block: its channels' names, its values (both zeros are the same) and its samples' times."""
    hashed = hashlib.blake2b(repr((channels, len(values), len(times))).encode(), digest_size=8)
    hashed.update((values + 0.0).data)
    hashed.update(times.data)
    return int.from_bytes(hashed.digest(), "little")


def value_bits(values: npt.NDArray[np.float64]) -> Uint64s:
    """The bits of float64 values; both zeros have the same."""
    return (values + 0.0).view(np.uint64)


def sent64(message_hash: Uint64s, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], value: Uint64s) -> Uint64s:
    """[n] hashes over what is common to the message, the interval (microseconds, UTC) and the value's bits."""
    hashed = start.view(np.uint64) * _GOLDEN
    hashed += end.view(np.uint64) * _END
    hashed += message_hash
    mix(hashed)
    hashed ^= value
    return mix(hashed)


def keyed(hashes: Uint64s, secret: Uint64s) -> npt.NDArray[np.int64]:
    """[n] hashes under each row's secret, as the signed numbers that the lake stores."""
    return mix((hashes ^ secret) * _GOLDEN + secret).view(np.int64)
