"""Exports of Apple Health as the phone writes them, small or large, with whatever faults a test plants in them."""

import io
import random
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from schemas.reasons import Reason

STEPS, HEART, SLEEP = (
    "HKQuantityTypeIdentifierStepCount",
    "HKQuantityTypeIdentifierHeartRate",
    "HKCategoryTypeIdentifierSleepAnalysis",
)
HRV, SYSTOLIC = "HKQuantityTypeIdentifierHeartRateVariabilitySDNN", "HKQuantityTypeIdentifierBloodPressureSystolic"
RUNNING, ENERGY = "HKWorkoutActivityTypeRunning", "HKQuantityTypeIdentifierActiveEnergyBurned"
SUMMARY = "ActivitySummary"
START, END = "2021-06-30 08:15:00 +0200", "2021-06-30 08:16:00 +0200"
PERSONS_PHONE, PERSONS_DEVICE = "Zacharias Quibble’s iPhone", "Quibbles Uhr"
DEVICE = (
    f"<<HKDevice: 0x282a45810>, name:{PERSONS_DEVICE}, manufacturer:Apple Inc., model:Watch, hardware:Watch6,2, "
    "software:8.5.1, localIdentifier:SERIAL-4711, creation date:2021-01-01 00:00:00 +0000>"
)
CONTROL = "\x0b\x00\x1f"

DTD = """<!DOCTYPE HealthData [
<!-- HealthKit Export Version: 11 -->
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary|ClinicalRecord)*)>
<!ATTLIST HealthData
  locale CDATA #REQUIRED
>
<!ELEMENT Record ((MetadataEntry|HeartRateVariabilityMetadataList)*)>
<!ATTLIST Record
  type CDATA #REQUIRED
  value CDATA #IMPLIED
>
]>
"""
BROKEN_DTD = """<!DOCTYPE HealthData [
<!-- HealthKit Export Version: 12 -->
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary|VisionPrescription)*)>
<!ATTLIST HealthData
  locale CDATA #REQUIRED
>
<!ATTLIST VisionPrescription
  type             CDATA #REQUIRED
  expirationDate   CDATA #REQUIRED
  brand            CDATA #IMPLIED
<!ELEMENT RightEye EMPTY>
<!ATTLIST RightEye
  sphere           CDATA #IMPLIED
>
<!ELEMENT LeftEye EMPTY>
<!ATTLIST LeftEye
  sphere           CDATA #IMPLIED
>
>
]>
"""
"""As iOS 16 writes it: one declaration is never closed, and a bracket is left over."""
ME = ' <Me HKCharacteristicTypeIdentifierDateOfBirth="1971-02-03"/>'


quoted = lru_cache(quoteattr)  # most records say the same of their source


def element(name: str, *children: str, **attributes: str | None) -> str:
    """An element on lines of its own, as Apple writes it; an attribute that is None is left out."""
    said = "".join(f" {key}={quoted(value)}" for key, value in attributes.items() if value is not None)
    if not children:
        return f" <{name}{said}/>"
    inside = "\n".join(f" {child}" for child in children)
    return f" <{name}{said}>\n{inside}\n </{name}>"


def record(kind: str | None = HEART, value: str | None = "61", *children: str, **changes: str | None) -> str:
    """A record; `changes` replace its attributes or, being None, leave them out."""
    usual: dict[str, str | None] = {
        "type": kind,
        "sourceName": PERSONS_PHONE,
        "sourceVersion": "15.1",
        "device": DEVICE,
        "unit": "count/min",
        "creationDate": END,
        "startDate": START,
        "endDate": END,
        "value": value,
    }
    return element("Record", *children, **usual | changes)


def workout(*children: str, **changes: str | None) -> str:
    usual: dict[str, str | None] = {"workoutActivityType": RUNNING, "sourceName": "Watch"}
    usual |= {"startDate": START, "endDate": END}
    return element("Workout", *children, **usual | changes)


def summary(day: str = "2021-06-30", **changes: str | None) -> str:
    usual: dict[str, str | None] = {
        "dateComponents": day,
        "activeEnergyBurned": "412.5",
        "activeEnergyBurnedUnit": "kcal",
    }
    usual |= {"activeEnergyBurnedGoal": "500", "appleStandHours": "11"}
    return element("ActivitySummary", **usual | changes)


