"""What the documents tell their readers to type is typed, in their order, and works: one broker, a folder per document."""

import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest

from connectors.client_files import ENVIRONMENT_FILE
from infra.broker_process import free_port
from infra.local_kafka import Address, LocalKafka
from pipelines.cli import execute
from pipelines.commands import asking
from pipelines.commands.common import put
from pipelines.demo.doors import doors
from pipelines.demo.ground import Ground, settle
from pipelines.demo.people import NORTH_LAB, SHIFTWORK, WATCHES
from pipelines.demo.phone import EXPORT
from pipelines.demo.world import SEED
from pipelines.entries import now_us
from pipelines.settings import load_settings
from pipelines.store import FolderStore
from pipelines.views import sql
from tests.apple_exports import export_zip, record, xml
from tests.documents import (
    CHECKS,
    CONTRIBUTORS,
    LANGUAGE,
    OPERATORS,
    PARTNERS,
    README,
    ROOT,
    Command,
    blocks,
    commands,
    files,
)
from tests.lab_messages import message, obr, obx, spm

LONG = {"demo", "bench", "steward"}  # they have tests of their own: here only whether the command is there
SECURED = "secured"  # the mark of what is typed on a broker that asks for rights
DEPLOYMENT_OF_ITS_OWN = "secured-deployment"  # the mark of the first secured deployment, each command as somebody
ELSEWHERE = "mvn "  # typed in test_first_message_java.py, where it may fetch what it needs


class Answer(NamedTuple):
    """What a command ended with, and said."""

    code: int
    out: str
    err: str


class Reader:
    """Somebody who follows a document in a folder. The program itself runs in this process, which spares its start."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("connectors", "schemas"):
            (folder / name).symlink_to(ROOT / name)
        self._programs()

    def save(self, given: dict[str, str]) -> None:
        """What the document says to save."""
        for name, text in given.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def type(self, command: Command) -> Answer:
        """Do it, and see it end as the document says."""
        answer = self._do(command.line)
        assert answer.code == command.code, f"{command.line}\n{answer.out}\n{answer.err}"
        return answer

    def _do(self, line: str) -> Answer:
        before, _, last = line.rpartition(" | ")
        words = Command(last).words
        settings = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        program, *arguments = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        if program == "make":
            return _made(arguments)
        if [program, *arguments[:1]] == ["python", "-m"]:
            return _module(arguments[1:])
        if program != "wellspring":
            return self._in_shell(line)
        given = self._in_shell(before).out if before else ""
        return self._wellspring(arguments, settings, given)

    def _wellspring(self, arguments: list[str], settings: dict[str, str], given: str) -> Answer:
        if arguments[0] in LONG and "users" not in arguments:
            arguments = [arguments[0], "--help"]
        if arguments == ["flink", "up"]:  # it is started by test_flink.py, on ports of its own, where there is Maven
            arguments.append("--help")
        out, err = io.StringIO(), io.StringIO()
        ending = _told_to_end() if "--follow" in arguments else nullcontext()
        with self._here(settings, given), redirect_stdout(out), redirect_stderr(err), ending:
            code = execute(arguments)
        return Answer(code, out.getvalue(), err.getvalue())

    @contextmanager
    def _here(self, settings: dict[str, str], given: str) -> Iterator[None]:
        stream, before = io.TextIOWrapper(io.BytesIO(given.encode())), signal.getsignal(signal.SIGTERM)
        home = Path.cwd()
        os.chdir(self.folder)
        try:
            with patch.dict(os.environ, {**self.environment, **settings}), patch.object(sys, "stdin", stream):
                yield
        finally:
            os.chdir(home)
            signal.signal(signal.SIGTERM, before)

    def _in_shell(self, line: str) -> Answer:
        environment = {**os.environ, **self.environment, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def _programs(self) -> None:
        """`python` is this one, and the partner's own program says what the document's file says."""
        folder = self.folder / "bin"
        folder.mkdir()
        programs = {
            "python": f'exec {sys.executable} "$@"',
            "gateway-program": "cat day.ndjson",
            "wellspring": f'PYTHONPATH={ROOT} exec {sys.executable} -m pipelines.cli "$@"',
        }
        for name, text in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (folder / name).chmod(0o755)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """SIGTERM comes as soon as somebody listens to it, and not once nobody does."""
    before, over = signal.getsignal(signal.SIGTERM), threading.Event()

    def tell() -> None:
        while not over.wait(0.05):
            if signal.getsignal(signal.SIGTERM) is not before:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _made(arguments: list[str]) -> Answer:
    """Whether make knows the target, and what it would run is there; the targets themselves take minutes."""
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    for module in re.findall(r"bin/python -m ((?:tests|pipelines)\.\S+)", done.stdout):
        assert find_spec(module) is not None, module
    for words in re.findall(r"bin/wellspring (\w+)", done.stdout):
        with redirect_stdout(io.StringIO()):
            assert execute([words, "--help"]) == 0
    return Answer(done.returncode, done.stdout, done.stderr)


def _module(words: list[str]) -> Answer:
    """A program of the project, made to look and not to write."""
    checked = ["--check" if word == "--write" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-m", *checked], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr)


# -- where they read


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module")
def kafka(place: Path) -> Iterator[LocalKafka]:
    """The operators' own broker, in the folder where their document has it."""
    kafka = LocalKafka(place / "operators" / "kafka")
    try:
        yield kafka
    finally:
        kafka.kill()


