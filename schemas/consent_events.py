"""Consent events and identity links: their JSON lines, their Avro records, and what makes each of them valid.

Kinds understood now: link, grant, narrow, pause, resume, withdraw. Anything else is refused at the door
(`parse_line`); found on a topic it becomes an `Unreadable`, which closes its chain until it is understood.

Times are RFC 3339 with a zone in JSON and microseconds since the epoch, UTC, everywhere else. A refusal names the
field and what it should be, never the value that was there.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import from_json

from schemas.barcodes import checked
from schemas.reasons import Reason, Rejected
from schemas.registry import KIT

EVENT_KINDS = ("grant", "narrow", "pause", "resume", "withdraw")
KINDS = ("link", *EVENT_KINDS)
MAX_LINE = 256 * 1024
"""Longest JSON line taken, in characters: room for a grant of every metric, not for a bomb."""

EventKind = Literal["grant", "narrow", "pause", "resume", "withdraw"]
Mode = Literal["keep", "erase"]
M = TypeVar("M", bound=BaseModel)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = -62_135_596_800_000_000  # year 1, the earliest that RFC 3339 can say
_LAST_US = 253_402_300_799_999_999  # the end of year 9999, the latest
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
A_MOMENT = "a time such as 2026-01-31T12:00:00Z, with its zone"
MICROSECONDS = "microseconds since the epoch, UTC, of the years 1 to 9999"
_EXPECTED = {
    "kind": "one of " + ", ".join(KINDS),
    "member": "a text of 1 to 200 characters",
    "study": "a text of 1 to 200 characters",
    "link_id": "a text of 1 to 200 characters",
    "partner": "a text of 1 to 200 characters",
    "subject": "a text of 1 to 200 characters",
    "seq": "a whole number from 1 to 2147483647",
    "effective_at": A_MOMENT,
    "retro_from": A_MOMENT + ", or null",
    "collect_until": A_MOMENT + ", or null",
    "store_until": A_MOMENT + ", or null",
    "from": A_MOMENT + ", or null",
    "to": A_MOMENT + ", or null",
    "metrics": "a list of metric codes, or null",
    "categories": "null: consent by category is not supported yet",
    "target_seq": "null: no supported kind has a target",
    "fill_gap": "true, false or null",
    "mode": "keep or erase",
}
_OF_GRANT_ONLY = ("retro_from", "fill_gap", "collect_until", "store_until")


def micros_of(text: str) -> int:
    """Microseconds since the epoch, UTC, of an RFC 3339 time with a zone; ValueError for anything else."""
    if not _RFC3339.fullmatch(text):
        raise ValueError("not RFC 3339 with a zone")
    return (datetime.fromisoformat(text.upper()) - _EPOCH) // timedelta(microseconds=1)


def moment_of(us: int) -> str:
    """The RFC 3339 time in UTC of microseconds since the epoch."""
    return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")


def _moment(value: object, info: ValidationInfo) -> int:
    """JSON says a moment as text, a record as a number; neither may use the other's form."""
    if info.mode == "json":
        value = micros_of(value) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool) and _FIRST_US <= value <= _LAST_US:
        return value
    raise ValueError("not a moment")


Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Moment = Annotated[int, BeforeValidator(_moment)]


def _absent(value: object) -> object:
    """An empty list or false says the same as null: the field is not used. A list becomes a tuple."""
    if value is False or value in ([], ()):
        return None
    return tuple(value) if isinstance(value, list) else value


class ConsentEvent(BaseModel):
    """One decision of a member about a study, numbered by the consent authority within the chain (member, study).

    `metrics` are sorted and without repeats; empty where the kind has none. Times are int microseconds, UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    kind: EventKind
    member: Annotated[Text, Field(repr=False)]
    study: Text
    seq: Annotated[int, Field(ge=1, le=2_147_483_647)]
    effective_at: Moment
    metrics: Annotated[tuple[Text, ...] | None, BeforeValidator(_absent)] = None
    categories: Annotated[None, BeforeValidator(_absent)] = None
    retro_from: Moment | None = None
    fill_gap: Annotated[Literal[True] | None, BeforeValidator(_absent)] = None
    collect_until: Moment | None = None
    store_until: Moment | None = None
    mode: Mode | None = None
    target_seq: None = None

    def to_record(self) -> dict[str, Any]:
        """The Avro record of contract consent-event; fields not used are None."""
        return self.model_dump() | {"metrics": None if self.metrics is None else list(self.metrics)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ConsentEvent":
        """The event of an Avro record; Rejected where this version does not understand it."""
        _refuse_unknown_kind(record, EVENT_KINDS)
        metrics = record.get("metrics")
        row = dict(record) | {"metrics": tuple(metrics) if isinstance(metrics, list) else metrics}
        return _checked_event(validated(lambda: cls.model_validate(row)))


class IdentityLink(BaseModel):
    """Which member a partner's subject is, for readings taken in [from_us, to_us); None is without limit.

    With `kit` in place of a partner it is the activation of a kit: the subject is its barcode, in its one spelling.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    kind: Literal["link"] = "link"
    link_id: Text
    partner: Text
    subject: Annotated[Text, Field(repr=False)]
    member: Annotated[Text, Field(repr=False)]
    from_us: Annotated[Moment | None, Field(alias="from")] = None
    to_us: Annotated[Moment | None, Field(alias="to")] = None

    def to_record(self) -> dict[str, Any]:
        """The Avro record of contract identity-link."""
        return self.model_dump(exclude={"kind"})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "IdentityLink":
        """The link of an Avro record; Rejected where it is not one."""
        return _checked_link(validated(lambda: cls.model_validate(dict(record), by_alias=False, by_name=True)))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message on a consent topic that this version does not understand; its chain, where that can be told."""

    member: str | None = field(default=None, repr=False)
    study: str | None = None


def parse_line(text: str, known_metrics: Collection[str] | None = None) -> ConsentEvent | IdentityLink:
    """One line of consent JSON as an event or a link; Rejected with the field's path and what it should be.

    With `known_metrics`, a metric that is not among them is refused.
    """
    fields = json_object(text)
    _refuse_unknown_kind(fields, KINDS)
    if fields["kind"] == "link":
        return _checked_link(validated(lambda: IdentityLink.model_validate_json(text, by_alias=True, by_name=False)))
    event = _checked_event(validated(lambda: ConsentEvent.model_validate_json(text)))
    if known_metrics is not None:
        for number, metric in enumerate(fields.get("metrics") or ()):
            if metric not in known_metrics:
                raise Rejected(Reason.METRIC, f"metrics[{number}]", "a code of the metric catalogue")
    return event


def json_object(text: str) -> dict[str, Any]:
    """The JSON object on one line; Rejected where there is none or the line is too long."""
    if len(text) > MAX_LINE:
        raise Rejected(Reason.TOO_LARGE, "", f"a line of at most {MAX_LINE} characters")
    try:
        fields = from_json(text, allow_inf_nan=False)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise Rejected(Reason.FIELD, "", "one JSON object in one line")
    return fields


def read_event(record: Mapping[str, Any]) -> ConsentEvent | Unreadable:
    """A decoded consent-event record; what is not understood keeps its chain's name so that the chain can be closed."""
    try:
        return ConsentEvent.from_record(record)
    except Rejected:
        return unreadable(record)


