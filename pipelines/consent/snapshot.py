"""Snapshots: consent as it stood at one point of the topics, opened once by each worker.

A snapshot is a base with everybody, and over it what changed since. Both are mapped from the vault, so opening costs
the same for ten members and for ten million, and look-ups are made for whole blocks at a time.
"""

import os
import secrets
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.consent.arrays import (
    ChainArrays,
    ChainColumns,
    Ints,
    chain_arrays,
    columns_of,
    concatenate,
    spread,
    take,
)
from pipelines.consent.build import build_base, build_overlay, describe, hash_columns, subject_digest
from pipelines.consent.kits import UNTOLD, KitFacts
from pipelines.consent.packed import Arrays, open_arrays, read_about
from pipelines.consent.register import Register
from schemas.barcodes import spelled
from schemas.registry import KIT, Study

SALT_FILE = "salt"
REBASE_SHARE, REBASE_LEAST, REBASE_MOST = 0.05, 2_000, 50_000
"""A new base is built when more than this share of the entries has changed, between the least and the most."""
_DAY = 24 * 3600


@dataclass(frozen=True)
class Links:
    """Subject i is linked in stretches [offsets[i], offsets[i + 1]): reading times [from_us, to_us), ascending, apart.

    `member` is a ref, or AMBIGUOUS_MEMBER where the links contradict each other. int64 times in microseconds UTC.
    """

    offsets: Ints
    member: NDArray[np.int32]
    from_us: Ints
    to_us: Ints


@dataclass(frozen=True)
class MemberChains:
    """Member i has chains [offsets[i], offsets[i + 1]): their refs, and their studies as places in `Snapshot.studies`.

    `lagging[i]` is True where any of them does; then nothing of the member may be judged.
    """

    offsets: Ints
    chain: NDArray[np.int32]
    study: NDArray[np.int16]
    lagging: NDArray[np.bool_]


