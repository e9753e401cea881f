"""HL7 v2: what is said of the specimen, the run and the assay, beside the results."""

import io
from typing import Any

import pyarrow as pa
import pytest

from connectors.hl7v2 import Reader
from connectors.lab_results import CONTRACT, lab_messages
from connectors.receipt import Receipt
from schemas.contracts import decode
from schemas.lab_mapping import LabMapping, parse
from tests.lab_messages import PID, file_with_faults, message, obr, obx, spm

MAPPING = parse(
    """
laboratory: North Lab
haemolysis: {code: HIDX, mg_dl: 100}
run: {code: RUN, system: L}
controls: {code: QC, passed: [PASS, "1"]}
"""
)


def aside(code: str, value: str, kind: str = "ST", number: int = 9) -> str:
    return obx(value, kind, number, f3=code, f6="", f7="", f14="")


def read(*segments: str, mapping: LabMapping | None = MAPPING) -> list[dict[str, Any]]:
    """The messages of the contract that a file becomes."""
    text = message(PID.format(n=1), *segments)
    found = Reader(mapping)(io.BytesIO(text.encode()), "f")
    batches = [part for part in found if isinstance(part, pa.RecordBatch)]
    return [decode(one.value, CONTRACT) for batch in batches for one in lab_messages(batch) if one.value]


def specimen(rejected: str = "", condition: str = "") -> str:
    """An SPM with fields 21 and 24."""
    fields = [*spm().split("|"), *[""] * 8]
    fields[21], fields[24] = rejected, condition
    return "|".join(fields)


def test_a_specimens_condition_and_why_it_was_rejected() -> None:
    (one,) = read(obr(), obx(), specimen("QS^Too little^HL70490~RB", "HEM^Hemolyzed^HL70493~COOL"))
    assert one["specimen"]["rejected"] == [
        {"code": "QS", "text": "Too little", "system": "HL70490"},
        {"code": "RB", "text": None, "system": None},
    ]
    assert [code["code"] for code in one["specimen"]["conditions"]] == ["HEM", "COOL"]


def test_a_specimen_of_which_nothing_is_said() -> None:
    (one,) = read(obr(), obx(), specimen())
    assert (one["specimen"]["rejected"], one["specimen"]["conditions"], one["run"]) == ([], [], None)


@pytest.mark.parametrize(
    ("written", "dilution"), [("^1^:^10", 10.0), ("^20", 20.0), ("5", 5.0), ("", None), ("strong", None)]
)
def test_how_often_it_was_diluted(written: str, dilution: float | None) -> None:
    container = "|".join(["SAC", *[""] * 28, written])
    (one,) = read(obr(), container, obx(), obx(number=2, f4="2"), spm())
    assert [result["dilution"] for result in one["results"]] == [dilution, dilution]


def test_what_is_said_of_the_run_and_the_specimen_is_no_result_and_holds_for_all_results_of_the_order() -> None:
    one, other = read(
        obr(), obx("1"), aside("QC^^L", "FAIL"), obx("2", number=2), aside("RUN^^L", "r-17"), aside("HIDX", "1.2", "NM"), spm(),
        obr(2), obx("3"), spm(),
    )  # fmt: skip
    assert [result["value"]["number"] for result in one["results"]] == [1.0, 2.0]
    assert one["run"] == {"id": "r-17", "controls": "failed"}
    assert one["specimen"]["haemolysis_index"] == 120.0
    assert (other["run"], other["specimen"]["haemolysis_index"]) == (None, None)


@pytest.mark.parametrize(
    ("word", "kind", "controls"),
    [
        ("PASS", "ST", "passed"),
        ("1", "NM", "passed"),
        ("PASS^passed^L", "CWE", "passed"),
        ("pass", "ST", "failed"),
        ("?", "ST", "failed"),
        ("", "ST", "absent"),
        ('""', "ST", "absent"),
    ],
)
def test_every_word_but_those_for_passed_is_a_failure(word: str, kind: str, controls: str) -> None:
    (one,) = read(obr(), aside("QC", word, kind), obx(), spm())
    assert one["run"] == {"id": None, "controls": controls}


def test_the_first_word_on_a_run_stands_and_a_code_of_another_system_is_a_result() -> None:
    (one,) = read(
        obr(), aside("QC", "FAIL"), aside("QC", "PASS"), obx("7", f3="RUN^^OTHER"), aside("HIDX", "high"), spm()
    )
    assert one["run"]["controls"] == "failed"
    assert one["specimen"]["haemolysis_index"] is None
    assert [result["code"]["code"] for result in one["results"]] == ["RUN"]


def test_without_a_mapping_they_are_results_like_any_other() -> None:
    (one,) = read(obr(), aside("QC", "FAIL"), obx(), spm(), mapping=None)
    assert [result["code"]["code"] for result in one["results"]] == ["QC", "2345-7"] and one["run"] is None


def test_of_a_file_with_every_fault_the_same_is_read_and_refused() -> None:
    """A mapping that names observations beside the results changes nothing where there are none."""
    content, expected = file_with_faults(7)
    receipt = Receipt("hl7v2")
    for batch in receipt.batches(Reader(MAPPING)(io.BytesIO(content), "f")):
        receipt.add(batch)
    assert (receipt.by_type, receipt.problems) == (expected.published, expected.problems)


@pytest.mark.parametrize("value", ["x" * 3000, r"\C2842\a", "gr\udcfcn", "^^^", "<5", "~"])
def test_what_cannot_be_read_as_a_word_stops_nothing(value: str) -> None:
    text = message(
        PID.format(n=1), obr(), aside("QC", value), aside("HIDX", value, "NM"), aside("RUN^^L", value), obx(), spm()
    )
    found = [*Reader(MAPPING)(io.BytesIO(text.encode("utf-8", "surrogateescape")), "f")]
    assert sum(part.num_rows for part in found if isinstance(part, pa.RecordBatch)) >= 1


def test_an_order_of_nothing_but_controls_has_no_results() -> None:
    assert read(obr(), aside("QC", "PASS"), spm()) == []


def test_what_is_no_result_is_no_record_of_the_file_either() -> None:
    text = message(PID.format(n=1), obr(), aside("QC", "PASS"), obx(), obx("x", number=2), spm())
    receipt = Receipt("hl7v2")
    reader = Reader(MAPPING)
    for batch in receipt.batches(reader(io.BytesIO(text.encode()), "f")):
        receipt.add(batch)
    assert (receipt.records, receipt.published, receipt.problems) == (2, 1, {"R_VALUE": 1})
