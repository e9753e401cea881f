"""How far the lake has come, as the last ledger entry says, and whether Kafka and the vault still fit it."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from secrets import token_hex
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue

from connectors.ranges import Identity, RangeReader
from connectors.topics import Held, least_kept_ms
from pipelines.entries import Entry
from pipelines.holds import Holds
from pipelines.keys import KeyMissing, KeyRing
from pipelines.ledger import LakeError, Ledger, LedgerLost
from pipelines.plan import partition_key
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.vault import Vault
from schemas.registry import contract_of

VAULT_ID = "vault-id"
_HOUR_MS = 3_600_000


class DataGone(LakeError):
    """Kafka or the vault does not hold what the ledger goes on from; `exit_code` is the command's."""

    exit_code = 4


class KeptTooShort(LakeError):
    """A topic's retention is shorter than what it holds may wait."""


class Answered(BaseModel):
    """The request that an entry answered last, and the selection of it that is left to do; None where all is done."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int
    id: str
    rest: dict[str, JsonValue] | None


class Judged(BaseModel):
    """How far the quality job has come: entries through `through` were looked at, and days before `until` as they ended.

    `left` are the days that were changed and are not judged again yet, by study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    through: int
    until: date
    left: dict[str, tuple[date, ...]] = {}


class Progress(BaseModel):
    """Carried in every entry. Offsets are the next to read, by partition; consent positions likewise."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cluster: str = ""
    topics: dict[str, str] = {}
    offsets: dict[str, int] = {}
    consent: dict[str, int] = {}
    keys: dict[str, str] = {}
    vault: str = ""
    request: Answered | None = None
    judged: Judged | None = None

    @classmethod
    def of(cls, head: Entry | None) -> "Progress":
        return cls.model_validate(head.progress if head else {})


class Offsets(NamedTuple):
    """The first record that Kafka keeps of each data partition, the next that will come, and how many were lost unread."""

    begin: Mapping[tuple[str, int], int]
    end: Mapping[tuple[str, int], int]
    lost: int


@dataclass
class Surroundings:
    """Kafka and the vault around a lake, asked whether they are still those that its ledger goes on from.

    `topics` are those of the data, `kit_topics` those of the kits' events. A loss that is accepted is one of records that
    retention has deleted.
    """

    settings: Settings
    vault: Vault
    topics: list[str]
    studies: Collection[str]
    keys: KeyRing
    reader: RangeReader
    asked: Identity
    accept_loss: bool
    partners: Collection[str]
    kit_topics: Iterable[str] = ()

    def check(self, ledger: Ledger, holds: Holds) -> None:
        """Ask everything, before a driver takes over. LedgerLost, DataGone and KeyMissing say what does not fit."""
        progress = Progress.of(ledger.head())
        self._identify(progress)
        self.offsets(progress)
        check_vault(progress, vault_id(self.vault), self.keys)
        for study in self.studies:
            self.keys.key(study)
        check_settled(ledger, holds, self.vault.store)
        check_kept(self.asked.kept_ms([*self.topics, *self.kit_topics]), self.settings.held_us)

    def offsets(self, progress: Progress) -> Offsets:
        """The offsets of the data. DataGone where they are not those of what the ledger has read."""
        end, begin = self.reader.end_offsets(self.topics), self.reader.begin_offsets(self.topics)
        self._identify(progress)  # after the ends, which are then those of the topics that the ledger knows
        return Offsets(begin, end, check_offsets(progress, begin, end, self.accept_loss))

    def _identify(self, progress: Progress) -> None:
        """Ask who Kafka and the topics are: while it was away another may have come in its place."""
        known = [*self.topics, self.settings.consent_topic, self.settings.link_topic, *self.kit_topics]
        self._identity = (self.asked.cluster_id(), self.asked.topic_ids(known))
        check_cluster(progress, *self._identity, self.partners)

    def after(
        self, before: Progress, offsets: Mapping[str, int], consent_ends: Mapping[tuple[str, int], int]
    ) -> Progress:
        """How far the lake is when the data are read to these offsets, by partition, and consent to these ends."""
        cluster, topics = self._identity
        reached = {
            "cluster": cluster,
            "topics": {**before.topics, **topics},
            "offsets": {**before.offsets, **offsets},
            "consent": {partition_key(*at): end for at, end in consent_ends.items()},
            "keys": {study: self.keys.key(study).fingerprint() for study in self.studies},
            "vault": vault_id(self.vault),
        }
        return before.model_copy(update=reached)


def check_settled(ledger: Ledger, holds: Holds, vault: Store) -> None:
    """LedgerLost where the ledger is older than the vault, DataGone where the vault is older than the ledger."""
    through = holds.totals().through  # before the head: a driver that lives may go on meanwhile
    head = ledger.head()
    if through > (head.n if head else 0):
        raise LedgerLost(
            "the vault has seen later entries than the ledger has: the lake is an older copy; restore the newest one"
        )
    for entry in ledger.entries(through + 1):
        private_of(entry, holds, vault)


def private_of(entry: Entry, holds: Holds, vault: Store) -> dict[str, Any] | None:
    """What an entry held, released and rejected, as the vault keeps it until the entry is settled; None where it is.

    DataGone where the vault ought to have it.
    """
    found = vault.get(str(entry.holds["file"])) if entry.holds is not None else None
    if found is not None:
        private: dict[str, Any] = json.loads(found)
        return private
    holds.refresh()  # a driver that took over, or was overtaken, may have settled it meanwhile
    if entry.holds is None or holds.totals().through >= entry.n:
        return None
    raise DataGone(
        f"the vault lacks what entry {entry.n} held and rejected: it is an older copy; restore the newest one"
    )


def check_cluster(progress: Progress, cluster: str, topics: Mapping[str, str], partners: Collection[str]) -> None:
    """DataGone where Kafka is another cluster, or a topic another topic of the same name.

    The topics of a partner who was removed are remembered, and not missed.
    """
    if progress.cluster and progress.cluster != cluster:
        raise DataGone(
            "this is another Kafka cluster than the one that the ledger goes on from: check the setting kafka.bootstrap, "
            "or begin a new lake for the new cluster"
        )
    for topic, known in progress.topics.items():
        if topic not in topics and _is_of_who_left(topic, partners):
            continue
        if topic not in topics:
            raise DataGone(f"the topic {topic} is gone: restore it, or begin a new lake")
        if topics[topic] != known:
            raise DataGone(f"the topic {topic} was deleted and made anew: what it held and was not read is lost")


def _is_of_who_left(topic: str, partners: Collection[str]) -> bool:
    """Never true of the authority's topics, whatever its name has become."""
    of_authority = contract_of(topic) in ("consent-event", "identity-link")
    return not of_authority and topic.split(".", 1)[0] not in partners


