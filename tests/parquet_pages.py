"""Every page of a Parquet file, unpacked: what lies in it whether or not a reader would show it.

Page headers are Thrift's compact protocol, of which only as much is read as is needed to walk over them. Numbers that
the encoding took apart byte by byte are put together again, so that a value can be searched for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import zstandard

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_BYTE_STREAM_SPLIT = 9


class Page(NamedTuple):
    """One page: its column, whether it is the dictionary, and its bytes without compression."""

    column: str
    dictionary: bool
    content: bytes


def pages(path: Path) -> Iterator[Page]:
    """All pages of all columns of all row groups."""
    data, footer = path.read_bytes(), pq.read_metadata(path)
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            chunk, column = footer.row_group(group).column(number), footer.schema.column(number)
            begin = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
            yield from _chunk(data[begin : begin + chunk.total_compressed_size], column, chunk.compression)


def _chunk(data: bytes, column: Any, compression: str) -> Iterator[Page]:
    at = 0
    while at < len(data):
        header, at = _struct(data, at)
        kind, unpacked_size, size = header[1], header[2], header[3]
        content, at = data[at : at + size], at + size
        assert kind in (_DATA, _DICTIONARY), "only pages of version 1 are written"
        if compression != "UNCOMPRESSED":
            assert compression == "ZSTD", compression
            content = zstandard.ZstdDecompressor().decompress(content, max_output_size=unpacked_size)
        assert len(content) == unpacked_size
        yield Page(column.path, kind == _DICTIONARY, content)
        if kind == _DATA and header[5][2] == _BYTE_STREAM_SPLIT:
            yield Page(column.path, False, _together(content, column))


def _together(content: bytes, column: Any) -> bytes:
    """The float64 of a page whose first bytes, second bytes and so on lie apart, behind the page's levels."""
    for level in (column.max_repetition_level, column.max_definition_level):
        if level:
            content = content[4 + int.from_bytes(content[:4], "little") :]
    return np.frombuffer(content, dtype=np.uint8).reshape(8, -1).T.tobytes()


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """A Thrift struct's fields by number, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while data[at]:
        delta, kind = data[at] >> 4, data[at] & 15
        at += 1
        if delta:
            number += delta
        else:
            number, at = _whole(data, at)
        fields[number], at = _value(data, at, kind)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, at
    if kind == 3:
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _whole(data, at)
    if kind == 8:
        size, at = _unsigned(data, at)
        return data[at : at + size], at + size
    assert kind == 12, f"no page header has a field of kind {kind}"
    return _struct(data, at)


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 128:
            return value, at


def _whole(data: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(data, at)
    return (value >> 1) ^ -(value & 1), at


def footer_bytes(path: Path) -> bytes:
    """The file's footer as it lies: schema, statistics and metadata."""
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    return data[-8 - size :]


def found_in(path: Path, secrets: dict[str, bytes]) -> list[tuple[str, str]]:
    """Which of the named secrets lie in the file, and where: a column's page or dictionary, the footer, or elsewhere."""
    places = [(f"{page.column}{' dictionary' * page.dictionary}", page.content) for page in pages(path)]
    places += [("footer", footer_bytes(path)), ("file", path.read_bytes())]
    return sorted({(name, where) for where, content in places for name, secret in secrets.items() if secret in content})
