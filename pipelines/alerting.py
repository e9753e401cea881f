"""Telling receivers what is new, in a thread of its own; a test of the way to them; how it went."""

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from secrets import token_hex
from typing import Any, NamedTuple

from pipelines.alert_book import FILE, AlertBook, Told
from pipelines.alert_delivery import NotDelivered, deliver
from pipelines.entries import rfc3339
from pipelines.settings import Settings
from pipelines.vault import Vault, vault_of
from quality.alert_settings import AlertSettings, Receiver
from quality.alerts import Change, trial
from quality.job.times import instant

Clock = Callable[[], int]
Say = Callable[[str], None]


def tell_due(book: AlertBook, alerts: AlertSettings, desk: str, clock: Clock, say: Say) -> None:
    """Tell every receiver what is due; one that does not take it keeps no other from being told."""
    for receiver in alerts.receivers:
        while due := book.due(receiver, clock(), _is_quiet(receiver, clock())):
            try:
                deliver(receiver, list(due.values()), desk, clock())
            except NotDelivered as error:
                if book.note_failed(receiver.name, str(error), clock()) == 0:
                    say(f"{receiver.name} could not be alerted ({error}); it is tried again until it can")
                break
            book.note_told(receiver.name, due, clock())


def anything_due(book: AlertBook, alerts: AlertSettings, now_us: int) -> bool:
    """Whether any receiver is to be told something now."""
    return any(book.due(receiver, now_us, _is_quiet(receiver, now_us)) for receiver in alerts.receivers)


def _is_quiet(receiver: Receiver, now_us: int) -> bool:
    return receiver.quiet is not None and receiver.quiet.holds_at(instant(now_us))


class Telling:
    """Tells in a thread of its own, so that a receiver that does not answer holds up nothing but its like."""

    def __init__(self, settings: Settings, vault: Vault, epoch: int, clock: Clock, say: Say) -> None:
        self._settings, self._clock, self._say = settings, clock, say
        self._vault, self._epoch = vault, epoch
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Tell what is due, unless that is going on."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._tell, name="alerts", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until it is done, or so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _tell(self) -> None:
        try:
            with closing(AlertBook(self._vault, self._epoch)) as book:
                tell_due(book, self._settings.alerts, self._settings.steward.origin, self._clock, self._say)
        except Exception as error:  # it stands in the vault, and is told by the next turn
            self._say(f"alerts could not be told ({type(error).__name__}); they are told later")


# -- by hand


class Tried(NamedTuple):
    """How a test went with a receiver; `why` is empty where it has taken the message."""

    name: str
    kind: str
    why: str


def send_test(settings: Settings, now_us: int, study: str | None = None) -> list[Tried]:
    """Tell every receiver, or those that hear of the study, that this is a test; at once, also in quiet hours."""
    found = []
    for receiver in settings.alerts.receivers:
        if study is not None and receiver.studies and study not in receiver.studies:
            continue
        about = study or (receiver.studies[0] if receiver.studies else "every study")
        why = ""
        try:
            deliver(receiver, [Change(token_hex(16), now_us, None, trial(about))], settings.steward.origin, now_us)
        except NotDelivered as error:
            why = str(error)
        found.append(Tried(receiver.name, receiver.kind, why))
    return found


def status(settings: Settings) -> dict[str, Any]:
    """What stands not well, and how it went with each receiver: no address, nothing about a person."""
    kinds = {receiver.name: receiver.kind for receiver in settings.alerts.receivers}
    with closing(vault_of(settings)) as vault:
        if not vault.has(FILE):
            never = [Told(name, 0, 0, 0, 0, None, "", 0) for name in kinds]
            return {"standing": [], "receivers": [_as_json(told, kinds) for told in never]}
        return _status(vault, kinds)


def _status(vault: Vault, kinds: Mapping[str, str]) -> dict[str, Any]:
    with closing(AlertBook(vault)) as book:
        known = {told.name: told for told in book.receivers()}
        all_of_them = [known.get(name, Told(name, 0, 0, 0, 0, None, "", 0)) for name in kinds]
        return {"standing": book.standing(), "receivers": [_as_json(told, kinds) for told in all_of_them]}


def _as_json(told: Told, kinds: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": told.name,
        "kind": kinds[told.name],
        "told": told.told,
        "failed": told.failed,
        "given_up": told.given_up,
        "waiting": told.waiting,
        "last_told": rfc3339(told.told_us) if told.told_us is not None else None,
        "last_failure": told.why or None,
    }
