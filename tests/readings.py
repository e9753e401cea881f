"""Blocks of readings for tests, made by the run's own first stages from messages as partners send them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.blocks import Block, batch
from pipelines.consent.register import Item, Register, Tombstone
from pipelines.consent.snapshot import Snapshot, Snapshots
from pipelines.decode import Pointer, decode_block
from pipelines.keys import KeyRing
from pipelines.normalise import normalise
from schemas.consent_events import ConsentEvent, IdentityLink
from schemas.contracts import encode
from schemas.metrics import catalogue
from schemas.registry import Partner, Study

ACME = Partner(name="acme")
TOPIC = ACME.topic("sensor-reading")
SECOND = 1_000_000
DAY = 86_400 * SECOND
NOON = 1_741_953_600 * SECOND  # 2025-03-14T12:00:00Z
RECEIVED = NOON + DAY


def message(
    subject: str = "s1",
    values: Sequence[float] | Mapping[str, Any] = (60.0, 61.0, 62.0),
    start: int = NOON,
    **fields: Any,
) -> dict[str, Any]:
    """A message of heart rates, a second apart from `start`; `fields` replace what is in it."""
    return {
        "subject": subject,
        "metric": "heart_rate",
        "unit": "/min",
        "source": {"name": f"{subject}'s watch"},
        "times": {"start": start, "period": SECOND},
        "values": values if isinstance(values, Mapping) else [float(value) for value in values],
        **fields,
    }


def intervals(*spans: tuple[int, int], **fields: Any) -> dict[str, Any]:
    """Step counts, each about its own interval [start, end)."""
    times = {"start": [low for low, _ in spans], "end": [high for _, high in spans]}
    steps = {"metric": "steps_interval", "unit": "{steps}", "times": times}
    return message(values=[float(10 + n) for n in range(len(spans))], **{**steps, **fields})


def decoded(*messages: dict[str, Any], first_offset: int = 0, received: int = RECEIVED) -> Block:
    """The messages as records from `first_offset` on, decoded."""
    block, pointers = _decoded([encode("sensor-reading", m) for m in messages], first_offset, received)
    assert block is not None and not pointers
    return block


def _decoded(values: list[bytes], first_offset: int, received: int) -> tuple[Block | None, list[Pointer]]:
    count = len(values)
    raw = batch(
        {
            "offset": np.arange(first_offset, first_offset + count),
            "value": pa.array(values, pa.binary()),
            "too_large": np.zeros(count, dtype=bool),
            "corrupt": np.zeros(count, dtype=bool),
        }
    )
    return decode_block(raw, TOPIC, 0, np.full(count, received))


def normalised(*messages: dict[str, Any], partner: Partner = ACME, **where: int) -> Block:
    """The messages, which must be of one family, as the block that consent judges."""
    (block,), _ = normalise(decoded(*messages, **where), partner)
    return block


def linked(subject: str, member: str, begin: int | None = None, end: int | None = None) -> IdentityLink:
    """A link of the partner acme, for readings taken in [begin, end)."""
    name = f"{subject}-{member}-{begin}"
    return IdentityLink.model_validate(
        {"link_id": name, "partner": "acme", "subject": subject, "member": member, "from": begin, "to": end}
    )


def grant(member: str, study: str = "sleep", seq: int = 1, **fields: Any) -> ConsentEvent:
    """A grant of heart rates and steps, effective 30 days before the readings are received."""
    own = {"metrics": ("heart_rate", "steps_interval"), "effective_at": RECEIVED - 30 * DAY, **fields}
    return ConsentEvent.model_validate({"kind": "grant", "member": member, "study": study, "seq": seq, **own})


def snapshot(folder: Path, items: Iterable[Item], studies: Sequence[str] = ("sleep", "cycle")) -> Snapshot:
    """Consent after these events, links and tombstones, in a register of its own in `folder`."""
    register = Register(folder / "register.sqlite")
    try:
        told: dict[str, list[Item]] = {"authority.consent-event.v1": [], "authority.identity-link.v1": []}
        for item in items:
            is_link = isinstance(item, IdentityLink | Tombstone)
            told["authority.identity-link.v1" if is_link else "authority.consent-event.v1"].append(item)
        for topic, own in told.items():
            register.apply(topic, 0, [(offset, 0, None, item) for offset, item in enumerate(own)])
        keeps = {name: Study(id=name, basis_after_withdrawal="public_interest_research") for name in studies}
        return Snapshots(register, folder / "snapshots", keeps, catalogue().codes).refresh().open()
    finally:
        register.close()


def keys(folder: Path, studies: Sequence[str] = ("sleep", "cycle")) -> KeyRing:
    """Keys of the studies, in a vault of their own in `folder`."""
    ring = KeyRing(folder)
    for study in studies:
        ring.create(study)
    return ring
