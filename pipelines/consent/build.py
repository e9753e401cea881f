"""Building snapshots: the register's chains, links and kits as arrays that a worker maps.

A base holds everybody, an overlay only the members, subjects and kits that changed since its base. Subjects and kits
are found by a keyed hash, sorted; members by their ref. Links are laid out as each subject's timeline: in every stretch
of reading time one member, or AMBIGUOUS_MEMBER where links to several members overlap or one is not understood. A kit
has one member at all times, or is ambiguous at all times.
"""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.consent.arrays import ChainPacker, running, slices
from pipelines.consent.chains import NEVER, NO_END, Chain, compile_chain
from pipelines.consent.packed import Arrays, write_arrays
from pipelines.consent.register import LinkRow, Register
from schemas.registry import KIT, Study

LAYOUT = 3
"""The layout of a snapshot's arrays. One of another layout is not built upon."""

AMBIGUOUS_MEMBER = -2
"""In place of a member: the subject is linked to more than one."""

Stretch = tuple[int, int, int]
"""(from_us, to_us, member) of a subject's timeline."""


def describe(register: Register, studies: Mapping[str, Study], metrics: Sequence[str], salt: bytes) -> dict[str, Any]:
    """What a snapshot of the register as it is now is made from; `positions` are how far the topics were read."""
    names = register.studies()
    return {
        "layout": LAYOUT,
        "register": register.id,
        "version": register.version,
        "positions": sorted([topic, partition, at] for (topic, partition), at in register.positions().items()),
        "salt": hashlib.blake2b(salt, digest_size=8).hexdigest(),
        "metrics": list(metrics),
        "studies": names,
        "keeps": [name in studies and studies[name].keeps_after_withdrawal for name in names],
        "active": [list(running(studies.get(name))) for name in names],
    }


def build_base(register: Register, folder: Path, about: Mapping[str, Any], salt: bytes) -> None:
    """Write a snapshot of everybody to the new `folder`."""
    arrays = _arrays(register, 0, about, salt)
    del arrays["refs"]  # all of them, in order
    kits = arrays["kit_hash"].shape[1] if "kit_hash" in arrays else 0
    entries = len(arrays["name_at"]) - 1 + kits
    write_arrays(folder, arrays, dict(about) | {"base": None, "entries": entries})


def build_overlay(
    register: Register, folder: Path, about: Mapping[str, Any], salt: bytes, base: Path, since: int
) -> None:
    """Write to the new `folder` what changed after version `since`, which is that of the base in the folder beside."""
    write_arrays(folder, _arrays(register, since, about, salt), dict(about) | {"base": base.name})


def _arrays(register: Register, since: int, about: Mapping[str, Any], salt: bytes) -> Arrays:
    arrays = _members(register, since)
    arrays |= _chains(register, since, about, arrays["refs"])
    return arrays | _subjects(register, since, salt) | _kits(register, since, salt)


def _members(register: Register, since: int) -> Arrays:
    refs, name_at, names = array("i"), array("q", [0]), bytearray()
    for ref, member in register.members(since):
        refs.append(ref)
        names += member.encode()
        name_at.append(len(names))
    return {"refs": _ints(refs), "name_at": _ints(name_at), "names": np.frombuffer(names, dtype=np.uint8)}


def _chains(register: Register, since: int, about: Mapping[str, Any], refs: NDArray[Any]) -> Arrays:
    """The chains in the order of their members, and where each member's begin."""
    packer = ChainPacker(about["metrics"])
    members, studies, lag = array("i"), array("h"), bytearray()
    for row in register.chains(since):
        chain = compile_chain(row.events, about["keeps"][row.study]) if row.whole else Chain(lagging=True)
        packer.add(chain)
        members.append(row.member)
        studies.append(row.study)
        lag.append(chain.lagging)
    member = np.searchsorted(refs, _ints(members))
    member_lagging = np.zeros(len(refs), dtype=np.bool_)
    member_lagging[member[np.frombuffer(lag, dtype=np.bool_)]] = True
    return {
        "member_at": np.searchsorted(member, np.arange(len(refs) + 1)),
        "member_lagging": member_lagging,
        "chain_study": _ints(studies),
        "chain_lagging": member_lagging[member],
        **packer.arrays(),
    }


