"""The format apple-health: what `Export All Health Data` of Apple's Health app gives, as export.zip or its export.xml.

Its records are the top-level elements Record, Workout and ActivitySummary, all of them, whatever their type. What
stands inside a Correlation stands at the top level too, and is not counted twice. Values and units stay as written:
what they mean is the mapping's business.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from connectors.apple_health_batches import SCHEMA
from connectors.apple_health_xml import PIECE_BYTES, is_export, read_xml
from connectors.apple_health_zip import export_in_zip
from connectors.apple_health_zip_rules import may_be_export
from connectors.formats import FileRefused, Format, Found, register
from schemas.export_mappings import MAPPINGS

_ZIP = b"PK\x03\x04"
_NAMES = re.compile(rb"PK\x03\x04.{22}(..)..", re.DOTALL)
_FOLDERS = ("apple_health_export/", "__MACOSX/apple_health_export/", "workout-routes/", "electrocardiograms/")
_FOREIGN = ("[Content_Types].xml", "mimetype", "META-INF/", "word/", "xl/", "Takeout/")


def read(stream: BinaryIO, name: str = "") -> Iterator[Found]:
    """The records of an export, zip or XML, a zip being read from a stream that can seek; `name` is not looked at."""
    first = stream.read(PIECE_BYTES)
    if not first.startswith(_ZIP):
        yield from read_xml(chain([first], iter(lambda: stream.read(PIECE_BYTES), b"")))
        return
    if not stream.seekable():
        raise FileRefused("a zip is read from a file, not from a pipe: give its path, or pipe the export.xml")
    stream.seek(0)
    beside, pieces = export_in_zip(stream)
    yield from beside
    yield from read_xml(pieces)


def sniff(head: bytes, name: str) -> bool:
    """Whether a file that begins so may be an export; a zip says little at its beginning, so most of them may."""
    if head.startswith(_ZIP):
        return _may_be_zip_of_export(head)
    return is_export(head) or (b"<!DOCTYPE HealthData" in head)


def _may_be_zip_of_export(head: bytes) -> bool:
    names = [_name(head, match) for match in _NAMES.finditer(head)]
    if any(name.startswith(_FOLDERS) or may_be_export(name) for name in names if not name.startswith(_FOREIGN)):
        return True
    return not any(name.startswith(_FOREIGN) for name in names)


def _name(head: bytes, match: re.Match[bytes]) -> str:
    size = int.from_bytes(match[1], "little")
    return head[match.end() : match.end() + size].decode("utf-8", "replace")


FORMAT = register(
    Format(
        name="apple-health",
        title="Apple Health export",
        version=1,
        contract="app-export",
        schema=SCHEMA,
        read=read,
        sniff=sniff,
        mapping=MAPPINGS / "apple-health.yaml",
    )
)