class _Part:
    """A base or an overlay."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.columns: ChainColumns = columns_of(arrays)
        self.refs: NDArray[np.int32] | None = arrays.get("refs")

    def members(self, refs: Ints) -> Ints:
        """The place of each member, -1 where the part does not hold them."""
        if self.refs is None:
            return np.where((refs >= 0) & (refs < len(self.arrays["name_at"]) - 1), refs, -1)
        place = np.searchsorted(self.refs, refs)
        return np.where(_at(self.refs, place, refs), place, -1)

    def subjects(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> Ints:
        """The place of each subject, -1 where the part does not hold them."""
        return _places(self.arrays["subject_high"], self.arrays["subject_low"], high, low)

    def kits(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> Ints:
        """The place of each kit in a part that `has_kits`, -1 where it does not hold it."""
        highs, lows = self.arrays["kit_hash"]
        return _places(highs, lows, high, low)

    @property
    def has_kits(self) -> bool:
        return "kit_hash" in self.arrays


class Snapshot:
    """Consent at one point of the topics. Refs are only good with the register that they come from."""

    def __init__(self, base: Arrays, overlay: Arrays | None, about: Mapping[str, Any], salt: bytes) -> None:
        self._parts = [_Part(base)] if overlay is None else [_Part(base), _Part(overlay)]
        self._salt = salt
        self._names: dict[int, str] = {}
        self._active = np.array(about["active"], dtype=np.int64).reshape(-1, 2)
        self._base_chains = len(self._parts[0].columns)
        self.version: int = about["version"]
        self.studies: tuple[str, ...] = tuple(about["studies"])
        self.metrics: tuple[str, ...] = tuple(about["metrics"])
        self.positions: dict[tuple[str, int], int] = {(topic, part): at for topic, part, at in about["positions"]}

    @classmethod
    def open(cls, path: Path) -> "Snapshot":
        """The snapshot in a folder that `Snapshots.refresh` made; DamagedError where it is not whole."""
        arrays, about = open_arrays(path)
        salt = (path.parent / SALT_FILE).read_bytes()
        if about["base"] is None:
            return cls(arrays, None, about, salt)
        return cls(open_arrays(path.parent / about["base"])[0], arrays, about, salt)

    def links(self, partner: str, subjects: Sequence[str]) -> Links:
        """Whose each of a partner's subjects is; none for a subject that is not linked.

        With `kit` in place of a partner the subjects are barcodes, however they are spelled, and each has at most one
        stretch, without an end on either side.
        """
        if partner == KIT:
            subjects = [spelled(barcode) for barcode in subjects]
        high, low = hash_columns(b"".join(subject_digest(self._salt, partner, subject) for subject in subjects))
        offsets, items = self._lists("link_at", [part.subjects(high, low) for part in self._parts])
        return Links(offsets, *(self._values(name, items) for name in ("link_member", "link_from", "link_to")))

    def kits(self, barcodes: Sequence[str]) -> KitFacts:
        """What is known of each kit, however its barcode is spelled: capitals, blanks and hyphens do not matter."""
        known = np.zeros(len(barcodes), dtype=np.bool_)
        moments = np.full((len(fields(KitFacts)) - 1, len(barcodes)), UNTOLD, dtype=np.int64)
        parts = [part for part in self._parts if part.has_kits]
        if parts:
            high, low = hash_columns(b"".join(subject_digest(self._salt, KIT, spelled(code)) for code in barcodes))
        for part in parts:  # the overlay after the base: it knows better
            place = part.kits(high, low)
            held = place >= 0
            known |= held
            moments[:, held] = part.arrays["kit_moments"][:, place[held]]
        return KitFacts(known, *moments)

    def chains_of(self, member_refs: NDArray[Any]) -> MemberChains:
        """The chains of each member; none for a ref that is no member's."""
        refs = np.asarray(member_refs, dtype=np.int64)
        places = [part.members(refs) for part in self._parts]
        offsets, chains = self._lists("member_at", places)
        lagging = np.zeros(len(refs), dtype=np.bool_)
        for part, place in zip(self._parts, places, strict=True):
            lagging[place >= 0] = part.arrays["member_lagging"][place[place >= 0]]
        return MemberChains(offsets, chains.astype(np.int32), self._values("chain_study", chains), lagging)

    def gather(self, chain_refs: NDArray[Any]) -> ChainArrays:
        """These chains, in this order, for `judge`: its `chain` then counts from 0."""
        refs = np.asarray(chain_refs, dtype=np.int64)
        old = refs < self._base_chains
        columns = take(self._parts[0].columns, refs[old])
        if not old.all():
            columns = concatenate(columns, take(self._parts[1].columns, refs[~old] - self._base_chains))
            place = np.empty(len(refs), dtype=np.int64)
            place[np.concatenate([np.flatnonzero(old), np.flatnonzero(~old)])] = np.arange(len(refs))
            columns = take(columns, place)
        active = self._active[self._values("chain_study", refs)]
        return chain_arrays(columns, self._values("chain_lagging", refs), active)

    def member_id(self, ref: int) -> str:
        """The member as the consent authority knows them; KeyError for a ref that is no member's."""
        name = self._names.get(ref)
        if name is None:
            name = self._names[ref] = self._read_name(ref)
        return name

    def _read_name(self, ref: int) -> str:
        for part in reversed(self._parts):
            (place,) = part.members(np.array([ref]))
            if place >= 0:
                start, end = part.arrays["name_at"][place : place + 2]
                return part.arrays["names"][start:end].tobytes().decode()
        raise KeyError("no member has this ref")

    def _lists(self, offsets: str, places: list[Ints]) -> tuple[Ints, Ints]:
        """Each row's items in the last part that holds the row: offsets, and items counted through all parts."""
        starts, ends = np.zeros((2, len(places[0])), dtype=np.int64)
        shift = 0
        for part, place in zip(self._parts, places, strict=True):
            at, held = part.arrays[offsets], place >= 0
            starts[held], ends[held] = at[place[held]] + shift, at[place[held] + 1] + shift
            shift += int(at[-1])
        return spread(starts, ends)

    def _values(self, name: str, items: Ints) -> NDArray[Any]:
        """A column's values at items counted through all parts."""
        base = self._parts[0].arrays[name]
        if len(self._parts) == 1:
            return base[items]
        old = items < len(base)
        values = np.empty(len(items), dtype=base.dtype)
        values[old] = base[items[old]]
        values[~old] = self._parts[1].arrays[name][items[~old] - len(base)]
        return values