def metadata(key: str, value: str) -> str:
    return element("MetadataEntry", key=key, value=value)


def beats(*clocks: str) -> str:
    """The list of beats inside a record of heart rate variability."""
    return element(
        "HeartRateVariabilityMetadataList",
        *(element("InstantaneousBeatsPerMinute", bpm=str(60 + n), time=clock) for n, clock in enumerate(clocks)),
    )


def correlation(*children: str) -> str:
    """A blood pressure, say, whose records stand at the top level too."""
    kind = "HKCorrelationTypeIdentifierBloodPressure"
    return element("Correlation", *children, type=kind, sourceName="Cuff", startDate=START, endDate=END)


def xml(*elements: str, dtd: str = DTD, exported: str | None = "2021-07-01 10:00:00 +0200") -> bytes:
    """The whole `export.xml`."""
    head = [f' <ExportDate value="{exported}"/>'] if exported else []
    body = "\n".join([*head, ME, *elements])
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{dtd}<HealthData locale="en_GB">\n{body}\n</HealthData>\n'.encode()


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files, in their order."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def export_zip(export: bytes, name: str = "apple_health_export/export.xml") -> bytes:
    """An `export.zip` with all that lies beside an export."""
    return zipped(
        {
            f"__MACOSX/apple_health_export/._{name.rpartition('/')[2]}": b"\x00\x05\x16\x07",
            "apple_health_export/workout-routes/route_2021-06-30_8.15am.gpx": b"<gpx/>",
            "apple_health_export/workout-routes/route_2021-07-01_8.15am.gpx": b"<gpx/>",
            name: export,
            "apple_health_export/export_cda.xml": b'<?xml version="1.0"?>\n<ClinicalDocument/>',
            "apple_health_export/electrocardiograms/ecg_2021-06-30.csv": b"Name,Zacharias Quibble\n",
        }
    )


class Fault(NamedTuple):
    """An element that is no record, why, and the type that the receipt may name."""

    element: str
    reason: Reason
    type: str | None


