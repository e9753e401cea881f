"""Holds: readings that wait in Kafka for a link, a kit's activation, a first grant or a chain without gaps, as pointers.

They lie in the vault. How long one waits depends on what it waits for.

Changed only by ledger entries: each is taken in once, in order, with the totals, so that `opened = released + expired
+ open` can be checked at any time. What is closed is deleted.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from pipelines.database import Database
from pipelines.vault import Vault, as_vault
from schemas.reasons import Code

FILE = "holds.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hold (
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, partition INTEGER, offset INTEGER, first INTEGER, readings INTEGER,
  received_us INTEGER, partner TEXT, subject TEXT, reason TEXT, expires_us INTEGER
);
CREATE INDEX IF NOT EXISTS hold_by_expiry ON hold (expires_us);
CREATE INDEX IF NOT EXISTS hold_by_person ON hold (partner, subject);
CREATE TABLE IF NOT EXISTS total (opened INTEGER, released INTEGER, expired INTEGER, through INTEGER);
CREATE TABLE IF NOT EXISTS looked_at (register TEXT PRIMARY KEY, version INTEGER);
INSERT INTO total SELECT 0, 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM total);
"""


class OpenHold(NamedTuple):
    """A hold with its number; times are microseconds since the epoch, UTC; it never expires where `expires_us` is None."""

    id: int
    topic: str
    partition: int
    offset: int
    first: int
    readings: int
    received_us: int
    partner: str
    subject: str
    reason: str
    expires_us: int | None


class Totals(NamedTuple):
    """Readings ever held, released and expired; `through` is the ledger entry up to which they are counted."""

    opened: int
    released: int
    expired: int
    through: int


class Changes(NamedTuple):
    """What one ledger entry does to the holds: new ones, and numbers of those that it closes."""

    opened: list[list[object]]
    released: list[int]
    expired: list[int]


