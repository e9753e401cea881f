"""What others ask of a driver that is at work, it does: in its own entries, once, and beside its stream."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from pipelines.answer import answer_next
from pipelines.commands import asking
from pipelines.entries import now_us
from pipelines.heartbeat import Heartbeat
from pipelines.replay import replay_ranges
from pipelines.requests import FOLDER, ask, everything
from pipelines.wanted import parse_ranges, selection
from tests.worlds import ROOT, World, delete_records, make_world, once, wait_for

KNOWN = "approve, decline, discard, judge, propose, recall, release, replay, sign-off"
UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines import answer
from pipelines.driver import Driver
from pipelines.settings import load_settings

step_to_die_at, entries_before = sys.argv[2], int(sys.argv[3])
done = []

def at(step):
    if step == step_to_die_at and len(done) == entries_before:
        os.kill(os.getpid(), signal.SIGKILL)

driver = Driver(load_settings(Path(sys.argv[1])), on_step=at)
answer.remove = lambda *words: at("remove")
driver.start()
while answer.answer_next(driver):
    done.append(1)
"""


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    """Ann is in both studies; two records make a plan, so that a replay of three becomes two entries."""
    made = make_world(tmp_path, broker.bootstrap, partitions=1, plan_records=2)
    made.consent(made.link("ann"), made.grant("ann", "sleep"), made.grant("ann", "cycle"))
    made.publish(*(made.reading("ann", range(first, first + 10)) for first in (0, 10, 20)))
    return made


def leave(world: World, *texts: str) -> None:
    """Leave a request for a replay."""
    ask(world.ledger, "replay", selection(parse_ranges(texts)), now_us())


def replayed(world: World) -> list[tuple[int, int]]:
    """Which request each replay's entry answers, and how many records it judged."""
    causes: list[Any] = [entry.cause for entry in world.entries("replay")]
    return [(cause["request"]["n"], cause["records"]) for cause in causes]


def listed(world: World) -> list[dict[str, Any]]:
    said = world.execute("requests", "list", "--json")
    assert said.returncode == 0, said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_a_command_beside_a_living_driver_has_it_do_the_replay(world: World) -> None:
    with world.following("run", "--follow", "--json") as driver:
        wait_for(lambda: world.landed("cycle") == once(range(30)))
        epoch = world.entries()[-1].epoch
        said = world.execute("run", "--replay", f"{world.topic}/0:0-2", "--json")
        assert said.returncode == 0, said.stderr
        entries = [json.loads(line) for line in said.stdout.splitlines()]
        assert [(entry["kind"], entry["epoch"], entry["cause"]["records"]) for entry in entries] == [
            ("replay", epoch, 2),
            ("replay", epoch, 1),
        ]
        assert "request 1 waits for the driver" in said.stderr
        assert replayed(world) == [(1, 2), (1, 1)] and listed(world) == []
        assert '"kind": "replay"' in driver.output

        said = world.execute("run", "--replay", f"{world.topic}/0:1-1")
        assert (said.returncode, said.stdout) == (0, ""), said.stderr
        assert f"entry {world.entries('replay')[-1].n} replay: 10 readings" in said.stderr

        said = world.execute("run", "--replay", world.topic, "--no-wait", "--json")
        assert said.returncode == 0, said.stderr
        left = json.loads(said.stdout)
        assert (left["request"], left["kind"], left["selection"]) == (3, "replay", {"ranges": [world.topic]})
        wait_for(lambda: not list(world.store.list(FOLDER)))
        assert replayed(world) == [(1, 2), (1, 1), (2, 1), (3, 2), (3, 1)]
        assert driver.process.poll() is None
    assert world.landed("sleep") == world.landed("cycle") == once(range(30))
    world.assert_sound()


def test_what_the_driver_refuses_is_told_and_its_stream_goes_on(world: World) -> None:
    with world.following("run", "--follow", "--json") as driver:
        wait_for(lambda: world.landed("cycle") == once(range(30)))
        world.store.put(f"{FOLDER}000000000001-{'a' * 32}.json", b'{"torn')
        ask(world.ledger, "nonsense", {"much": 1}, now_us())
        said = world.execute("run", "--replay", "other.sensor-reading.v1")
        assert (said.returncode, said.stdout) == (1, "")
        why = "nothing of other.sensor-reading.v1 has been read yet: there is nothing to replay"
        assert f"wellspring: request 3 is refused: {why}\n" in said.stderr
        assert [(row["request"], row["state"], row["why"]) for row in listed(world)] == [
            (1, "refused", "it cannot be read: ask again"),
            (2, "refused", f"it is of a kind that this driver does not know; it knows {KNOWN}"),
            (3, "refused", why),
        ]
        assert "request 3 is refused: nothing of" in driver.errors
        world.publish(world.reading("ann", range(30, 40)))
        wait_for(lambda: world.landed("cycle") == once(range(40)))
        assert driver.end() == 0
    assert replayed(world) == []
    world.assert_sound()


