"""The topics of an installation: what they should be, from the partners' registry, and making them so."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from connectors.causes import in_words
from connectors.kafka import KafkaRefused, KafkaSettings, admin, administering
from connectors.kafka_python import (
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    KafkaError,
    TopicAlreadyExistsError,
    error_of_code,
)
from connectors.principals import check_authority
from schemas.registry import Partner

NOT_READABLE = "its settings could not be read: this needs the right DESCRIBE_CONFIGS on the topic"
BROKER_DEFAULT = -1  # as many copies as the cluster makes of a topic that does not say
_DAY_MS = 24 * 60 * 60 * 1000
_BROKER_STAMPS = {"message.timestamp.type": "LogAppendTime"}
_SENDER_STAMPS = {"message.timestamp.type": "CreateTime"}
_OF_KITS = ("lab-result", "kit-event")
_AUTHORITY_BYTES = 256 * 1024  # an event or link has a few hundred bytes
_TOMBSTONES_KEPT_MS = 30 * _DAY_MS  # a register that was down for less still sees every link's end
_SURVIVES_A_POWER_CUT = {"flush.messages": "1"}  # few records, and each one counts, on a single replica too


class Held(NamedTuple):
    """For how long what came in may wait, microseconds: for a person to become known, for a kit to be activated."""

    person: int
    kit: int


@dataclass(frozen=True)
class TopicSpec:
    """A topic: its name, number of partitions, and the settings that differ from the broker's defaults."""

    name: str
    partitions: int
    settings: dict[str, str] = field(default_factory=dict)


class TopicOutcome(StrEnum):
    """What `create_topics` found or did."""

    CREATED = "created"
    EXISTS = "exists"
    DIFFERS = "differs"
    UNREADABLE = "not comparable"


@dataclass(frozen=True)
class TopicResult:
    """`differences`: one line per setting of an existing topic that is not what is wanted; nothing was changed.

    Where this user may not read the settings, the one line says so.
    """

    name: str
    outcome: TopicOutcome
    differences: tuple[str, ...] = ()


def wanted_topics(partners: Iterable[Partner], authority: str, held_us: Held) -> list[TopicSpec]:
    """Per partner its contracts' topics and the one of its rejected records; then the consent authority's two.

    What may be held is kept for a day more than that, whatever its partner's entry says. RegistryError where a partner
    bears the authority's name.
    """
    registered = list(partners)
    check_authority(registered, authority)
    specs = [spec for partner in registered for spec in _of_partner(partner, held_us)]
    return [*specs, _consent_topic(authority), _link_topic(authority)]


