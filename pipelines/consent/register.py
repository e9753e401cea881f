"""The register: what the consent topics have said so far, in one SQLite file in the vault.

It follows the topics by offsets that are committed together with what was read, so that a record counts once however
often it comes. Nothing here is a source: delete the file and it is built again from the topics. `version` rises with
each change; a member, a subject or a kit remembers the version that last touched it, so that a snapshot can be brought
up to date by what changed.

The events of kits come on their partners' topics, which do not keep them for ever: of kits a register that is built
again knows what is still there.

A member's number (`ref`) counts from 0 in the order in which members were first heard of, and so does a study's.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, cast

from pipelines.consent import kits
from pipelines.consent.chains import ChainEvent
from pipelines.consent.kits import KitNews, KitRow, KitStatus, KitUnclear
from pipelines.consent.status import Alarm, RegisterStatus, read_alarms, read_status
from pipelines.database import Database
from schemas.barcodes import spelled
from schemas.consent_events import ConsentEvent, IdentityLink, Unreadable
from schemas.registry import KIT, Study

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT OR IGNORE INTO about VALUES ('id', lower(hex(randomblob(8)))), ('version', '0');
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (id INTEGER PRIMARY KEY, member TEXT NOT NULL UNIQUE, changed INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS members_changed ON members (changed);
CREATE TABLE IF NOT EXISTS studies (id INTEGER PRIMARY KEY, study TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS chains (
    id INTEGER PRIMARY KEY, member INTEGER NOT NULL, study INTEGER NOT NULL,
    events INTEGER NOT NULL DEFAULT 0, top INTEGER NOT NULL DEFAULT 0, closed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (member, study));
CREATE TABLE IF NOT EXISTS metric_sets (id INTEGER PRIMARY KEY, metrics TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS events (
    chain INTEGER, seq INTEGER, kind TEXT NOT NULL, effective_at INTEGER NOT NULL, metrics INTEGER NOT NULL,
    retro_from INTEGER, fill_gap INTEGER NOT NULL, collect_until INTEGER, store_until INTEGER, mode TEXT,
    appended_us INTEGER NOT NULL, PRIMARY KEY (chain, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (
    link_id TEXT PRIMARY KEY, partner TEXT NOT NULL, subject TEXT NOT NULL, member INTEGER NOT NULL,
    from_us INTEGER, to_us INTEGER, readable INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_subject ON links (partner, subject);
CREATE TABLE IF NOT EXISTS subjects (
    partner TEXT, subject TEXT, changed INTEGER NOT NULL, PRIMARY KEY (partner, subject)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS subjects_changed ON subjects (changed);
CREATE TABLE IF NOT EXISTS alarms (
    topic TEXT, partition INTEGER, offset INTEGER, what TEXT NOT NULL,
    PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
"""

FILE = "register.sqlite"
_FIELDS = "seq, kind, effective_at, metrics, retro_from, fill_gap, collect_until, store_until, mode, appended_us"
_EVENTS = f"SELECT chain, {_FIELDS} FROM events"
_CHAINS = f"""
SELECT c.member, c.study, NOT c.closed AND c.events = c.top, {_FIELDS}
FROM members m {{index}} CROSS JOIN chains c ON c.member = m.id LEFT JOIN events e ON e.chain = c.id
WHERE m.changed > ? ORDER BY m.id, c.study, e.seq"""
_CHAINS_OF = f"""
SELECT m.member, NOT c.closed AND c.events = c.top, {_FIELDS}
FROM studies s JOIN chains c ON c.study = s.id JOIN members m ON m.id = c.member LEFT JOIN events e ON e.chain = c.id
WHERE s.study = ? ORDER BY m.id, e.seq"""
_SUBJECTS = """
SELECT s.partner, s.subject, l.member, l.from_us, l.to_us, l.readable > 0
FROM subjects s {index} LEFT JOIN links l ON l.partner = s.partner AND l.subject = s.subject
WHERE s.changed > ? ORDER BY s.partner, s.subject"""

_NEWS = """
SELECT max(s.changed, coalesce(max(m.changed), 0)) FROM subjects s
LEFT JOIN links l ON l.partner = s.partner AND l.subject = s.subject LEFT JOIN members m ON m.id = l.member
WHERE s.partner = ? AND s.subject = ?"""
_MEMBERS = "SELECT id, member FROM members {index} WHERE changed > ? ORDER BY id"

