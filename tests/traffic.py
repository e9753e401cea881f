"""What comes in while drivers are killed: people who appear, are linked late or consent late, and send readings.

`Traffic` sends as time goes by, `Batches` as much at a time as a job is to have. Everything that the broker has
acknowledged is noted in a file, one JSON object a line, so that the lake can be compared with it afterwards.
"""

import json
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from connectors.publisher import Publisher
from pipelines.entries import now_us
from tests.worlds import DAY, METRIC, OUTSIDE, Consent, Message, World

PEOPLE = 8
LATE_S = 4.0
STAYS_S = 8.0
EVERY_S = 0.5


class Traffic:
    """A producer and a consent authority in one process, until SIGTERM; `late` is whether people are known late."""

    def __init__(self, world: World, noted: Path, seed: int, late: bool) -> None:
        self.world, self.late = world, late
        self._noted = open(noted, "w", encoding="utf-8")  # noqa: SIM115  # closed by run
        self._chance = random.Random(seed)
        self._next = self._person = 0
        self._people: deque[tuple[int, float]] = deque()
        self._owed: deque[tuple[float, list[Consent]]] = deque()
        self._sent: list[tuple[Message, int, int]] = []
        self._stopped = False

    def run(self) -> None:
        """Send until SIGTERM, then say what is still owed of consent, and end."""
        signal.signal(signal.SIGTERM, self._stop)
        settings = self.world.settings
        with (
            self._noted,
            Publisher(settings.kafka, self.world.topic) as readings,
            self.world.authority() as self._authority,
        ):
            while not self._stopped:
                began = time.monotonic()
                self._move_people(began)
                for message, note in list(self._messages()):
                    readings.send(*message)
                    receipt = readings.flush()
                    assert not receipt.failed, "the broker has not acknowledged a record"
                    self._noted.write(json.dumps(note) + "\n")
                time.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
            self._say_what_is_owed(float("inf"))

    def _stop(self, *_: Any) -> None:
        self._stopped = True

    def _move_people(self, now: float) -> None:
        """Every second or so somebody leaves and somebody else comes; what was owed for long enough is said."""
        while self._people and now - self._people[0][1] > STAYS_S:
            self._people.popleft()
        if not self._people or (len(self._people) < PEOPLE and now - self._people[-1][1] > STAYS_S / PEOPLE):
            self._people.append((self._person, now))
            self._introduce(now)
            self._person += 1
        self._say_what_is_owed(now)

    def _introduce(self, now: float) -> None:
        """A third is linked late, a third is linked and consents late, the others are known from the start."""
        name, kind = f"p{self._person}", self._person % 3 if self.late else 0
        link = self.world.link(name)
        first: list[Consent] = [[link], [], [link]][kind]
        if kind == 2:
            self._owed.append((now + LATE_S, [self._late_grant(name, study) for study in studies_of(self._person)]))
        else:
            first += [self.world.grant(name, study) for study in studies_of(self._person)]
        if kind == 1:
            self._owed.append((now + LATE_S, [link]))
        self._authority(*first)

    def _late_grant(self, name: str, study: str) -> Consent:
        since = self.world.began - 10 * DAY
        return self.world.event(
            "grant", name, study, metrics=(METRIC,), retro_from=since, effective_at=now_us() + round(LATE_S * 1e6)
        )

    def _say_what_is_owed(self, now: float) -> None:
        while self._owed and self._owed[0][0] <= now:
            self._authority(*self._owed.popleft()[1])

    def _messages(self) -> Iterator[tuple[Message, dict[str, Any]]]:
        """A reading or several of everybody, some outside the hard range; now and then a repetition, or no message."""
        for person, _ in self._people:
            count, outside = self._chance.randint(1, 12), self._chance.random() < 0.05
            first = self._next + (OUTSIDE if outside else 0)
            self._next += count
            message = self.world.reading(f"p{person}", range(first, first + count))
            self._sent = [*self._sent[-50:], (message, first, count)]
            yield message, {"person": person, "first": first, "count": count}
        if self._chance.random() < 0.2:
            message, first, count = self._chance.choice(self._sent)
            yield message, {"again": True, "first": first, "count": count}
        if self._chance.random() < 0.2:
            yield (b"s-p0", b"no message"), {"garbage": True}


