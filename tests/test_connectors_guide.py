"""The partner guide: its programs, tables and results are what the code is and does."""

import json
import os
import re
import shlex
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from xml.etree import ElementTree

import pytest

from connectors.gateway import run_gateway
from connectors.problems import reason_meanings
from connectors.sensor_json_lines import FIELDS, LineReader
from infra.kafka_jars import read_lock
from schemas.contracts import FOLDER, decode, latest
from schemas.headers import sensor_header
from schemas.series import series

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "connectors" / "README.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "connectors" / "examples"

KAFKA_WITHOUT_A_BROKER = """
from types import SimpleNamespace
class KafkaProducer:
    def __init__(self, **settings): pass
    def close(self): pass
    def send(self, topic, key, value):
        open("sent", "wb").write(key + b"\\n" + value)
        return SimpleNamespace(get=lambda timeout: SimpleNamespace(topic=topic, partition=0, offset=0))
"""


def block(name: str) -> str:
    found = re.search(rf"<!-- {re.escape(name)} -->\n(.*?)<!-- end -->", GUIDE, re.DOTALL)
    assert found is not None, name
    return found.group(1)


def fenced(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return found


LANGUAGES = {".py": "python", ".yaml": "yaml", ".java": "java", ".xml": "xml"}


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.iterdir() if path.is_file()))
def test_programs_are_the_files(example: str) -> None:
    path = EXAMPLES / example
    assert block(example) == f"```{LANGUAGES[path.suffix]}\n{path.read_text(encoding='utf-8')}```\n"


def test_reasons_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", block("reasons"), re.MULTILINE)
    assert dict(rows) == reason_meanings()
    assert len(rows) == len(reason_meanings())


def test_the_first_message_is_what_the_contract_says(tmp_path: Path) -> None:
    (tmp_path / "kafka.py").write_text(KAFKA_WITHOUT_A_BROKER)
    contract = FOLDER / f"sensor-reading.{latest('sensor-reading').version}.avsc"
    command = [sys.executable, str(EXAMPLES / "first_message.py"), "127.0.0.1:9092", "acme.sensor-reading.v1", "p-17"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*command, str(contract)], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert done.stdout == b"4 readings are at acme.sensor-reading.v1, partition 0, offset 0\n"
    key, value = (tmp_path / "sent").read_bytes().split(b"\n", 1)
    message = decode(value, "sensor-reading")
    assert sensor_header(message).subject.encode() == key == b"p-17"
    held = series(message)
    assert held.values is not None
    assert held.values.tolist() == [61.0, 62.0, 64.0, 63.0]
    assert contract.name in GUIDE


def test_the_lines_shown_can_be_read() -> None:
    forms, result = fenced("json")[:2]
    reader = LineReader("p-17")
    read = [reader.read(line.encode()) for line in forms.splitlines()]
    assert [reading and reading.samples for reading in read] == [1, 1, 2]
    told = json.loads(result)
    right = forms.splitlines()[0]
    shown = run_gateway(
        BytesIO("\n".join([right, right.replace("/min", "furlong"), right]).encode()), None, subject="p"
    )
    assert json.loads(json.dumps(shown.as_json())) == told


def test_every_field_is_described() -> None:
    table = GUIDE.split("| field | form | what it holds |")[1].split("\n\n")[0]
    rows = (row.split("|")[1] for row in table.splitlines() if row.startswith("| `"))
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == FIELDS


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"metric": "heart_rate", "unit": "/min", "source": "w", "time": 1751264100, "value": 61})
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(line.encode())))
    exec(fenced("python")[-1], {})
    assert "'published': 1" in capsys.readouterr().out


def test_commands_name_files_that_are_there() -> None:
    commands = [line for shown in fenced("sh") for line in shown.splitlines()]
    programs = [shlex.split(command)[1] for command in commands if command.startswith("python ")]
    assert programs
    assert all((ROOT / program).is_file() for program in programs)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", GUIDE)
    assert all((ROOT / "connectors" / target).exists() for target in targets)


def test_the_versions_of_the_java_project_are_those_that_are_tested() -> None:
    project = ElementTree.parse(EXAMPLES / "pom.xml").getroot()
    space = {"": "http://maven.apache.org/POM/4.0.0"}
    parts = ("groupId", "artifactId", "version")
    wanted = {
        ":".join(one.findtext(part, "", space) for part in parts) for one in project.iterfind(".//dependency", space)
    }
    assert len(wanted) == 3
    assert wanted <= {jar.coordinate for jar in read_lock(ROOT / "tests" / "java-jars.lock")}
