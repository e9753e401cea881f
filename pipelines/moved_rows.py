"""Rows on their way from table to table: taken out of their files, and written as new ones, a part at a time.

Rows are gathered by table and month until there are enough for a file, so that a decision about many rows writes several
files and holds few rows at once. Each is in its family's order. Nothing is visible before the entry that names the files.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.check_counts import TakenOut
from pipelines.chosen_rows import Flags, stretches
from pipelines.driver import Driver
from pipelines.files import DataFile, family_of
from pipelines.landing import publish
from pipelines.plan import Replacement
from schemas.families import FAMILIES

FILE_BYTES = 64 * 1024 * 1024
"""Of rows as they are in memory, texts written out: some 200,000."""
HELD_BYTES = 128 * 1024 * 1024
"""Of all rows that are gathered."""
COUNTED_ROWS = 262_144

Places = npt.NDArray[np.int64]
_Place = tuple[str, str]


@dataclass
class _Gathered:
    parts: list[pa.Table] = field(default_factory=list)
    bytes: int = 0

    def add(self, rows: pa.Table) -> None:
        self.parts.append(rows)
        self.bytes += rows.nbytes

    def take(self) -> pa.Table:
        rows = pa.concat_tables(self.parts)
        self.parts, self.bytes = [], 0
        return rows


class MovedRows:
    """What the driver's next entry takes out of tables and brings to others."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._coming: dict[_Place, _Gathered] = {}
        self._changes: dict[str, Replacement] = {}

    def take_out(self, file: DataFile, going: Flags) -> Iterator[tuple[Places, pa.Table]]:
        """The rows of a file that go, some at a time, and their places; the others are written again as they lie."""
        stay = _Gathered()
        for places, rows in stretches(self._driver, file, FAMILIES[family_of(file.table)].schema.names):
            mine = going[places]
            if not mine.all():
                stay.add(rows.filter(pa.array(~mine)))
            if mine.any():
                yield np.flatnonzero(mine) + places.start, rows.filter(pa.array(mine))
            if stay.bytes >= FILE_BYTES:
                self._write(file.table, file.month, stay.take())
        if stay.parts:
            self._write(file.table, file.month, stay.take())
        self.change(file.table, Replacement(remove=(file.path,)))

    def bring(self, table: str, month: str, rows: pa.Table) -> None:
        """Rows, in whatever order, come to a table; they have its columns."""
        gathered = self._coming.setdefault((table, month), _Gathered())
        gathered.add(rows)
        if gathered.bytes >= FILE_BYTES:
            self._write_in_order((table, month))
        while sum(one.bytes for one in self._coming.values()) > HELD_BYTES:
            self._write_in_order(max(self._coming, key=lambda place: self._coming[place].bytes))

    def change(self, table: str, more: Replacement) -> None:
        """What else happens to a table."""
        before = self._changes.get(table, Replacement())
        self._changes[table] = Replacement(remove=(*before.remove, *more.remove), add=(*before.add, *more.add))

    def finish(self) -> dict[str, Replacement]:
        """Write what is left; what happens to each table."""
        for place in sorted(self._coming):
            if self._coming[place].parts:
                self._write_in_order(place)
        return {table: change for table, change in sorted(self._changes.items()) if change.remove or change.add}

    def _write_in_order(self, place: _Place) -> None:
        table, month = place
        family = FAMILIES[family_of(table)]
        rows = self._coming[place].take().sort_by([(name, "ascending") for name in family.sort_key])
        self._write(table, month, rows.cast(family.schema))

    def _write(self, table: str, month: str, rows: pa.Table) -> None:
        at = self._driver.ledger.next_n, self._driver.ledger.epoch
        self.change(table, Replacement(add=(publish(self._driver.store, rows, table, month, *at),)))


class Uncounted:
    """Rows that are taken out of the checks' counts, told to `TakenOut` in portions that end with a message.

    What was compared within a message is only known of all of its rows.
    """

    def __init__(self) -> None:
        self._taken = TakenOut()
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """Rows of quarantine, in the order in which they lie there."""
        self._waiting.append(rows.select([*TakenOut.COLUMNS, *TakenOut.OF_SPECIMENS, "family"]))
        self._rows += len(rows)
        if self._rows >= COUNTED_ROWS:
            waiting = pa.concat_tables(self._waiting)
            origin = waiting.column("origin").combine_chunks().dictionary_encode().indices.to_numpy()
            other = np.flatnonzero(origin != origin[-1])
            end = int(other[-1]) + 1 if len(other) else 0
            self._tell(waiting.slice(0, end))
            self._waiting, self._rows = [waiting.slice(end)], len(waiting) - end

    def end_of_file(self) -> None:
        """The next rows are of other messages."""
        if self._rows:
            self._tell(pa.concat_tables(self._waiting))
            self._waiting, self._rows = [], 0

    def finish(self) -> TakenOut:
        """All of them."""
        self.end_of_file()
        return self._taken

    def _tell(self, rows: pa.Table) -> None:
        if len(rows):
            self._taken.add(rows, rows.column("family"))
