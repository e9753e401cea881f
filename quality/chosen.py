"""Which rows a decision is about, and what it would change: in the words of a request, and as a question in SQL.

Desk, command and driver all choose by `condition`, so that what was shown is what is decided.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator
from pydantic.types import Strict

from quality.checks import CheckId, Severity, checks
from quality.desk import Json, LakeDesk, Stratum
from schemas.families import READING_FAMILIES

MOST_ROWS = 1_000
ENTERED_IN_ERROR = "entered in error"
"""In place of a check: the row's own source took it back."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
RowNumber = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
_PSEUDONYM = re.compile(r"(?<![A-Z2-7])[A-Z2-7]{26}(?![A-Z2-7])", re.IGNORECASE)
_EQUAL = ("family", "metric", "partner", "device_model", "firmware")
_RECALLED = """recalled IN (SELECT entry FROM decision WHERE kind = 'recall' AND "check" = ?)"""


class Unfit(ValueError):
    """What is asked makes no sense; the words are our own, and repeat nothing of what was asked."""


class Chosen(BaseModel):
    """A `Stratum` as a request has it: at least one thing is given, and at most 1,000 rows by number."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    check: CheckId | None = None
    family: Text | None = None
    metric: Text | None = None
    partner: Text | None = None
    device_model: Text | None = None
    firmware: Text | None = None
    day: date | None = None
    rows: tuple[RowNumber, ...] = ()

    @property
    def stratum(self) -> Stratum:
        return Stratum(**{name: getattr(self, name) for name in Chosen.model_fields})

    @model_validator(mode="after")
    def _names_something(self) -> "Chosen":
        if not self.stratum.as_json():
            raise Unfit("it must say which rows are meant")
        if len(self.rows) > MOST_ROWS:
            raise Unfit(f"at most {MOST_ROWS} rows are named one by one")
        if self.check is not None and self.check not in checks():
            raise Unfit("there is no such check")
        return self


class Counted(Chosen):
    """The rows that are to be decided: how many they were when somebody looked, and their `RowSet.fingerprint`."""

    expected: Annotated[int, Strict()]
    fingerprint: Fingerprint


class RowSet(NamedTuple):
    """Rows in sums that tell them from any other rows, in whatever order they are added: `together` of parts is the whole.

    `entries` are those that landed and took back each row: a row that was judged anew since is another one, though what
    was sent, and so its key64, is the same.
    """

    rows: int = 0
    keys: int = 0
    entries: int = 0

    @classmethod
    def together(cls, parts: Iterable["RowSet"]) -> "RowSet":
        """Parts that have no row in common."""
        return cls(*(sum(sums) for sums in zip(cls(), *parts, strict=True)))

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that tell nothing of a row, not even of a single one its number."""
        told = f"{self.rows}|{self.keys % 2**64}|{self.entries}"
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def condition(stratum: Stratum, landed: bool = False) -> tuple[str, list[Json]]:
    """SQL over the columns of `quarantine` (and the view `decision`), and its parameters: whether a row is meant.

    With `landed` it is over the columns of a table of readings. A check is then about the rows that it flagged; one that
    flags no row was found later, about all that is otherwise given.
    """
    said, parts, values = stratum.as_json(), [], []
    for name in _EQUAL:
        if name in said and not (landed and name == "family"):
            parts.append(f'"{name}" = ?')
            values.append(said[name])
    if stratum.day:
        begin = datetime(stratum.day.year, stratum.day.month, stratum.day.day, tzinfo=UTC)
        parts.append("start >= ? AND start < ?")
        values += [begin, begin + timedelta(days=1)]
    if stratum.rows:
        parts.append("key64 IN (SELECT unnest(?))")
        values.append([key_of(row) for row in stratum.rows])
    if stratum.check:
        part, value = _of_check(stratum.check, landed)
        parts.append(part)
        values += value
    return " AND ".join(parts) or "true", values


def _of_check(check: str, landed: bool) -> tuple[str, list[Json]]:
    parts: list[tuple[str, Json]] = [("flags & ? <> 0", checks()[check].mask)] if checks()[check].mask else []
    if not landed:
        parts.append((_RECALLED, check))
    if not parts:
        return "true", []
    return f"({' OR '.join(part for part, _ in parts)})", [value for _, value in parts]


def key_of(row: str) -> int:
    """The key64 of a row's number, 16 hexadecimal digits."""
    return int.from_bytes(bytes.fromhex(row), "big", signed=True)


def number_of(key64: int) -> str:
    """The row's number, as a decision names it."""
    return key64.to_bytes(8, "big", signed=True).hex()


