"""What passes between a driver and the process that judges by suites: whom it is sent out for, and what was found.

Findings travel in a request: counts by check, and where the gate counted differently.
"""

from pathlib import Path
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipelines.settings import Settings
from pipelines.zones import DAY_US
from quality.checks import CheckId
from quality.suite_run import JUDGE
from schemas.families import CHECK_RESULT

MOST_ROWS, MOST_DIFFERENCES = 10_000, 50
Count = Annotated[int, Field(ge=0)]


class Row(BaseModel):
    """How a check went; `start` is the day, microseconds (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: CheckId
    version: Annotated[int, Field(ge=1, lt=1 << 15)]
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


class Errand(BaseModel):
    """What a driver sends a process out for: where its lake and registries are, which study is judged, since when anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lake: Path
    vault: Path
    partners: Path
    studies: Path
    study: str
    since_us: int

    @classmethod
    def of(cls, settings: Settings, study: str, since_us: int) -> Self:
        places = {name: getattr(settings, name) for name in ("lake", "vault", "partners", "studies")}
        return cls(study=study, since_us=since_us, **places)

    def settings(self) -> Settings:
        return Settings(**{name: getattr(self, name) for name in ("lake", "vault", "partners", "studies")})
