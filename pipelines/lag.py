"""What waits in Kafka, for whoever looks from outside: how many records, since when, and until when they are kept."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from connectors.ranges import DataMissing, Identity, OffsetRange, RangeReader
from connectors.topics import wanted_topics
from pipelines.consent.follow import kit_topics
from pipelines.consent.register import FILE as REGISTER
from pipelines.consent.register import Register
from pipelines.entries import LakeError, rfc3339
from pipelines.figures import Partition, by_topic, not_taken_in, unread
from pipelines.ledger import Ledger
from pipelines.plan import partition_key
from pipelines.progress import Progress, check_cluster, check_offsets
from pipelines.settings import Settings
from pipelines.vault import Vault, vault_of
from schemas.registry import Partner, reading_topics

PATIENCE_S = 5.0
LOOKED_INTO = 8
"""Most partitions of which is asked how long their first unread record has waited: those with the most unread."""
_FIRST_BYTES = 64 * 1024

Json = dict[str, Any]


def in_kafka(settings: Settings, partners: Mapping[str, Partner], ledger: Ledger) -> Json:
    """Records that wait, by topic and partition, and the moments between which they lie; consent by topic.

    DataGone where Kafka is not what the ledger goes on from, DataMissing where a topic is not there, KafkaUnreachable.
    `refused` says why a driver would not start, where retention was faster than it.
    """
    progress = Progress.of(ledger.head())
    with closing(vault_of(settings)) as vault:
        taken = _taken_in(vault)
    data = reading_topics(partners.values())
    deciding = [settings.consent_topic, settings.link_topic, *kit_topics(partners.values())]
    with RangeReader(settings.kafka, fetch_bytes=_FIRST_BYTES, patience_s=PATIENCE_S) as reader:
        with Identity(settings.kafka) as asked:
            check_cluster(progress, asked.cluster_id(), asked.topic_ids([*data, *deciding]), partners)
        begin, end = reader.begin_offsets(data), reader.end_offsets(data)
        waits, behind = unread(progress, begin, end), not_taken_in(taken, reader.end_offsets(deciding))
        next_up = {at: end[at] - waits[partition_key(*at)] for at in end if waits[partition_key(*at)]}
        came = _came(reader, next_up, waits)
        decided = _came(reader, {at: taken.get(at, 0) for at, n in behind.items() if n}, {})
    return {
        "unread": _nested(waits),
        "records": sum(waits.values()),
        "oldest_unread": rfc3339(min(came.values())) if came else None,
        "kept_until": _kept_until(settings, partners, came),
        "consent_unread": by_topic({partition_key(*at): n for at, n in behind.items()}),
        "oldest_consent_unread": rfc3339(min(decided.values())) if decided else None,
        **_lost(progress, begin, end),
    }


def _taken_in(vault: Vault) -> dict[Partition, int]:
    """How far the register has read; a vault that has none yet gets none."""
    if not vault.has(REGISTER):
        return {}
    with closing(Register(vault.read(REGISTER))) as register:
        return register.positions()


def _came(reader: RangeReader, first: Mapping[Partition, int], waits: Mapping[str, int]) -> dict[Partition, int]:
    """When these records came in, by the stamps that they carry, microseconds UTC."""
    longest = sorted(first, key=lambda at: -waits.get(partition_key(*at), 0))[:LOOKED_INTO]
    stamps = {at: _stamp(reader, at, first[at]) for at in longest}
    return {at: stamp for at, stamp in stamps.items() if stamp is not None}


def _stamp(reader: RangeReader, at: Partition, offset: int) -> int | None:
    """None where the record is none (a transaction's marker), or is gone since."""
    try:
        blocks = list(reader.read(OffsetRange(*at, offset, offset + 1)))
    except DataMissing:
        return None
    return int(blocks[0].column("timestamp_us")[0].as_py()) if blocks else None


def _kept_until(settings: Settings, partners: Mapping[str, Partner], came: Mapping[Partition, int]) -> str | None:
    """When retention begins to delete what waits; None where nothing does."""
    wanted = wanted_topics(partners.values(), settings.authority, settings.held_us)
    kept_us = {
        spec.name: int(spec.settings["retention.ms"]) * 1000 for spec in wanted if "retention.ms" in spec.settings
    }
    ends = [stamp + kept_us[at[0]] for at, stamp in came.items()]
    return rfc3339(min(ends)) if ends else None


def _lost(progress: Progress, begin: Mapping[Partition, int], end: Mapping[Partition, int]) -> Json:
    """What retention has deleted unread, and the words in which a driver refuses to go on without it."""
    lost = check_offsets(progress, begin, end, accept_loss=True)
    try:
        check_offsets(progress, begin, end)
    except LakeError as error:
        return {"lost": lost, "refused": str(error)}
    return {"lost": lost}


def _nested(waits: Mapping[str, int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for key, n in waits.items():
        topic, _, partition = key.rpartition("/")
        found.setdefault(topic, {})[partition] = n
    return found
