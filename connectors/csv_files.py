"""Files of comma-separated rows: the rows by the names in the file's head, each with its place, in bounded memory."""

import csv
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, NamedTuple

from connectors.formats import Partial, Problem
from connectors.line_splitter import LineSplitter
from connectors.problems import ENCODING
from schemas.reasons import Reason

MOST_LINE_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024


class Row(NamedTuple):
    """A row: its cells by the names in the file's head, as written, and the number of the line on which it begins."""

    line: int
    cells: dict[str, str]

    @property
    def place(self) -> str:
        return f"line {self.line}"


def csv_rows(stream: BinaryIO) -> Iterator[Row | Problem | Partial]:
    """The rows behind the head, by RFC 4180 in UTF-8; a row that is none is a problem, and the next one is read.

    A quoted text that does not end is where reading stops: nobody knows how many rows it has swallowed.
    """
    lines = _Lines(stream)
    rows = csv.reader(lines, strict=True)
    head: list[str] = []
    try:
        for cells in rows:
            place, fault = lines.take()
            if fault or (head and cells and len(cells) != len(head)):
                yield Problem(fault or Reason.FIELD, f"line {place}")
            elif head and cells:
                yield Row(place, dict(zip(head, cells, strict=True)))
            head = head or cells
    except csv.Error:
        yield Partial(f"line {lines.take().line}", "a quoted text has no end, or something behind its end")


class _Taken(NamedTuple):
    """Where a row begins, and what is wrong with its lines."""

    line: int
    fault: str | None


class _Lines:
    """The lines of a stream for Python's csv; one that is too long, or is no UTF-8, is noted and given as an empty one."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = _split(stream)
        self._number = self._before = 0
        self._fault: str | None = None

    def take(self) -> _Taken:
        """What is known of the lines since this was asked last: those of one row."""
        taken = _Taken(self._before + 1, self._fault)
        self._before, self._fault = self._number, None
        return taken

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        if line is None:
            self._fault = Reason.TOO_LARGE
            return "\n"
        try:
            return line.decode("utf-8-sig" if self._number == 1 else "utf-8") + "\n"
        except UnicodeDecodeError:
            self._fault = ENCODING
            return "\n"


def _split(stream: BinaryIO) -> Iterator[bytes | None]:
    splitter = LineSplitter(MOST_LINE_BYTES)
    for piece in iter(partial(stream.read, _PIECE_BYTES), b""):
        yield from splitter.feed(piece)
    yield from splitter.rest()
