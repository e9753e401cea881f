"""The guide "Add a format": its module is as short as it claims, is found by its entry point, and passes its tests."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign_format import EXAMPLES, HEAD, NAME, install

MOST_LINES = 60


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a Python for which the guide's distribution is installed."""
    before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(install(tmp_path / "installed")), *before])}


def run(*words: str, environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_it_is_as_short_as_the_guide_says() -> None:
    assert len((EXAMPLES / "withings_weight.py").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def own_tests(folder: Path, environment: dict[str, str], code: int) -> str:
    """What the guide's tests say about the module that is installed."""
    tests = folder / "test_withings_weight.py"
    shutil.copy(EXAMPLES / "withings_weight_test.py", tests)
    return run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), environment=environment, code=code)


def test_its_own_tests_pass(environment: dict[str, str], tmp_path: Path) -> None:
    assert " passed" in own_tests(tmp_path, environment, 0)


def test_its_own_tests_would_fail(environment: dict[str, str], tmp_path: Path) -> None:
    module = tmp_path / "installed" / "withings_weight" / "__init__.py"
    whole = module.read_text(encoding="utf-8")
    module.write_text(whole.replace("yield Problem(", "Problem("), encoding="utf-8")
    assert "test_every_row_is_accounted_for" in own_tests(tmp_path, environment, 1)


def test_its_entry_point_makes_it_a_command_that_counts_every_record(
    environment: dict[str, str], tmp_path: Path
) -> None:
    table = tmp_path / "weight.csv"
    table.write_text(HEAD + "2025-06-30 07:12:33,71.4,14.2,,,,\nyesterday,71,,,,,\n", encoding="utf-8")
    said = run(
        "-m", "pipelines.cli", "connect", NAME, str(table), "--dry-run", "--json", environment=environment
    )  # fmt: skip
    told = json.loads(said.splitlines()[-1])
    assert (told["format"], told["by_type"], told["problems"]) == (NAME, {"Weight": 1, "Fat mass": 1}, {"R_FIELD": 1})
    assert told["not_read"] == [{"what": "record", "place": "line 3", "reason": "R_FIELD"}]
