"""Messages of laboratories: the report's header and its results, judged by pydantic before anything is made of them.

What a code, a unit or a status means is decided later, by the catalogue and the laboratory's mapping file.
"""

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)

from schemas.barcodes import LENGTH, checked, spelled
from schemas.clocks import clock_zone
from schemas.headers import DAY_MINUTES, OptionalText, Text, field_rejection
from schemas.reasons import Reason, Rejected

MOST_TEXT = 65_536
MOST_WORDS = 1000
STATUSES = frozenset("PFCAXDW")
WITHOUT_VALUE = frozenset("XDW")
"""The statuses of a result that may have no value: none can be had, deleted, wrong."""

Words = Annotated[str, StringConstraints(max_length=MOST_WORDS)]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=20)] | None
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(_Part):
    """A code as sent; `system` and `text` are None where they were not."""

    code: Text
    system: OptionalText = None
    text: Words | None = None


class Moment(_Part):
    """A moment as written: `at` in microseconds, UTC, or by a wall clock where `clock` is local."""

    at: int
    clock: Literal["utc", "local"] = "utc"
    offset_min: Annotated[int, Field(ge=-DAY_MINUTES, le=DAY_MINUTES)] | None = None
    zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    precision: Literal["year", "month", "day", "hour", "minute", "second"] = "second"
    taken_from: FieldName = None
    offset_from: FieldName = None


class Order(_Part):
    """What the laboratory was asked for, by its own number and by that of whoever ordered it."""

    id: OptionalText = None
    placer_id: OptionalText = None
    service: Code | None = None


class Specimen(_Part):
    """What was taken from the person."""

    id: OptionalText = None
    type: Code | None = None
    site: Code | None = None
    method: Code | None = None
    collected: Moment | None = None
    received: Moment | None = None
    conditions: tuple[Code, ...] = ()
    rejected: tuple[Code, ...] = ()
    haemolysis_index: Finite | None = None


class Run(_Part):
    """The run of an analyser, and how its controls came out."""

    id: OptionalText = None
    controls: Literal["passed", "failed", "absent"] = "absent"


class LabHeader(_Part):
    """Everything of a laboratory's message but its results."""

    subject: Annotated[Text, Field(repr=False)]
    subject_kind: Literal["kit", "person"]
    laboratory: Text
    order: Order
    specimen: Specimen | None = None
    sent: Moment | None = None
    run: Run | None = None


class NumberValue(_Part):
    """A number, a limit (`comparator`), or two numbers and their `relation`."""

    written: Text
    comparator: Literal["less_than", "at_most", "at_least", "greater_than", "not_detected"] | None = None
    number: Finite | None = None
    relation: Literal["range", "ratio", "graded"] | None = None
    second: Finite | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.number is None and self.comparator != "not_detected":
            raise ValueError("number")
        if (self.second is not None) != (self.relation in ("range", "ratio")):
            raise ValueError("second")
        return self


class CodeValue(_Part):
    """One code, or several that were sent as one value."""

    codes: Annotated[tuple[Code, ...], Field(min_length=1)]
    other_codes: tuple[Code, ...] = ()


class TextValue(_Part):
    """A text, its lines divided by line feeds."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=MOST_TEXT)]


class TimeValue(_Part):
    """A date or moment, or a time of day in microseconds since midnight."""

    written: Text
    moment: Moment | None = None
    time_of_day: Annotated[int, Field(ge=0, lt=24 * 3600 * 1_000_000)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.moment is None) == (self.time_of_day is None):
            raise ValueError("moment")
        return self


def _kind(value: Any) -> str | None:
    """Which of the four kinds a value is, by a field that only that kind has; judged or not."""
    names = value if isinstance(value, dict) else vars(value)
    return next((f"({name})" for name in ("codes", "text", "time_of_day") if name in names), "(number)")


Value = Annotated[
    Annotated[NumberValue, Tag("(number)")]
    | Annotated[CodeValue, Tag("(codes)")]
    | Annotated[TextValue, Tag("(text)")]
    | Annotated[TimeValue, Tag("(time_of_day)")],
    Discriminator(_kind),
]


class Result(_Part):
    """One observation, or one answer, as sent."""

    kind: Literal["lab", "questionnaire"] = "lab"
    code: Code
    other_code: Code | None = None
    sub_id: OptionalText = None
    occurrence: Annotated[int, Field(ge=0)] = 0
    value: Value | None = None
    unit: Code | None = None
    reference_range: Words | None = None
    range_applies_to: tuple[Text, ...] = ()
    abnormal_flags: tuple[Text, ...] = ()
    status: Literal["P", "F", "C", "A", "X", "D", "W"]
    method: Code | None = None
    observed: Moment
    analysed: Moment | None = None
    dilution: Finite | None = None

    @model_validator(mode="after")
    def _has_a_value(self) -> Self:
        if self.value is None and self.status not in WITHOUT_VALUE:
            raise ValueError("value")
        return self


class LabReport(LabHeader):
    """A whole message: the header and its results."""

    results: tuple[Result, ...]

    @cached_property
    def moments(self) -> dict[str, Moment]:
        """The moments of which a wall clock must be placed, by their paths."""
        of_specimen = (
            {f"specimen.{name}": getattr(self.specimen, name) for name in ("collected", "received")}
            if self.specimen
            else {}
        )
        of_results = {f"results[{number}].observed": result.observed for number, result in enumerate(self.results)}
        return {path: moment for path, moment in (of_specimen | of_results).items() if moment}


def lab_report(message: dict[str, Any], assumed_zone: str | None = None) -> LabReport:
    """The judged report of a decoded message; Rejected with the path at fault and what was expected, never its value.

    A moment by a wall clock needs an offset, a zone, or the zone that is assumed of its partner. A kit is named by a
    barcode, or by a number that cannot be taken for one.
    """
    try:
        report = LabReport.model_validate(message)
    except ValidationError as error:
        raise _rejection(error) from None
    if not report.results:
        raise Rejected(Reason.NO_READINGS, "results", "at least one result")
    if report.subject_kind == "kit" and may_be_barcode(report.subject):
        checked(report.subject, "subject")
    for path, moment in report.moments.items():
        try:
            clock_zone(moment.clock == "local", moment.offset_min, moment.zone, assumed_zone)
        except Rejected as fault:
            raise Rejected(fault.reason, f"{path}.{fault.path}", fault.expected) from None
    return report


def may_be_barcode(subject: str) -> bool:
    """Whether a kit's number can only be meant as a barcode: it has as many letters and digits, blanks and hyphens apart."""
    written = spelled(subject)
    return len(written) == LENGTH and written.isascii() and written.isalnum()


_RULES = {
    "number": "a number, unless the value is not detected and no limit is known",
    "second": "a second number in a range or a ratio, and in nothing else",
    "moment": "either a moment or a time of day",
    "value": "a value, unless the status is X, D or W",
}


def _rejection(error: ValidationError) -> Rejected:
    """Our words for pydantic's finding; a rule that binds two fields is told by the one that is missing."""
    first = error.errors(include_input=False, include_url=False)[0]
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"] if not str(part).startswith("(")
    )
    if first["type"] == "value_error":
        name = str(first["ctx"]["error"])
        return Rejected(Reason.FIELD, f"{path}.{name}".removeprefix("."), _RULES[name])
    found = field_rejection(error)
    reason = Reason.NOT_FINITE if first["type"] == "finite_number" else found.reason
    expected = "a finite number" if reason == Reason.NOT_FINITE else found.expected
    return Rejected(reason, path.removeprefix("."), expected)
