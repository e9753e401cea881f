"""The partner guide's Java program, as it stands there: compiled, run against a broker, and its message accepted.

And both of the guide's programs with the folder that `partners add` hands over, on a secured broker.
"""

import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from connectors.ranges import OffsetRange, end_offsets, read_range
from infra.java import find_java
from infra.kafka_jars import JarsMissing, fetch_jars, read_lock
from infra.local_kafka import Address
from schemas.contracts import FOLDER, decode, latest
from schemas.headers import sensor_header
from schemas.series import series
from tests.canaries import subject
from tests.documents import PARTNERS, ROOT, commands
from tests.secured import SecuredBroker, world_on
from tests.worlds import World, make_world, outcomes

EXAMPLES = ROOT / "connectors" / "examples"
LOCK = ROOT / "tests" / "java-jars.lock"
CONTRACT = FOLDER / f"sensor-reading.{latest('sensor-reading').version}.avsc"
HEART_RATES = [61.0, 62.0, 64.0, 63.0]
TIMEOUT_S = 240
COLOURS = re.compile(r"\x1b\[[\d;]*m")
UNREACHABLE = re.compile(r"Could not (transfer|find|resolve)|could not be resolved|UnresolvableModel|PluginResolution")


@pytest.fixture
def world(broker: Address, tmp_path: Path) -> World:
    made = make_world(tmp_path / "world", broker.bootstrap, studies=["sleep"])
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    return made


@pytest.fixture(scope="module")
def jars() -> list[Path]:
    """What the program needs, and Eclipse's compiler, which needs no more than a Java runtime."""
    try:
        return fetch_jars(read_lock(LOCK))
    except JarsMissing as missing:
        if "SHA-256" in str(missing):
            raise
        pytest.skip(f"the jars of the Java example cannot be fetched: {missing}")


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def assert_accepted(world: World, said: str) -> None:
    """The program said where its message lies, and there it is: taken by the run, with the readings that it sent."""
    told = re.fullmatch(rf"4 readings are at {world.topic}, partition (\d+), offset 0\n", said)
    assert told is not None, said
    ends = {partition: end for (_, partition), end in end_offsets(world.settings.kafka, [world.topic]).items()}
    assert ends[int(told[1])] == sum(ends.values()) == 1
    (block,) = read_range(world.settings.kafka, OffsetRange(world.topic, int(told[1]), 0, 1))
    message = decode(block.column("value")[0].as_py(), "sensor-reading")
    assert sensor_header(message).subject.encode() == block.column("key")[0].as_py() == subject("ann").encode()
    values = series(message).values
    assert values is not None
    assert values.tolist() == HEART_RATES
    entries = world.work()
    assert outcomes(entries, "sleep") == {"considered": 4, "landed": 4}
    rows = world.rows("sleep", "metric, unit, value, epoch_us(start) AS us")
    landed = sorted(rows, key=lambda row: int(row["us"]))
    assert [row["value"] for row in landed] == HEART_RATES
    assert {(row["metric"], row["unit"]) for row in landed} == {("heart_rate", "/min")}
    assert {later["us"] - row["us"] for row, later in pairwise(landed)} == {60_000_000}
    assert world.rejected() == []


def compiled(jars: list[Path], tmp_path: Path) -> list[str]:
    """The words that run the program."""
    java = str(find_java().executable)
    (compiler,) = [jar for jar in jars if jar.name.startswith("ecj-")]
    path = ":".join(str(jar) for jar in jars if jar != compiler)
    source, classes = EXAMPLES / "FirstMessage.java", tmp_path / "classes"
    options = ["-17", "-encoding", "UTF-8", "-proc:none", "-cp", path, "-d", str(classes)]
    done = run([java, "-jar", str(compiler), *options, str(source)], tmp_path)
    assert done.returncode == 0, done.stderr
    return [java, "-cp", f"{classes}:{path}", "FirstMessage"]


def test_the_program_s_first_message_is_accepted(world: World, jars: list[Path], tmp_path: Path) -> None:
    given = [world.settings.kafka.bootstrap, world.topic, subject("ann"), str(CONTRACT)]
    done = run([*compiled(jars, tmp_path), *given], tmp_path)
    assert done.returncode == 0, done.stderr
    assert_accepted(world, done.stdout)


def office_with_a_partner(secured: SecuredBroker, folder: Path, way: str) -> World:
    """A deployment whose partner was just added and handed its folder."""
    office = world_on(secured, folder, studies=["sleep"])
    content = yaml.safe_load(office.config.read_text())
    office.config.write_text(yaml.safe_dump({**content, "broker_folder": str(secured.kafka.folder.path)}))
    done = office.execute("partners", "add", office.partner, "--auth", way)
    assert done.returncode == 0, done.stderr
    office.consent(office.link("ann"), office.grant("ann", "sleep"))
    return office


@pytest.mark.parametrize("way", ["scram", "certificate"])
@pytest.mark.timeout(300)
def test_the_python_program_comes_in_by_the_folder_that_a_partner_is_given(
    secured: SecuredBroker, tmp_path: Path, way: str
) -> None:
    office = office_with_a_partner(secured, tmp_path / "office", way)
    folder = (office.folder / "credentials" / office.partner).rename(tmp_path / "away")
    words = [sys.executable, str(EXAMPLES / "first_message.py"), "away/client.json", office.topic]
    done = run([*words, subject("ann"), str(CONTRACT)], folder.parent)
    assert done.returncode == 0, done.stderr
    assert_accepted(office, done.stdout)


@pytest.mark.parametrize("way", ["scram", "certificate"])
@pytest.mark.timeout(300)
def test_the_java_program_comes_in_by_the_folder_that_a_partner_is_given(
    secured: SecuredBroker, jars: list[Path], tmp_path: Path, way: str
) -> None:
    office = office_with_a_partner(secured, tmp_path / "office", way)
    folder = (office.folder / "credentials" / office.partner).rename(tmp_path / "away")
    words = [*compiled(jars, tmp_path), "away/client.properties", office.topic]
    done = run([*words, subject("ann"), str(CONTRACT)], folder.parent)
    assert done.returncode == 0, done.stderr
    assert_accepted(office, done.stdout)


def test_maven_does_it_with_the_two_files_and_the_line_of_the_guide(world: World, tmp_path: Path) -> None:
    if shutil.which("mvn") is None:
        pytest.skip("no Maven on this machine: the program is compiled and run without it by the test before this one")
    for file in (EXAMPLES / "pom.xml", EXAMPLES / "FirstMessage.java", CONTRACT):
        shutil.copy(file, tmp_path)
    (command,) = [one for one in commands(PARTNERS) if one.line.startswith("mvn ")]
    program, *words = command.words
    for shown, here in (
        ("127.0.0.1:9092", world.settings.kafka.bootstrap),
        ("acme.sensor-reading.v1", world.topic),
        ("p-17", subject("ann")),
    ):
        assert any(shown in word for word in words)
        words = [word.replace(shown, here) for word in words]
    done = run([program, "--batch-mode", *words], tmp_path)
    if done.returncode and UNREACHABLE.search(done.stdout + done.stderr):
        pytest.skip("Maven cannot fetch what the guide's project needs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_accepted(world, COLOURS.sub("", done.stdout))