def _subjects(register: Register, since: int, salt: bytes) -> Arrays:
    """The subjects' hashes in order, and each subject's timeline."""
    digests = bytearray()
    link_at, link_from, link_to, link_member = array("q", [0]), array("q"), array("q"), array("i")
    for partner, subject, links in register.subjects(since):
        digests += subject_digest(salt, partner, subject)
        for from_us, to_us, member in kit_timeline(links) if partner == KIT else timeline(links):
            link_from.append(from_us)
            link_to.append(to_us)
            link_member.append(member)
        link_at.append(len(link_member))
    high, low = hash_columns(digests)
    order = np.lexsort((low, high))
    at, items = slices(_ints(link_at), order)
    return {
        "subject_high": high[order],
        "subject_low": low[order],
        "link_at": at,
        "link_from": _ints(link_from)[items],
        "link_to": _ints(link_to)[items],
        "link_member": _ints(link_member)[items],
    }


def _kits(register: Register, since: int, salt: bytes) -> Arrays:
    """The kits' hashes in order, high and low [2, n], and each kit's facts [9, n]; no arrays where there are no kits."""
    digests, facts = bytearray(), array("q")
    for barcode, *moments in register.kits(since):
        digests += subject_digest(salt, KIT, barcode)
        facts.extend(moments)
    if not digests:
        return {}
    high, low = hash_columns(digests)
    order = np.lexsort((low, high))
    columns = _ints(facts).reshape(len(order), -1)[order].T
    return {"kit_hash": np.stack([high[order], low[order]]), "kit_moments": columns}


def timeline(links: Iterable[LinkRow]) -> list[Stretch]:
    """A subject's links as sorted, disjoint stretches of reading time; neighbours differ in their member."""
    spans = [
        (
            NEVER if link.from_us is None else link.from_us,
            NO_END if link.to_us is None else link.to_us,
            link.member if link.readable else AMBIGUOUS_MEMBER,
        )
        for link in links
    ]
    if len(spans) <= 1:
        return spans
    edges = sorted({edge for start, end, _ in spans for edge in (start, end)})
    stretches: list[Stretch] = []
    for start, end in pairwise(edges):
        members = {member for from_us, to_us, member in spans if from_us <= start and end <= to_us}
        if not members:
            continue
        member = members.pop() if len(members) == 1 else AMBIGUOUS_MEMBER
        if stretches and stretches[-1][1:] == (start, member):
            stretches[-1] = (stretches[-1][0], end, member)
        else:
            stretches.append((start, end, member))
    return stretches


def kit_timeline(links: Iterable[LinkRow]) -> list[Stretch]:
    """A kit is one member's for ever: nobody's, one member's, or ambiguous, at all times and whatever its links say."""
    members = {link.member if link.readable else AMBIGUOUS_MEMBER for link in links}
    if not members:
        return []
    return [(NEVER, NO_END, members.pop() if len(members) == 1 else AMBIGUOUS_MEMBER)]


def subject_digest(salt: bytes, partner: str, subject: str) -> bytes:
    """16 bytes, BLAKE2b under the salt, of a partner's subject."""
    return hashlib.blake2b(f"{len(partner)}:{partner}{subject}".encode(), digest_size=16, key=salt).digest()


def hash_columns(digests: bytes | bytearray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Digests of 16 bytes, one after another, as two columns."""
    pairs = np.frombuffer(bytes(digests), dtype="<u8").reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def _ints(values: "array[int]") -> NDArray[Any]:
    return np.frombuffer(values, dtype=np.dtype(values.typecode)) if len(values) else np.zeros(0, values.typecode)
