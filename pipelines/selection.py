"""Which readings of a plan's records are judged: all of them, or those that a hold pointed to."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, column, group_bounds
from pipelines.decode import Pointer
from pipelines.plan import Plan

Runs = tuple[tuple[int, int], ...]


def select(blocks: list[Block], pointers: list[Pointer], plan: Plan) -> tuple[list[Block], int | None]:
    """The blocks with the selected readings only, and how many readings were skipped; None where all are judged.

    What was rejected counts as skipped: it was reported when the record was read for the first time.
    """
    if not blocks and not pointers:
        return blocks, None
    topic, partition = (blocks[0].meta["topic"], blocks[0].meta["partition"]) if blocks else pointers[0][:2]
    wanted = _selected(plan, topic, partition)
    if wanted is None:
        return blocks, None
    skipped = sum(pointer.readings for pointer in pointers)
    kept = []
    for block in blocks:
        mask = _mask(block, wanted)
        skipped += int((~mask).sum())
        if mask.any():
            kept.append(Block(block.meta, {**block.parts, "readings": block.readings.filter(pa.array(mask))}))
    return kept, skipped


def _selected(plan: Plan, topic: str, partition: int) -> dict[int, Runs] | None:
    for planned in plan.ranges:
        if (planned.topic, planned.partition) == (topic, partition) and planned.selected is not None:
            return {chosen.offset: chosen.runs for chosen in planned.selected}
    return None


def _mask(block: Block, wanted: dict[int, Runs]) -> npt.NDArray[np.bool_]:
    message, index = column(block.readings, "message"), column(block.readings, "index")
    mask = np.zeros(len(message), dtype=bool)
    begins = group_bounds(message, block.messages.num_rows)
    offsets: list[Any] = block.messages.column("offset").to_pylist()
    for row, offset in enumerate(offsets):
        own = slice(begins[row], begins[row + 1])
        for first, count in wanted.get(offset, ()):
            mask[own] |= (index[own] >= first) & (index[own] < first + count)
    return mask
