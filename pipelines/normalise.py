"""Normalise: metrics and units become the catalogue's, times become UTC, and what breaks a rule is rejected.

Nothing here needs a study. A message is judged once by its header, its readings as columns; a fault in one reading
costs that reading only, except in a block of a high-rate signal, which is one reading.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from pipelines.blocks import Block, column, texts
from pipelines.decode import Pointer
from pipelines.judged import Judged, bounds
from pipelines.lab_results import NO_LABORATORIES, Laboratories, lab_results
from pipelines.observations import observations
from pipelines.waveforms import waveforms
from pipelines.zones import Clock, Placed, place, place_alike
from schemas.mappings import Mapping, mapping
from schemas.reasons import Rejected
from schemas.registry import Partner

_BUILD = {"observation": observations, "waveform": waveforms}


def normalise(
    block: Block, partner: Partner, laboratories: Laboratories = NO_LABORATORIES
) -> tuple[list[Block], list[Pointer]]:
    """The readings of a decoded block, a block for each family that they are of, and what was rejected."""
    if "results" in block.parts:
        return lab_results(block, partner, laboratories)
    found, rejected = _judge_headers(block, partner)
    blocks = []
    for family, build in _BUILD.items():
        own = found[family]
        if own.rows:
            built, faults = build(Judged(block, partner, np.array(own.rows), own.mappings, own.placed))
            rejected += faults
            if built is not None:
                blocks.append(built)
    return blocks, rejected


@dataclass
class _Found:
    """The messages of a family that are in order: their rows, what each maps to, and how its clock stands."""

    rows: list[int] = field(default_factory=list)
    mappings: list[Mapping] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)

    def add(self, row: int, mapped: Mapping, placed: Placed) -> None:
        self.rows.append(row)
        self.mappings.append(mapped)
        self.placed.append(placed)


def _judge_headers(block: Block, partner: Partner) -> tuple[dict[str, _Found], list[Pointer]]:
    begins = bounds(column(block.messages, "moments"))
    start, end = (column(block.parts["samples"], name) for name in ("start", "end"))
    found, rejected = {family: _Found() for family in _BUILD}, []
    for row, said in enumerate(_rows(block, _SAID)):
        try:
            form, mapped, clock, placed = _judge(partner.assumed_zone, *said)
            if placed is None:
                own = slice(begins[row], begins[row + 1])
                placed = place(form, start[own], end[own], clock)
        except Rejected as fault:
            rejected.append(_pointer(block, row, int(begins[row]), fault))
        else:
            found[mapped.family].add(row, mapped, placed)
    return found, rejected


@lru_cache(maxsize=4096)
def _judge(
    assumed: str | None,
    metric: str,
    unit: str,
    coded: bool,
    width: int,
    period: int,
    instant: bool,
    local: bool,
    offset_min: int | None,
    zone: str | None,
    exported: bool,
) -> tuple[str, Mapping, Clock, Placed | None]:
    """The form of a message's times, what its header maps to, its clock, and where that stands, None where the times say.

    Remembered, since few messages differ in these. Rejected.
    """
    form = "intervals" if not instant else "regular" if period else "irregular"
    clock = Clock(local, offset_min, zone, assumed, exported)
    return form, mapping(metric, unit, coded, width, form), clock, place_alike(clock)


def _pointer(block: Block, row: int, first_sample: int, fault: Rejected) -> Pointer:
    """To all readings of a message; of a kind that nobody knows, the path says what may be told of it."""
    offset, readings = (int(column(block.messages, name)[row]) for name in ("offset", "readings"))
    samples, shown = block.parts["samples"], block.messages.column("shown")[row].as_py()
    first = int(column(samples, "index")[first_sample]) if "index" in samples.schema.names else 0
    path = f"records.{shown}" if shown else fault.path
    return Pointer(block.meta["topic"], block.meta["partition"], offset, first, readings, fault.reason, path)


_SAID = (
    *("metric", "unit", "coded", "width", "period", "instant"),
    *("local", "offset_min", "zone", "export_offset"),
)


def _rows(block: Block, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    return zip(*(texts(block.messages, name) for name in names), strict=True)