def failed(flags: int, recalled: int | None, found: Mapping[int, str | None]) -> list[str]:
    """What a row in quarantine failed: checks by its flags, and what took it back by what each entry's recall `found`."""
    words = [check.id for check in checks().values() if flags & check.mask]
    if recalled is not None:
        words += [check for check in (found.get(recalled, ENTERED_IN_ERROR),) if check is not None]
    return words


def is_critical(flags: int, recalled: int | None, found: Mapping[int, str | None]) -> bool:
    """Whether two people have to decide about a row: something critical is wrong with it, or what nobody knows any more.

    What a check has only flagged mildly is not critical.
    """
    known = sum(check.mask for check in checks().values())
    grave = [check.id for check in checks().values() if check.bit is not None and flags >> check.bit & 1]
    if recalled is not None:
        grave += [check for check in (found.get(recalled, ENTERED_IN_ERROR),) if check is not None]
    unknown = bool(flags & ~known)
    return unknown or any(word not in checks() or checks()[word].severity is Severity.CRITICAL for word in grave)


def names_somebody(reason: str) -> bool:
    """Whether a text holds what looks like a pseudonym, in whatever letters: a decision's reason is not about one person."""
    return _PSEUDONYM.search(reason) is not None


@dataclass(frozen=True)
class Effect:
    """What a decision would change: rows in all, by what they failed (a row may fail several), by metric, by day (UTC).

    `people` is None where they are fewer than the study's smallest cell, or none. `fingerprint` is that of the `RowSet`.
    """

    rows: int
    fingerprint: str
    people: int | None
    needs_two: bool
    by_check: Mapping[str, int]
    by_metric: Mapping[str, int]
    by_day: Mapping[str, int]


_GROUPS = """SELECT flags, {recalled} AS recalled, metric, CAST(start AS DATE) AS day, count(*) AS n,
  CAST(sum(CAST(key64 AS HUGEINT)) AS VARCHAR) AS keys, CAST(sum(CAST(entry AS HUGEINT)) AS VARCHAR) AS entries
FROM {view} WHERE {where} GROUP BY ALL"""
_PEOPLE = "SELECT DISTINCT pseudonym FROM {view} WHERE {where}"


def effect(desk: LakeDesk, study: str, stratum: Stratum) -> Effect:
    """What releasing or discarding the stratum would change now, before consent and duplicates are asked again."""
    where, values = condition(stratum)
    groups = desk.query(study, _GROUPS.format(recalled="recalled", view="quarantine", where=where), values).to_pylist()
    people = desk.query(study, _PEOPLE.format(view="quarantine", where=where), values)
    return _effect(groups, len(people), recalled_for(desk, study), desk.studies()[study].smallest_cell)


def recall_effect(desk: LakeDesk, study: str, stratum: Stratum) -> Effect:
    """What taking the stratum back would change now: its rows in the study's tables of readings, every revision of them."""
    where, values = condition(stratum, landed=True)
    groups, people = list[Json](), set[str]()
    for family in READING_FAMILIES:
        if stratum.family in (None, family):
            view = f"{family}_all"
            groups += desk.query(study, _GROUPS.format(recalled="NULL", view=view, where=where), values).to_pylist()
            found = desk.query(study, _PEOPLE.format(view=view, where=where), values)
            people |= set(found.column("pseudonym").to_pylist())
    return _effect(groups, len(people), {}, desk.studies()[study].smallest_cell)


def recalled_for(desk: LakeDesk, study: str) -> dict[int, str | None]:
    """By the ledger entry of each recall: the check that found what it took back, if it was one."""
    recalls = desk.query(study, """SELECT entry, "check" FROM decision WHERE kind = 'recall'""").to_pylist()
    return {row["entry"]: row["check"] for row in recalls}


def _effect(groups: list[Json], people: int, found: Mapping[int, str | None], smallest: int) -> Effect:
    by: dict[str, Counter[str]] = {name: Counter() for name in ("check", "metric", "day")}
    for group in groups:
        by["check"].update(dict.fromkeys(failed(group["flags"], group["recalled"], found), group["n"]))
        by["metric"][group["metric"]] += group["n"]
        by["day"][str(group["day"])] += group["n"]
    two = any(is_critical(group["flags"], group["recalled"], found) for group in groups)
    told = {name: dict(sorted(counts.items())) for name, counts in by.items()}
    them = RowSet.together(map(_set_of, groups))
    few = people if people >= smallest else None
    return Effect(them.rows, them.fingerprint, few, two, told["check"], told["metric"], told["day"])


def _set_of(group: Json) -> RowSet:
    return RowSet(group["n"], int(group["keys"]), int(group["entries"]) + group["n"] * (group["recalled"] or 0))