@pytest.fixture
def address(kafka: LocalKafka) -> Address:
    return kafka.up()


def reader_at(folder: Path, address: Address) -> Reader:
    """A reader whose settings lead to the broker at hand, wherever their document says that it is."""
    return Reader(folder, {"WELLSPRING_KAFKA__BOOTSTRAP": address.bootstrap})


DEPLOYMENT = ["wellspring studies add sleep", "wellspring topics create", "wellspring consent publish consents.ndjson"]


def deployed(folder: Path, address: Address, authority: str) -> Reader:
    """A deployment as the operators' document begins it, with an authority of its own."""
    reader = reader_at(folder, address)
    reader.environment["WELLSPRING_AUTHORITY"] = authority
    reader.save(files(OPERATORS))
    for line in DEPLOYMENT:
        reader.type(Command(line))
    return reader


# -- the documents


def test_the_readme(place: Path, address: Address) -> None:
    reader = reader_at(place / "readme", address)
    reader.save(files(README))
    _demo_world(reader, address)
    said = {command.line: reader.type(command) for command in commands(README)}
    for block in blocks(README):
        if line := block.marked("shows"):
            assert block.text in {said[line].out, said[line].err}, line


def test_the_guide_of_partners(place: Path, address: Address) -> None:
    reader = deployed(place / "partners", address, "office-of-partners")
    _partners_files(reader.folder)
    for command in commands(PARTNERS):
        if not command.line.startswith(ELSEWHERE):
            reader.type(command)
    reader.type(Command("wellspring run --once"))
    rows = sql(
        FolderStore(reader.folder / "lake"), "select metric, count(*) as n from sleep_observation group by metric"
    )
    assert {row["metric"] for row in rows.to_pylist()} == {"heart_rate", "steps_interval"}


@pytest.mark.parametrize("document", [LANGUAGE, CONTRIBUTORS], ids=["schemas", "contributing"])
def test_documents_that_need_no_deployment(document: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "reader", {})
    for command in commands(document):
        reader.type(command)


