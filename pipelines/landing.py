"""Landing: what a study may have is judged by the gate, freed of duplicates, and written as data files.

Rows are gathered by study, family and month until there are enough for a file, so that a plan writes few and large
ones; what is gathered is bounded in all.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.accounts import note
from pipelines.blocks import Block, arrow, column, said_once
from pipelines.duplicates import FileKeys, KeyedFile, Seen, duplicates, revisions
from pipelines.files import DataFile, describe, family_of, new_key, table_key
from pipelines.rows import Rows, join, ordered, people_in, table
from pipelines.second_finals import SecondFinals
from pipelines.still_released import still_released
from pipelines.store import Store
from pipelines.write import write_sorted
from quality.checks import Check, checks
from quality.doubles import contradicting
from quality.gate import QUARANTINES
from quality.strata import Counts, tally
from schemas.families import CHECK_COUNT, DISCARDED, ENTERED_IN_ERROR, FAMILIES, QUARANTINE, REVISED_FAMILIES
from schemas.reasons import Outcome

FILE_ROWS = 1_000_000
FILE_BYTES = 192 * 1024 * 1024
HELD_BYTES = 512 * 1024 * 1024

FilesOf = Callable[[str, str], list[KeyedFile]]
Place = tuple[str, str, str]


@dataclass
class _Gathered:
    blocks: list[Block]
    rows: int = 0
    bytes: int = 0


class Landing:
    """The rows of one bundle on their way into files of entry `n`.

    `files_of(table, month)` gives the live files, `replaced_of(table)` the paths of those that a replay replaces,
    `checks_of(study)` the catalogue of checks that is in force there.
    """

    def __init__(
        self,
        store: Store,
        n: int,
        epoch: int,
        files_of: FilesOf,
        cache: FileKeys,
        replaced_of: Callable[[str], Sequence[str]] = lambda table: (),
        checks_of: Callable[[str], Mapping[str, Check]] = lambda study: checks(),
    ) -> None:
        self._store, self._n, self._epoch, self._files_of, self._cache = store, n, epoch, files_of, cache
        self._replaced_of, self._checks_of = replaced_of, checks_of
        self._gathered: dict[Place, _Gathered] = {}
        self._seen: dict[str, Seen] = defaultdict(Seen)
        self._turns: Counter[Place] = Counter()
        self._finals = SecondFinals(store)
        self._expected: set[tuple[Any, ...]] = set()
        self._bundle = uuid.uuid4().hex

    def add(self, block: Block) -> Iterator[str]:
        """Gather a study's block whose readings have their `flags`; notes of what had to be written to make room."""
        for month, part in _by_month(block):
            place = (part.meta["study"], part.meta["family"], month)
            self._expect(place, part)
            gathered = self._gathered.setdefault(place, _Gathered([]))
            gathered.blocks.append(part)
            gathered.rows += part.readings.num_rows
            gathered.bytes += part.readings.nbytes
            if gathered.rows >= FILE_ROWS or gathered.bytes >= FILE_BYTES:
                yield from self._write(place)
        while sum(g.bytes for g in self._gathered.values()) > HELD_BYTES:
            yield from self._write(max(self._gathered, key=lambda p: self._gathered[p].bytes))

    def finish(self) -> Iterator[str]:
        """Write what is left; its notes."""
        for place in sorted(self._gathered):
            yield from self._write(place)

    @property
    def files(self) -> int:
        """How many files come of what was added, at most: duplicates may leave fewer."""
        return len(self._expected)

    def _expect(self, place: Place, part: Block) -> None:
        study, _, month = place
        held_back = (column(part.readings, "flags") & QUARANTINES) != 0
        if held_back.any() or _is_asked("UQ-04", place[1]):
            self._expected.add((*place, self._turns[place], QUARANTINE.name))
        if not held_back.all() or self._replaced_of(table_key(study, place[1])):
            self._expected.add((*place, self._turns[place]))
        self._expected.add((study, CHECK_COUNT.name, month))  # the counts of the checks are written beside them

    def _write(self, place: Place) -> Iterator[str]:
        self._turns[place] += 1
        study, family, _ = place
        rows = join(self._gathered.pop(place).blocks)
        repeated = self._duplicates(rows, place)
        count, people = int(repeated.sum()), {str(Outcome.DUPLICATE): people_in(rows, repeated)}
        if count:
            rows = rows.filter(~repeated)
        files, answers, takes_back = [], Counts(), _takes_back(rows) or self._may_bring_back(place)
        if len(rows):
            rows = ordered(rows.with_column("revision", self._revisions(rows, place)))
            beside = self._beside_others(rows, place)
            if beside.any():
                rows = rows.with_column("flags", rows.readings["flags"] | beside)
            answers = tally(rows.messages, rows.readings, family, self._checks_of(study))
            rows, held_back = self._held_back(rows, place)
            people |= {
                str(Outcome.QUARANTINED): people_in(rows, held_back),
                str(Outcome.LANDED): people_in(rows, ~held_back),
            }
            if held_back.any():
                files.append(self._file(rows.filter(held_back), place, QUARANTINE.name))
                rows = rows.filter(~held_back)
            if len(rows):
                files.append(self._file(rows, place, family))
        said = [file.model_dump(mode="json") for file in files]
        done = {"study": study, "bundle": self._bundle, "duplicate": count, "people": people}
        yield note("write", **done, files=said, answers=answers.listed())
        if takes_back:
            yield note("take_back", study=study)

    def _may_bring_back(self, place: Place) -> bool:
        """Whether a replay judges rows again that another row, which stays, may have taken back."""
        return place[1] in REVISED_FAMILIES and any(any(self._replaced_of(key)) for key in _tables(place))

    def _duplicates(self, rows: Rows, place: Place) -> Any:
        key64, start = rows.readings["key64"], rows.readings["start"]
        self._cache.make_room(sum(seen.nbytes for seen in self._seen.values()))
        return duplicates(key64, start, self._seen[place[0]], self._live(place), self._cache)

    def _revisions(self, rows: Rows, place: Place) -> Any:
        if "record64" not in rows.readings:
            return said_once(np.int16(0), len(rows))
        record64 = arrow(rows.readings["record64"])
        has_record = record64.is_valid().to_numpy(zero_copy_only=False)
        numbers = record64.fill_null(0).to_numpy(zero_copy_only=False)
        live, kept = self._live((place[0], place[1], "")), self._kept(rows, place)
        return revisions(numbers, has_record, self._seen[place[0]], live, self._cache, kept)

    def _kept(self, rows: Rows, place: Place) -> list[int | None] | None:
        """The revision that each row has had, in a replay."""
        paths = [path for key in _tables(place) for path in self._replaced_of(key)]
        if not paths:
            return None
        before: dict[int, int] = {}
        for path in paths:
            keys, numbers = self._cache.numbers(path)
            before.update(zip(keys.tolist(), numbers.tolist(), strict=True))
        return [before.get(key) for key in rows.readings["key64"].tolist()]

    def _beside_others(self, rows: Rows, place: Place) -> Any:
        """The bits [n] of the checks that look at what a row stands beside: contradictions, and second final results."""
        study, family, month = place
        found = np.zeros(len(rows), dtype=np.int64)
        if _is_asked("UQ-02", family):
            found[contradicting(rows.messages, rows.readings)] |= checks()["UQ-02"].mask
        if _is_asked("UQ-04", family):
            files = self._files_of(table_key(study, family), month)
            found[self._finals.second(rows.messages, rows.readings, files, place)] |= checks()["UQ-04"].mask
        return found

    def _held_back(self, rows: Rows, place: Place) -> tuple[Rows, Any]:
        """[n] which rows go to quarantine: not what stewards have released, and a replay brings again as it was."""
        study, family, _ = place
        held_back = (rows.readings["flags"] & QUARANTINES) != 0
        replaced = self._replaced_of(table_key(study, family))
        released = still_released(self._store, replaced, rows, FAMILIES[family]) if replaced else np.zeros(0)
        if not released.any():
            return rows, held_back
        return rows.with_column("released", pa.array(released, mask=released == 0)), held_back & (released == 0)

    def _live(self, place: Place) -> list[KeyedFile]:
        return [file for key in _tables(place) for file in self._files_of(key, place[2])]

    def _file(self, rows: Rows, place: Place, family: str) -> DataFile:
        study, origin_family, month = place
        content = table(rows, FAMILIES[family], self._n, origin_family)
        return publish(self._store, content, table_key(study, family), month, self._n, self._epoch)


