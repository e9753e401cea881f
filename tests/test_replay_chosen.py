"""A replay of rows that wait: the records behind them, found by the driver, in as few pieces as are allowed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import replay_chosen as module
from pipelines.entries import Kind
from pipelines.holds import Changes
from pipelines.keys import StudyKey, topic_hash
from pipelines.replay_chosen import _bridged, _ranges
from pipelines.requests import Change
from tests.canaries import member, subject
from tests.offline import Offline
from tests.readings import TOPIC, grant, linked, message

_UNLIKE = "what it is about is not understood"


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records 3, 4 and 9 have given rows that wait, record 5 some that landed; the ledger has read twenty."""
    folder = tmp_path_factory.mktemp("landed") / "lake"
    made = Offline(folder)
    made.consent(linked(subject("ann"), member("ann")), grant(member("ann")))
    for offset, value in ((3, 400.0), (4, 401.0), (5, 60.0), (9, 402.0)):
        made.land(
            message(subject("ann"), [value], start=message()["times"]["start"] + offset * 1_000_000), offset=offset
        )
    entry = made.driver.ledger.draft(Kind.INGEST, 1, cause={}, tables={}, progress={"offsets": {f"{TOPIC}/0": 20}})
    made.driver.commits.append(entry)
    made.close()
    return folder


@pytest.fixture
def lake(tmp_path: Path, landed: Path) -> Iterator[Offline]:
    """A copy of it that is the test's own."""
    shutil.copytree(landed, tmp_path / "lake")
    made = Offline(tmp_path / "lake", there=True)
    yield made
    made.close()


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be judged again."""
    found: list[Any] = []

    def replay(driver: Any, selected: Any) -> Change:
        found.append(selected["ranges"])
        driver.consent_now()
        return Change(driver.plan(Kind.REPLAY, []), Changes([], [], []), {"records": 1}, {"ranges": ["rest"]})

    monkeypatch.setattr(module, "replay", replay)
    return found


def test_the_records_of_the_chosen_rows_are_judged_again_and_then_the_rest(lake: Offline, replayed: list[Any]) -> None:
    lake.ask("replay", {"check": "PL-00", "expected": 3}, by="ada", reason="the range was wrong")
    from pipelines.answer import answer_next

    first = answer_next(lake.driver)
    assert first is not None and replayed == [[f"{TOPIC}/0:3-4", f"{TOPIC}/0:9-9"]]
    assert {name: first.cause[name] for name in ("study", "rows", "by", "reason")} == {
        "study": "sleep", "rows": 3, "by": "ada", "reason": "the range was wrong",
    }  # fmt: skip
    second = answer_next(lake.driver)
    assert second is not None and replayed[1] == ["rest"] and "study" not in second.cause


@pytest.mark.usefixtures("replayed")
@pytest.mark.parametrize(
    ("about", "study", "words"),
    [
        ({"check": "PL-00", "expected": 2}, "sleep", "what you were shown has changed: 3 rows now"),
        ({"metric": "steps", "expected": 2}, "sleep", "there are no such rows in quarantine"),
        ({"check": "PL-00", "expected": 3}, "other", "it names a study that is not registered"),
        (
            {"check": "PL-00"},
            "sleep",
            "what it is about is not understood: expected: it is missing; it must be how many rows were seen, a whole number",
        ),
    ],
)
def test_what_cannot_be_replayed_is_refused(lake: Offline, about: dict[str, Any], study: str, words: str) -> None:
    assert lake.refused("replay", about, study=study) == words


def test_topics_that_are_not_read_any_more_have_no_records(lake: Offline) -> None:
    key = StudyKey("sleep", bytes(32))
    with pytest.raises(Exception, match="a topic that is not read any more"):
        _ranges(lake.driver, key, [key.origin(topic_hash("gone.sensor-reading.v1"), 0, 1)])


def test_too_many_pieces_are_bridged_from_the_nearest_on(monkeypatch: pytest.MonkeyPatch) -> None:
    offsets = [np.array([0, 1, 2, 10, 12, 100, 103])]
    assert _bridged(offsets) == 1
    monkeypatch.setattr(module, "MOST_PIECES", 3)
    assert _bridged(offsets) == 3  # 0-2, 10-12, 100-103
    monkeypatch.setattr(module, "MOST_PIECES", 1)
    assert _bridged(offsets) == 88
    assert _bridged([np.array([4]), np.array([9])]) == 1
