"""How everything stands: the driver, Kafka, what is held, quality, alerts and disks, each asked for itself.

Nothing is changed, and nothing that is away keeps the rest from being told: its part then has an `error` in words.
Counts and names of topics, studies and checks; nothing about a person.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from functools import cache
from typing import Any

import psutil

from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.ranges import DataMissing
from connectors.source_file import StorageFailed
from pipelines import alerting, figures, judging_status
from pipelines.consent.register import FILE as REGISTER
from pipelines.consent.register import Register
from pipelines.entries import Entry, LakeError, rfc3339
from pipelines.heartbeat import host_hash, live_heartbeat, read_beat
from pipelines.holds import Holds
from pipelines.keys import KeyMissing, KeyRing
from pipelines.lag import in_kafka
from pipelines.ledger import Ledger
from pipelines.places import store_of, words_of
from pipelines.progress import VAULT_ID, Progress, check_settled, check_vault
from pipelines.requests import everything
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.vault import Vault, vault_of
from schemas.registry import RegistryError, Study, load_partners, load_studies

Json = dict[str, Any]


_SAID = (LakeError, KafkaUnreachable, KafkaRefused, DataMissing, KeyMissing, RegistryError, StorageFailed)


def status(settings: Settings, now_us: int) -> Json:
    """All of it as JSON; times are RFC 3339."""
    store = cache(lambda: store_of(settings.lake))
    ledger = cache(lambda: Ledger(store()))
    recent: list[Entry] = []
    return {
        "at": rfc3339(now_us),
        "registries": _told(lambda: _registries(settings)),
        "driver": _told(lambda: _driver(store(), now_us)),
        "ledger": _told(lambda: _ledger(ledger(), recent, now_us)),
        "kafka": {
            "bootstrap": settings.kafka.bootstrap,
            **_told(lambda: _with_freshness(in_kafka(settings, load_partners(settings.partners), ledger()), now_us)),
        },
        "consent": _told(lambda: _consent(settings, load_studies(settings.studies), ledger(), now_us)),
        "quality": _told(lambda: judging_status.status(store())),
        "quarantine": _told(lambda: _quarantine(settings, load_studies(settings.studies), ledger(), now_us)),
        "alerts": _told(lambda: alerting.status(settings)),
        "requests": _told(lambda: _requests(store())),
        "disks": _disks(settings, recent),
    }


def _with_freshness(kafka: Json, now_us: int) -> Json:
    """And by how many seconds the lake is behind what has come in."""
    oldest = kafka["oldest_unread"]
    since = datetime.fromisoformat(oldest).timestamp() if oldest else now_us / 1_000_000
    return {**kafka, "behind_s": round(max(0.0, now_us / 1_000_000 - since), 1)}


def _told(ask: Callable[[], Json]) -> Json:
    """The answer, or why there is none."""
    try:
        return ask()
    except (*_SAID, OSError, sqlite3.Error) as error:
        return {"error": words_of(error)}


# -- registries, driver and ledger


def _registries(settings: Settings) -> Json:
    """How many partners and studies there are; RegistryError with the words of each registry that cannot be used."""
    counts, faults = {}, []
    for name, load in (
        ("partners", lambda: load_partners(settings.partners)),
        ("studies", lambda: load_studies(settings.studies)),
    ):
        try:
            counts[name] = len(load())
        except RegistryError as error:
            faults.append(str(error))
    if faults:
        raise RegistryError("; ".join(faults))
    return dict(counts)


def _driver(store: Store, now_us: int) -> Json:
    """`alive`; `silent` where one has not ended in good order; `none`. `since` is when its process began."""
    beat = read_beat(store)
    if beat is None:
        return {"state": "none"}
    is_alive = live_heartbeat(store, now_us) is not None
    return {
        "state": "alive" if is_alive else "silent",
        "epoch": beat.epoch,
        "since": rfc3339(beat.born * 1_000_000),
        "heard_s": max(0, now_us - beat.at_us) / 1_000_000,
        "memory_bytes": _memory(beat.pid) if is_alive and beat.host == host_hash() else None,
    }


def _memory(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it has just ended, or is another user's
        return None


def _ledger(ledger: Ledger, recent: list[Entry], now_us: int) -> Json:
    """The newest entry, and the newest that has read anything; `recent` gets the entries of the last day."""
    recent += figures.recent_entries(ledger, now_us)
    reading = next((entry for entry in recent if figures.outcomes_of(entry) is not None), None)
    return {
        "last": _entry(recent[0], now_us) if recent else None,
        "last_that_read": _entry(reading, now_us) if reading else None,
    }


def _entry(entry: Entry, now_us: int) -> Json:
    return {
        "n": entry.n,
        "kind": str(entry.kind),
        "epoch": entry.epoch,
        "at": entry.at,
        "age_s": max(0, now_us - entry.at_us) / 1_000_000,
        "outcomes": figures.outcomes_of(entry),
    }


# -- consent and holds


def _consent(settings: Settings, studies: Mapping[str, Study], ledger: Ledger, now_us: int) -> Json:
    """Readings held, by reason; chains with gaps, alarms and removals owed, in numbers."""
    with closing(vault_of(settings)) as vault:
        return _known_to(vault, settings, studies, ledger, now_us)


def _known_to(vault: Vault, settings: Settings, studies: Mapping[str, Study], ledger: Ledger, now_us: int) -> Json:
    if (own_id := vault.secret(VAULT_ID)) is None:
        return {"held": {}, "expiring": {}, "next_expiry": None, "lagging": 0, "alarms": 0, "owed": 0}
    keys = KeyRing(vault)
    with (
        closing(Holds(vault, settings.hold_us, settings.kit_hold_us)) as holds,
        closing(Register(vault.read(REGISTER))) as register,
    ):
        check_vault(Progress.of(ledger.head()), own_id.decode("ascii").strip(), keys)
        check_settled(ledger, holds, vault.store)
        for study in studies:
            keys.key(study)
        expiry, found = holds.next_expiry(), register.status(studies)
        return {
            "held": holds.open_readings(),
            "expiring": holds.expiring(now_us + figures.NEAR_US),
            "next_expiry": rfc3339(expiry) if expiry else None,
            "lagging": len(found.lagging),
            "alarms": len(found.alarms),
            "owed": len(found.owed),
        }


# -- quality, requests, disks


def _quarantine(settings: Settings, studies: Mapping[str, Study], ledger: Ledger, now_us: int) -> Json:
    """By study how many rows wait, in whole steps of its smallest cell (None: of too few people), and if any for too long."""
    if ledger.head() is None:
        return {}
    from pipelines.lake_desk import LakeDesk

    with closing(LakeDesk(settings)) as desk:
        found = {
            name: figures.waiting(desk, ledger, study, settings.alerts.waiting_days, now_us)
            for name, study in studies.items()
        }
    return {name: one._asdict() for name, one in found.items()}


def _requests(store: Store) -> Json:
    """What the driver has still to do, and what it refused of late."""
    found = everything(store)
    waits = [one.request.asked_at for one in found if one.waits and one.request]
    return {
        "waiting": sum(one.waits for one in found),
        "oldest": min(waits, default=None),
        "refused": sum(not one.waits for one in found),
    }


def _disks(settings: Settings, recent: list[Entry]) -> Json:
    """By place that is a folder: bytes that are free, of how many, and how long they last at the present rate."""
    a_day, found = figures.bytes_per_day(recent), {}
    for name, disk in figures.disks(settings.places):
        lasts = disk.free / a_day if a_day and name == "lake" else None
        found[name] = {**disk._asdict(), "bytes_per_day": a_day if name == "lake" else None, "lasts_days": lasts}
    return found
