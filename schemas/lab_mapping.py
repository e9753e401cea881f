"""A laboratory's mapping file: where its messages name the kit or person, and what its own codes and units mean.

The connector uses what is about the messages (`subject`, `zone`, `encoding`, `not_detected`). `codes`, `values` and
`units` are used behind Kafka, so that a mistake in them is mended by a replay, not by asking the laboratory again.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from schemas.headers import Text
from schemas.lab_codes import plain
from schemas.lab_units import is_known, spelled
from schemas.metrics import LABORATORY_FAMILIES, Metric, catalogue, is_loinc
from schemas.registry import Zone
from schemas.yaml_faults import first_fault, place_in_yaml

IDENTIFIER_FIELDS = frozenset(
    {
        "PID-2", "PID-3", "PID-4", "PID-18", "SPM-2", "SPM-3", "SPM-30", "SPM-31", "SAC-3", "SAC-4",
        "OBR-2", "OBR-3", "ORC-2", "ORC-3", "ORC-4",
    }
)  # fmt: skip
"""The fields that a mapping may name: numbers of people, specimens and orders. Names and addresses have no place here."""

_FIELD = re.compile(r"(?P<field>[A-Z]{3}-[0-9]{1,2})(\.(?P<component>[1-9]))?")


class LabMappingError(Exception):
    """A mapping file that cannot be used; the text names the entry and what is wrong with it, never a value."""


class _Entry(BaseModel):
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


class SubjectField(_Entry):
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


class LocalCode(_Entry):
    """What one of the laboratory's own codes is: a LOINC code, a metric of the catalogue, or both."""

    code: Text
    system: Text | None = None
    loinc: Annotated[str, AfterValidator(_loinc)] | None = None
    metric: Annotated[str, AfterValidator(_metric)] | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if self.loinc is None and self.metric is None:
            raise ValueError("needs loinc, metric or both")
        return self


class LocalValue(_Entry):
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


class LabMapping(_Entry):
    """What is known of a laboratory. Without a file: the barcode is in SPM-2, else OBR-3, and nothing else is known.

    `encoding` is that of messages which do not name theirs, `zone` the clock of times that have no offset and cannot
    borrow one; `not_detected` the words for a value below the limit of detection.
    """

    laboratory: Text | None = None
    version: Annotated[int, Field(ge=1)] = 1
    subject: Annotated[tuple[SubjectField, ...], Field(min_length=1)] = (
        SubjectField(kind="kit", field="SPM-2"),
        SubjectField(kind="kit", field="OBR-3"),
    )
    zone: Zone | None = None
    encoding: Annotated[str, StringConstraints(min_length=1, max_length=40)] | None = None
    not_detected: tuple[Text, ...] = ("ND", "N.D.")
    codes: tuple[LocalCode, ...] = ()
    values: tuple[LocalValue, ...] = ()
    units: dict[Text, Text] = Field(default_factory=dict)

    @cached_property
    def unit_synonyms(self) -> Mapping[str, str]:
        """The laboratory's own spellings, as they are looked up, and the UCUM unit of each."""
        return {spelled(sent): unit for sent, unit in self.units.items()}

    def local_code(self, code: str, system: str | None) -> LocalCode | None:
        """What a code means; an entry with a system is about codes of that system only."""
        return self._by_code.get((code, system)) or self._by_code.get((code, None))

    @cached_property
    def _by_code(self) -> dict[tuple[str, str | None], LocalCode]:
        return {(entry.code, entry.system): entry for entry in self.codes}

    def local_value(self, sent: str, system: str | None, metric: Metric) -> str | None:
        """The metric's code for a word or code as sent; what names the metric, then the system, goes before the rest."""
        known = self._by_value
        if not known:
            return None
        word = plain(sent)
        for key in ((word, system, metric.code), (word, None, metric.code), (word, system, None), (word, None, None)):
            if known.get(key) in metric.codes:
                return known[key]
        return None

    @cached_property
    def _by_value(self) -> dict[tuple[str, str | None, str | None], str]:
        return {(plain(entry.sent), entry.system, entry.metric): entry.means for entry in self.values}

    @model_validator(mode="after")
    def _is_one_voice(self) -> Self:
        if len(self._by_code) != len(self.codes):
            raise ValueError("codes has the same code and system twice")
        if len(self._by_value) != len(self.values):
            raise ValueError("values has the same value, system and metric twice")
        if len(self.unit_synonyms) != len(self.units):
            raise ValueError("units has the same spelling twice")
        if not all(is_known(unit) for unit in self.units.values()):
            raise ValueError("units must stand for UCUM units of schemas/lab_units.yaml or the metric catalogue")
        return self


class _File(LabMapping):
    laboratory: Text


def load_lab_mapping(path: Path) -> LabMapping:
    """The mapping in a YAML file, which must name its laboratory; LabMappingError where it is not what it should be."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise LabMappingError("the laboratory's mapping file cannot be read") from None
    return parse(content)


def parse(content: str) -> LabMapping:
    """The mapping in a YAML text; LabMappingError names the entry at fault and what it should be."""
    try:
        raw: Any = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise LabMappingError(f"the laboratory's mapping file is not YAML{place_in_yaml(error)}") from None
    try:
        return _File.model_validate(raw)
    except ValidationError as error:
        raise LabMappingError(f"the laboratory's mapping file: {first_fault(error)}") from None
