"""What a laboratory's codes, words and units are in the catalogue's language, and who is asked first."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectors.hl7v2 import Reader
from schemas import lab_mapping
from schemas.lab_mapping import LabMapping
from schemas.lab_terms import coded_value, metric_of, unit_of, worded_value
from schemas.lab_units import spellings
from schemas.mappings import mapping
from schemas.metrics import Metric, catalogue
from schemas.reasons import Reason, Rejected

SAMPLES = Path(os.environ.get("SAMPLES_DIR", Path(__file__).parents[2] / "shared" / "samples")) / "hl7"

OWN = lab_mapping.parse(
    """
    laboratory: x
    codes:
      - {code: GLU, loinc: 2345-7}
      - {code: GLU, system: FAST, metric: glucose_fasting}
      - {code: BV, metric: bacterial_vaginosis}
      - {code: 718-7, system: OWN, metric: ferritin}
      - {code: ODD, loinc: 39106-0}
    values:
      - {sent: zweifelhaft, means: equivocal}
      - {sent: "3", system: OWN, means: invalid}
      - {sent: "3", means: detected}
      - {sent: "3", metric: urine_nitrite, means: positive}
      - {sent: negative, metric: hiv, means: equivocal}
      - {sent: high, metric: urine_glucose, means: plus_3}
    units: {Mio/µL: 10*6/uL, "10^9/L": 10*6/uL, EH: "[IU]/L"}
    """
)


Sent = tuple[str, str | None, str | None, str | None]


def metric(code: str) -> Metric:
    return catalogue().metrics[code]


@pytest.mark.parametrize(
    ("sent", "laboratory", "code"),
    [
        (("718-7", "LN", None, None), None, "haemoglobin"),
        (("718-7", "LOINC", None, None), None, "haemoglobin"),
        (("718-7", "http://loinc.org", None, None), None, "haemoglobin"),
        (("718-7", "2.16.840.1.113883.6.1", None, None), None, "haemoglobin"),
        (("718-7", None, None, None), None, "haemoglobin"),
        (("14749-6", "LN", None, None), None, "glucose_serum"),
        (("5803-2", "LN", None, None), None, "urine_strip_ph"),
        (("718-7", "L", None, None), None, None),
        (("718-7", "L", None, None), OWN, None),
        (("718-7", "OWN", None, None), OWN, "ferritin"),
        (("8867-4", "LN", None, None), None, None),
        (("718-6", None, None, None), None, None),
        (("GLU", "L", None, None), None, None),
        (("GLU", "L", None, None), OWN, "glucose_serum"),
        (("GLU", None, None, None), OWN, "glucose_serum"),
        (("GLU", "FAST", None, None), OWN, "glucose_fasting"),
        (("BV", "L", None, None), OWN, "bacterial_vaginosis"),
        (("ODD", "L", None, None), OWN, None),
        (("99999-9", "LN", "718-7", "LN"), None, "haemoglobin"),
        (("99999-9", "LN", "GLU", "L"), OWN, "glucose_serum"),
        (("GLU", "L", "718-7", "LN"), OWN, "glucose_serum"),
        (("x", "L", "718-7", None), None, "haemoglobin"),
        (("x", "L", "y", None), OWN, None),
    ],
)
def test_a_code_names_a_metric(sent: Sent, laboratory: LabMapping | None, code: str | None) -> None:
    first, system, other, other_system = sent
    found = metric_of(first, system, other, other_system, laboratory)
    assert (found and found.code) == code


@pytest.mark.parametrize("code", ["haemoglobin", "hiv", "age_at_collection", "phq9_total"])
def test_a_sensors_message_may_not_name_a_laboratorys_metric(code: str) -> None:
    with pytest.raises(Rejected) as refused:
        mapping(code, metric(code).unit, bool(metric(code).codes), 1, "irregular")
    assert refused.value.reason == Reason.METRIC


@pytest.mark.parametrize(
    ("of", "sent", "code"),
    [
        ("hiv", [("260373001", "SCT", None)], "detected"),
        ("hiv", [("10828004", "http://snomed.info/sct", "Positive")], "detected"),
        ("hiv", [("LA6577-6", "LN", None)], "not_detected"),
        ("hiv", [("LA9633-4", "LN", "Present")], "detected"),
        ("hiv", [("LA9634-2", "LN", "Absent")], "not_detected"),
        ("urine_nitrite", [("260373001", "SCT", None)], "positive"),
        ("urine_nitrite", [("441614007", "SCT", None)], "plus_1"),
        ("hiv", [("441614007", "SCT", None)], "detected"),
        ("hiv", [("260405006", "SCT", None)], None),
        ("first_test", [("Y", "HL70136", "Yes")], "yes"),
        ("first_test", [("UNK", "NULLFL", None)], "unknown"),
        ("pregnancy_status", [("N", "HL70136", "No")], "not_pregnant"),
        ("pregnancy_status", [("77386006", "SCT", None)], "pregnant"),
        ("rh_group", [("10828004", "SCT", None)], "rh_positive"),
        ("abo_rh_group", [("278148006", "SCT", None)], "o_negative"),
        # A code of a system that is known is no word: N of the flags is normal, not no.
        ("first_test", [("N", "HL70078", None)], None),
        ("first_test", [("N", "L", None)], "no"),
        # A text is asked where no code is known, of whichever code.
        ("hiv", [("17", "L", "Negative")], "not_detected"),
        ("hiv", [("17", "SCT", "Negative")], "not_detected"),
        ("hiv", [("17", "L", "odd"), ("260373001", "SCT", None)], "detected"),
        ("hiv", [("17", "L", "Negative"), ("260373001", "SCT", None)], "detected"),
        ("hiv", [("POS", "L", None)], "detected"),
        ("hiv", [("260373001", None, "Detected")], "detected"),
        ("hiv", [("260405006", "SCT", None), ("260415000", "SCT", None)], "not_detected"),
        ("haemoglobin", [("260373001", "SCT", "Detected")], None),
        ("hiv", [], None),
    ],
)
def test_a_coded_value(of: str, sent: list[tuple[str, str | None, str | None]], code: str | None) -> None:
    assert coded_value(metric(of), sent, None) == code


@pytest.mark.parametrize(
    ("of", "words", "code"),
    [
        ("chlamydia_trachomatis", "Negative", "not_detected"),
        ("chlamydia_trachomatis", " NOT  detected\n", "not_detected"),
        ("chlamydia_trachomatis", "ND", "not_detected"),
        ("chlamydia_trachomatis", "negatief", "not_detected"),
        ("chlamydia_trachomatis", "nachgewiesen", "detected"),
        ("chlamydia_trachomatis", "NON DÉTECTÉ", "not_detected"),
        ("chlamydia_trachomatis", "Indeterminado", "equivocal"),
        ("chlamydia_trachomatis", "trace", None),
        ("chlamydia_trachomatis", "weakly positive", None),
        ("chlamydia_trachomatis", "not tested", None),
        ("chlamydia_trachomatis", "", None),
        ("urine_protein", "1+", "plus_1"),
        ("urine_protein", "+++", "plus_3"),
        ("urine_protein", "Spuren", "trace"),
        ("urine_protein", "Negative", "negative"),
        ("urine_protein", "normal", None),
        ("urine_urobilinogen", "normal", "normal"),
        ("abo_group", "0", "o"),
        ("abo_rh_group", "A pos", "a_positive"),
        ("rh_group", "NEG", "rh_negative"),
        ("haemoglobin", "negative", None),
    ],
)
def test_a_value_in_words(of: str, words: str, code: str | None) -> None:
    assert worded_value(metric(of), words, None) == code


def test_the_laboratorys_own_words_go_before_the_table() -> None:
    assert worded_value(metric("hiv"), "Zweifelhaft", OWN) == "equivocal"
    assert worded_value(metric("hiv"), "zweifelhaft", None) is None
    assert worded_value(metric("hiv"), "negative", OWN) == "equivocal"
    assert worded_value(metric("hpv_16"), "negative", OWN) == "not_detected"
    assert worded_value(metric("urine_glucose"), "high", OWN) == "plus_3"
    assert worded_value(metric("urine_protein"), "high", OWN) is None


def test_what_names_the_metric_then_the_system_goes_before_the_rest() -> None:
    assert coded_value(metric("hiv"), [("3", "OWN", None)], OWN) == "invalid"
    assert coded_value(metric("hiv"), [("3", "L", None)], OWN) == "detected"
    assert coded_value(metric("hiv"), [("3", None, None)], OWN) == "detected"
    assert coded_value(metric("urine_nitrite"), [("3", "OWN", None)], OWN) == "positive"
    # A meaning that the metric does not have is passed over.
    assert coded_value(metric("first_test"), [("3", "OWN", None)], OWN) is None


@pytest.mark.parametrize(
    ("of", "sent", "laboratory", "of_ten"),
    [
        ("creatinine", "mg/dL", None, 10),
        ("creatinine", "µmol/L", None, 0.11312),
        ("creatinine", "UMOL/L", None, 0.11312),
        ("creatinine", "mmol/mol", None, None),
        ("creatinine", "", None, None),
        ("creatinine", None, None, None),
        ("leukocytes", "giga.l-1", None, 10),
        ("leukocytes", "K/uL", None, 10),
        ("leukocytes", "/nl", None, 10),
        ("leukocytes", "cells/uL", None, 0.01),
        ("erythrocytes", "T/L", None, 10),
        ("erythrocytes", "Mio/μL", None, None),
        ("erythrocytes", "Mio/μL", OWN, 10),
        # What a laboratory says of its spelling goes before the table, also where it then is no unit of the metric.
        ("erythrocytes", "10^9/L", None, None),
        ("erythrocytes", "10^9/L", OWN, 10),
        ("leukocytes", "10^9/L", OWN, None),
        ("lh", "IE/L", None, 10),
        ("lh", "EH", OWN, 10),
        ("ca_125", "kU/L", None, 10),
        ("ca_125", "U/ml", None, 10),
        ("alt", "µkat/L", None, 600),
        ("haemoglobin", "mmol/l", None, 16.114),
        ("nugent_score", None, None, 10),
        ("nugent_score", "{score}", None, 10),
        ("urine_strip_ph", None, None, 10),
        ("urine_strip_ph", "pH", None, 10),
        ("urine_specific_gravity", None, None, 10),
        ("filtration_rate", "mL/min/1.73 m2", None, 10),
        ("age_at_collection", "a", None, 10),
        ("age_at_collection", "years", None, 10),
        ("age_at_collection", None, None, None),
        ("phq9_total", None, None, 10),
        # Beside a code a unit says nothing.
        ("urine_glucose", "mg/dL", None, 10),
        ("urine_glucose", None, None, 10),
    ],
)
def test_a_unit_converts(of: str, sent: str | None, laboratory: LabMapping | None, of_ten: float | None) -> None:
    found = unit_of(metric(of), sent, laboratory)
    if of_ten is None:
        assert found is None
    else:
        assert found is not None and found.unit == metric(of).unit
        assert float(found.to_canonical(np.array([10.0]))[0]) == pytest.approx(of_ten)


def test_every_unit_of_a_laboratorys_metric_is_found_as_it_stands_and_as_it_is_spelled() -> None:
    by_unit: dict[str, list[str]] = {}
    for spelling, unit in spellings().items():
        by_unit.setdefault(unit, []).append(spelling)
    for one in catalogue().of_laboratories:
        if not one.codes:
            for unit in one.units:
                wanted = one.conversion(unit)
                assert {unit_of(one, sent, None) for sent in [unit, *by_unit.get(unit, [])]} - {wanted} <= same(wanted)


def same(wanted: Any) -> set[Any]:
    """Conversions that a spelling may have too: the catalogue's own of the same numbers."""
    quantities = {id(one.quantity): one.quantity for one in catalogue().of_laboratories}.values()
    found = [conversion for quantity in quantities for conversion in quantity.conversions.values()]
    numbers = (wanted.unit, wanted.exact_factor, wanted.exact_offset)
    return {one for one in found if (one.unit, one.exact_factor, one.exact_offset) == numbers}


