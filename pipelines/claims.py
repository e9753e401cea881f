"""Consent: whose each reading is, which studies consider it, and what each study's consent says.

Consent is asked about whole messages first, by the hull of their readings: where the hull may land, each reading may.
Only where the answer depends on the interval is it asked again about each reading. The verdict itself is
`pipelines.consent.verdict.judge`, nothing else.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, column, group_bounds, texts
from pipelines.consent.build import AMBIGUOUS_MEMBER
from pipelines.consent.snapshot import Snapshot
from pipelines.consent.verdict import CODES, judge
from schemas.reasons import Code
from schemas.registry import KIT

Ints = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]

UNLINKED, AMBIGUOUS = -1, AMBIGUOUS_MEMBER
_DEPENDS_ON_INTERVAL = [CODES.index(Code.OUTSIDE_WINDOW), CODES.index(Code.ERASED)]
_OK = CODES.index(Code.OK)
_NOT_CONSIDERED = CODES.index(Code.NOT_CONSIDERED)


class Hold(NamedTuple):
    """Readings that wait in Kafka: positions [first, first + readings) of one message, and why."""

    topic: str
    partition: int
    offset: int
    first: int
    readings: int
    received_us: int
    partner: str
    subject: str
    reason: str


@dataclass
class Grant:
    """What one study may have of a block: a flag and the consent's sequence number for each unit."""

    study: str
    allowed: npt.NDArray[np.bool_]
    consent_seq: npt.NDArray[np.int32]


@dataclass
class Claims:
    """The verdict on a block. A unit is a run of readings of one message with one answer; `unit_of` maps readings to units."""

    unit_of: Ints
    message: Ints
    member: Ints
    grants: list[Grant] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    claimed: int = 0
    considered: Counter[str] = field(default_factory=Counter)
    withheld: Counter[tuple[str, str]] = field(default_factory=Counter)
    people: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of how many members readings were withheld, by study and code."""


@dataclass
class _Units:
    """Runs of readings: their message, their readings [low, high), the hull of their times, and their member."""

    message: Ints
    low: Ints
    high: Ints
    start: Ints
    end: Ints
    member: Ints

    def pick(self, rows: Any) -> "_Units":
        return _Units(*(getattr(self, name)[rows] for name in ("message", "low", "high", "start", "end", "member")))


def claim(block: Block, partner: str, snapshot: Snapshot, hold_us: int, kit_hold_us: int = 0) -> Claims:
    """The verdict of consent on a normalised block; readings of kits wait for `kit_hold_us`, others for `hold_us`."""
    kits = _of_kits(block)
    units = _by_member(block, partner, snapshot, kits)
    units, verdicts = _ask(block, units, snapshot, np.where(kits, kit_hold_us, hold_us))
    order = np.argsort(units.low, kind="stable")
    units = units.pick(order)
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    verdicts = [(study, position[rows], codes, seqs) for study, rows, codes, seqs in verdicts]
    sizes = units.high - units.low
    claims = Claims(np.repeat(np.arange(len(sizes)), sizes), units.message, units.member)
    claims.holds = _holds(block, partner, units, snapshot, kits)
    claims.claimed = int(sizes.sum()) - sum(hold.readings for hold in claims.holds)
    for study, rows, codes, seqs in verdicts:
        _count(claims, study, rows, codes, seqs, sizes)
    return claims


def _by_member(block: Block, partner: str, snapshot: Snapshot, kits: Flags) -> _Units:
    """Units by member: a message each, or a reading each where the message's person changes or is not clear."""
    whole = _whole_messages(block)
    if not kits.any():
        return _by_wearer(block, partner, snapshot, whole)
    is_kit = kits[whole.message]
    return _join(
        _by_wearer(block, partner, snapshot, whole.pick(~is_kit)),
        _by_barcode(block, partner, snapshot, whole.pick(is_kit)),
    )


def _of_kits(block: Block) -> Flags:
    """Which of the block's messages are about kits: their subjects are barcodes."""
    if "kit" not in block.messages.schema.names:
        return np.zeros(block.messages.num_rows, dtype=bool)
    return np.asarray(block.messages.column("kit").to_numpy(zero_copy_only=False))


