"""What a laboratory's codes, words and units are in the catalogue's language: asked for every result, so dictionaries only.

Whoever reviewed last and knows most is asked first: LOINC, then the laboratory's own mapping file, then the tables.
Nothing is guessed; None means that nobody has said.
"""

from collections.abc import Sequence

from schemas.lab_codes import LOINC, lab_codes, plain
from schemas.lab_mapping import LabMapping
from schemas.lab_units import spelled, ucum
from schemas.metrics import Metric, catalogue
from schemas.units import Conversion


def metric_of(
    code: str, system: str | None, other_code: str | None, other_system: str | None, laboratory: LabMapping | None
) -> Metric | None:
    """The result or answer that a laboratory's code names, or that the other code does which was sent beside it."""
    found = _named(code, system, laboratory)
    if found is None and other_code is not None:
        return _named(other_code, other_system, laboratory)
    return found


def _named(code: str, system: str | None, laboratory: LabMapping | None) -> Metric | None:
    """By LOINC (a code without a system is one where the catalogue knows it), else by the laboratory's own words."""
    if system is None or lab_codes().systems.get(system) == LOINC:
        found = catalogue().of_loinc(code)
        if found is not None:
            return found
    own = laboratory.local_code(code, system) if laboratory else None
    if own is None:
        return None
    if own.metric is not None:
        return catalogue().get(own.metric)
    return catalogue().of_loinc(own.loinc) if own.loinc else None


def coded_value(
    metric: Metric, codes: Sequence[tuple[str, str | None, str | None]], laboratory: LabMapping | None
) -> str | None:
    """The metric's code for a value of (code, system, text): by its codes, else by its words; None where none is known.

    A text is asked only where no code is known, and a code is read as a word only where its system is not known.
    """
    table = lab_codes()
    for code, system, _ in codes:
        own = laboratory.local_value(code, system, metric) if laboratory else None
        if own is not None:
            return own
        if system is not None:
            found = _known(metric, table.codes.get((table.systems.get(system, ""), code), ()))
            if found is not None:
                return found
    for code, system, text in codes:
        unnamed = system is None or system not in table.systems
        found = worded_value(metric, code, laboratory) if unnamed else None
        if found is None and text is not None:
            found = worded_value(metric, text, laboratory)
        if found is not None:
            return found
    return None


def worded_value(metric: Metric, words: str, laboratory: LabMapping | None) -> str | None:
    """The metric's code for a value in words; None where none is known."""
    own = laboratory.local_value(words, None, metric) if laboratory else None
    return own if own is not None else _known(metric, lab_codes().words.get(plain(words), ()))


def _known(metric: Metric, meanings: Sequence[str]) -> str | None:
    for meaning in meanings:
        if meaning in metric.codes:
            return meaning
    return None


def unit_of(metric: Metric, sent: str | None, laboratory: LabMapping | None) -> Conversion | None:
    """How a number in the unit as sent becomes canonical; None where the metric does not take it.

    Without a unit only what has none is taken: a pure number, a count, a score, a pH. A code has no unit, so what
    stands beside it says nothing.
    """
    if metric.value == "code" or (sent is None and _is_pure(metric.unit)):
        return metric.conversion(metric.unit)
    if sent is None:
        return None
    own = laboratory.unit_synonyms.get(spelled(sent)) if laboratory else None
    if own is not None:
        return metric.conversion(own)
    found = metric.conversion(sent)
    if found is not None:
        return found
    reviewed = ucum(sent)
    return metric.conversion(reviewed) if reviewed is not None else None


def _is_pure(unit: str) -> bool:
    """Whether a unit of UCUM counts or compares, so that laboratories leave it out."""
    return unit in ("1", "[pH]") or (unit.startswith("{") and unit.endswith("}"))
