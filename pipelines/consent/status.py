"""What an operator is told of the register: chains that lag, alarms, removals owed. For the vault's eyes only."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipelines.consent.kits import kit_alarms
from schemas.consent_events import moment_of
from schemas.registry import Study

LATE_US = 5 * 60 * 1_000_000
"""An event appended later than this after its instant came late: readings may have landed that it forbids."""

_LAGGING = """
SELECT s.study, m.member, c.events, c.top, c.closed FROM chains c
JOIN members m ON m.id = c.member JOIN studies s ON s.id = c.study
WHERE c.closed OR c.events <> c.top ORDER BY s.study, m.member"""
_ENDING = """
SELECT s.study, m.member, e.seq, e.kind, e.mode, e.effective_at, e.appended_us FROM events e
JOIN chains c ON c.id = e.chain JOIN members m ON m.id = c.member JOIN studies s ON s.id = c.study
WHERE e.kind = 'withdraw' OR (e.kind IN ('pause', 'narrow') AND e.appended_us - e.effective_at > ?)
ORDER BY s.study, m.member, e.seq"""


class LaggingChain(NamedTuple):
    """A chain that holds its member's readings: how many events it has, their highest seq, whether it is closed."""

    study: str
    member: str
    events: int
    top: int
    closed: bool


class Alarm(NamedTuple):
    """Something on a topic that the register follows that was not understood, and where."""

    topic: str
    partition: int
    offset: int
    what: str


class RemovalOwed(NamedTuple):
    """What a study holds of a member and may not keep.

    For a withdrawal that erases or has no basis to keep: all that was received before `effective_us`. For an event that
    came late: what was received from `effective_us` until it came.
    """

    study: str
    member: str
    seq: int
    effective_us: int
    why: str

    def as_json(self) -> dict[str, Any]:
        when = moment_of(self.effective_us)
        return {"study": self.study, "member": self.member, "seq": self.seq, "effective_at": when, "why": self.why}


@dataclass(frozen=True)
class RegisterStatus:
    """Counts and lists."""

    members: int
    chains: int
    links: int
    lagging: list[LaggingChain] = field(repr=False)
    alarms: list[Alarm]
    owed: list[RemovalOwed] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """The same for `consent status`: counts, and lists of objects; times are RFC 3339."""
        return {
            "members": self.members,
            "chains": self.chains,
            "links": self.links,
            "lagging": [chain._asdict() for chain in self.lagging],
            "alarms": [alarm._asdict() for alarm in self.alarms],
            "owed": [removal.as_json() for removal in self.owed],
        }


def read_status(db: sqlite3.Connection, studies: Mapping[str, Study]) -> RegisterStatus:
    """The status of the register behind `db`; `studies` tells which of them may keep."""
    members, chains, links = (
        int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in ("members", "chains", "links")
    )
    lagging = [
        LaggingChain(study, member, events, top, bool(closed))
        for study, member, events, top, closed in db.execute(_LAGGING)
    ]
    owed = [found for row in db.execute(_ENDING, (LATE_US,)) if (found := _owed(row, studies))]
    return RegisterStatus(members, chains, links, lagging, read_alarms(db), owed)


def read_alarms(db: sqlite3.Connection) -> list[Alarm]:
    """What was not understood, in order of where it lies."""
    alarms = [Alarm(*row) for row in db.execute("SELECT * FROM alarms ORDER BY topic, partition, offset")]
    return alarms + [Alarm(*row) for row in kit_alarms(db)]


def _owed(row: tuple[Any, ...], studies: Mapping[str, Study]) -> RemovalOwed | None:
    study, member, seq, kind, mode, effective_at, appended_us = row
    registered = studies.get(study)
    if mode == "erase":
        return RemovalOwed(study, member, seq, effective_at, "erase")
    if kind == "withdraw" and not (registered and registered.keeps_after_withdrawal):
        return RemovalOwed(study, member, seq, effective_at, "keep without a basis to keep")
    if appended_us - effective_at > LATE_US:
        return RemovalOwed(study, member, seq, effective_at, f"{kind} came late")
    return None
