"""The command line: help with examples that are true, exit codes, output for machines, and no need of settings where
none is needed."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.ranges import DataDamaged, DataMissing
from pipelines.commands.common import Refused, failure_of
from pipelines.entries import Fenced, LakeError, LedgerLost
from pipelines.keys import KeyMissing
from pipelines.law import LawBroken
from pipelines.progress import DataGone
from pipelines.settings import SettingsError
from schemas.contracts import encode
from schemas.reasons import Reason, Rejected
from schemas.registry import RegistryError
from tests.command import execute, put_together
from tests.lakes import Driver
from tests.readings import message
from tests.sources import ROOT, code

READING = {"metric": "heart_rate", "unit": "/min", "source": "watch", "time": "2026-01-31T12:00:00Z", "value": 61}
GRANT = {"kind": "grant", "member": "m1", "study": "sleep", "seq": 1, "effective_at": "2026-01-01T00:00:00Z"}
BARCODE = "9Y87-5XRT-6M0N-FKBN"
COLLECTED = {"barcode": BARCODE, "event": "collected", "when": "2026-01-31T12:00:00Z", "site": "nose"}
ASKED = {"id": "r1", "member": "m1", "study": "sleep", "metric": "heart_rate"}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words of each command, and the command."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    for name in inner or ():
        yield from leaves(inner[name], (*path, name))


COMMANDS = dict(leaves(put_together()))


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, no settings, no network."""

    def refuse(*_: object) -> None:
        pytest.fail("a connection was made")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WELLSPRING_CONFIG", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """Settings, registries, two studies and a small lake, without a broker."""
    (tmp_path / "wellspring.yaml").write_text("kafka: {bootstrap: '127.0.0.1:1'}\n")
    (tmp_path / "partners.yaml").write_text("partners: [{name: acme}]\n")
    for study in ("sleep", "cycle"):
        assert execute(["studies", "add", study]) == 0
    Driver(tmp_path / "lake").land("sleep", "cycle", count=4)
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """Standard output, each line of which must be JSON."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def written(name: str, *rows: object) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