def check_offsets(
    progress: Progress,
    begin: Mapping[tuple[str, int], int],
    end: Mapping[tuple[str, int], int],
    accept_loss: bool = False,
) -> int:
    """DataGone where a partition ends before what was read, or retention has passed what was not read yet.

    Where the latter is accepted: how many records are lost.
    """
    lost = 0
    for (topic, partition), first in begin.items():
        position = progress.offsets.get(partition_key(topic, partition))
        if position is None:
            continue
        name = f"{topic} partition {partition}"
        if first > position and not accept_loss:
            raise DataGone(
                f"{name}: records {position} to {first - 1} were deleted by retention before they were read; "
                "run with --accept-loss to go on from the first record that is left"
            )
        if end[topic, partition] < position:
            raise DataGone(f"{name} ends at {end[topic, partition]}, before {position}, which the ledger has read")
        lost += max(0, first - position)
    return lost


def check_consent(progress: Progress, ends: Mapping[tuple[str, int], int]) -> None:
    """DataGone where a consent topic ends before what the ledger has seen: events are missing."""
    for (topic, partition), end in ends.items():
        if end < progress.consent.get(partition_key(topic, partition), 0):
            raise DataGone(
                f"{topic} has lost consent events: restore the topic from the authority before anything runs"
            )


def check_kept(kept_ms: Mapping[str, int | None], held_us: Held) -> None:
    """KeptTooShort where Kafka deletes what may still be held; milliseconds by topic, None for ever."""
    for topic, kept in sorted(kept_ms.items()):
        least = least_kept_ms(contract_of(topic), held_us)
        if kept is not None and kept < least:
            raise KeptTooShort(
                f"{topic} keeps its records for {kept / _HOUR_MS:.0f} h, but has to for {least / _HOUR_MS:.0f} h: a day more "
                "than they may be held (limits.hold_hours, limits.kit_hold_days), since they are read again then; raise "
                "the topic's retention.ms, or let them be held for less"
            )


def check_vault(progress: Progress, vault_id: str, ring: KeyRing) -> None:
    """DataGone where the vault is another one, or holds another key for a study."""
    if progress.vault and progress.vault != vault_id:
        raise DataGone("this is another vault than the one that the ledger was written with: check the setting vault")
    for study, fingerprint in progress.keys.items():
        try:
            found = ring.key(study).fingerprint()
        except KeyMissing as error:
            raise DataGone(str(error)) from None
        if found != fingerprint:
            raise DataGone(
                f"study {study} has another key than before: its pseudonyms would change; restore the vault's keys"
            )


def vault_id(vault: Vault) -> str:
    """The vault's own random name, made when it is first asked for."""
    if vault.secret(VAULT_ID) is None:
        vault.create(VAULT_ID, token_hex(8).encode())
    return (vault.secret(VAULT_ID) or b"").decode("ascii").strip()


def json_of(progress: Progress) -> dict[str, Any]:
    """As an entry carries it."""
    return progress.model_dump(mode="json")
