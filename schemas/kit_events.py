"""Events of self-sampling kits: what is judged of a message, and the JSON lines that they are published from.

No field has room for a name or an address: ids and shipping tokens are UUIDs, sites and reasons are closed lists.
Moments are RFC 3339 with a zone in JSON and microseconds on the wire. A refusal names the field and what it should be,
never the value that was there.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from schemas.barcodes import checked
from schemas.clocks import clock_zone
from schemas.consent_events import A_MOMENT, MICROSECONDS, Moment, json_object, micros_of
from schemas.headers import DAY_MINUTES, field_rejection
from schemas.reasons import Reason, Rejected

CONTRACT = "kit-event"
Kind = Literal["packed", "sent", "activated", "collected", "posted", "received", "rejected", "resulted", "destroyed"]
Site = Literal[
    "arm", "ear_lobe", "fingertip", "genitals", "mouth", "nose", "rectum", "skin", "throat", "toe", "other"
]  # fmt: skip
Why = Literal[
    "contaminated", "damaged", "empty", "examined", "expired", "leaked", "mislabelled",
    "not_activated", "too_late", "too_little", "withdrawn", "wrong_material", "other",
]  # fmt: skip

SEVERITY: dict[Kind, int] = {
    "packed": 0, "sent": 1, "activated": 2, "collected": 3, "posted": 4,
    "received": 5, "resulted": 6, "rejected": 7, "destroyed": 8,
}  # fmt: skip
"""Of events at one moment, the one with the higher number counts as the later."""


class _Detail(NamedTuple):
    """A field that only some kinds of event have; in those that `must`, it has to be there."""

    kinds: frozenset[Kind]
    must: bool


_AT_THE_LABORATORY: frozenset[Kind] = frozenset({"received", "rejected", "resulted"})
_DETAILS = {
    "lot": _Detail(frozenset({"packed"}), True),
    "lot_expires": _Detail(frozenset({"packed"}), False),
    "ship_token": _Detail(frozenset({"sent"}), True),
    "site": _Detail(frozenset({"collected"}), False),
    "laboratory": _Detail(_AT_THE_LABORATORY, True),
    "reason": _Detail(frozenset({"rejected", "destroyed"}), True),
}
_LAST_DAY = (date.max - date(1970, 1, 1)).days
_LOT = r"^(?=.*[0-9])(?!.*[A-Z]{4})[0-9A-Z][0-9A-Z./_-]{0,19}\Z"
_LABORATORY = r"^[a-z][a-z0-9-]{0,39}\Z"
_OF_NO_NAME = UUID("5b0d6f0e-6d0c-5f55-9f3e-0c8e5d1b7a11")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EXPECTED = {
    "when.at": MICROSECONDS,
    "event_id": "a UUID",
    "lot": "a lot's number: 1 to 20 capital letters, digits and . / _ -, with a digit and at most 3 letters in a row",
    "ship_token": "a UUID: a token, never an address",
    "laboratory": "1 to 40 small letters, digits and hyphens, beginning with a letter",
}


def _uuid(text: str) -> str:
    if len(text) != 36:  # what else is taken for one: in braces, as an urn, without hyphens
        raise ValueError("uuid")
    return str(UUID(text))


Uuid = Annotated[str, AfterValidator(_uuid)]


class KitMoment(BaseModel):
    """`at` in microseconds, UTC, or by a wall clock where `clock` is local."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    at: Moment
    clock: Literal["utc", "local"] = "utc"
    offset_min: Annotated[int, Field(ge=-DAY_MINUTES, le=DAY_MINUTES)] | None = None
    zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None


class KitEvent(BaseModel):
    """One event of one kit; `lot_expires` is a number of days since 1970-01-01, ids are in small letters."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, regex_engine="python-re")
    event_id: Uuid
    barcode: Annotated[str, Field(repr=False)]
    event: Kind
    when: KitMoment
    lot: Annotated[str, StringConstraints(pattern=_LOT)] | None = None
    lot_expires: Annotated[int, Field(ge=0, le=_LAST_DAY)] | None = None
    ship_token: Annotated[Uuid | None, Field(repr=False)] = None
    site: Annotated[Site | None, Field(repr=False)] = None
    laboratory: Annotated[str, StringConstraints(pattern=_LABORATORY)] | None = None
    reason: Why | None = None

    @property
    def severity(self) -> int:
        return SEVERITY[self.event]

    def to_record(self) -> dict[str, Any]:
        """The Avro record of the contract."""
        return self.model_dump()


def kit_event(message: Mapping[str, Any], assumed_zone: str | None = None) -> KitEvent:
    """The judged event of a decoded message; Rejected with the path at fault and what was expected, never its value.

    A moment by a wall clock needs an offset, a zone, or the zone that is assumed of its partner.
    """
    try:
        event = KitEvent.model_validate(message)
    except ValidationError as error:
        raise _rejection(error) from None
    event = event.model_copy(update={"barcode": checked(event.barcode)})
    for name, detail in _DETAILS.items():
        _check_detail(event, name, detail)
    when = event.when
    try:
        clock_zone(when.clock == "local", when.offset_min, when.zone, assumed_zone)
    except Rejected as fault:
        raise Rejected(fault.reason, f"when.{fault.path}", fault.expected) from None
    return event


def _check_detail(event: KitEvent, name: str, detail: _Detail) -> None:
    there = getattr(event, name) is not None
    if there and event.event not in detail.kinds:
        raise Rejected(Reason.FIELD, name, f"null, unless the event is {' or '.join(sorted(detail.kinds))}")
    if detail.must and not there and event.event in detail.kinds:
        raise Rejected(Reason.FIELD, name, f"the field to be there when the event is {event.event}")


def _rejection(error: ValidationError) -> Rejected:
    if error.errors(include_input=False, include_url=False)[0]["type"] == "extra_forbidden":
        return Rejected(Reason.FIELD, "(unknown field)", "only " + ", ".join(KitEvent.model_fields))
    found = field_rejection(error)
    return Rejected(found.reason, found.path, _EXPECTED.get(found.path, found.expected))


def parse_line(text: str) -> KitEvent:
    """The event of one JSON line; Rejected with the field's path and what it should be.

    `when` is a text, `lot_expires` a date. Without `event_id` an event gets one that follows from all that it says.
    """
    fields = json_object(text)
    message = fields | {"when": _moment(fields.get("when"))}
    if fields.get("lot_expires") is not None:
        message["lot_expires"] = _days(fields["lot_expires"])
    if fields.get("event_id") is not None:
        return kit_event(message)
    event = kit_event(message | {"event_id": str(_OF_NO_NAME)})
    said = json.dumps(event.to_record(), sort_keys=True, default=str)
    return event.model_copy(update={"event_id": str(uuid5(_OF_NO_NAME, said))})


def _moment(text: object) -> dict[str, Any]:
    try:
        at = micros_of(text if isinstance(text, str) else "")
    except ValueError:
        raise Rejected(Reason.FIELD, "when", A_MOMENT) from None
    offset = datetime.fromisoformat(str(text).upper()).utcoffset()
    known = offset is not None and str(text)[-1] not in "Zz"
    return {"at": at, "offset_min": round(offset.total_seconds() / 60) if offset is not None and known else None}


def _days(text: object) -> int:
    try:
        day = date.fromisoformat(text if isinstance(text, str) and _DATE.fullmatch(text) else "")
    except ValueError:
        raise Rejected(Reason.FIELD, "lot_expires", "a day such as 2027-03-31") from None
    return (day - datetime.fromtimestamp(0, UTC).date()).days
