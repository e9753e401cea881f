"""What a user may do in Kafka, found out from outside by trying, so that nothing is left behind or read where it may.

- Publishing is tried with a request that holds no record: Kafka asks for the right first, and then refuses the request.
- Reading is tried at an offset that no topic reaches.
- Making a topic is tried with `validate_only`. Whether a topic of its own can be changed or deleted, the cluster is asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from secrets import token_hex

from connectors.causes import in_words
from connectors.kafka import KafkaSettings, administering, asked
from connectors.kafka_python import (
    ClusterAuthorizationFailedError,
    FetchRequest,
    FindCoordinatorRequest,
    GroupAuthorizationFailedError,
    InitProducerIdRequest,
    KafkaAdminClient,
    KafkaError,
    ProduceRequest,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    error_of_code,
)

_BY_NAME = 12  # the last version of Produce and Fetch in which a topic is named: a user does not learn the others' ids
_NOWHERE = 1 << 62
_OF_A_GROUP, _OF_A_TRANSACTION = 0, 1
_REFUSALS = {
    kind.errno
    for kind in (
        TopicAuthorizationFailedError,
        ClusterAuthorizationFailedError,
        GroupAuthorizationFailedError,
        TransactionalIdAuthorizationFailedError,
    )
}


@dataclass(frozen=True)
class Finding:
    """Something that was tried: whether it was to be allowed, whether it was, and what the cluster said if not."""

    what: str
    wanted: bool
    allowed: bool
    said: str = ""

    @property
    def right(self) -> bool:
        return self.wanted is self.allowed


@dataclass(frozen=True)
class Territory:
    """Whose rights are tried, and on what: topics that are the user's to write, to read, and others'."""

    name: str
    writes: Sequence[str]
    reads: Sequence[str]
    others: Sequence[str]


def try_out(settings: KafkaSettings, land: Territory) -> list[Finding]:
    """Everything that a partner may do and what it may not, tried with its own settings.

    KafkaUnreachable where it does not even come in; KafkaRefused where the cluster does not answer as one does.
    """
    with administering(settings, "rights") as client:
        return [*_own(client, land), *_foreign(client, land), *_beyond(client, land)]


def _own(client: KafkaAdminClient, land: Territory) -> list[Finding]:
    published = _publishing(client, land.writes)
    read = _reading(client, [*land.reads, *land.writes])
    return [
        *([_finding("get a producer's number", True, _producer(client))] if land.writes else []),
        *(_finding(f"publish to {topic}", True, published[topic]) for topic in land.writes),
        *(_finding(f"read {topic}", True, read[topic]) for topic in land.reads),
        *(_finding(f"read {topic}", False, read[topic]) for topic in land.writes),
        _changing(client, [*land.reads, *land.writes]),
    ]


def _foreign(client: KafkaAdminClient, land: Territory) -> list[Finding]:
    published, read = _publishing(client, land.others), _reading(client, land.others)
    findings = []
    for topic in land.others:
        findings.append(_finding(f"publish to {topic}", False, published[topic]))
        findings.append(_finding(f"read {topic}", False, read[topic]))
    return findings


def _beyond(client: KafkaAdminClient, land: Territory) -> list[Finding]:
    new = f"{land.name}.try-{token_hex(8)}.v1"
    visible = [name for name in client.list_topics() if name not in {*land.writes, *land.reads}]
    listed = [f"topics that are not its own: {len(visible)}"] if visible else []
    cluster = client.describe_cluster().get("authorized_operations") or []
    return [
        _finding(f"make the topic {new}", False, _making(client, new)),
        *(
            _finding(f"use the group {group}", False, _coordinator(client, group, _OF_A_GROUP))
            for group in (land.name, new)
        ),
        _finding("publish in a transaction", False, _coordinator(client, land.name, _OF_A_TRANSACTION)),
        Finding("do anything with the cluster", False, bool(cluster), ", ".join(sorted(cluster)) or _refused()),
        Finding("see topics that are not its own", False, bool(listed), "; ".join(listed) or "none is shown"),
    ]


def _refused() -> str:
    return in_words(ClusterAuthorizationFailedError())


def _finding(what: str, wanted: bool, code: int) -> Finding:
    if code in _REFUSALS:
        return Finding(what, wanted, False, in_words(error_of_code(code)()))
    if wanted and code == UnknownTopicOrPartitionError.errno:
        return Finding(what, wanted, False, in_words(UnknownTopicOrPartitionError()))
    return Finding(what, wanted, True)


def _publishing(client: KafkaAdminClient, topics: Iterable[str]) -> dict[str, int]:
    """The cluster's answer for each topic, to a request without a record."""
    data = ProduceRequest.TopicProduceData
    empty = [data.PartitionProduceData(index=0, records=b"")]
    wanted = [data(name=topic, partition_data=empty) for topic in topics]
    request = ProduceRequest(acks=-1, timeout_ms=10_000, topic_data=wanted, max_version=_BY_NAME)
    told = asked(client, request) if wanted else None
    return {one.name: one.partition_responses[0].error_code for one in told.responses} if told else {}


def _reading(client: KafkaAdminClient, topics: Iterable[str]) -> dict[str, int]:
    """The cluster's answer for each topic, to a request for an offset that it does not have."""
    part = FetchRequest.FetchTopic.FetchPartition(partition=0, fetch_offset=_NOWHERE, partition_max_bytes=1)
    wanted = [FetchRequest.FetchTopic(topic=topic, partitions=[part]) for topic in topics]
    request = FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=1, topics=wanted, max_version=_BY_NAME)
    told = asked(client, request) if wanted else None
    return {one.topic: one.partitions[0].error_code for one in told.responses} if told else {}


def _producer(client: KafkaAdminClient) -> int:
    request = InitProducerIdRequest(
        transactional_id=None, transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
    )
    return int(asked(client, request).error_code)


def _making(client: KafkaAdminClient, topic: str) -> int:
    options = {topic: {"num_partitions": 1, "replication_factor": 1}}
    return int(client.create_topics(options, validate_only=True, raise_errors=False)["topics"][0]["error_code"])


def _changing(client: KafkaAdminClient, topics: list[str]) -> Finding:
    """What the cluster says that this user may do with its topics, beyond publishing and reading."""
    told = [one.get("authorized_operations") or [] for one in client.describe_topics(topics)]
    more = {operation for operations in told for operation in operations} - {"DESCRIBE", "READ", "WRITE"}
    return Finding("change or delete its own topics", False, bool(more), ", ".join(sorted(more)) or "it may not")


def _coordinator(client: KafkaAdminClient, name: str, kind: int) -> int:
    """Whoever may use a group or transactions is told who looks after them."""
    request = FindCoordinatorRequest(key=name, key_type=kind, coordinator_keys=[name])
    try:
        told = asked(client, request)
    except KafkaError as error:
        return int(error.errno)
    return int(told.coordinators[0].error_code if told.coordinators else told.error_code)
