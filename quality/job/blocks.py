"""The numbers in blocks of acceleration: what lies still, and what is cut off at the end of the sensor's range.

A day of one person holds some ten million numbers. They are read in portions, and of each window of a quarter of an hour
only its count, sums and extremes are kept, which merge over blocks and portions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view

from quality.checks import Check
from quality.desk import LakeDesk
from quality.job.parts import OF_PART
from quality.job.readings import Readings
from quality.job.results import Answers, Name
from quality.job.segments import DAY_US, MINUTE_US, Array, codes, groups_of, integers, numbers, runs_of
from quality.job.times import instant

METRIC = "acceleration"
GRAVITY = 9.80665
"""One [g] in the metric's unit, m/s2."""
PORTION = 1_500_000
"""Numbers that are held in memory at once."""
_CHANNELS = 3
_READ = f"""
SELECT pseudonym, source, start, period_us, samples, counts, scale, zero,
  CASE WHEN counts IS NULL THEN "values" END AS "values"
FROM waveform WHERE metric = ? AND start >= ? AND start < ?{OF_PART}
  AND period_us > 0 AND list_contains(?::VARCHAR[], pseudonym)"""


@dataclass
class Windows:
    """Of each device's windows of a day, `window_us` long: time covered and samples that were cut off [devices, windows],
    and by channel sums, sums of squares and extremes in [g] [devices, windows, channels]; `name` and `person` [devices]
    say whose they are. Channels beyond the third are not looked at.
    """

    window_us: int
    names: list[Name]
    name: Array
    person: Array
    samples: Array
    covered_us: Array
    clipped: Array
    sums: Array
    squares: Array
    lowest: Array
    highest: Array

    def filled(self, share: float) -> Array:
        """[devices, windows] which are covered by samples to a share at least."""
        return np.asarray(self.covered_us >= share * self.window_us)


def read_windows(desk: LakeDesk, study: str, readings: Readings, day: int, clipping: Check) -> Windows:
    """The windows of all devices that sent acceleration in equal steps that day, as long as `clipping` has them."""
    chosen = readings.of_metrics((METRIC,))
    blocks = chosen.pick(chosen.period_us > 0)
    begins = blocks.sources.begins
    keys = [
        (blocks.pseudonyms[person], blocks.devices[source])
        for person, source in zip(blocks.person[begins].tolist(), blocks.source[begins].tolist(), strict=True)
    ]
    windows = _empty(blocks, begins, round(clipping.number("window_min") * MINUTE_US))
    limit = clipping.number("range_g") - clipping.number("within_g")
    for pseudonyms, since, until in _portions(blocks, day):
        table = desk.query(study, _READ, [METRIC, instant(since), instant(until), *readings.part, pseudonyms])
        for part in _of_equal_channels(table):
            _add(windows, part, _devices(part, keys), day, limit)
    return windows


