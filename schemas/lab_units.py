"""Units as laboratories write them: the reviewed table from spellings to UCUM, `lab_units.yaml`."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import yaml

from schemas.metrics import catalogue
from schemas.units import Entry, Unit
from schemas.yaml_loader import SafeLoader

TABLE = Path(__file__).with_name("lab_units.yaml")
_MICRO = str.maketrans({"\u00b5": "u", "\u03bc": "u"})
_NONE: Mapping[str, str] = MappingProxyType({})


class LabUnitsError(Exception):
    """A table of units that contradicts itself; the text names the spelling."""


class _Sheet(Entry):
    units: dict[Unit, tuple[str, ...]]


def ucum(sent: str, of_laboratory: Mapping[str, str] = _NONE) -> str | None:
    """The UCUM unit that a spelling stands for; None where nobody has reviewed it.

    What a laboratory says of its own spellings goes before the table.
    """
    spelling = spelled(sent)
    return of_laboratory.get(spelling) or spellings().get(spelling)


def spelled(sent: str) -> str:
    """A spelling as it is looked up: single blanks, and u for either micro sign."""
    return " ".join(sent.translate(_MICRO).split())


def is_known(unit: str) -> bool:
    """Whether a UCUM unit is one that the table or the catalogue of metrics speaks of."""
    taken = {unit for quantity in catalogue().quantities.values() for unit in quantity.units}
    return unit in taken or spellings().get(unit) == unit


@lru_cache(maxsize=1)
def spellings() -> dict[str, str]:
    """The UCUM unit by every spelling, its own among them."""
    return parse(TABLE.read_text(encoding="utf-8"))


def parse(content: str) -> dict[str, str]:
    """The table in a YAML text; LabUnitsError where a spelling stands for two units."""
    sheet = _Sheet.model_validate(yaml.load(content, Loader=SafeLoader))
    found = {unit: unit for unit in sheet.units}
    for unit, synonyms in sheet.units.items():
        for synonym in synonyms:
            if found.setdefault(spelled(synonym), unit) != unit:
                raise LabUnitsError(f"{spelled(synonym)} stands for two units")
    return found
