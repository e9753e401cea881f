"""The locked jars and how they are fetched, from folders and from a server of this test on loopback."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra import kafka_jars
from infra.kafka_jars import Jar, JarsMissing, cache_folder, fetch_jars, kafka_version, read_lock, repository
from tests.serving import serving

CONTENTS = {"org.example:one:1.0": b"first jar", "org.example.deep:two:2.1": b"second jar" * 10_000}
JARS = [Jar(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in CONTENTS.items()]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_jars, "_PAUSE_SECONDS", 0.0)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    for jar in JARS:
        file = tmp_path / "mirror" / jar.path
        file.parent.mkdir(parents=True)
        file.write_bytes(CONTENTS[jar.coordinate])
    return tmp_path / "mirror"


@pytest.fixture
def environ(tmp_path: Path, mirror: Path) -> dict[str, str]:
    return {"WELLSPRING_CACHE": str(tmp_path / "cache"), "WELLSPRING_MAVEN_REPOSITORY": mirror.as_uri()}


class Mirror(BaseHTTPRequestHandler):
    """Answers with the next of `plan`: a status, and whether the connection breaks halfway."""

    plan: list[tuple[int, bool]]

    def do_GET(self) -> None:
        status, breaks = self.plan.pop(0) if self.plan else (200, False)
        content = next(CONTENTS[jar.coordinate] for jar in JARS if self.path.endswith(jar.path))
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if breaks else content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test reads what the client says."""


@pytest.fixture
def server(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Mirror]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Planned(Mirror):
        plan: list[tuple[int, bool]] = []

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Planned)) as listening:
        environ["WELLSPRING_MAVEN_REPOSITORY"] = f"http://127.0.0.1:{listening.server_port}/maven2"
        yield Planned


def left_over(environ: dict[str, str]) -> list[str]:
    return sorted(file.name for file in cache_folder(environ).rglob("*") if file.is_file())


def test_the_lock_names_the_broker_and_all_it_needs() -> None:
    jars = read_lock()
    assert len(jars) == 45
    assert kafka_version(jars) == "4.4.0"
    assert "log4j-slf4j-impl-2.25.5.jar" in {jar.name for jar in jars}, "without it the broker logs nothing"
    assert len({jar.name for jar in jars}) == 45
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 0 for jar in jars)
    assert [jar.name for jar in jars] == sorted(jar.name for jar in jars)


def test_the_path_of_a_coordinate() -> None:
    jar = Jar("org.apache.kafka:kafka_2.13:4.4.0", "", 0)
    assert jar.path == "org/apache/kafka/kafka_2.13/4.4.0/kafka_2.13-4.4.0.jar"


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"WELLSPRING_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/wellspring")),
        ({}, Path.home() / ".cache" / "wellspring"),
    ],
)
def test_where_the_cache_is(environ: dict[str, str], folder: Path) -> None:
    assert cache_folder(environ) == folder


def test_the_repository_is_maven_central_unless_set() -> None:
    assert repository({}) == "https://repo.maven.apache.org/maven2/"
    assert repository({"WELLSPRING_MAVEN_REPOSITORY": "https://mirror.example/m2"}) == "https://mirror.example/m2/"
    with pytest.raises(JarsMissing, match="begins with https://"):
        repository({"WELLSPRING_MAVEN_REPOSITORY": "ftp://mirror.example/m2"})


def test_fetched_once_then_taken_from_the_cache(environ: dict[str, str]) -> None:
    heard: list[tuple[str, int, int]] = []
    files = fetch_jars(JARS, lambda *progress: heard.append(progress), environ)
    total = sum(jar.size for jar in JARS)
    assert [file.read_bytes() for file in files] == list(CONTENTS.values())
    assert heard[0][1:] == (0, total)
    assert heard[-1][1:] == (total, total)
    environ["WELLSPRING_MAVEN_REPOSITORY"] = "file:///nowhere"
    heard.clear()
    assert fetch_jars(JARS, lambda *progress: heard.append(progress), environ) == files
    assert heard == []


@pytest.mark.parametrize("damage", [b"", b"first JAR", b"first jar and more"])
def test_a_damaged_file_is_fetched_again(environ: dict[str, str], damage: bytes) -> None:
    first = fetch_jars(JARS, environ=environ)[0]
    first.write_bytes(damage)
    fetch_jars(JARS, environ=environ)
    assert first.read_bytes() == b"first jar"


@pytest.mark.parametrize("served", [b"evil! jar", b"first", b"first jar" * 100_000])
def test_what_is_not_the_original_is_never_moved_into_place(
    environ: dict[str, str], mirror: Path, served: bytes
) -> None:
    (mirror / JARS[0].path).write_bytes(served)
    with pytest.raises(JarsMissing, match=r"one-1\.0\.jar .* does not have the SHA-256"):
        fetch_jars(JARS, environ=environ)
    assert "one-1.0.jar" not in left_over(environ)
    assert not [name for name in left_over(environ) if name.endswith(".part")]


def test_an_answer_without_end_does_not_fill_the_disk(tmp_path: Path) -> None:
    kafka_jars._save(io.BytesIO(bytes(1_000_000)), tmp_path / "part", size=1000)
    assert (tmp_path / "part").stat().st_size == 1001


def test_a_jar_that_the_folder_lacks(environ: dict[str, str], mirror: Path) -> None:
    (mirror / JARS[1].path).unlink()
    with pytest.raises(JarsMissing, match=r"Cannot fetch two-2\.1\.jar from the repository folder"):
        fetch_jars(JARS, environ=environ)


def test_a_busy_server_is_asked_again(environ: dict[str, str], server: type[Mirror]) -> None:
    server.plan += [(503, False), (429, False)]
    assert len(fetch_jars(JARS[:1], environ=environ)) == 1


def test_a_connection_that_breaks_is_tried_again(environ: dict[str, str], server: type[Mirror]) -> None:
    server.plan += [(200, True), (200, True)]
    assert len(fetch_jars(JARS[1:], environ=environ)) == 1


def test_a_connection_that_always_breaks_is_said(environ: dict[str, str], server: type[Mirror]) -> None:
    server.plan += [(200, True)] * 3
    with pytest.raises(JarsMissing, match="Check the network"):
        fetch_jars(JARS[1:], environ=environ)


def test_a_refusal_is_said_at_once(environ: dict[str, str], server: type[Mirror]) -> None:
    server.plan += [(404, False), (200, False)]
    with pytest.raises(JarsMissing, match=r"127\.0\.0\.1 answered 404 for one-1\.0\.jar"):
        fetch_jars(JARS[:1], environ=environ)
    assert server.plan == [(200, False)]


def test_no_network_is_said_without_the_password(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    environ["WELLSPRING_MAVEN_REPOSITORY"] = "http://operator:secret@127.0.0.1:9/maven2"
    with pytest.raises(JarsMissing, match="WELLSPRING_MAVEN_REPOSITORY") as refused:
        fetch_jars(JARS, environ=environ)
    assert "secret" not in str(refused.value)


def test_a_cache_that_cannot_be_written_is_said(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(JarsMissing, match="set WELLSPRING_CACHE"):
        fetch_jars(JARS, environ=environ)


def test_several_may_fetch_at_once(environ: dict[str, str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        fetched = list(pool.map(lambda _: fetch_jars(JARS, environ=environ), range(8)))
    assert all(file.read_bytes() in CONTENTS.values() for files in fetched for file in files)
    assert left_over(environ) == ["one-1.0.jar", "two-2.1.jar"]
