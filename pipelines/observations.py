"""Observations: one row for each measured fact of the judged messages."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, batch, column, texts
from pipelines.decode import Pointer
from pipelines.faults import Fault, faults_of_time, without
from pipelines.identity import hash64, record_hash64, sent64, value_bits
from pipelines.judged import Judged, bounds
from schemas.reasons import Reason

Array = npt.NDArray[Any]


def observations(judged: Judged) -> tuple[Block | None, list[Pointer]]:
    """The messages' readings in the catalogue's terms, and pointers to those that break a rule."""
    counts = judged.numbers("samples")
    message = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    messages = judged.messages()
    start, end = _interval(judged, counts)
    value, code = _value(judged, counts), _codes(judged, counts, "code")
    record = _record_hashes(judged, counts)
    sent = _bits(value, _codes(judged, counts, "sent"), record)
    readings = {
        "message": message,
        "index": _index(judged, counts),
        "start": start,
        "end": end,
        "value": judged.canonical(value, counts),
        "offset_min": judged.spread("offset_min", counts, np.int16),
        "quality": judged.spread("quality", counts, np.int8),
        "sent": sent64(np.repeat(column(messages, "hash"), counts), start, end, sent),
    }
    faults = faults_of_time(start, end, np.repeat(column(messages, "received"), counts), judged.is_live)
    faults += _faults_of_content(judged, readings["value"], code, message)
    if record is not None:
        readings["record"] = record
    if code is not None:
        readings["code"] = code.cast(pa.string())
    meta = {**judged.block.meta, "family": "observation"}
    return without(faults, Block(meta, {"messages": messages, "readings": batch(readings)}))


def _interval(judged: Judged, counts: Array) -> tuple[Array, Array]:
    """Start and end of each reading in UTC; equally spaced ones of a metric about intervals end after a period."""
    start, end = judged.samples("start"), judged.samples("end")
    if judged.flags("local").any():
        start = start + judged.spread("shift_us", counts, np.int64)
        end = end + judged.spread("end_shift_us", counts, np.int64)
    period = np.where([mapping.interval for mapping in judged.mappings], judged.numbers("period"), 0)
    if period.any():
        end = end + np.repeat(period, counts)
    return start, end


def _index(judged: Judged, counts: Array) -> Array:
    """The place of each reading among those of its record."""
    if "index" in judged.block.parts["samples"].schema.names:
        return judged.samples("index")
    return np.arange(int(counts.sum()), dtype=np.int32) - np.repeat(bounds(counts)[:-1], counts).astype(np.int32)


def _value(judged: Judged, counts: Array) -> Array:
    """The value of each reading as sent, NaN for a code."""
    if not judged.flags("coded").any():
        return judged.values()
    coded = np.repeat(judged.flags("coded"), counts)
    value = np.full(len(coded), np.nan)
    value[~coded] = judged.values()
    return value


def _codes(judged: Judged, counts: Array, name: str) -> pa.DictionaryArray | None:
    """The code of each reading, in the catalogue's words or as `sent`, null for a number; None where no message has any."""
    if not judged.flags("coded").any():
        return None
    coded, own = np.repeat(judged.flags("coded"), counts), judged.codes(name).dictionary_encode()
    indices = np.zeros(len(coded), dtype=np.int32)
    indices[coded] = own.indices
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=~coded), own.dictionary)


def _record_hashes(judged: Judged, counts: Array) -> Array | None:
    """A hash over each reading's record id, 0 where it has none; None where no message has any."""
    if not judged.flags("identified").any():
        return None
    identified = np.repeat(judged.flags("identified"), counts)
    source = np.repeat(np.array(texts(judged.block.messages, "source_name"), dtype=object)[judged.rows], counts)
    hashes = np.zeros(len(identified), dtype=np.uint64)
    hashes[identified] = [
        (record_hash64(judged.partner.name, name, record_id) or 1) if record_id else 0
        for name, record_id in zip(source[identified], judged.record_ids().to_pylist(), strict=True)
    ]
    return hashes


def _bits(value: Array, code: pa.DictionaryArray | None, record: Array | None) -> Array:
    """What tells readings of one message and interval apart: value, code and record id."""
    bits = value_bits(value)
    if code is not None:
        hashes = np.array([hash64(text) for text in code.dictionary.to_pylist()], dtype=np.uint64)
        bits[_is_code(code)] ^= hashes[code.indices.drop_null()]
    if record is not None:
        bits ^= record
    return bits


def _is_code(code: pa.DictionaryArray) -> Array:
    return np.asarray(code.is_valid())


def _faults_of_content(judged: Judged, value: Array, code: pa.DictionaryArray | None, message: Array) -> list[Fault]:
    wrong = ~np.isfinite(value)
    if not wrong.any():
        return []
    if code is None:
        return [Fault(wrong, Reason.NOT_FINITE, "values")]
    return [
        Fault(_unknown(judged, code, message), Reason.CODE, "values"),
        Fault(wrong & ~_is_code(code), Reason.NOT_FINITE, "values"),
    ]


def _unknown(judged: Judged, code: pa.DictionaryArray, message: Array) -> Array:
    """Which codes their metric does not have; it is looked up once for each code of a message, not for each reading."""
    is_code, texts = _is_code(code), code.dictionary.to_pylist()
    pairs = message[is_code].astype(np.int64) * len(texts) + np.asarray(code.indices.drop_null())
    distinct, place = np.unique(pairs, return_inverse=True)
    foreign = [
        texts[text] not in judged.mappings[of].codes
        for of, text in (divmod(pair, len(texts)) for pair in distinct.tolist())
    ]
    unknown = np.zeros(len(message), dtype=bool)
    unknown[is_code] = np.array(foreign)[place]
    return unknown
