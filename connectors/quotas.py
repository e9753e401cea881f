"""How much of the cluster a user may take: Kafka's own quotas, which slow a client down and refuse nothing.

kafka-python has the requests, and no method for them.
"""

from dataclasses import dataclass

from connectors.causes import in_words
from connectors.kafka import KafkaRefused, KafkaSettings, administering, asked
from connectors.kafka_python import (
    AlterClientQuotasRequest,
    DescribeClientQuotasRequest,
    KafkaAdminClient,
    error_of_code,
)

BYTES, PERCENT = "producer_byte_rate", "request_percentage"
_MEGABYTE = 1_000_000
_EXACTLY = 0  # of this name; the request's other ways to match are the default entity and any


@dataclass(frozen=True)
class Quota:
    """What a user may take of each broker; None where there is no limit.

    `mb_s`: megabytes (10^6 bytes) published a second. `percent`: of the time of one of the broker's threads.
    """

    mb_s: float | None = None
    percent: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """In Kafka's names and units."""
        limits = {BYTES: None if self.mb_s is None else self.mb_s * _MEGABYTE, PERCENT: self.percent}
        return {key: float(value) for key, value in limits.items() if value is not None}

    @property
    def words(self) -> str:
        """`2 MB/s, 50 % of a thread`"""
        said = [] if self.mb_s is None else [f"{self.mb_s:g} MB/s"]
        return ", ".join([*said, *([] if self.percent is None else [f"{self.percent:g} % of a thread"])]) or "none"


def quota_of(settings: KafkaSettings, user: str) -> Quota:
    """The quota that the cluster has for this user. KafkaUnreachable, KafkaRefused."""
    with administering(settings, "quotas") as client:
        values = _described(client, user)
    rate = values.get(BYTES)
    return Quota(None if rate is None else rate / _MEGABYTE, values.get(PERCENT))


def set_quota(settings: KafkaSettings, user: str, quota: Quota) -> None:
    """Give the user this quota, and no other of the two limits. KafkaUnreachable, KafkaRefused."""
    request_of = AlterClientQuotasRequest.EntryData
    with administering(settings, "quotas") as client:
        there = _described(client, user)
        ops = [request_of.OpData(key=key, value=value, remove=False) for key, value in quota.values.items()]
        ops += [
            request_of.OpData(key=key, value=0.0, remove=True)
            for key in (BYTES, PERCENT)
            if key in there.keys() - quota.values
        ]
        entry = request_of(entity=[request_of.EntityData(entity_type="user", entity_name=user)], ops=ops)
        told = asked(client, AlterClientQuotasRequest(entries=[entry], validate_only=False)) if ops else None
    for answer in told.entries if told else ():
        _must_be_done(answer.error_code, user)


def _described(client: KafkaAdminClient, user: str) -> dict[str, float]:
    component = DescribeClientQuotasRequest.ComponentData(entity_type="user", match_type=_EXACTLY, match=user)
    told = asked(client, DescribeClientQuotasRequest(components=[component], strict=True))
    _must_be_done(told.error_code, user)
    return {value.key: float(value.value) for entry in told.entries or () for value in entry.values}


def _must_be_done(code: int, user: str) -> None:
    if code:
        raise KafkaRefused(f"the quota of user {user}: {in_words(error_of_code(code)())}")
