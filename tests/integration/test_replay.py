"""What comes twice adds nothing, what its source revises is shown anew, and a replay replaces what records gave."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from infra.local_kafka import Address
from pipelines.driver import Driver
from pipelines.entries import Entry
from pipelines.ledger import LakeError
from pipelines.replay import replay_ranges
from pipelines.views import sql
from pipelines.wanted import parse_ranges
from tests.mistakes import shift_by
from tests.worlds import OUTSIDE, STEP, Message, World, make_world, number_of, once, outcomes, value_of


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    """Ann is in both studies, Bob has withdrawn from his; two files of a month are made into one."""
    made = make_world(tmp_path, broker.bootstrap, compact_files=2, partitions=1)
    made.consent(*(made.link(person) for person in ("ann", "bob")))
    made.consent(made.grant("ann", "sleep"), made.grant("ann", "cycle"))
    made.consent(made.grant("bob", "sleep"), made.withdraw("bob", "sleep", effective_at=made.began))
    return made


def replay(world: World, *texts: str) -> list[Entry]:
    with world.driver() as driver:
        return replay_ranges(driver, parse_ranges(texts or [world.topic]))


def content(world: World, study: str) -> Counter[str]:
    """Every row of a study's tables, but for the number of the entry that landed it."""
    rows = [(view, row) for view in ("observation", "waveform", "quarantine") for row in world.rows(study, "*", view)]
    return Counter(repr((view, {**row, "entry": None})) for view, row in rows)


def steps(world: World, person: str, record: str, value: float) -> Message:
    """One count of steps that its source knows by a record id."""
    start = world.start_of(0)
    return world.reading(
        person,
        [0],
        values=[value],
        metric="steps_interval",
        unit="{steps}",
        times={"start": [start], "end": [start + 60_000_000]},
        record_ids=[record],
    )


# -- twice


def test_delivered_twice_adds_nothing(world: World) -> None:
    samples = np.arange(96, dtype="<f4").tobytes()
    block = {
        "metric": "acceleration",
        "unit": "m/s2",
        "channels": ["x", "y", "z"],
        "times": {"start": world.start_of(0), "period": 31_250},
        "values": {"dtype": "f4", "data": samples, "scale": 1.0},
    }
    wave = world.grant("ann", "cycle", seq=2, metrics=("heart_rate", "acceleration"))
    world.consent(wave)
    messages = [
        world.reading("ann", range(10)),
        world.reading("ann", range(OUTSIDE + 10, OUTSIDE + 15)),
        world.reading("ann", [0], **block),
    ]
    world.publish(*messages, *messages)  # in one plan
    world.work()
    before = {study: content(world, study) for study in ("sleep", "cycle")}
    assert world.landed("sleep") == world.landed("cycle") == once(range(10))
    assert world.landed("sleep", "quarantine") == once(range(OUTSIDE + 10, OUTSIDE + 15))
    assert len(world.rows("cycle", view="waveform")) == 1
    assert outcomes(world.entries(), "cycle") == {"considered": 32, "duplicate": 16, "landed": 11, "quarantined": 5}

    world.publish(*messages)  # in another plan
    world.work()
    world.publish(world.reading("ann", range(20, 25)))
    world.work()
    assert world.entries("compact")
    world.publish(*messages, world.reading("ann", range(5, 15)))  # after compaction, and some of it in another message
    assert outcomes(world.work(), "cycle") == {"considered": 26, "duplicate": 21, "landed": 5}
    assert world.landed("sleep") == world.landed("cycle") == once([*range(15), *range(20, 25)])
    assert world.landed("sleep", "quarantine") == once(range(OUTSIDE + 10, OUTSIDE + 15))
    assert all(before[study] <= content(world, study) for study in before)
    world.assert_sound()


def test_the_same_reading_of_two_sources_or_people_is_two(world: World) -> None:
    world.consent(world.link("eve"), world.grant("eve", "sleep"))
    same = world.reading("ann", range(3))
    world.publish(same, world.reading("ann", range(3), source={"name": "a phone"}), world.reading("eve", range(3)))
    world.work()
    assert world.landed("sleep") == Counter({0: 3, 1: 3, 2: 3})
    assert world.landed("cycle") == Counter({0: 2, 1: 2, 2: 2})


def test_a_reading_that_its_source_revises_is_shown_as_it_is_now(world: World) -> None:
    world.consent(world.grant("ann", "sleep", seq=2, metrics=("heart_rate", "steps_interval")))
    world.publish(steps(world, "ann", "r1", 10), steps(world, "ann", "r1", 11), steps(world, "ann", "r2", 20))
    world.work()
    world.publish(steps(world, "ann", "r1", 12), steps(world, "ann", "r1", 10))
    world.work()
    assert sorted((row["value"], row["revision"]) for row in world.rows("sleep", "value, revision")) == [
        (10, 0),
        (11, 1),
        (12, 2),
        (20, 0),
    ]
    shown = sql(world.store, "SELECT value FROM sleep_observation ORDER BY value").column("value").to_pylist()
    assert shown == [12, 20]
    world.assert_sound()


# -- again


