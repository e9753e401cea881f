"""What the demo's laboratory sends: HL7 v2 messages, and what each of their results is in the catalogue's words."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pipelines.demo.people import NORTH_LAB
from schemas.families import ENTERED_IN_ERROR
from schemas.lab_entries import LocalCode
from schemas.lab_mapping import LabMapping

PATIENT_NAME, PATIENT_STREET = "Quillfeather", "17 Harbour Lane"
"""What the laboratory knows of the person, and nobody else may learn from it."""
ACIDITY, FERRITIN, HPV, HBA1C = "vaginal_fluid_ph", "ferritin", "hpv_high_risk", "hba1c"
SYMPTOMS = "has_symptoms"
MAPPING = LabMapping(
    laboratory=NORTH_LAB,
    zone="Europe/Madrid",
    codes=(LocalCode(code="PHV", metric=ACIDITY, note="pH of vaginal fluid, by test strip"),),
)
"""What the laboratory's own codes and clock mean."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_US = 3_600_000_000


class Result(NamedTuple):
    """A result as it is sent (type, code, value, unit, status, and whether it is a question's answer), and what it is."""

    kind: str
    sent_code: str
    sent: str
    metric: str
    value: float | None = None
    code: str | None = None
    comparator: str | None = None
    unit: str = ""
    status: str = "F"
    question: bool = False

    @property
    def takes_back(self) -> bool:
        """Whether it says that what was sent before was entered in error."""
        return self.status in ENTERED_IN_ERROR


class Specimen(NamedTuple):
    """What was examined, with the laboratory's number of the order and the code of what it is."""

    order: str
    kind: str


SWAB, BLOOD = Specimen("fil-1", "258520000^Vaginal swab^SCT"), Specimen("fil-2", "119297000^Blood^SCT")


@dataclass(frozen=True)
class Report:
    """What a laboratory found in a kit's specimen: one message. Moments are microseconds, UTC."""

    number: int
    barcode: str
    specimen: Specimen
    collected_us: int
    arrived_us: int
    sent_us: int
    results: tuple[Result, ...]

    def message(self) -> str:
        """The message in HL7 v2.5.1, with all that laboratories say of a patient."""
        number, collected = self.number, _time(self.collected_us)
        observations = (_observation(place, result, collected) for place, result in enumerate(self.results, start=1))
        return "".join(
            f"{segment}\r"
            for segment in (
                rf"MSH|^~\&|LIS|North Lab^10D0000000^CLIA|W|W|{_time(self.sent_us)}||ORU^R01^ORU_R01|m{number}|P|2.5.1",
                f"PID|1||mrn-20417^^^NL^MR||{PATIENT_NAME}^Mira^^^^^L||19910517|F|||{PATIENT_STREET}^^Bilbao",
                f"OBR|1||{self.specimen.order}|KIT^Home kit^L|||{collected}|||||||||7^{PATIENT_NAME}^Dr",
                *observations,
                f"SPM|1|{self.barcode}||{self.specimen.kind}|||||||||||||{collected}|{_time(self.arrived_us)}",
            )
        )


@dataclass(frozen=True)
class ResultFile:
    """A file of reports, by its name."""

    file: str
    reports: tuple[Report, ...]

    def content(self) -> str:
        return "".join(report.message() for report in self.reports)


def _observation(place: int, result: Result, collected: str) -> str:
    fields = {1: str(place), 2: result.kind, 3: result.sent_code, 5: result.sent, 6: result.unit, 11: result.status}
    fields |= {14: collected, 16: f"9^{PATIENT_NAME}^Dr", 29: "QST" if result.question else ""}
    return "|".join(["OBX", *(fields.get(number, "") for number in range(1, 30))]).rstrip("|")


def _time(us: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=us + _HOUR_US):%Y%m%d%H%M%S}+0100"


def acidity(written: str, status: str) -> Result:
    """The pH, by the laboratory's own code."""
    return Result("NM", "PHV^pH^L", written, ACIDITY, float(written), unit="pH", status=status)


def share(written: str, status: str) -> Result:
    """Glycated haemoglobin, in per cent."""
    return Result("NM", "4548-4^HbA1c^LN", written, HBA1C, float(written), unit="%^^UCUM", status=status)


LOW_FERRITIN = Result("NM", "2276-4^Ferritin^LN", "<5", FERRITIN, 5.0, comparator="less_than", unit="ng/mL^^UCUM")
NO_HPV = Result("CWE", "82675-0^HPV^LN", "260415000^Not detected^SCT", HPV, code="not_detected")
HAS_SYMPTOMS = Result("CWE", "95419-8^Symptoms^LN", "Y^Yes^HL70136", SYMPTOMS, code="yes", question=True)


def results_of(files: Iterable[ResultFile]) -> list[Result]:
    """All results, in the order in which they are sent."""
    return [result for one in files for report in one.reports for result in report.results]
