"""Drivers are killed one after another while readings come in: nothing is lost, nothing is doubled.

The harness is `tests.torture`, in a process of its own, since it forks and so must hold no connection and no thread.
"""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.worlds import ROOT

STEPS = (
    *("takeover", "swept", "planned", "ran", "manifest", "append.checked", "append.done"),
    *("apply.table", "apply.committed", "apply.synced", "apply.done", "told", "compacted"),
)


def torture(*words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.torture", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(900)
def test_every_acknowledged_reading_lands_exactly_once_however_often_the_driver_is_killed() -> None:
    code, figures = torture("--kills", "60", "--seed", "20")
    assert (figures["lost"], figures["doubled"], figures["untold"], figures["problems"]) == (0, 0, 0, [])
    assert (code, figures["kills"]) == (0, 60)
    assert figures["acknowledged"] > 100
    assert all(figures["entries"].get(kind) for kind in ("ingest", "redrive", "compact"))
    killed: Counter[str] = Counter()
    for label, kills in figures["killed_at"].items():
        killed[label.split(" ")[1]] += kills
    assert {step: killed[step] for step in STEPS if killed[step] < 2} == {}


@pytest.mark.timeout(600)
def test_the_same_harness_catches_a_driver_without_a_ledger() -> None:
    code, figures = torture("--naive", "--kills", "9", "--seed", "20")
    assert figures["lost"] + figures["doubled"] > 0
    assert code == 1
