"""The format of the guide "Add a format": it passes its own tests, and goes all the way: found by its entry point,
published, mapped by its own file, landed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local_kafka import Address
from tests.canaries import MARK, subject
from tests.foreign_format import EXAMPLES, HEAD, NAME, install
from tests.worlds import World, make_world

COMMENT = f"{MARK}-said-that-they-felt-heavy"
LONG_AGO = 1_262_304_000_000_000  # 2010-01-01T00:00:00Z


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a Python for which the guide's distribution is installed."""
    before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(install(tmp_path / "installed")), *before])}


@pytest.fixture
def world(broker: Address, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A deployment where the guide's distribution is installed; its partner's people live in Madrid."""
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    partner = {"contracts": ["app-export"], "assumed_zone": "Europe/Madrid"}
    made = make_world(tmp_path / "world", broker.bootstrap, studies=["sleep"], partner=partner)
    made.consent(made.link("ann"), made.grant("ann", "sleep", metrics=("weight",), effective_at=LONG_AGO))
    return made


def run(*words: str, environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


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


def test_a_format_that_was_added_lands(world: World, tmp_path: Path) -> None:
    table = tmp_path / "weight.csv"
    rows = f"2025-06-30 07:12:33,71.4,14.2,,,,{COMMENT}\n2025-12-31 07:10:00,70.9,,,,,\n2025-06-31 07:00:00,70,,,,,\n"
    table.write_text(HEAD + rows, encoding="utf-8")
    words = ("connect", NAME, str(table), "--partner", world.partner, "--subject", subject("ann"), "--json")
    published = world.command(*words)
    said = json.loads(published.stdout.splitlines()[-1])
    assert published.returncode == 0, published.stderr
    assert (said["published"], said["problems"]) == (3, {"R_FIELD": 1})
    run = world.command("run", "--once")
    assert run.returncode == 0, run.stderr
    columns = "metric, unit, value, epoch_us(start) AS us, offset_min, time_quality, modality"
    first, second = sorted(world.rows("sleep", columns), key=lambda row: int(row["us"]))
    assert (first["metric"], first["unit"], first["value"], first["modality"]) == ("weight", "kg", 71.4, "sensed")
    assert (first["us"], first["offset_min"]) == (1_751_260_353_000_000, 120)
    assert (second["value"], second["us"], second["offset_min"]) == (70.9, 1_767_161_400_000_000, 60)
    assert {first["time_quality"], second["time_quality"]} == {"zone_assumed"}
    assert [(one["reason"], one["path"]) for one in world.rejected()] == [("R_METRIC", "records.other")]
    assert COMMENT not in published.stdout + published.stderr + run.stdout + run.stderr
    assert not [path for path in world.folder.rglob("*") if path.is_file() and COMMENT.encode() in path.read_bytes()]
    world.assert_sound()
