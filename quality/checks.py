"""The catalogue of checks (`checks.yaml`): what is judged, by which rule and numbers, where, and what follows.

It is the one truth about checks: the gate, the suites, the job after the commit, the report and the stewards' list all
derive from it. Ranges of single metrics are not here but in the metric catalogue, which names the check of each.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from schemas.families import READING_FAMILIES
from schemas.metrics import catalogue
from schemas.reasons import Code, Outcome, Reason
from schemas.yaml_faults import first_fault
from schemas.yaml_loader import SafeLoader

CheckId = Annotated[str, StringConstraints(pattern=r"^(CF|UQ|TM|SQ|PL|WT|LK|QN)-[0-9]{2}$")]
Words = Annotated[str, StringConstraints(min_length=1, max_length=600, strip_whitespace=True)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
Share = Annotated[float, Field(ge=0, le=1)]
Bit = Annotated[int, Field(ge=0, le=62)]
Parameter = float | tuple[float, ...] | dict[str, float]


class CatalogueError(Exception):
    """`checks.yaml` is not a catalogue; the text names the check and the field."""


class Dimension(StrEnum):
    """Kahn's categories of data quality, with their subcategories."""

    VALUE = "conformance-value"
    RELATIONAL = "conformance-relational"
    COMPUTATIONAL = "conformance-computational"
    COMPLETENESS = "completeness"
    UNIQUENESS = "plausibility-uniqueness"
    ATEMPORAL = "plausibility-atemporal"
    TEMPORAL = "plausibility-temporal"


class Context(StrEnum):
    """Kahn's contexts: against what we expect ourselves, or against something outside."""

    VERIFICATION = "verification"
    VALIDATION = "validation"


class Scope(StrEnum):
    """What one answer of a check is about."""

    ROW = "row"
    WINDOW = "window"
    BATCH = "batch"
    PARTICIPANT = "participant"
    PARTICIPANT_DAY = "participant-day"
    PARTICIPANT_WEEK = "participant-week"
    STUDY_DAY = "study-day"
    STUDY_WEEK = "study-week"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Action(StrEnum):
    """What follows for what fails."""

    REJECT = "reject"
    HOLD = "hold"
    WITHHOLD = "withhold"
    QUARANTINE = "quarantine"
    FLAG = "flag"
    DROP = "drop"
    REPORT = "report"


class Where(StrEnum):
    """Where a check runs, in the order of a reading's way; `commit` is about the run, `job` comes after the commit."""

    NORMALISE = "normalise"
    CONSENT = "consent"
    MESSAGE = "message"
    GATE = "gate"
    LANDING = "landing"
    COMMIT = "commit"
    JOB = "job"


_IN_A_STUDY = frozenset({Action.QUARANTINE, Action.FLAG, Action.DROP, Action.REPORT})
ACTIONS: dict[Where, frozenset[Action]] = {
    Where.NORMALISE: frozenset({Action.REJECT}),
    Where.CONSENT: frozenset({Action.WITHHOLD, Action.HOLD}),
    Where.COMMIT: frozenset({Action.HOLD}),
    **dict.fromkeys((Where.MESSAGE, Where.GATE, Where.LANDING, Where.JOB), _IN_A_STUDY),
}
"""What may follow where: nothing is rejected or held any more once a study considers it."""

_REASONS: dict[Where, frozenset[str]] = {
    Where.NORMALISE: frozenset(Reason),
    Where.CONSENT: frozenset(Code),
    Where.LANDING: frozenset(Outcome),
}
_WITH_BITS = (Where.GATE, Where.MESSAGE)
_COUNTED = (Where.MESSAGE, Where.GATE, Where.LANDING)


