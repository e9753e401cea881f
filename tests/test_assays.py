"""Around a laboratory's results: the specimen's condition, the run, and what the assay can measure, in the catalogue's terms."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectors.hl7v2 import Reader
from connectors.lab_results import CONTRACT, lab_messages
from pipelines.normalise import normalise
from schemas.contracts import contracts, encode
from schemas.lab_mapping import LabMapping, parse
from tests.lab_messages import PID, message, obr, obx, spm
from tests.test_hl7v2_about import aside, specimen
from tests.test_pipeline_lab_results import LAB, block_of

NAME = "laboratory: North Lab\n"
GLUCOSE = {"f3": "0815^Glucose^EXL", "f6": "mg/dL"}
OWN = NAME + "codes: [{code: '0815', system: EXL, loinc: 2345-7}]\n"
LIMITS = OWN + "limits: [{code: '0815', system: EXL, unit: mmol/L, loq: 0.1, low: 0.1, high: 33.3}]\n"


def results(*segments: str, mapping: LabMapping) -> list[dict[str, Any]]:
    """Each result's reading, as it is after normalise."""
    text = message(PID.format(n=1), *segments)
    found = Reader(mapping)(io.BytesIO(text.encode()), "f")
    values = [m.value for part in found if isinstance(part, pa.RecordBatch) for m in lab_messages(part) if m.value]
    (block,), pointers = normalise(block_of(values), LAB, {"North Lab": mapping})
    assert not pointers
    rows: list[dict[str, Any]] = block.readings.to_pylist()
    return rows


def test_limits_come_in_the_metrics_unit_whatever_the_result_was_sent_in() -> None:
    one, other = results(
        obr(),
        obx("90", number=1, **GLUCOSE),
        obx("5", number=2, **{**GLUCOSE, "f6": "mmol/L"}),
        spm(),
        mapping=parse(LIMITS),
    )
    for name, wanted in (("loq", 0.1), ("reportable_low", 0.1), ("reportable_high", 33.3)):
        assert one[name] == other[name]
        assert one[name] / other["value"] == pytest.approx(wanted / 5)


@pytest.mark.parametrize(
    ("mapping", "fields", "value", "kind"),
    [
        (OWN, GLUCOSE, "90", "NM"),
        (LIMITS.replace("EXL, unit", "OTHER, unit"), GLUCOSE, "90", "NM"),
        (LIMITS.replace("mmol/L", "fL"), GLUCOSE, "90", "NM"),
        (LIMITS, GLUCOSE, "^1^-^2", "SN"),
        (LIMITS, {"f6": "mg/dL"}, "90", "NM"),
    ],
    ids=["none", "another system", "a unit that is none of the metric's", "two numbers", "another code"],
)
def test_where_no_limits_are_known(mapping: str, fields: dict[str, str], value: str, kind: str) -> None:
    (one,) = results(obr(), obx(value, kind, 1, **fields), spm(), mapping=parse(mapping))
    assert [one[name] for name in ("loq", "reportable_low", "reportable_high")] == [None, None, None]


def test_limits_without_a_unit_are_in_the_metrics_own() -> None:
    (one,) = results(obr(), obx("90", number=1, **GLUCOSE), spm(), mapping=parse(LIMITS.replace("unit: mmol/L, ", "")))
    assert (one["loq"], one["reportable_high"]) == (0.1, 33.3)


def test_a_specimen_is_told_in_our_own_words_only() -> None:
    own = NAME + "conditions: [{sent: HAEM2, means: haemolysed}]\nrejections: [{sent: '17', means: mislabelled}]\n"
    (one,) = results(obr(), obx(), specimen("17", "HAEM2"), mapping=parse(own))
    assert (one["specimen_condition"], one["rejection"], one["rejected_for"]) == (
        *("haemolysed", "recoverable", "mislabelled"),
    )
    (one,) = results(obr(), obx(), specimen("17", "HAEM2"), mapping=parse(NAME))
    assert (one["specimen_condition"], one["rejection"], one["rejected_for"]) == ("other", "unknown", None)
    (one,) = results(obr(), obx(), specimen(), mapping=parse(own))
    assert (one["specimen_condition"], one["rejection"], one["rejected_for"]) == (None, None, None)


@pytest.mark.parametrize(
    ("said", "required", "told"),
    [
        (["PASS"], "false", "passed"),
        (["FAIL"], "true", "failed"),
        ([], "false", None),
        ([], "true", "absent"),
        ([""], "true", "absent"),
    ],
)
def test_how_the_runs_controls_came_out(said: list[str], required: str, told: str | None) -> None:
    mapping = parse(NAME + f"controls: {{code: QC, passed: [PASS], required: {required}}}\n")
    rows = results(obr(), obx(), *(aside("QC", word) for word in said), obx(number=2), spm(), mapping=mapping)
    assert [row["run_controls"] for row in rows] == [told, told]


def test_a_run_is_one_for_all_that_was_measured_in_it() -> None:
    mapping = parse(NAME + "run: {code: RUN}\n")
    rows = results(
        obr(), obx(), aside("RUN", "a"), spm(), obr(2), obx(), aside("RUN", "a"), spm(),
        obr(3), obx(), aside("RUN", "b"), spm(), obr(4), obx(), spm(),
        mapping=mapping,
    )  # fmt: skip
    runs = np.array([row["run"] for row in rows], dtype=np.uint64)
    assert runs[0] == runs[1] != runs[2] and runs[3] == 0 and 0 not in runs[:3]


def test_the_haemolysis_index_and_dilution_are_each_results() -> None:
    mapping = parse(NAME + "haemolysis: {code: HIDX}\n")
    container = "|".join(["SAC", *[""] * 28, "^4"])
    rows = results(obr(), container, obx(), aside("HIDX", "37.5", "NM"), obx(number=2), spm(), mapping=mapping)
    assert [(row["haemolysis_index"], row["dilution"]) for row in rows] == [(37.5, 4.0), (37.5, 4.0)]


def test_messages_of_the_first_version_say_nothing_of_it() -> None:
    first = next(one for one in contracts().values() if one.label == "lab-result 1.0")
    moment = {"at": 1_709_191_800_000_000, "offset_min": 60}
    result = {"code": {"code": "2345-7"}, "value": {"written": "5", "number": 5.0}, "unit": {"code": "mmol/L"}}
    sent: dict[str, Any] = {"subject": "KIT1", "subject_kind": "kit", "laboratory": "North Lab", "order": {}}
    sent |= {"results": [{**result, "status": "F", "observed": moment}]}
    (block,), _ = normalise(block_of([encode(CONTRACT, sent, first)]), LAB)
    (one,) = block.readings.to_pylist()
    told = ("specimen_condition", "rejection", "haemolysis_index", "dilution", "loq", "run_controls")
    assert [one[name] for name in told] == [None] * len(told) and one["run"] == 0
