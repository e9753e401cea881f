"""The world of the demo: a few days of some thirty people, as consent lines and records of Kafka, in four acts.

A pure function of a seed and the moment at which it ends. Act 1 (number 0) brings what people had agreed to, the first
days and everything that can be wrong with a message; act 2 a late grant, a late link, a narrowing, a withdrawal, the
last day, and messages that were sent before; act 3 what comes through other doors: files of a phone and a laboratory;
act 4 a pilot whose devices go wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.demo.bad_messages import Bad, bad_messages
from pipelines.demo.cast import DAY, HOUR, MINUTE, Cast, cast
from pipelines.demo.defects import DEFECTS
from pipelines.demo.doors import Doors, doors
from pipelines.demo.messages import Message, block
from pipelines.demo.people import CYCLELAB, HEART, HEATWAVE, MOTION, PILOT, SHIFTWORK, SKIN, STEPS, Device, Person
from pipelines.demo.pilot import DAYS as PILOT_DAYS
from pipelines.demo.pilot import Pilot, pilot
from pipelines.demo.signals import (
    DAY_MINUTES,
    Floats,
    Signal,
    acceleration,
    heart_rate,
    skin_temperature,
    steps_interval,
    waking,
)
from schemas.reasons import Reason
from schemas.registry import KeepBasis

SEED = 20_260_131
DAYS = 4
STUDIES: dict[str, tuple[str, KeepBasis]] = {
    SHIFTWORK: ("Shift work, sleep and the heart", "public_interest_research"),
    HEATWAVE: ("Heat waves in the city", "none"),
    CYCLELAB: ("Cycle, microbiome and what phones know", "none"),
    PILOT: ("A pilot: do the devices do?", "none"),
}
_SPAN_US = {HEART: 2 * HOUR, STEPS: 4 * HOUR, SKIN: 6 * HOUR}
_BLOCK_HOURS = (2, 9, 13, 20)
_YEAR_2085 = 3_644_000_000_000_000

Record = Message | Bad


@dataclass(frozen=True)
class Act:
    """One act: its number, and the records in the order in which they are sent."""

    number: int
    records: Sequence[Record]


@dataclass(frozen=True)
class World:
    """Everything that happens until `end`, microseconds UTC, as told at `now_us`; devices speak from `begin` on."""

    now_us: int
    begin: int
    end: int
    cast: Cast
    acts: tuple[Act, Act]
    doors: Doors
    pilot: Pilot

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody."""
        return *self.cast.people, self.doors.person, *self.pilot.people

    def consent_lines(self, act: int, moment_us: int) -> list[str]:
        """What the consent authority publishes in an act, one JSON object a line; `moment_us` is its beginning."""
        events = [
            line
            for person in self.cast.people
            for choice in person.choices
            for line in choice.lines(person.member, act, moment_us)
        ]
        return events + [line for device in self.cast.devices for line in device.lines(act)]


def world(now_us: int, seed: int = SEED) -> World:
    """The world whose last reading was taken some minutes before `now_us`, microseconds UTC."""
    end = (now_us - 3 * MINUTE) // MINUTE * MINUTE
    begin = end - DAYS * DAY
    people = cast(seed, begin)
    first: list[Record] = []
    second: list[Record] = []
    for number, device in enumerate(people.devices):
        for message in _messages_of(device, np.random.default_rng([seed, number]), begin, number):
            (second if message.act else first).append(message)
    first = _in_order_of_time(first)
    first += [*_sent_again(first, 0, every=40), *_partly_broken(first), *bad_messages(people.devices[0], begin)]
    second = _in_order_of_time(second)
    second += [*_sent_again(first, 1, every=25), *_counted_anew(first)]
    return World(now_us, begin, end, people, (Act(0, first), Act(1, second)), doors(seed, end), _pilot(now_us, seed))


def _pilot(now_us: int, seed: int) -> Pilot:
    """The days before today, which are over."""
    return pilot(now_us // DAY - PILOT_DAYS, seed, DEFECTS)


def _messages_of(device: Device, rng: np.random.Generator, begin: int, number: int) -> Iterator[Message]:
    """A device's messages, metric by metric; the last day's are of the second act."""
    night_shift = bool(device.wearers) and device.wearers[0].person.night_shift
    awake, steps = waking(rng, begin, DAYS * DAY_MINUTES, night_shift)
    for metric in device.metrics:
        if metric == MOTION:
            yield from _blocks(device, rng, begin, steps, faulty=number == 1)
        else:
            yield from _series(device, metric, _signal(metric, rng, begin, awake, steps), begin)


def _signal(metric: str, rng: np.random.Generator, begin: int, awake: Floats, steps: Floats) -> Signal:
    if metric == HEART:
        return heart_rate(rng, begin, awake, steps)
    return steps_interval(rng, begin, steps) if metric == STEPS else skin_temperature(rng, begin, awake)


def _series(device: Device, metric: str, signal: Signal, begin: int) -> Iterator[Message]:
    part = (signal.start - begin) // _SPAN_US[metric]
    for number in np.unique(part).tolist():
        piece = signal.pick(part == number)
        yield Message(_act_of(int(piece.start[0]), begin), device, metric, piece)


def _blocks(device: Device, rng: np.random.Generator, begin: int, steps: Floats, faulty: bool) -> Iterator[Message]:
    for day in range(DAYS):
        for hour in _BLOCK_HOURS:
            start = begin + day * DAY + hour * HOUR
            minute = (start - begin) // MINUTE
            fault = faulty and (day, hour) == (1, _BLOCK_HOURS[1])
            counts = acceleration(rng, bool(steps[minute : minute + 5].any()), fault)
            yield block(device, _act_of(start, begin), start, counts, fault)


def _act_of(start: int, begin: int) -> int:
    return int(start >= begin + (DAYS - 1) * DAY)


def _in_order_of_time(records: list[Record]) -> list[Record]:
    """As they would arrive: a device sends a series when it is complete."""
    return sorted(records, key=lambda record: int(record.signal.end[-1]) if isinstance(record, Message) else 0)


def _sent_again(records: Sequence[Record], act: int, every: int) -> Iterator[Message]:
    """Some messages of the first act once more."""
    for record in records[::every]:
        if isinstance(record, Message) and record.resent is None and record.reason is None:
            yield record.again(act)


def _partly_broken(records: Sequence[Record]) -> Iterator[Message]:
    """Copies of three messages from a source of another name, in which some readings break the contract."""
    hearts = [r for r in records if isinstance(r, Message) and r.metric == HEART and r.device.linked_in == 0]
    for message, reason, parts in zip(hearts, (Reason.NOT_FINITE, Reason.FUTURE, Reason.TIME), _BREAKS, strict=False):
        yield _from_elsewhere(message).broken_at([3, 4, 50], reason, **parts)


_BREAKS: tuple[dict[str, float], ...] = (
    {"value": float("nan")},
    {"start": _YEAR_2085, "end": _YEAR_2085},
    {"start": MINUTE, "end": MINUTE},
)


def _from_elsewhere(message: Message) -> Message:
    """The same readings of the same person from another source: they are not the same readings to anybody."""
    return replace(message, device=replace(message.device, name="spare watch", local=False))


def _counted_anew(records: Sequence[Record]) -> Iterator[Message]:
    """The steps of a day of the watch that numbers its readings, sent again with some counts changed."""
    numbered = [r for r in records if isinstance(r, Message) and r.device.numbered and r.metric == STEPS]
    for message in [one for one in numbered if one.resent is None][:6]:
        yield message.revised(1, every=7)