def _by_barcode(block: Block, partner: str, snapshot: Snapshot, whole: _Units) -> _Units:
    """A kit is one person's at all times; links to two people are a conflict, whichever laboratory knows of them."""
    subjects = block.messages.column("subject").take(pa.array(whole.message)).dictionary_encode()
    names = subjects.dictionary.to_pylist()
    found: list[set[int]] = [set() for _ in names]
    for linked_by in (KIT, partner):
        links = snapshot.links(linked_by, names)
        for place in range(len(names)):
            found[place].update(links.member[links.offsets[place] : links.offsets[place + 1]].tolist())
    whose = [UNLINKED if not members else members.pop() if len(members) == 1 else AMBIGUOUS for members in found]
    whole.member = np.array(whose, dtype=np.int64)[subjects.indices.to_numpy()]
    return whole


def _by_wearer(block: Block, partner: str, snapshot: Snapshot, whole: _Units) -> _Units:
    """Devices and accounts are handed on: whose a reading is depends on its time."""
    subjects = texts(block.messages, "subject")
    names = sorted(set(subjects))
    number = {name: place for place, name in enumerate(names)}
    links = snapshot.links(partner, names)
    of_message = np.array([number[subject] for subject in subjects])[whole.message]
    first, count = links.offsets[:-1][of_message], np.diff(links.offsets)[of_message]
    single = count == 1
    at = np.where(single, first, 0)
    if len(links.member):
        covered = (
            single
            & (links.from_us[at] <= whole.start)
            & (whole.end <= links.to_us[at])
            & (whole.start < links.to_us[at])
        )
        whole.member = np.where(covered, links.member[at], UNLINKED)
    else:
        covered = single
    unclear = (count > 0) & ~covered
    if not unclear.any():
        return whole
    single_units = _explode(block, whole.pick(unclear))
    owner = of_message[np.searchsorted(whole.message, single_units.message)]
    single_units.member = _member_of_each(single_units, owner, links)
    return _join(whole.pick(~unclear), single_units)


def _whole_messages(block: Block) -> _Units:
    message = column(block.readings, "message")
    bounds = group_bounds(message, block.messages.num_rows)
    rows = np.flatnonzero(np.diff(bounds))
    low, high = bounds[:-1][rows], bounds[1:][rows]
    start = np.minimum.reduceat(column(block.readings, "start"), low)
    end = np.maximum.reduceat(column(block.readings, "end"), low)
    return _Units(rows, low, high, start, end, np.full(len(rows), UNLINKED, dtype=np.int64))


def _explode(block: Block, units: _Units) -> _Units:
    """The same readings, each a unit of its own."""
    sizes = units.high - units.low
    low = _places(units)
    start, end = column(block.readings, "start")[low], column(block.readings, "end")[low]
    return _Units(np.repeat(units.message, sizes), low, low + 1, start, end, np.repeat(units.member, sizes))


def _places(units: _Units) -> Ints:
    """The places of the units' readings in the block, unit by unit."""
    sizes = units.high - units.low
    return np.repeat(units.low - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes) + np.arange(int(sizes.sum()))


def _join(left: _Units, right: _Units) -> _Units:
    names = ("message", "low", "high", "start", "end", "member")
    return _Units(*(np.concatenate([getattr(left, name), getattr(right, name)]) for name in names))


def _member_of_each(units: _Units, owner: Ints, links: Any) -> Ints:
    """The member whose stretch contains the reading's interval, UNLINKED for none; stretches lie apart."""
    member = np.full(len(owner), UNLINKED, dtype=np.int64)
    for subject in np.unique(owner).tolist():
        rows = np.flatnonzero(owner == subject)
        for link in range(links.offsets[subject], links.offsets[subject + 1]):
            inside = (links.from_us[link] <= units.start[rows]) & (units.end[rows] <= links.to_us[link])
            inside &= units.start[rows] < links.to_us[link]
            member[rows[inside]] = links.member[link]
    return member


def _ask(block: Block, units: _Units, snapshot: Snapshot, hold_us: Ints) -> tuple[_Units, list[Any]]:
    """The verdicts by study, on units that were split where the answer depends on the reading."""
    study, rows, codes, seqs = _judge_units(block, units, snapshot, hold_us)
    several = (units.high - units.low)[rows] > 1
    split = np.zeros(len(units.low), dtype=bool)
    split[rows[several & np.isin(codes, _DEPENDS_ON_INTERVAL)]] = True
    if split.any():
        units = _join(units.pick(~split), _explode(block, units.pick(split)))
        study, rows, codes, seqs = _judge_units(block, units, snapshot, hold_us)
    names = snapshot.studies
    return units, [(names[s], rows[study == s], codes[study == s], seqs[study == s]) for s in np.unique(study).tolist()]


