"""How far the lake has come, as the last ledger entry says, and whether Kafka and the vault still fit it."""

from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.entries import Entry
from pipelines.keys import KeyMissing, KeyRing
from pipelines.ledger import LakeError
from pipelines.plan import partition_key


class DataGone(LakeError):
    """Kafka or the vault does not hold what the ledger goes on from; `exit_code` is the command's."""

    exit_code = 4


class Progress(BaseModel):
    """Carried in every entry. Offsets are the next to read, by partition; consent positions likewise."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cluster: str = ""
    topics: dict[str, str] = {}
    offsets: dict[str, int] = {}
    consent: dict[str, int] = {}
    keys: dict[str, str] = {}
    vault: str = ""

    @classmethod
    def of(cls, head: Entry | None) -> "Progress":
        return cls.model_validate(head.progress if head else {})


def check_cluster(progress: Progress, cluster: str, topics: Mapping[str, str]) -> None:
    """DataGone where Kafka is another cluster, or a topic another topic of the same name."""
    if progress.cluster and progress.cluster != cluster:
        raise DataGone(
            "this is another Kafka cluster than the one that the ledger goes on from: check the setting kafka.bootstrap, "
            "or begin a new lake for the new cluster"
        )
    for topic, known in progress.topics.items():
        if topic not in topics:
            raise DataGone(f"the topic {topic} is gone: restore it, or begin a new lake")
        if topics[topic] != known:
            raise DataGone(f"the topic {topic} was deleted and made anew: what it held and was not read is lost")


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


def vault_id(vault: Path) -> str:
    """The vault's own random name, made when it is first asked for."""
    file = vault / "vault-id"
    vault.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        file.write_text(token_hex(8), encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def json_of(progress: Progress) -> dict[str, Any]:
    """As an entry carries it."""
    return progress.model_dump(mode="json")
