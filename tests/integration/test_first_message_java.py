"""The partner guide's Java program, as it stands there: compiled, run against a broker, and its message accepted."""

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from connectors.ranges import OffsetRange, end_offsets, read_range
from infra.java import find_java
from infra.kafka_jars import JarsMissing, fetch_jars, read_lock
from infra.local_kafka import Address
from schemas.contracts import FOLDER, decode, latest
from schemas.headers import sensor_header
from schemas.series import series
from tests.canaries import subject
from tests.documents import PARTNERS, ROOT, commands
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


def test_the_program_s_first_message_is_accepted(world: World, jars: list[Path], tmp_path: Path) -> None:
    java = str(find_java().executable)
    (compiler,) = [jar for jar in jars if jar.name.startswith("ecj-")]
    path = ":".join(str(jar) for jar in jars if jar != compiler)
    source, classes = EXAMPLES / "FirstMessage.java", tmp_path / "classes"
    options = ["-17", "-encoding", "UTF-8", "-proc:none", "-cp", path, "-d", str(classes)]
    compiled = run([java, "-jar", str(compiler), *options, str(source)], tmp_path)
    assert compiled.returncode == 0, compiled.stderr
    given = [world.settings.kafka.bootstrap, world.topic, subject("ann"), str(CONTRACT)]
    done = run([java, "-cp", f"{classes}:{path}", "FirstMessage", *given], tmp_path)
    assert done.returncode == 0, done.stderr
    assert_accepted(world, done.stdout)


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
