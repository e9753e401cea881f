"""Partners who go: shut out first, then taken from the registry, and last their topics where that is wanted.

What was read of one stays in the lake. What of theirs is still held can no longer be judged: the next driver lets it
expire.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from connectors.granting import RightOutcome, grant
from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.principals import system
from connectors.quotas import Quota, quota_of, set_quota
from connectors.ranges import DataMissing, RangeReader
from connectors.source_file import StorageFailed
from connectors.topics import delete_topics, list_topics
from connectors.users import shut_out, user_exists
from pipelines.credentials import Made
from pipelines.entries import LakeError, now_us
from pipelines.figures import unread
from pipelines.heartbeat import live_heartbeat
from pipelines.holds import FILE as HOLDS
from pipelines.holds import Holds
from pipelines.ledger import Ledger
from pipelines.partners import PartnerRefused, Step, step_of
from pipelines.places import store_of, words_of
from pipelines.progress import Progress
from pipelines.settings import Settings
from pipelines.vault import vault_of
from schemas.registry import ALMIGHTY, OURS, READING_CONTRACTS, contract_of, load_partners, save_partners


def remove(settings: Settings, name: str, folder: Path, *, with_topics: bool, dry_run: bool) -> Iterator[Step]:
    """Take away what is a partner's own, or say what would be taken away.

    In the order of what is urgent, so that who is stopped in between has left nobody in. PartnerRefused where nothing of
    that name is known, or its topics are still read.
    """
    if name == settings.authority or name.startswith(OURS) or name in (*system(settings.principals), *ALMIGHTY):
        raise PartnerRefused(
            "that is no partner's name: it is the consent authority's, or one of the system's principals"
        )
    topics = [spec.name for spec in list_topics(settings.kafka) if spec.name.startswith(f"{name}.")]
    registered = load_partners(settings.partners) if settings.partners.exists() else {}
    shut = list(_shut_out(settings, name, dry_run=dry_run)) if _asks_for_rights(settings) else []
    if not (name in registered or shut or topics):
        raise PartnerRefused(f"no partner of that name is registered in {settings.partners}, or known to the cluster")
    yield from shut
    if name in registered:
        kept = None if dry_run else save_partners(settings.partners, [p for p in registered.values() if p.name != name])
        yield Step(f"entry in {settings.partners.name}", _gone(dry_run))
        if kept is not None:
            yield Step(f"{kept.name}, the registry with its comments", Made.MADE)
    unread_ones = list(_unread(settings, topics))
    yield from _topics(settings, topics, with_topics=with_topics, dry_run=dry_run)
    yield from [*unread_ones, *_held(settings, name, dry_run=dry_run)]
    if (folder / name).is_dir():
        yield Step(f"files in {folder / name}", "stay: delete them")
    yield Step("what was read of it, in the lake", "stays")


def _asks_for_rights(settings: Settings) -> bool:
    """An open broker on a laptop has neither users nor rights."""
    return settings.kafka.login or settings.kafka.cert_file is not None


def _shut_out(settings: Settings, name: str, *, dry_run: bool) -> Iterator[Step]:
    """Rights first: they go at once, for who is connected too."""
    kafka = settings.kafka
    for result in grant(kafka, [], [name], revoke=True, dry_run=dry_run):
        if result.outcome in (RightOutcome.REVOKED, RightOutcome.TO_REVOKE):
            yield step_of(result)
    if user_exists(kafka, name):
        if not dry_run:
            shut_out(kafka, name)
        yield Step("login", _gone(dry_run))
    if quota_of(kafka, name) != Quota():
        if not dry_run:
            set_quota(kafka, name, Quota())
        yield Step("quota", _gone(dry_run))


def _topics(settings: Settings, topics: list[str], *, with_topics: bool, dry_run: bool) -> Iterator[Step]:
    if with_topics and topics and not dry_run:
        if live_heartbeat(store_of(settings.lake), now_us()):
            raise PartnerRefused(
                "a driver is at work that may still read these topics: restart it, and say this again; the partner is "
                "shut out meanwhile"
            )
        delete_topics(settings.kafka, topics)
    for topic in topics:
        yield Step(f"topic {topic}", _gone(dry_run) if with_topics else "stays")


def _unread(settings: Settings, topics: list[str]) -> Iterator[Step]:
    """Records of the data that no driver has read: none will, once the partner is out of the registry."""
    data = [topic for topic in topics if contract_of(topic) in READING_CONTRACTS]
    try:
        progress = Progress.of(Ledger(store_of(settings.lake)).head())
        with RangeReader(settings.kafka) as reader:
            waits = sum(unread(progress, reader.begin_offsets(data), reader.end_offsets(data)).values()) if data else 0
    except (LakeError, StorageFailed, DataMissing, KafkaRefused, KafkaUnreachable, OSError) as error:
        yield Step("records that no driver has read yet", f"not known: {words_of(error)}")
        return
    if waits:
        yield Step(f"records that no driver has read yet: {waits}", "stay unread: let a driver read them first")


def _held(settings: Settings, name: str, *, dry_run: bool) -> Iterator[Step]:
    """Its readings that wait: in the vault, which who removes a partner need not have at hand."""
    try:
        with closing(vault_of(settings)) as vault:
            if not vault.has(HOLDS):
                return
            with closing(Holds(vault, settings.hold_us, settings.kit_hold_us)) as holds:
                found = holds.open_readings_of(name)
    except (LakeError, StorageFailed, OSError, sqlite3.Error) as error:
        yield Step("readings that are held", f"not known: {words_of(error)}")
        return
    if found:
        what = ", ".join(f"{n} ({reason})" for reason, n in found.items())
        expire = "would expire" if dry_run else "expire"
        yield Step(f"readings that are held: {what}", f"{expire} when a driver next starts")


def _gone(dry_run: bool) -> str:
    return "would be taken away" if dry_run else "taken away"
