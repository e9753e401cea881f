"""What the source records of an app's exports mean: a data file per format says which metric a type is.

A file `<format>.yaml` maps a record's type, and that of each part of it, to a metric of the catalogue; how the app
writes units, to UCUM; and the app's codes, to the metric's. What a file does not name is unmapped: the pipeline
rejects it and counts it by type, so a later version of the file can land it by a replay.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.metrics import Metric, catalogue
from schemas.yaml_faults import first_fault, place_in_yaml
from schemas.yaml_loader import SafeLoader

MAPPINGS = Path(__file__).parent / "mappings"
CODES_UNIT = "1"

Word = Annotated[str, Field(min_length=1, max_length=200)]


class MappingError(Exception):
    """A mapping file that cannot be used; the text names the format, the type and what was expected."""


class Fact(BaseModel):
    """What one type means: its `metric`; `units` that this type writes otherwise than the format; `codes` of the source
    to the metric's; or `code` where the type itself is the code and its value is not one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    metric: Word
    units: dict[str, str] = {}
    codes: dict[str, str] = {}
    code: str | None = None

    @model_validator(mode="after")
    def _fits_the_catalogue(self) -> Self:
        metric = catalogue().get(self.metric)
        if metric is None or metric.family != "observation":
            raise ValueError("the metric must be an observation of the catalogue")
        codes = {*self.codes.values(), *([self.code] if self.code else [])}
        if (metric.value == "code") != bool(codes) or not codes <= {*metric.codes}:
            raise ValueError("codes must be given for a metric of codes, from its own set, and for no other")
        if any(metric.conversion(unit) is None for unit in self.units.values()):
            raise ValueError("a unit must be one of those that the metric may be sent in")
        return self


class ExportMapping(BaseModel):
    """A format's mapping. `unit_patterns` are regular expressions, for units that are written in several ways;
    `containers` are types that have no value of their own, only parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Word
    version: Annotated[int, Field(ge=1)]
    units: dict[str, str]
    unit_patterns: dict[str, str] = {}
    types: dict[Word, Fact]
    parts: dict[Word, Fact] = {}
    containers: frozenset[Word] = frozenset()

    def rule(self, kind: str, is_part: bool, unit: str | None) -> "Rule | None":
        """What facts of this type in this unit are; None where the file does not say."""
        fact = (self.parts if is_part else self.types).get(kind)
        if fact is None:
            return None
        metric = catalogue().get(fact.metric)
        assert metric is not None
        return Rule(metric, _unit(self, fact, metric, unit), fact.codes, fact.code)


@dataclass(frozen=True)
class Rule:
    """How facts of one type and unit are read: `unit` in UCUM, as written where nobody knows it."""

    metric: Metric
    unit: str
    codes: dict[str, str]
    code: str | None

    @property
    def is_coded(self) -> bool:
        return self.metric.value == "code"


def _unit(mapping: ExportMapping, fact: Fact, metric: Metric, unit: str | None) -> str:
    if metric.value == "code":
        return CODES_UNIT
    written = unit or ""
    found = fact.units.get(written) or mapping.units.get(written)
    patterns = mapping.unit_patterns.items()
    return found or next((ucum for pattern, ucum in patterns if re.fullmatch(pattern, written)), written)


@cache
def export_mapping(path: Path) -> ExportMapping:
    """The mapping in a file, read once; MappingError where it is wrong."""
    return read_mapping(path)


def read_mapping(path: Path) -> ExportMapping:
    """The mapping in a file; MappingError where it is wrong."""
    try:
        raw: Any = yaml.load(path.read_bytes(), Loader=SafeLoader)
        found = ExportMapping.model_validate(raw)
    except yaml.YAMLError as error:
        raise MappingError(f"{path.name} is not YAML{place_in_yaml(error)}") from None
    except ValidationError as error:
        raise MappingError(f"{path.name}, {first_fault(error)}") from None
    if found.format != path.stem:
        raise MappingError(f"{path.name}, format: expected the file's own name")
    return found