# -- help


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute([*words, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    examples = [text.strip() for text in re.split(r"Examples?:", said)[-1].split(";")]
    assert any(example.startswith(" ".join(("wellspring", *words))) for example in examples)
    for example in examples:
        typed = shlex.split(example)
        command = COMMANDS[words]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in typed if word.startswith("--")} <= known
        assert tuple(typed[1 : 1 + len(words)]) == words


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_says_what_it_is(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    assert command.help and command.help.strip().endswith((".", ")"))
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []


def test_the_commands_are_those_that_the_documents_promise() -> None:
    promised = {
        *("kafka up", "kafka down", "kafka status", "topics create", "topics list", "studies add", "studies list"),
        *("partners list", "connect sensor-json", "consent publish", "consent explain", "consent status", "run"),
        *(
            "lake tables",
            "lake sql",
            "lake check",
            "ledger list",
            "ledger show",
            "requests list",
            "status",
            "studies keys",
            "contract check",
            "kits issue",
            "kits check",
            "kits publish",
            "kits status",
            "kits show",
            "demo",
            "bench",
        ),
    }
    assert promised <= {" ".join(words) for words in COMMANDS}


def test_keys_that_studies_lack_are_made_but_never_a_second_one_for_what_has_landed(
    deployment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (deployment / "studies.yaml").write_text("studies: [{id: sleep}, {id: cycle}, {id: mood}]\n", encoding="utf-8")
    keys = deployment / "vault" / "keys"
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    assert execute(["studies", "keys"]) == 0
    assert "the key of study mood was made" in capsys.readouterr().err
    after = {path.name: path.read_bytes() for path in keys.iterdir()}
    assert set(after) == {*before, "mood.key"} and {**after, **before} == after
    assert execute(["studies", "keys"]) == 0 and "every registered study has its key" in capsys.readouterr().err
    landed = SimpleNamespace(of=lambda head: SimpleNamespace(keys={"mood": "0123456789abcdef"}))
    monkeypatch.setattr("pipelines.commands.registries.Progress", landed)
    (keys / "mood.key").unlink()
    assert execute(["studies", "keys"]) == 1 and "restore the vault's folder keys/" in capsys.readouterr().err
    assert not (keys / "mood.key").exists()


def test_a_command_answers_for_a_terminal_without_loading_the_engine() -> None:
    """Beam takes seconds to import; only what runs a pipeline needs it."""
    loaded, waiting = set(), ["pipelines.cli"]
    while waiting:
        name = waiting.pop()
        if name not in loaded:
            loaded.add(name)
            waiting += imported(name)
    assert "pipelines.commands.run" in loaded and "deltalake" in loaded
    assert not {name for name in loaded if name.startswith("apache_beam")}


def imported(name: str) -> tuple[str, ...]:
    """What a module of the project imports when it is loaded; nothing for the modules of others."""
    path = ROOT / f"{name.replace('.', '/')}.py"
    return code(path).loads if path.exists() else ()


# -- exit codes


@pytest.mark.parametrize(
    "typed",
    [
        "nonsense",
        "kits issue 0",
        "kits issue 100001",
        "kits issue many",
        "kits check",
        "run --nonsense",
        "run",
        "run --once --follow",
        "lake sql",
        "ledger show x",
        "bench nonsense",
    ],
)
def test_wrong_usage_is_2_with_words(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(typed.split()) == 2
    said = capsys.readouterr()
    assert said.out == "" and "Usage" in said.err


@pytest.mark.parametrize(
    "typed",
    ["run --once", "lake check", "ledger list", "consent status", "kits status", "studies list", "topics list"],
)
def test_without_settings_a_command_refuses_with_1_and_says_what_to_do(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(typed.split()) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("wellspring: there is no settings file ") and "wellspring demo" in said.err


@pytest.mark.parametrize(
    "typed",
    [
        "contract check none.avro",
        "connect sensor-json none.ndjson --dry-run",
        "consent publish none.ndjson --dry-run",
        "kits publish none.ndjson --partner lab --dry-run",
        "consent explain --events none --readings none",
    ],
)
def test_a_missing_file_is_refused_by_name(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(typed.split()) == 1
    assert re.search(r"wellspring: none(\.\w+)? cannot be read: No such file", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Fenced("x"), 3),
        (LedgerLost("x"), 4),
        (DataGone("x"), 4),
        (DataMissing("x"), 4),
        (LakeError("x"), 1),
        (LawBroken("x"), 1),
        (KeyMissing("x"), 1),
        (KafkaUnreachable("x"), 1),
        (KafkaRefused("x"), 1),
        (DataDamaged("x"), 1),
        (SettingsError("x"), 1),
        (RegistryError("x"), 1),
        (Rejected(Reason.UNIT), 1),
        (Refused("x"), 1),
        (ZeroDivisionError("x"), None),
        (OSError("x"), None),
    ],
)
def test_each_failure_has_its_code(error: Exception, code: int | None) -> None:
    assert failure_of(error) == code


def test_a_lost_entry_ends_with_4(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next(deployment.glob("lake/_control/ledger/*1.json")).unlink()
    assert execute(["ledger", "list"]) == 4
    assert "ledger" in capsys.readouterr().err


def test_a_problem_in_the_lake_ends_with_1(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next(deployment.glob("lake/study=sleep/observation/month=*/*.parquet")).unlink()
    assert execute(["lake", "check", "--json"]) == 1
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert not report["sound"] and "is missing" in report["problems"][0] and "wellspring: 1 problems" in said.err


def test_what_cannot_be_done_is_said_without_a_traceback(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for typed in (
        ["studies", "add", "Not An Id"],
        ["studies", "add", "mood", "--basis", "whatever"],
        ["studies", "add", "sleep"],
        ["studies", "add", "mood", "--active-from", "2026-02-01", "--active-until", "2026-01-01"],
        ["ledger", "show", "99"],
        ["lake", "sql", "select nonsense from nowhere"],
        ["lake", "sql", "this is no sql"],
        ["run", "--once", "--dry-run"],
        ["run", "--replay", "not a topic!"],
        ["run", "--once", "--no-wait"],
        ["run", "--replay", "acme.sensor-reading.v1", "--no-wait", "--dry-run"],
        ["run", "--replay", "acme.sensor-reading.v1", "--no-wait", "--take-over"],
        ["connect", "sensor-json", "-", "--partner", "nobody"],
        ["kits", "show", "no barcode"],
        ["kits", "show", BARCODE],
    ):
        assert execute(typed) in (1, 2), typed
        said = capsys.readouterr()
        assert said.out == "" and said.err and "Traceback" not in said.err and "pydantic" not in said.err
    assert not (deployment / "vault" / "keys" / "mood.key").exists()


# -- output for machines


@pytest.mark.parametrize(
    ("typed", "code"), [("consent status", 0), ("kits status", 0), ("kits show 9Y87-5XRT-6M0N-FKBN", 1)]
)
def test_looking_makes_nothing_in_a_vault_that_no_driver_has_made(typed: str, code: int, deployment: Path) -> None:
    assert execute(typed.split()) == code
    assert not [*deployment.rglob("register.sqlite*"), *deployment.rglob("holds.sqlite*")]


def test_json_is_one_object_a_line(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for typed, wanted in (
        ("studies list", {"id", "basis_after_withdrawal"}),
        ("partners list", {"name", "partitions"}),
        ("ledger list", {"n", "kind", "at"}),
        ("ledger show 2", {"n", "tables", "nonce"}),
        ("lake tables", {"rows", "files"}),
        ("lake check", {"sound", "problems"}),
        ("consent status", {"held", "holds"}),
        ("kits status", {"kits", "by_last_event", "contradicted", "in_conflict", "not_understood"}),
        ("kafka status", {"running"}),
    ):
        assert execute([*typed.split(), "--json"]) == 0, typed
        found = lines(capsys)
        assert found and all(wanted <= row.keys() for row in found), typed
    assert execute(["lake", "sql", "select count(*) as n from sleep_observation", "--json"]) == 0
    assert lines(capsys) == [{"n": 4}]


def test_a_request_is_left_and_listed(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert execute(["run", "--replay", "acme.sensor-reading.v1/0:1-5", "--no-wait", "--json"]) == 0
    (left,) = lines(capsys)
    assert execute(["requests", "list", "--json"]) == 0
    (listed,) = lines(capsys)
    assert (left["request"], left["selection"]) == (1, {"ranges": ["acme.sensor-reading.v1/0:1-5"]})
    assert {name: listed[name] for name in ("request", "id", "kind", "selection", "asked_at")}.items() <= left.items()
    assert listed["state"] == "waits"
    assert execute(["requests", "list"]) == 0
    assert "acme.sensor-reading.v1/0:1-5" in capsys.readouterr().out


def test_people_get_tables(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for typed, wanted in (("ledger list", "takeover"), ("lake tables", "sleep"), ("studies list", "cycle")):
        assert execute(typed.split()) == 0
        assert wanted in capsys.readouterr().out
    assert execute(["lake", "check"]) == 0
    assert "the lake is sound" in capsys.readouterr().err


# -- without settings, a broker or a registered partner


def test_readings_are_tried_out_without_a_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    path = written("day.ndjson", READING, {**READING, "value": 62, "time": "2026-01-31T12:00:01Z"}, {"metric": "x"})
    assert execute(["connect", "sensor-json", path, "--subject", "u17", "--dry-run", "--json"]) == 0
    (found,) = lines(capsys)
    assert (found["records"], found["published"], found["by_type"]) == (3, 2, {"heart_rate": 2})


def test_consent_is_explained_without_a_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    times = {"start": "2026-01-02T00:00:00Z", "end": "2026-01-02T00:00:00Z", "received": "2026-01-02T00:01:00Z"}
    events = written("events.ndjson", {**GRANT, "metrics": ["heart_rate"]})
    readings = written("readings.ndjson", {**ASKED, **times}, {**ASKED, **times, "id": "r2", "metric": "weight"})
    assert execute(["consent", "explain", "--events", events, "--readings", readings, "--json"]) == 0
    found = {row["id"]: (row["code"], row["outcome"]) for row in lines(capsys)}
    assert found == {"r1": ("L_OK", "landed"), "r2": ("R_NO_AUTHORITY", "withheld")}


def test_events_are_validated_without_a_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    good = written("good.ndjson", {**GRANT, "metrics": ["heart_rate"]})
    assert execute(["consent", "publish", good, "--dry-run", "--json"]) == 0
    assert lines(capsys) == [{"file_lines": 1, "published": 0, "by_kind": {"grant": 1}}]
    bad = written("bad.ndjson", {**GRANT, "member": "zq-somebody", "metrics": ["heart_rate"], "seq": 0})
    assert execute(["consent", "publish", bad, "--dry-run"]) == 1
    said = capsys.readouterr()
    assert "line 1: seq" in said.err and "zq-somebody" not in said.err


def test_an_activation_is_a_link_of_a_valid_barcode(capsys: pytest.CaptureFixture[str]) -> None:
    activation = {"kind": "link", "link_id": "l1", "partner": "kit", "subject": BARCODE, "member": "m1"}
    good = written("good.ndjson", activation, {**activation, "subject": BARCODE.replace("-", "").lower()})
    assert execute(["consent", "publish", good, "--dry-run", "--json"]) == 0
    assert lines(capsys) == [{"file_lines": 2, "published": 0, "by_kind": {"link": 2}}]
    bad = written("bad.ndjson", activation, {**activation, "subject": BARCODE.replace("9", "8")})
    assert execute(["consent", "publish", bad, "--dry-run"]) == 1
    said = capsys.readouterr().err
    assert "line 2: subject: expected a last character that fits the others" in said and BARCODE[1:] not in said


def test_events_of_kits_are_validated_without_a_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    good = written("good.ndjson", COLLECTED, {**COLLECTED, "event": "posted", "site": None})
    assert execute(["kits", "publish", good, "--partner", "lab", "--dry-run", "--json"]) == 0
    assert lines(capsys) == [{"file_lines": 2, "published": 0, "by_kind": {"collected": 1, "posted": 1}}]
    bad = written("bad.ndjson", COLLECTED, {**COLLECTED, "site": "zq-somebody"}, {**COLLECTED, "member": "zq-somebody"})
    assert execute(["kits", "publish", bad, "--partner", "lab", "--dry-run"]) == 1
    said = capsys.readouterr().err
    assert "2 lines are not valid" in said and "line 2: site" in said and "line 3: (unknown field)" in said
    assert "zq-somebody" not in said and BARCODE not in said


def test_events_of_kits_need_a_partner_who_sends_them(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written("good.ndjson", COLLECTED)
    for partner, said in (("nobody", "no partner of that name"), ("acme", "the partner sends no kit-event")):
        assert execute(["kits", "publish", path, "--partner", partner]) == 1
        assert said in capsys.readouterr().err


def test_barcodes_are_issued_and_checked_without_a_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["kits", "issue", "50"]) == 0
    issued = capsys.readouterr().out.split()
    assert len(set(issued)) == 50
    assert execute(["kits", "issue", "1", "--json"]) == 0
    (row,) = lines(capsys)
    assert row["in_groups"].replace("-", "") == row["barcode"]
    assert execute(["kits", "check", *issued, row["in_groups"].lower()]) == 0
    capsys.readouterr()
    misread = ("0" if issued[0][0] == "1" else "1") + issued[0][1:]
    assert execute(["kits", "check", issued[0], misread, "zq-somebody", "--json"]) == 1
    said = capsys.readouterr()
    assert [json.loads(line)["ok"] for line in said.out.splitlines()] == [True, False, False]
    assert issued[0] not in said.out + said.err and "zq-somebody" not in said.out + said.err


def test_a_message_is_checked_without_a_deployment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.avro").write_bytes(encode("sensor-reading", message()))
    assert execute(["contract", "check", "m.avro", "--json"]) == 0
    assert lines(capsys)[0]["ok"] is True
    (tmp_path / "m.avro").write_bytes(encode("sensor-reading", message(subject="zq-somebody"))[:-3])
    assert execute(["contract", "check", "m.avro"]) == 1
    said = capsys.readouterr()
    assert "R_TRUNCATED" in said.err and "zq-somebody" not in said.err + said.out


def test_a_command_starts_without_the_run() -> None:
    code = "import pipelines.cli, sys; print(*{'pipelines.decode', 'pipelines.claims'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
