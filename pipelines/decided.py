"""What stewards decide, as requests say it, and the study's table of it: a row each, in the entry that carries it out."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints, ValidationError

from pipelines.chosen_rows import Found, held_back, read
from pipelines.driver import Driver
from pipelines.entries import Kind, RequestRefused
from pipelines.files import table_key
from pipelines.holds import Changes
from pipelines.landing import publish
from pipelines.plan import Replacement
from pipelines.requests import Asked, Change
from quality.chosen import Counted, RowSet, Unfit, names_somebody
from quality.desk import Stratum
from quality.job.times import instant
from schemas.families import DECISION

MOVING = ("release", "discard", "approve")
"""The kinds of decisions after which rows are no longer in quarantine."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
M = TypeVar("M", bound=BaseModel)
DecisionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Selected(BaseModel):
    """What somebody asks of a study's rows, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    study: str
    by: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{0,39}$")]
    reason: Words
    about: dict[str, JsonValue]

    @classmethod
    def of(cls, selected: Mapping[str, JsonValue]) -> "Selected":
        """What a request's selection says; RequestRefused where it is not all there, or where it names somebody."""
        try:
            said = Selected.model_validate(selected)
        except ValidationError:
            raise RequestRefused("a decision says its study, who decides, the reason, and what it is about") from None
        if names_somebody(said.reason):
            raise RequestRefused("its reason names a participant: say why without a pseudonym")
        return said


class Decision(Selected):
    """What somebody decides about a study, why, and of what; `id` is the request's. `second` is the other of two."""

    id: DecisionId
    kind: str
    second: str | None = None

    @classmethod
    def asked(cls, asked: Asked) -> "Decision":
        """The decision that a request asks for; RequestRefused where it asks for none."""
        assert asked.request is not None, "the caller has read it"
        said = Selected.of(asked.request.selection)
        return cls(id=asked.id, kind=asked.request.kind, **said.model_dump())


def valid(model: type[M], about: Mapping[str, JsonValue]) -> M:
    """What a decision is about, in its kind's terms; RequestRefused, with the field, where it is not."""
    try:
        return model.model_validate(about)
    except ValidationError as error:
        raise RequestRefused(f"what it is about is not understood: {_fault(error, model)}") from None


_MUST_BE = {
    "check": "the id of a check",
    "day": "a day, as 2026-01-31",
    "rows": "numbers of rows, 16 hexadecimal digits each",
    "expected": "how many rows were seen, a whole number",
    "fingerprint": "which rows were seen, 32 hexadecimal digits",
    "decision": "release or discard",
    "proposal": "the id of a proposal, 32 hexadecimal digits",
    "threshold": "a check and shares from 0 to 1, the alarm not below the warning",
}
_TEXT = "a text of 1 to 200 characters"


def _fault(error: ValidationError, model: type[BaseModel]) -> str:
    """The first field that is wrong, and what it must be: in our own words, without a name that is no field's."""
    first = error.errors(include_input=False, include_url=False)[0]
    own = first.get("ctx", {}).get("error")
    words = str(own) if isinstance(own, Unfit) else ""
    if not first["loc"]:
        return words
    field = str(first["loc"][0])
    if field not in model.model_fields:
        return "there is a field too many"
    missing = "it is missing; " if first["type"] == "missing" else ""
    return f"{field}: {words or f'{missing}it must be {_MUST_BE.get(field, _TEXT)}'}"


def table_of(driver: Driver, study: str) -> pa.Table:
    """All decisions about the study, in their order."""
    files = driver.tables.live_files(table_key(study, DECISION.name))
    rows = [read(driver, file, DECISION.schema.names) for file in files]
    return pa.concat_tables(rows or [DECISION.schema.empty_table()]).sort_by("entry")


def change(
    driver: Driver,
    decision: Decision,
    kind: Kind,
    about: Mapping[str, JsonValue],
    *,
    rows: int = 0,
    replaced: Mapping[str, Replacement] | None = None,
    cause: Mapping[str, Any] | None = None,
) -> Change:
    """The one entry of a decision: what it changes, and its row."""
    table = table_key(decision.study, DECISION.name)
    at = instant(driver.clock())
    row = _row(decision, at, about, rows, driver.ledger.next_n)
    file = publish(driver.store, row, table, f"{at:%Y-%m}", driver.ledger.next_n, driver.ledger.epoch)
    everything = {**(replaced or {}), table: Replacement(add=(file,))}
    said = {"study": decision.study, "decision": decision.kind, "rows": rows, **(cause or {})}
    return Change(driver.plan(kind, [], replaced=everything), Changes([], [], []), said, None)


def _row(decision: Decision, at: datetime, about: Mapping[str, JsonValue], rows: int, n: int) -> pa.Table:
    threshold = about.get("threshold")
    check = threshold.get("check") if isinstance(threshold, dict) else about.get("check")
    row = {
        "decision": decision.id,
        "kind": decision.kind,
        "start": at,
        "by": decision.by,
        "second": decision.second,
        "check": check,
        "about": json.dumps(about, sort_keys=True),
        "reason": decision.reason,
        "rows": rows,
        "entry": n,
    }
    return pa.Table.from_pylist([row], schema=DECISION.schema)


def decided_already(decisions: pa.Table, stratum: Stratum) -> str:
    """The newest decision after which such rows were no longer in quarantine; empty where there is none."""
    wanted = stratum.as_json()
    for row in reversed(list(_moved(decisions))):
        if _overlaps(json.loads(row["about"]), wanted):
            return str(row["decision"])
    return ""


def _moved(decisions: pa.Table) -> Iterator[dict[str, Any]]:
    return (row for row in decisions.to_pylist() if row["kind"] in MOVING and row["rows"])


def _overlaps(about: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether there may be rows of which both are."""
    both = [name for name in Stratum.__dataclass_fields__ if name in about and name in wanted]
    return all(
        bool(set(about[name]) & set(wanted[name])) if name == "rows" else about[name] == wanted[name] for name in both
    )


def looked_at(driver: Driver, study: str, chosen: Counted, decisions: pa.Table) -> Found:
    """The chosen rows in quarantine; RequestRefused where they are not those that somebody has seen."""
    found = held_back(driver, study, chosen.stratum, decisions)
    if not found.parts:
        before = decided_already(decisions, chosen.stratum)
        raise RequestRefused(
            f"decided already by decision {before}" if before else "there are no such rows in quarantine"
        )
    refuse_others(found.chosen, chosen.expected, chosen.fingerprint)
    return found


def refuse_others(found: RowSet, expected: int | None, fingerprint: str | None) -> None:
    """RequestRefused where the rows that are found are not the ones that somebody has looked at."""
    if expected not in (None, found.rows):
        raise RequestRefused(f"what you were shown has changed: {found.rows} rows now")
    if fingerprint not in (None, found.fingerprint):
        raise RequestRefused("what you were shown has changed: as many rows, but not the same; look at them again")