def _empty(blocks: Readings, begins: Array, window_us: int) -> Windows:
    flat = (len(begins), -(-DAY_US // window_us))
    deep = (*flat, _CHANNELS)
    return Windows(
        window_us,
        blocks.names,
        name=blocks.name[begins],
        person=blocks.person[begins],
        samples=np.zeros(flat, dtype=np.int64),
        covered_us=np.zeros(flat, dtype=np.int64),
        clipped=np.zeros(flat, dtype=np.int64),
        sums=np.zeros(deep),
        squares=np.zeros(deep),
        lowest=np.full(deep, np.inf),
        highest=np.full(deep, -np.inf),
    )


def _portions(blocks: Readings, day: int) -> Iterator[tuple[list[str], int, int]]:
    """Whose blocks, from when and until when, are read at once: many people with little, or a while of one with much."""
    waiting: list[str] = []
    held, whole_day = 0, (day * DAY_US, (day + 1) * DAY_US)
    people = runs_of(blocks.person)
    for begin, size in zip(people.begins.tolist(), people.sizes.tolist(), strict=True):
        sizes = blocks.samples[begin : begin + size] * _CHANNELS
        pseudonym, total = blocks.pseudonyms[blocks.person[begin]], int(sizes.sum())
        if total > PORTION:
            yield from _whiles(pseudonym, blocks.start[begin : begin + size], sizes, whole_day)
            continue
        if held + total > PORTION:
            yield waiting, *whole_day
            waiting, held = [], 0
        waiting, held = [*waiting, pseudonym], held + total
    if waiting:
        yield waiting, *whole_day


def _whiles(
    pseudonym: str, start: Array, sizes: Array, whole_day: tuple[int, int]
) -> Iterator[tuple[list[str], int, int]]:
    order = np.argsort(start, kind="stable")
    portion = np.cumsum(sizes[order]) // PORTION
    edges = np.unique(start[order][np.flatnonzero(np.diff(portion)) + 1]).tolist()
    for since, until in pairwise([whole_day[0], *edges, whole_day[1]]):
        yield [pseudonym], since, until


@dataclass(frozen=True)
class _Part:
    """Blocks [n] with as many channels each: their columns, and their numbers [channels, samples of all] in [g]."""

    blocks: pa.Table
    samples: Array
    numbers: list[Array]


def _of_equal_channels(table: pa.Table) -> Iterator[_Part]:
    """Blocks of so many numbers that they make whole samples; others are not judged."""
    samples = integers(table.column("samples"))
    for column in ("counts", "values"):
        width, rest = np.divmod(integers(pc.list_value_length(table.column(column))), np.maximum(samples, 1))
        for channels in np.unique(width[width > 0]).tolist():
            rows = np.flatnonzero((width == channels) & (rest == 0))
            if len(rows):
                part = table if len(rows) == table.num_rows else table.take(rows)
                yield _Part(part, samples[rows], _in_g(part, column, channels))


def _in_g(part: pa.Table, column: str, channels: int) -> list[Array]:
    """The numbers that lie in a column, by channel; counts are scaled as the catalogue of families says."""
    flat = numbers(pc.list_flatten(part.column(column)))
    if column == "counts":
        lengths = integers(pc.list_value_length(part.column(column)))
        flat = flat * _for_each(part.column("scale"), lengths) + _for_each(part.column("zero"), lengths)
    return [flat[channel::channels] / GRAVITY for channel in range(min(channels, _CHANNELS))]


def _for_each(column: pa.ChunkedArray, lengths: Array) -> Any:
    """A block's number for each of the block's own; once, where all blocks have the same."""
    of_block = numbers(column)
    return of_block[0] if (of_block == of_block[0]).all() else np.repeat(of_block, lengths)


def _devices(part: _Part, keys: list[tuple[str, str]]) -> Array:
    """The number of each block's device."""
    number = {key: place for place, key in enumerate(keys)}
    (person, pseudonyms), (source, devices) = (codes(part.blocks.column(name)) for name in ("pseudonym", "source"))
    group, first = groups_of(person, source)
    pairs = zip(person[first].tolist(), source[first].tolist(), strict=True)
    return np.array([number[pseudonyms[one], devices[other]] for one, other in pairs], dtype=np.int64)[group]


def _add(windows: Windows, part: _Part, device: Array, day: int, limit: float) -> None:
    """Add a part's samples to the windows in which each was taken; those after the day's end are left out."""
    block, window, begin, size = _stretches(windows, part, day)
    at = (device[block], np.minimum(window, windows.samples.shape[1] - 1))
    inside = window < windows.samples.shape[1]
    cut = np.zeros(len(part.numbers[0]), dtype=bool)
    for channel, values in enumerate(part.numbers):
        cut |= np.abs(values) >= limit
        place = (at[0][inside], at[1][inside], channel)
        np.add.at(windows.sums, place, np.add.reduceat(values, begin)[inside])
        np.add.at(windows.squares, place, np.add.reduceat(values * values, begin)[inside])
        np.minimum.at(windows.lowest, place, np.minimum.reduceat(values, begin)[inside])
        np.maximum.at(windows.highest, place, np.maximum.reduceat(values, begin)[inside])
    flat = (at[0][inside], at[1][inside])
    period = integers(part.blocks.column("period_us"))[block]
    np.add.at(windows.samples, flat, size[inside])
    np.add.at(windows.covered_us, flat, (size * period)[inside])
    np.add.at(windows.clipped, flat, np.add.reduceat(cut, begin, dtype=np.int64)[inside])


def _stretches(windows: Windows, part: _Part, day: int) -> tuple[Array, Array, Array, Array]:
    """Each block's samples by window: block, window of the day, the first sample's place among all, and how many."""
    start = integers(part.blocks.column("start")) - day * DAY_US
    period, length = integers(part.blocks.column("period_us")), windows.window_us
    first, last = start // length, (start + (part.samples - 1) * period) // length
    block = np.repeat(np.arange(len(start)), last - first + 1)
    window = first[block] + np.arange(len(block)) - np.flatnonzero(np.diff(block, prepend=-1))[block]
    # a sample belongs to the window in which it begins: the first at or after the window's own beginning
    reached = -((start[block] - window * length) // period[block])
    within = np.clip(reached, 0, None)
    sizes = np.diff(within, append=0)
    ends = np.append(block[1:] != block[:-1], True)
    sizes[ends] = (part.samples[block] - within)[ends]
    offsets = np.cumsum(part.samples) - part.samples
    filled = sizes > 0
    return block[filled], window[filled], (offsets[block] + within)[filled], sizes[filled]


def still_windows(windows: Windows, check: Check) -> tuple[Array, Array]:
    """[devices, positions] which stretches of `still_minutes`, one from each window on, are covered, and which lie still.

    Still is a stretch in which two channels at least, or the only one, vary and range less than a resting hand.
    """
    long = max(1, round(check.number("still_minutes") * MINUTE_US / windows.window_us))
    judged = sliding_window_view(windows.filled(check.number("filled_share")), long, axis=1).all(axis=-1)
    samples = sliding_window_view(windows.samples, long, axis=1).sum(axis=-1)[..., None]
    sums, squares = (sliding_window_view(part, long, axis=1).sum(axis=-1) for part in (windows.sums, windows.squares))
    highest = sliding_window_view(windows.highest, long, axis=1).max(axis=-1)
    lowest = sliding_window_view(windows.lowest, long, axis=1).min(axis=-1)
    mean = sums / np.maximum(samples, 1)
    variance = np.maximum(squares / np.maximum(samples, 1) - mean**2, 0)
    has = np.isfinite(highest)
    ranges = np.where(has, highest, 0) - np.where(has, lowest, 0)
    still = has & (np.sqrt(variance) < check.number("still_sd_g")) & (ranges < check.number("still_range_g"))
    enough = still.sum(axis=-1) >= np.minimum(2, has.sum(axis=-1))
    return np.asarray(judged), np.asarray(judged & enough)


def stillness(windows: Windows, day: int, check: Check) -> Answers:
    """SQ-03 of acceleration: stretches in which the device lay still, which nobody wore then."""
    return _of_windows(windows, day, check.id, *still_windows(windows, check))


def clipping(windows: Windows, day: int, check: Check) -> Answers:
    """SQ-04: windows most of whose samples are at the end of the range in one channel or another."""
    judged = windows.filled(check.number("filled_share"))
    fails = judged & (windows.clipped > check.number("clipped_share") * windows.samples)
    return _of_windows(windows, day, check.id, judged, fails)


def _of_windows(windows: Windows, day: int, check: str, judged: Array, fails: Array) -> Answers:
    """Counts by device; a device that has nothing long enough counts once as not applicable."""
    evaluated, failed = judged.sum(axis=1), fails.sum(axis=1)
    not_applicable = (evaluated == 0).astype(np.int64)
    return Answers(check, day, windows.names, windows.name, windows.person, evaluated, failed, not_applicable)


def worn_minutes(windows: Windows, check: Check) -> Array:
    """[devices] how long samples were taken in windows that are in no still stretch, minutes."""
    _, still = still_windows(windows, check)
    long = windows.samples.shape[1] - still.shape[1] + 1
    idle = np.zeros(windows.samples.shape, dtype=bool)
    for shift in range(long):
        idle[:, shift : shift + still.shape[1]] |= still
    covered = np.minimum(windows.covered_us, windows.window_us)
    return np.asarray(np.where(idle, 0, covered).sum(axis=1) / MINUTE_US)