@pytest.mark.parametrize(
    ("step", "entries_before"), [("append.done", 0), ("told", 0), ("append.done", 1), ("remove", 1)]
)
def test_a_driver_killed_after_the_append_does_no_part_twice(world: World, step: str, entries_before: int) -> None:
    world.work()
    leave(world, world.topic)
    killed = subprocess.run(
        [sys.executable, "-c", UNTIL_KILLED, str(world.config), step, str(entries_before)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(world.entries("replay")) == entries_before + 1
    assert listed(world)[0]["state"] == "at work"
    assert world.execute("run", "--once").returncode == 0
    assert replayed(world) == [(1, 2), (1, 1)]
    assert listed(world) == []
    assert world.landed("sleep") == world.landed("cycle") == once(range(30))
    world.assert_sound()


def test_what_comes_in_meanwhile_lands_between_the_parts(world: World) -> None:
    with world.driver() as driver:
        while driver.cycle():
            pass
        leave(world, world.topic)
        first = answer_next(driver)
        world.publish(world.reading("ann", range(30, 40)))
        assert [entry.kind for entry in driver.cycle()] == ["ingest"]
        second = answer_next(driver)
        assert first and second and [entry.cause["records"] for entry in (first, second)] == [2, 1]
        assert answer_next(driver) is None
    assert world.landed("sleep") == world.landed("cycle") == once(range(40))
    world.assert_sound()


def test_records_that_go_while_they_are_replayed_refuse_the_rest(world: World) -> None:
    with world.driver() as driver:
        while driver.cycle():
            pass
        leave(world, world.topic)
        answer_next(driver)
        delete_records(world)
        assert answer_next(driver) is None
        (asked,) = everything(world.store)
        assert asked.request is not None
        assert asked.request.refused == f"{world.topic}/0: only records 3 to 2 can be replayed"
        assert driver.cycle() == []
    assert world.landed("sleep") == world.landed("cycle") == once(range(30))


def test_records_that_go_while_a_plan_runs_refuse_it(world: World) -> None:
    def at(step: str) -> None:
        if step == "planned" and everything(world.store):
            delete_records(world)

    with world.driver(on_step=at) as driver:
        while driver.cycle():
            pass
        leave(world, world.topic)
        assert answer_next(driver) is None
        (asked,) = everything(world.store)
        assert asked.request is not None and "retention" in asked.request.refused
        world.publish(world.reading("ann", range(30, 40)))
        driver.on_step = lambda step: None
        assert driver.cycle()
    assert world.landed("sleep") == world.landed("cycle") == once(range(40))
    world.work()
    world.assert_sound()


def test_without_a_driver_the_command_does_it_itself(world: World) -> None:
    world.work()
    said = world.execute("run", "--replay", world.topic, "--json")
    assert said.returncode == 0, said.stderr
    assert [json.loads(line)["kind"] for line in said.stdout.splitlines()] == ["replay", "replay"]
    assert [entry.cause.get("request") for entry in world.entries("replay")] == [None, None]
    assert not list(world.store.list(FOLDER))


def test_a_request_that_nobody_is_there_for_waits_for_the_next_driver(world: World) -> None:
    world.work()
    said = world.execute("run", "--replay", world.topic, "--no-wait")
    assert (said.returncode, said.stdout) == (0, "")
    assert "request 1 is left for the driver" in said.stderr
    assert [(row["request"], row["state"]) for row in listed(world)] == [(1, "waits")]
    assert world.execute("run", "--once").returncode == 0
    assert replayed(world) == [(1, 2), (1, 1)] and listed(world) == []


def test_a_command_whose_driver_is_gone_becomes_the_driver(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE_S", 0.2)
    world.work()
    leave(world, f"{world.topic}/0:0-0")  # somebody else's, which comes before
    gone = threading.Event()

    def beat_until_asked() -> None:
        with Heartbeat(world.store, world.entries()[-1].epoch, now_us):
            gone.set()
            wait_for(lambda: len(everything(world.store)) == 2)

    driver = threading.Thread(target=beat_until_asked)
    driver.start()
    gone.wait(60)
    said = world.execute("run", "--replay", world.topic, "--json")
    driver.join()
    assert said.returncode == 0, said.stderr
    entries = [json.loads(line) for line in said.stdout.splitlines()]
    assert [(entry["kind"], entry["cause"]["request"]["n"]) for entry in entries] == [("replay", 2)] * 2
    assert replayed(world) == [(1, 1), (2, 2), (2, 1)] and listed(world) == []
    assert "no driver is at work any more" in said.stderr
    world.assert_sound()


def test_the_same_function_replays_with_and_without_a_request(world: World) -> None:
    world.work()
    with world.driver() as driver:
        done = replay_ranges(driver, parse_ranges([world.topic]))
        leave(world, world.topic)
        asked = list(filter(None, (answer_next(driver), answer_next(driver))))
    assert [sums(entry) for entry in done] == [sums(entry) for entry in asked]


def sums(entry: Any) -> tuple[Any, ...]:
    """What an entry did, but for names and moments."""
    files = Counter((table, len(change.add), len(change.remove)) for table, change in entry.tables.items())
    causes = {name: value for name, value in entry.cause.items() if name not in ("plan", "request")}
    return entry.kind, causes, entry.counts["readings"], entry.counts["studies"], files
