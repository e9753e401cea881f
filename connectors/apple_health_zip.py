"""Apple Health, the zip: which of its files is the export, told by what it is and not by its name.

The name follows the phone's language (`export.xml`, `导出.xml`), macOS adds decoys (`__MACOSX/._export.xml`), and the
clinical document beside it is XML too. Names are looked at, and never used as paths. A zip that is cut short has lost
its table of contents at its end: its files are then looked at one after the other.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import IO, BinaryIO, cast
from zipfile import BadZipFile, ZipFile, ZipInfo

from connectors.apple_health_unzip import Source, next_entry, unpacked
from connectors.apple_health_xml import CutShort, is_export
from connectors.apple_health_zip_rules import (
    CUT_BEFORE,
    CUT_BEHIND,
    DAMAGED,
    HEAD_BYTES,
    NO_EXPORT,
    TOO_MUCH,
    kind_of,
    may_be_export,
    refuse_climbing,
    too_much,
)
from connectors.formats import FileRefused, NotRead

MOST_TABLE_BYTES = 8 * 1024 * 1024

_MOST_TRIED = 20
_MOST_FILES = 100_000
_NO_TABLE = (BadZipFile, EOFError, struct.error, ValueError, OSError, NotImplementedError)


def export_in_zip(stream: BinaryIO) -> tuple[list[NotRead], Iterator[bytes]]:
    """What the zip holds beside its export, and the export's XML in pieces; FileRefused where it has none, or is none.

    The pieces end with CutShort where the zip is cut short or damaged.
    """
    try:
        files = [info for info in ZipFile(cast(IO[bytes], _Bounded(stream))).infolist() if not info.is_dir()]
    except _NO_TABLE:
        stream.seek(0)
        return [], _in_cut_zip(Source(stream))
    for info in files:
        refuse_climbing(info.filename)
    candidates = sorted((info for info in files if may_be_export(info.filename)), key=lambda info: -info.file_size)
    for info in candidates[:_MOST_TRIED]:
        if too_much(info.file_size, info.compress_size):
            raise FileRefused(TOO_MUCH)
        head, pieces = _headed(_file(stream, info))
        if is_export(head):
            return _beside(files, info), pieces
    raise FileRefused(NO_EXPORT)


class _Bounded:
    """The stream, but for reads whose size a zip decides: that of its table of contents has a limit."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        if size > MOST_TABLE_BYTES:
            raise FileRefused(f"the zip's table of contents is larger than {MOST_TABLE_BYTES // 2**20} MB")
        return self._stream.read(MOST_TABLE_BYTES if size < 0 else size)


def _file(stream: BinaryIO, info: ZipInfo) -> Iterator[bytes]:
    """A file of the zip by its place in the table of contents, which also says its checksum."""
    stream.seek(info.header_offset)
    source, checksum = Source(stream), 0
    try:
        entry = next_entry(source)
    except EOFError:
        raise CutShort(DAMAGED) from None
    for piece in unpacked(source, entry._replace(packed=info.compress_size)):
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if checksum != info.CRC:
        raise CutShort(DAMAGED)


def _in_cut_zip(source: Source) -> Iterator[bytes]:
    """The first export among files that come one after the other; what follows it is missing."""
    for _ in range(_MOST_FILES):
        try:
            entry = next_entry(source)
            head, pieces = _headed(unpacked(source, entry))
            if may_be_export(entry.name) and is_export(head):
                break
            for _ in pieces:
                pass
        except (CutShort, EOFError):
            raise FileRefused(CUT_BEFORE) from None
    else:
        raise FileRefused(CUT_BEFORE)
    yield from pieces
    raise CutShort(CUT_BEHIND)


def _headed(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """A file's beginning, and all of its pieces; where it breaks off, so do they."""
    head = b""
    try:
        for piece in pieces:
            head += piece
            if len(head) >= HEAD_BYTES:
                break
    except CutShort as cut:
        return head, chain([head], _breaking_off(cut))
    return head, chain([head], pieces)


def _breaking_off(cut: CutShort) -> Iterator[bytes]:
    yield b""
    raise cut


def _beside(files: list[ZipInfo], chosen: ZipInfo) -> list[NotRead]:
    counts = Counter(kind_of(info.filename) for info in files if info is not chosen)
    return [NotRead(kind, f"{count:,} in the zip") for kind, count in sorted(counts.items())]