def least_kept_ms(contract: str, held_us: Held) -> int:
    """For how many milliseconds a topic of this contract has to keep its records: a day more than they may be held."""
    longest_us = max(held_us) if contract in _OF_KITS else held_us.person
    return -(-longest_us // 1000) + _DAY_MS


def _of_partner(partner: Partner, held_us: Held) -> Iterator[TopicSpec]:
    """Rejections are kept as long as the records that they point to."""
    longest = partner.retention_days * _DAY_MS
    for contract in partner.contracts:
        kept_ms = max(partner.retention_days * _DAY_MS, least_kept_ms(contract, held_us))
        longest = max(longest, kept_ms)
        yield _data_topic(partner, contract, kept_ms)
    settings = {**_BROKER_STAMPS, "cleanup.policy": "delete", "retention.ms": str(longest)}
    yield TopicSpec(partner.topic("rejected"), 1, settings)


def _data_topic(partner: Partner, contract: str, kept_ms: int) -> TopicSpec:
    settings = {
        **(_BROKER_STAMPS if partner.received == "broker" else _SENDER_STAMPS),
        "cleanup.policy": "delete",
        "retention.ms": str(kept_ms),
        "max.message.bytes": str(partner.max_message_bytes),
    }
    return TopicSpec(partner.topic(contract), partner.partitions, settings)


def _consent_topic(authority: str) -> TopicSpec:
    """Kept for ever, never compacted: consent must be provable."""
    settings = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    return TopicSpec(f"{authority}.consent-event.v1", 1, _of_the_authority(settings))


def _link_topic(authority: str) -> TopicSpec:
    settings = {"cleanup.policy": "compact", "delete.retention.ms": str(_TOMBSTONES_KEPT_MS)}
    return TopicSpec(f"{authority}.identity-link.v1", 1, _of_the_authority(settings))


def _of_the_authority(settings: dict[str, str]) -> dict[str, str]:
    return {**_BROKER_STAMPS, **_SURVIVES_A_POWER_CUT, "max.message.bytes": str(_AUTHORITY_BYTES), **settings}


def create_topics(
    settings: KafkaSettings, specs: Iterable[TopicSpec], *, replication: int = BROKER_DEFAULT
) -> list[TopicResult]:
    """Create what is missing, compare what is there; a result per spec, in their order.

    `replication` is the number of copies of each partition that is created.

    KafkaUnreachable, or KafkaRefused where a topic may not or cannot be created (those before it then exist).
    """
    wanted = list(specs)
    with administering(settings, "topics") as client:
        there = _described(client, [spec.name for spec in wanted])
        return [
            _compared(spec, there[spec.name]) if spec.name in there else _created(client, spec, replication)
            for spec in wanted
        ]


def list_topics(settings: KafkaSettings, names: Iterable[str] | None = None) -> list[TopicSpec]:
    """Topics as they are, sorted by name: those of `names` that are there, or all of this user but Kafka's own."""
    with administering(settings, "topics") as client:
        chosen = client.list_topics() if names is None else list(names)
        found = _described(client, [name for name in chosen if not name.startswith("__")])
    return [found[name] for name in sorted(found)]


def delete_topics(settings: KafkaSettings, names: Iterable[str]) -> None:
    """Delete topics with all that is in them. KafkaUnreachable, KafkaRefused."""
    with administering(settings, "topics") as client:
        client.delete_topics(list(names))


def message_limit(settings: KafkaSettings, topic: str) -> int | None:
    """The largest batch that the topic takes, in bytes as sent; None where this user may not know it."""
    with admin(settings) as client:
        try:
            told = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        except KafkaError:
            return None
    value = told.get("topic", {}).get(topic, {}).get("max.message.bytes", {}).get("value")
    return None if value is None else int(value)


def _described(client: KafkaAdminClient, names: list[str]) -> dict[str, TopicSpec]:
    """What is there of `names`, with all its settings (defaults too: they may be what is wanted)."""
    if not names:
        return {}
    partitions = {told["name"]: len(told["partitions"]) for told in client.describe_topics(names) if _is_there(told)}
    if not partitions:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in partitions]
    told = client.describe_configs(resources, config_filter="all").get("topic", {})
    values = {name: {key: str(entry["value"]) for key, entry in told.get(name, {}).items()} for name in partitions}
    return {name: TopicSpec(name, count, values[name]) for name, count in partitions.items()}


def _is_there(told: dict[str, Any]) -> bool:
    return not told["error_code"]


def _compared(wanted: TopicSpec, found: TopicSpec) -> TopicResult:
    """A topic always has settings: who is shown none may not see them, and is not told that by kafka-python."""
    if not found.settings and found.partitions == wanted.partitions:
        return TopicResult(wanted.name, TopicOutcome.UNREADABLE, (NOT_READABLE,))
    differences = [
        f"{key} is {found.settings.get(key, 'not told')}, not {value}"
        for key, value in wanted.settings.items()
        if found.settings.get(key) != value
    ]
    if found.partitions != wanted.partitions:
        differences.insert(0, f"partitions is {found.partitions}, not {wanted.partitions}")
    outcome = TopicOutcome.DIFFERS if differences else TopicOutcome.EXISTS
    return TopicResult(wanted.name, outcome, tuple(differences))


def _created(client: KafkaAdminClient, spec: TopicSpec, replication: int) -> TopicResult:
    options = {"num_partitions": spec.partitions, "replication_factor": replication, "configs": spec.settings}
    told = client.create_topics({spec.name: options}, raise_errors=False)["topics"][0]
    if told["error_code"] == TopicAlreadyExistsError.errno:  # somebody was faster
        return _compared(spec, _described(client, [spec.name])[spec.name])
    if told["error_code"]:
        raise KafkaRefused(f"{spec.name}: {in_words(error_of_code(told['error_code'])(), told['error_message'])}")
    client.wait_for_topics([spec.name])
    return TopicResult(spec.name, TopicOutcome.CREATED)
