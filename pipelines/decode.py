"""Decode: Kafka records become messages, and what is no message of the topic's contract becomes a pointer."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.blocks import Block, batch
from schemas.contracts import decode
from schemas.headers import SensorHeader, sensor_header
from schemas.metrics import catalogue
from schemas.reasons import Reason, Rejected
from schemas.series import Series, series

CONTRACT = "sensor-reading"


class Pointer(NamedTuple):
    """Where something was rejected and why; `first_reading` None and `readings` 0 for a record that was no message."""

    topic: str
    partition: int
    offset: int
    first_reading: int | None
    readings: int
    reason: str
    path: str


def pointers_to_json(pointers: Iterable[Pointer]) -> str:
    return json.dumps([list(pointer) for pointer in pointers])


def pointers_from_json(text: str) -> list[Pointer]:
    return [Pointer(*row) for row in json.loads(text)]


@dataclass
class _Messages:
    """The columns of the messages of one block as they are gathered."""

    offset: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    headers: list[SensorHeader] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    readings: list[int] = field(default_factory=list)


def decode_block(
    raw: pa.RecordBatch, topic: str, partition: int, received: np.ndarray[Any, Any]
) -> tuple[Block | None, list[Pointer]]:
    """The messages among the records of one partition, and a pointer for each record that is none.

    `raw` has the columns offset, value, too_large, corrupt; `received` int64 [n], microseconds, the time each record came in.
    """
    found, rejected = _Messages(), []
    offsets = raw.column("offset").to_pylist()
    faulty = {**_marked(raw, "corrupt", Reason.CORRUPT), **_marked(raw, "too_large", Reason.TOO_LARGE)}
    for row, (offset, value) in enumerate(zip(offsets, raw.column("value").to_pylist(), strict=True)):
        try:
            if row in faulty:
                raise Rejected(faulty[row])
            message = decode(value, CONTRACT)
            header, content = sensor_header(message), series(message)
        except Rejected as fault:
            rejected.append(Pointer(topic, partition, offset, None, 0, fault.reason, fault.path))
            continue
        found.offset.append(offset)
        found.received.append(int(received[row]))
        found.headers.append(header)
        found.series.append(content)
        found.readings.append(readings_of(header, content))
    if not found.offset:
        return None, rejected
    return _block(found, topic, partition), rejected


def _marked(raw: pa.RecordBatch, name: str, reason: Reason) -> dict[int, Reason]:
    """The rows that the reader has marked, with the reason."""
    return dict.fromkeys(np.flatnonzero(raw.column(name).to_numpy(zero_copy_only=False)).tolist(), reason)


def readings_of(header: SensorHeader, content: Series) -> int:
    """How many readings a message is: a block of a high-rate signal is one, otherwise each sample is."""
    metric = catalogue().get(header.metric)
    return 1 if metric is not None and metric.family == "waveform" else len(content)


def _block(found: _Messages, topic: str, partition: int) -> Block:
    headers, contents = found.headers, found.series
    messages = {
        "offset": np.array(found.offset, dtype=np.int64),
        "received": np.array(found.received, dtype=np.int64),
        "readings": np.array(found.readings, dtype=np.int64),
        "samples": np.array([len(c) for c in contents], dtype=np.int64),
        "width": np.array([max(1, len(h.channels)) for h in headers], dtype=np.int64),
        "period": np.array([c.period for c in contents], dtype=np.int64),
        "instant": np.array([c.end is None for c in contents]),
        "coded": np.array([c.codes is not None for c in contents]),
        "identified": np.array([c.record_ids is not None for c in contents]),
        "local": np.array([h.clock == "local" for h in headers]),
        "subject": pa.array([h.subject for h in headers], pa.string()),
        "metric": pa.array([h.metric for h in headers], pa.string()),
        "unit_sent": pa.array([h.unit for h in headers], pa.string()),
        "modality": pa.array([h.modality for h in headers], pa.string()),
        "zone": pa.array([h.zone for h in headers], pa.string()),
        "offset_min": pa.array([h.offset_min for h in headers], pa.int16()),
        "channels": pa.array([list(h.channels) for h in headers], pa.list_(pa.string())),
        "source_name": pa.array([h.source.name for h in headers], pa.string()),
        "device_model": pa.array([h.source.device_model for h in headers], pa.string()),
        "firmware": pa.array([h.source.firmware for h in headers], pa.string()),
        "app": pa.array([h.source.app for h in headers], pa.string()),
        "app_version": pa.array([h.source.app_version for h in headers], pa.string()),
    }
    parts = {"messages": batch(messages), "samples": _samples(contents)}
    values = [c.values for c in contents if c.values is not None]
    parts["values"] = batch({"value": np.concatenate(values) if values else np.empty(0)})
    parts["codes"] = batch({"code": pa.array([code for c in contents for code in c.codes or ()], pa.string())})
    parts["record_ids"] = batch({"record_id": pa.array([i for c in contents for i in c.record_ids or ()], pa.string())})
    return Block({"topic": topic, "partition": partition}, parts)


def _samples(contents: list[Series]) -> pa.RecordBatch:
    start = np.concatenate([c.start for c in contents])
    if all(c.end is None for c in contents):
        return batch({"start": start, "end": start})
    return batch({"start": start, "end": np.concatenate([c.start if c.end is None else c.end for c in contents])})


def count_reasons(pointers: Iterable[Pointer]) -> tuple[Counter[str], int]:
    """Records and readings rejected by reason, and how many of the pointers are whole records that were no message."""
    reasons: Counter[str] = Counter()
    records = 0
    for pointer in pointers:
        whole = pointer.first_reading is None and pointer.readings == 0
        records += whole
        reasons[pointer.reason] += 1 if whole else pointer.readings
    return reasons, records
