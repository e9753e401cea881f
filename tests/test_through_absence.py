"""What a driver that follows does when the job server comes back: first it cancels what it had handed over before."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.kafka import KafkaUnreachable
from pipelines import driver, follow
from pipelines.entries import Fenced
from pipelines.runner_settings import RunnerSettings, RunnerUnreachable
from tests.offline import Offline


def followed(monkeypatch: pytest.MonkeyPatch, *failures: Exception) -> tuple[list[str], list[str]]:
    """What a driver does whose cycles fail so, one after another, until one goes well; and what it says."""
    stop, done, said, left = threading.Event(), list[str](), list[str](), list(failures)

    def cycle() -> list[Any]:
        done.append("cycle")
        if left:
            raise left.pop(0)
        stop.set()
        return []

    one: Any = SimpleNamespace(cycle=cycle, cancel_left=lambda: done.append("cancel"), unfinished=None)
    one.settings = SimpleNamespace(limits=SimpleNamespace(freshness_s=0), quality=SimpleNamespace(every_s=0))
    idle: Any = SimpleNamespace(turn=lambda *_: None, missed=lambda: None, cycled=lambda _: None, is_busy=False)
    monkeypatch.setattr(follow, "answer_next", lambda _: None)
    monkeypatch.setattr(follow, "BACKOFF_S", (0.0,))
    follow._follow(one, idle, idle, idle, stop, said.append)
    return done, said


def test_what_was_handed_over_before_the_job_server_went_is_cancelled_before_the_next_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done, said = followed(monkeypatch, RunnerUnreachable("it is away"))
    assert done == ["cycle", "cancel", "cycle"]
    assert said == ["waiting for the job server: it is away", "the job server is back"]


def test_each_cause_of_an_absence_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that was restarted with an expired certificate is no longer one that is not there."""
    silent, expired = KafkaUnreachable("nothing listens there"), KafkaUnreachable("its certificate has expired")
    _, said = followed(monkeypatch, silent, silent, expired, silent, expired)
    assert said == [
        "waiting for Kafka: nothing listens there",
        "Kafka is still away: its certificate has expired",
        "Kafka is back",
    ]


def test_an_overtaken_driver_cancels_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs under the lake's name by then is another driver's."""
    made = Offline(tmp_path / "lake")
    older = made.driver
    older.settings = older.settings.model_copy(update={"runner": RunnerSettings(kind="flink")})
    cancelled: list[str] = []
    monkeypatch.setattr(driver, "cancel_jobs", lambda _, lake: cancelled.append(lake) or 1)
    older.cancel_left()
    assert cancelled == [str(older.settings.lake)]
    Offline(tmp_path / "lake", there=True).close()
    with pytest.raises(Fenced):
        older.cancel_left()
    assert len(cancelled) == 1
    made.close()
