"""Who is in the demo world: people, what each told each study, and the devices that they wear.

What somebody said (`Choice.said`) stands beside what it means (`Choice.may`). The meaning is written out by hand, so
that the pipeline's own reading of the events can be held against it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.entries import rfc3339

HEART, STEPS, SKIN, MOTION = "heart_rate", "steps_interval", "skin_temperature", "acceleration"
ALL = (HEART, STEPS, SKIN, MOTION)
SHIFTWORK, HEATWAVE, CYCLELAB, PILOT = "shiftwork", "heatwave", "cyclelab", "pilot"
WATCHES, BANDS, PHONES, NORTH_LAB, PACER = "lumen", "tideband", "petal", "north-lab", "pacer"

NEVER = 2**62
"""Later than everything in the world, microseconds."""

Windows = tuple[tuple[int, int], ...]
May = Mapping[str, Windows]
"""By metric, the intervals (microseconds, UTC, half-open) whose readings may land; other metrics have no authority."""


@dataclass(frozen=True)
class Event:
    """A consent event as its member says it; `at_us` None is the moment at which its act begins."""

    kind: str
    at_us: int | None
    metrics: tuple[str, ...] = ()
    retro_from: int | None = None
    collect_until: int | None = None
    mode: str | None = None
    act: int = 0


@dataclass(frozen=True)
class Choice:
    """What one member told one study, in order, and what may land of readings received in each act."""

    study: str
    said: tuple[Event, ...]
    may: tuple[May, May]

    @property
    def known_from(self) -> int:
        """The act in which the study first hears of the member."""
        return self.said[0].act

    def lines(self, member: str, act: int, moment_us: int) -> list[str]:
        """The act's events as the consent authority writes them, one JSON object a line."""
        return [
            json.dumps(_event(event, member, self.study, seq, moment_us))
            for seq, event in enumerate(self.said, start=1)
            if event.act == act
        ]


@dataclass(frozen=True)
class Person:
    """A member of the consent authority, and what they told the studies."""

    member: str
    choices: tuple[Choice, ...]
    night_shift: bool = False


@dataclass(frozen=True)
class Wearer:
    """Whose a device's readings are that were taken in [from_us, to_us); None is without limit."""

    person: Person
    from_us: int | None = None
    to_us: int | None = None


@dataclass(frozen=True)
class Device:
    """A device as its partner knows it. `linked_in` is the act that tells whose it is, None where nobody ever does.

    `zone` and `local`: what its messages say of the wall clock; `fahrenheit`: in which unit it sends temperatures;
    `numbered`: its readings carry record ids.
    """

    partner: str
    subject: str
    name: str
    model: str
    firmware: str
    metrics: tuple[str, ...]
    wearers: tuple[Wearer, ...] = ()
    linked_in: int | None = 0
    zone: str | None = None
    local: bool = False
    fahrenheit: bool = False
    numbered: bool = False

    def lines(self, act: int) -> list[str]:
        """The links that the act tells, one JSON object a line."""
        if self.linked_in != act:
            return []
        return [json.dumps(_link(self, wearer, number)) for number, wearer in enumerate(self.wearers, start=1)]


def _event(event: Event, member: str, study: str, seq: int, moment_us: int) -> dict[str, object]:
    return {
        "kind": event.kind,
        "member": member,
        "study": study,
        "seq": seq,
        "effective_at": rfc3339(moment_us if event.at_us is None else event.at_us),
        "metrics": list(event.metrics) or None,
        "categories": None,
        "retro_from": _moment(event.retro_from),
        "fill_gap": None,
        "collect_until": _moment(event.collect_until),
        "store_until": None,
        "mode": event.mode,
        "target_seq": None,
    }


def _link(device: Device, wearer: Wearer, number: int) -> dict[str, object]:
    return {
        "kind": "link",
        "link_id": f"{device.partner}-{device.subject}-{number}",
        "partner": device.partner,
        "subject": device.subject,
        "member": wearer.person.member,
        "from": _moment(wearer.from_us),
        "to": _moment(wearer.to_us),
    }


def _moment(us: int | None) -> str | None:
    return None if us is None else rfc3339(us)