class Thresholds(BaseModel):
    """Shares of what was evaluated, above which a failing check is a warning or an alarm; `alarm` None: never."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    warning: Share = 0.0
    alarm: Share | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.alarm is not None and self.alarm < self.warning:
            raise ValueError("the alarm must not be below the warning")
        return self


class Check(BaseModel):
    """One check.

    `families` and `metrics` limit what it is asked about, empty for all. `needs` are the columns that a row must have for
    it to apply, the same in all versions; of `a or b` one is enough, and so is a parameter of that name that is not 0.
    `parameters` are its numbers by name, with their unit in the name; by metric in the metric's unit; `study_sets` names
    those that only a study's registry gives, without which the check applies to nothing. `bit` is its place in a row's
    `flags`, for ever, and `mild_bit` that of what it finds and only flags. `reasons` are the words by which the ledger
    counts what it finds, where rows have no flags: reasons of rejection, codes of consent, an outcome.

    An active check finds the defect that tests plant for it; a dormant one says in `missing` what it waits for. `gx` is
    whether a Great Expectations suite judges it too, `no_gx` why not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: CheckId
    version: Annotated[int, Field(ge=1, lt=100)] = 1
    title: Title
    rule: Words
    dimension: Dimension
    context: Context = Context.VERIFICATION
    scope: Scope
    families: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    parameters: dict[str, Parameter] = {}
    study_sets: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()
    severity: Severity
    action: Action
    where: Where
    bit: Bit | None = None
    mild_bit: Bit | None = None
    reasons: tuple[str, ...] = ()
    source: Words
    gx: bool = False
    no_gx: str = ""
    missing: str = ""

    @property
    def is_active(self) -> bool:
        return not self.missing

    @property
    def is_counted(self) -> bool:
        """Whether its answers are counted of every row that lands, by the row's `flags`."""
        return self.is_active and self.bit is not None and self.where in _COUNTED

    @property
    def mask(self) -> int:
        """Its bits in `flags`; 0 where it has none."""
        return sum(1 << bit for bit in (self.bit, self.mild_bit) if bit is not None)

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """Of each of these sets of columns a row must have one for the check to apply."""
        sets = [need.split(" or ") for need in self.needs]
        open_sets = [names for names in sets if not any(self.parameters.get(name) for name in names)]
        return tuple(tuple(name for name in names if name not in self.parameters) for names in open_sets)

    def number(self, name: str) -> float:
        """A parameter that is one number."""
        value = self.parameters[name]
        assert isinstance(value, float | int)
        return float(value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """A parameter that is a list of numbers."""
        value = self.parameters[name]
        assert isinstance(value, tuple)
        return value

    def by_metric(self, name: str) -> dict[str, float]:
        """A parameter that is a number for each metric."""
        value = self.parameters[name]
        assert isinstance(value, dict)
        return value

    @model_validator(mode="after")
    def _says_what_follows(self) -> Self:
        if self.action not in ACTIONS[self.where]:
            raise ValueError(f"what follows in {self.where} is {' or '.join(sorted(ACTIONS[self.where]))}")
        if not set(self.reasons) <= _REASONS.get(self.where, frozenset()):
            raise ValueError("reasons are the ledger's words for what is found there")
        if self.where in (Where.NORMALISE, Where.CONSENT) and self.is_active and not self.reasons:
            raise ValueError("a check without flags needs the reasons by which it is counted")
        if self.where in _WITH_BITS and self.is_active and self.bit is None:
            raise ValueError("a check of rows needs a bit")
        if self.where == Where.LANDING and self.is_active and (self.bit is None) == (not self.reasons):
            raise ValueError("what a landing finds has a bit or an outcome")
        return self

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Self:
        if not set(self.families) <= set(READING_FAMILIES):
            raise ValueError("families must be those of readings")
        by_metric = [name for value in self.parameters.values() if isinstance(value, dict) for name in value]
        if not {*self.metrics, *by_metric} <= {*catalogue().metrics}:
            raise ValueError("metrics must be in the metric catalogue")
        if self.metrics and not set(by_metric) <= set(self.metrics):
            raise ValueError("numbers by metric must be of the check's metrics")
        if self.gx == bool(self.no_gx):
            raise ValueError("a check is in a suite, or says in no_gx why not")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    checks: tuple[Check, ...]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        ids = [check.id for check in self.checks]
        bits = [bit for check in self.checks for bit in (check.bit, check.mild_bit) if bit is not None]
        if len(set(ids)) != len(ids) or len(set(bits)) != len(bits):
            raise ValueError("an id or a bit is given twice")
        return self


def parse(text: str) -> dict[str, Check]:
    """The catalogue in a file's text, by id, in its order. CatalogueError where it is none."""
    try:
        found = _File.model_validate(yaml.load(text, Loader=SafeLoader))
    except ValidationError as error:
        raise CatalogueError(f"checks.yaml: {first_fault(error)}") from None
    except yaml.YAMLError:
        raise CatalogueError("checks.yaml: is not YAML") from None
    return {check.id: check for check in found.checks}


@cache
def checks() -> dict[str, Check]:
    """The project's catalogue by id, in its order, read once a process."""
    return parse(files("quality").joinpath("checks.yaml").read_text(encoding="utf-8"))


def quarantine_mask(of: Iterable[Check] | None = None) -> int:
    """The bits that hold a row back from its table, those of checks that are still dormant among them."""
    found = checks().values() if of is None else of
    return sum(1 << check.bit for check in found if check.action == Action.QUARANTINE and check.bit is not None)
