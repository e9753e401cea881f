"""The header of a sensor message: who, what and from where, judged by pydantic before any reading is looked at."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from schemas.reasons import Reason, Rejected

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
OptionalText = Annotated[str, StringConstraints(min_length=1, max_length=200)] | None
DAY_MINUTES = 24 * 60


class Source(BaseModel):
    """The device or app that readings come from, as the partner describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Text
    device_model: OptionalText = None
    firmware: OptionalText = None
    serial: OptionalText = None
    app: OptionalText = None
    app_version: OptionalText = None


class SensorHeader(BaseModel):
    """Everything of a sensor message but its series."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    subject: Text
    metric: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    unit: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    modality: Literal["sensed", "self_reported", "derived"] = "sensed"
    source: Source
    clock: Literal["utc", "local"] = "utc"
    offset_min: Annotated[int, Field(ge=-DAY_MINUTES, le=DAY_MINUTES)] | None = None
    zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    channels: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=40)], ...], Field(max_length=64)
    ] = ()


def sensor_header(message: dict[str, Any]) -> SensorHeader:
    """The judged header of a decoded message; Rejected with the field's path and what was expected, never its value."""
    try:
        key = _key(message)
        header = _accepted.get(key)
    except TypeError:  # something else where a text, a source or a list should be: it will be refused
        key, header = None, None
    if header is None:
        header = _judged({name: value for name, value in message.items() if name not in _SERIES})
        if key is not None:
            if len(_accepted) >= _MOST_ACCEPTED:
                _accepted.clear()
            _accepted[key] = header
    return header


def _key(message: dict[str, Any]) -> tuple[Any, ...] | None:
    """What the header of a message says, where its fields are just those that a decoder gives it; else None."""
    if tuple(message) != _DECODED:
        return None
    subject, metric, unit, modality, source, clock, offset_min, zone, _, _, channels, _ = message.values()
    if tuple(source) != _SOURCE:
        return None
    return (subject, metric, unit, modality, *source.values(), clock, offset_min, zone, *channels)


def _judged(fields: dict[str, Any]) -> SensorHeader:
    try:
        return SensorHeader.model_validate(fields)
    except ValidationError as error:
        raise field_rejection(error) from None


# A device says the same of itself in every message: what was accepted once is not judged again.
_accepted: dict[tuple[Any, ...] | None, SensorHeader] = {}
_MOST_ACCEPTED = 50_000
_SERIES = ("times", "values", "record_ids")
_DECODED = (
    *("subject", "metric", "unit", "modality", "source", "clock", "offset_min", "zone"),
    *("times", "values", "channels", "record_ids"),
)
_SOURCE = tuple(Source.model_fields)


def field_rejection(error: ValidationError) -> Rejected:
    """Our rejection for pydantic's finding: path and limits, without the value that its own message prints."""
    first = error.errors(include_input=False, include_url=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    expected = _EXPECTED.get(first["type"], "a value that the contract allows")
    return Rejected(Reason.FIELD, path, expected.format_map(first.get("ctx", {})))


# By the kind of pydantic's finding, with the names that it gives to the limits; no other name of its context is used.
_EXPECTED = {
    "missing": "the field to be there",
    "string_too_short": "a text that is not empty",
    "string_too_long": "a text of at most {max_length} characters",
    "string_type": "a text",
    "int_type": "a whole number",
    "extra_forbidden": "no such field",
    "literal_error": "{expected}",
    "enum": "one of {expected}",
    "greater_than_equal": "a number from {ge} on",
    "less_than_equal": "a number up to {le}",
    "too_long": "at most {max_length} items",
}
