"""Making Kafka's access list what it should be: what is missing is granted, what is too much is named, or revoked.

kafka-python does not raise where the cluster refuses a change of it, so what the cluster says is read each time, and
the list is read again afterwards.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from connectors.causes import in_words
from connectors.kafka import KafkaRefused, KafkaSettings, administering
from connectors.kafka_python import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    KafkaError,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from connectors.principals import Right

EVERYBODY = "*"
_SEEN_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.05


class RightOutcome(StrEnum):
    """What became of a right, or would become of it."""

    THERE = "there"
    GRANTED = "granted"
    TO_GRANT = "would be granted"
    TOO_MUCH = "too much"
    REVOKED = "revoked"
    TO_REVOKE = "would be revoked"


@dataclass(frozen=True)
class RightResult:
    """A right, and what became of it."""

    right: Right
    outcome: RightOutcome


def grant(
    settings: KafkaSettings,
    wanted: Collection[Right],
    principals: Iterable[str],
    *,
    revoke: bool = False,
    dry_run: bool = False,
) -> list[RightResult]:
    """Give the principals the rights that are wanted, and take those away that are not where `revoke` is said.

    With EVERYBODY among the principals, what everybody may do with one of the topics that are named is too much as well.
    Refusals (DENY) are left as they are. KafkaUnreachable, KafkaRefused.
    """
    with administering(settings, "rights") as client:
        asked = set(principals)
        there = _rights(client, {*asked, *(right.principal for right in wanted)} - {EVERYBODY})
        if EVERYBODY in asked:
            there |= _everybodys(client, wanted)
        missing = [right for right in dict.fromkeys(wanted) if right not in there]
        surplus = sorted(right for right in there - set(wanted) if right.principal in asked)
        if not dry_run:
            _create(client, missing)
            if revoke:
                _delete(client, surplus)
    given = RightOutcome.TO_GRANT if dry_run else RightOutcome.GRANTED
    taken = (RightOutcome.TO_REVOKE if dry_run else RightOutcome.REVOKED) if revoke else RightOutcome.TOO_MUCH
    new = set(missing)
    found = [RightResult(right, given if right in new else RightOutcome.THERE) for right in dict.fromkeys(wanted)]
    return [*found, *(RightResult(right, taken) for right in surplus)]


def everything_of(settings: KafkaSettings, principal: str) -> list[Right]:
    """What a principal may do, as the cluster has it. KafkaUnreachable, KafkaRefused."""
    with administering(settings, "rights") as client:
        return sorted(_of(client, principal))


def _rights(client: KafkaAdminClient, principals: Iterable[str]) -> set[Right]:
    return {right for principal in principals for right in _of(client, principal)}


def _everybodys(client: KafkaAdminClient, wanted: Collection[Right]) -> set[Right]:
    ours = {right.name for right in wanted if right.pattern == "LITERAL" and right.resource == "TOPIC"} - {"*"}
    return {right for right in _of(client, EVERYBODY) if any(map(right.covers, ours))}


def _of(client: KafkaAdminClient, principal: str) -> list[Right]:
    anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    allowed = ACLFilter(f"User:{principal}", None, ACLOperation.ANY, ACLPermissionType.ALLOW, anything)
    found, _ = client.describe_acls(allowed)
    return [_right(principal, acl) for acl in found]


def _right(principal: str, acl: ACL) -> Right:
    pattern = acl.resource_pattern
    return Right(
        principal,
        acl.operation.name,
        pattern.resource_type.name,
        pattern.pattern_type.name,
        pattern.resource_name,
        acl.host,
    )


def _create(client: KafkaAdminClient, rights: list[Right]) -> None:
    if not rights:
        return
    failed: list[type[KafkaError]] = client.create_acls([_acl(right) for right in rights])["failed"]
    if failed:
        why = ", ".join(sorted({in_words(kind()) for kind in failed}))
        raise KafkaRefused(f"rights: {len(failed)} of {len(rights)} were not granted: {why}")
    _wait(client, rights, present=True)


def _acl(right: Right) -> ACL:
    kind, pattern = ResourceType[right.resource], ACLResourcePatternType[right.pattern]
    where = ResourcePattern(kind, right.name, pattern)
    return ACL(f"User:{right.principal}", right.host, ACLOperation[right.operation], ACLPermissionType.ALLOW, where)


def _delete(client: KafkaAdminClient, rights: list[Right]) -> None:
    if not rights:
        return
    told = client.delete_acls([_exactly(right) for right in rights])
    failed = [fault for _, _, fault in told if fault.errno]
    if failed:
        why = ", ".join(sorted({in_words(kind()) for kind in failed}))
        raise KafkaRefused(f"rights: {len(failed)} of {len(rights)} were not revoked: {why}")
    _wait(client, rights, present=False)


def _exactly(right: Right) -> ACLFilter:
    acl = _acl(right)
    pattern = acl.resource_pattern
    where = ResourcePatternFilter(pattern.resource_type, pattern.resource_name, pattern.pattern_type)
    return ACLFilter(acl.principal, acl.host, acl.operation, acl.permission_type, where)


def _wait(client: KafkaAdminClient, rights: list[Right], *, present: bool) -> None:
    """Until the brokers' list says so: what the controller has taken down reaches them a moment later."""
    deadline = time.monotonic() + _SEEN_WITHIN_S
    changed = set(rights)
    while time.monotonic() < deadline:
        there = _rights(client, {right.principal for right in rights})
        if changed <= there if present else not changed & there:
            return
        time.sleep(_LOOK_EVERY_S)
    raise KafkaRefused("rights: the cluster has accepted the change, and does not show it: ask again")