@pytest.mark.parametrize("file", ["batch_message.hl7", "sample_1.hl7", "single_message.hl7", "valid.hl7"])
def test_every_result_of_a_real_file_finds_its_metric_unit_and_value(file: str) -> None:
    if not (SAMPLES / file).is_file():
        pytest.skip(f"no real file {file}: set SAMPLES_DIR to the folder of samples")
    batches = Reader(None)(io.BytesIO((SAMPLES / file).read_bytes()), file)
    results = [row["result"] for batch in batches if isinstance(batch, pa.RecordBatch) for row in batch.to_pylist()]
    assert results
    for result in results:
        code, other = result["code"], result["other_code"] or {"code": None, "system": None}
        found = metric_of(code["code"], code["system"], other["code"], other["system"], None)
        assert found is not None, code["code"]
        assert found.family == ("answer" if result["kind"] == "questionnaire" else "lab_result")
        assert unit_of(found, result["unit"] and result["unit"]["code"], None) is not None
        if found.codes:
            codes = result["value"]["codes"]
            sent = [(one["code"], one["system"], one["text"]) for one in codes["codes"] + codes["other_codes"]]
            assert coded_value(found, sent, None) in found.codes
        else:
            assert found.hard is not None
            assert found.hard.low <= result["value"]["number"]["number"] <= found.hard.high
