"""Apple Health, the XML: pieces of `export.xml` through expat, in bounded memory, to batches of source records.

expat is the parser that Python brings: it pushes what it finds and keeps nothing. What of XML Apple does not need is
switched off: the document type – broken in iOS 16 – is taken out before expat sees it, a file that defines entities is
refused, and nothing outside the file is ever looked up. Control bytes, which exports have and XML forbids, are read as
blanks. A file that breaks off, or goes on as no honest one does, is read to that place.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any
from xml.parsers import expat

import numpy as np

from connectors.apple_health_batches import batch_of
from connectors.apple_health_elements import ROOT, Elements, Refusal
from connectors.apple_health_lines import Lines
from connectors.formats import FileRefused, Found, NotRead, Partial, Problem

PIECE_BYTES = 256 * 1024
BATCH_ROWS = 20_000
MOST_HEAD_BYTES = 1024 * 1024
MOST_TAG_BYTES = 1024 * 1024
MOST_BATCH_BYTES = 32 * 1024 * 1024
MOST_NAMES = 10_000

_ROOT_TAG = re.compile(rb"<%b[\s/>]" % ROOT.encode())
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\r")
_CONTROLS = np.frombuffer(_CONTROL, np.uint8)
_BLANKED = bytes.maketrans(_CONTROL, b" " * len(_CONTROL))
_CUT = "the file is cut short: it ends in the middle"


class CutShort(Exception):
    """The pieces end before the file does; the text says why."""


def is_export(head: bytes) -> bool:
    """Whether an XML that begins so is an Apple Health export."""
    return _ROOT_TAG.search(head) is not None


def read_xml(pieces: Iterable[bytes]) -> Iterator[Found]:
    """The records of an `export.xml`; FileRefused, before the first batch, where it is none or defines entities."""
    reading = _Reading()
    try:
        for piece in _without_doctype(iter(pieces)):
            yield from reading.feed(piece)
        reading.end()
    except (expat.ExpatError, Refusal, CutShort) as error:
        yield from reading.rest()
        yield reading.broken(error)
    else:
        yield from reading.rest()


def _without_doctype(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, the document type blanked out: its lines and bytes are still counted."""
    head = b""
    for piece in pieces:
        head += piece
        if (root := _ROOT_TAG.search(head)) or len(head) > MOST_HEAD_BYTES:
            break
    else:
        root = _ROOT_TAG.search(head)
    if root is None:
        raise FileRefused(_no_export(head))
    before = head[: root.start()]
    if b"<!ENTITY" in before:
        raise FileRefused("the file defines entities, which no export of Apple Health does")
    begin = before.find(b"<!DOCTYPE")
    if begin >= 0:
        before = before[:begin] + re.sub(rb"[^\n]", b" ", before[begin:])
    yield before + head[root.start() :]
    yield from pieces


def _no_export(head: bytes) -> str:
    if not head.strip():
        return "the file is empty"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "the file is in UTF-16; Apple Health writes UTF-8"
    if b"<ClinicalDocument" in head:
        return (
            "this is the clinical document of an export (export_cda.xml): give export.zip, or the export.xml beside it"
        )
    return f"this is no Apple Health export: no {ROOT} element within its first {MOST_HEAD_BYTES // 2**20} MB"


class _Reading:
    """One file on its way through expat."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._parser = expat.ParserCreate(None, None, self._names)
        self._parser.StartDoctypeDeclHandler = _refuse_doctype
        self._elements = Elements(self._parser)
        self._lines = Lines()
        self._fed = self._controls = self._first_control = 0
        self._ended = False

    def feed(self, piece: bytes) -> Iterator[Found]:
        """The file goes on; the batches that are full now."""
        clean = self._clean(piece)
        self._fed += len(piece)
        self._parser.Parse(clean, False)
        if len(self._names) > MOST_NAMES:
            raise Refusal(f"it has more than {MOST_NAMES:,} names of elements and attributes")
        if self._fed - self._parser.CurrentByteIndex > MOST_TAG_BYTES:
            raise Refusal(f"a tag is longer than {MOST_TAG_BYTES // 2**20} MB")
        since = self._elements.since
        if since is not None and (len(self._elements) >= BATCH_ROWS or self._fed - since > MOST_BATCH_BYTES):
            yield from self._batch()
            since = self._elements.since
            if since is not None and self._fed - since > MOST_BATCH_BYTES:
                raise Refusal(f"a record is longer than {MOST_BATCH_BYTES // 2**20} MB")
        self._lines.forget(self._at if since is None else since)

    def end(self) -> None:
        """Nothing follows; ExpatError where something should."""
        self._ended = True
        self._parser.Parse(b"", True)

    def rest(self) -> Iterator[Found]:
        """The records that are whole, and what the file holds beside its records."""
        yield from self._batch()
        for name, count in sorted(self._elements.unread.items()):
            beside = "; the records in it stand by themselves too" if name == "Correlation" else ""
            yield NotRead(name, f"{count:,} in the XML{beside}")
        if self._controls:
            first = f"{self._controls:,} in the XML, the first in line {self._first_control:,}"
            yield NotRead("control bytes, read as blanks", first)

    def broken(self, error: Exception) -> Partial:
        """Where and why reading stopped: at the record that is not whole, where there is one."""
        open_at = self._elements.open_at
        byte = self._at if open_at is None else open_at
        return Partial(f"line {self._lines.line(byte)}, byte {byte} of the XML", self._why(error))

    def _why(self, error: Exception) -> str:
        if not isinstance(error, expat.ExpatError):
            return str(error)
        return _CUT if self._ended else f"it is no XML there: {expat.ErrorString(error.code)}"

    @property
    def _at(self) -> int:
        return max(0, self._parser.CurrentByteIndex)

    def _batch(self) -> Iterator[Found]:
        taken = self._elements.take()
        if not taken.rows:
            return
        batch, faults = batch_of(taken)
        if batch.num_rows:
            yield batch
        for fault in faults:
            yield Problem(fault.reason, f"line {self._lines.line(taken.places[fault.row])}", fault.type)

    def _clean(self, piece: bytes) -> bytes:
        """The piece with blanks for control bytes, which are counted."""
        letters = np.frombuffer(piece, np.uint8)
        newlines = int(np.count_nonzero(letters == ord("\n")))
        self._lines.add(piece, newlines)
        if newlines == np.count_nonzero(letters < ord(" ")):
            return piece
        controls = np.flatnonzero(np.isin(letters, _CONTROLS))
        if not len(controls):
            return piece
        if not self._controls:
            self._first_control = self._lines.line(self._fed + int(controls[0]))
        self._controls += len(controls)
        return piece.translate(_BLANKED)


def _refuse_doctype(*_: Any) -> None:
    raise Refusal("it defines a document type where none belongs")