@cache
def faults() -> dict[str, Fault]:
    """One of every kind that a record can have."""
    many = [metadata("HKLapLength", "25 m")] * 101
    return {
        "no start": Fault(record(startDate=None), Reason.FIELD, HEART),
        "no end": Fault(record(endDate=None), Reason.FIELD, HEART),
        "no time": Fault(record(startDate="yesterday at noon, more or less"), Reason.FIELD, HEART),
        "no such day": Fault(record(startDate="2021-02-29 08:15:00 +0200"), Reason.FIELD, HEART),
        "no such hour": Fault(record(startDate="2021-06-30 24:15:00 +0200"), Reason.FIELD, HEART),
        "no such year": Fault(record(startDate="0001-01-01 00:00:00 +0000"), Reason.FIELD, HEART),
        "letters for digits": Fault(record(startDate="2021-06-3O 08:15:00 +0200"), Reason.FIELD, HEART),
        "no offset": Fault(record(endDate="2021-06-30 08:16:00"), Reason.ZONE, HEART),
        "end before start": Fault(record(endDate="2021-06-30 08:14:59 +0200"), Reason.INTERVAL, HEART),
        "no type": Fault(record(None), Reason.FIELD, None),
        "a sentence for a type": Fault(record(f"what {PERSONS_PHONE} said"), Reason.FIELD, None),
        "no source": Fault(record(sourceName=None), Reason.FIELD, HEART),
        "a source without a name": Fault(record(sourceName=""), Reason.FIELD, HEART),
        "a long value": Fault(record(HEART, "1" * 201), Reason.TOO_LARGE, HEART),
        "a long name": Fault(record(sourceName="n" * 300_000), Reason.TOO_LARGE, HEART),
        "a long type": Fault(record("HK" + "x" * 200), Reason.TOO_LARGE, None),
        "a long unit": Fault(record(unit="u" * 201), Reason.TOO_LARGE, HEART),
        "a long version": Fault(record(sourceVersion="9" * 201), Reason.TOO_LARGE, HEART),
        "a long word of metadata": Fault(
            record(HEART, "61", metadata("HKLapLength", "m" * 201)), Reason.TOO_LARGE, HEART
        ),
        "a start without an offset": Fault(record(startDate="2021-06-30 08:15:00"), Reason.ZONE, HEART),
        "a workout that ends before": Fault(workout(endDate="2021-06-30 08:14:59 +0200"), Reason.INTERVAL, RUNNING),
        "a workout without a source": Fault(workout(sourceName=None), Reason.FIELD, RUNNING),
        "too much metadata": Fault(record(HEART, "61", *many), Reason.TOO_LARGE, HEART),
        "too many beats": Fault(record(HRV, "40", beats(*["8:15:01.00"] * 4001)), Reason.TOO_LARGE, HRV),
        "a workout without a kind": Fault(workout(workoutActivityType=None), Reason.FIELD, None),
        "a figure of nothing": Fault(workout(element("WorkoutStatistics", sum="5", unit="km")), Reason.FIELD, RUNNING),
        "a figure without its time": Fault(
            workout(element("WorkoutStatistics", type=STEPS, sum="5", startDate="?", endDate=END)),
            Reason.FIELD,
            RUNNING,
        ),
        "a figure whose time has no offset": Fault(
            workout(element("WorkoutStatistics", type=STEPS, sum="5", startDate=START[:19], endDate=END)),
            Reason.FIELD,
            RUNNING,
        ),
        "a long figure": Fault(workout(totalDistance="1" * 201, totalDistanceUnit="km"), Reason.FIELD, RUNNING),
        "a figure in a long unit": Fault(workout(duration="5", durationUnit="m" * 201), Reason.FIELD, RUNNING),
        "an event without a kind": Fault(workout(element("WorkoutEvent", date=START)), Reason.FIELD, RUNNING),
        "a day that is none": Fault(summary("2021-06-31"), Reason.FIELD, "ActivitySummary"),
    }


def plain(count: int, seed: int = 1) -> Iterator[str]:
    """So many records that are fine, of several types, half a minute apart."""
    chance = random.Random(seed)
    moment = datetime(2021, 1, 1)
    kinds = ((HEART, "count/min"), (STEPS, "count"), (ENERGY, "kcal"))
    for n in range(count):
        kind, unit = kinds[n % len(kinds)]
        start, end = (f"{moment + timedelta(seconds=30 * (n + later))} +0200" for later in (0, 1))
        yield record(kind, str(chance.randint(40, 180)), unit=unit, startDate=start, endDate=end, creationDate=end)


def shuffled(elements: Iterable[str], seed: int = 1) -> list[str]:
    """The elements in another order, always the same."""
    found = list(elements)
    random.Random(seed).shuffle(found)
    return found


class Expected(NamedTuple):
    """What reading a file must come to: by type what is published, by reason what is not, and what lies beside it."""

    published: Counter[str]
    problems: Counter[str]
    beside: dict[str, int]


@cache
def export_with_faults(seed: int, good: int = 200) -> tuple[bytes, Expected]:
    """An export with every fault one to four times among records that are fine, and with what is no record."""
    chance = random.Random(seed)
    fine = [(one, kind) for one in plain(good, seed) for kind in (HEART, STEPS, ENERGY) if f'"{kind}"' in one]
    fine += [(workout(metadata("HKIndoorWorkout", "1")), RUNNING), (summary(), SUMMARY)] * 5
    wrong = [fault for fault in faults().values() for _ in range(chance.randint(1, 4))]
    pairs = correlation(record(SYSTOLIC), record(startDate=None))  # what is inside is not counted, at fault or not
    beside = [pairs] * 7 + [element("ClinicalRecord", type="x")] * 3
    elements = [*(one for one, _ in fine), *(fault.element for fault in wrong), *beside]
    expected = Expected(
        Counter(kind for _, kind in fine),
        Counter(str(fault.reason) for fault in wrong),
        {"Correlation": 7, "ClinicalRecord": 3},
    )
    return xml(*shuffled(elements, seed)), expected