def test_the_page_of_checks(place: Path, address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE_S", 0.5)  # no driver is being restarted here
    reader = reader_at(place / "checks", address)
    reader.save(files(README))
    _demo_world(reader, address)
    reader.environment["WELLSPRING_AUTHORITY"] = "office-of-checks"  # as _demo_world calls it
    answers = {command.line: reader.type(command) for command in commands(CHECKS)}
    asked = [answer for line, answer in answers.items() if " lake sql " in line]
    assert len(asked) == 4
    assert all("heart_rate" in answer.out for answer in asked)


def test_a_backup_is_restored_and_the_run_goes_on(place: Path, address: Address) -> None:
    reader = deployed(place / "backup", address, "office-of-backup")
    publish, run = "wellspring connect sensor-json {} --partner acme --subject p-17", Command("wellspring run --once")
    reader.type(Command(publish.format("day.ndjson")))
    reader.type(run)
    before = _landed(reader)
    for command in commands(OPERATORS, "backup"):
        reader.type(command)
    reader.save({"later.ndjson": (reader.folder / "day.ndjson").read_text().replace("T08:", "T09:")})
    reader.type(Command(publish.format("later.ndjson")))
    reader.type(run)
    after = _landed(reader)
    assert len(after) == len(before) + 2
    _lose(reader)
    for command in commands(OPERATORS, "restore"):
        reader.type(command)
    assert _landed(reader) == after
    _lose(reader)
    for command in commands(OPERATORS, "restore")[:-1]:
        reader.type(command)
    assert _landed(reader) == before
    (reader.folder / "vault" / "register.sqlite").unlink()
    assert not (reader.folder / "vault" / "snapshots").exists()  # they are not copied: they follow from the register
    reader.type(run)
    assert _landed(reader) == after


def test_a_backup_of_two_moments_is_refused(place: Path, address: Address) -> None:
    """A driver worked while it was copied: in whichever order, what was copied is not taken for whole."""
    reader = deployed(place / "moments", address, "office-of-moments")
    store, run = reader.folder, "wellspring run --once"
    copies: dict[str, list[Path]] = {"lake/_control": [], "lake/study=sleep": [], "vault": []}
    for moment, hour in enumerate(("T02:", "T03:")):  # hours that no document publishes: each run has something to land
        reader.save({f"{moment}.ndjson": files(OPERATORS)["day.ndjson"].replace("T08:", hour)})
        reader.type(Command(f"wellspring connect sensor-json {moment}.ndjson --partner acme --subject p-17"))
        reader.type(Command(run))
        for name, kept in copies.items():
            kept.append(store / "copies" / str(moment) / name)
            shutil.copytree(store / name, kept[-1])
    for moments in ((0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0)):
        _lose(reader)
        for (name, kept), moment in zip(copies.items(), moments, strict=True):
            shutil.copytree(kept[moment], store / name)
        reader.type(Command(run, code=4))
    _lose(reader)
    for name, kept in copies.items():
        shutil.copytree(kept[1], store / name)
    reader.type(Command(run))


def test_the_guide_of_operators(place: Path, address: Address) -> None:
    """Last: at its end it takes the broker down."""
    reader = reader_at(place / "operators", address)
    reader.save(files(OPERATORS))
    (reader.folder / "backup").mkdir()
    said = {}
    for command in commands(OPERATORS, but=(SECURED, DEPLOYMENT_OF_ITS_OWN)):
        if command in commands(OPERATORS, "restore")[:1]:
            _lose(reader)
        said[command.line] = reader.type(command)
    query = next(line for line in said if line.startswith("wellspring lake sql"))
    assert re.search(r"heart_rate\s+│ 61\.0", said[query].out)
    assert (reader.folder / "backup" / "vault" / "keys" / "sleep.key").is_file()
    assert not LocalKafka(reader.folder / "kafka").status().running


def test_what_operators_do_on_a_secured_broker(place: Path) -> None:
    """They are its administrator as soon as it is up, by the variables that it tells them of."""
    reader = Reader(place / "secured", {"WELLSPRING_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}"})
    reader.save(files(OPERATORS))
    kafka, said = LocalKafka(reader.folder / "kafka"), {}
    try:
        for command in commands(OPERATORS, SECURED):
            said[command.line] = reader.type(command)
            lines = (reader.folder / "kafka" / "admin" / ENVIRONMENT_FILE).read_text().splitlines()
            reader.environment.update(
                (name, value.strip("'")) for name, _, value in (line.partition("=") for line in lines)
            )
    finally:
        kafka.kill()
    assert "kafka.env; set +a" in said["wellspring kafka up --secure"].err
    assert "NO" not in said["wellspring partners check west-lab"].out


@pytest.mark.timeout(600)
def test_the_first_secured_deployment(place: Path) -> None:
    """Each step by who may do it; at the end a reading has landed, all stands well, and no right is to be given."""
    reader = Reader(place / "secured-deployment", {"WELLSPRING_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}"})
    reader.save(files(OPERATORS))
    kafka, said = LocalKafka(reader.folder / "kafka"), {}
    try:
        for command in commands(OPERATORS, DEPLOYMENT_OF_ITS_OWN):
            said[command.line] = reader.type(command)
    finally:
        kafka.kill()
    query = next(line for line in said if " lake sql " in line)
    assert re.search(r"heart_rate\s+│ 61\.0", said[query].out)
    assert "!!" not in next(answer.out for line, answer in said.items() if line.endswith("wellspring status"))
    granted = next(answer.out for line, answer in said.items() if line.endswith("kafka grant --dry-run"))
    assert "there" in granted and "would be" not in granted
    (shown,) = [block.text for block in blocks(OPERATORS) if block.mark == "admin-env"]
    names = {line.split("=")[0] for line in shown.splitlines()}
    assert names == {
        line.split("=")[0] for line in (kafka.folder.path / "admin" / ENVIRONMENT_FILE).read_text().splitlines()
    }


# -- what they need


def _demo_world(reader: Reader, address: Address) -> None:
    """A small lake under the name of the demo's: one person of the study, a reading that lands, is flagged, is held back."""
    ground = Ground(reader.folder / "demo")
    ground.folder.mkdir()
    settle(ground, address)
    link, grant = files(OPERATORS)["consents.ndjson"].replace("acme", WATCHES).replace("sleep", SHIFTWORK).splitlines()
    values = [files(README)["day.ndjson"].splitlines()[0].replace('"value": 61', f'"value": {n}') for n in (61, 250, 0)]
    values = [line.replace("08:15", f"08:1{minute}") for minute, line in enumerate(values)]
    reader.save({"world.ndjson": f"{link}\n{grant}\n", "world-day.ndjson": "\n".join(values)})
    of = "--config demo/wellspring.yaml"
    with patch.dict(reader.environment, {"WELLSPRING_AUTHORITY": f"office-of-{reader.folder.name}"}):
        reader.type(Command(f"wellspring topics create {of}"))
        reader.type(Command(f"wellspring consent publish world.ndjson {of}"))
        reader.type(Command(f"wellspring connect sensor-json world-day.ndjson --partner {WATCHES} --subject p-17 {of}"))
        _demo_kit(reader, ground, of)
        reader.type(Command(f"wellspring run --once {of}"))


def _demo_kit(reader: Reader, ground: Ground, of: str) -> None:
    """The demo's phone and kit: an export to look at, the kit's events, its activation and its results."""
    story = doors(SEED, now_us())
    (ground.folder / "exports").mkdir()
    ground.export(EXPORT).write_bytes(story.exports[0].content())
    for file in story.kit.files:
        ground.export(file.file).write_text(file.content(), newline="")
        line = f"wellspring connect hl7v2 demo/exports/{file.file} --partner {NORTH_LAB}"
        reader.type(Command(f"{line} --laboratory demo/laboratories/{NORTH_LAB}.yaml {of}"))
    reader.save({"kit.ndjson": "\n".join(story.consent_lines() + story.kit.activation)})
    reader.save({"kit-events.ndjson": "\n".join(story.kit.posted + story.kit.resulted)})
    reader.type(Command(f"wellspring consent publish kit.ndjson {of}"))
    reader.type(Command(f"wellspring kits publish kit-events.ndjson --partner {NORTH_LAB} {of}"))


def _partners_files(folder: Path) -> None:
    """Files of the kinds that the partners' guide converts, an hour of them with a reading or two."""
    (folder / "export.zip").write_bytes(export_zip(xml(record())))
    (folder / "results.hl7").write_text(message(obr(), obx(), spm()), newline="")
    shutil.copy(ROOT / "infra" / "laboratory.example.yaml", folder / "laboratory.yaml")
    day = {"date": "2025-06-30", "heart_rate_samples": [{"heart_rate": 61, "sample_time": "08:15:00"}]}
    with (folder / "2025-06-30.json").open("w") as file, redirect_stdout(file):
        put(day)
    seconds = [f"{1_751_264_100 + n}.0" for n in range(3)]
    head = "key.projectId,key.userId,key.sourceId,value.time,value.timeReceived"
    rows = {
        "android_phone_step_count": [f"{head},value.steps", *(f"p,u,phone,{s},{s},7" for s in seconds)],
        "android_phone_acceleration": [
            f"{head},value.x,value.y,value.z", *(f"p,u,phone,{s},{s},0.1,0.2,0.98" for s in seconds)
        ],
    }  # fmt: skip
    for name, lines in rows.items():
        (folder / name).mkdir()
        (folder / name / "20250630_0600.csv.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))


def _landed(reader: Reader) -> list[tuple[object, ...]]:
    """Every row of the study by person, moment and value."""
    query = "select pseudonym, start, value, revision from sleep_observation_all order by all"
    return [tuple(row.values()) for row in sql(FolderStore(reader.folder / "lake"), query).to_pylist()]


def _lose(reader: Reader) -> None:
    for name in ("lake", "vault"):
        shutil.rmtree(reader.folder / name)


def test_settings_of_the_sandbox_lead_where_they_should(tmp_path: Path) -> None:
    """The readers of this module never touch a lake that is not theirs."""
    reader = Reader(tmp_path / "reader", {})
    reader.save(files(OPERATORS))
    assert load_settings(reader.folder / "wellspring.yaml").lake == reader.folder / "lake"