def _judge_units(block: Block, units: _Units, snapshot: Snapshot, hold_us: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """(study, unit, code, consent_seq) for each unit and each study with which its member has a chain."""
    asked = np.flatnonzero(units.member >= 0)
    members, inverse = np.unique(units.member[asked], return_inverse=True)
    chains = snapshot.chains_of(members)
    asked, inverse = asked[~chains.lagging[inverse]], inverse[~chains.lagging[inverse]]
    count = np.diff(chains.offsets)[inverse]
    rows = np.repeat(asked, count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    at = np.repeat(chains.offsets[:-1][inverse], count) + within
    needed, local = np.unique(chains.chain[at], return_inverse=True)
    message = units.message[rows]
    verdict = judge(
        snapshot.gather(needed),
        local.astype(np.int32),
        column(block.messages, "metric_index")[message],
        units.start[rows],
        units.end[rows],
        column(block.messages, "received")[message],
        np.zeros(len(rows), dtype=np.int8),
        hold_us[message],
    )
    return chains.study[at], rows, verdict.code, verdict.consent_seq


def _holds(block: Block, partner: str, units: _Units, snapshot: Snapshot, kits: Flags) -> list[Hold]:
    """One for each run of positions of a record that wait for the same reason.

    The messages of a record of an export lie between each other: there the readings are put into the record's order.
    """
    reason = _why_held(units, snapshot, kits)
    held = units.pick(reason != "")
    names, number = np.unique(reason[reason != ""], return_inverse=True)
    sizes = held.high - held.low
    index = column(block.readings, "index")[_places(held)]
    message, why = np.repeat(held.message, sizes), np.repeat(number, sizes)
    offset, received = column(block.messages, "offset"), column(block.messages, "received")
    if (np.diff(offset) == 0).any():
        order = np.lexsort((index, offset[message]))
        index, message, why = index[order], message[order], why[order]
    goes_on = (np.diff(offset[message]) == 0) & (why[1:] == why[:-1]) & (index[1:] == index[:-1] + 1)
    begins = np.flatnonzero(np.concatenate([[len(index) > 0], ~goes_on]))
    counts = np.diff(np.append(begins, len(index)))
    subjects = block.messages.column("subject")
    where = (block.meta["topic"], block.meta["partition"])
    runs = zip(begins.tolist(), counts.tolist(), message[begins].tolist(), strict=True)
    return [
        Hold(
            *(*where, int(offset[row]), int(index[at]), count, int(received[row])),
            *(partner, subjects[row].as_py(), str(names[why[at]])),
        )
        for at, count, row in runs
    ]


def _why_held(units: _Units, snapshot: Snapshot, kits: Flags) -> npt.NDArray[Any]:
    reason = np.full(len(units.low), "", dtype="U16")
    unlinked = units.member == UNLINKED
    reason[unlinked] = Code.NO_CONSENT
    reason[unlinked & kits[units.message]] = Code.KIT_NOT_ACTIVATED
    reason[units.member == AMBIGUOUS] = Code.ATTRIBUTION
    known = np.flatnonzero(units.member >= 0)
    members, inverse = np.unique(units.member[known], return_inverse=True)
    chains = snapshot.chains_of(members)
    reason[known[(np.diff(chains.offsets) == 0)[inverse]]] = Code.NO_CONSENT
    reason[known[chains.lagging[inverse]]] = Code.CONSENT_LAG
    return reason


def _count(claims: Claims, study: str, rows: Ints, codes: Ints, seqs: Ints, sizes: Ints) -> None:
    counted = codes != _NOT_CONSIDERED
    rows, codes, seqs = rows[counted], codes[counted], seqs[counted]
    claims.considered[study] += int(sizes[rows].sum())
    for code in np.unique(codes).tolist():
        if code != _OK:
            own = rows[codes == code]
            claims.withheld[study, str(CODES[code])] += int(sizes[own].sum())
            claims.people[study, str(CODES[code])] = len(np.unique(claims.member[own]))
    allowed = np.zeros(len(sizes), dtype=bool)
    allowed[rows[codes == _OK]] = True
    seq = np.zeros(len(sizes), dtype=np.int32)
    seq[rows] = seqs
    if allowed.any():
        claims.grants.append(Grant(study, allowed, seq))
