"""A plan: what one run reads and under which circumstances, fixed before it starts."""

import uuid
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from connectors.kafka import KafkaSettings
from pipelines.entries import Kind
from pipelines.files import DataFile
from quality.checks import Check
from quality.in_force import Approved, checks_of
from schemas.lab_mapping import LabMapping
from schemas.registry import Partner


class Selection(BaseModel):
    """Readings of one record that are to be judged, as (first, count) in its message."""

    model_config = ConfigDict(frozen=True)
    offset: int
    runs: tuple[tuple[int, int], ...]


class PlannedRange(BaseModel):
    """Records [start, end) of one partition; where `selected` is given, only these of them."""

    model_config = ConfigDict(frozen=True)
    topic: str
    partition: int
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]
    selected: tuple[Selection, ...] | None = None

    @property
    def key(self) -> str:
        return partition_key(self.topic, self.partition)

    @classmethod
    def of(cls, key: str, start: int, end: int) -> "PlannedRange":
        """All records [start, end) of the partition that the ledger names so."""
        topic, partition = partition_of(key)
        return cls(topic=topic, partition=partition, start=start, end=end)


class Replacement(BaseModel):
    """What a replay takes out of a table: files that go, and files with the rows of theirs that stay."""

    model_config = ConfigDict(frozen=True)
    remove: tuple[str, ...] = ()
    add: tuple[DataFile, ...] = ()


class Plan(BaseModel):
    """One run: entry `n` of the driver with `epoch` if it commits. Times are microseconds since the epoch, UTC.

    `vault_work` is a folder for copies of a vault in a bucket. `laboratories` are known by name, `transit_limits_us` by
    study; `medians` are those of all participants, by study and metric, in the metric's unit; `changes` are what studies
    have changed in the catalogue of checks. A run that would write more than `most_files`, or has read more than
    `most_bytes`, stops. One that `is_elsewhere` has its stages in other processes than
    the driver's. `poison` are records, offsets by partition, that are rejected without being read. All
    partitions are one worker's where it runs `in_one_piece`.
    """

    model_config = ConfigDict(frozen=True)
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    n: int
    epoch: int
    kind: Kind = Kind.INGEST
    planned_at_us: int
    hold_us: int
    kit_hold_us: int = 0
    ranges: tuple[PlannedRange, ...]
    snapshot: str
    lake: str
    vault: str
    vault_work: str = ""
    kafka: KafkaSettings
    partners: dict[str, Partner]
    laboratories: dict[str, LabMapping] = {}
    transit_limits_us: dict[str, int] = {}
    medians: dict[str, dict[str, float]] = {}
    changes: dict[str, tuple[Approved, ...]] = {}
    replaced: dict[str, Replacement] = {}
    most_files: int | None = None
    most_bytes: int | None = None
    is_elsewhere: bool = False
    poison: dict[str, tuple[int, ...]] = {}
    in_one_piece: bool = False

    @property
    def manifest_key(self) -> str:
        return f"_control/manifests/{self.n:012d}-{self.epoch}-{self.id}.json"

    @property
    def halt_key(self) -> str:
        """Word that the run is to stop."""
        return f"{self.manifest_key}.halt"

    @property
    def failure_key(self) -> str:
        """Word of an error in a stage."""
        return f"{self.manifest_key}.failure"

    @property
    def vault_key(self) -> str:
        """What the entry says of single people: pointers to rejected records, and holds. The driver writes it."""
        return f"runs/{self.n:012d}-{self.epoch}-{self.id}.json"

    def new_vault_key(self) -> str:
        """Where one attempt at the run leaves what it found out about single people, apart from every other attempt."""
        return f"runs/{self.n:012d}-{self.epoch}-{self.id}-{uuid.uuid4().hex}.json"

    def partner_of(self, topic: str) -> Partner:
        """The partner whose topic it is: the topic says who sent a message, the message cannot."""
        return self.partners[topic.split(".", 1)[0]]

    def poison_of(self, key: str) -> tuple[int, ...]:
        """Offsets in a partition that are not to be read."""
        return self.poison.get(key, ())

    def checks_of(self, study: str) -> dict[str, Check]:
        """The catalogue of checks that is in force in a study."""
        return checks_of(self.changes.get(study, ()), transit_limit_us=self.transit_limits_us.get(study))


def partition_key(topic: str, partition: int) -> str:
    """A partition as the ledger names it."""
    return f"{topic}/{partition}"


def partition_of(key: str) -> tuple[str, int]:
    """Topic and partition of what `partition_key` named."""
    topic, partition = key.rsplit("/", 1)
    return topic, int(partition)
