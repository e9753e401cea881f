"""How each of the pilot's defects is planted: what comes wrong, or does not come. `defects` says what is found of it.

Days are counted from the pilot's first. Each defect has a person and a day of its own where others would meddle with it.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from pipelines.demo.batches import BATTERY, BREATHS, FEVER, OXYGEN, SECOND, WEIGHT, Batch, Source
from pipelines.demo.cast import DAY, HOUR, MINUTE
from pipelines.demo.people import HEART, MOTION, SKIN, STEPS, Wearer
from pipelines.demo.pilot import HEAVY, Draft, block, instants
from pipelines.demo.signals import Flags, Floats
from schemas.reasons import Code

Plant = Callable[[Draft], None]


# -- of single readings


def values(person: int, metric: str, rows: Iterable[int], to: float, holds_back: bool = False) -> Plant:
    """Some readings of the second day with another value."""
    places = list(rows)
    return lambda draft: draft.change(person, metric, 1, lambda batch: batch.with_values(places, to, holds_back))


def two_values(draft: Draft) -> None:
    """The last of a day's readings is there twice, and says something else the second time."""

    def twice(batch: Batch) -> Batch:
        more = batch.pick([*range(len(batch)), -1])
        return more.with_values([-1], float(batch.value[-1]) - 3)

    draft.change(2, OXYGEN, 2, twice)


def swapped(batch: Batch) -> Batch:
    """Two of its readings in each other's place."""
    order = np.arange(len(batch))
    order[[20, 21]] = 21, 20
    flagged = np.zeros(len(batch), dtype=bool)
    flagged[21] = True
    return replace(batch.pick(order), flagged=flagged)


def odd_offset(draft: Draft) -> None:
    """An offset from UTC that no clock on earth has."""
    draft.change(3, FEVER, 2, lambda batch: replace(batch.doubtful(), offset_min=37))


def odd_firmware(draft: Draft) -> None:
    """A version that is none."""
    draft.change(7, OXYGEN, 1, lambda b: replace(b.doubtful(), source=b.source._replace(firmware="1.4-beta")))


# -- of consent, and what came before


def not_agreed(draft: Draft) -> None:
    """Breaths, of which nobody was asked."""
    heart = draft.of(0, HEART, 1).pick(slice(0, 24))
    draft.batches.append(replace(heart, metric=BREATHS, value=np.full(24, 15.0), withheld=Code.NO_AUTHORITY))


def before_it_began(draft: Draft) -> None:
    """An hour of the evening before the first day."""
    heart = draft.of(9, HEART, 0).pick(slice(0, 12))
    early = heart.start - 6 * HOUR
    draft.batches.append(replace(heart, day=heart.day - 1, start=early, end=early, withheld=Code.OUTSIDE_WINDOW))


def of_two_people(draft: Draft) -> None:
    """A device that two people say is theirs."""
    one, other = draft.devices[0], draft.devices[1]
    shared = replace(
        one, subject=f"{one.subject}-shared", wearers=tuple(Wearer(d.wearers[0].person) for d in (one, other))
    )
    draft.devices.append(shared)
    heart = draft.of(0, HEART, 1).pick(slice(0, 9))
    draft.batches.append(replace(heart, subject=shared.subject, waits=True))


def sent_twice(draft: Draft) -> None:
    """A day's message, once more."""
    draft.batches.append(replace(draft.of(10, OXYGEN, 1), repeats=True, is_later=True))


# -- of messages as a whole

_POUNDS = 2.2046226


def pounds_for_kilograms(draft: Draft) -> None:
    """Six weights in pounds, and the device says that they are kilograms."""
    draft.batches.append(_weights(draft, 1, 2, 74.2 * _POUNDS))


def twice_the_weight(draft: Draft) -> None:
    """Six weights of somebody who does weigh so much: held back as the others are, and wrongly so."""
    draft.batches.append(_weights(draft, HEAVY, 1, 166.0))


def _weights(draft: Draft, person: int, day: int, about: float) -> Batch:
    usual = draft.of(person, WEIGHT, day)
    start = draft.at(day, 7.5) + np.arange(6, dtype=np.int64) * 30 * SECOND
    value = np.round(about + np.array([0.0, 0.3, 0.1, -0.2, -0.1, 0.2]), 1)
    weighed = instants(person, usual.subject, usual.source, WEIGHT, start, value)
    return replace(weighed.held(), is_later=True)


