"""Apple Health, unpacking: the files of a zip one after the other, by the header before each, in bounded memory.

Python's zipfile is right for a zip that is whole. Where one breaks off, it gives nothing of the last part that it
could still unpack, and without the table of contents at the zip's end it gives nothing at all.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from connectors.apple_health_xml import PIECE_BYTES, CutShort
from connectors.apple_health_zip_rules import PACKED_OTHERWISE, TOO_MUCH, refuse_climbing, too_much
from connectors.formats import FileRefused

_SIGNATURE = b"PK\x03\x04"
_HEADER = struct.Struct("<4sHHHHHIIIHH")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZE_FOLLOWS = 1, 8
_DESCRIPTOR_BYTES = 24  # at most: what may lie between a file's end and the next header
_STEP_BYTES = 4096  # of what is packed: what is lost before a place that is damaged


class Source:
    """A stream from which bytes may be looked at and given back."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead = b""

    def piece(self) -> bytes:
        """What comes next, at most PIECE_BYTES; empty at the end."""
        if not self._ahead:
            return self._stream.read(PIECE_BYTES)
        piece, self._ahead = self._ahead, b""
        return piece

    def give_back(self, data: bytes) -> None:
        self._ahead = data + self._ahead

    def take(self, size: int) -> bytes:
        """So many bytes; EOFError where there are fewer."""
        data = b""
        while len(data) < size:
            if not (piece := self.piece()):
                raise EOFError
            data += piece
        self.give_back(data[size:])
        return data[:size]


class Entry(NamedTuple):
    """What a header says of the file behind it; `packed` is None where its size follows it."""

    name: str
    flags: int
    method: int
    packed: int | None


def next_entry(source: Source) -> Entry:
    """The next header, wherever it is behind the file before; EOFError where there is none."""
    before = source.take(_HEADER.size)
    at = before.find(_SIGNATURE, 0, _DESCRIPTOR_BYTES + len(_SIGNATURE))
    if at < 0:
        raise EOFError
    source.give_back(before[at:])
    _, _, flags, method, _, _, _, packed, _, name_size, extra_size = _HEADER.unpack(source.take(_HEADER.size))
    name = source.take(name_size).decode("utf-8", "replace")
    source.take(extra_size)
    refuse_climbing(name)
    return Entry(name, flags, method, None if flags & _SIZE_FOLLOWS else packed)


def unpacked(source: Source, entry: Entry) -> Iterator[bytes]:
    """The file behind a header, in pieces; CutShort where it breaks off, or unpacks to what no export does."""
    if entry.flags & _ENCRYPTED or entry.method not in (_STORED, _DEFLATED):
        raise FileRefused(PACKED_OTHERWISE)
    if entry.method == _DEFLATED:
        return _inflated(source)
    if entry.packed is None:
        raise CutShort("the size of a file in the zip is not known")
    return _stored(source, entry.packed)


def _stored(source: Source, size: int) -> Iterator[bytes]:
    while size:
        if not (piece := source.piece()):
            raise CutShort("the zip is cut short there")
        source.give_back(piece[size:])
        yield piece[:size]
        size -= min(size, len(piece))


def _inflated(source: Source) -> Iterator[bytes]:
    unpacking, packed_bytes, unpacked_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    while not unpacking.eof:
        data = unpacking.unconsumed_tail
        if not data:
            if not (data := source.piece()):
                raise CutShort("the zip is cut short there")
            source.give_back(data[_STEP_BYTES:])
            data = data[:_STEP_BYTES]
            packed_bytes += len(data)
        try:
            piece = unpacking.decompress(data, PIECE_BYTES)
        except zlib.error:
            raise CutShort("the zip is damaged there") from None
        unpacked_bytes += len(piece)
        if too_much(unpacked_bytes, packed_bytes):
            raise CutShort(TOO_MUCH)
        yield piece
    source.give_back(unpacking.unused_data)
