"""wellspring watch: what is said to people and to machines, who learns a file's name, and how it ends."""

import io
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka import KafkaUnreachable
from connectors.watch import Round
from connectors.watch_folder import Folder
from pipelines.commands import connect_file
from pipelines.commands.watch import _Told
from tests.apple_exports import plain, xml
from tests.canaries import MARK, subject
from tests.command import execute
from tests.documents import PARTNERS, blocks
from tests.lab_messages import PID, message, obr, obx, spm
from tests.watched import Inbox

NOW = ("--settle", "0")
ANN = subject("ann")
APPLE = {"format": "apple-health", "subject": ANN}
EXPORT = xml(*plain(30))
RESULTS = message(PID.format(n=1), obr(), obx(), spm()).encode()


class Sink:
    """A publisher that takes everything, or has no broker."""

    sent: list[tuple[str, bytes]] = []
    failure: Exception | None = None
    failed = in_flight = 0
    refusals: list[str] = []

    def __init__(self, _: Any, topic: str, **__: Any) -> None:
        self.topic = topic

    def __enter__(self) -> "Sink":
        if Sink.failure:
            raise Sink.failure
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, key: bytes, value: bytes) -> None:
        Sink.sent.append((self.topic, key))

    def flush(self) -> "Sink":
        return self


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """A folder to watch, beside the settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connect_file, "Publisher", Sink)
    Sink.sent, Sink.failure = [], None
    Path("wellspring.yaml").write_text("{}")
    Path("partners.yaml").write_text("partners: [{name: acme, contracts: [app-export]}]")
    return Inbox(tmp_path / "inbox")


def test_once_works_off_what_is_there_and_tells_a_machine_one_object_a_file(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.drop("1", EXPORT, **APPLE)
    inbox.drop("2", EXPORT + b" ", **APPLE)
    inbox.drop(f"3-{MARK}", b"")
    assert execute(["watch", "inbox", "--once", "--json", *NOW]) == 0
    out, err = capsys.readouterr()
    assert [(one["outcome"], one["published"]) for one in map(json.loads, out.splitlines())] == [("done", 30)] * 2
    assert err == "" and inbox.names("done")[0] == "1"
    assert Sink.sent == [("acme.app-export.v1", ANN.encode())] * 2


def test_where_others_may_see_it_a_file_is_called_by_the_start_of_its_hash(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.drop(f"{MARK}.xml", EXPORT, **APPLE)
    inbox.drop(f"{MARK}.pdf", b"%PDF", **APPLE)
    inbox.drop(f"{MARK}.txt", b"")
    assert execute(["watch", "inbox", "--once", *NOW]) == 1
    out, err = capsys.readouterr()
    tags = sorted(name.removesuffix(".json") for name in inbox.names("receipts"))
    lines = err.splitlines()
    assert out == "" and sorted(line.split()[0] for line in lines[:2]) == tags
    assert lines[2:] == [
        "waiting: 1 no manifest is beside it",
        "wellspring: 1 of 2 files failed; the receipt of each says why",
    ]
    assert MARK not in err and all(MARK not in json.dumps(receipt) for receipt in inbox.receipts())


def test_the_receipt_in_the_guide_is_one(inbox: Inbox, capsys: pytest.CaptureFixture[str]) -> None:
    faulty = message(PID.format(n=2), obr(2), obx(f11="I"), spm("KIT2"), number=2).encode()
    inbox.drop("results.hl7", RESULTS + faulty, format="hl7v2")
    assert execute(["watch", "inbox", "--dry-run", "--json", *NOW]) == 0
    told = json.loads(capsys.readouterr().out)
    (shown,) = [json.loads(block.text) for block in blocks(PARTNERS) if '"outcome"' in block.text]
    assert list(shown) == list(told)
    same = set(shown) - {"file", "bytes", "at", "partner", "not_read"}
    assert {key: shown[key] for key in same} == {key: told[key] for key in same}
    assert len(shown["file"]) == len(told["file"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_files_are_called_by_their_names(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.drop("export.xml", EXPORT, **APPLE)
    inbox.drop("stray", b"")
    monkeypatch.setattr(sys, "stderr", said := Terminal())
    assert execute(["watch", "inbox", "--once", *NOW]) == 0
    tag = inbox.names("receipts")[0].removesuffix(".json")
    assert f"\x1b[Kexport.xml ({tag}) done: 30 records, 30 published\n" in said.getvalue()
    assert "MB read, 30 records" in said.getvalue()
    assert "stray waits: no manifest is beside it\n" in said.getvalue()


def test_a_dry_run_needs_no_settings_and_changes_nothing(inbox: Inbox, capsys: pytest.CaptureFixture[str]) -> None:
    Path("wellspring.yaml").unlink()
    Path("partners.yaml").unlink()
    inbox.drop("acme_p-17_apple-health_x", EXPORT)
    names = ("--names", "{partner}_{subject}_{format}_*")
    with Folder(inbox.root).hold():
        before = sorted(os.listdir(inbox.root))
        assert execute(["watch", "inbox", "--dry-run", *names, *NOW]) == 0
    assert "30 records, 30 would be published" in capsys.readouterr().err
    assert sorted(os.listdir(inbox.root)) == before and inbox.names() == ["acme_p-17_apple-health_x"]
    assert execute(["watch", "inbox", "--once", *NOW]) == 1
    assert "there is no settings file" in capsys.readouterr().err


def test_a_laboratory_s_mapping_is_looked_for_in_its_folder(inbox: Inbox, capsys: pytest.CaptureFixture[str]) -> None:
    Path("laboratories").mkdir()
    Path("laboratories/n.yaml").write_text("laboratory: North\nsubject: [{kind: person, field: PID-3.9}]\n")
    Path("partners.yaml").write_text("partners: [{name: acme, contracts: [lab-result]}]")
    for number, laboratory in enumerate(("North", "South")):
        inbox.drop(f"{number}", RESULTS + b"\r" * number, format="hl7v2", laboratory=laboratory)
    for words in (["--dry-run", "--laboratories", "laboratories"], ["--once"]):
        assert execute(["watch", "inbox", "--json", *words, *NOW]) == 1
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(one["outcome"], one["problems"]) for one in told] == [("done", {"R_SUBJECT": 1}), ("failed", {})]
        assert told[1]["why"] == "laboratory: there is no mapping file of a laboratory of that name"
    Path("laboratories/broken.yaml").write_text("[")
    assert execute(["watch", "inbox", "--once"]) == 1
    assert "broken.yaml: the laboratory's mapping file is not YAML" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"partner": "nobody"}, "partner: no partner of that name is registered"),
        ({"format": "hl7v2"}, "partner: it is not registered for lab-result"),
    ],
)
def test_who_is_not_registered_publishes_nothing(
    manifest: dict[str, str], why: str, inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.drop("1", EXPORT, **{**APPLE, **manifest})
    assert execute(["watch", "inbox", "--once", "--json", *NOW]) == 1
    assert json.loads(capsys.readouterr().out)["why"] == why and Sink.sent == []


def test_a_broker_that_is_away_is_told_and_its_files_stay(inbox: Inbox, capsys: pytest.CaptureFixture[str]) -> None:
    inbox.drop("1", EXPORT, **APPLE)
    Sink.failure = KafkaUnreachable("nothing listens there")
    assert execute(["watch", "inbox", "--once", "--json", *NOW]) == 1
    assert capsys.readouterr().err == "wellspring: not all of it was published: nothing listens there\n"
    assert "1" in inbox.names() and inbox.receipts() == []


def test_the_same_trouble_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    told = _Told(False, "published", True)
    away, quiet = Round(trouble="nothing listens there", is_cut=True), Round()
    for found in (away, away, quiet, away, Round(outcomes=Counter(done=1)), away):
        told.round(found)
    assert capsys.readouterr().err == "nothing listens there; what is left is tried again\n" * 2


def test_a_second_watcher_is_refused(inbox: Inbox, capsys: pytest.CaptureFixture[str]) -> None:
    with Folder(inbox.root).hold():
        assert execute(["watch", "inbox", "--once"]) == 1
    assert capsys.readouterr().err == "wellspring: another watcher is at work on this folder\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none"], 1, "is not a folder"),
        (["s3://"], 2, "an address is s3://BUCKET"),
        (["inbox", "--names", "{subject}"], 2, "--names"),
        (["inbox", "--settle", "-1"], 2, "--settle"),
        ([], 2, "FOLDER"),
    ],
)
def test_what_cannot_be_watched_is_told(
    words: list[str], code: int, said: str, inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["watch", *words]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_ends_well(number: int, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.drop("1", EXPORT, **APPLE)

    def told(*_: Any) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("pipelines.commands.watch._Told.round", told)
    assert execute(["watch", "inbox", *NOW]) == 0
    assert inbox.names("done")[0] == "1"
    with Folder(inbox.root).hold():
        pass
