"""Formats: what a source's file becomes. A format is a function from a binary stream to batches of source records.

A module makes a format known by `register(Format(...))`. The built-in ones are imported here; others are found by the
entry point group `wellspring.formats`, whose entries name modules.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

import pyarrow as pa

HEAD_BYTES = 64 * 1024

_BUILT_IN = ("connectors.apple_health", "connectors.hl7v2")
_GROUP = "wellspring.formats"
_KINDS = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "something packed with gzip",
    b"\xff\xfe": "a text in UTF-16",
    b"\xfe\xff": "a text in UTF-16",
    b"MSH|": "HL7 v2 messages",
    b"FHS|": "HL7 v2 messages",
    b"BHS|": "HL7 v2 messages",
    b"<?xml": "some other XML",
    b"<": "some other XML or HTML",
    b"{": "JSON",
    b"[": "JSON",
}
"""What a file seems to be by its first bytes, for words only; a registered format goes before."""


class Problem(NamedTuple):
    """One source record that could not be read: why (a reason's word), where (line, byte or segment, never a value), and
    its type where that much is known."""

    reason: str
    place: str
    type: str | None = None


class NotRead(NamedTuple):
    """What a file also holds, and this format does not carry: what, and where or how many."""

    what: str
    place: str


class Partial(NamedTuple):
    """Where a file stopped being readable, and why; what came before has been read. Nothing follows it."""

    place: str
    why: str


Found: TypeAlias = pa.RecordBatch | Problem | NotRead | Partial


class FileRefused(Exception):
    """A file that is not read at all; the text says why, and never what the file holds."""


@dataclass(frozen=True)
class Format:
    """A kind of file and how it is read.

    `read` takes a stream and the file's name, and gives batches with `schema` in the file's order, beside what could
    not be read; it raises FileRefused before the first batch or not at all. `sniff` tells by a file's first HEAD_BYTES
    and its name whether it may be of this format. `version` counts the schema's changes. `mapping` is the file that says
    what an app-export's records mean; without one they are all of unknown metrics.
    """

    name: str
    title: str
    version: int
    contract: Literal["app-export", "lab-result"]
    schema: pa.Schema
    read: Callable[[BinaryIO, str], Iterator[Found]]
    sniff: Callable[[bytes, str], bool]
    mapping: Path | None = None


_registered: dict[str, Format] = {}


def register(one: Format) -> Format:
    """Make a format known; ValueError where another one has its name."""
    if _registered.setdefault(one.name, one) != one:
        raise ValueError(f"there are two formats of the name {one.name}")
    return one


def formats() -> dict[str, Format]:
    """The formats by name, those of other distributions among them."""
    _load()
    return dict(sorted(_registered.items()))


def format_named(name: str) -> Format | None:
    """The format of that name; None where there is none."""
    return formats().get(name)


def sniffed(head: bytes, name: str) -> Format | None:
    """The format of which a file that begins so may be; None where no format knows it."""
    return next((one for one in formats().values() if one.sniff(head, name)), None)


def seems(head: bytes, name: str) -> str | None:
    """What a file that begins so seems to be, in words; None where it looks like nothing that is known."""
    if not head.strip():
        return "empty"
    if found := sniffed(head, name):
        return found.title
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for magic, kind in _KINDS.items() if head.startswith(magic) or start.startswith(magic)), None)


def refuse_other(wanted: Format, head: bytes, name: str) -> None:
    """FileRefused where a file is plainly of another kind than wanted; the word is what it seems to be."""
    if wanted.sniff(head, name):
        return
    found = seems(head, name)
    raise FileRefused(f"this is no {wanted.title}" + (f": it seems to be {found}" if found else ""))


def read_file(source: Format, stream: BinaryIO, name: str) -> Iterator[Found]:
    """What a file holds, read as the format; FileRefused, before anything is read, where it is plainly of another kind."""
    if stream.seekable():
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        refuse_other(source, head, name)
    return source.read(stream, name)


@cache
def _load() -> None:
    for module in _BUILT_IN:
        importlib.import_module(module)
    for entry in entry_points(group=_GROUP):
        entry.load()
