"""A desk whose lake is a handful of Arrow tables: for tests of what judges, reports and shows, without a ledger."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.consent.participants import ENROLLED
from pipelines.consent.participants import KITS as KIT
from pipelines.outcomes import SCHEMA as OUTCOME
from quality.chosen import condition
from quality.desk import Answer, RowPage, Seen, Stratum, StudyFacts
from schemas.families import FAMILIES

VIEWS = {name: family.schema for name, family in FAMILIES.items()} | {
    "enrolled": ENROLLED,
    "outcome": OUTCOME,
    "kit": KIT,
}
_HISTORY = """
SELECT 'gate' AS judge, CAST(start AS DATE) AS day, partner, family, metric, device_model, firmware, "check", version,
  sum(n_eval)::BIGINT AS n_eval, sum(n_fail)::BIGINT AS n_fail, sum(n_na)::BIGINT AS n_na
FROM check_count GROUP BY ALL
UNION ALL BY NAME
SELECT judge, CAST(start AS DATE) AS day, partner, family, metric, device_model, firmware, "check", version,
  n_eval, n_fail, n_na, people, people_failing, people_passing, most_of_one, measure
FROM check_result WHERE judge <> 'gate'
"""

_WORD = re.compile(r"\w+")


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """An empty one; what is registered for a question is seen by its own cursor alone.

    One thread: a handful of rows is no work for two.
    """
    return duckdb.connect(":memory:", config={"threads": 1})


@dataclass
class FakeDesk:
    """Implements `LakeDesk`: `tables[study][view]` are its rows, `asked` and `seen` what it was told."""

    facts: dict[str, StudyFacts]
    tables: dict[str, dict[str, pa.Table]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def studies(self) -> dict[str, StudyFacts]:
        return self.facts

    def query(self, study: str, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        named = VIEWS.keys() & {word.removesuffix("_all") for word in _WORD.findall(sql)}
        with _database().cursor() as session:
            session.execute("SET TimeZone = 'UTC'")
            for name in named:
                table = self.tables.get(study, {}).get(name, VIEWS[name].empty_table())
                for view in (name, f"{name}_all"):
                    if view in sql:  # to register one takes as long as to ask for it
                        session.register(view, table)
            return session.sql(sql, params=list(parameters)).to_arrow_table()

    def history(self, study: str, first: date, last: date, check: str | None = None) -> pa.Table:
        return self.query(
            study,
            f'SELECT * FROM ({_HISTORY}) WHERE day BETWEEN ? AND ? AND (? IS NULL OR "check" = ?)',
            [first, last, check, check],
        )

    def rows(self, study: str, stratum: Stratum, limit: int = 100, offset: int = 0) -> RowPage:
        where, values = condition(stratum)
        found = self.query(
            study,
            f"SELECT *, lower(lpad(hex(key64), 16, '0')) AS row FROM quarantine WHERE {where} ORDER BY start, key64",
            values,
        )
        return RowPage(found.slice(offset, limit), found.num_rows)

    def request(self, kind: str, study: str, about: Mapping[str, Any], by: str, reason: str) -> str:
        self.asked.append({"kind": kind, "study": study, "about": dict(about), "by": by, "reason": reason})
        return f"{len(self.asked):032x}"

    def answer(self, request: str) -> Answer:
        return Answer(request, "done", rows=0, entry=1)

    def audit(self, seen: Seen) -> None:
        self.seen.append(seen)

    def audited(self, study: str, limit: int = 200) -> list[Seen]:
        return [one for one in reversed(self.seen) if one.study == study][:limit]