def _is_asked(check: str, family: str) -> bool:
    return checks()[check].is_counted and family in checks()[check].families


def _takes_back(rows: Rows) -> bool:
    """Whether a row says of another that it was entered in error."""
    if "status" not in rows.readings:
        return False
    return bool(pc.any(pc.is_in(arrow(rows.readings["status"]), pa.array(ENTERED_IN_ERROR))).as_py())


def _tables(place: Place) -> tuple[str, ...]:
    """Where the rows of a place may lie, and where they are remembered as discarded."""
    study, family, _ = place
    return table_key(study, family), table_key(study, QUARANTINE.name), table_key(study, DISCARDED.name)


def numbered(rows: pa.Table, column: str, n: int) -> pa.Table:
    """The rows with an entry's number in one of their columns."""
    place = rows.schema.get_field_index(column)
    return rows.set_column(place, rows.schema.field(place), pa.repeat(pa.scalar(n, pa.int64()), len(rows)))


def publish(store: Store, content: pa.Table, table_name: str, month: str, n: int, epoch: int) -> DataFile:
    """Write rows that lie in their family's order as a new file of entry n; what the ledger will say of it."""
    key = new_key(table_name, month, n, epoch)
    temp = store.temp_path(key)
    size = write_sorted(content, FAMILIES[family_of(table_name)], temp)
    store.publish_file(temp, key)
    return describe(key, content, size)


def _by_month(block: Block) -> Iterator[tuple[str, Block]]:
    """The block, or its parts where the starts of its readings lie in several months."""
    start = column(block.readings, "start")
    first, last = _month(int(start.min())), _month(int(start.max()))
    if first == last:
        yield str(first), block
        return
    months = np.arange(first, last + 1)
    number = np.searchsorted(months[1:].astype("datetime64[us]").astype(np.int64), start, side="right")
    for own in np.flatnonzero(np.bincount(number)).tolist():
        part = block.readings.filter(pa.array(number == own))
        yield str(months[own]), Block(block.meta, {**block.parts, "readings": part})


def _month(moment_us: int) -> Any:
    return np.datetime64(moment_us, "us").astype("datetime64[M]")
