"""wellspring steward as a process over a real lake: it says where it is, signs in a user, shows a study, and ends."""

import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.lakes import Driver
from tests.sources import ROOT

PASSWORD = "correct horse battery"


def wellspring(folder: Path, *words: str, **more: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *words, "--config", str(folder / "wellspring.yaml")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: "subprocess.Popen[str]", given: str = "") -> None:
    _, errors = process.communicate(given, timeout=120)
    assert process.returncode == 0, errors


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """Settings, a study with a user for it, and a lake with some rows."""
    (tmp_path / "wellspring.yaml").write_text("kafka: {bootstrap: '127.0.0.1:1'}\n")
    (tmp_path / "partners.yaml").write_text("partners: [{name: acme}]\n")
    done(wellspring(tmp_path, "studies", "add", "sleep"))
    Driver(tmp_path / "lake").land("sleep", count=4)
    done(wellspring(tmp_path, "steward", "users", "add", "ada", "--study", "sleep=steward"), f"{PASSWORD}\n")
    return tmp_path


@pytest.fixture
def address(deployment: Path) -> Iterator[str]:
    """Where the desk says that it is; it ends quietly."""
    process = wellspring(deployment, "steward", "--port", "0")
    assert process.stderr is not None
    yield _said(process.stderr)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def _said(errors: IO[str]) -> str:
    line = errors.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line + errors.read()
    return found[0]


def test_a_steward_signs_in_and_sees_the_study(deployment: Path, address: str) -> None:
    import httpx2

    with httpx2.Client(base_url=address) as browser:
        token = re.findall(r'name="token" value="([^"]+)"', browser.get("/sign-in").text)[0]
        fields = {"token": token, "name": "ada", "password": PASSWORD}
        assert browser.post("/sign-in", data=fields).headers["location"] == "/"
        assert "/studies/sleep" in browser.get("/").text
        for path in ("", "/coverage", "/checks/PL-01", "/waiting", "/rows?check=PL-00", "/participants", "/audit"):
            response = browser.get(f"/studies/sleep{path}")
            assert response.status_code == 200, path
        assert "participants" in browser.get("/studies/sleep/audit").text
        assert browser.get("/studies/sleep/export/checks.json").json()["study"] == "sleep"
    secret = deployment / "vault" / "steward-secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
