"""Normalise: metrics and units become the catalogue's, times become UTC, and what breaks a rule is rejected.

Nothing here needs a study. A message is judged once by its header, its readings as columns; a fault in one reading
costs that reading only, except in a block of a high-rate signal, which is one reading.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, batch, column, texts
from pipelines.decode import Pointer
from pipelines.identity import block_hash64, hash64, sent64, value_bits
from pipelines.zones import Clock, Placed, place
from schemas.mappings import Mapping, mapping
from schemas.reasons import Reason, Rejected
from schemas.registry import Partner

SKEW_US = 5 * 60 * 1_000_000
EARLIEST_LIVE_US = 1_420_070_400_000_000  # 2015-01-01T00:00:00Z: a live device before it has lost its clock

Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def normalise(block: Block, partner: Partner) -> tuple[list[Block], list[Pointer]]:
    """The observations and the waveforms of a decoded block, each with its own rows, and what was rejected."""
    judged, rejected = _judge_headers(block, partner)
    blocks = []
    for family, build in (("observation", _observations), ("waveform", _waveforms)):
        rows = np.array(
            [row for row, found in enumerate(judged) if found is not None and found.mapping.family == family],
            dtype=np.int64,
        )
        if len(rows):
            built, faults = build(block, partner, judged, rows)
            rejected += faults
            if built is not None:
                blocks.append(built)
    return blocks, rejected


@dataclass(slots=True)
class _Judged:
    mapping: Mapping
    placed: Placed


def _judge_headers(block: Block, partner: Partner) -> tuple[list[_Judged | None], list[Pointer]]:
    messages = block.messages
    bounds = _bounds(column(messages, "samples"))
    start, end = (column(block.parts["samples"], name) for name in ("start", "end"))
    judged: list[_Judged | None] = []
    rejected = []
    columns = [texts(messages, name) for name in _JUDGED]
    for row, (metric, unit, coded, width, period, instant, local, offset_min, zone, offset, readings) in enumerate(
        zip(*columns, strict=True)
    ):
        form = "intervals" if not instant else "regular" if period else "irregular"
        own = slice(bounds[row], bounds[row + 1])
        clock = Clock(local, offset_min, zone, partner.assumed_zone)
        try:
            judged.append(_Judged(mapping(metric, unit, coded, width, form), place(form, start[own], end[own], clock)))
        except Rejected as fault:
            judged.append(None)
            rejected.append(
                Pointer(block.meta["topic"], block.meta["partition"], offset, 0, readings, fault.reason, fault.path)
            )
    return judged, rejected


_JUDGED = (
    "metric",
    "unit_sent",
    "coded",
    "width",
    "period",
    "instant",
    "local",
    "offset_min",
    "zone",
    "offset",
    "readings",
)


def _bounds(counts: npt.NDArray[Any]) -> Int64s:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _observations(
    block: Block, partner: Partner, judged: list[_Judged | None], rows: Int64s
) -> tuple[Block | None, list[Pointer]]:
    found = [judged[row] for row in rows]
    counts = column(block.messages, "samples")[rows]
    message = np.repeat(np.arange(len(rows), dtype=np.int32), counts)
    start, end, offset_min, quality = _times(block, found, rows, counts, message)
    value, code, record = _contents(block, partner, rows, counts)
    messages = _header_columns(block, partner, found, rows)
    bits = value_bits(value)
    if code is not None:
        bits ^= np.array([hash64(text) if text is not None else 0 for text in code], dtype=np.uint64)
    if record is not None:
        bits ^= record
    readings: dict[str, Any] = {
        "message": message,
        "index": np.arange(len(message), dtype=np.int32) - np.repeat(_bounds(counts)[:-1], counts).astype(np.int32),
        "start": start,
        "end": end,
        "value": _converted(value, found, counts),
        "offset_min": offset_min,
        "quality": quality,
        "sent": sent64(column(messages, "hash")[message], start, end, bits),
    }
    if record is not None:
        readings["record"] = record
    faults = _faults(readings, messages, partner)
    infinite = ~np.isfinite(readings["value"])
    if code is not None:
        infinite &= np.array([text is None for text in code])
        faults.append((_unknown_codes(code, found, message), Reason.CODE, "values"))
    faults.append((infinite, Reason.NOT_FINITE, "values"))
    part = batch(readings)
    if code is not None:
        part = batch({**readings, "code": pa.array(code, pa.string())})
    return _keep(block, "observation", messages, part, faults)


def _converted(value: npt.NDArray[Any], found: list[_Judged | None], counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values, `counts` of each message, in canonical units: bit for bit the same where the unit is as sent."""
    factor, offset = (np.array([getattr(f.mapping, name) for f in found if f]) for name in ("factor", "offset"))
    identical = (factor == 1.0) & (offset == 0.0)
    if identical.all():
        return value
    with np.errstate(over="ignore"):
        canonical = value * np.repeat(factor, counts) + np.repeat(offset, counts)
    return np.where(np.repeat(identical, counts), value, canonical)