NOT_UNDERSTOOD = "an event that is not understood has closed its chain"
NO_CHAIN_NAMED = "a record that is not understood names no chain and no link"
LINK_NOT_UNDERSTOOD = "a link's new version is not understood: its subject is ambiguous"
_CONTESTED = -1
"""In place of a link's `readable`: it has named two members for one kit."""
CONTRADICTION = "two different events have one sequence number: their chain is closed"


class Tombstone(NamedTuple):
    """A record without a value on the link topic: the link of its key is gone."""


Item = ConsentEvent | IdentityLink | Unreadable | Tombstone | KitNews | KitUnclear
Record = tuple[int, int, bytes | None, Item]
"""(offset, time of append in microseconds UTC, key, what the value says)"""


class ChainRow(NamedTuple):
    """One chain; `whole` is False where an event is missing, contradicted or not understood."""

    member: int
    study: int
    whole: bool
    events: list[ChainEvent]


class LinkRow(NamedTuple):
    """One link of a subject, in reading time; `readable` is False where its newest version is not understood."""

    member: int
    from_us: int | None
    to_us: int | None
    readable: bool


class Register:
    """The register at `path`, made with mode 600 where it is not there. One writer; `close` it."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, _TABLES + kits.TABLES, "NORMAL")
        (self.id,) = self._db.execute("SELECT value FROM about WHERE name = 'id'").fetchone()
        self._remember()

    def _remember(self) -> None:
        """Keep at hand what is small and asked of every event."""
        rows = self._db.execute("SELECT id, metrics FROM metric_sets")
        self._sets = {row: frozenset(json.loads(text)) for row, text in rows}
        self._row_of: dict[frozenset[str], int] = {metrics: row for row, metrics in self._sets.items()}
        self._study_of = {name: number for number, name in enumerate(self.studies())}

    def close(self) -> None:
        self._db.close()

    def go_on_apart(self) -> None:
        """Take an id of its own: this is a copy of an older state, whose next versions are not those that followed on it."""
        self._db.execute("UPDATE about SET value = lower(hex(randomblob(8))) WHERE name = 'id'")
        (self.id,) = self._db.execute("SELECT value FROM about WHERE name = 'id'").fetchone()

    @property
    def version(self) -> int:
        """How many times what the register knows has changed."""
        (version,) = self._db.execute("SELECT value FROM about WHERE name = 'version'").fetchone()
        return int(version)

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to read, by (topic, partition)."""
        return {(topic, partition): at for topic, partition, at in self._db.execute("SELECT * FROM positions")}

    # -- following the topics

    def apply(self, topic: str, partition: int, records: Iterable[Record]) -> None:
        """Take in records of one partition in order of offset, with the position, all or nothing.

        Records before the position are passed over: they were taken in already.
        """
        position = self.positions().get((topic, partition), 0)
        fresh = [record for record in records if record[0] >= position]
        if not fresh:
            return
        with self._transaction():
            version = self.version + 1
            for offset, appended_us, key, item in fresh:
                if isinstance(item, KitNews | KitUnclear):
                    self._kit(version, topic, partition, offset, appended_us, item)
                    continue
                alarm = self._take_in(version, appended_us, key, item)
                if alarm:
                    self._db.execute("INSERT INTO alarms VALUES (?, ?, ?, ?)", (topic, partition, offset, alarm))
            self._db.execute("UPDATE about SET value = ? WHERE name = 'version'", (str(version),))
            self._move(topic, partition, fresh[-1][0] + 1)

    def reached(self, topic: str, partition: int, end: int) -> None:
        """Everything before `end` was read, although its last offsets may hold no record."""
        with self._transaction():
            self._move(topic, partition, end)

    def passed_over(self, topic: str, partition: int, to: int) -> None:
        """What comes before `to` was deleted before it was read."""
        with self._transaction():
            at = self.positions().get((topic, partition), 0)
            if to > at:
                kits.count_deleted(self._db, topic, partition, at, to)
                self._move(topic, partition, to)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._db.transaction():
                yield
        except BaseException:
            self._remember()
            raise

    def _move(self, topic: str, partition: int, to: int) -> None:
        self._db.execute(
            "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
            (topic, partition, to),
        )

    def _kit(
        self, version: int, topic: str, partition: int, offset: int, appended_us: int, item: KitNews | KitUnclear
    ) -> None:
        if isinstance(item, KitUnclear) or not kits.take_in(self._db, version, appended_us, item):
            kits.count_fault(self._db, topic, partition, offset)

    def _take_in(
        self,
        version: int,
        appended_us: int,
        key: bytes | None,
        item: ConsentEvent | IdentityLink | Unreadable | Tombstone,
    ) -> str | None:
        """One record; what there is to be alarmed about, if anything."""
        if isinstance(item, ConsentEvent):
            return self._event(version, appended_us, item)
        if isinstance(item, IdentityLink):
            self._link(version, item)
            return None
        if isinstance(item, Tombstone):
            self._unlink(version, key)
            return None
        if item.member is not None and item.study is not None:
            self._close_chain(version, self._chain(version, item.member, item.study))
            return NOT_UNDERSTOOD
        return self._doubt_link(version, key)

    def _event(self, version: int, appended_us: int, event: ConsentEvent) -> str | None:
        chain = self._chain(version, event.member, event.study)
        said = ChainEvent.of(event, appended_us)
        known = self._db.execute(_EVENTS + " WHERE chain = ? AND seq = ?", (chain, event.seq)).fetchone()
        if known is not None:
            if self._chain_event(known[1:]).says_the_same(said):
                return None
            self._close_chain(version, chain)
            return CONTRADICTION
        head = (chain, said.seq, said.kind, said.effective_at, self._metric_set(said.metrics))
        rest = (said.retro_from, said.fill_gap, said.collect_until, said.store_until, said.mode, said.appended_us)
        self._db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*head, *rest))
        self._db.execute("UPDATE chains SET events = events + 1, top = max(top, ?) WHERE id = ?", (said.seq, chain))
        self._touch_member_of(version, chain)
        return None

    def _chain(self, version: int, member: str, study: str) -> int:
        """The chain's id, made where there is none."""
        pair = self._member(version, member), self._study(study)
        found = self._db.execute("SELECT id FROM chains WHERE member = ? AND study = ?", pair).fetchone()
        if found is None:
            return cast(int, self._db.execute("INSERT INTO chains (member, study) VALUES (?, ?)", pair).lastrowid)
        return cast(int, found[0])

    def _close_chain(self, version: int, chain: int) -> None:
        self._db.execute("UPDATE chains SET closed = 1 WHERE id = ?", (chain,))
        self._touch_member_of(version, chain)

    def _touch_member_of(self, version: int, chain: int) -> None:
        self._db.execute(
            "UPDATE members SET changed = ? WHERE id = (SELECT member FROM chains WHERE id = ?)", (version, chain)
        )

    def _member(self, version: int, member: str) -> int:
        found = self._db.execute("SELECT id FROM members WHERE member = ?", (member,)).fetchone()
        if found is not None:
            return cast(int, found[0])
        (ref,) = self._db.execute("SELECT coalesce(max(id) + 1, 0) FROM members").fetchone()
        self._db.execute("INSERT INTO members VALUES (?, ?, ?)", (ref, member, version))
        return int(ref)

    def _study(self, study: str) -> int:
        if study not in self._study_of:
            self._study_of[study] = len(self._study_of)
            self._db.execute("INSERT INTO studies VALUES (?, ?)", (self._study_of[study], study))
        return self._study_of[study]

    def _metric_set(self, metrics: frozenset[str]) -> int:
        if metrics not in self._row_of:
            row = self._row_of[metrics] = len(self._sets)
            self._sets[row] = metrics
            self._db.execute("INSERT INTO metric_sets VALUES (?, ?)", (row, json.dumps(sorted(metrics))))
        return self._row_of[metrics]

    def _link(self, version: int, link: IdentityLink) -> None:
        self._touch_subject_of(version, link.link_id)
        member = self._member(version, link.member)
        if link.partner == KIT and self._is_anothers(link, member):
            self._db.execute("UPDATE links SET readable = ? WHERE link_id = ?", (_CONTESTED, link.link_id))
            return
        self._db.execute(
            "INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?, ?, 1)",
            (link.link_id, link.partner, link.subject, member, link.from_us, link.to_us),
        )
        self._touch_subject_of(version, link.link_id)

    def _is_anothers(self, link: IdentityLink, member: int) -> bool:
        """Whether a kit's link says, or has said, somebody else: only its tombstone ends that."""
        found = self._db.execute(
            "SELECT member, readable FROM links WHERE link_id = ? AND partner = ? AND subject = ?",
            (link.link_id, link.partner, link.subject),
        ).fetchone()
        return found is not None and (found[0] != member or found[1] == _CONTESTED)

    def _unlink(self, version: int, key: bytes | None) -> None:
        link_id = _text(key)
        self._touch_subject_of(version, link_id)
        self._db.execute("DELETE FROM links WHERE link_id = ?", (link_id,))

    def _doubt_link(self, version: int, key: bytes | None) -> str:
        """Of a link whose newest version is not understood nothing is certain but its subject."""
        link_id = _text(key)
        self._touch_subject_of(version, link_id)
        found = self._db.execute("UPDATE links SET readable = min(readable, 0) WHERE link_id = ?", (link_id,)).rowcount
        return LINK_NOT_UNDERSTOOD if found else NO_CHAIN_NAMED

    def _touch_subject_of(self, version: int, link_id: str | None) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO subjects SELECT partner, subject, ? FROM links WHERE link_id = ?",
            (version, link_id),
        )

    # -- what an operator is told

    def status(self, studies: Mapping[str, Study]) -> RegisterStatus:
        """Chains that lag, alarms, and the removals owed, for the eyes of who may see the vault."""
        return read_status(self._db, studies)

    def alarms(self) -> list[Alarm]:
        """What on the topics was not understood, and where."""
        return read_alarms(self._db)

    def kit_status(self) -> KitStatus:
        """What is known of all kits, in counts."""
        return kits.kit_status(self._db)

    def kit_events(self, barcode: str) -> list[dict[str, Any]]:
        """One kit's events in their order, as JSON, for the eyes of who may see the vault."""
        return kits.kit_events(self._db, barcode)

    # -- what a snapshot is made of

    def studies(self) -> list[str]:
        """The studies that have chains, by number."""
        return [name for (name,) in self._db.execute("SELECT study FROM studies ORDER BY id")]

    def changed_since(self, version: int) -> tuple[int, int, int]:
        """How many members, how many subjects and how many kits were touched after `version`."""
        counted = (
            self._db.execute(f"SELECT count(*) FROM {table} WHERE changed > ?", (version,)).fetchone()[0]
            for table in ("members", "subjects", "kits")
        )
        members, subjects, kits_ = counted
        return members, subjects, kits_

    def news_of(self, partner: str, subject: str) -> int:
        """The version at which something about a subject last changed: a link, or a chain of who is linked; 0 for never.

        With `kit` in place of a partner the subject is a barcode, however it is spelled.
        """
        subject = spelled(subject) if partner == KIT else subject
        return int(self._db.execute(_NEWS, (partner, subject)).fetchone()[0] or 0)

    def members(self, since: int = 0) -> Iterator[tuple[int, str]]:
        """(ref, member) of those touched after version `since`, by ref."""
        yield from self._since(since, _MEMBERS, "members_changed")

    def chains(self, since: int = 0) -> Iterator[ChainRow]:
        """The chains of the members touched after version `since`, by member's ref and study."""
        rows = self._since(since, _CHAINS, "members_changed")
        for (member, study, whole), group in groupby(rows, key=lambda row: row[:3]):
            events = [self._chain_event(row[3:]) for row in group if row[3] is not None]
            yield ChainRow(member, study, bool(whole), events)

    def chains_of(self, study: str) -> Iterator[tuple[str, bool, list[ChainEvent]]]:
        """(member, whether the chain is whole, its events) of everybody who has a chain in the study, by member's ref."""
        rows = self._db.execute(_CHAINS_OF, (study,))
        for (member, whole), group in groupby(rows, key=lambda row: row[:2]):
            yield member, bool(whole), [self._chain_event(row[2:]) for row in group if row[2] is not None]

    def kit_moments(self, study: str) -> list[tuple[str, str, int, str | None]]:
        """(barcode, event, when it happened first, its reason) of the kits of those who have a chain in the study."""
        return kits.moments_of(self._db, study)

    def subjects(self, since: int = 0) -> Iterator[tuple[str, str, list[LinkRow]]]:
        """(partner, subject, links) of the subjects touched after version `since`; no links where they are gone."""
        rows = self._since(since, _SUBJECTS, "subjects_changed")
        for (partner, subject), group in groupby(rows, key=lambda row: row[:2]):
            yield partner, subject, [LinkRow(*row[2:]) for row in group if row[2] is not None]

    def kits(self, since: int = 0) -> Iterator[KitRow]:
        """The facts of the kits touched after version `since`, by barcode."""
        return kits.kit_rows(self._db, since)

    def _since(self, version: int, query: str, index: str) -> sqlite3.Cursor:
        """The rows changed after a version, found by the index on that; after version 0, all in the order they lie."""
        how = f"INDEXED BY {index}" if version else "NOT INDEXED"
        return self._db.execute(query.format(index=how), (version,))

    def _chain_event(self, row: tuple[Any, ...]) -> ChainEvent:
        seq, kind, effective_at, metrics, retro_from, fill_gap, collect_until, store_until, mode, appended_us = row
        named = self._sets[metrics]
        return ChainEvent(
            kind, seq, effective_at, named, retro_from, bool(fill_gap), collect_until, store_until, mode, appended_us
        )


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")
