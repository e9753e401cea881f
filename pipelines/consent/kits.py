"""Self-sampling kits: what their events said, and the facts of them that the checks of laboratories' results need.

What is known of a kit is a function of the set of its events, whoever told them and in whichever order they came. Where
several events tell of one thing, the last one by (moment, severity, id) stands.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pipelines.consent.chains import NEVER
from pipelines.zones import DAY_US, EARLIEST_LIVE_US, SKEW_US
from schemas.barcodes import spelled
from schemas.consent_events import moment_of
from schemas.kit_events import KitEvent, Why
from schemas.registry import KIT

UNTOLD = NEVER
"""In place of a moment of which no event tells."""
REASONS: tuple[str, ...] = get_args(Why)
"""Why kits are rejected. A snapshot holds places among them: where one is inserted, its layout is another."""

TABLES = """
CREATE TABLE IF NOT EXISTS kits (barcode TEXT PRIMARY KEY, changed INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kits_changed ON kits (changed);
CREATE TABLE IF NOT EXISTS kit_events (
    barcode TEXT, at_us INTEGER, severity INTEGER, event_id TEXT, partner TEXT, event TEXT, details TEXT,
    lot_expires INTEGER, PRIMARY KEY (barcode, at_us, severity, event_id, partner, details)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kit_faults (
    topic TEXT, partition INTEGER, records INTEGER NOT NULL DEFAULT 0, last INTEGER,
    deleted INTEGER NOT NULL DEFAULT 0, deleted_to INTEGER, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
"""
_ORDER = "at_us, severity, event_id, partner, details"
_FACTS = """
SELECT k.barcode, e.event, e.at_us, e.lot_expires,
    CASE e.event WHEN 'rejected' THEN json_extract(e.details, '$.reason') END
FROM kits k {index} CROSS JOIN kit_events e ON e.barcode = k.barcode
WHERE k.changed > ? ORDER BY k.barcode, e.at_us, e.severity, e.event_id, e.partner, e.details"""
_BY_LAST_EVENT = f"""
SELECT event, count(*) FROM (
    SELECT event, lead(event) OVER (PARTITION BY barcode ORDER BY {_ORDER}) AS after FROM kit_events)
WHERE after IS NULL GROUP BY event ORDER BY event"""
_ONCE = ("packed", "sent", "activated", "collected", "posted", "destroyed")
_CONTRADICTED = f"""
SELECT count(*) FROM (
    SELECT barcode FROM kit_events WHERE event IN ({", ".join("?" * len(_ONCE))}) GROUP BY barcode, event
    HAVING min(at_us) < max(at_us) OR min(details) < max(details)
    UNION SELECT barcode FROM kit_events GROUP BY barcode, partner, event_id HAVING count(*) > 1)"""
_CONFLICTS = """
SELECT count(*) FROM (
    SELECT subject FROM links WHERE partner = ? GROUP BY subject
    HAVING count(DISTINCT member) > 1 OR min(readable) < 1)"""
_MOMENTS_OF = """
SELECT e.barcode, e.event, min(e.at_us), json_extract(e.details, '$.reason')
FROM (SELECT subject, min(member) AS member FROM links WHERE partner = ? GROUP BY subject
      HAVING count(DISTINCT member) = 1 AND min(readable) > 0) l
JOIN chains c ON c.member = l.member JOIN studies s ON s.id = c.study JOIN kit_events e ON e.barcode = l.subject
WHERE s.study = ? GROUP BY e.barcode, e.event ORDER BY e.barcode"""
_FAULTS = "SELECT coalesce(sum(records), 0), coalesce(sum(deleted), 0) FROM kit_faults"


@dataclass(frozen=True)
class KitFacts:
    """What is known of n kits, in the order in which they were asked for; moments are int64 microseconds, UTC.

    A moment is UNTOLD where no event tells of it. `known[i]` is False for a kit of which no event was ever heard; then
    all of its moments are UNTOLD. From `lot_expires_us` on it is nowhere on earth any more the last day of its lot.
    `rejected_for` is why the laboratory rejected it, by the place in REASONS, UNTOLD where it did not.
    """

    known: NDArray[np.bool_]
    packed_us: NDArray[np.int64]
    sent_us: NDArray[np.int64]
    activated_us: NDArray[np.int64]
    collected_us: NDArray[np.int64]
    posted_us: NDArray[np.int64]
    received_us: NDArray[np.int64]
    resulted_us: NDArray[np.int64]
    lot_expires_us: NDArray[np.int64]
    rejected_for: NDArray[np.int64]


class KitNews(NamedTuple):
    """An event of a kit as its partner told it; `at_us` is its moment, microseconds, UTC."""

    partner: str
    event: KitEvent
    at_us: int


class KitUnclear(NamedTuple):
    """A record on a topic of kit events that this version does not understand."""


class KitRow(NamedTuple):
    """One kit's facts, as in KitFacts."""

    barcode: str
    packed_us: int
    sent_us: int
    activated_us: int
    collected_us: int
    posted_us: int
    received_us: int
    resulted_us: int
    lot_expires_us: int
    rejected_for: int


@dataclass(frozen=True)
class KitStatus:
    """What an operator is told of kits: counts.

    `contradicted`: events tell two things of what happens once, or two events have one id. `in_conflict`: more than one
    member has activated it, or a link of it is not understood; nothing of it lands. `not_understood`: records.
    `deleted_unread`: offsets that retention had deleted before they were read.
    """

    kits: int
    by_last_event: dict[str, int]
    contradicted: int
    in_conflict: int
    not_understood: int
    deleted_unread: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def take_in(db: sqlite3.Connection, version: int, appended_us: int, news: KitNews) -> bool:
    """Add an event to its kit's, which changes at `version` where the event is new; False where its moment cannot be."""
    if not EARLIEST_LIVE_US <= news.at_us <= appended_us + SKEW_US:
        return False
    event = news.event
    said = event.model_dump(include={"lot", "lot_expires", "ship_token", "site", "laboratory", "reason"})
    details = json.dumps({name: value for name, value in said.items() if value is not None})
    key = (event.barcode, news.at_us, event.severity, event.event_id, news.partner)
    row = (*key, event.event, details, event.lot_expires)
    if db.execute("INSERT OR IGNORE INTO kit_events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row).rowcount:
        db.execute("INSERT OR REPLACE INTO kits VALUES (?, ?)", (event.barcode, version))
    return True


def count_fault(db: sqlite3.Connection, topic: str, partition: int, offset: int) -> None:
    """Count a record that is not understood: one row a partition, however many somebody sends."""
    db.execute(
        "INSERT INTO kit_faults (topic, partition, records, last) VALUES (?, ?, 1, ?)"
        " ON CONFLICT DO UPDATE SET records = records + 1, last = excluded.last",
        (topic, partition, offset),
    )


def count_deleted(db: sqlite3.Connection, topic: str, partition: int, start: int, end: int) -> None:
    """Count the offsets [start, end), which were deleted before they were read."""
    db.execute(
        "INSERT INTO kit_faults (topic, partition, deleted, deleted_to) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET deleted = deleted + excluded.deleted, deleted_to = excluded.deleted_to",
        (topic, partition, end - start, end),
    )


def kit_alarms(db: sqlite3.Connection) -> Iterator[tuple[str, int, int, str]]:
    """What there is to be alarmed about on the topics of kit events, and where: at most two for each partition."""
    for topic, partition, records, last, deleted, deleted_to in db.execute(
        "SELECT topic, partition, records, last, deleted, deleted_to FROM kit_faults ORDER BY topic, partition"
    ):
        if records:
            yield topic, partition, last, f"{records} records of kits are not understood, this one last"
        if deleted:
            yield topic, partition, deleted_to, f"{deleted} offsets before this one were deleted before they were read"


def kit_rows(db: sqlite3.Connection, since: int = 0) -> Iterator[KitRow]:
    """The facts of the kits that changed after version `since`, by barcode."""
    index = "INDEXED BY kits_changed" if since else "NOT INDEXED"
    rows = db.execute(_FACTS.format(index=index), (since,))
    for barcode, events in groupby(rows, key=lambda row: row[0]):
        at, expires_us, reason = dict.fromkeys(_TOLD, UNTOLD), UNTOLD, UNTOLD
        for _, event, at_us, lot_expires, why in events:  # in their order: the last one stands
            at[event] = at_us
            if event == "packed":
                expires_us = _end_of(lot_expires)
            elif event == "rejected":
                reason = REASONS.index(why)
        moments = {f"{name}_us": at[name] for name in _TOLD}
        yield KitRow(barcode=barcode, **moments, lot_expires_us=expires_us, rejected_for=reason)


_TOLD = ("packed", "sent", "activated", "collected", "posted", "received", "resulted")
"""The events whose moments are known of a kit, as in KitRow."""


def _end_of(day: int | None) -> int:
    """When a day, counted since 1970-01-01, ends where it ends last: at an offset of -12 hours."""
    return UNTOLD if day is None else (day + 1) * DAY_US + DAY_US // 2


def kit_events(db: sqlite3.Connection, barcode: str) -> list[dict[str, Any]]:
    """All events of one kit in their order, as JSON; for the eyes of who may see the vault."""
    rows = db.execute(
        f"SELECT at_us, event, partner, event_id, details FROM kit_events WHERE barcode = ? ORDER BY {_ORDER}",
        (spelled(barcode),),
    )
    return [
        {"at": moment_of(at_us), "event": event, "partner": partner, "event_id": event_id, **json.loads(details)}
        for at_us, event, partner, event_id, details in rows
    ]


def moments_of(db: sqlite3.Connection, study: str) -> list[tuple[str, str, int, str | None]]:
    """(barcode, event, when it happened first, its reason) of the kits of the study's members; of no kit in conflict."""
    return [tuple(row) for row in db.execute(_MOMENTS_OF, (KIT, study))]


def kit_status(db: sqlite3.Connection) -> KitStatus:
    """The status of all kits of the register behind `db`."""

    def count(query: str, *parameters: str) -> int:
        return int(db.execute(query, parameters).fetchone()[0])

    not_understood, deleted = db.execute(_FAULTS).fetchone()
    return KitStatus(
        kits=count("SELECT count(*) FROM kits"),
        by_last_event=dict(db.execute(_BY_LAST_EVENT).fetchall()),
        contradicted=count(_CONTRADICTED, *_ONCE),
        in_conflict=count(_CONFLICTS, KIT),
        not_understood=not_understood,
        deleted_unread=deleted,
    )
