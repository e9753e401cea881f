"""HL7 v2, the lines: a stream of bytes becomes segments, whatever ends them, none of which can fill the memory.

A line that begins like no segment goes on with the one before it: texts of several lines arrive so.
"""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

MOST_SEGMENT_BYTES = 4 * 1024 * 1024
_HEAD = 64
_LINE_COST = 64  # what a line costs besides its content
_AROUND = b"\x0b\x1c \t"  # what frames messages on a wire, and blanks
_STARTS = ("MSH", "FHS", "BHS")
_HEADERS = tuple(name.encode() for name in _STARTS)


class Line(NamedTuple):
    """A line by its number from 1, without its end. Of one that is too long only the beginning is there: `cut`."""

    number: int
    content: bytes
    cut: bool = False


def looks_like_hl7(head: bytes) -> bool:
    """Whether a file that begins so begins with a message, or with the header of a file or batch of them."""
    decoder = _wide(head)
    start = decoder.decode(head).encode("utf-8", "surrogatepass") if decoder else head
    return _is_header(start.removeprefix(codecs.BOM_UTF8).lstrip(_AROUND + b"\r\n")[:4])


def segments(pieces: Iterable[bytes]) -> Iterator[Line]:
    """The segments of a stream that comes in pieces, those that were broken into lines joined by line feeds."""
    held: list[Line] = []
    size, mark = 0, b"|"
    for line in lines(pieces):
        if _is_header(line.content):
            mark = line.content[3:4]
        if held and _is_segment(line.content, mark):
            yield _joined(held)
            held, size = [], 0
        size += len(line.content) + _LINE_COST
        if size <= MOST_SEGMENT_BYTES or not held:
            held.append(line)
        else:
            held = [held[0]._replace(cut=True)]
    if held:
        yield _joined(held)


def _joined(held: list[Line]) -> Line:
    first = held[0]
    if len(held) == 1 and not first.cut:
        return first
    cut = any(line.cut for line in held)
    return Line(first.number, first.content[:_HEAD] if cut else b"\n".join(line.content for line in held), cut)


def _is_header(content: bytes) -> bool:
    return content[:3] in _HEADERS and content[3:4] > b" " and not content[3:4].isalnum()


def _is_segment(content: bytes, mark: bytes) -> bool:
    name = content[:3]
    of_segment = len(name) == 3 and name.isalnum() and name.isupper() and content[3:4] in (mark, b"")
    return of_segment or _is_header(content)


def lines(pieces: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a stream, ended by CR, LF or both, in UTF-8 or as they are; empty ones are counted, not given."""
    number, begun, dropping = 0, b"", False
    for piece in _with_line_feeds(pieces):
        if dropping:
            _, ended, piece = piece.partition(b"\n")
            if not ended:
                continue
            number, dropping = number + 1, False
            yield Line(number, begun, True)
            begun = b""
        *complete, begun = (begun + piece).split(b"\n")
        for content in complete:
            number += 1
            if content := content.strip(_AROUND):
                yield _bounded(number, content)
        if len(begun) > MOST_SEGMENT_BYTES:
            begun, dropping = begun.lstrip(_AROUND)[:_HEAD], True
    if begun.strip(_AROUND):
        yield Line(number + 1, begun, True) if dropping else _bounded(number + 1, begun.strip(_AROUND))


def _bounded(number: int, content: bytes) -> Line:
    cut = len(content) > MOST_SEGMENT_BYTES
    return Line(number, content[:_HEAD] if cut else content, cut)


def _with_line_feeds(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces with LF for every line end, without a byte order mark, UTF-16 as UTF-8. The first has the mark whole."""
    held = b""  # a CR at the end of a piece may be half of a line end
    for piece in _in_bytes(pieces):
        piece = held + piece
        held = b"\r" if piece.endswith(b"\r") else b""
        yield piece.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if held:
        yield b"\n"


def _in_bytes(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces without a byte order mark, those of UTF-16 as UTF-8."""
    rest = iter(pieces)
    first = next(rest, b"")
    decoder = _wide(first)
    if decoder is None:
        yield from chain([first.removeprefix(codecs.BOM_UTF8)], rest)
        return
    for piece in chain([first], rest):
        yield decoder.decode(piece).encode("utf-8", "surrogatepass")


def _wide(head: bytes) -> codecs.IncrementalDecoder | None:
    """A decoder where a text in UTF-16 begins so, with a byte order mark or without."""
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    little = not marked and head[1:6:2] == b"\0\0\0" and head[0:6:2].decode("latin-1") in _STARTS
    big = not marked and head[0:6:2] == b"\0\0\0" and head[1:6:2].decode("latin-1") in _STARTS
    if not (marked or little or big):
        return None
    name = "utf-16" if marked else "utf-16-le" if little else "utf-16-be"
    return codecs.getincrementaldecoder(name)("surrogatepass")