def clock_ahead(person: int, rows: int, ahead_s: int, mark: Callable[[Batch], Batch]) -> Plant:
    """Charges of a device whose clock is ahead: they come in before they were measured."""

    def plant(draft: Draft) -> None:
        usual = draft.of(person, BATTERY, 2)
        start = draft.at(2, 22) + MINUTE + np.arange(rows, dtype=np.int64) * MINUTE
        ahead = instants(person, usual.subject, usual.source, BATTERY, start, np.full(rows, 57.0))
        draft.batches.append(replace(mark(ahead), received_us=int(start[-1]) - ahead_s * SECOND))

    return plant


def borrowed_scales(draft: Draft) -> None:
    """A scale that five people borrow, one weight in pounds each: no message tells enough to be judged by itself."""
    for number, person in enumerate((0, 2, 3, 4, 6)):
        usual = draft.of(person, WEIGHT, 2)
        start, value = usual.start + 90 * MINUTE + number * MINUTE, np.round(usual.value * _POUNDS, 1)
        source = Source("borrowed scale", "Scale K", None)
        draft.batches.append(instants(person, usual.subject, source, WEIGHT, start, value))


# -- of days


def kept(person: int, metric: str | None, day: int | None, keep: Callable[[Batch], object]) -> Plant:
    """Only some readings came."""
    return lambda draft: draft.change(person, metric, day, lambda batch: batch.pick(keep(batch)))


def hour_of(batch: Batch) -> Floats:
    """The hour of the day, UTC, at which each reading [n] begins."""
    return np.asarray(batch.start % DAY / HOUR)


def with_holes(batch: Batch) -> Flags:
    """From eight to eight one reading in half an hour."""
    hour, place = hour_of(batch), np.arange(len(batch))
    return np.asarray((hour < 8) | (hour >= 20) | (place % 6 == 0))


def flat(draft: Draft) -> None:
    """A temperature that stays the same from two to three at night."""

    def constant(batch: Batch) -> Batch:
        hour = hour_of(batch)
        return replace(batch, value=np.where((hour >= 2) & (hour <= 3), 33.4, batch.value))

    draft.change(11, SKIN, 1, constant)


def blocks(person: int, day: int, hours: tuple[float, float], sample: tuple[float, float, float]) -> Plant:
    """Blocks of acceleration, all of whose samples are the same."""

    def constant(batch: Batch) -> Batch:
        if batch.counts is None or not hours[0] <= float(hour_of(batch)[0]) < hours[1]:
            return batch
        axes = np.tile(np.array(sample), (len(batch.counts), 1))
        return block(batch.person, batch.subject, batch.source, int(batch.start[0]), axes)

    return lambda draft: draft.change(person, MOTION, day, constant)


def leap(draft: Draft) -> None:
    """A second weight in the evening, which is five kilograms more."""
    usual = draft.of(10, WEIGHT, 2)
    evening = instants(10, usual.subject, usual.source, WEIGHT, usual.start + 12 * HOUR, usual.value + 5)
    draft.batches.append(evening)


def jumped(draft: Draft) -> None:
    """Another offset from UTC than the same watch has before, between and after."""
    draft.change(9, STEPS, 2, lambda batch: replace(batch, offset_min=120))


def late(draft: Draft) -> None:
    """The gateway takes a day's message 29 hours after its end."""
    draft.change(12, OXYGEN, 0, lambda batch: replace(batch, received_us=batch.received_us + 29 * HOUR))


def second_source(draft: Draft) -> None:
    """A phone counts the last hour of four."""
    last = draft.of(8, STEPS, 1).pick(slice(180, 240))
    draft.batches.append(replace(last, source=Source("phone", "P6", None)))


def many_steps(draft: Draft) -> None:
    """Four hours of 270 steps a minute, each of which is plausible."""
    draft.change(6, STEPS, 2, lambda batch: replace(batch, value=np.full(len(batch), 270.0)))


def emptied(draft: Draft) -> None:
    """A battery that is low from noon on, and half past two everything ends."""

    def ending(batch: Batch) -> Batch:
        hour = hour_of(batch)
        value = np.where(hour >= 12, 5.0, batch.value) if batch.metric == BATTERY else batch.value
        return replace(batch, value=value).pick(hour <= 14.5)

    draft.change(13, None, 2, ending)
