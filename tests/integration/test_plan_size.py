"""Plans are cut in bytes and in files: a backlog goes through in as many entries as it takes, each reading once."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.local_kafka import Address
from pipelines import landing
from pipelines.entries import Entry, Kind
from pipelines.lake_check import lake_check
from tests.worlds import SECOND, World, make_world, once

MONTH = "datetime64[M]"
READINGS = 20


def world_of(tmp_path: Path, broker: Address, **limits: Any) -> World:
    """Ann and bob, in two studies since ever."""
    world = make_world(tmp_path / "world", broker.bootstrap, **limits)
    ever = {"effective_at": 0, "retro_from": 0}
    world.consent(
        *(world.link(person) for person in ("ann", "bob")),
        *(world.grant(person, study, **ever) for person in ("ann", "bob") for study in ("sleep", "cycle")),
    )
    return world


def month_before(world: World, months: int) -> int:
    """The beginning of the month so many before the world's."""
    return int((np.datetime64(world.began, "us").astype(MONTH) - months).astype("datetime64[us]").astype(np.int64))


def publish_months(world: World, months: int) -> range:
    """A message of each of the last months, of ann and bob in turn; the numbers of their readings."""
    messages = [
        world.reading(
            ("ann", "bob")[place % 2],
            range(place * READINGS, place * READINGS + READINGS),
            start=month_before(world, 1 + place),
        )
        for place in range(months)
    ]
    world.publish(*messages)
    return range(months * READINGS)


def files_of(entry: Entry) -> int:
    return sum(len(change.add) for change in entry.tables.values())


def assert_once(world: World, numbers: Iterable[int]) -> None:
    world.assert_sound()
    wanted = once(numbers)
    for study in ("sleep", "cycle"):
        assert world.landed(study) == wanted


def test_a_backlog_of_very_many_places_goes_through_a_few_files_at_a_time(tmp_path: Path, broker: Address) -> None:
    """A message makes four files: of rows and of the checks' counts, in each study."""
    world = world_of(tmp_path, broker, plan_files=12)
    numbers = publish_months(world, 30)
    said: list[str] = []
    ingests = [entry for entry in world.work(say=said.append) if entry.kind == Kind.INGEST]
    assert_once(world, numbers)
    assert len(ingests) >= 10 and max(files_of(entry) for entry in ingests) <= 12
    assert sum(files_of(entry) for entry in ingests) == 30 * 4
    assert [text.split(" records")[0] for text in said] == [f"the plan of {n}" for n in (30, 15, 7)]
    assert "would write more than 12 files (limits.plan_files): nothing of it is committed" in said[0]
    assert [entry.cause["records"] for entry in ingests][:3] == [3, 3, 3]
    assert not list(world.store.list("_control/manifests/"))
    assert lake_check(world.store, world.ledger).waiting == [], "it stops before anything is written"


def test_plans_grow_back_when_the_places_are_few_again(tmp_path: Path, broker: Address) -> None:
    world = world_of(tmp_path, broker, plan_files=20, plan_records=16)
    publish_months(world, 8)
    done = world.execute("run", "--once")
    assert "the plan of 8 records would write more than 20 files" in done.stderr and "Traceback" not in done.stderr
    assert "4 records are left to the next plan (limits.plan_files)" in done.stderr
    world.publish(*(world.reading("ann", range(n, n + 1)) for n in range(1_000, 1_030)))
    ingests = [entry for entry in world.work() if entry.kind == Kind.INGEST]
    assert [entry.cause["records"] for entry in ingests] == [4, 8, 16, 2]
    world.assert_sound()


def test_what_was_learned_outlives_the_driver(tmp_path: Path, broker: Address) -> None:
    world = world_of(tmp_path, broker, plan_files=12)
    numbers = publish_months(world, 10)
    first: list[str] = []
    then: list[str] = []
    with world.driver(say=first.append) as driver:
        driver.cycle()
    world.work(say=then.append)
    assert len(first) == 2 and then == []
    assert_once(world, numbers)


def test_a_record_of_more_places_than_a_plan_may_write_goes_through_alone(tmp_path: Path, broker: Address) -> None:
    world = world_of(tmp_path, broker, plan_files=5, partitions=1)
    starts = [month_before(world, months) for months in range(12, 0, -1)]
    wide = world.reading("ann", range(12), times={"at": np.array(starts, dtype="<i8").tobytes()})
    narrow = world.reading("ann", range(100, 110))
    world.publish(narrow, wide, wide, world.reading("ann", range(200, 210)))
    ingests = [entry for entry in world.work() if entry.kind == Kind.INGEST]
    assert sorted(files_of(entry) for entry in ingests)[-1] == 12 * 4
    assert_once(world, [*range(12), *range(100, 110), *range(200, 210)])
    assert all(entry.cause["records"] == 1 for entry in ingests if files_of(entry) > 5)