def test_a_replay_with_a_corrected_mapping_replaces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(world.reading("ann", range(10)), world.reading("bob", range(50, 60)), world.reading("ann", [OUTSIDE]))
    with monkeypatch.context() as wrong:
        shift_by(wrong, 1000 * STEP)
        world.work()
    assert world.landed("sleep") == world.landed("cycle") == once(range(1000, 1010))
    world.publish(world.reading("ann", range(20, 30)))
    world.work()
    assert world.entries("compact")
    before = {study: len(world.rows(study)) for study in ("sleep", "cycle")}
    (entry,) = replay(world, f"{world.topic}/0:0-2")
    assert entry.kind == "replay"
    assert {study: len(world.rows(study)) for study in before} == before
    assert world.landed("sleep") == world.landed("cycle") == once([*range(10), *range(20, 30)])
    assert world.landed("sleep", "quarantine") == once([OUTSIDE])
    assert outcomes([entry], "sleep") == {"considered": 21, "R_NO_AUTHORITY": 10, "landed": 10, "quarantined": 1}
    world.assert_sound()


def test_a_corrected_mapping_frees_what_was_quarantined_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(world.reading("ann", range(10)))
    with monkeypatch.context() as wrong:
        shift_by(wrong, 1000.0)
        world.work()
    assert world.landed("sleep") == once([])
    assert len(world.rows("sleep", view="quarantine")) == 10
    replay(world)
    assert world.landed("sleep") == once(range(10))
    assert world.rows("sleep", view="quarantine") == []
    world.assert_sound()


def test_a_replay_of_everything_changes_nothing_but_entry_numbers(world: World) -> None:
    world.consent(world.grant("ann", "sleep", seq=2, metrics=("heart_rate", "steps_interval")))
    world.publish(world.reading("ann", range(10)), world.reading("bob", range(50, 60)), (b"x", b"no message"))
    world.publish(world.reading("ann", range(OUTSIDE + 20, OUTSIDE + 25)), world.reading("eve", range(5)))
    world.publish(steps(world, "ann", "r1", 10), steps(world, "ann", "r1", 11))
    world.work()
    world.publish(world.reading("ann", range(5, 15)), steps(world, "ann", "r1", 12))
    world.work()
    before = {study: content(world, study) for study in ("sleep", "cycle")}
    assert world.landed("sleep", "quarantine") == once(range(OUTSIDE + 20, OUTSIDE + 25))
    entries = replay(world)
    assert [entry.kind for entry in entries] == ["replay"]
    assert {study: content(world, study) for study in before} == before
    assert {row["entry"] for row in world.rows("sleep", "entry")} == {entries[0].n}
    assert entries[0].holds is not None
    assert [entries[0].holds[name] for name in ("opened", "released", "open")] == [5, 5, 5]
    world.assert_sound()
    assert world.work() == []
    assert world.leavings() == [text for text in world.leavings() if "grace" in text]


def test_a_replay_of_one_record_keeps_the_order_of_its_revisions(world: World) -> None:
    world.consent(world.grant("ann", "sleep", seq=2, metrics=("heart_rate", "steps_interval")))
    world.publish(steps(world, "ann", "r1", 10), steps(world, "ann", "r1", 11))
    world.work()
    before = content(world, "sleep")
    replay(world, f"{world.topic}/0:0-0")
    assert content(world, "sleep") == before
    shown = sql(world.store, "SELECT value FROM sleep_observation").column("value").to_pylist()
    assert shown == [11]


def test_a_replay_lands_what_a_plan_with_duplicates_left_out(world: World) -> None:
    """The first of two equal readings goes and comes; the second stays the duplicate that it was."""
    world.publish(world.reading("ann", range(10)), world.reading("ann", range(5, 15)))
    world.work()
    replay(world, f"{world.topic}/0:0-0")
    assert world.landed("sleep") == once(range(15))
    replay(world, f"{world.topic}/0:1-1")
    assert world.landed("sleep") == once(range(15))
    world.assert_sound()


def test_what_cannot_be_replayed_is_said(world: World) -> None:
    world.publish(world.reading("ann", range(10)))
    world.work()
    with world.driver() as driver:
        assert _refusal(driver, "other.sensor-reading.v1") == (
            "nothing of other.sensor-reading.v1 has been read yet: there is nothing to replay"
        )
        assert _refusal(driver, f"{world.topic}/0:0-1") == f"{world.topic}/0: only records 0 to 0 can be replayed"


def _refusal(driver: Driver, text: str) -> str:
    with pytest.raises(LakeError) as refusal:
        replay_ranges(driver, parse_ranges([text]))
    return str(refusal.value)


def test_the_command_replays_and_says_what_it_would(world: World) -> None:
    world.publish(world.reading("ann", range(10)), world.reading("ann", range(10, 20)))
    world.work()
    dry = world.execute("run", "--replay", f"{world.topic}/0:1-1", "--dry-run")
    assert (dry.returncode, json.loads(dry.stdout)) == (0, {f"{world.topic}/0": 1}), dry.stderr
    assert not world.entries("replay")
    done = world.execute("run", "--replay", f"{world.topic}/0:1-1", "--json")
    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout.splitlines()[-1])
    assert (entry["kind"], entry["cause"]["records"]) == ("replay", 1)
    assert world.landed("sleep") == once(range(20))
    assert {number_of(row["value"]) for row in world.rows("sleep", "value, entry") if row["entry"] == entry["n"]} == {
        number_of(value_of(n)) for n in range(10, 20)
    }
