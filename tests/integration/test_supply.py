"""What an installation is made of, and whether anything of it is known to be vulnerable: `make sbom` and `make audit`, against
a server of our own that answers as OSV does, and where none answers."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT
from tests.serving import serving

UV = ROOT / ".venv" / "bin" / "uv"
pytestmark = pytest.mark.skipif(not UV.exists(), reason="no uv in .venv: make setup")
VULNERABILITY = {
    "id": "PYSEC-0-1",
    "modified": "2026-01-01T00:00:00Z",
    "summary": "made up for a test",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
        }
    ],
}


def make(target: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """A target by itself: what it needs is there."""
    words = ["make", "-o", "setup", target, *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@cache
def locked() -> dict[str, dict[str, Any]]:
    """The packages of the lock file."""
    return {one["name"]: one for one in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]}


@contextmanager
def osv(*vulnerable: str) -> Iterator[tuple[str, list[str]]]:
    """A server that knows of a vulnerability in these packages: where it is, and the packages that it was asked about."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            names = [one["package"]["name"] for one in queries]
            asked.extend(names)
            found = {"vulns": [{"id": VULNERABILITY["id"], "modified": VULNERABILITY["modified"]}]}
            self._answer({"results": [found if name in vulnerable else {} for name in names]})

        def do_GET(self) -> None:
            self._answer(VULNERABILITY)

        def _answer(self, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody listens."""

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked


def test_the_list_is_what_the_lock_file_installs(tmp_path: Path) -> None:
    file = tmp_path / "wellspring.cdx.json"
    made = make("sbom", SBOM=file)
    assert made.returncode == 0, made.stderr
    bom = json.loads(file.read_text(encoding="utf-8"))
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.5")
    assert bom["metadata"]["component"]["name"] == "wellspring"
    listed = {one["name"]: one for one in bom["components"]}
    assert {"apache-beam", "deltalake", "kafka-python", "pyarrow", "starlette"} <= set(listed)
    assert not {"pytest", "mypy", "ruff"} & set(listed)  # what only developers have
    assert all(one["version"] == locked()[name]["version"] for name, one in listed.items())
    assert all(re.match(r"pkg:pypi/", one["purl"]) for one in listed.values())


def test_nothing_known_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with osv() as (url, asked):
        found = make("audit", OSV=url)
    assert found.returncode == 0, found.stderr
    assert {"apache-beam", "pytest"} <= set(asked) and "NOTHING WAS CHECKED" not in found.stderr


def test_a_vulnerability_is_told_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with osv("jinja2") as (url, _):
        found = make("audit", OSV=url)
    assert found.returncode != 0 and "made up for a test" in found.stdout and "jinja2" in found.stdout
    assert "NOTHING WAS CHECKED" not in found.stderr


def test_data_that_cannot_be_reached_are_no_clean_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    found = make("audit", OSV="http://127.0.0.1:1")
    assert found.returncode != 0 and "NOTHING WAS CHECKED" in found.stderr and "make audit OSV=" in found.stderr