class SnapshotFile(NamedTuple):
    """Where a snapshot lies."""

    path: Path

    def open(self) -> Snapshot:
        return Snapshot.open(self.path)


class Snapshots:
    """The snapshots of a register, in a folder of the vault that nobody else writes to."""

    def __init__(self, register: Register, folder: Path, studies: Mapping[str, Study], metrics: Sequence[str]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._register, self._folder, self._studies, self._metrics = register, folder, studies, tuple(metrics)
        self._salt = _salt(folder / SALT_FILE)
        self._made: set[Path] = set()
        self._current: tuple[Path, dict[str, Any]] | None = None

    def refresh(self) -> SnapshotFile:
        """A snapshot of the register as it is: the present one if it still says so, an overlay, or a new base.

        The folders of the snapshot before it stay until the next refresh; older ones are removed.
        """
        about = describe(self._register, self._studies, self._metrics, self._salt)
        before = self._current
        if before is None or not _says(before[1], about):
            self._current = self._make(about), about
            keep = {self._current[0]} | ({before[0]} if before else set())
            self._prune(keep)
        assert self._current is not None
        return SnapshotFile(self._current[0])

    def _make(self, about: dict[str, Any]) -> Path:
        base = self._base(about)
        if base is None:
            path = self._new("base", about)
            build_base(self._register, path, about, self._salt)
            return path
        path, said = base
        if _says(said, about):
            return path
        overlay = self._new("overlay", about)
        build_overlay(self._register, overlay, about, self._salt, path, said["version"])
        return overlay

    def _base(self, about: Mapping[str, Any]) -> tuple[Path, dict[str, Any]] | None:
        """The newest base that an overlay may lie over, if there is one."""
        for path in sorted(self._folder.glob("base-*"), reverse=True):
            said = read_about(path)
            same = all(said.get(name) == about[name] for name in ("layout", "register", "salt", "metrics"))
            same = same and about["keeps"][: len(said["keeps"])] == said["keeps"]
            if same and said["version"] <= about["version"] and not self._too_much(said):
                return path, said
        return None

    def _too_much(self, base: Mapping[str, Any]) -> bool:
        limit: float = min(max(REBASE_SHARE * base["entries"], REBASE_LEAST), REBASE_MOST)
        return sum(self._register.changed_since(base["version"])) > limit

    def _new(self, kind: str, about: Mapping[str, Any]) -> Path:
        path = self._folder / f"{kind}-{about['version']:012d}-{uuid.uuid4().hex[:8]}"
        self._made.add(path)
        return path

    def _prune(self, keep: set[Path]) -> None:
        """Remove what we made and need no more, and what nobody has touched for a day: it may be another driver's."""
        old = time.time() - _DAY
        folders = {path for path in self._folder.iterdir() if path.is_dir()}
        gone = {path for path in folders - keep if path in self._made or path.stat().st_mtime < old}
        needed = {self._folder / str(read_about(path)["base"]) for path in folders - gone if path.name[0] != "."}
        for path in gone - needed:
            shutil.rmtree(path)
            self._made.discard(path)


def _places(
    highs: NDArray[np.uint64], lows: NDArray[np.uint64], high: NDArray[np.uint64], low: NDArray[np.uint64]
) -> Ints:
    """The place of each hash among sorted ones, both in two halves; -1 where it is not among them."""
    place = np.searchsorted(highs, high)
    found = np.full(len(high), -1, dtype=np.int64)
    candidates = np.flatnonzero(_at(highs, place, high))
    while len(candidates):  # mostly once: again only where two hashes begin alike
        found[candidates] = np.where(
            _at(lows, place[candidates], low[candidates]), place[candidates], found[candidates]
        )
        place[candidates] += 1
        candidates = candidates[_at(highs, place[candidates], high[candidates])]
    return found


def _at(column: NDArray[Any], place: Ints, wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the column holds what is wanted at each place, which may lie past its end."""
    if not len(column):
        return np.zeros(len(place), dtype=np.bool_)
    there: NDArray[np.bool_] = (place < len(column)) & (column.take(place, mode="clip") == wanted)
    return there


def _says(said: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a snapshot is what one made now would be; how far a silent topic was read makes no difference."""
    return all(said[name] == value for name, value in about.items() if name != "positions")


def _salt(path: Path) -> bytes:
    if not path.exists():
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()
