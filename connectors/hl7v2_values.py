"""HL7 v2, the values: OBX-5 as its type in OBX-2 says, as a value of the contract. An empty one is none, never zero."""

import re
from collections.abc import Callable, Collection
from typing import Any

from connectors.hl7v2_fields import (
    Field,
    Marks,
    Segment,
    Unreadable,
    field,
    first_components,
    repetitions,
    said,
    unescaped,
)
from connectors.hl7v2_times import Clocks, moment, stamp, time_of_day
from connectors.problems import VALUE, VALUE_TYPE
from schemas.lab_results import MOST_TEXT, MOST_WORDS
from schemas.reasons import Reason

Value = dict[str, Any]
Code = dict[str, str | None]

LOINC = frozenset({"LN", "LOINC", "LOINC.ORG", "http://loinc.org", "2.16.840.1.113883.6.1"})
_STANDARD = LOINC | {"SCT", "SNOMED", "SNOMED CT", "http://snomed.info/sct", "2.16.840.1.113883.6.96"}

_PLAIN = r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?"
_NUMBER = re.compile(_PLAIN, re.ASCII)
_LIMIT = re.compile(rf"(<=|>=|<|>|≤|≥|=<|=>)\s*({_PLAIN})", re.ASCII)
_COMPARATORS = {"<": "less_than", "<=": "at_most", "=<": "at_most", "≤": "at_most"}
_COMPARATORS |= {">": "greater_than", ">=": "at_least", "=>": "at_least", "≥": "at_least"}
_RELATIONS = {"-": "range", ":": "ratio", "/": "ratio"}
_NO_CLOCK = Clocks((), None)


def code(parts: list[str], marks: Marks, first: int = 0) -> Code | None:
    """The code in three components from `first` on (code, text, system); a text alone stands for its code."""
    three = [said(unescaped(part, marks)) for part in parts[first : first + 3]]
    name, text, system = three + [None] * (3 - len(three))
    if name is None and text is None:
        return None
    if len(name or "") > 200 or len(text or "") > MOST_WORDS or len(system or "") > 200:
        raise Unreadable(Reason.FIELD)
    return {"code": name or (text or "")[:200], "system": system, "text": text}


def code_in(segment: Segment, number: int, marks: Marks) -> Code | None:
    """The code in a field's first repetition; None where the field is empty."""
    one = field(segment, number)
    return None if one == [""] else code(first_components(one, marks), marks)


def value(kind: str, content: Field, marks: Marks, not_detected: Collection[str]) -> Value | None:
    """The value that a field of type `kind` holds, as `{form: …}`; None where it holds nothing.

    `form` is number, codes, text or time, with a value of the contract; of a text it is the text alone. Unreadable where
    the field is not what its type says, or of a type that is not carried.
    """
    if all(said(part) is None for parts in repetitions(content, marks) for part in parts):
        return None
    read = _READERS.get(kind)
    if read is None:
        raise Unreadable(VALUE_TYPE)
    found = read(content, marks, not_detected)
    return None if found.get("text") == "" else found


def _number(content: Field, marks: Marks, not_detected: Collection[str]) -> Value:
    written = _single(content, marks)
    if found := limit(written, not_detected) or _number_of(written):
        return {"number": found}
    raise Unreadable(VALUE)


def _short_text(content: Field, marks: Marks, not_detected: Collection[str]) -> Value:
    """A text; a limit such as `<5`, which a numeric type has no place for, is one all the same."""
    found = _text(content, marks, not_detected)
    if len(found["text"]) <= 200 and (limited := limit(found["text"], not_detected)):
        return {"number": limited}
    return found


def _text(content: Field, marks: Marks, _: Collection[str]) -> Value:
    """A text's repetitions are its lines; a mark that was not escaped is part of it."""
    lines = [marks.component.join(parts) for parts in repetitions(content, marks)]
    text = "\n".join(unescaped(line, marks).rstrip() for line in lines).strip()
    if len(text) > MOST_TEXT:
        raise Unreadable(Reason.TOO_LARGE)
    return {"text": text}


