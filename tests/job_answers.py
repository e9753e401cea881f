"""What tests ask of the job's answers: the counts of a check, and a check of the catalogue with other numbers."""

from typing import Any, NamedTuple

import pyarrow as pa

from quality.checks import Check, checks
from quality.job.readings import Readings, of_table
from quality.job.results import Answers, Tallies
from schemas.families import WAVEFORM


class Counts(NamedTuple):
    """How often a check was asked, failed, and did not apply."""

    evaluated: int
    failed: int
    not_applicable: int


def counts(*answers: Answers) -> Counts:
    """Of all answers together."""
    return Counts(
        *(int(sum(getattr(one, name).sum() for one in answers)) for name in ("evaluated", "failed", "not_applicable"))
    )


def result_rows(answers: Answers, of: Check, smallest_cell: int) -> list[dict[str, Any]]:
    """The rows of CHECK_RESULT that tell of them."""
    tallies = Tallies()
    tallies.add(answers)
    return tallies.table({of.id: of}, smallest_cell).to_pylist()


def check(name: str, **numbers: Any) -> Check:
    """A check of the catalogue, some of its parameters replaced."""
    found = checks()[name]
    return found.model_copy(update={"parameters": {**found.parameters, **numbers}})


def readings(*tables: pa.Table) -> Readings:
    """Tables of families as the job reads them."""
    return of_table(pa.concat_tables([_read(table) for table in tables]))


def _read(table: pa.Table) -> pa.Table:
    is_block = "period_us" in table.schema.names
    family = WAVEFORM.name if is_block else "lab_result" if "laboratory" in table.schema.names else "observation"
    count = table.num_rows
    columns: dict[str, Any] = {
        name: table.column(name)
        for name in ("pseudonym", "source", "partner", "metric", "device_model", "firmware", "start", "end", "received")
    }
    columns["family"] = pa.array([family] * count, pa.string())
    empty = pa.nulls(count, pa.float64())
    columns["value"] = empty if is_block else table.column("value")
    columns["period_us"] = table.column("period_us") if is_block else pa.nulls(count, pa.int64())
    columns["samples"] = table.column("samples") if is_block else pa.nulls(count, pa.int32())
    return pa.table(columns)
