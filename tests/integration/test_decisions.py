"""Decisions of stewards on a real broker: once each, whatever is killed, and never against who has withdrawn."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from pipelines.commands import asking
from pipelines.entries import now_us
from pipelines.requests import Asked, ask, everything
from quality.chosen import RowSet, number_of
from quality.users import hashed
from tests.mistakes import shift_by
from tests.recount import counted, standing
from tests.worlds import OUTSIDE, ROOT, STEP, World, make_world, once, wait_for
from tests.worlds import number_of as reading_of

UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines import answer
from pipelines.driver import Driver
from pipelines.settings import load_settings

step_to_die_at, entries_before = sys.argv[2], int(sys.argv[3])
done = []
deciding = []

def at(step):
    if deciding and step == step_to_die_at and len(done) == entries_before:
        os.kill(os.getpid(), signal.SIGKILL)

driver = Driver(load_settings(Path(sys.argv[1])), on_step=at)
remove = answer.remove
answer.remove = lambda *words: (at("remove"), remove(*words))
driver.start()
driver.cycle()
deciding.append(1)
while answer.answer_next(driver):
    done.append(1)
"""
KILLS = (
    *(("planned", 0), ("manifest", 0), ("append.checked", 0), ("append.done", 0), ("apply.committed", 0), ("told", 0)),
    ("remove", 1),
)
PASSWORD = "a long password"


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    """Ann and ben are in the study; ten readings of ann's have landed, and twelve are held back."""
    made = make_world(tmp_path, broker.bootstrap, studies=("sleep",), partitions=1)
    made.consent(*(item for person in ("ann", "ben") for item in (made.link(person), made.grant(person, "sleep"))))
    made.publish(made.reading("ann", range(10)), made.reading("ann", range(OUTSIDE + 10, OUTSIDE + 22)))
    made.work()
    users = [
        {"name": name, "password": hashed(PASSWORD), "studies": {"sleep": "approver"}} for name in ("ada", "bob", "cay")
    ]
    (tmp_path / "users.yaml").write_text(json.dumps({"users": users}), encoding="utf-8")
    return made


def leave(world: World, kind: str, about: dict[str, Any], by: str = "ada") -> Asked:
    if "expected" in about and kind != "recall":
        about = {"fingerprint": fingerprint(world, about), **about}
    selection: dict[str, Any] = {"study": "sleep", "by": by, "reason": "seen on the film", "about": about}
    return ask(world.ledger, kind, selection, now_us())


def fingerprint(world: World, about: dict[str, Any]) -> str:
    """Of the held back rows that a decision names, or of all."""
    rows = world.rows("sleep", "key64, entry, recalled", "quarantine")
    mine = [row for row in rows if number_of(row["key64"]) in about.get("rows", [number_of(row["key64"])])]
    entries = sum(row["entry"] + (row["recalled"] or 0) for row in mine)
    return RowSet(len(mine), sum(row["key64"] for row in mine), entries).fingerprint


def rows_of(world: World, *numbers: int) -> dict[str, Any]:
    """The held back readings of these numbers, as a decision names them."""
    waiting = {reading_of(row["value"]): row["key64"] for row in world.rows("sleep", "value, key64", "quarantine")}
    return {"rows": [number_of(waiting[OUTSIDE + number]) for number in numbers], "expected": len(numbers)}


def kill(world: World, step: str, entries_before: int) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", UNTIL_KILLED, str(world.config), step, str(entries_before)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def assert_counts_are_of_what_stands(world: World) -> None:
    assert counted(world, "sleep") == standing(world, "sleep")
    world.assert_sound()


@pytest.mark.timeout(600)
def test_decisions_happen_once_whatever_is_killed(world: World) -> None:
    """Two stewards decide the same rows, readings go on coming in, and a driver dies at each step of a decision."""
    batches = {"release": rows_of(world, 10, 11, 12), "discard": rows_of(world, 13, 14, 15)}
    both = rows_of(world, 16, 17, 18)
    proposals = [
        *(leave(world, "propose", {"decision": kind, **about}) for kind, about in batches.items()),
        leave(world, "propose", {"decision": "release", **both}, by="ada"),
        leave(world, "propose", {"decision": "discard", **both}, by="cay"),
    ]
    world.work()
    approvals = [leave(world, "approve", {"proposal": proposal.id}, by="bob") for proposal in proposals]
    leave(world, "recall", {"rows": rows_landed(world, 0, 1), "expected": 2})
    leave(world, "sign-off", {"day": "2026-01-01"})
    for place, (step, entries_before) in enumerate(KILLS):
        world.publish(world.reading("ben", range(100 + 10 * place, 110 + 10 * place)))
        kill(world, step, entries_before)
    world.work()
    kinds = [row["kind"] for row in sorted(world.rows("sleep", view="decision"), key=lambda row: row["entry"])]
    assert kinds == ["propose"] * 4 + ["approve"] * 3 + ["recall", "sign-off"]
    (refused,) = everything(world.store)
    assert refused.id == approvals[3].id and refused.request is not None
    assert refused.request.refused == f"decided already by decision {approvals[2].id}"
    released = [OUTSIDE + number for number in (10, 11, 12, 16, 17, 18)]
    came = range(100, 100 + 10 * len(KILLS))
    assert world.landed("sleep") == once([*range(2, 10), *released, *came])
    assert world.landed("sleep", "quarantine") == once([0, 1, *(OUTSIDE + number for number in (19, 20, 21))])
    assert_counts_are_of_what_stands(world)
    before = world.landed("sleep"), world.landed("sleep", "quarantine")
    world.publish(world.reading("ann", range(10)), world.reading("ann", range(OUTSIDE + 10, OUTSIDE + 22)))
    world.work()
    assert (world.landed("sleep"), world.landed("sleep", "quarantine")) == before
    assert_counts_are_of_what_stands(world)


