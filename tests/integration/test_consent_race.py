"""A producer and a consent authority race: what is appended after a withdrawal never lands, what came before it does.

Each side notes when it asked for a record to be appended and when the broker acknowledged it. Where these intervals do
not overlap the order of the two records is certain, and the lake must hold it.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from connectors.publisher import Publisher
from infra.local_kafka import Address
from pipelines.entries import now_us
from schemas.reasons import Code
from tests.worlds import World, make_world, outcomes, work_off

SECONDS = 20.0
PEOPLE = [f"p{number}" for number in range(40)]


class Appended(NamedTuple):
    """Something that was appended between `asked` and `acknowledged`, microseconds since the epoch."""

    what: str
    asked: int
    acknowledged: int


@dataclass
class Notes:
    """What happened to one person: events in their order, and readings by number."""

    events: list[Appended]
    readings: dict[int, Appended]


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    return make_world(tmp_path / "world", broker.bootstrap, plan_records=300)


@contextmanager
def racing(*works: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run these in threads of their own until the body is over; what fails in one fails the test."""
    stop, failures = threading.Event(), []

    def run(work: Callable[[threading.Event], None]) -> None:
        try:
            work(stop)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def decide(world: World, notes: dict[str, Notes], stop: threading.Event) -> None:
    """Somebody withdraws or grants again, one decision after another."""
    chance = random.Random(1)
    with world.authority() as say:
        while not stop.is_set():
            person = chance.choice(PEOPLE)
            granted = notes[person].events[-1].what == "grant"
            asked = now_us()
            if granted:
                say(world.withdraw(person, "sleep", effective_at=asked))
            else:
                say(world.grant(person, "sleep", effective_at=asked, retro_from=world.start_of(0)))
            notes[person].events.append(Appended("withdraw" if granted else "grant", asked, now_us()))


def send(world: World, notes: dict[str, Notes], stop: threading.Event) -> None:
    """Everybody's readings, one record after another, each acknowledged before the next."""
    chance, number = random.Random(2), 0
    with Publisher(world.settings.kafka, world.topic) as publisher:
        while not stop.is_set():
            person = chance.choice(PEOPLE)
            asked = now_us()
            publisher.send(*world.reading(person, [number]))
            assert not publisher.flush().failed
            notes[person].readings[number] = Appended("reading", asked, now_us())
            number += 1


def test_nothing_lands_that_was_appended_after_a_withdrawal(world: World) -> None:
    notes = {person: Notes([], {}) for person in PEOPLE}
    world.consent(*(world.link(person) for person in PEOPLE))
    for person in PEOPLE:
        notes[person].events.append(Appended("grant", world.began, world.began))
    world.consent(*(world.grant(person, "sleep") for person in PEOPLE))
    with world.driver() as driver:
        with racing(lambda stop: decide(world, notes, stop), lambda stop: send(world, notes, stop)):
            end = now_us() + round(SECONDS * 1e6)
            while now_us() < end:
                driver.cycle()
        work_off(driver)
    landed = world.landed("sleep")
    forbidden, allowed = certain(notes)
    assert landed.keys() & forbidden == set()
    assert allowed - landed.keys() == set()
    assert set(landed.values()) == {1}
    assert len(forbidden) > 50 < len(allowed)
    assert len(world.entries("ingest")) > 3
    assert outcomes(world.entries(), "sleep")[Code.NO_AUTHORITY] >= len(forbidden)
    world.assert_sound()


def certain(notes: dict[str, Notes]) -> tuple[set[int], set[int]]:
    """The numbers of the readings that must not land, and of those that must: where the order is beyond doubt."""
    found: dict[str, set[int]] = {"withdraw": set(), "grant": set()}
    for noted in notes.values():
        for number, reading in noted.readings.items():
            before = [event for event in noted.events if event.acknowledged < reading.asked]
            doubtful = [e for e in noted.events[len(before) :] if e.asked <= reading.acknowledged]
            if not doubtful:
                found[before[-1].what].add(number)
    return found["withdraw"], found["grant"]
