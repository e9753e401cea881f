"""What is known of how studies stand, and what receivers are still to be told of it: a file of the vault.

A condition's new level and the messages that it calls for are noted in one transaction; a message is struck off when its
receiver has taken it. A driver that is killed between these two tells it again, under the same id; one that is killed at
any other moment tells it once.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from pipelines.database import Database
from pipelines.entries import rfc3339
from pipelines.vault import Vault, as_vault
from quality.alert_settings import Receiver
from quality.alerts import Change, Condition, Level, as_json, changed, of_json
from quality.checks import Severity

FILE = "alerts.sqlite"
AT_ONCE = 200
"""Most changes in one message."""
MOST_UNTOLD = 1_000
"""So many changes wait for a receiver; the oldest are given up."""
AGAIN_S, LONGEST_S = 30, 3_600
"""After a failure the next try is so long after, twice as long after each further one, and at most so long."""

_CHANGES = 10**9  # a driver's life has fewer
_TABLES = """
CREATE TABLE IF NOT EXISTS changed (n INTEGER NOT NULL);
INSERT INTO changed SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM changed);
CREATE TABLE IF NOT EXISTS standing (
  study TEXT, about TEXT, severity TEXT NOT NULL, level TEXT NOT NULL, since_us INTEGER NOT NULL,
  PRIMARY KEY (study, about)
);
CREATE TABLE IF NOT EXISTS untold (
  id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, severity TEXT NOT NULL, change TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS receiver (
  name TEXT PRIMARY KEY, told INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  given_up INTEGER NOT NULL DEFAULT 0, in_a_row INTEGER NOT NULL DEFAULT 0, again_us INTEGER NOT NULL DEFAULT 0,
  told_us INTEGER, why TEXT NOT NULL DEFAULT ''
);
"""


class Told(NamedTuple):
    """How it went with a receiver: messages taken and failed, changes given up, failures since the last one was taken,
    when it was (microseconds, UTC), why the last one failed, changes that wait."""

    name: str
    told: int
    failed: int
    given_up: int
    in_a_row: int
    told_us: int | None
    why: str
    waiting: int


class AlertBook(Database):
    """What is known and what is still to be told; one connection for each thread."""

    def __init__(self, vault: Vault | Path, epoch: int = 0) -> None:
        self._vault, self._epoch = as_vault(vault), epoch
        super().__init__(self._vault.own(FILE), _TABLES, "FULL")

    @contextmanager
    def _change(self) -> Iterator[None]:
        """All of a change or nothing of it, and then it is kept: under a number that a driver before cannot have."""
        with self.transaction():
            yield
            self.execute("UPDATE changed SET n = max(n + 1, ?)", (self._epoch * _CHANGES,))
        self._vault.keep(FILE, self.changes, self)

    @property
    def changes(self) -> int:
        """A number that rises with each change, whichever driver makes it."""
        return int(self.execute("SELECT n FROM changed").fetchone()[0])

    def take_in(
        self, study: str, found: Iterable[Condition], receivers: Sequence[Receiver], now_us: int
    ) -> list[Change]:
        """Note how a study's conditions stand, and for each receiver what it is to be told of that is new."""
        with self._change():
            known = {about: Level(level) for about, level in self._levels(study)}
            news = [Change(token_hex(16), now_us, before, now) for before, now in changed(known, found)]
            for change in news:
                one = change.now
                row = (study, one.about, str(one.severity), str(one.level), now_us)
                self.execute("INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?, ?)", row)
            for receiver in receivers if news else ():
                self._owe(receiver, [one for one in news if receiver.hears(study, one.now.severity)])
        return news

    def _levels(self, study: str) -> list[tuple[str, str]]:
        return self.execute("SELECT about, level FROM standing WHERE study = ?", (study,)).fetchall()

    def _owe(self, receiver: Receiver, news: Iterable[Change]) -> None:
        rows = [(receiver.name, str(one.now.severity), json.dumps(as_json(one, ""))) for one in news]
        self.executemany("INSERT INTO untold (receiver, severity, change) VALUES (?, ?, ?)", rows)
        self.execute("INSERT OR IGNORE INTO receiver (name) VALUES (?)", (receiver.name,))
        late = self.execute(
            "DELETE FROM untold WHERE receiver = ?1 AND id <= "
            "(SELECT id FROM untold WHERE receiver = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (receiver.name, MOST_UNTOLD),
        )
        self.execute("UPDATE receiver SET given_up = given_up + ? WHERE name = ?", (late.rowcount, receiver.name))

    def forget_others(self, receivers: Iterable[Receiver]) -> None:
        """Strike off what was for receivers that there are no more."""
        names = json.dumps([receiver.name for receiver in receivers])
        with self._change():
            for table, column in (("untold", "receiver"), ("receiver", "name")):
                self.execute(f"DELETE FROM {table} WHERE {column} NOT IN (SELECT value FROM json_each(?))", (names,))

    def due(self, receiver: Receiver, now_us: int, is_quiet: bool) -> dict[int, Change]:
        """What the receiver is to be told now, by number: in quiet hours what passes them, after a failure nothing yet."""
        rested = self.execute("SELECT again_us FROM receiver WHERE name = ?", (receiver.name,)).fetchone()
        if rested is None or rested[0] > now_us:
            return {}
        if is_quiet and not (receiver.quiet and receiver.quiet.critical_passes):
            return {}
        rows = self.execute(
            "SELECT id, change FROM untold WHERE receiver = ? AND severity = coalesce(?, severity) ORDER BY id LIMIT ?",
            (receiver.name, str(Severity.CRITICAL) if is_quiet else None, AT_ONCE),
        )
        return {number: of_json(json.loads(change)) for number, change in rows}

    def note_told(self, receiver: str, numbers: Iterable[int], now_us: int) -> None:
        """The receiver has taken these."""
        with self._change():
            self.executemany("DELETE FROM untold WHERE id = ?", [(number,) for number in numbers])
            self.execute(
                "UPDATE receiver SET told = told + 1, in_a_row = 0, again_us = 0, told_us = ?, why = '' WHERE name = ?",
                (now_us, receiver),
            )

    def note_failed(self, receiver: str, why: str, now_us: int) -> int:
        """It has not; after how many failures since the last success this one comes."""
        with self._change():
            (before,) = self.execute("SELECT in_a_row FROM receiver WHERE name = ?", (receiver,)).fetchone()
            again_us = now_us + min(AGAIN_S * 2 ** min(before, 20), LONGEST_S) * 1_000_000
            self.execute(
                "UPDATE receiver SET failed = failed + 1, in_a_row = in_a_row + 1, again_us = ?, why = ? WHERE name = ?",
                (again_us, why, receiver),
            )
        return int(before)

    def receivers(self) -> list[Told]:
        """How it went with each that something was ever to be told."""
        return [
            Told(*row)
            for row in self.execute(
                "SELECT name, told, failed, given_up, in_a_row, told_us, why, "
                "(SELECT count(*) FROM untold WHERE receiver = name) FROM receiver ORDER BY name"
            )
        ]

    def standing(self) -> list[dict[str, Any]]:
        """The conditions that are not well, by study."""
        rows = self.execute(
            "SELECT study, about, severity, level, since_us FROM standing WHERE level <> 'ok' ORDER BY study, about"
        )
        return [
            {"study": study, "about": about, "severity": severity, "state": level, "since": rfc3339(since_us)}
            for study, about, severity, level, since_us in rows
        ]
