"""Faults of single readings: which break a rule, and the block without them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, column
from pipelines.decode import Pointer
from pipelines.zones import EARLIEST_LIVE_US, EARLIEST_US, SKEW_US
from schemas.reasons import Reason

Flags = npt.NDArray[np.bool_]


class Fault(NamedTuple):
    """The readings that break a rule [n], why, and the field at fault."""

    readings: Flags
    reason: Reason
    path: str


def faults_of_time(start: Any, end: Any, received: Any, is_live: bool) -> list[Fault]:
    """Readings of the future, those from before there were any such devices, and those that end before they start; all
    [n], microseconds, UTC."""
    return [
        Fault(end > received + SKEW_US, Reason.FUTURE, "times"),
        Fault(start < (EARLIEST_LIVE_US if is_live else EARLIEST_US), Reason.TIME, "times"),
        Fault(end < start, Reason.INTERVAL, "times"),
    ]


def without(faults: list[Fault], block: Block) -> tuple[Block | None, list[Pointer]]:
    """The block without its readings at fault, and a pointer for each message and reason among them.

    A reading is rejected for the first rule that it breaks. None where no reading is left.
    """
    if not any(fault.readings.any() for fault in faults):
        return block, []
    bad = np.zeros(block.readings.num_rows, dtype=bool)
    rejected: list[Pointer] = []
    for fault in faults:
        fresh = fault.readings & ~bad
        if fresh.any():
            rejected += _pointers(block, fresh, fault)
            bad |= fresh
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
