"""The catalogue of checks as suites: what Great Expectations is asked about a frame, check by check.

Nothing here imports it: a suite is plain data that goes to another process (`quality/suite_run.py`) with its frame. Conditions
are pandas queries over the frame's columns (`quality/suite_frames.py`).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from quality.checks import Check, CheckId, Severity


class Clause(BaseModel):
    """One expectation about the rows of `where` (all where it is empty).

    `between`: `low` and `high` are allowed, `strict` forbids them. `greater`: a column is greater than `other`, or the same
    where it is not `strict`. A row without a value, or without one of the two, passes, but for `not_null`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["between", "in_set", "not_in_set", "not_null", "regex", "greater"]
    column: str
    other: str = ""
    low: float | None = None
    high: float | None = None
    strict: bool = False
    values: tuple[str | float, ...] = ()
    pattern: str = ""
    where: str = ""

    @property
    def passes(self) -> str:
        """The rows that it does not fail, as a query. Of numbers, pairs and what is there: others are asked alone."""
        column, below = self.column, "<" if self.strict else "<="
        if self.kind == "not_null":
            return f"{column}.notnull()"
        if self.kind == "greater":
            return f"({column}.isnull() or {self.other}.isnull() or {self.other} {below} {column})"
        assert self.kind == "between"
        ends = [f"{self.low!r} {below} {column}"] if self.low is not None else []
        ends += [f"{column} {below} {self.high!r}"] if self.high is not None else []
        return f"({column}.isnull() or ({' and '.join(ends)}))"


class Judgement(BaseModel):
    """One check of a frame: it is asked about the rows of `applies` (None: of none), and fails as often as its clauses do.

    It does not apply to the other rows of `among`. No row fails two clauses. `start` is the day that the answer is about,
    microseconds (UTC).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    check: CheckId
    version: int
    severity: Severity
    applies: str | None
    clauses: tuple[Clause, ...]
    among: str = ""
    start: int = 0


class Suite(BaseModel):
    """What a frame is asked; `family` is that of its rows, None for units of several."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    family: str | None
    judgements: tuple[Judgement, ...]

    def on(self, start: int, others: Mapping[str, int] | None = None) -> Self:
        """The same of a day, but for some checks of which it is another one (of a week its Monday)."""
        starts = others or {}
        dated = [one.model_copy(update={"start": starts.get(one.check, start)}) for one in self.judgements]
        return self.model_copy(update={"judgements": tuple(dated)})


class Asked(BaseModel):
    """To which rows a check applies, and its clauses."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    applies: str | None
    clauses: tuple[Clause, ...] = ()
    among: str = ""


Compile = Callable[[Check], Asked]


def compiled(name: str, family: str | None, catalogue: Mapping[str, Check], known: Mapping[str, Compile]) -> Suite:
    """The suite of those checks in force that a suite judges, in the catalogue's order."""
    judged = []
    for check in catalogue.values():
        of_family = family is None or not check.families or family in check.families
        if check.gx and check.is_active and check.id in known and of_family:
            asked = known[check.id](check)
            judged.append(Judgement(check=check.id, version=check.version, severity=check.severity, **dict(asked)))
    return Suite(name=name, family=family, judgements=tuple(judged))


def in_turn(where: str, clauses: Iterable[Clause]) -> tuple[Clause, ...]:
    """The clauses about some rows, each of those that all before it passed: no row is counted twice."""
    before, asked = [where] if where else [], []
    for clause in clauses:
        asked.append(clause.model_copy(update={"where": both(*before)}))
        before.append(clause.passes)
    return tuple(asked)


def both(*queries: str) -> str:
    """Rows of all queries."""
    said = [query for query in queries if query]
    return said[0] if len(said) == 1 else " and ".join(f"({query})" for query in said)


def one_of(column: str, words: Collection[str]) -> str:
    """Rows whose column is one of some words."""
    return f"{column} in {sorted(words)!r}"
