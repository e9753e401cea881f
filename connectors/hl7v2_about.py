"""HL7 v2, observations that are no results: what they say of the specimen or the run holds for all results of their order.

Which ones these are, the laboratory's mapping file says; without it every observation is a result.
"""

from typing import NamedTuple

from connectors.hl7v2_fields import (
    Marks,
    Segment,
    Unreadable,
    Wanted,
    check_letters,
    field,
    first_components,
    parsed,
    short,
)
from connectors.hl7v2_messages import Observation
from connectors.hl7v2_values import code_pair, value
from schemas.lab_entries import About
from schemas.lab_mapping import LabMapping

_WANTED = Wanted({"OBX": (2, 3, 5)})
_MOST = 2_000  # characters: what says more than a word or a number is a result, or nothing


class Said(NamedTuple):
    """What was said beside the results; `run` is the record of the contract, `haemolysis_index` in mg/dL."""

    run: dict[str, str | None] | None = None
    haemolysis_index: float | None = None


NOTHING = Said()


class Aside:
    """Tells the observations that are no results from those that are, by a laboratory's mapping."""

    def __init__(self, mapping: LabMapping) -> None:
        self._mapping = mapping
        self._asked = [one for one in (mapping.haemolysis, mapping.run, mapping.controls) if one is not None]
        self._codes = [one.code for one in self._asked]

    def of(self, observations: list[Observation], marks: Marks) -> tuple[Said, list[Observation]]:
        """What a group's observations say beside its results, and those that are results."""
        if not self._asked:
            return NOTHING, observations
        results, words = list[Observation](), dict[About, str]()
        for one in observations:
            about = self._about(one.text, marks)
            if about is None:
                results.append(one)
            else:
                words.setdefault(about[0], about[1])
        return self._said(words), results

    def _about(self, text: str, marks: Marks) -> tuple[About, str] | None:
        """What an observation is about that is no result, and the word or number that it says; "" where it says none."""
        if len(text) > _MOST or not any(code in text for code in self._codes):
            return None
        (segment,) = parsed([_WANTED.of(text, marks.field)], marks)
        try:
            check_letters(text)
            first, _ = code_pair(first_components(field(segment, 3), marks), marks, ())
            about = first and next(
                (one for one in self._asked if one.names(first["code"] or "", first["system"])), None
            )
            return (about, _word(segment, marks)) if about else None
        except Unreadable:
            return None

    def _said(self, words: dict[About, str]) -> Said:
        mapping, index, run = self._mapping, None, None
        if mapping.haemolysis in words:
            index = _number(words[mapping.haemolysis], mapping.haemolysis.mg_dl)
        if mapping.run in words or mapping.controls in words:
            number = words.get(mapping.run, "") if mapping.run else ""
            run = {"id": number or None, "controls": self._controls(words)}
        return Said(run, index)

    def _controls(self, words: dict[About, str]) -> str:
        controls = self._mapping.controls
        word = words.get(controls, "") if controls else ""
        if controls is None or not word:
            return "absent"
        return "passed" if word in controls.passed else "failed"


def _word(segment: Segment, marks: Marks) -> str:
    """The first component of the value, whatever its type."""
    return short(first_components(field(segment, 5), marks)[0], marks) or ""


def _number(word: str, factor: float) -> float | None:
    try:
        found = value("NM", [word], _PLAIN, ())
    except Unreadable:
        return None
    return None if found is None else found["number"]["number"] * factor


_PLAIN = Marks("|", "^", "~", "\\", "&", "utf-8")
