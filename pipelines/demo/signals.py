"""What the devices of the demo measure: days with a rhythm, with the faults that real devices have."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MINUTE_US = 60_000_000
DAY_MINUTES = 24 * 60
SAMPLE_US = 31_250
"""Time from one sample of acceleration to the next, microseconds: 32 Hz."""
BLOCK_SAMPLES = 9_600
"""Samples of a block of acceleration: five minutes."""
G_SCALE = 1 / 512
"""Acceleration in units of gravity for one count of the sensor."""


@dataclass(frozen=True)
class Signal:
    """Readings of one metric: `start` and `end` int64 [n], microseconds UTC, equal for instants; `value` float64 [n].

    `impossible` [n]: outside what can be at all; `unlikely` [n]: possible, and to be flagged.
    """

    start: Int64s
    end: Int64s
    value: Floats
    impossible: Flags
    unlikely: Flags

    def __len__(self) -> int:
        return len(self.start)

    def pick(self, rows: Any) -> "Signal":
        return Signal(*(part[rows] for part in (self.start, self.end, self.value, self.impossible, self.unlikely)))


def waking(rng: np.random.Generator, begin: int, minutes: int, night_shift: bool) -> tuple[Floats, Floats]:
    """Wakefulness from 0 to 1 and steps, for each minute: who works at night sleeps in the day."""
    hour = (begin // MINUTE_US + np.arange(minutes)) % DAY_MINUTES / 60 + (12 if night_shift else 0)
    awake = 1 / (1 + np.exp(-4 * (np.cos((hour - 15) / 24 * 2 * np.pi) + 0.45)))
    walking = rng.random(minutes) < 0.22 * awake
    steps = np.where(walking, np.minimum(rng.poisson(55, minutes) + rng.integers(0, 60, minutes), 180), 0)
    return awake, steps.astype(np.float64)


def heart_rate(rng: np.random.Generator, begin: int, awake: Floats, steps: Floats) -> Signal:
    """A value a minute, 1/min; 0 where the sensor lost the skin, and a rare leap above 240."""
    count = len(awake)
    noise = np.convolve(rng.normal(0, 4, count + 4), np.full(5, 0.2), mode="valid")
    value = rng.integers(50, 66) + 14 * awake + 0.35 * steps + noise
    value = np.clip(np.round(value), 38, 190)
    impossible, unlikely = _rare(rng, count, 18), _rare(rng, count, 3)
    unlikely &= ~impossible
    value[impossible], value[unlikely] = 0, 248
    start = begin + np.arange(count, dtype=np.int64) * MINUTE_US
    return Signal(start, start, value, impossible, unlikely)


def steps_interval(rng: np.random.Generator, begin: int, steps: Floats) -> Signal:
    """Steps of each minute in which there were any; now and then a glitch of 900, more than five in a second."""
    minute = np.flatnonzero(steps)
    value = steps[minute]
    impossible = _rare(rng, len(minute), 2)
    value[impossible] = 900
    start = begin + minute.astype(np.int64) * MINUTE_US
    return Signal(start, start + MINUTE_US, value, impossible, np.zeros(len(minute), dtype=bool))


def skin_temperature(rng: np.random.Generator, begin: int, awake: Floats) -> Signal:
    """A value every three minutes or so, degrees Celsius, warmer in sleep; 12 where the watch lay on a table."""
    minute = np.cumsum(rng.uniform(2.0, 4.5, len(awake) // 3))
    minute = minute[minute < len(awake)]
    value = 33.6 - 1.4 * awake[minute.astype(np.int64)] + rng.normal(0, 0.25, len(minute))
    impossible = _rare(rng, len(minute), 4)
    value[impossible] = 12.0
    start = begin + (minute * MINUTE_US).astype(np.int64)
    return Signal(start, start, np.round(value, 2), impossible, np.zeros(len(minute), dtype=bool))


def acceleration(rng: np.random.Generator, walking: bool, fault: bool) -> npt.NDArray[np.int16]:
    """One block: BLOCK_SAMPLES of x, y and z as counts of G_SCALE; with a fault, one sample of 40 [g]."""
    seconds = np.arange(BLOCK_SAMPLES) * SAMPLE_US / 1e6
    gait = np.sin(2 * np.pi * 1.9 * seconds) * (0.35 if walking else 0.01)
    axes = np.stack([0.2 * gait, 0.1 + 0.3 * gait, 0.98 + gait], axis=1) + rng.normal(0, 0.012, (BLOCK_SAMPLES, 3))
    if fault:
        axes[BLOCK_SAMPLES // 2, 2] = 40.0
    counts: npt.NDArray[np.int16] = np.round(axes / G_SCALE).astype(np.int16)
    return counts


def _rare(rng: np.random.Generator, count: int, expected: int) -> Flags:
    """[count] about so many of them true."""
    chosen: Flags = rng.random(count) < expected / max(1, count)
    return chosen