class Holds:
    """The holds of one vault: for `kit_hold_us` where a kit is not activated, else for `hold_us`."""

    def __init__(self, vault: Vault | Path, hold_us: int, kit_hold_us: int) -> None:
        self._hold_us = hold_us
        self._kit_hold_us = kit_hold_us
        self._vault = as_vault(vault)
        self._db = Database(self._vault.own(FILE), _SCHEMA, "FULL")

    def keep(self) -> None:
        """Make what was taken in durable. Where another driver has kept the same entry, what it kept holds."""
        if not self._vault.keep(FILE, self.totals().through, self._db):
            self._renew()

    def refresh(self) -> None:
        """Take in what another driver has kept meanwhile, if it went further."""
        newest = self._vault.newest(FILE)
        if newest is not None and newest > self.totals().through:
            self._renew()

    def _renew(self) -> None:
        self._db.close()
        self._db = Database(self._vault.renew(FILE), _SCHEMA, "FULL")

    def apply(self, n: int, changes: Changes) -> None:
        """Take in ledger entry n; nothing happens where it has been taken in."""
        with self._db.transaction():
            if n <= self.totals().through:  # asked within: another driver may be settling the same entry
                return
            released, expired = self._close(changes.released), self._close(changes.expired)
            self._db.executemany(
                "INSERT INTO hold (topic, partition, offset, first, readings, received_us, partner, subject, reason, expires_us)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*hold, self._expiry(int(str(hold[5])), str(hold[8]))) for hold in changes.opened],
            )
            opened = sum(int(str(hold[4])) for hold in changes.opened)
            self._db.execute(
                "UPDATE total SET opened = opened + ?, released = released + ?, expired = expired + ?, through = ?",
                (opened, released, expired, n),
            )

    def _expiry(self, received_us: int, reason: str) -> int | None:
        if reason == Code.CONSENT_LAG:
            return None
        return received_us + (self._kit_hold_us if reason == Code.KIT_NOT_ACTIVATED else self._hold_us)

    def _close(self, ids: Iterable[int]) -> int:
        readings = 0
        for hold in ids:
            found = self._db.execute("DELETE FROM hold WHERE id = ? RETURNING readings", (hold,)).fetchone()
            readings += found[0] if found else 0
        return readings

    def totals(self) -> Totals:
        return Totals(*self._db.execute("SELECT opened, released, expired, through FROM total").fetchone())

    def open_readings(self) -> dict[str, int]:
        """How many readings are held, by reason."""
        return dict(self._db.execute("SELECT reason, sum(readings) FROM hold GROUP BY reason ORDER BY reason"))

    def open_readings_of(self, partner: str) -> dict[str, int]:
        """How many of them are of this partner, by reason."""
        query = "SELECT reason, sum(readings) FROM hold WHERE partner = ? GROUP BY reason ORDER BY reason"
        return dict(self._db.execute(query, (partner,)))

    def expiring(self, until_us: int) -> dict[str, int]:
        """How many of them expire until then, by reason."""
        return dict(
            self._db.execute(
                "SELECT reason, sum(readings) FROM hold WHERE expires_us <= ? GROUP BY reason ORDER BY reason",
                (until_us,),
            )
        )

    def readings_of(self, ids: Iterable[int]) -> int:
        """How many readings the holds with these numbers are."""
        found = (self._db.execute("SELECT readings FROM hold WHERE id = ?", (hold,)).fetchone() for hold in ids)
        return sum(row[0] for row in found if row)

    def next_expiry(self) -> int | None:
        found = self._db.execute("SELECT min(expires_us) FROM hold").fetchone()
        return found[0] if found else None

    def expired(self, now_us: int) -> list[int]:
        """Numbers of the holds that have waited long enough."""
        return [row[0] for row in self._db.execute("SELECT id FROM hold WHERE expires_us <= ? ORDER BY id", (now_us,))]

    def orphaned(self, partners: Collection[str]) -> list[int]:
        """Numbers of the holds of partners who are not among these: nobody may speak for them any more."""
        known = sorted(partners)
        marks = ", ".join("?" * len(known))
        rows = self._db.execute(f"SELECT id FROM hold WHERE partner NOT IN ({marks}) ORDER BY id", known)
        return [row[0] for row in rows]

    def people(self) -> dict[str, list[str]]:
        """Subjects with open holds, by partner."""
        found: dict[str, list[str]] = {}
        for partner, subject in self._db.execute("SELECT DISTINCT partner, subject FROM hold ORDER BY 1, 2"):
            found.setdefault(partner, []).append(subject)
        return found

    def newest(self) -> int:
        """The highest number that a hold has had."""
        return int(self._db.execute("SELECT coalesce(max(id), 0) FROM hold").fetchone()[0])

    def of(self, partner: str, subjects: Iterable[str], limit: int, through: int) -> list[OpenHold]:
        """Open holds of these subjects with numbers up to `through`, at most `limit`."""
        found: list[OpenHold] = []
        for subject in subjects:
            rows = self._db.execute(
                "SELECT id, topic, partition, offset, first, readings, received_us, partner, subject, reason, expires_us"
                " FROM hold WHERE partner = ? AND subject = ? AND id <= ? ORDER BY topic, partition, offset, first LIMIT ?",
                (partner, subject, through, limit - len(found)),
            )
            found += [OpenHold(*row) for row in rows]
            if len(found) >= limit:
                break
        return found

    def at(self, topic: str, partition: int, start: int, end: int) -> list[OpenHold]:
        """Open holds of the records [start, end) of a partition."""
        rows = self._db.execute(
            "SELECT id, topic, partition, offset, first, readings, received_us, partner, subject, reason, expires_us"
            " FROM hold WHERE topic = ? AND partition = ? AND offset >= ? AND offset < ? ORDER BY offset, first",
            (topic, partition, start, end),
        )
        return [OpenHold(*row) for row in rows]

    def oldest_offset(self, topic: str, partition: int) -> int | None:
        """The oldest record of a partition that somebody still waits for."""
        found = self._db.execute(
            "SELECT min(offset) FROM hold WHERE topic = ? AND partition = ?", (topic, partition)
        ).fetchone()
        return found[0] if found else None

    def looked_at(self, register: str) -> int:
        """The version of the register at which holds were last looked through for what can be judged again."""
        found = self._db.execute("SELECT version FROM looked_at WHERE register = ?", (register,)).fetchone()
        return found[0] if found else 0

    def look_at(self, register: str, version: int) -> None:
        """Note that holds were looked through."""
        self._db.execute("INSERT OR REPLACE INTO looked_at VALUES (?, ?)", (register, version))

    def close(self) -> None:
        self._db.close()