def _times(
    block: Block, found: list[_Judged | None], rows: Int64s, counts: npt.NDArray[Any], message: npt.NDArray[Any]
) -> tuple[Int64s, Int64s, npt.NDArray[Any], npt.NDArray[Any]]:
    """Start and end in UTC, the offset and its quality of each reading of the chosen messages."""
    picked = _picker(column(block.messages, "samples"), rows)
    start, end = (picked(column(block.parts["samples"], name)) for name in ("start", "end"))
    period = np.where([f.mapping.interval for f in found if f], column(block.messages, "period")[rows], 0)
    placed = [f.placed for f in found if f]
    if column_of_bools(block.messages, "local")[rows].any():
        start = start + _spread([p.shift_us for p in placed], counts, np.int64)
        end = end + _spread([p.end_shift_us for p in placed], counts, np.int64)
    if period.any():
        end = end + period[message]
    offset_min = _spread([p.offset_min for p in placed], counts, np.int16)
    return start, end, offset_min, _spread([p.quality for p in placed], counts, np.int8)


def _spread(values: list[Any], counts: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    """One number a message, or one a reading where a message has several, as one number a reading."""
    if not any(isinstance(value, np.ndarray) for value in values):
        return np.repeat(np.array(values, dtype=dtype), counts)
    return np.concatenate(
        [np.broadcast_to(np.asarray(v, dtype=dtype), (n,)) for v, n in zip(values, counts, strict=True)]
    )


def _picker(counts: npt.NDArray[Any], rows: Int64s) -> Any:
    """A function that takes the chosen messages' part of a column that holds `counts` items a message."""
    if len(rows) == len(counts):
        return lambda values: values
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[rows] = True
    mask = np.repeat(chosen, counts)
    return lambda values: values[mask]


def _contents(
    block: Block, partner: Partner, rows: Int64s, counts: npt.NDArray[Any]
) -> tuple[Any, list[Any] | None, Any]:
    """Value (NaN for codes), code and record hash (0 for none) of each reading; None where no message has any."""
    messages = block.messages
    coded, identified = column_of_bools(messages, "coded"), column_of_bools(messages, "identified")
    numbers = np.where(coded, 0, column(messages, "samples") * column(messages, "width"))
    total = int(counts.sum())
    first = _bounds(counts)
    if not coded[rows].any():
        value, code = _picker(numbers, rows)(column(block.parts["values"], "value")), None
    else:
        value, code = np.full(total, np.nan), [None] * total
        at_value, at_code = _bounds(numbers), _bounds(np.where(coded, column(messages, "samples"), 0))
        all_codes = texts(block.parts["codes"], "code")
        for place_, row in enumerate(rows):
            lo, hi = first[place_], first[place_ + 1]
            if coded[row]:
                code[lo:hi] = all_codes[at_code[row] : at_code[row + 1]]
            else:
                value[lo:hi] = column(block.parts["values"], "value")[at_value[row] : at_value[row + 1]]
    record = _record_hashes(block, partner, rows, counts, identified) if identified[rows].any() else None
    return value, code, record


def column_of_bools(part: pa.RecordBatch, name: str) -> Flags:
    """A column of booleans without nulls; Arrow packs them, so they are copied."""
    return np.asarray(part.column(name).to_numpy(zero_copy_only=False))


def _record_hashes(block: Block, partner: Partner, rows: Int64s, counts: npt.NDArray[Any], identified: Flags) -> Any:
    ids = texts(block.parts["record_ids"], "record_id")
    sources = texts(block.messages, "source_name")
    at = _bounds(np.where(identified, column(block.messages, "samples"), 0))
    hashes = np.zeros(int(counts.sum()), dtype=np.uint64)
    first = _bounds(counts)
    for place_, row in enumerate(rows):
        if identified[row]:
            own = [(hash64(partner.name, sources[row], i) or 1) if i else 0 for i in ids[at[row] : at[row + 1]]]
            hashes[first[place_] : first[place_ + 1]] = own
    return hashes


def _header_columns(block: Block, partner: Partner, found: list[_Judged | None], rows: Int64s) -> pa.RecordBatch:
    chosen = block.messages.take(pa.array(rows))
    named = {name: chosen.column(name) for name in _CARRIED}
    hashes = [
        hash64(partner.name, source, metric, unit)
        for source, metric, unit in zip(
            texts(chosen, "source_name"), texts(chosen, "metric"), texts(chosen, "unit_sent"), strict=True
        )
    ]
    named["hash"] = pa.array(np.array(hashes, dtype=np.uint64))
    named["metric_index"] = pa.array([f.mapping.metric for f in found if f], pa.int32())
    named["unit"] = pa.array([f.mapping.unit for f in found if f], pa.string())
    return batch(named)


_CARRIED = (
    *("offset", "received", "subject", "metric", "unit_sent", "modality", "channels", "source_name"),
    *("device_model", "firmware", "app", "app_version"),
)


def _unknown_codes(code: list[Any], found: list[_Judged | None], message: npt.NDArray[Any]) -> Flags:
    sets = [f.mapping.codes for f in found if f]
    return np.array([text is not None and text not in sets[m] for text, m in zip(code, message.tolist(), strict=True)])


def _faults(readings: dict[str, Any], messages: pa.RecordBatch, partner: Partner) -> list[tuple[Flags, Reason, str]]:
    """Which readings break a rule about time, by rule; a reading is rejected for the first that it breaks."""
    received = column(messages, "received")[readings["message"]]
    faults = [(readings["end"] > received + SKEW_US, Reason.FUTURE, "times")]
    if partner.live_devices:
        faults.append((readings["start"] < EARLIEST_LIVE_US, Reason.TIME, "times"))
    return faults


def _keep(
    block: Block,
    family: str,
    messages: pa.RecordBatch,
    readings: pa.RecordBatch,
    faults: list[tuple[Flags, Reason, str]],
) -> tuple[Block | None, list[Pointer]]:
    """The block without the faulty readings, and a pointer for each message and reason among them."""
    bad = np.zeros(readings.num_rows, dtype=bool)
    rejected: list[Pointer] = []
    for mask, reason, path in faults:
        fresh = mask & ~bad
        if fresh.any():
            rejected += _point(block, messages, readings, fresh, reason, path)
            bad |= fresh
    if bad.any():
        readings = readings.filter(pa.array(~bad))
    kept = Block({**block.meta, "family": family}, {"messages": messages, "readings": readings})
    return (kept if readings.num_rows else None), rejected


def _point(
    block: Block, messages: pa.RecordBatch, readings: pa.RecordBatch, mask: Flags, reason: Reason, path: str
) -> Iterator[Pointer]:
    message, index = column(readings, "message")[mask], column(readings, "index")[mask]
    rows, first, count = np.unique(message, return_index=True, return_counts=True)
    for row, at, many in zip(rows.tolist(), first.tolist(), count.tolist(), strict=True):
        offset = int(column(messages, "offset")[row])
        yield Pointer(block.meta["topic"], block.meta["partition"], offset, int(index[at]), many, reason, path)


def _waveforms(
    block: Block, partner: Partner, judged: list[_Judged | None], rows: Int64s
) -> tuple[Block | None, list[Pointer]]:
    found = [judged[row] for row in rows]
    messages = _header_columns(block, partner, found, rows)
    samples, width = column(block.messages, "samples")[rows], column(block.messages, "width")[rows]
    coded = column_of_bools(block.messages, "coded")
    numbers = np.where(coded, 0, column(block.messages, "samples") * column(block.messages, "width"))
    values = _picker(numbers, rows)(column(block.parts["values"], "value"))
    bounds = _bounds(samples * width)
    times = _waveform_times(block, found, rows, samples)
    hashes = sent64(
        column(messages, "hash"),
        times["start"],
        times["end"],
        _block_hashes(values, bounds, messages, times["times_us"]),
    )
    values = _converted(values, found, samples * width)
    readings = {
        "message": np.arange(len(rows), dtype=np.int32),
        "index": np.zeros(len(rows), dtype=np.int32),
        **times,
        "samples": samples.astype(np.int32),
        "values": pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(values)),
        "value": np.where(np.logical_and.reduceat(np.isfinite(values), bounds[:-1]), 0.0, np.nan),
        "sent": hashes,
    }
    faults = [*_faults(readings, messages, partner), (np.isnan(readings["value"]), Reason.NOT_FINITE, "values")]
    return _keep(block, "waveform", messages, batch(readings), faults)


