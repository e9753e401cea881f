"""The files that are measured: an export of Apple Health as a phone writes it, and a laboratory's batch of results."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

PEOPLE = 2_000
RESULTS_OF_A_MESSAGE = 10
METRICS = (
    *("heart_rate", "steps_interval", "active_energy", "sleep_stage", "distance_walk_run"),
    *("cholesterol_total", "triglycerides", "hdl_cholesterol", "ldl_cholesterol", "hba1c"),
    *("glucose_serum", "haemoglobin", "leukocytes", "creatinine", "alt"),
)

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE HealthData [
<!-- HealthKit Export Version: 12 -->
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary)*)>
]>
<HealthData locale="en_GB">
 <ExportDate value="{exported}"/>
 <Me HKCharacteristicTypeIdentifierDateOfBirth="1971-02-03"/>
"""
_WATCH = (
    "&lt;&lt;HKDevice: 0x282a45810&gt;, name:Apple Watch, manufacturer:Apple Inc., model:Watch, hardware:Watch6,2, "
    "software:9.5.1&gt;"
)
_RECORD = (
    ' <Record type="HK{kind}" sourceName="A person\u2019s watch" sourceVersion="9.5.1" device="{device}" {unit}'
    'creationDate="{end}" startDate="{start}" endDate="{end}" value="{value}"/>\n'
)
_BLOCK = 2_000
_KINDS = (
    ("QuantityTypeIdentifierHeartRate", 'unit="count/min" '),
    ("QuantityTypeIdentifierHeartRate", 'unit="count/min" '),
    ("QuantityTypeIdentifierHeartRate", 'unit="count/min" '),
    ("QuantityTypeIdentifierStepCount", 'unit="count" '),
    ("QuantityTypeIdentifierActiveEnergyBurned", 'unit="kcal" '),
    ("QuantityTypeIdentifierDistanceWalkingRunning", 'unit="km" '),
    ("CategoryTypeIdentifierSleepAnalysis", ""),
)


def export_xml(file: Path, megabytes: int, begin_us: int, seed: int = 7) -> int:
    """Write an export of that size, a record every five seconds from `begin_us` on or before it; how many records.

    What does not fit between there and now goes back in time: an export is of years.
    """
    chance, written, records = random.Random(seed), 0, 0
    begin = datetime.fromtimestamp(begin_us // 1_000_000, UTC)
    with file.open("w", encoding="utf-8") as out:
        written += out.write(_HEAD.format(exported=_clock(begin + timedelta(days=19))))
        while written < megabytes * 1_000_000:
            lines = [_record(chance, begin - timedelta(seconds=5 * (records + n))) for n in range(_BLOCK)]
            written += out.write("".join(lines))
            records += _BLOCK
        out.write("</HealthData>\n")
    return records


def _record(chance: random.Random, start: datetime) -> str:
    kind, unit = chance.choice(_KINDS)
    if kind.startswith("Category"):
        value = "HKCategoryValueSleepAnalysisAsleepCore"
    else:
        value = str(chance.randint(1, 8)) if "Step" in kind else f"{chance.uniform(0.1, 0.9) + _base(kind):.3f}"
    end = start + timedelta(seconds=0 if "HeartRate" in kind else 4)
    return _RECORD.format(kind=kind, unit=unit, device=_WATCH, start=_clock(start), end=_clock(end), value=value)


def _base(kind: str) -> float:
    return 60.0 if "HeartRate" in kind else 0.0 if "Energy" in kind else -0.09


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S +0000")


_OBR = "OBR|1|o{n}|f{n}|57698-3^Panel^LN|||{at}|||||||||7^Performer^A|||||{at}|||F"
_PATIENT = "PID|1||s{person}^^^LAB^PI||Doe^Jane||19800101|F"
_SPECIMEN = "SPM|1|b{n}||119297000^Blood^SCT||||368208006^Arm^SCT|||||||||{at}|{at}"
_TESTS = (
    ("2093-3^Cholesterol", "mg/dL", 120, 240),
    ("2571-8^Triglycerides", "mg/dL", 60, 200),
    ("2085-9^HDL", "mg/dL", 35, 80),
    ("13457-7^LDL", "mg/dL", 60, 160),
    ("4548-4^HbA1c", "%", 5, 9),
    ("2345-7^Glucose", "mg/dL", 70, 130),
    ("718-7^Haemoglobin", "g/dL", 11, 17),
    ("6690-2^Leukocytes", "10*3/uL", 4, 10),
    ("2160-0^Creatinine", "mg/dL", 1, 2),
    ("1742-6^ALT", "U/L", 10, 60),
)
assert len(_TESTS) == RESULTS_OF_A_MESSAGE


def results_hl7(file: Path, results: int, begin_us: int, seed: int = 7) -> list[str]:
    """Write a batch of so many results, ten a message, one message a person and hour; the messages by themselves."""
    chance = random.Random(seed)
    messages = [_message(chance, number, begin_us) for number in range(results // RESULTS_OF_A_MESSAGE)]
    batch = ["FHS|^~\\&|LAB\r", "BHS|^~\\&|LAB\r", *messages, f"BTS|{len(messages)}\r", "FTS|1\r"]
    file.write_text("".join(batch), encoding="utf-8", newline="")
    return messages


def _message(chance: random.Random, number: int, begin_us: int) -> str:
    taken = datetime.fromtimestamp(begin_us // 1_000_000, UTC) + timedelta(hours=number // PEOPLE)
    at = taken.strftime("%Y%m%d%H%M%S+0000")
    segments = [
        f"MSH|^~\\&|LAB^1.2.3^ISO|Bench Lab|R|R|{at}||ORU^R01^ORU_R01|M{number}|P|2.5.1",
        _PATIENT.format(person=number % PEOPLE),
        _OBR.format(n=number, at=at),
        *(_result(chance, place, at) for place in range(RESULTS_OF_A_MESSAGE)),
        _SPECIMEN.format(n=number, at=at),
    ]
    return "".join(f"{segment}\r" for segment in segments)


def _result(chance: random.Random, place: int, at: str) -> str:
    code, unit, low, high = _TESTS[place]
    value = f"{chance.uniform(low, high):.1f}"
    return (
        f"OBX|{place + 1}|NM|{code}^LN^L{place}^local^99L||{value}|{unit}^^UCUM|{low}-{high}|N|||F|||{at}|||M^method^99M"
        f"||{at}"
    )
