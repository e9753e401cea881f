"""What a driver that follows does when the job server comes back: first it cancels what it had handed over before."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import follow
from pipelines.runner_settings import RunnerUnreachable


def test_what_was_handed_over_before_the_job_server_went_is_cancelled_before_the_next_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, done, said = threading.Event(), list[str](), list[str]()

    def cycle() -> list[Any]:
        done.append("cycle")
        if len(done) == 1:
            raise RunnerUnreachable("it is away")
        stop.set()
        return []

    driver: Any = SimpleNamespace(cycle=cycle, cancel_left=lambda: done.append("cancel"), unfinished=None)
    driver.settings = SimpleNamespace(limits=SimpleNamespace(freshness_s=0), quality=SimpleNamespace(every_s=0))
    idle: Any = SimpleNamespace(turn=lambda *_: None, missed=lambda: None, cycled=lambda _: None, is_busy=False)
    monkeypatch.setattr(follow, "answer_next", lambda _: None)
    monkeypatch.setattr(follow, "BACKOFF_S", (0.0,))
    follow._follow(driver, idle, idle, idle, stop, said.append)
    assert done == ["cycle", "cancel", "cycle"]
    assert said == ["waiting for the job server: it is away", "the job server is back"]
