"""A pilot study of sixteen people over three whole days: devices in perfect order, but for the defects that are planted.

A pure function of its first day, its seed and its defects. A gateway of the partner's kept what came and says when, so
that the days are told as they were; everything is agreed to, and to the last day only.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.demo.batches import (
    BATTERY,
    BLOCK,
    FEVER,
    GLUCOSE,
    OXYGEN,
    SAMPLE_US,
    SENT_AFTER,
    STEPS_OF_DAY,
    WEIGHT,
    Batch,
    Source,
)
from pipelines.demo.cast import DAY, HOUR, MINUTE
from pipelines.demo.choices import expired
from pipelines.demo.people import HEART, MOTION, PACER, PILOT, SKIN, STEPS, Device, Person, Wearer
from pipelines.demo.signals import G_SCALE, Floats, Int64s

if TYPE_CHECKING:
    from pipelines.demo.defects import Defect

DAYS = 3
PEOPLE = 16
METRICS = (HEART, SKIN, STEPS, MOTION, OXYGEN, GLUCOSE, FEVER, BATTERY, WEIGHT, STEPS_OF_DAY)
HEAVY = 15
"""The number of somebody who weighs twice as much as the others do, which is the truth."""
_RINGS = (11, 12, 13)
_WATCH, _RING, _SCALE = Source("watch", "Pace 1"), Source("ring", "Halo R"), Source("scale", "Scale A", None)
_STEPPING = slice(8 * 60, 12 * 60)
_BLOCKS = 6


@dataclass(frozen=True)
class Pilot:
    """The study from `first_day` (days since 1970, UTC) on: who is in it, what their devices send, what is wrong."""

    study: str
    first_day: int
    days: int
    people: tuple[Person, ...]
    devices: tuple[Device, ...]
    batches: tuple[Batch, ...]
    defects: tuple["Defect", ...] = ()

    def consent_lines(self) -> list[str]:
        """What the consent authority publishes before anything comes, one JSON object a line."""
        choices = [line for one in self.people for choice in one.choices for line in choice.lines(one.member, 0, 0)]
        return choices + [line for device in self.devices for line in device.lines(0)]

    def sent(self, later: bool) -> list[Batch]:
        """What is sent at first, or once the days have been judged, in the order in which it came."""
        return sorted((one for one in self.batches if one.is_later == later), key=lambda one: one.received_us)


class Draft:
    """A pilot while defects are planted in it; days are counted from its first one."""

    def __init__(self, first_day: int, batches: Iterable[Batch], devices: Iterable[Device]) -> None:
        self.first_day, self.batches, self.devices = first_day, list(batches), list(devices)

    def of(self, person: int, metric: str, day: int) -> Batch:
        """The one batch of a person, metric and day, or the first of several."""
        return next(one for one in self.batches if self._is(one, person, metric, day))

    def change(self, person: int, metric: str | None, day: int | None, how: Callable[[Batch], Batch]) -> None:
        """Put others in place of batches; None is for every metric or day. What is empty then is not sent."""
        changed = [how(one) if self._is(one, person, metric, day) else one for one in self.batches]
        self.batches = [one for one in changed if len(one)]

    def _is(self, one: Batch, person: int, metric: str | None, day: int | None) -> bool:
        of_metric, of_day = metric in (None, one.metric), day is None or one.day == self.first_day + day
        return one.person == person and of_metric and of_day

    def at(self, day: int, hour: float) -> int:
        """A moment of a day, microseconds UTC."""
        return (self.first_day + day) * DAY + round(hour * HOUR)


def pilot(
    first_day: int, seed: int, defects: Iterable["Defect"] = (), study: str = PILOT, name: str = "walker"
) -> Pilot:
    """The pilot with these defects. `name` begins what the partner calls its people."""
    people, devices = participants(study, METRICS, PEOPLE, (first_day, DAYS), seed, name)
    batches = [
        batch
        for number, device in enumerate(devices)
        for day in range(first_day, first_day + DAYS)
        for batch in _day(number, device.subject, day, np.random.default_rng([seed, number, day - first_day]))
    ]
    draft, planted = Draft(first_day, batches, devices), tuple(defects)
    for defect in planted:
        defect.plant(draft)
    return Pilot(study, first_day, DAYS, people, tuple(draft.devices), tuple(draft.batches), planted)


def participants(
    study: str, metrics: tuple[str, ...], count: int, span: tuple[int, int], seed: int, name: str
) -> tuple[tuple[Person, ...], tuple[Device, ...]]:
    """So many people who agreed to be measured from the first day on for so many days (`span`), and each one's account."""
    chance = random.Random(f"{study}-{seed}")
    begin, end = span[0] * DAY, (span[0] + span[1]) * DAY
    people, devices = [], []
    for _ in range(count):
        person = Person(f"member-{chance.getrandbits(48):012x}", (expired(study, metrics, begin, end),))
        subject = f"{name}-{chance.getrandbits(32):08x}"
        people.append(person)
        devices.append(Device(PACER, subject, _WATCH.name, _WATCH.model, "1.4.0", metrics, (Wearer(person),)))
    return tuple(people), tuple(devices)