def rows_landed(world: World, *numbers: int) -> list[str]:
    landed = {reading_of(row["value"]): row["key64"] for row in world.rows("sleep", "value, key64")}
    return [number_of(landed[number]) for number in numbers]


def test_a_withdrawal_that_came_meanwhile_keeps_rows_where_they_are(world: World) -> None:
    world.publish(world.reading("ben", range(OUTSIDE + 30, OUTSIDE + 33)))
    world.work()
    proposal = leave(world, "propose", {"decision": "release", "check": "PL-00", "expected": 15})
    world.work()
    world.consent(world.withdraw("ann", "sleep"))
    leave(world, "approve", {"proposal": proposal.id}, by="bob")
    world.work()
    (entry,) = world.entries("release")
    assert (entry.cause["released"], entry.cause["withheld"]) == (3, {"R_NO_AUTHORITY": 12})
    assert world.landed("sleep", "quarantine") == once(range(OUTSIDE + 10, OUTSIDE + 22))
    assert_counts_are_of_what_stands(world)


def test_a_command_beside_a_living_driver_has_it_decide(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLSPRING_STEWARD_PASSWORD", PASSWORD)
    where = ("--study", "sleep", "--where", "check=PL-00", "--reason", "seen", "--json")
    with world.following("run", "--follow", "--json") as driver:
        wait_for(lambda: '"takeover"' in driver.output or len(world.entries("takeover")) > 1)
        said = world.execute("quarantine", "propose", "release", *where, "--by", "ada", "--expected", "12")
        assert said.returncode == 0, said.stderr
        proposal = json.loads(said.stdout)["cause"]["request"]["id"]
        approve = ("quarantine", "approve", proposal, "--study", "sleep", "--reason", "yes", "--json", "--by")
        said = world.execute(*approve, "ada")
        assert said.returncode == 1 and "who proposes does not approve" in said.stderr
        said = world.execute(*approve, "bob")
        assert said.returncode == 0, said.stderr
        assert json.loads(said.stdout)["kind"] == "release"
        assert driver.end() == 0
    assert world.landed("sleep") == once([*range(10), *range(OUTSIDE + 10, OUTSIDE + 22)])
    assert world.landed("sleep", "quarantine") == once([])
    assert_counts_are_of_what_stands(world)


def test_after_a_mistake_is_mended_the_records_of_what_waits_are_judged_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readings at the edge were held back for a mistake; their records alone are judged again."""
    monkeypatch.setattr(asking, "PATIENCE_S", 0.2)
    monkeypatch.setenv("WELLSPRING_STEWARD_PASSWORD", PASSWORD)
    edge = range(260_000_000 - 10, 260_000_000)
    with monkeypatch.context() as wrong:
        shift_by(wrong, 20 * STEP)
        world.publish(world.reading("ben", edge, start=world.start_of(40)), world.reading("ben", range(50, 60)))
        world.work()
    assert len(world.rows("sleep", view="quarantine")) == 22
    said = world.execute(
        *("quarantine", "replay", "--study", "sleep", "--where", "check=PL-00", "--where", "metric=heart_rate"),
        *("--reason", "the mapping was wrong", "--by", "ada", "--expected", "22", "--json"),
    )
    assert said.returncode == 0, said.stderr
    entries = world.entries("replay")
    assert sum(int(str(entry.cause["records"])) for entry in entries) == 2
    assert (entries[0].cause["by"], entries[0].cause["rows"]) == ("ada", 22)
    assert {number for number in world.landed("sleep") if number > 1_000_000} == set(edge)
    assert world.landed("sleep", "quarantine") == once(range(OUTSIDE + 10, OUTSIDE + 22))
    assert_counts_are_of_what_stands(world)
