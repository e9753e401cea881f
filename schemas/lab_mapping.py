"""A laboratory's mapping file: where its messages name the kit or person, and what its own codes and units mean.

The connector uses what is about the messages (`subject`, `zone`, `encoding`, `not_detected`, and which observations are
about the specimen or the run: `haemolysis`, `run`, `controls`). `codes`, `values`, `units`, `limits`, `conditions` and
`rejections` are used behind Kafka, so that a mistake in them is mended by a replay, not by asking the laboratory again.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from schemas.headers import Text
from schemas.lab_codes import plain
from schemas.lab_entries import (
    About,
    AssayLimits,
    Controls,
    Entry,
    Haemolysis,
    LocalCode,
    LocalCondition,
    LocalRejection,
    LocalValue,
    SubjectField,
)
from schemas.lab_units import is_known, spelled
from schemas.metrics import Metric
from schemas.registry import Zone
from schemas.yaml_faults import first_fault, place_in_yaml


class LabMappingError(Exception):
    """A mapping file that cannot be used; the text names the entry and what is wrong with it, never a value."""


class LabMapping(Entry):
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
    limits: tuple[AssayLimits, ...] = ()
    conditions: tuple[LocalCondition, ...] = ()
    rejections: tuple[LocalRejection, ...] = ()
    haemolysis: Haemolysis | None = None
    run: About | None = None
    controls: Controls | None = None

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

    def limits_of(self, code: str, system: str | None) -> AssayLimits | None:
        """What the assay of a code can measure; an entry with a system is about codes of that system only."""
        return self._limits_by_code.get((code, system)) or self._limits_by_code.get((code, None))

    @cached_property
    def _limits_by_code(self) -> dict[tuple[str, str | None], AssayLimits]:
        return {(entry.code, entry.system): entry for entry in self.limits}

    @cached_property
    def condition_words(self) -> Mapping[str, str]:
        """The laboratory's own codes of conditions, as they are looked up."""
        return {plain(entry.sent): entry.means for entry in self.conditions}

    @cached_property
    def rejection_words(self) -> Mapping[str, str]:
        """The laboratory's own codes of why it rejected a specimen, as they are looked up."""
        return {plain(entry.sent): entry.means for entry in self.rejections}

    @model_validator(mode="after")
    def _is_one_voice(self) -> Self:
        about = [(one.code, one.system) for one in (self.haemolysis, self.run, self.controls) if one is not None]
        if len(set(about)) != len(about):
            raise ValueError("haemolysis, run and controls must have codes of their own")
        if len(self._limits_by_code) != len(self.limits):
            raise ValueError("limits has the same code and system twice")
        if len(self.condition_words) != len(self.conditions) or len(self.rejection_words) != len(self.rejections):
            raise ValueError("conditions or rejections has the same code twice")
        if not all(is_known(entry.unit) for entry in self.limits if entry.unit is not None):
            raise ValueError("the unit of limits must be a UCUM unit of schemas/lab_units.yaml or the metric catalogue")
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
