"""The gate's counters beside a suite's of the same rows: an independent check that what was counted is what is there."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from quality.checks import Check, Where
from quality.desk import LakeDesk
from quality.job.times import day_number, moment
from quality.suite_rows import BY_MESSAGE

_COUNTED = """
SELECT "check", version, CAST(sum(n_eval) AS BIGINT) AS n_eval, CAST(sum(n_fail) AS BIGINT) AS n_fail
FROM check_count WHERE family = ? AND start >= ? AND start < ? GROUP BY ALL"""


class Difference(NamedTuple):
    """A check of which gate and suite counted differently on a day: how often evaluated, and how often failed."""

    check: str
    family: str
    day: date
    gate: tuple[int, int]
    suite: tuple[int, int]

    @property
    def words(self) -> str:
        """For people; without numbers, behind which few people may stand."""
        judged, failed = (_compared(one, other) for one, other in zip(self.suite, self.gate, strict=True))
        said = [f"{judged} rows that are judged"] * bool(judged) + [f"{failed} rows that fail"] * bool(failed)
        return f"{self.check} of {self.family} on {self.day}: the suite counts {' and '.join(said)} than the gate"


def _compared(suite: int, gate: int) -> str:
    return "more" if suite > gate else "fewer" if suite < gate else ""


def gate_counts(desk: LakeDesk, study: str, family: str, day: date) -> pa.Table:
    """What the gate has counted of a family's day: check, version, n_eval, n_fail."""
    number = day_number(day)
    return desk.query(study, _COUNTED, [family, moment(number), moment(number + 1)])


def differences(
    results: pa.Table, counted: pa.Table, family: str, day: date, of: Mapping[str, Check]
) -> list[Difference]:
    """Where the suite's results of all of a family's rows of a day are not what the gate counted.

    Left out are checks that look at a whole message, of which rows may lie on another day, and those of which another
    version was in force when some of the rows came in.
    """
    gate = _of_one_version(counted.to_pylist())
    start = pa.scalar(moment(day_number(day)), results.schema.field("start").type)
    own = results.filter(pc.and_(pc.equal(results.column("family"), family), pc.equal(results.column("start"), start)))
    found = []
    for row in own.to_pylist():
        check, suite = row["check"], (row["n_eval"], row["n_fail"])
        version, known = gate.get(check, (row["version"], (0, 0)))
        is_compared = of[check].where is Where.GATE and check not in BY_MESSAGE and version == row["version"]
        if is_compared and known != suite:
            found.append(Difference(check, family, day, known, suite))
    return found


def _of_one_version(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, tuple[int, int]]]:
    """By check its version and counts; of several versions -1."""
    found: dict[str, tuple[int, tuple[int, int]]] = {}
    for row in rows:
        version = -1 if row["check"] in found else row["version"]
        found[row["check"]] = (version, (row["n_eval"], row["n_fail"]))
    return found