def _day(person: int, subject: str, day: int, rng: np.random.Generator) -> Iterator[Batch]:
    """A day of one person."""
    worn = _RING if person in _RINGS else _WATCH
    begin = day * DAY
    every = {minutes: np.arange(begin, begin + DAY, minutes * MINUTE) for minutes in (5, 10, 15, 30, 360)}
    yield instants(person, subject, worn, HEART, every[5], beats(every[5], rng))
    yield instants(person, subject, worn, SKIN, every[10], 33 + rng.normal(0, 0.3, 144))
    yield instants(person, subject, worn, OXYGEN, every[30], np.round(97 + rng.normal(0, 0.6, 48)))
    yield instants(person, subject, worn, GLUCOSE, every[15], np.round(105 + rng.normal(0, 9, 96)))
    yield instants(person, subject, worn, FEVER, every[360] + HOUR, np.round(36.7 + rng.normal(0, 0.2, 4), 1))
    yield instants(person, subject, worn, BATTERY, every[30], np.linspace(100, 55, 48))
    weight = (166 if person == HEAVY else 74 + 0.2 * person) + rng.normal(0, 0.2)
    yield instants(person, subject, _SCALE, WEIGHT, np.array([begin + 7 * HOUR]), np.array([round(weight, 1)]))
    minute = np.arange(begin, begin + DAY, MINUTE)[_STEPPING]
    yield intervals(person, subject, worn, STEPS, minute, MINUTE, np.full(len(minute), 40.0))
    yield intervals(person, subject, worn, STEPS_OF_DAY, np.array([begin]), DAY, np.array([9600.0]))
    for number in range(_BLOCKS):
        yield block(person, subject, worn, begin + 9 * HOUR + number * BLOCK, moving(rng))


def beats(start: Int64s, rng: np.random.Generator, noise: float = 1.0) -> Floats:
    """Heart rates of a day, lowest about half past three at night, and never the same twice in a row."""
    hour = start % DAY / HOUR
    wave = np.round(64 - 12 * np.cos((hour - 3.5) / 24 * 2 * np.pi) + rng.normal(0, noise, len(start)))
    return np.asarray(wave + np.arange(len(start)) % 2 * 0.5)


def moving(rng: np.random.Generator) -> Floats:
    """Acceleration of somebody who moves, [samples, 3] in units of gravity."""
    samples = BLOCK // SAMPLE_US
    return np.asarray(rng.normal(0, 0.2, (samples, 3)) + np.array([0.0, 0.1, 0.98]))


def instants(person: int, subject: str, source: Source, metric: str, start: Int64s, value: Floats) -> Batch:
    """A batch of readings at moments."""
    received = int(start[-1]) + SENT_AFTER
    return Batch(person, subject, int(start[0]) // DAY, source, metric, start, start, value, received)


def intervals(
    person: int, subject: str, source: Source, metric: str, start: Int64s, length_us: int, value: Floats
) -> Batch:
    """A batch of readings of intervals that are equally long."""
    end = start + length_us
    return Batch(person, subject, int(start[0]) // DAY, source, metric, start, end, value, int(end[-1]) + SENT_AFTER)


def block(person: int, subject: str, source: Source, start: int, axes: Floats) -> Batch:
    """A block of acceleration, [samples, 3] in units of gravity."""
    counts = np.round(axes / G_SCALE).astype(np.int16)
    end = start + len(counts) * SAMPLE_US
    times = np.array([start]), np.array([end])
    return Batch(person, subject, start // DAY, source, MOTION, *times, np.zeros(1), end + SENT_AFTER, counts)
