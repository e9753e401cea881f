"""A laboratory's mapping file: what it may say, and that a fault is told by its place without a value."""

from pathlib import Path

import pytest

from schemas import lab_mapping
from schemas.lab_entries import IDENTIFIER_FIELDS
from schemas.lab_mapping import LabMapping, LabMappingError, load_lab_mapping
from schemas.lab_units import ucum
from schemas.metrics import catalogue
from tests.canaries import MARK

EXAMPLE = Path(__file__).parents[1] / "infra" / "laboratory.example.yaml"


def test_the_example_uses_everything_that_a_mapping_may_say() -> None:
    found = load_lab_mapping(EXAMPLE)
    assert found.model_fields_set == set(LabMapping.model_fields)
    assert [(one.kind, one.segment, one.number, one.component) for one in found.subject] == [
        ("kit", "SPM", 2, None),
        ("kit", "OBR", 3, None),
        ("person", "PID", 3, None),
    ]
    assert {one for entry in found.codes for one in entry.model_fields_set} == {
        "code", "system", "loinc", "metric", "note",
    }  # fmt: skip
    assert {one for entry in found.values for one in entry.model_fields_set} == {"sent", "system", "metric", "means"}


def test_without_a_file_the_barcode_is_in_the_specimen_else_in_the_order() -> None:
    assert [(one.kind, one.field) for one in LabMapping().subject] == [("kit", "SPM-2"), ("kit", "OBR-3")]


def test_a_code_is_found_by_its_system_and_else_without_one() -> None:
    found = lab_mapping.parse("laboratory: x\ncodes: [{code: a, system: L, loinc: 2345-7}, {code: a, metric: hba1c}]")
    of_system, of_any = found.local_code("a", "L"), found.local_code("a", "M")
    assert of_system and of_any
    assert (of_system.loinc, of_any.metric) == ("2345-7", "hba1c")
    assert found.local_code("b", None) is None


def test_limits_are_found_by_code_and_system_and_else_without_one() -> None:
    found = lab_mapping.parse("laboratory: x\nlimits: [{code: a, system: L, loq: 1}, {code: a, loq: 2}]")
    of_system, of_any = found.limits_of("a", "L"), found.limits_of("a", None)
    assert of_system and of_any
    assert (of_system.loq, of_any.loq, found.limits_of("b", "L")) == (1, 2, None)


def test_a_value_is_one_of_the_metrics_codes_or_none() -> None:
    found = lab_mapping.parse("laboratory: x\nvalues: [{sent: nix, means: negative}]")
    strip, swab = catalogue().metrics["urine_nitrite"], catalogue().metrics["hiv"]
    assert found.local_value(" NIX ", "L", strip) == "negative"
    assert found.local_value("nix", None, swab) is None
    assert found.local_value("nichts", None, strip) is None


def test_a_laboratorys_spelling_of_a_unit_goes_before_the_table() -> None:
    found = lab_mapping.parse("laboratory: x\nunits: {Mio/µL: 10*6/uL, Ratio: '%'}")
    assert ucum("Mio/μL", found.unit_synonyms) == "10*6/uL"
    assert ucum("Ratio", found.unit_synonyms) == "%"
    assert ucum("Ratio") == "{ratio}"


@pytest.mark.parametrize(
    "field", ["PID-5", "PID-11", "NK1-2", "GT1-3", "IN1-16", "OBX-16", "OBX-5", "PID", "pid-3", "PID-3.0"]
)
def test_fields_with_names_and_addresses_cannot_be_named(field: str) -> None:
    assert field not in IDENTIFIER_FIELDS
    with pytest.raises(LabMappingError, match=r"subject\.0\.field: .*must be one of OBR-2"):
        lab_mapping.parse(f"laboratory: x\nsubject: [{{kind: person, field: {field}}}]")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("", "the laboratory's mapping file"),
        ("[]", "the laboratory's mapping file"),
        ("version: 1", "laboratory: Field required"),
        ("laboratory: ''", "laboratory: "),
        ("laboratory: x\nversion: 0", "version: "),
        ("laboratory: x\nsubject: []", "subject: "),
        (f"laboratory: x\nsubject: [{{kind: {MARK}, field: PID-3}}]", "subject.0.kind: "),
        (f"laboratory: x\nzone: {MARK}/Atlantis", "zone: "),
        (f"laboratory: x\ncodes: [{{code: {MARK}}}]", "needs loinc, metric or both"),
        ("laboratory: x\ncodes: [{code: a, loinc: 2345-6}]", "codes.0.loinc: "),
        ("laboratory: x\ncodes: [{code: a, metric: heart_rate}]", "codes.0.metric: "),
        ("laboratory: x\ncodes: [{code: a, loinc: 2345-7}, {code: a, metric: hba1c}]", "same code and system twice"),
        (f"laboratory: x\nvalues: [{{sent: {MARK}, means: gone}}]", "values.0: Value error, means must be a code"),
        (f"laboratory: x\nvalues: [{{sent: {MARK}, metric: hiv, means: negative}}]", "means must be a code"),
        (f"laboratory: x\nvalues: [{{sent: {MARK}, metric: sleep_stage, means: deep}}]", "values.0.metric: "),
        (f"laboratory: x\nvalues: [{{sent: {MARK}, means: deep}}]", "means must be a code"),
        ("laboratory: x\nvalues: [{sent: Nix, means: negative}, {sent: ' nix', means: positive}]", "metric twice"),
        (f"laboratory: x\nunits: {{q: {MARK}}}", "units must stand for UCUM units"),
        ("laboratory: x\nunits: {µq: '%', μq: '1'}", "same spelling twice"),
        ("laboratory: x\nlimits: [{code: a}]", "needs loq, low or high"),
        ("laboratory: x\nlimits: [{code: a, low: 2, high: 2}]", "low must be below high"),
        ("laboratory: x\nlimits: [{code: a, loq: .nan}]", "limits.0.loq: "),
        (f"laboratory: x\nlimits: [{{code: a, loq: 1, unit: {MARK}}}]", "the unit of limits must be a UCUM unit"),
        ("laboratory: x\nlimits: [{code: a, loq: 1}, {code: a, low: 1}]", "limits has the same code and system twice"),
        (f"laboratory: x\nconditions: [{{sent: a, means: {MARK}}}]", "conditions.0.means: "),
        (f"laboratory: x\nrejections: [{{sent: a, means: {MARK}}}]", "rejections.0.means: "),
        ("laboratory: x\nrejections: [{sent: a, means: empty}, {sent: ' A', means: leaked}]", "the same code twice"),
        ("laboratory: x\ncontrols: {code: a}", "controls.passed: Field required"),
        ("laboratory: x\ncontrols: {code: a, passed: []}", "controls.passed: "),
        ("laboratory: x\nhaemolysis: {code: a, mg_dl: 0}", "haemolysis.mg_dl: "),
        ("laboratory: x\nrun: {code: a}\nhaemolysis: {code: a}", "must have codes of their own"),
        ("laboratory: x\nsubjekt: []", "subjekt: Extra inputs"),
        ("laboratory: [", "not YAML at line"),
    ],
)
def test_a_fault_is_told_by_its_place(content: str, place: str) -> None:
    with pytest.raises(LabMappingError) as refused:
        lab_mapping.parse(content)
    assert place in str(refused.value)
    assert MARK not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabMappingError, match="cannot be read"):
        load_lab_mapping(tmp_path / "none.yaml")
