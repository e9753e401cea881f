"""HL7 v2, the fields: segments taken apart by the library hl7, and only the fields that are wanted.

What is not wanted – names of patients, next of kin and performers among it – is cut away before anything is parsed.
The library makes plain lists here (its factory can be replaced), and never reads escapes: it would log the value where
one is wrong.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import hl7

from connectors.problems import ENCODING
from schemas.reasons import Reason

MOST_WANTED = 100_000
"""Characters of a segment that are taken apart: each may be a mark, and then costs a list."""

Field = list[Any]
"""A field as the library takes it apart, see `components`."""
Segment = list[Field]


class Unreadable(Exception):
    """An OBX, or what it belongs to, that cannot be read: the reason's word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Marks(NamedTuple):
    """What separates the parts of a message, what begins an escape, and the text's encoding."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str
    codec: str

    @property
    def header(self) -> str:
        """A message header of nothing but these, for the library to learn them from."""
        return f"MSH{self.field}{self.component}{self.repetition}{self.escape}{self.subcomponent}{self.field}"


_USUAL = "^~\\&"
_MOST = 5  # the fifth marks a text that was shortened, since 2.7


def marks_of(line: bytes, codec: str) -> Marks | None:
    """The marks in a header segment, the usual ones where it names fewer; None where they cannot be."""
    field = line[3:4].decode("latin-1")
    named = line[4:].split(line[3:4], 1)[0].decode("latin-1")
    chosen = named + _USUAL[len(named) :]
    used = field + chosen
    if len(named) > _MOST or len(set(used)) != len(used) or any(not _may_mark(letter) for letter in used):
        return None
    component, repetition, escape, subcomponent = list(chosen[:4])
    return Marks(field, component, repetition, escape, subcomponent, codec)


def _may_mark(letter: str) -> bool:
    return "!" <= letter <= "~" and not letter.isalnum()


class _Lists(hl7.Factory):  # type: ignore[misc]
    """Plain lists for the library's containers, which cost twice as much."""

    create_message = staticmethod(lambda sequence, **_: sequence)
    create_segment = staticmethod(lambda sequence, **_: sequence)
    create_field = staticmethod(lambda sequence, **_: sequence)
    create_repetition = staticmethod(lambda sequence, **_: sequence)
    create_component = staticmethod(lambda sequence, **_: sequence)


