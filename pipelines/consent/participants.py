"""What a study's desk may know of its participants from the register: since when, until when, and what of their kits.

Everybody stands under the study's own names: pseudonyms, and barcodes as tokens by the study's key.
"""

from typing import Any, get_args

import pyarrow as pa

from pipelines.consent.chains import NEVER, NO_END, Chain, Interval, compile_chain, subtract, union
from pipelines.consent.register import Register
from pipelines.keys import StudyKey
from schemas.families import UTC_MICROS
from schemas.kit_events import Kind
from schemas.registry import KIT, Study

ENROLLED = pa.schema([("pseudonym", pa.string()), ("since", UTC_MICROS), ("until", UTC_MICROS)])
KITS = pa.schema(
    [("barcode_hash", pa.string()), *((name, UTC_MICROS) for name in get_args(Kind)), ("rejected_reason", pa.string())]
)


def enrolled(register: Register, study: Study, key: StudyKey) -> pa.Table:
    """Columns as in `ENROLLED`: each time span [since, until) of a live consent; until is null where no end is known.

    Nothing is said of somebody whose chain lacks an event or has one that is not understood, or of what was erased.
    """
    rows = [
        {"pseudonym": key.pseudonym(member), "since": since, "until": None if until == NO_END else until}
        for member, is_whole, events in register.chains_of(study.id)
        if is_whole
        for since, until in live(compile_chain(events, study.keeps_after_withdrawal))
    ]
    return pa.Table.from_pylist(rows, ENROLLED)


def live(chain: Chain) -> list[Interval]:
    """When a grant was in force under which anything is still collected and stored."""
    ends = [span.from_us for span in chain.spans[1:]] + [NO_END]
    spans = [
        (span.from_us, min(end, span.store_until))
        for span, end in zip(chain.spans, ends, strict=True)
        if span.grant_seq
    ]
    covered = union([interval for coverage in chain.coverage for interval in coverage.covered])
    return subtract(union(spans), subtract([(NEVER, NO_END)], covered))


def kits(register: Register, study: Study, key: StudyKey) -> pa.Table:
    """Columns as in `KITS`: one row a kit of the study's members, when each thing happened first (UTC)."""
    found: dict[str, dict[str, Any]] = {}
    for barcode, event, at_us, reason in register.kit_moments(study.id):
        row = found.setdefault(barcode, {"barcode_hash": key.token(KIT, barcode)})
        row[event] = at_us
        if event == "rejected":
            row["rejected_reason"] = reason
    return pa.Table.from_pylist([*found.values()], KITS)
