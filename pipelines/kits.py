"""Kits: what their own events say of the specimen goes before what a laboratory repeats of it."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks import Block, with_columns
from pipelines.consent.kits import REASONS, UNTOLD, KitFacts
from pipelines.consent.snapshot import Snapshot
from pipelines.zones import DAY_US
from schemas.specimens import REASONS as KINDS
from schemas.specimens import UNKNOWN

Int64s = npt.NDArray[np.int64]

_CHAIN = ("packed", "sent", "collected", "posted", "received", "resulted")
"""In which order a kit's events come. It may be activated at any time after it was sent: also late, when a result waits."""
_IN_ORDER = (
    *((first, then) for place, then in enumerate(_CHAIN) for first in _CHAIN[:place]),
    *(("packed", "activated"), ("sent", "activated")),
)
"""Each two events of which the one comes before the other."""


def with_kit_facts(block: Block, snapshot: Snapshot) -> Block:
    """A block of results with what the kits' own events say: when their specimens were taken and came, when their lots
    expire, why they were rejected, and whether all of it came in order. Other blocks as they are.
    """
    if "collected_exact" not in block.readings.schema.names:
        return block
    facts = _facts(block, snapshot)
    columns = {"lot_expires": _known(facts["lot_expires_us"])}
    for name, told in (("collected", "collected_us"), ("arrived", "received_us")):
        sent = block.readings.column(name).cast(pa.int64())
        columns[name] = pc.coalesce(_known(facts[told]), sent)
        stands_in = (facts[told] == UNTOLD) & np.asarray(block.readings.column(f"{name}_exact"))
        facts[told] = np.where(stands_in, sent.fill_null(UNTOLD).to_numpy(), facts[told])
    columns |= _taken_by(columns["collected"], facts["collected_us"])
    rejected = facts["rejected_for"]
    if (rejected != UNTOLD).any():
        columns |= _rejections(block.readings, rejected)
    columns |= _custody({name: facts[f"{name}_us"] for name in (*_CHAIN, "activated")})
    readings = with_columns(block.readings, columns.items())
    kept = [name for name in readings.schema.names if not name.endswith("_exact")]
    return Block(block.meta, {**block.parts, "readings": readings.select(kept)})


def _taken_by(collected: pa.Array, exact: Int64s) -> dict[str, pa.Array]:
    """Until when a specimen was taken at the latest, where that is known to the day only; nothing where all is exact."""
    to_day = np.asarray(collected.is_valid()) & (exact == UNTOLD)
    if not to_day.any():
        return {}
    return {"collected_by": pc.add(collected, pa.array(np.where(to_day, DAY_US, 0)))}


def _facts(block: Block, snapshot: Snapshot) -> dict[str, Int64s]:
    """What is known of each result's kit, as in KitFacts, UNTOLD for what is of no kit."""
    names = [field.name for field in fields(KitFacts) if field.name != "known"]
    if not pc.any(block.messages.column("kit")).as_py():
        nothing = np.full(block.readings.num_rows, UNTOLD, dtype=np.int64)
        return dict.fromkeys(names, nothing)
    message = block.readings.column("message")
    of_kit = np.asarray(block.messages.column("kit").take(message))
    subjects = block.messages.column("subject").take(message).dictionary_encode()
    facts, at = snapshot.kits(subjects.dictionary.to_pylist()), subjects.indices.to_numpy()
    return {name: np.where(of_kit, getattr(facts, name)[at], UNTOLD) for name in names}


def _known(moments: Int64s) -> pa.Array:
    return pa.array(moments, mask=moments == UNTOLD)


def _rejections(readings: pa.RecordBatch, rejected: Int64s) -> dict[str, pa.Array]:
    """Why each specimen was rejected, where a kit's own event says so, else as the laboratory's report does."""
    told = _known(rejected)
    kinds = pa.array([KINDS.get(word, UNKNOWN) for word in REASONS], pa.string())
    words = pa.array([word if word in KINDS else None for word in REASONS], pa.string())
    is_told = told.is_valid()
    return {
        "rejection": pc.if_else(is_told, kinds.take(told), readings.column("rejection")),
        "rejected_for": pc.if_else(is_told, words.take(told), readings.column("rejected_for")),
    }


def _custody(moments: Mapping[str, Int64s]) -> dict[str, pa.Array]:
    """Of each result's events the two that are furthest out of order: `custody_gap` in words, null where all are in order.

    `custody_back_us` is by how much the one that should be the earlier is the later; 0 or less where they are in order,
    null where fewer than two are known.
    """
    count = len(moments["packed"])
    back, words, said = np.full(count, UNTOLD, dtype=np.int64), [""], np.zeros(count, dtype=np.int32)
    for first, then in _IN_ORDER:
        both = (moments[first] != UNTOLD) & (moments[then] != UNTOLD)
        late = np.where(both, moments[first] - np.where(both, moments[then], 0), UNTOLD)
        worse = both & (late > back)
        if worse.any():
            back[worse], said[worse] = late[worse], len(words)
            words.append(f"{first} after {then}")
    in_words = pa.array(words, pa.string()).take(pa.array(said, mask=back <= 0))
    return {"custody_gap": in_words, "custody_back_us": _known(back)}