class Batches:
    """Records by the batch, each of which is work for a job.

    Of two people whom everybody knows, of one who is linked late, and of one who withdraws later and then sends again; and
    a record that is no message. What is late is said with the first batch that is sent after all before it has been read:
    so the readings of those who are linked late are held until then.
    """

    MESSAGES, SIZE = 100, 40

    def __init__(self, world: World, noted: Path) -> None:
        self.world, self.noted = world, noted
        self.sent = self.records = self.withheld = self._next = 0
        self._owed: list[tuple[int, int]] = []
        world.consent(*(said for person in (0, 1) for said in (world.link(f"p{person}"), *self._grants(person))))

    def publish(self) -> None:
        """The next batch; all of it is acknowledged when this returns."""
        left = self.say_what_is_owed() if self.is_read() else []
        late, leaving = 6 * self.sent + 7, 6 * self.sent + 4
        self.world.consent(*self._grants(late), self.world.link(f"p{leaving}"), *self._grants(leaving))
        self._owed.append((late, leaving))
        noted = [self._message(person) for person in (*(0, 1) * (self.MESSAGES // 2), late, leaving)]
        noted += [(self._message(person)[0], {"withheld": True}) for person in left]
        noted.append(((b"s-p0", b"no message"), {"garbage": True}))
        self.world.publish(*(message for message, _ in noted))
        with open(self.noted, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(note) + "\n" for _, note in noted)
        self.records += len(noted)
        self.withheld += len(left) * self.SIZE
        self.sent += 1

    def is_read(self) -> bool:
        """Whether entries have read all that was published."""
        read = sum(entry.counts["records"]["read"] for entry in self.world.entries("ingest"))  # type: ignore[index,call-overload]
        return bool(read == self.records)

    def say_what_is_owed(self) -> list[int]:
        """Links, and withdrawals; who has withdrawn."""
        for late, leaving in self._owed:
            self.world.consent(self.world.link(f"p{late}"), self.world.withdraw(f"p{leaving}", "sleep"))
        time.sleep(0.01)  # the broker says in milliseconds when a record came in: what comes now came after this
        left, self._owed = [leaving for _, leaving in self._owed], []
        return left

    def _grants(self, person: int) -> list[Consent]:
        return [self.world.grant(f"p{person}", study) for study in studies_of(person)]

    def _message(self, person: int) -> tuple[Message, dict[str, Any]]:
        first, self._next = self._next, self._next + self.SIZE
        message = self.world.reading(f"p{person}", range(first, self._next))
        return message, {"person": person, "first": first, "count": self.SIZE}


def studies_of(person: int) -> list[str]:
    """Everybody is in one study, some are in another, too.

    Not those who consent late: their first grant releases what is held, and a second study's grant comes after it.
    """
    return ["sleep", "cycle"] if person % 2 and person % 3 != 2 else ["sleep"]


class Acknowledged:
    """What the broker has acknowledged, read from the traffic's notes."""

    def __init__(self, noted: Path) -> None:
        self.readings: dict[str, set[int]] = {"sleep": set(), "cycle": set()}
        self.records = self.garbage = 0
        self.repeated = set[int]()
        for line in noted.read_text(encoding="utf-8").splitlines():
            note = json.loads(line)
            self.records += 1
            self.garbage += "garbage" in note
            if "again" in note:
                self.repeated.update(range(note["first"], note["first"] + note["count"]))
            for study in studies_of(note["person"]) if "person" in note else ():
                self.readings[study].update(range(note["first"], note["first"] + note["count"]))

    def compare(self, found: Mapping[str, Counter[int]]) -> tuple[int, int]:
        """Over all studies: how many readings are lost, and how many rows are too many."""
        lost = sum(len(wanted - found[study].keys()) for study, wanted in self.readings.items())
        doubled = sum(found[s].total() - len(found[s].keys() & wanted) for s, wanted in self.readings.items())
        return lost, doubled
