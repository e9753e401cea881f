"""The metric catalogue, read from `metrics.yaml` and judged as a whole: one row a metric, and everything derives from it."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from schemas.units import Conversion, Entry, Quantity, Text
from schemas.yaml_loader import SafeLoader

CATALOGUE = Path(__file__).with_name("metrics.yaml")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
CheckId = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}-\d{2}$")]
FamilyName = Literal["observation", "waveform", "lab_result", "answer", "feature_count", "genotype", "narrative"]
Kind = Literal["instant", "interval", "daily_total", "block", "timeless"]
Value = Literal["number", "code", "text"]

LABORATORY_FAMILIES: frozenset[FamilyName] = frozenset(("lab_result", "answer"))
"""The families of what laboratories send: results, and answers to the questions asked with them."""


class CatalogueError(Exception):
    """A catalogue that cannot be used; the text names the entry, the field and what is wrong with it."""


class Category(Entry):
    """How sensitive a metric is. `by_name_only`: no grant by category covers it, each metric must be named."""

    title: Text
    by_name_only: bool


class Range(Entry):
    """Lowest and highest value, both allowed, in the canonical unit."""

    low: Number
    high: Number
    source: Text

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class PlausibleRange(Range):
    """A range outside which the check `check` flags a reading."""

    check: CheckId


class Rate(Entry):
    """Highest value for each second or minute of a reading's interval, in the canonical unit."""

    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    source: Text


class PlausibleRate(Rate):
    """A rate above which the check `check` flags a reading."""

    check: CheckId


class Metric(Entry):
    """What a metric is. Ranges, rates and channels are in the canonical unit; `codes` gives each code its meaning.

    `kind` is the form its readings have: at an instant, over an interval, one for a civil day, a block of a signal, or
    without a time. `hard` is what is possible at all (outside: quarantined), `plausible` what is likely (outside:
    flagged). `channels` names the channels of a block and their ranges where they are fixed. `loinc_also` are codes of a
    laboratory that say the same of another method or property (moles for mass): one code belongs to one metric only.
    `several` is whether a device may say several values of one moment, as one notification does of several beats.
    """

    code: Name
    title: Text
    family: FamilyName
    kind: Kind
    value: Value
    quantity: Quantity
    category: Name
    loinc: str | None = None
    loinc_also: tuple[str, ...] = ()
    loinc_note: Text | None = None
    hard: Range | None = None
    plausible: PlausibleRange | None = None
    hard_per_second: Rate | None = None
    plausible_per_minute: PlausibleRate | None = None
    channels: dict[Name, Range] = Field(default_factory=dict)
    codes: dict[Name, Text] = Field(default_factory=dict)
    several: bool = False
    note: Text | None = None

    @property
    def unit(self) -> str:
        return self.quantity.unit

    @property
    def units(self) -> tuple[str, ...]:
        """Allowed units in UCUM, the canonical one among them."""
        return tuple(self.quantity.units)

    @property
    def synonyms(self) -> dict[str, str]:
        """Allowed spellings that are not UCUM, or mean something else there, and the unit each stands for."""
        return self.quantity.synonyms

    @property
    def loincs(self) -> tuple[str, ...]:
        """Every LOINC code of the metric, its own first."""
        return ((self.loinc,) if self.loinc else ()) + self.loinc_also

    def conversion(self, unit: str) -> Conversion | None:
        """How values sent in `unit` become canonical; None where the metric does not take that unit."""
        return self.quantity.conversions.get(unit)

    @model_validator(mode="after")
    def _names_its_meaning(self) -> Self:
        if bool(self.codes) != (self.value == "code"):
            raise ValueError("codes must be given for a metric whose value is a code, and for no other")
        if (self.value == "text") != (self.family == "narrative"):
            raise ValueError("a text belongs to the family narrative, and nothing else does")
        if (self.kind == "block") != (self.family == "waveform"):
            raise ValueError("a block belongs to the family waveform, and nothing else does")
        if self.loinc is None and self.loinc_note is None:
            raise ValueError("without a LOINC code a loinc_note must say why")
        if not all(is_loinc(code) for code in self.loincs):
            raise ValueError("loinc must be digits, a hyphen and the right check digit")
        if self.loinc_also and not (self.loinc and self.family in LABORATORY_FAMILIES):
            raise ValueError("loinc_also belongs beside a loinc, to a laboratory's results and answers")
        return self

    @model_validator(mode="after")
    def _bounds_its_values(self) -> Self:
        limits = (self.hard, self.plausible, self.hard_per_second, self.plausible_per_minute)
        if self.value != "number" and any(limit is not None for limit in limits):
            raise ValueError("only a number has a range or a rate")
        if self.plausible and not (self.hard and _inside(self.plausible, self.hard)):
            raise ValueError("the plausible range must lie inside the hard one")
        if (self.hard_per_second or self.plausible_per_minute) and self.kind != "interval":
            raise ValueError("only a metric over intervals has a rate")
        if _faster(self.plausible_per_minute, self.hard_per_second):
            raise ValueError("the plausible rate must not exceed the hard one")
        if self.channels and self.kind != "block":
            raise ValueError("only a block has channels")
        return self


