"""The cast: some thirty people, each with a reason to be in the demo world, and what they wear."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from pipelines.demo.choices import (
    agreed,
    agrees_late,
    expired,
    narrowed,
    narrows,
    paused,
    renewed,
    withdraws,
    withdrew,
)
from pipelines.demo.people import (
    ALL,
    BANDS,
    HEART,
    HEATWAVE,
    MOTION,
    SHIFTWORK,
    SKIN,
    STEPS,
    WATCHES,
    Choice,
    Device,
    Person,
    Wearer,
)

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_ON_THE_WRIST = (HEART, STEPS, SKIN)
_ON_THE_CHEST = (HEART, MOTION)
_KOLKATA = "Asia/Kolkata"  # without daylight saving, so that its wall clock never repeats an hour


class Cast(NamedTuple):
    """Everybody, and every device."""

    people: tuple[Person, ...]
    devices: tuple[Device, ...]


class _Role(NamedTuple):
    """How many people decide in this way, and whether they wear a band beside the watch."""

    people: int
    band: bool
    choices: tuple[Choice, ...]


def cast(seed: int, begin: int) -> Cast:
    """The people and devices of a world whose first reading is taken at `begin` (microseconds, UTC)."""
    names = _Names(seed)
    people: list[Person] = []
    devices: list[Device] = []
    for role in _roles(begin):
        for number in range(role.people):
            person = Person(names.member(), role.choices, night_shift=len(people) % 3 == 0)
            people.append(person)
            devices += _worn_by(person, names, band=role.band and number % 2 == 0)
    for people_of_story, devices_of_story in (_told_late(names, begin), _handed_on(names, begin), _unknown(names)):
        people += people_of_story
        devices += devices_of_story
    return Cast(tuple(people), tuple(_with_habits(devices)))


def _roles(begin: int) -> Iterator[_Role]:
    before = begin - 30 * DAY
    in_both = (agreed(SHIFTWORK, ALL, before), agreed(HEATWAVE, ALL, before))
    yield _Role(5, True, in_both)
    yield _Role(4, True, (agreed(SHIFTWORK, ALL, before),))
    yield _Role(4, False, (agreed(HEATWAVE, (HEART, SKIN), before),))
    yield _Role(3, True, (agreed(SHIFTWORK, (HEART,), before),))
    yield _Role(2, True, (agreed(SHIFTWORK, ALL, before), agreed(HEATWAVE, (HEART,), before)))
    second_day = begin + DAY + 7 * HOUR + 13 * MINUTE + 20_000_000  # not on a minute: some intervals straddle it
    third_day = begin + 2 * DAY + 5 * HOUR
    yield _Role(1, True, (narrowed(SHIFTWORK, ALL, before, third_day, (HEART, STEPS)),))
    yield _Role(1, True, (narrows(SHIFTWORK, ALL, before, (HEART, MOTION)),))
    yield _Role(1, True, (paused(SHIFTWORK, ALL, before, second_day, third_day), agreed(HEATWAVE, ALL, before)))
    yield _Role(1, False, (expired(HEATWAVE, ALL, before, third_day + 40_000_000),))
    yield _Role(1, True, (renewed(SHIFTWORK, ALL, before, second_day, third_day, third_day - 10 * HOUR),))
    yield _Role(1, False, (agreed(SHIFTWORK, ALL, second_day),))
    yield _Role(1, True, (withdrew(HEATWAVE, ALL, before, third_day), agreed(SHIFTWORK, ALL, before)))
    yield _Role(1, True, (withdraws(SHIFTWORK, ALL, before), agreed(HEATWAVE, ALL, before)))
    yield _Role(1, False, (agrees_late(SHIFTWORK, ALL, second_day),))


class _Names:
    """Random names, the same for the same seed: nothing about a person can be read from them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _hex(self, bits: int) -> str:
        return f"{self._random.getrandbits(bits):0{bits // 4}x}"

    def member(self) -> str:
        return f"member-{self._hex(48)}"

    def subject(self) -> str:
        return f"user-{self._hex(32)}"


def _worn_by(person: Person, names: _Names, band: bool) -> list[Device]:
    wearers = (Wearer(person),)
    found = [_watch(names, wearers)]
    if band:
        found.append(_band(names, wearers))
    return found


def _watch(names: _Names, wearers: tuple[Wearer, ...]) -> Device:
    subject = names.subject()
    name = f"{subject}'s watch"
    return Device(WATCHES, subject, name, "Lumen Two", "2.4.1", _ON_THE_WRIST, wearers, zone="Europe/Madrid")


def _band(names: _Names, wearers: tuple[Wearer, ...]) -> Device:
    return Device(BANDS, names.subject(), "chest band", "Tideband 3", "1.0.12", _ON_THE_CHEST, wearers)


def _told_late(names: _Names, begin: int) -> tuple[list[Person], list[Device]]:
    """Agreed long ago, and the link to the watch comes in the second act; the band was linked at once."""
    before = begin - 30 * DAY
    person = Person(names.member(), (agreed(SHIFTWORK, ALL, before), agreed(HEATWAVE, ALL, before)))
    watch, band = _worn_by(person, names, band=True)
    return [person], [replace(watch, linked_in=1), band]


def _handed_on(names: _Names, begin: int) -> tuple[list[Person], list[Device]]:
    """One watch, worn by one person and from some hour on by another, whose study it then is."""
    before = begin - 30 * DAY
    given = begin + DAY + 11 * HOUR
    first = Person(names.member(), (agreed(SHIFTWORK, ALL, before),))
    second = Person(names.member(), (agreed(HEATWAVE, ALL, before),))
    return [first, second], [_watch(names, (Wearer(first, None, given), Wearer(second, given, None)))]


def _unknown(names: _Names) -> tuple[list[Person], list[Device]]:
    """A watch of which nobody ever says whose it is."""
    return [], [replace(_watch(names, ()), linked_in=None)]


def _with_habits(devices: list[Device]) -> Iterator[Device]:
    """Some watches count in wall-clock time, some in degrees Fahrenheit, one numbers its readings."""
    watches = 0
    for device in devices:
        number = watches if device.partner == WATCHES else None
        watches += device.partner == WATCHES
        if number == 0:
            yield replace(device, numbered=True)
        elif number in (2, 7):
            yield replace(device, local=True, zone=_KOLKATA)
        elif number == 5:
            yield replace(device, fahrenheit=True, zone=None)
        else:
            yield device
