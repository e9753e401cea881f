"""What a laboratory's mapping file has in its lists: fields of messages, and the laboratory's codes and assays."""

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.headers import Text
from schemas.metrics import LABORATORY_FAMILIES, catalogue, is_loinc
from schemas.specimens import CONDITIONS, REASONS

IDENTIFIER_FIELDS = frozenset(
    {
        "PID-2", "PID-3", "PID-4", "PID-18", "SPM-2", "SPM-3", "SPM-30", "SPM-31", "SAC-3", "SAC-4",
        "OBR-2", "OBR-3", "ORC-2", "ORC-3", "ORC-4",
    }
)  # fmt: skip
"""The fields that a mapping may name: numbers of people, specimens and orders. Names and addresses have no place here."""

_FIELD = re.compile(r"(?P<field>[A-Z]{3}-[0-9]{1,2})(\.(?P<component>[1-9]))?")


class Entry(BaseModel):
    """A part of the file: what is not in it is a misspelling."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _identifier_field(text: str) -> str:
    found = _FIELD.fullmatch(text)
    if found is None or found["field"] not in IDENTIFIER_FIELDS:
        raise ValueError(
            f"must be one of {', '.join(sorted(IDENTIFIER_FIELDS))}, with a component or without (PID-3.1)"
        )
    return text


def _loinc(code: str) -> str:
    if not is_loinc(code):
        raise ValueError("must be digits, a hyphen and the right check digit")
    return code


def _metric(code: str) -> str:
    found = catalogue().get(code)
    if found is None or found.family not in LABORATORY_FAMILIES:
        raise ValueError("must be a metric of the catalogue, of a laboratory's results or answers")
    return code


def _one_of(words: frozenset[str]) -> Callable[[str], str]:
    def check(word: str) -> str:
        if word not in words:
            raise ValueError(f"must be one of {', '.join(sorted(words))}")
        return word

    return check


Limit = Annotated[float, Field(allow_inf_nan=False)]


class SubjectField(Entry):
    """A field that names the kit or person. `identifier_type` chooses among several numbers of a person (CX.5)."""

    kind: Literal["kit", "person"]
    field: Annotated[str, AfterValidator(_identifier_field)]
    identifier_type: Annotated[str, StringConstraints(min_length=1, max_length=20)] | None = None

    @property
    def segment(self) -> str:
        return self.field[:3]

    @property
    def number(self) -> int:
        return int(self.field[4:].split(".")[0])

    @property
    def component(self) -> int | None:
        """From 1; None where the field names none."""
        return int(self.field.partition(".")[2]) if "." in self.field else None


class Coded(Entry):
    """What is said of one of the laboratory's own codes; `system` where that is needed to tell two apart."""

    code: Text
    system: Text | None = None


class LocalCode(Coded):
    """What a code is: a LOINC code, a metric of the catalogue, or both."""

    loinc: Annotated[str, AfterValidator(_loinc)] | None = None
    metric: Annotated[str, AfterValidator(_metric)] | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if self.loinc is None and self.metric is None:
            raise ValueError("needs loinc, metric or both")
        return self


class LocalValue(Entry):
    """What a word or code that the laboratory sends as a value is: `means` is a code of the metric, or of any metric."""

    sent: Text
    system: Text | None = None
    metric: Annotated[str, AfterValidator(_metric)] | None = None
    means: Text

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        every = catalogue()
        metrics = (every.metrics[self.metric],) if self.metric else every.of_laboratories
        if not any(self.means in metric.codes for metric in metrics):
            raise ValueError("means must be a code of the metric, or of one of the catalogue's laboratory metrics")
        return self


class AssayLimits(Coded):
    """What an assay can measure, by the laboratory's code of it, in `unit`, by default the metric's own.

    Below `loq` nothing is quantified; from `low` to `high` it is reported without diluting the specimen.
    """

    unit: Text | None = None
    loq: Limit | None = None
    low: Limit | None = None
    high: Limit | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.loq is None and self.low is None and self.high is None:
            raise ValueError("needs loq, low or high")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class LocalCondition(Entry):
    """A laboratory's own code for a specimen's condition."""

    sent: Text
    means: Annotated[str, AfterValidator(_one_of(frozenset(CONDITIONS.values())))]


class LocalRejection(Entry):
    """A laboratory's own code for why it rejected a specimen."""

    sent: Text
    means: Annotated[str, AfterValidator(_one_of(frozenset(REASONS)))]


class About(Coded):
    """An observation that is no result: what it says is about the specimen or the run of all results of its order."""

    def names(self, code: str, system: str | None) -> bool:
        return code == self.code and self.system in (None, system)


class Haemolysis(About):
    """The observation that is the haemolysis index; one unit of it is so many mg/dL of free haemoglobin."""

    mg_dl: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0


class Controls(About):
    """The observation that says how the run's controls came out: any other word than those for `passed` is a failure.

    Where they are `required`, results without it are treated as those of a run that failed.
    """

    passed: Annotated[tuple[Text, ...], Field(min_length=1)]
    required: bool = False
