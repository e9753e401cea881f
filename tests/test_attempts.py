"""What is remembered of runs that a driver did not survive."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.attempts import DEATHS, KEY, Attempts, attempt
from pipelines.plan import Plan, PlannedRange
from pipelines.runner_settings import RunnerFailed, RunnerUnreachable
from pipelines.store import FolderStore
from tests import test_graph

TOPIC = "acme.sensor-reading.v1"


class Killed(BaseException):
    """Nothing catches it: what it leaves is what a kill leaves."""


def plan(epoch: int, *spans: tuple[int, int, int]) -> Plan:
    """A plan of the driver with this epoch over (partition, start, end)."""
    ranges = tuple(PlannedRange(topic=TOPIC, partition=p, start=start, end=end) for p, start, end in spans)
    return test_graph.plan().model_copy(update={"epoch": epoch, "ranges": ranges})


def die(store: FolderStore, made: Plan, by: type[BaseException] = Killed) -> None:
    with pytest.raises(by), attempt(made, store):
        raise by


def is_careful(store: FolderStore, made: Plan) -> bool:
    with attempt(made, store) as careful:
        return careful


def test_care_is_taken_after_two_deaths_over_the_same_records_until_they_are_through(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for epoch in range(DEATHS):
        die(store, plan(epoch, (0, 10, 20 + epoch)))
    assert is_careful(store, plan(9, (0, 10, 40)))
    assert not store.exists(KEY)
    assert not is_careful(store, plan(9, (0, 10, 40)))


def test_a_run_that_comes_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for _ in range(3):
        assert not is_careful(store, plan(1, (0, 0, 10)))
        assert not store.exists(KEY)


@pytest.mark.parametrize("spans", [((1, 10, 20),), ((0, 20, 30),), ()])
def test_deaths_over_other_records_do_not_add_up(spans: Any, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    die(store, plan(1, (0, 10, 20)))
    die(store, plan(2, *(spans or ((0, 0, 10),))))
    assert not is_careful(store, plan(3, (0, 10, 20)))


def test_other_runs_in_between_make_nothing_forgotten(tmp_path: Path) -> None:
    """A driver that dies over a replay begins with what is new."""
    store = FolderStore(tmp_path)
    for epoch in range(DEATHS):
        assert not is_careful(store, plan(epoch, (0, 100 + epoch, 101 + epoch)))
        die(store, plan(epoch, (0, 10, 20)))
    assert not is_careful(store, plan(9, (0, 100, 200)))
    assert is_careful(store, plan(9, (0, 0, 50)))


def test_what_was_meant_is_what_all_the_dead_had(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    die(store, plan(1, (0, 10, 20), (1, 0, 5)))
    die(store, plan(2, (0, 15, 30)))
    assert not is_careful(store, plan(3, (1, 0, 5)))
    word = store.get(KEY)
    assert word is not None
    assert [one.spans for one in Attempts.model_validate_json(word).suspicions] == [{f"{TOPIC}/0": (15, 20)}]


def test_a_driver_that_dies_while_others_read_says_nothing_of_the_records(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for epoch in range(5):
        die(store, plan(epoch, (0, 10, 20)).model_copy(update={"is_elsewhere": True}))
    assert not is_careful(store, plan(9, (0, 10, 20))) and not store.exists(KEY)


def test_an_error_is_no_death_and_a_runner_that_fails_without_a_word_is(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for _ in range(5):
        die(store, plan(1, (0, 10, 20)), KeyError)
    assert not store.exists(KEY)
    for _ in range(DEATHS):
        die(store, plan(1, (0, 10, 20)), RunnerFailed)
    assert is_careful(store, plan(1, (0, 10, 20)))


def test_a_job_server_that_is_away_is_no_death(tmp_path: Path) -> None:
    store, elsewhere = FolderStore(tmp_path), plan(1, (0, 10, 20)).model_copy(update={"is_elsewhere": True})
    for _ in range(DEATHS + 1):
        die(store, elsewhere, RunnerUnreachable)
    assert not is_careful(store, elsewhere)


class Counted(FolderStore):
    """Counts what it is asked about the word: in a bucket, each is a request."""

    asked = 0

    def get(self, key: str) -> bytes | None:
        self.asked += key == KEY
        return super().get(key)

    def put(self, key: str, data: bytes) -> None:
        self.asked += key == KEY
        super().put(key, data)

    def delete(self, key: str) -> None:
        self.asked += key == KEY
        super().delete(key)


def test_a_run_of_others_asks_for_the_word_once_and_writes_none(tmp_path: Path) -> None:
    store, made = Counted(tmp_path), plan(1, (0, 10, 20))
    assert not is_careful(store, made.model_copy(update={"is_elsewhere": True}))
    assert store.asked == 1
    assert not is_careful(store, made)
    assert store.asked == 1 + 4


def test_an_overtaken_driver_takes_nothing_back_that_the_newer_one_has_said(tmp_path: Path) -> None:
    store, older, newer = FolderStore(tmp_path), plan(1, (0, 0, 5)), plan(2, (0, 10, 20))
    with attempt(older, store):
        die(store, newer)
    die(store, newer)
    assert is_careful(store, plan(3, (0, 10, 20)))
