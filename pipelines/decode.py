"""Decode: Kafka records become messages, and what is no message of the topic's contract becomes a pointer."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from connectors import app_export, lab_results
from pipelines.blocks import Block
from pipelines.exports import ExportMessages
from pipelines.messages import SensorMessages
from pipelines.reports import Reports
from schemas.contracts import decode
from schemas.reasons import Reason, Rejected
from schemas.registry import SENSOR_READING, contract_of


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


def decode_block(
    raw: pa.RecordBatch,
    topic: str,
    partition: int,
    received: np.ndarray[Any, Any],
    assumed_zone: str | None = None,
    poison: Collection[int] = (),
) -> tuple[Block | None, list[Pointer]]:
    """The messages among the records of one partition, and a pointer for each record that is none of its contract.

    `raw` has the columns offset, value, too_large, corrupt; `received` int64 [n], microseconds, the time each record
    came in. `assumed_zone` is the zone of wall clocks of which nothing is known, `poison` are offsets that were not read.
    """
    contract, rejected = contract_of(topic), []

    def refuse(offset: int, fault: Rejected) -> None:
        rejected.append(Pointer(topic, partition, offset, None, 0, fault.reason, fault.path))

    found = _GATHER[contract](assumed_zone, refuse)
    offsets = raw.column("offset").to_pylist()
    faulty = {**_marked(raw, "corrupt", Reason.CORRUPT), **_marked(raw, "too_large", Reason.TOO_LARGE)}
    faulty |= {row: Reason.POISON for row, offset in enumerate(offsets) if offset in poison}
    for row, (offset, value) in enumerate(zip(offsets, raw.column("value"), strict=True)):  # in memory one at a time
        try:
            if row in faulty:
                raise Rejected(faulty[row])
            found.take(decode(value.as_py(), contract), offset, int(received[row]))
        except Rejected as fault:
            refuse(offset, fault)
    meta = {"topic": topic, "partition": partition, "live": contract == SENSOR_READING}
    block = found.block(meta) if found else None
    return block, sorted(rejected, key=lambda pointer: pointer.offset)


class _Gathered(Protocol):
    """What the records of a contract are gathered in: those taken, without those that were rejected.

    What is judged of many at once is refused when the block is made, and there is none where all of them are.
    """

    def __len__(self) -> int: ...
    def take(self, content: dict[str, Any], offset: int, received_us: int) -> None: ...
    def block(self, meta: dict[str, Any]) -> Block | None: ...


_Refuse = Callable[[int, Rejected], None]
_GATHER: dict[str, Callable[[str | None, _Refuse], _Gathered]] = {
    SENSOR_READING: lambda *_: SensorMessages(),
    app_export.CONTRACT: lambda *_: ExportMessages(),
    lab_results.CONTRACT: Reports,
}


def _marked(raw: pa.RecordBatch, name: str, reason: Reason) -> dict[int, Reason]:
    """The rows that the reader has marked, with the reason."""
    return dict.fromkeys(np.flatnonzero(raw.column(name).to_numpy(zero_copy_only=False)).tolist(), reason)


def count_reasons(pointers: Iterable[Pointer]) -> tuple[Counter[str], int]:
    """Records and readings rejected by reason, and how many of the pointers are whole records that were no message."""
    reasons: Counter[str] = Counter()
    records = 0
    for pointer in pointers:
        whole = pointer.first_reading is None and pointer.readings == 0
        records += whole
        reasons[pointer.reason] += 1 if whole else pointer.readings
    return reasons, records