def read_link(record: Mapping[str, Any]) -> IdentityLink | Unreadable:
    """A decoded identity-link record, or Unreadable."""
    try:
        return IdentityLink.from_record(record)
    except Rejected:
        return Unreadable()


def unreadable(fields: Mapping[str, Any]) -> Unreadable:
    """The chain that a message names, although the rest of it is not understood."""
    member, study = fields.get("member"), fields.get("study")
    named = isinstance(member, str) and isinstance(study, str) and bool(member) and bool(study)
    return Unreadable(member, study) if named else Unreadable()


def chain_key(member: str, study: str) -> bytes:
    """The Kafka key of a consent event: one for each chain."""
    return json.dumps([member, study], ensure_ascii=False, separators=(",", ":")).encode()


def unreadable_key(key: bytes | None) -> Unreadable:
    """The chain that a record's key names when its value cannot be decoded."""
    try:
        parts = from_json(key or b"")
    except ValueError:
        return Unreadable()
    if not isinstance(parts, list) or len(parts) != 2:
        return Unreadable()
    return unreadable({"member": parts[0], "study": parts[1]})


def _refuse_unknown_kind(fields: Mapping[str, Any], kinds: tuple[str, ...]) -> None:
    if fields.get("kind") not in kinds:
        raise Rejected(
            Reason.FIELD,
            "kind",
            "one of " + ", ".join(kinds) + "; others are not supported yet",
        )


def validated(build: Callable[[], M], expected: Mapping[str, str] = _EXPECTED) -> M:
    """The model that `build` makes, or Rejected in our words (pydantic's own would repeat the value).

    `expected` says of each field of the JSON what it should be.
    """
    try:
        return build()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "extra_forbidden":
        raise Rejected(Reason.FIELD, "(unknown field)", "only " + ", ".join(expected))
    path = str(first["loc"][0])
    raise Rejected(Reason.FIELD, path, expected[path.removesuffix("_us")])


def _checked_event(event: ConsentEvent) -> ConsentEvent:
    """The rules that bind fields to each other; Rejected where one is broken."""
    _check_fields_of_kind(event)
    if event.retro_from is not None and event.retro_from > event.effective_at:
        raise Rejected(Reason.FIELD, "retro_from", "a time not after effective_at")
    for name in ("collect_until", "store_until"):
        until = cast(int | None, getattr(event, name))
        if until is not None and until <= event.effective_at:
            raise Rejected(Reason.FIELD, name, "a time after effective_at")
    if event.metrics is None:
        return event
    return event.model_copy(update={"metrics": tuple(sorted(set(event.metrics)))})


def _check_fields_of_kind(event: ConsentEvent) -> None:
    names_metrics = event.kind in ("grant", "narrow")
    if names_metrics and not event.metrics:
        raise Rejected(Reason.FIELD, "metrics", f"at least one metric in a {event.kind}")
    if event.metrics and not names_metrics:
        raise Rejected(
            Reason.FIELD,
            "metrics",
            f"null in a {event.kind}: it is about the whole chain",
        )
    if event.kind == "withdraw" and event.mode is None:
        raise Rejected(Reason.FIELD, "mode", "keep or erase in a withdraw")
    if event.kind != "withdraw" and event.mode is not None:
        raise Rejected(Reason.FIELD, "mode", f"null in a {event.kind}")
    if event.kind != "grant":
        for name in _OF_GRANT_ONLY:
            if getattr(event, name) is not None:
                raise Rejected(Reason.FIELD, name, f"null in a {event.kind}")


def _checked_link(link: IdentityLink) -> IdentityLink:
    if link.from_us is not None and link.to_us is not None and link.to_us <= link.from_us:
        raise Rejected(Reason.FIELD, "to", "a time after from")
    if link.partner == KIT:
        return link.model_copy(update={"subject": checked(link.subject, "subject")})
    return link