def test_files_of_a_run_that_was_stopped_are_swept(
    tmp_path: Path, broker: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message fills a file at once, so that some are there when it is noticed that there will be too many."""
    monkeypatch.setattr(landing, "FILE_ROWS", READINGS)
    world = world_of(tmp_path, broker, plan_files=8)
    numbers = publish_months(world, 4)
    world.work()
    assert_once(world, numbers)
    assert lake_check(world.store, world.ledger).waiting
    with world.driver():
        assert lake_check(world.store, world.ledger).waiting == world.leavings() == []
    assert_once(world, numbers)


def large(world: World, count: int, samples: int = 40_000) -> Iterator[Any]:
    """Messages of so many samples, eight bytes each."""
    for place in range(count):
        numbers = range(place * samples, place * samples + samples)
        yield world.reading("ann", numbers, start=month_before(world, 2) + place * samples * SECOND)


def bytes_of(entry: Entry) -> int:
    counts: Any = entry.counts
    return int(counts["topics"][next(iter(counts["topics"]))]["bytes"])


def test_large_messages_are_cut_by_bytes_each_counted_for_every_study(tmp_path: Path, broker: Address) -> None:
    world = world_of(tmp_path, broker, plan_mb=2)
    world.publish(*large(world, 14))
    said: list[str] = []
    first, *known = [entry for entry in world.work(say=said.append) if entry.kind == Kind.INGEST]
    assert_once(world, range(14 * 40_000))
    assert [text.split(":")[0] for text in said] == ["the plan of 14 records holds far more than 2 MB (limits.plan_mb)"]
    assert [entry.cause["records"] for entry in (first, *known)] == [7, 3, 3, 1]
    assert all(bytes_of(entry) * 2 <= 2 * 2**20 for entry in known)
    assert [entry.cause.get("cut_by") for entry in known] == ["plan_mb", "plan_mb", None]


def test_a_record_larger_than_a_plan_goes_through_alone(tmp_path: Path, broker: Address) -> None:
    world = world_of(tmp_path, broker, plan_mb=1, partitions=1)
    world.publish(*large(world, 3, 150_000))
    done = world.execute("run", "--once")
    assert "2 records are left to the next plan (limits.plan_mb)" in done.stderr
    assert_once(world, range(450_000))
    assert [entry.cause["records"] for entry in world.entries("ingest")] == [1, 1, 1]


def test_redrives_and_replays_take_what_they_were_told(tmp_path: Path, broker: Address) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, plan_files=8, plan_mb=1)
    numbers = publish_months(world, 10)
    world.work()
    ever = {"effective_at": 0, "retro_from": 0}
    for person in ("ann", "bob"):
        world.consent(*(world.grant(person, study, **ever) for study in ("sleep", "cycle")), world.link(person))
    (redrive,) = [entry for entry in world.work() if entry.kind == Kind.REDRIVE]
    assert files_of(redrive) > 8
    assert_once(world, numbers)
    assert world.execute("run", "--replay", world.topic).returncode == 0
    assert max(files_of(entry) for entry in world.entries("replay")) > 8
    assert_once(world, numbers)


def test_a_plan_that_finds_too_little_memory_is_made_again_and_stays_small(
    tmp_path: Path, broker: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(tmp_path, broker, partitions=1)
    start = month_before(world, 1)
    numbers = range(12 * READINGS)
    world.publish(
        *(
            world.reading("ann", numbers[first : first + READINGS], start=start + first * SECOND)
            for first in range(0, len(numbers), READINGS)
        )
    )
    write = landing.write_sorted

    def little_memory(content: Any, *more: Any) -> int:
        if content.num_rows > 3 * READINGS:
            raise MemoryError
        return write(content, *more)

    monkeypatch.setattr(landing, "write_sorted", little_memory)
    said: list[str] = []
    entries = [entry for entry in world.work(say=said.append) if entry.kind == Kind.INGEST]
    assert [entry.cause["records"] for entry in entries] == [3, 3, 3, 3]
    assert ["needs more memory than there is (limits.plan_mb)" in line for line in said] == [True, True]
    assert_once(world, numbers)
