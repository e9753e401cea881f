"""What passes between a driver and the process that judges by suites: whom it is sent out for, and what was found.

Findings travel in a request: counts by check, and where the gate counted differently.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipelines.places import Place
from pipelines.settings import Settings
from pipelines.zones import DAY_US
from quality.checks import CheckId
from quality.suite_run import JUDGE
from schemas.families import CHECK_RESULT

PLACES = ("lake", "vault", "vault_work", "partners", "studies")
MOST_ROWS, MOST_DIFFERENCES = 10_000, 50
Count = Annotated[int, Field(ge=0)]


class Row(BaseModel):
    """How a check went; `start` is the day, microseconds (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: CheckId
    version: Annotated[int, Field(ge=1, lt=1 << 31)]
    family: str | None
    start: Annotated[int, Field(ge=0, multiple_of=DAY_US)]
    n_eval: Count
    n_fail: Count
    n_na: Count
    people: Annotated[int, Field(ge=0, lt=1 << 31)]


class Findings(BaseModel):
    """Of one day. `differences` are words without anything about a person; there may be more than are told."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: Annotated[tuple[Row, ...], Field(max_length=MOST_ROWS)]
    differences: Annotated[tuple[str, ...], Field(max_length=MOST_DIFFERENCES)] = ()

    @classmethod
    def of(cls, results: pa.Table, differences: list[str]) -> Self:
        """Of rows of CHECK_RESULT."""
        plain = results.set_column(
            results.schema.get_field_index("start"), "start", results.column("start").cast(pa.int64())
        )
        rows = tuple(Row(**row) for row in plain.select(list(Row.model_fields)).to_pylist())
        return cls(rows=rows, differences=tuple(differences[:MOST_DIFFERENCES]))

    def table(self) -> pa.Table:
        """Rows of CHECK_RESULT, without their entry."""
        rows = [{"judge": JUDGE, "entry": 0, **row.model_dump()} for row in self.rows]
        return pa.Table.from_pylist(rows, schema=CHECK_RESULT.schema)

    def days(self) -> frozenset[int]:
        """Of which days, counted since 1970."""
        return frozenset(row.start // DAY_US for row in self.rows)

    def goes(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Which rows of CHECK_RESULT [n] these take the place of: the suites' answers of the same check, family and day."""
        found = np.asarray(pc.equal(rows.column("judge"), JUDGE))
        place = np.flatnonzero(found)
        own = rows.take(pa.array(place))
        known = {(row.check, row.family, row.start) for row in self.rows}
        start = own.column("start").cast(pa.int64()).to_pylist()
        keys = zip(own.column("check").to_pylist(), own.column("family").to_pylist(), start, strict=True)
        found[place] = [key in known for key in keys]
        return found


class Unseen(BaseModel):
    """Which rows no suite has looked at: those that ledger entries later than `after`, up to `through`, brought, and the
    rows of days (UTC) that are left from earlier entries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    after: int
    through: int
    left: tuple[date, ...] = ()


class Told(BaseModel):
    """What a process that judged says to its driver: lines without anything about a person, and the days left to judge."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    words: tuple[str, ...] = ()
    left: tuple[date, ...] = ()


class Errand(BaseModel):
    """What a driver sends a process out for: where its lake and registries are, which study is judged, and what is new."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lake: Place
    vault: Place
    vault_work: Path
    partners: Path
    studies: Path
    study: str
    unseen: Unseen

    @classmethod
    def of(cls, settings: Settings, study: str, unseen: Unseen) -> Self:
        places = {name: getattr(settings, name) for name in PLACES}
        return cls(study=study, unseen=unseen, **places)

    def settings(self) -> Settings:
        return Settings(**{name: getattr(self, name) for name in PLACES})