@dataclass(frozen=True)
class Catalogue:
    """Every metric by code, in the order of the file; `index` numbers them, `version` is a hash of the file."""

    metrics: dict[str, Metric]
    quantities: dict[str, Quantity]
    categories: dict[str, Category]
    version: str

    @cached_property
    def codes(self) -> tuple[str, ...]:
        return tuple(self.metrics)

    @cached_property
    def index(self) -> dict[str, int]:
        return {code: number for number, code in enumerate(self.codes)}

    def get(self, code: str) -> Metric | None:
        return self.metrics.get(code)

    def of_loinc(self, code: str) -> Metric | None:
        """The laboratory's result or answer that a LOINC code names; sensors' metrics are not asked."""
        return self._by_loinc.get(code)

    @cached_property
    def _by_loinc(self) -> dict[str, Metric]:
        return {code: metric for metric in self.of_laboratories for code in metric.loincs}

    @cached_property
    def of_laboratories(self) -> tuple[Metric, ...]:
        """The metrics of laboratories' results and answers."""
        return tuple(metric for metric in self.metrics.values() if metric.family in LABORATORY_FAMILIES)


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The project's catalogue, read once a process."""
    return parse(CATALOGUE.read_bytes())


def parse(content: bytes) -> Catalogue:
    """The catalogue in a YAML file's content; CatalogueError names the entry and the field at fault."""
    try:
        raw = yaml.load(content, Loader=_OnceOnly)
    except yaml.YAMLError as error:
        raise CatalogueError(f"the metric catalogue is not YAML: {error}") from None
    try:
        quantities = _Quantities.model_validate(raw).quantities
        sheet = _Sheet.model_validate(raw | {"quantities": quantities, "metrics": _rows(raw, quantities)})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise CatalogueError(f"metric catalogue: {_place(raw, first['loc'])}: {first['msg']}") from None
    metrics = {metric.code: metric for metric in sheet.metrics}
    return Catalogue(metrics, quantities, sheet.categories, hashlib.sha256(content).hexdigest()[:12])


def is_loinc(code: str) -> bool:
    """Whether a code is digits, a hyphen and the check digit that Luhn's algorithm (mod 10) gives them."""
    if not re.fullmatch(r"[0-9]{1,7}-[0-9]", code):
        return False
    total = 0
    for place, digit in enumerate(reversed(code.replace("-", ""))):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


class _Quantities(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    quantities: dict[Name, Quantity]


class _Sheet(Entry):
    categories: dict[Name, Category]
    quantities: dict[Name, Quantity]
    metrics: tuple[Metric, ...]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        twice = [code for code, count in Counter(metric.code for metric in self.metrics).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]} is listed twice")
        for metric in self.metrics:
            if metric.category not in self.categories:
                raise ValueError(f"{metric.code} has a category that is not listed")
        _one_metric_a_code(self.metrics)
        return self


class _OnceOnly(SafeLoader):  # type: ignore[misc]
    """YAML in which a key may stand once in a mapping; PyYAML lets the last one win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice in a mapping", node.start_mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _rows(raw: dict[str, Any], quantities: dict[str, Quantity]) -> Any:
    """The metrics' rows, each with its quantity in place of the quantity's name; metrics then share the object."""
    rows = raw.get("metrics")
    if not isinstance(rows, list):
        return rows
    return [row | {"quantity": _named(row, quantities)} if isinstance(row, dict) else row for row in rows]


def _named(row: dict[str, Any], quantities: dict[str, Quantity]) -> Quantity:
    name = row.get("quantity")
    if name not in quantities:
        raise CatalogueError(f"metric catalogue: {row.get('code')}.quantity: must be the name of one of the quantities")
    return quantities[name]


def _place(raw: dict[str, Any], path: tuple[int | str, ...]) -> str:
    """A path with the code of the metric in place of its number in the list."""
    parts: list[str] = [str(part) for part in path]
    if len(path) > 1 and path[0] == "metrics" and isinstance(path[1], int):
        row = raw["metrics"][path[1]]
        parts[:2] = [str(row["code"]) if isinstance(row, dict) and "code" in row else f"metric {path[1] + 1}"]
    return ".".join(parts) or "the whole"


def _one_metric_a_code(metrics: tuple[Metric, ...]) -> None:
    """ValueError where a LOINC code names two of the metrics that laboratories send: a result could be either."""
    codes = Counter(code for metric in metrics if metric.family in LABORATORY_FAMILIES for code in metric.loincs)
    twice = [code for code, count in codes.items() if count > 1]
    if twice:
        raise ValueError(f"the LOINC code {twice[0]} names two metrics of laboratories")


def _inside(inner: Range, outer: Range) -> bool:
    return outer.low <= inner.low and inner.high <= outer.high


def _faster(per_minute: Rate | None, per_second: Rate | None) -> bool:
    return per_minute is not None and per_second is not None and per_minute.limit > 60 * per_second.limit
