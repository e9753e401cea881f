"""Two weeks as a phone knows them, and a day more: what its exports hold, and which facts are in that.

An element of an export and its facts are made together, so that what must come of an export can be counted without
reading it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.demo.people import HEART, STEPS
from pipelines.demo.phone_xml import BY_HAND, PHONE, WATCH, element, record, when, workout, written, zipped

HRV, SLEEP, WEIGHT = "hrv_sdnn", "sleep_stage", "weight"
WORKOUT, DURATION, DISTANCE, ENERGY = "workout", "workout_duration", "workout_distance", "workout_energy"
EXPORT, LATER_EXPORT = "export.zip", "export-later.zip"
DAYS = 14
"""Of the first export; the later one has a day more."""

STRAP_OFF, SPRINT = 0, 246
"""A heart rate that is impossible, and one that is unlikely."""

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 1440 * _MINUTE
_STAGES = ("Core", "Deep", "Core", "REM", "Awake")
_WORKOUT_DAYS = (3, 6, 9, 12)
_BEATS = 20
_TYPE, _CATEGORY = "HKQuantityTypeIdentifier", "HKCategoryTypeIdentifier"


class Fact(NamedTuple):
    """One thing that an export says of [start, end), microseconds UTC; `metric` None: of a type that nobody maps."""

    metric: str | None
    start: int
    end: int
    value: float | None = None


class Entry(NamedTuple):
    """An element of an export, the day (from 0) that it is of, and its facts: none where the element is at fault."""

    day: int
    element: str
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Export:
    """An export, by the name of its file: what it holds, and when it was made (microseconds, UTC)."""

    file: str
    exported_us: int
    entries: tuple[Entry, ...]

    @property
    def facts(self) -> Iterator[Fact]:
        return (fact for entry in self.entries for fact in entry.facts)

    @property
    def faults(self) -> int:
        """Records that nobody can publish."""
        return sum(not entry.facts for entry in self.entries)

    def content(self) -> bytes:
        """The zip."""
        return zipped((entry.element for entry in self.entries), self.exported_us)


def exports(rng: np.random.Generator, begin: int) -> tuple[Export, Export]:
    """The export of the days since `begin` (a midnight of the phone's, microseconds UTC), and the one of a day later."""
    entries = tuple(entry for part in _PARTS for day in range(DAYS + 1) for entry in part(rng, day, begin + day * _DAY))
    first = tuple(entry for entry in entries if entry.day < DAYS)
    return (
        Export(EXPORT, begin + DAYS * _DAY, first),
        Export(LATER_EXPORT, begin + (DAYS + 1) * _DAY, entries),
    )


def _heart(rng: np.random.Generator, day: int, midnight: int) -> Iterator[Entry]:
    for number in range(96):
        awake = 28 <= number < 92
        rate = int(rng.normal(78 if awake else 56, 6))
        rate = {(8, 50): STRAP_OFF, (9, 74): SPRINT}.get((day, number), rate)
        at = midnight + number * 15 * _MINUTE + int(rng.integers(0, 600)) * _SECOND
        yield _instant(day, "HeartRate", "count/min", HEART, at, rate)
    if day == 5:  # a clock that was set while the watch measured
        at = midnight + 1439 * _MINUTE
        yield Entry(day, record(f"{_TYPE}HeartRate", WATCH, at, at - _MINUTE, "71", unit="count/min"))


def _instant(day: int, kind: str, unit: str, metric: str, at: int, value: int) -> Entry:
    return Entry(
        day, record(f"{_TYPE}{kind}", WATCH, at, at, str(value), unit=unit), (Fact(metric, at, at, float(value)),)
    )


def _steps(rng: np.random.Generator, day: int, midnight: int) -> Iterator[Entry]:
    for number in range(24):
        start = midnight + (8 * 60 + number * 35) * _MINUTE + 30 * _SECOND
        end, count = start + 10 * _MINUTE, int(rng.integers(20, 1000))
        said = record(f"{_TYPE}StepCount", PHONE, start, end, str(count), unit="count")
        yield Entry(day, said, (Fact(STEPS, start, end, float(count)),))


def _sleep(rng: np.random.Generator, day: int, midnight: int) -> Iterator[Entry]:
    start = midnight + int(rng.integers(10, 40)) * _MINUTE
    for number in range(15):
        stage = _STAGES[number % len(_STAGES)]
        end = start + int(rng.integers(2, 6) if stage == "Awake" else rng.integers(15, 40)) * _MINUTE
        said = record(f"{_CATEGORY}SleepAnalysis", WATCH, start, end, f"HKCategoryValueSleepAnalysis{_name(stage)}")
        yield Entry(day, said, (Fact(SLEEP, start, end),))
        start = end


def _name(stage: str) -> str:
    return stage if stage == "Awake" else f"Asleep{stage}"


def _hrv(rng: np.random.Generator, day: int, midnight: int) -> Iterator[Entry]:
    """A minute's variability, with the heart rate from one beat to the next, by the time of day and without a date."""
    start = midnight + 9 * 60 * _MINUTE + 7 * _SECOND
    end = start + 58 * _SECOND
    at, beats, facts = start, [], []
    for rate in rng.integers(55, 75, _BEATS).tolist():
        at += 60 * _SECOND // rate // 10_000 * 10_000
        clock = when(at)
        time = f"{clock:%H:%M:%S}.{clock.microsecond // 10_000:02d}"
        beats.append(element("InstantaneousBeatsPerMinute", bpm=str(rate), time=time))
        facts.append(Fact(HEART, at, at, float(rate)))
    inside, value = element("HeartRateVariabilityMetadataList", *beats), f"{rng.uniform(25, 70):.2f}"
    said = record(f"{_TYPE}HeartRateVariabilitySDNN", WATCH, start, end, value, inside, unit="ms")
    yield Entry(day, said, (Fact(HRV, start, end, float(value)), *facts))


def _weight(rng: np.random.Generator, day: int, midnight: int) -> Iterator[Entry]:
    if day % 7 == 3:
        at, value = midnight + 7 * 60 * _MINUTE, f"{rng.normal(63, 0.3):.1f}"
        by_hand = element("MetadataEntry", key="HKWasUserEntered", value="1")
        yield Entry(
            day, record(f"{_TYPE}BodyMass", BY_HAND, at, at, value, by_hand, unit="kg"), (Fact(WEIGHT, at, at),)
        )


def _daylight(rng: np.random.Generator, day: int, midnight: int) -> Iterator[Entry]:
    """A type that is newer than any mapping."""
    start, end = midnight + 10 * 60 * _MINUTE, midnight + 18 * 60 * _MINUTE
    said = record(f"{_TYPE}TimeInDaylight", WATCH, start, end, str(int(rng.integers(5, 120))), unit="min")
    yield Entry(day, said, (Fact(None, start, end),))


def _workouts(rng: np.random.Generator, day: int, midnight: int) -> Iterator[Entry]:
    """A run, with its sums, which are mapped, and its heart rates, which are not: those are among the records."""
    if day not in _WORKOUT_DAYS:
        return
    start, minutes = midnight + 18 * 60 * _MINUTE, int(rng.integers(25, 50))
    end = start + minutes * _MINUTE
    sums = {
        "ActiveEnergyBurned": (ENERGY, minutes * 9, "kcal"),
        "DistanceWalkingRunning": (DISTANCE, minutes / 6, "km"),
    }
    figures, facts = [], [Fact(WORKOUT, start, end), Fact(DURATION, start, end)]
    times = {"startDate": written(start), "endDate": written(end)}
    for kind, (metric, total, unit) in sums.items():
        figures.append(element("WorkoutStatistics", type=f"{_TYPE}{kind}", **times, sum=f"{total:.2f}", unit=unit))
        facts.append(Fact(metric, start, end))
    rates = {"average": "148.2", "minimum": "96", "maximum": "171"}
    figures.append(element("WorkoutStatistics", type=f"{_TYPE}HeartRate", **times, **rates, unit="count/min"))
    facts += [Fact(None, start, end)] * len(rates)
    said = workout("HKWorkoutActivityTypeRunning", WATCH, start, end, str(minutes), *figures)
    yield Entry(day, said, tuple(facts))


_PARTS = (_heart, _steps, _sleep, _hrv, _weight, _daylight, _workouts)
