"""`wellspring report` on a real lake: what it prints and writes, whose day it is about, and what it refuses."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands import report as command
from tests.canaries import MARK, member, subject
from tests.offline import Offline
from tests.readings import RECEIVED, grant, linked, message
from tests.worlds import Ended

pytestmark = pytest.mark.usefixtures("cheap_sessions")
DAY = "2025-03-14"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    """Two people's readings, of whom a study may tell: one reading is held back, and one is in doubt."""
    made = Offline(tmp_path_factory.mktemp("lake"))
    registry = made.world.settings.studies
    registry.write_text(registry.read_text().replace("- id: sleep", "- id: sleep\n  smallest_cell: 2"))
    for n, (person, values) in enumerate({"ann": [60.0, 245.0, 61.0, 62.0], "ben": [63.0, 64.0, 400.0]}.items()):
        made.consent(linked(subject(person), member(person)), grant(member(person)))
        made.land(message(subject(person), values), offset=n)
    yield made
    made.close()


def typed(lake: Offline, *words: str) -> Ended:
    return lake.world.execute("report", *words)


def test_json_is_one_value_on_standard_output(lake: Offline) -> None:
    said = typed(lake, "--study", "sleep", "--day", DAY, "--json")
    assert said.returncode == 0, said.stderr
    told: dict[str, Any] = json.loads(said.stdout)
    assert (told["study"], told["day"], told["smallest_cell"]) == ("sleep", DAY, 2)
    assert not told["nothing_known"] and MARK not in said.stdout


def test_both_say_the_same_and_the_file_is_whole(lake: Offline, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    said = typed(lake, "--study", "sleep", "--day", DAY, "--html", str(path), "--json")
    assert said.returncode == 0 and str(path) in said.stderr
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and text.endswith("</html>") and MARK not in text
    assert [*tmp_path.iterdir()] == [path] and json.loads(said.stdout)["day"] in text


def test_without_a_day_it_is_about_yesterday(lake: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "now_us", lambda: RECEIVED)
    said = typed(lake, "--study", "sleep", "--json")
    yesterday = datetime.fromtimestamp(RECEIVED / 1_000_000, UTC).date() - timedelta(days=1)
    assert json.loads(said.stdout)["day"] == yesterday.isoformat()


def test_a_day_without_data_is_said_and_no_error(lake: Offline) -> None:
    said = typed(lake, "--study", "cycle", "--day", "2020-01-01", "--json")
    assert said.returncode == 0 and "nothing is known of cycle on 2020-01-01" in said.stderr
    assert json.loads(said.stdout)["nothing_known"] is True


def test_an_unknown_study_is_refused_in_words(lake: Offline) -> None:
    said = typed(lake, "--study", "sleeep", "--json")
    assert (said.returncode, said.stdout) == (1, "") and "no study of that name is registered" in said.stderr


@pytest.mark.parametrize("words", [[], ["--json", "--day", "yesterday"], ["--json", "--day", "0001-01-01"]])
def test_wrong_usage_is_2(lake: Offline, words: list[str]) -> None:
    said = typed(lake, "--study", "sleep", *words)
    assert (said.returncode, said.stdout) == (2, "") and "Usage" in said.stderr


def test_a_file_that_cannot_be_written_is_refused_in_words(lake: Offline, tmp_path: Path) -> None:
    said = typed(lake, "--study", "sleep", "--html", str(tmp_path / "nowhere" / "report.html"))
    assert said.returncode == 1 and "cannot be written: No such file" in said.stderr
