"""An export of Apple's Health app as the phone writes it: elements of its XML, and the zip with all that lies beside it."""

import io
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

HOUR_AHEAD = timezone(timedelta(hours=1))
"""The phone's clock on the day of the export, by which it writes all times."""

PHONE_NAME, WATCH_NAME = "Mira's iPhone", "Mira's Apple Watch"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOLDER = "apple_health_export"
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE HealthData [
<!-- HealthKit Export Version: 14 -->
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary|ClinicalRecord)*)>
<!ATTLIST HealthData
  locale CDATA #REQUIRED
>
]>
<HealthData locale="en_GB">"""
_ME = ' <Me HKCharacteristicTypeIdentifierDateOfBirth="1991-05-17"/>'
_BESIDE = {
    f"__MACOSX/{_FOLDER}/._export.xml": "\x00\x05\x16\x07",
    f"{_FOLDER}/export_cda.xml": '<?xml version="1.0"?>\n<ClinicalDocument xmlns="urn:hl7-org:v3"/>\n',
}


class Source(NamedTuple):
    """What wrote a record: the name that its owner gave it, the version of its system, and how the phone describes it."""

    name: str
    version: str
    device: str | None = None


def _device(name: str, model: str, hardware: str, version: str) -> str:
    return (
        f"<<HKDevice: 0x28f1c3a20>, name:{name}, manufacturer:Apple Inc., model:{model}, hardware:{hardware}, "
        f"software:{version}>"
    )


PHONE = Source(PHONE_NAME, "17.4.1", _device(PHONE_NAME, "iPhone", "iPhone14,5", "17.4.1"))
WATCH = Source(WATCH_NAME, "10.4.1", _device(WATCH_NAME, "Watch", "Watch6,2", "10.4.1"))
BY_HAND = Source(PHONE_NAME, "17.4.1")


def when(us: int) -> datetime:
    """A moment (microseconds, UTC) by the phone's clock."""
    return (_EPOCH + timedelta(microseconds=us)).astimezone(HOUR_AHEAD)


def written(us: int) -> str:
    """A moment as exports write it, to the second."""
    return f"{when(us):%Y-%m-%d %H:%M:%S %z}"


def element(name: str, *children: str, **attributes: str | None) -> str:
    """An element on lines of its own; an attribute that is None is left out."""
    said = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items() if value is not None)
    if not children:
        return f" <{name}{said}/>"
    return "\n".join([f" <{name}{said}>", *(f" {child}" for child in children), f" </{name}>"])


def record(kind: str, source: Source, start: int, end: int, value: str, *children: str, unit: str | None = None) -> str:
    """A record of [start, end), microseconds UTC."""
    return element(
        "Record",
        *children,
        type=kind,
        sourceName=source.name,
        sourceVersion=source.version,
        device=source.device,
        unit=unit,
        creationDate=written(max(start, end)),
        startDate=written(start),
        endDate=written(end),
        value=value,
    )


def workout(kind: str, source: Source, start: int, end: int, minutes: str, *children: str) -> str:
    """A workout that took so many minutes, with its figures inside it."""
    return element(
        "Workout",
        *children,
        workoutActivityType=kind,
        duration=minutes,
        durationUnit="min",
        sourceName=source.name,
        sourceVersion=source.version,
        device=source.device,
        creationDate=written(end),
        startDate=written(start),
        endDate=written(end),
    )


def zipped(elements: Iterable[str], exported_us: int) -> bytes:
    """The `export.zip` of these elements; the same for the same elements and moment."""
    lines = [_HEAD, f' <ExportDate value="{written(exported_us)}"/>', _ME, *elements, "</HealthData>\n"]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in {f"{_FOLDER}/export.xml": "\n".join(lines), **_BESIDE}.items():
            info = zipfile.ZipInfo(name, when(exported_us).timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    return content.getvalue()
