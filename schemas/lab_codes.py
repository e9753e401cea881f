"""Codes and words that laboratories send as values: the reviewed table to the catalogue's codes, `lab_codes.yaml`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from schemas.metrics import Name
from schemas.units import Entry, Text
from schemas.yaml_loader import SafeLoader

TABLE = Path(__file__).with_name("lab_codes.yaml")
LOINC = "LN"

Meanings = tuple[str, ...]


class LabCodesError(Exception):
    """A table of codes that contradicts itself; the text names the code, the word or the system."""


class Term(Entry):
    """One thing that a value can say: what the catalogue calls it, and the codes (by system) and words that say it.

    A metric takes the first of `means` that is one of its codes. `words` are lists, one a language or so.
    """

    means: tuple[Name, ...]
    codes: dict[Text, tuple[Text, ...]]
    words: tuple[tuple[Text, ...], ...]


class _Sheet(Entry):
    systems: dict[Text, tuple[Text, ...]]
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class LabCodes:
    """`systems`: the name here of a coding system as sent. `codes`: what a (system, code) means, `words` what a word."""

    systems: dict[str, str]
    codes: dict[tuple[str, str], Meanings]
    words: dict[str, Meanings]
    terms: tuple[Term, ...]


def plain(words: str) -> str:
    """Words as they are looked up: single blanks, and no difference between capitals and small letters."""
    return " ".join(words.split()).casefold()


@lru_cache(maxsize=1)
def lab_codes() -> LabCodes:
    """The project's table, read once a process."""
    return parse(TABLE.read_text(encoding="utf-8"))


def parse(content: str) -> LabCodes:
    """The table in a YAML text; LabCodesError where a code or a word stands for two things."""
    sheet = _Sheet.model_validate(yaml.load(content, Loader=SafeLoader))
    systems = [(name, name) for name in sheet.systems]
    systems += [(synonym, name) for name, synonyms in sheet.systems.items() for synonym in synonyms]
    codes = [(one, term.means) for term in sheet.terms for one in _codes(term)]
    words = [(plain(word), term.means) for term in sheet.terms for language in term.words for word in language]
    for keys in (systems, codes, words):
        twice = [key for key, count in Counter(key for key, _ in keys).items() if count > 1]
        if twice:
            raise LabCodesError(f"{twice[0]} stands twice")
    strange = {system for term in sheet.terms for system in term.codes} - sheet.systems.keys()
    if strange:
        raise LabCodesError(f"{min(strange)} is not one of the systems")
    return LabCodes(dict(systems), dict(codes), dict(words), sheet.terms)


def _codes(term: Term) -> Iterator[tuple[str, str]]:
    return ((system, code) for system, codes in term.codes.items() for code in codes)
