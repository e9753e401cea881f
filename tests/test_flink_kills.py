"""What counts as a kill on Flink: one that hit a process while a job of ours ran, and no other."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.flink.local_flink import LocalFlink
from tests import flink_kills
from tests.flink_kills import TRIES, Killing, OnFlink, assert_exact


class Batches:
    """Counts what would have been published."""

    def __init__(self, *_: Any) -> None:
        self.sent = 0

    def publish(self) -> None:
        self.sent += 1


@pytest.fixture
def killing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Killing:
    monkeypatch.setattr(flink_kills, "Batches", Batches)
    monkeypatch.setattr(flink_kills, "LONGEST_S", 0)
    world: Any = SimpleNamespace(folder=tmp_path / "world")
    return Killing(world, LocalFlink(tmp_path, 1, 2), seed=1)


def strike(killing: Killing, monkeypatch: pytest.MonkeyPatch, works: Iterator[bool], *hits: bool) -> None:
    """At each question whether a job runs the next answer; of the kills that are tried, these hit."""
    command: Any = SimpleNamespace(process=SimpleNamespace(poll=lambda: None), errors="")
    monkeypatch.setattr(killing, "_works", works.__next__)
    killing._strike("worker", command, iter(hits).__next__)


def test_a_kill_in_a_job_counts(killing: Killing, monkeypatch: pytest.MonkeyPatch) -> None:
    strike(killing, monkeypatch, iter([True, True]), True)
    assert (killing.figures.killed, killing.figures.too_late, killing.batches.sent) == ({"worker": 1}, 0, 1)


def test_nobody_is_killed_when_the_job_has_ended_and_another_job_is_waited_for(
    killing: Killing, monkeypatch: pytest.MonkeyPatch
) -> None:
    strike(killing, monkeypatch, iter([True, False, True, True]), True)
    assert (killing.figures.killed, killing.figures.too_late, killing.batches.sent) == ({"worker": 1}, 1, 2)


def test_a_kill_that_hit_nobody_does_not_count(killing: Killing, monkeypatch: pytest.MonkeyPatch) -> None:
    strike(killing, monkeypatch, iter([True, True, True, True]), False, True)
    assert (killing.figures.killed, killing.figures.too_late) == ({"worker": 1}, 1)


def test_who_never_comes_in_time_is_told(killing: Killing, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=f"{TRIES} jobs had ended before a worker could be killed"):
        strike(killing, monkeypatch, iter([True, False] * TRIES))
    assert killing.figures.killed == {}


def test_figures_say_how_many_were_hit_and_what_is_wrong(killing: Killing) -> None:
    killing.figures.killed.update(worker=5, driver=4)
    assert "killed while a job ran: 5 worker, 4 driver (0 moments came after" in killing.figures.told()
    for name in ("lost", "doubled", "untold", "differing"):
        figures = OnFlink(1, **{name: 1})
        assert figures.is_wrong
    good = OnFlink(1, entries={"redrive": 1}, withheld=1, compared=1)
    good.killed.update(worker=5)
    assert_exact(good, worker=5)
    with pytest.raises(AssertionError):
        assert_exact(good, worker=5, driver=5)