def _structured(content: Field, marks: Marks, not_detected: Collection[str]) -> Value:
    """SN: comparator, number, separator, number – `<^5`, `^182`, `^1^:^80`, `^2^+`."""
    if len(content) > 1:
        raise Unreadable(VALUE)
    parts = [unescaped(part, marks).strip() for part in first_components(content, marks)]
    if len(parts) == 1:
        return _number(content, marks, not_detected)
    sign, first, relation, second, *_ = parts + [""] * 4
    number = _number_of(first)
    if number is None or (sign not in ("", "=") and sign not in _COMPARATORS):
        raise Unreadable(VALUE)
    number |= {"written": "".join(parts)[:200], "comparator": _COMPARATORS.get(sign)}
    if relation in _RELATIONS and _NUMBER.fullmatch(second):
        return {"number": number | {"relation": _RELATIONS[relation], "second": float(second)}}
    if second or relation not in ("", "+"):
        raise Unreadable(VALUE)
    return {"number": number | {"relation": "graded" if relation else None}}


def _range(content: Field, marks: Marks, not_detected: Collection[str]) -> Value:
    """NR: from, to."""
    low, high, *_ = first_components(content, marks) + [""]
    return _structured([[[""], [low], ["-"], [high]]], marks, not_detected)


def _coded(content: Field, marks: Marks, _: Collection[str]) -> Value:
    pairs = [code_pair(parts, marks, _STANDARD) for parts in repetitions(content, marks)]
    codes = [one for one, _ in pairs if one]
    if not codes:
        raise Unreadable(VALUE)
    return {"codes": {"codes": codes, "other_codes": [other for _, other in pairs if other]}}


def code_pair(parts: list[str], marks: Marks, first: Collection[str]) -> tuple[Code | None, Code | None]:
    """The code and the other one that was sent for the same; one of a system in `first` goes before another.

    The ninth component of a CWE, what was written before anybody coded it, stands in for both.
    """
    one = code(parts, marks)
    other = code(parts, marks, 3) if len(parts) > 3 else None
    if other and (one is None or (one["system"] not in first and other["system"] in first)):
        one, other = other, one
    return one or code(["", *parts[8:9]], marks), other


def _moment(content: Field, marks: Marks, _: Collection[str]) -> Value:
    written = _single(content, marks)
    if found := stamp(written):
        return {"time": {"written": written, "moment": moment(found, None, _NO_CLOCK), "time_of_day": None}}
    raise Unreadable(VALUE)


def _time(content: Field, marks: Marks, _: Collection[str]) -> Value:
    written = _single(content, marks)
    found = time_of_day(written)
    if found is None:
        raise Unreadable(VALUE)
    return {"time": {"written": written, "moment": None, "time_of_day": found}}


def _single(content: Field, marks: Marks) -> str:
    """The first component of a field that has no repetitions; of a time the second is its precision, long withdrawn."""
    written = unescaped(first_components(content, marks)[0], marks).strip()
    if len(content) > 1 or len(written) > 200:
        raise Unreadable(VALUE)
    return written


def limit(text: str, not_detected: Collection[str]) -> dict[str, Any] | None:
    """The limit in `<5`, `>= 10`, `ND` or `ND <5`; None where a text is none."""
    if found := _LIMIT.fullmatch(text):
        return _plain(text, float(found[2])) | {"comparator": _COMPARATORS[found[1]]}
    word = next((one for one in not_detected if text.startswith(one)), None)
    if word is None:
        return None
    rest = text[len(word) :].strip().removeprefix("(").removesuffix(")").strip()
    found = _LIMIT.fullmatch(rest) if rest.startswith(("<", "≤")) else None
    if rest and found is None:
        return None
    return _plain(text, float(found[2]) if found else None) | {"comparator": "not_detected"}


def _number_of(text: str) -> dict[str, Any] | None:
    return _plain(text, float(text)) if _NUMBER.fullmatch(text) else None


def _plain(written: str, number: float | None) -> dict[str, Any]:
    if number is not None and number in (float("inf"), float("-inf")):
        raise Unreadable(Reason.NOT_FINITE)
    return {"written": written, "comparator": None, "number": number, "relation": None, "second": None}


_READERS: dict[str, Callable[[Field, Marks, Collection[str]], Value]] = {
    "NM": _number,
    "SN": _structured,
    "NR": _range,
    "ST": _short_text,
    "TX": _text,
    "FT": _text,
    "CE": _coded,
    "CWE": _coded,
    "CNE": _coded,
    "CF": _coded,
    "IS": _coded,
    "ID": _coded,
    "DT": _moment,
    "TS": _moment,
    "DTM": _moment,
    "TM": _time,
}

TYPES = frozenset(_READERS)
"""The types in OBX-2 that are carried."""
