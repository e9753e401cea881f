"""wellspring connect <format> FILE: what is said to people and to machines, how it ends, and that nothing is published."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors.formats import Format, formats
from connectors.kafka import KafkaUnreachable
from pipelines.commands import connect_file
from tests.apple_exports import HEART, PERSONS_PHONE, export_zip, faults, plain, record, xml
from tests.command import execute

KEYS = ["format", "records", "published", "problems", "not_read", "partial", "by_type"]


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WELLSPRING_CONFIG", raising=False)


def file(content: bytes, name: str = "export.zip") -> str:
    Path(name).write_bytes(content)
    return name


def dry_run(content: bytes, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    code = execute(["connect", "apple-health", file(content), "--dry-run", *options])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_dry_run_needs_nothing_and_says_what_would_be_published(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = dry_run(export_zip(xml(*plain(30), faults()["no end"].element)), capsys)
    assert (code, out) == (0, "")
    assert err.splitlines() == [
        "31 records: 30 would be published, 1 not",
        "           10 HKQuantityTypeIdentifierActiveEnergyBurned",
        "           10 HKQuantityTypeIdentifierHeartRate",
        "           10 HKQuantityTypeIdentifierStepCount",
        "  not published: 1 R_FIELD, at line 47",
        "  not read: __MACOSX/._* (1 in the zip)",
        "  not read: electrocardiograms/*.csv (1 in the zip)",
        "  not read: export_cda.xml (1 in the zip)",
        "  not read: workout-routes/*.gpx (2 in the zip)",
    ]


def test_the_last_line_for_a_machine_is_the_receipt(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = dry_run(export_zip(xml(*plain(30), faults()["no end"].element)), capsys, "--json")
    told = json.loads(out.splitlines()[-1])
    assert (code, err, list(told)) == (0, "", KEYS)
    assert (told["format"], told["records"], told["published"], told["partial"]) == ("apple-health", 31, 30, False)
    assert told["problems"] == {"R_FIELD": 1}
    assert sum(told["by_type"].values()) == 30
    assert {"what": "export_cda.xml", "place": "1 in the zip"} in told["not_read"]
    assert {"what": HEART, "place": "line 47", "reason": "R_FIELD"} in told["not_read"]


def test_a_file_cut_short_ends_with_1_and_names_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = dry_run(xml(*plain(30))[:-100], capsys, "--json")
    told = json.loads(out)
    assert (code, told["published"], told["partial"]) == (1, 29, True)
    assert "cut short" in told["not_read"][-1]["reason"]
    assert f"wellspring: not all of it was read or confirmed, only as far as {told['not_read'][-1]['place']}: " in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"%PDF-1.7", "this is no Apple Health export: it seems to be a PDF"),
        (b"MSH|^~\\&|", "it seems to be HL7 v2"),
        (b"", "it seems to be empty"),
        (xml(dtd='<!DOCTYPE HealthData [<!ENTITY a "b">]>'), "defines entities"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_1_and_words(
    content: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = dry_run(content, capsys, "--json")
    assert code == 1
    assert err.startswith("wellspring: ") and words in err and len(err.splitlines()) == 1
    told = json.loads(out)
    assert (list(told), told["records"], told["partial"]) == (KEYS, 0, True)


def test_a_file_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["connect", "apple-health", "none.zip", "--dry-run"]) == 1
    assert capsys.readouterr().err == "wellspring: none.zip cannot be read: No such file or directory\n"


def test_whose_file_it_is_has_to_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["connect", "apple-health", file(xml(record())), "--partner", "acme"]) == 2
    assert "--subject" in capsys.readouterr().err


def test_settings_and_partner_come_before_the_broker(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["connect", "apple-health", file(xml(record())), "--partner", "nobody", "--subject", "u1"]
    assert execute(words) == 1
    assert "settings file" in capsys.readouterr().err
    Path("wellspring.yaml").write_text("kafka: {bootstrap: '127.0.0.1:1'}\n")
    Path("partners.yaml").write_text("partners: [{name: acme}]\n")
    assert execute(words) == 1
    assert "no partner of that name" in capsys.readouterr().err


def test_no_person_is_in_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    content = export_zip(xml(*(fault.element for fault in faults().values()), record()))
    for options in ([], ["--json"]):
        _, out, err = dry_run(content, capsys, *options)
        assert not any(name in out + err for name in ("Quibble", PERSONS_PHONE, "SERIAL"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Terminal()
    monkeypatch.setattr(sys, "stderr", said)
    assert execute(["connect", "apple-health", file(xml(*plain(2_500))), "--dry-run"]) == 0
    progress, *receipt = said.getvalue().splitlines()
    assert progress == "" and receipt[0] == "1 of 1 MB read, 2,500 records"
    assert receipt[1] == "2,500 records: 2,500 would be published, 0 not"


class Sink:
    """A publisher that loses its broker at the second batch."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.flushes = self.failed = self.in_flight = 0
        self.refusals: list[str] = []

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, key: bytes, value: bytes) -> None:
        assert key == b"u1"
        if self.flushes:
            raise KafkaUnreachable("Kafka at 127.0.0.1:1 cannot be used: nothing listens there")

    def flush(self) -> "Sink":
        self.flushes += 1
        return self


def test_a_broker_that_goes_away_leaves_a_receipt_of_what_it_had(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connect_file, "Publisher", Sink)
    monkeypatch.setattr("connectors.apple_health_xml.BATCH_ROWS", 100)
    Path("wellspring.yaml").write_text("kafka: {bootstrap: '127.0.0.1:1'}\n")
    Path("partners.yaml").write_text("partners: [{name: acme, contracts: [app-export]}]\n")
    words = ["--partner", "acme", "--subject", "u1", "--json"]
    assert execute(["connect", "apple-health", file(xml(*plain(1_500))), *words]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["partial"] and 0 < told["published"] < 1_500
    assert "nothing listens there" in err


@pytest.mark.parametrize("source", formats().values(), ids=lambda one: one.name)
def test_every_format_has_its_command(source: Format, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["connect", source.name, "--help"]) == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--partner", "--subject", "--dry-run", "--json"))
