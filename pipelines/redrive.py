"""Which holds can be judged again, now that a link or a grant has come: plans with an explicit list of coordinates.

Who is held may be a person as a partner knows them, or a kit: then it is looked for under `kit` too, where its
activation is, whichever laboratory's result waits for it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from pipelines.consent.snapshot import Snapshot
from pipelines.holds import Holds, OpenHold
from pipelines.plan import PlannedRange, Selection
from schemas.barcodes import is_barcode
from schemas.registry import KIT

News = Callable[[str, str], bool]


def releasable(holds: Holds, snapshot: Snapshot, has_news: News, limit: int, through: int) -> list[OpenHold]:
    """Open holds, numbered at most `through`, whose subject is now linked to a member with chains and no gap in them.

    Only of subjects with news since holds were last looked at: what stays held is not judged again and again.
    """
    found: list[OpenHold] = []
    for partner, subjects in holds.people().items():
        fresh = [name for name in subjects if any(has_news(by, name) for by in _linked_by(partner, name))]
        known = _known(partner, fresh, snapshot)
        found += holds.of(partner, known, limit - len(found), through)
        if len(found) >= limit:
            break
    return found


def _linked_by(partner: str, subject: str) -> tuple[str, ...]:
    return (partner, KIT) if is_barcode(subject) else (partner,)


def _known(partner: str, subjects: list[str], snapshot: Snapshot) -> list[str]:
    kits = [subject for subject in subjects if is_barcode(subject)]
    known = {*_clear(partner, subjects, snapshot), *_clear(KIT, kits, snapshot)}
    return [subject for subject in subjects if subject in known]


def _clear(linked_by: str, subjects: list[str], snapshot: Snapshot) -> list[str]:
    """Those that are linked to a member with chains and no gap in them."""
    links = snapshot.links(linked_by, subjects)
    if not len(links.member):
        return []
    members, inverse = np.unique(links.member, return_inverse=True)
    chains = snapshot.chains_of(members)
    clear = ((np.diff(chains.offsets) > 0) & ~chains.lagging)[inverse]
    owner = np.repeat(np.arange(len(subjects)), np.diff(links.offsets))
    return [subjects[place] for place in np.unique(owner[clear]).tolist()]


def gone(holds: Iterable[OpenHold], begin: Mapping[tuple[str, int], int]) -> list[int]:
    """Numbers of the holds whose record Kafka no longer keeps."""
    return [hold.id for hold in holds if hold.offset < begin.get((hold.topic, hold.partition), 0)]


def ranges(holds: Iterable[OpenHold]) -> Iterator[PlannedRange]:
    """The holds' records as ranges with their selected readings, one a partition."""
    in_order = sorted(holds, key=lambda hold: (hold.topic, hold.partition, hold.offset, hold.first))
    for (topic, partition), group in groupby(in_order, key=lambda hold: (hold.topic, hold.partition)):
        selected = tuple(_selections(group))
        yield PlannedRange(
            topic=topic, partition=partition, start=selected[0].offset, end=selected[-1].offset + 1, selected=selected
        )


def _selections(holds: Iterable[Any]) -> Iterator[Selection]:
    for offset, group in groupby(holds, key=lambda hold: hold.offset):
        yield Selection(offset=offset, runs=tuple((hold.first, hold.readings) for hold in group))
