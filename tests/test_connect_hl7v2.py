"""wellspring connect hl7v2: what somebody at a laboratory types, and what they are told."""

import json
from pathlib import Path

import pytest

from tests.canaries import MARK
from tests.command import execute
from tests.lab_messages import PID, file_with_faults, message, obr, obx, spm


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three messages: results, results with a fault, an order."""
    file = tmp_path / "results.hl7"
    whole = message(PID.format(n=1), obr(), obx(), obx("Y^Yes^L", "CWE", f3="Q1^Well?^L", f29="QST"), spm())
    faulty = message(PID.format(n=2), obr(2), obx(), obx(f11="I"), spm())
    file.write_text(whole + faulty + message(obr(3), obx(), kind="ORM^O01"), newline="")
    return file


def test_a_file_is_tried_out_without_a_deployment(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["connect", "hl7v2", str(results), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "format": "hl7v2",
        "records": 4,
        "published": 3,
        "problems": {"R_STATUS": 1},
        "not_read": [
            {"what": "ORM^O01: 1 OBX", "place": "message 3"},
            {"what": "2345-7", "place": "line 11 (message 2, OBX 2)", "reason": "R_STATUS"},
        ],
        "partial": False,
        "by_type": {"2345-7": 2, "Q1": 1},
    }


def test_people_are_told_what_each_message_would_be_answered(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["connect", "hl7v2", str(results), "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "4 records: 3 would be published, 1 not" in said
    assert "  AA for 1 message\n  AE for 1 message: messages 2\n  AR for 1 message: messages 3\n" in said


def test_a_mapping_file_says_whose_the_results_are(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = tmp_path / "lab.yaml"
    mapping.write_text("laboratory: x\nsubject: [{kind: person, field: PID-3, identifier_type: none}]\n")
    arguments = ["connect", "hl7v2", str(results), "--dry-run", "--json", "--laboratory", str(mapping)]
    assert execute(arguments) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == {"R_SUBJECT": 4}
    assert execute([*arguments, "--subject", "p-1"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == {"R_STATUS": 1}


@pytest.mark.parametrize("content", [None, "[", "laboratory: x\nzone: Nowhere\n", "laboratory: x\nencoding: klingon\n"])
def test_a_mapping_file_that_cannot_be_used_is_told(
    content: str | None, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = tmp_path / "lab.yaml"
    if content is not None:
        mapping.write_text(content)
    assert execute(["connect", "hl7v2", str(results), "--dry-run", "--laboratory", str(mapping)]) == 1
    assert "the laboratory's mapping file" in capsys.readouterr().err


def test_a_file_of_another_kind_and_a_batch_cut_short_are_told(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.hl7"
    other.write_bytes(b"%PDF-1.7")
    assert execute(["connect", "hl7v2", str(other), "--dry-run"]) == 1
    assert "this is no HL7 v2 file: it seems to be a PDF" in capsys.readouterr().err
    other.write_bytes(b"BHS|^~\\&|x\r" + results.read_bytes())
    assert execute(["connect", "hl7v2", str(other), "--dry-run"]) == 1
    assert "it has no trailer, so it may have been cut short" in capsys.readouterr().err


def test_nobody_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.hl7"
    file.write_bytes(file_with_faults(3)[0])
    for words in ([], ["--json"]):
        assert execute(["connect", "hl7v2", str(file), "--dry-run", *words]) == 0
        said = capsys.readouterr()
        assert said.out + said.err
        assert MARK not in said.out + said.err
