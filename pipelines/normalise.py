"""Normalise: metrics and units become the catalogue's, times become UTC, and what breaks a rule is rejected.

Nothing here needs a study. A message is judged once by its header, its readings as columns; a fault in one reading
costs that reading only, except in a block of a high-rate signal, which is one reading.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pipelines.blocks import Block, column, texts
from pipelines.decode import Pointer
from pipelines.judged import Judged, bounds
from pipelines.observations import observations
from pipelines.waveforms import waveforms
from pipelines.zones import Clock, Placed, place
from schemas.mappings import Mapping, mapping
from schemas.reasons import Rejected
from schemas.registry import Partner

_BUILD = {"observation": observations, "waveform": waveforms}


def normalise(block: Block, partner: Partner) -> tuple[list[Block], list[Pointer]]:
    """The observations and the waveforms of a decoded block, each with its own rows, and what was rejected."""
    headers, rejected = _judge_headers(block, partner)
    blocks = []
    for family, build in _BUILD.items():
        own = [header for header in headers if header.mapping.family == family]
        if own:
            rows, mappings, placed = zip(*own, strict=True)
            built, faults = build(Judged(block, partner, np.array(rows), list(mappings), list(placed)))
            rejected += faults
            if built is not None:
                blocks.append(built)
    return blocks, rejected


class _Header(NamedTuple):
    """A message that is in order: its row, what its metric and unit map to, and how its clock stands."""

    row: int
    mapping: Mapping
    placed: Placed


def _judge_headers(block: Block, partner: Partner) -> tuple[list[_Header], list[Pointer]]:
    messages = block.messages
    begins = bounds(column(messages, "samples"))
    start, end = (column(block.parts["samples"], name) for name in ("start", "end"))
    headers, rejected = [], []
    for row, (metric, unit, coded, width, period, instant, local, offset_min, zone) in enumerate(_rows(block, _SAID)):
        form = "intervals" if not instant else "regular" if period else "irregular"
        own = slice(begins[row], begins[row + 1])
        try:
            mapped = mapping(metric, unit, coded, width, form)
            placed = place(form, start[own], end[own], Clock(local, offset_min, zone, partner.assumed_zone))
            headers.append(_Header(row, mapped, placed))
        except Rejected as fault:
            offset, readings = (int(column(messages, name)[row]) for name in ("offset", "readings"))
            place_of = (block.meta["topic"], block.meta["partition"], offset)
            rejected.append(Pointer(*place_of, 0, readings, fault.reason, fault.path))
    return headers, rejected


_SAID = ("metric", "unit_sent", "coded", "width", "period", "instant", "local", "offset_min", "zone")


def _rows(block: Block, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    return zip(*(texts(block.messages, name) for name in names), strict=True)