class Wanted:
    """The fields of each kind of segment that are wanted, by number from 1; all others are cut away."""

    def __init__(self, fields: Mapping[str, Iterable[int]]) -> None:
        self._keep = {name: _flags(numbers) for name, numbers in fields.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._keep

    def of(self, text: str, mark: str) -> str:
        """The segment with its other fields empty."""
        parts = zip(text.split(mark), self._keep[text[:3]], strict=False)
        return mark.join([part if keep else "" for part, keep in parts])


def _flags(numbers: Iterable[int]) -> tuple[bool, ...]:
    wanted = {0, *numbers}
    return tuple(number in wanted for number in range(max(wanted) + 1))


def parsed(segments: Sequence[str], marks: Marks) -> list[Segment]:
    """The segments taken apart; field n of one is its item n. What is in them is shared, and not to be changed.

    A field without a mark in it needs no taking apart, and codes, units and methods come again and again.
    """
    _, component, repetition, _, subcomponent, _ = marks
    header, found = marks.header, []
    for segment in segments:
        fields = []
        for text in segment.split(marks.field):
            if component not in text and repetition not in text and subcomponent not in text:
                fields.append([text])
            elif len(text) <= _MOST_REMEMBERED:
                fields.append(_remembered(text, header))
            else:
                fields.append(_taken_apart(text, header))
        found.append(fields)
    return found


def _taken_apart(text: str, header: str) -> Field:
    field = header[3]
    found: Field = hl7.parse(f"{header}\rZZZ{field}{text}{field}", factory=_Lists)[1][1]
    return found


_MOST_REMEMBERED = 500
_remembered = lru_cache(maxsize=20_000)(_taken_apart)


def check_letters(text: str) -> None:
    """Unreadable where a text holds what was no letter of its encoding."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unreadable(ENCODING) from None


def field(segment: Segment, number: int) -> Field:
    """A field by its number; an empty one where the segment ends before."""
    return segment[number] if number < len(segment) else [""]


def repetitions(one: Field, marks: Marks) -> list[list[str]]:
    """Each repetition's components; subcomponents stay joined as they were."""
    if isinstance(one[0], str):
        return [one]
    return [
        rep if isinstance(rep[0], str) else [c[0] if len(c) == 1 else marks.subcomponent.join(c) for c in rep]
        for rep in one
    ]


def first_components(one: Field, marks: Marks) -> list[str]:
    """The components of a field's first repetition."""
    return one if isinstance(one[0], str) else repetitions(one[:1], marks)[0]


def said(text: str) -> str | None:
    """A text without blanks around it; None for an empty one and for HL7's null."""
    text = text.strip()
    return text if text and text != '""' else None


_LINE_COMMANDS = (".br", ".sp", ".ce", ".ti", ".in")
_SILENT = {"H", "N", ".fi", ".nf"}
_OTHER_SET = re.compile(r"[CM]([0-9A-Fa-f]{4}|[0-9A-Fa-f]{6})")


def unescaped(text: str, marks: Marks) -> str:
    """The text with its escapes carried out; one that is unknown stays as it was.

    Unreadable where one switches to another character set.
    """
    if marks.escape not in text:
        return text
    pattern = re.escape(marks.escape)
    return re.sub(f"{pattern}([^{pattern}]*){pattern}", _reader(marks), text)


def _reader(marks: Marks) -> Callable[[re.Match[str]], str]:
    letters = {"F": marks.field, "S": marks.component, "T": marks.subcomponent, "R": marks.repetition}
    letters |= {"E": marks.escape, "P": "#"} | dict.fromkeys(_SILENT, "")

    def read(found: re.Match[str]) -> str:
        code = found[1]
        if code in letters:
            return letters[code]
        if code[:3] in _LINE_COMMANDS:
            return "\n" * max(1, min(9, int(code[3:]))) if code[:3] == ".sp" and code[3:].isdecimal() else "\n"
        if code[:3] == ".sk":
            return " "
        if code[:1] == "X":
            return _of_bytes(code[1:], marks.codec)
        if _OTHER_SET.fullmatch(code):
            raise Unreadable(ENCODING)
        return found[0]

    return read


def _of_bytes(digits: str, codec: str) -> str:
    try:
        return bytes.fromhex(digits).decode(codec)
    except ValueError:
        raise Unreadable(ENCODING) from None


def short(text: str, marks: Marks, most: int = 200) -> str | None:
    """A text without its escapes; None for none. Unreadable where it is longer than the contract takes."""
    found = said(unescaped(text, marks))
    if found and len(found) > most:
        raise Unreadable(Reason.FIELD)
    return found


def whole(segment: Segment, number: int, marks: Marks, most: int = 200) -> str | None:
    """All of a field's first repetition, as it was sent."""
    return short(marks.component.join(first_components(field(segment, number), marks)), marks, most)


def word(segment: Segment, number: int, marks: Marks) -> str | None:
    """The first component of a field, without what its second subcomponent says."""
    text = first_components(field(segment, number), marks)[0]
    return short(text.split(marks.subcomponent)[0], marks) if text else None


def words(segment: Segment, number: int, marks: Marks) -> list[str]:
    found = [short(parts[0], marks) for parts in repetitions(field(segment, number), marks)]
    return [word for word in found if word]


def by_the_library(message: str) -> object:
    """A message as the library alone takes it apart: what the connector's speed is measured beside."""
    return hl7.parse(message)