def _block_hashes(
    values: npt.NDArray[Any], bounds: Int64s, messages: pa.RecordBatch, times_us: pa.ListArray
) -> npt.NDArray[Any]:
    """A hash of each block's numbers as sent, their channels' names and, where they are irregular, their times."""
    rows = zip(texts(messages, "channels"), times_us, bounds[:-1], bounds[1:], strict=True)
    hashes = [block_hash64(channels, values[lo:hi], _items(times)) for channels, times, lo, hi in rows]
    return np.array(hashes, dtype=np.uint64)


def _items(times: pa.ListScalar) -> npt.NDArray[Any]:
    return np.asarray(times.values.to_numpy()) if times.is_valid else np.empty(0)


def _waveform_times(
    block: Block, found: list[_Judged | None], rows: Int64s, samples: npt.NDArray[Any]
) -> dict[str, Any]:
    """Start, end, period and, where they are irregular, the samples' times after the start, of each block."""
    placed = [f.placed for f in found if f]
    bounds = _bounds(samples)
    moments = _picker(column(block.messages, "samples"), rows)(column(block.parts["samples"], "start"))
    if column_of_bools(block.messages, "local")[rows].any():
        moments = moments + _spread([p.shift_us for p in placed], samples, np.int64)
    period = column(block.messages, "period")[rows]
    first = np.minimum.reduceat(moments, bounds[:-1])
    last = np.maximum.reduceat(moments, bounds[:-1])
    irregular = period == 0
    relative = (moments - np.repeat(first, samples))[np.repeat(irregular, samples)]
    offsets = pa.array(_bounds(np.where(irregular, samples, 0)).astype(np.int32))
    return {
        "start": first,
        "end": last + np.where(irregular, 1, period),
        "period_us": pa.array(period, mask=irregular),
        "times_us": pa.ListArray.from_arrays(offsets, pa.array(relative), mask=pa.array(~irregular)),
        "offset_min": np.array([np.ravel(p.offset_min)[0] for p in placed], dtype=np.int16),
        "quality": np.array([np.max(p.quality) for p in placed], dtype=np.int8),
    }
