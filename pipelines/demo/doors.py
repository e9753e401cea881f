"""The third act's story: one person, what her phone knows of two weeks, and the whole way of a kit that she was sent."""

import random
from dataclasses import dataclass

import numpy as np

from pipelines.demo.choices import agreed
from pipelines.demo.kit import Kit, kit
from pipelines.demo.laboratory import ACIDITY, FERRITIN, HBA1C, HPV, SYMPTOMS
from pipelines.demo.people import CYCLELAB, HEART, PHONES, STEPS, Choice, Device, Person, Wearer
from pipelines.demo.phone import DAYS, DISTANCE, DURATION, ENERGY, HRV, SLEEP, WORKOUT, Export, exports
from pipelines.demo.phone_xml import PHONE

ALLOWED = (
    *(HEART, STEPS, SLEEP, HRV, WORKOUT, DURATION, DISTANCE, ENERGY),
    *(ACIDITY, FERRITIN, HPV, HBA1C, SYMPTOMS),
)
"""What the study may have, each metric by its name; her weight is not among it."""

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR


@dataclass(frozen=True)
class Doors:
    """Everything that comes through the other doors; the kit's activation is told last."""

    person: Person
    phone: Device
    exports: tuple[Export, Export]
    kit: Kit

    @property
    def choice(self) -> Choice:
        """What she told the one study that she is in."""
        (choice,) = self.person.choices
        return choice

    def consent_lines(self) -> list[str]:
        """What the consent authority publishes before anything comes, one JSON object a line."""
        return [*self.choice.lines(self.person.member, 0, 0), *self.phone.lines(0)]


def doors(seed: int, end: int) -> Doors:
    """The act that ends at `end` (microseconds, UTC): her exports begin at a midnight of her phone's before it."""
    chance = random.Random(f"doors-{seed}")
    begin = (end - (DAYS + 1) * _DAY + _HOUR) // _DAY * _DAY - _HOUR
    agreed_at = begin + 2 * _DAY + 9 * _HOUR + 35 * _SECOND  # not on a minute: an interval straddles it
    person = Person(f"member-{chance.getrandbits(48):012x}", (agreed(CYCLELAB, ALLOWED, agreed_at),))
    subject = f"account-{chance.getrandbits(32):08x}"
    phone = Device(PHONES, subject, PHONE.name, "iPhone14,5", PHONE.version, ALLOWED, (Wearer(person),))
    return Doors(person, phone, exports(np.random.default_rng([seed, 14]), begin), kit(seed, person.member, end))
