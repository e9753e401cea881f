"""Kits: what their own events say of the specimen goes before what a laboratory repeats of it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks import Block, with_columns
from pipelines.consent.kits import UNTOLD
from pipelines.consent.snapshot import Snapshot


def with_kit_facts(block: Block, snapshot: Snapshot) -> Block:
    """A block of results with the kits' own times of collection and arrival, and when their lots expire; others as they are."""
    if "kit" not in block.messages.schema.names or not pc.any(block.messages.column("kit")).as_py():
        return block
    of_kit = block.messages.column("kit").take(block.readings.column("message"))
    subjects = block.messages.column("subject").take(block.readings.column("message")).dictionary_encode()
    facts, at = snapshot.kits(subjects.dictionary.to_pylist()), subjects.indices.to_numpy()
    columns = []
    for name, told in (
        ("collected", facts.collected_us),
        ("arrived", facts.received_us),
        ("lot_expires", facts.lot_expires_us),
    ):
        own = pa.array(told[at], mask=(told[at] == UNTOLD) | ~np.asarray(of_kit))
        columns.append((name, pc.coalesce(own, block.readings.column(name))))
    return Block(block.meta, {**block.parts, "readings": with_columns(block.readings, columns)})
