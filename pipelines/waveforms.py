"""Waveforms: one row for each block of a high-rate signal among the judged messages."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, batch, column, texts
from pipelines.decode import Pointer
from pipelines.faults import Fault, faults_of_time, without
from pipelines.identity import block_hash64, sent64
from pipelines.judged import Judged, bounds
from schemas.families import WAVEFORM
from schemas.reasons import Reason

Array = npt.NDArray[Any]


def waveforms(judged: Judged) -> tuple[Block | None, list[Pointer]]:
    """The messages' blocks in the catalogue's terms, and pointers to those that break a rule.

    `low` and `high` are the least and the greatest value of each block.
    """
    messages, samples = judged.messages(), judged.numbers("samples")
    times = _times(judged, samples)
    numbers = _numbers(judged, samples * judged.numbers("width"))
    hashes = _hashes(numbers.sent, judged, messages, times["times_us"])
    readings = {
        "message": np.arange(len(samples), dtype=np.int32),
        "index": np.zeros(len(samples), dtype=np.int32),
        **times,
        "samples": samples.astype(np.int32),
        **numbers.columns,
        "sent": sent64(column(messages, "hash"), times["start"], times["end"], hashes),
    }
    faults = faults_of_time(times["start"], times["end"], column(messages, "received"), judged.is_live)
    finite = np.isfinite(readings["low"]) & np.isfinite(readings["high"])
    faults.append(Fault(~finite, Reason.NOT_FINITE, "values"))
    meta = {**judged.block.meta, "family": WAVEFORM.name}
    return without(faults, Block(meta, {"messages": messages, "readings": batch(readings)}))


def _times(judged: Judged, samples: Array) -> dict[str, Any]:
    """Start, end, period and, where they are irregular, the samples' times after the start, of each block.

    Offset and quality are those of the first sample, the quality the least sure where each sample has one.
    """
    moments, period, counts = judged.samples("start"), judged.numbers("period"), judged.numbers("moments")
    if judged.flags("local").any():
        moments = moments + judged.spread("shift_us", counts, np.int64)
    begins = bounds(counts)[:-1]
    first, last = np.minimum.reduceat(moments, begins), np.maximum.reduceat(moments, begins)
    irregular = period == 0
    relative = (moments - np.repeat(first, counts))[np.repeat(irregular, counts)]
    offsets = pa.array(bounds(np.where(irregular, counts, 0)).astype(np.int32))
    return {
        "start": first,
        "end": np.where(irregular, last + 1, first + samples * period),
        "period_us": pa.array(period, mask=irregular),
        "times_us": pa.ListArray.from_arrays(offsets, pa.array(relative), mask=pa.array(~irregular)),
        "offset_min": np.array([np.ravel(placed.offset_min)[0] for placed in judged.placed], dtype=np.int16),
        "quality": np.array([np.max(placed.quality) for placed in judged.placed], dtype=np.int8),
    }


class _Numbers(NamedTuple):
    """The blocks' numbers: `sent` is each block's as it came, `columns` are what lands of them and their extremes."""

    sent: list[Array]
    columns: dict[str, Any]


def _numbers(judged: Judged, sizes: Array) -> _Numbers:
    """Integers stay integers, the catalogue's unit in their scale and zero; values are converted."""
    counted, (factor, offset) = judged.flags("counted"), judged.conversion()
    value_sizes, count_sizes = np.where(counted, 0, sizes), np.where(counted, sizes, 0)
    counts, values = judged.counts(), judged.values()
    scale, zero = np.where(counted, judged.numbers("scale") * factor, 1.0), np.where(counted, offset, 0.0)
    canonical = judged.canonical(values, value_sizes)
    low, high = _extremes(_parts(counts, count_sizes), _parts(canonical, value_sizes), counted)
    columns = {
        "values": _lists(canonical, value_sizes, counted),
        "counts": _lists(counts, count_sizes, ~counted),
        "scale": pa.array(scale, mask=~counted),
        "zero": pa.array(zero, mask=~counted),
        "low": np.where(scale < 0, high, low) * scale + zero,
        "high": np.where(scale < 0, low, high) * scale + zero,
    }
    return _Numbers(_chosen(counted, _parts(counts, count_sizes), _parts(values, value_sizes)), columns)


def _parts(flat: Array, sizes: Array) -> list[Array]:
    """Each block's own numbers, none where it has none of this kind."""
    return [flat[begin:end] for begin, end in pairwise(bounds(sizes).tolist())]


def _chosen(counted: Array, counts: list[Array], values: list[Array]) -> list[Array]:
    return [c if is_counted else v for is_counted, c, v in zip(counted.tolist(), counts, values, strict=True)]


def _extremes(counts: list[Array], values: list[Array], counted: Array) -> tuple[Array, Array]:
    """The least and the greatest number of each block; NaN where one is NaN."""
    chosen = _chosen(counted, counts, values)
    return np.array([part.min() for part in chosen], float), np.array([part.max() for part in chosen], float)


def _lists(flat: Array, sizes: Array, missing: Array) -> pa.ListArray:
    """A block's numbers each, as narrow as they came: they are copied more than once before they are written."""
    offsets = pa.array(bounds(sizes).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(flat), mask=pa.array(missing))


def _hashes(sent: list[Array], judged: Judged, messages: pa.RecordBatch, times_us: pa.ListArray) -> Array:
    """A hash of each block's numbers as sent, their channels' names and, where they are irregular, their times."""
    rows = zip(texts(messages, "channels"), sent, times_us, judged.numbers("scale").tolist(), strict=True)
    hashes = [block_hash64(channels, numbers, _items(times), scale) for channels, numbers, times, scale in rows]
    return np.array(hashes, dtype=np.uint64)


def _items(times: pa.ListScalar) -> Array:
    return np.asarray(times.values.to_numpy()) if times.is_valid else np.empty(0)
