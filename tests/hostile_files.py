"""Files that mean harm, as streams that are made while they are read, and a worker that publishes them one by one.

    python -m tests.hostile_files CONFIG PARTNER FORMAT FOLDER

publishes each file of the format and a good one behind it, all in one process, and ends with a line of JSON: what became
of each, and the most memory that the process has had before the first hostile file and after the last.
"""

import io
import json
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, BinaryIO, cast

from connectors.file_publishing import Published, publish_file
from connectors.formats import format_named
from pipelines.commands.connect_file import outlet
from pipelines.settings import load_settings
from schemas.registry import load_partners
from tests.apple_exports import HEART, export_zip, record, xml, zipped
from tests.canaries import subject
from tests.lab_messages import message, obr, obx, spm
from tests.streams import Endless

GIGABYTE = 1024 * 1024 * 1024
_PIECE = b"x" * 65536
_HEAD = xml(record(HEART, "59"), dtd="").split(b"</HealthData>")[0]


def good(kind: str, number: int) -> bytes:
    """A small file of the format with one record, each of which is another one."""
    if kind == "hl7v2":
        return message(obr(number), obx(str(number)), spm(f"KIT{number}"), number=number).encode()
    return export_zip(xml(record(HEART, str(60 + number))))


def hostile(kind: str, folder: Path) -> dict[str, BinaryIO]:
    """The files by name; those that must be on a disk lie in the folder."""
    return {name: made(folder) for name, made in (_HL7 if kind == "hl7v2" else _APPLE).items()}


def _stream(*pieces: Iterator[bytes]) -> Callable[[Path], BinaryIO]:
    return lambda _: cast(BinaryIO, Endless(chain(*pieces)))


def _bytes(content: bytes) -> Callable[[Path], BinaryIO]:
    return lambda _: io.BytesIO(content)


def _gigabyte() -> Iterator[bytes]:
    return repeat(_PIECE, GIGABYTE // len(_PIECE))


def _bomb(folder: Path) -> BinaryIO:
    """A megabyte that unpacks to a gigabyte."""
    path = folder / "bomb.zip"
    whole = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with whole as archive, archive.open("apple_health_export/export.xml", "w") as export:
        export.write(_HEAD)
        for piece in _gigabyte():
            export.write(piece)
    return path.open("rb")


def _laughs() -> bytes:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">\n' for n in range(1, 10))
    return xml(record(HEART, "&l9;"), dtd=f'<!DOCTYPE HealthData [\n<!ENTITY l0 "ha">\n{laughs}]>\n')


_APPLE: dict[str, Callable[[Path], BinaryIO]] = {
    "a zip bomb": _bomb,
    "a zip in a zip": _bytes(zipped({"export.zip": export_zip(xml(record()))})),
    "a path that climbs out of the zip": _bytes(zipped({"export.xml": xml(record()), "../../climbed.xml": b"<a/>"})),
    "laughs by the billion": _bytes(_laughs()),
    "an attribute of a gigabyte": _stream(iter([_HEAD, b'<Record value="']), _gigabyte(), iter([b'"/></HealthData>'])),
    "a comment of a gigabyte": _stream(iter([_HEAD, b"<!-- "]), _gigabyte(), iter([b" --></HealthData>"])),
    "elements in each other without end": _stream(iter([_HEAD]), repeat(b"<Record>" * 8000, GIGABYTE // 64_000)),
    "nothing at all": _bytes(b""),
}
_SEGMENTS = message(obr(), obx("1"), obx("HUGE", "TX", 2), obx("3", number=3), spm()).encode().split(b"HUGE")
_HL7: dict[str, Callable[[Path], BinaryIO]] = {
    "a message without its header": _bytes(message(obr(), obx(), spm()).encode().partition(b"\r")[2]),
    "a header of a gigabyte": _stream(iter([b"MSH|^~\\&|"]), _gigabyte(), iter([b"\r" + obx().encode() + b"\r"])),
    "a value of a gigabyte": _stream(iter([_SEGMENTS[0]]), _gigabyte(), iter([_SEGMENTS[1]])),
    "a line without end": _stream(_gigabyte()),
    "an archive": _bytes(export_zip(xml(record()))),
    "nothing at all": _bytes(b""),
}


@dataclass(frozen=True)
class Told:
    """What the receipt of a file said."""

    published: int
    problems: dict[str, int]
    partial: str | None


def _told(done: Published) -> Told:
    receipt = done.receipt
    return Told(receipt.published, dict(receipt.problems), receipt.partial and receipt.partial.why)


def publish_all(config: Path, partner: str, kind: str, folder: Path) -> dict[str, Any]:
    """Publish each hostile file and a good one behind it; what became of them, and the memory in bytes."""
    settings, source = load_settings(config), format_named(kind)
    assert source is not None
    whose = subject("ann") if source.contract == "app-export" else ""
    files, told, goods = hostile(kind, folder), {}, []
    with outlet(settings, load_partners(settings.partners)[partner], source.contract) as to:

        def publish(stream: BinaryIO) -> Told:
            return _told(publish_file(source, stream, "a file", to, whose))

        goods.append(publish(io.BytesIO(good(kind, 0))))
        before = _peak()
        for number, (name, stream) in enumerate(files.items(), 1):
            with stream:
                told[name] = publish(stream)
            goods.append(publish(io.BytesIO(good(kind, number))))
    said = {name: asdict(one) for name, one in told.items()}
    return {"told": said, "goods": [asdict(one) for one in goods], "before": before, "after": _peak()}


def _peak() -> int:
    """Of this program alone: what Linux says of a process's usage begins with that of the process which started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    config, partner, kind, folder = sys.argv[1:]
    print(json.dumps(publish_all(Path(config), partner, kind, Path(folder))))
