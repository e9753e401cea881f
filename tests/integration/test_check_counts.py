"""A study's counts of how its checks went are at any time those of the rows that stand in its tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.local_kafka import Address
from tests.mistakes import shift_by
from tests.recount import counted, standing
from tests.worlds import OUTSIDE, STEP, World, make_world, once

STUDIES = ("sleep", "cycle")
EDGE = 260_000_000  # the value of this reading is the greatest that is possible


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    """Ann is in both studies, one of which may have her signals; two files of a month are made into one."""
    made = make_world(tmp_path, broker.bootstrap, compact_files=2, partitions=1)
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    made.consent(made.grant("ann", "cycle", metrics=("heart_rate", "acceleration", "steps_interval")))
    return made


def messages(world: World) -> list[tuple[bytes, bytes]]:
    """Readings that land, readings that are quarantined, a signal, and steps with and without a length."""
    start = world.start_of(0)
    signal = {
        "metric": "acceleration",
        "unit": "m/s2",
        "channels": ["x", "y", "z"],
        "times": {"start": start, "period": 31_250},
        "values": {"dtype": "f4", "data": np.arange(96, dtype="<f4").tobytes(), "scale": 1.0},
    }
    steps: dict[str, Any] = {"metric": "steps_interval", "unit": "{steps}", "values": [10.0, 500.0]}
    minutes = {"start": [start, start + 60_000_000], "end": [start + 60_000_000, start + 120_000_000]}
    return [
        world.reading("ann", range(10), offset_min=60),
        world.reading("ann", range(OUTSIDE + 10, OUTSIDE + 15)),
        world.reading("ann", [0], **signal),
        world.reading("ann", [0], times=minutes, **steps),
        world.reading("ann", [0], times={"at": minutes["start"]}, **steps),
    ]


def assert_counts_are_of_what_stands(world: World) -> None:
    for study in STUDIES:
        assert counted(world, study) == standing(world, study)
        rows = world.rows(study, "least(n_eval, n_fail, n_na) AS least, n_eval + n_na AS readings", "check_count")
        assert all(row["least"] >= 0 and row["readings"] > 0 for row in rows)


def replay(world: World, *records: str) -> None:
    for text in records or (world.topic,):
        done = world.execute("run", "--replay", text)
        assert done.returncode == 0, done.stderr


def test_a_reading_that_is_delivered_twice_counts_once(world: World) -> None:
    world.publish(*messages(world), *messages(world))
    world.work()
    before = {study: counted(world, study) for study in STUDIES}
    assert sum(sum(numbers) for numbers in before["cycle"].values()) > 200
    assert_counts_are_of_what_stands(world)
    world.publish(*messages(world))
    world.work()
    assert {study: counted(world, study) for study in STUDIES} == before
    world.publish(world.reading("ann", range(20, 25)))
    world.work()
    assert world.entries("compact")
    world.publish(*messages(world), world.reading("ann", range(5, 30)))
    world.work()
    assert_counts_are_of_what_stands(world)
    world.assert_sound()


def test_a_replay_counts_what_it_puts_in_the_place_of_what_it_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistake lands some readings elsewhere and quarantines others; part of it is mended, then all, then nothing."""
    edge = range(EDGE - 10, EDGE)
    world.publish(*messages(world), world.reading("ann", edge, start=world.start_of(40)))
    with monkeypatch.context() as wrong:
        shift_by(wrong, 20 * STEP)
        world.work()
    world.publish(world.reading("ann", range(20, 30)))
    world.work()
    assert_counts_are_of_what_stands(world)
    replay(world, f"{world.topic}/0:0-0", f"{world.topic}/0:4-5")
    assert_counts_are_of_what_stands(world)
    replay(world)
    assert_counts_are_of_what_stands(world)
    assert world.landed("sleep") == once([*range(10), *range(20, 30), *edge])
    before = {study: counted(world, study) for study in STUDIES}
    replay(world)
    assert {study: counted(world, study) for study in STUDIES} == before
    world.assert_sound()


def test_what_a_replay_takes_and_nothing_replaces_is_not_counted(world: World) -> None:
    world.publish(*messages(world))
    world.work()
    assert counted(world, "sleep")
    world.consent(
        world.event("withdraw", "ann", "sleep", seq=2, mode="keep", effective_at=world.began - 5 * 86_400_000_000)
    )
    replay(world)
    assert standing(world, "sleep") == {} != standing(world, "cycle")
    assert_counts_are_of_what_stands(world)
