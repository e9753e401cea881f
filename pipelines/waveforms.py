"""Waveforms: one row for each block of a high-rate signal among the judged messages."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, batch, column, texts
from pipelines.decode import Pointer
from pipelines.faults import Fault, faults_of_time, without
from pipelines.identity import block_hash64, sent64
from pipelines.judged import Judged, bounds
from schemas.reasons import Reason

Array = npt.NDArray[Any]


def waveforms(judged: Judged) -> tuple[Block | None, list[Pointer]]:
    """The messages' blocks in the catalogue's terms, and pointers to those that break a rule.

    `value` says in one number whether all of a block's are finite: 0, else NaN.
    """
    messages, samples = judged.messages(), judged.numbers("samples")
    counts = samples * judged.numbers("width")
    begins = bounds(counts)
    times = _times(judged, samples)
    values = judged.values()
    hashes = _hashes(values, begins, messages, times["times_us"])
    values = judged.canonical(values, counts)
    finite = np.logical_and.reduceat(np.isfinite(values), begins[:-1])
    readings = {
        "message": np.arange(len(samples), dtype=np.int32),
        "index": np.zeros(len(samples), dtype=np.int32),
        **times,
        "samples": samples.astype(np.int32),
        "values": pa.ListArray.from_arrays(pa.array(begins.astype(np.int32)), pa.array(values)),
        "value": np.where(finite, 0.0, np.nan),
        "sent": sent64(column(messages, "hash"), times["start"], times["end"], hashes),
    }
    faults = faults_of_time(times["start"], times["end"], column(messages, "received"), judged.partner)
    faults.append(Fault(~finite, Reason.NOT_FINITE, "values"))
    meta = {**judged.block.meta, "family": "waveform"}
    return without(faults, Block(meta, {"messages": messages, "readings": batch(readings)}))


def _times(judged: Judged, samples: Array) -> dict[str, Any]:
    """Start, end, period and, where they are irregular, the samples' times after the start, of each block.

    Offset and quality are those of the first sample, the quality the least sure where each sample has one.
    """
    moments, period = judged.samples("start"), judged.numbers("period")
    if judged.flags("local").any():
        moments = moments + judged.spread("shift_us", samples, np.int64)
    begins = bounds(samples)[:-1]
    first, last = np.minimum.reduceat(moments, begins), np.maximum.reduceat(moments, begins)
    irregular = period == 0
    relative = (moments - np.repeat(first, samples))[np.repeat(irregular, samples)]
    offsets = pa.array(bounds(np.where(irregular, samples, 0)).astype(np.int32))
    return {
        "start": first,
        "end": last + np.where(irregular, 1, period),
        "period_us": pa.array(period, mask=irregular),
        "times_us": pa.ListArray.from_arrays(offsets, pa.array(relative), mask=pa.array(~irregular)),
        "offset_min": np.array([np.ravel(placed.offset_min)[0] for placed in judged.placed], dtype=np.int16),
        "quality": np.array([np.max(placed.quality) for placed in judged.placed], dtype=np.int8),
    }


def _hashes(values: Array, begins: Array, messages: pa.RecordBatch, times_us: pa.ListArray) -> Array:
    """A hash of each block's numbers as sent, their channels' names and, where they are irregular, their times."""
    rows = zip(texts(messages, "channels"), times_us, begins[:-1], begins[1:], strict=True)
    hashes = [block_hash64(channels, values[lo:hi], _items(times)) for channels, times, lo, hi in rows]
    return np.array(hashes, dtype=np.uint64)


def _items(times: pa.ListScalar) -> Array:
    return np.asarray(times.values.to_numpy()) if times.is_valid else np.empty(0)
