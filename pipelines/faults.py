"""Faults of single readings: which break a rule, and the block without them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, column
from pipelines.decode import Pointer
from schemas.reasons import Reason
from schemas.registry import Partner

SKEW_US = 5 * 60 * 1_000_000
EARLIEST_LIVE_US = 1_420_070_400_000_000  # 2015-01-01T00:00:00Z: a live device before it has lost its clock

Flags = npt.NDArray[np.bool_]


class Fault(NamedTuple):
    """The readings that break a rule [n], why, and the field at fault."""

    readings: Flags
    reason: Reason
    path: str


def faults_of_time(start: Any, end: Any, received: Any, partner: Partner) -> list[Fault]:
    """Readings of the future, and of live devices those from before there were any; all [n], microseconds, UTC."""
    faults = [Fault(end > received + SKEW_US, Reason.FUTURE, "times")]
    if partner.live_devices:
        faults.append(Fault(start < EARLIEST_LIVE_US, Reason.TIME, "times"))
    return faults


def without(faults: list[Fault], block: Block) -> tuple[Block | None, list[Pointer]]:
    """The block without its readings at fault, and a pointer for each message and reason among them.

    A reading is rejected for the first rule that it breaks. None where no reading is left.
    """
    bad = np.zeros(block.readings.num_rows, dtype=bool)
    rejected: list[Pointer] = []
    for fault in faults:
        fresh = fault.readings & ~bad
        if fresh.any():
            rejected += _pointers(block, fresh, fault)
            bad |= fresh
    if not bad.any():
        return block, rejected
    kept = block.readings.filter(pa.array(~bad))
    return (Block(block.meta, {**block.parts, "readings": kept}) if kept.num_rows else None), rejected


def _pointers(block: Block, chosen: Flags, fault: Fault) -> Iterator[Pointer]:
    message, index = (column(block.readings, name)[chosen] for name in ("message", "index"))
    rows, first, count = np.unique(message, return_index=True, return_counts=True)
    for row, at, many in zip(rows.tolist(), first.tolist(), count.tolist(), strict=True):
        offset = int(column(block.messages, "offset")[row])
        yield Pointer(
            block.meta["topic"], block.meta["partition"], offset, int(index[at]), many, fault.reason, fault.path
        )
