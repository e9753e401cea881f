"""Partners who come: registry, topics, rights, quota, and how they come in.

Everything can be done again: what is there stays, so whoever is stopped in between begins anew.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from connectors.granting import RightResult, everything_of, grant
from connectors.kafka import KafkaSettings
from connectors.permits import Territory
from connectors.principals import Right, check_authority, system, wanted_rights
from connectors.quotas import Quota, quota_of, set_quota
from connectors.topics import (
    BROKER_DEFAULT,
    TopicOutcome,
    TopicSpec,
    create_topics,
    list_topics,
    wanted_topics,
)
from connectors.users import user_exists
from infra.local_kafka import LocalKafka
from infra.secured import certificate_port
from pipelines.credentials import (
    Given,
    Made,
    ask_for_certificate,
    make_certificate,
    make_login,
    sign_request,
)
from pipelines.settings import Settings
from schemas.contracts import contracts
from schemas.registry import Partner, checked_partner, load_partners, save_partners

Way = Literal["scram", "certificate", "none"]
_OURS_TO_WRITE = {"rejected", "consent-event", "identity-link"}
REGISTRY = "partners.yaml"
_OF_TOPICS = {
    TopicOutcome.CREATED: Made.MADE,
    TopicOutcome.DIFFERS: Made.DIFFERS,
    TopicOutcome.UNREADABLE: Made.UNREADABLE,
}


class PartnerRefused(Exception):
    """What is not done for or to a partner; the text says why and what to do."""


@dataclass(frozen=True)
class Step:
    """One thing that belongs to a partner, and what became of it."""

    what: str
    result: str
    differences: str = ""


@dataclass(frozen=True)
class Coming:
    """What was asked for: the partner's fields that were given, and how it comes in.

    `folder` is where its files go; `bootstrap` where it reaches the brokers, where that differs from us; `request` the
    certificate request of a partner who keeps its key to itself.
    """

    fields: Mapping[str, Any]
    way: Way
    folder: Path
    replication: int | None = None
    bootstrap: str | None = None
    request: Path | None = None
    new_password: bool = False


def contracts_to_send() -> list[str]:
    """The contracts that a partner may publish."""
    return sorted({contract.name for contract in contracts().values()} - _OURS_TO_WRITE)


# -- adding


def add(settings: Settings, coming: Coming, now: datetime, *, dry_run: bool) -> Iterator[Step]:
    """Make what is missing of a partner, or say what would be made.

    PartnerRefused, RegistryError, CertificateRefused, KafkaRefused, KafkaUnreachable; what was made before stays.
    """
    registered = load_partners(settings.partners) if settings.partners.exists() else {}
    before = registered.get(str(coming.fields["name"]))
    partner = _entry(before, coming.fields)
    everybody = {**registered, partner.name: partner}
    check_authority(everybody.values(), settings.authority, settings.principals)
    if before is None and coming.way != "none":
        _must_be_unknown(settings, partner)
    yield from _register(settings, before, partner, everybody, dry_run=dry_run)
    topics = list(_topics(settings, partner, coming.replication, dry_run=dry_run))
    yield from topics
    if coming.way != "none":
        wanted = wanted_rights(everybody.values(), settings.authority, settings.principals)
        mine = [right for right in wanted if _is_about(right, partner.name, system(settings.principals))]
        yield from map(step_of, grant(settings.kafka, mine, [partner.name], revoke=True, dry_run=dry_run))
        yield set_quota_of(settings.kafka, partner, dry_run=dry_run)
        yield _way_in(settings, partner, coming, now, dry_run=dry_run)
    for topic in topics:
        if topic.result == Made.UNREADABLE:
            raise PartnerRefused(f"{topic.what}: {topic.differences}: say this as somebody who has it")
        if topic.differences:
            raise PartnerRefused(f"{topic.what} differs: {topic.differences}: change the topic or the registry")


def _entry(before: Partner | None, fields: Mapping[str, Any]) -> Partner:
    """The entry with what was given in place of what was there. Nothing that partitions or topics depend on is undone."""
    wanted = checked_partner({**(before.model_dump() if before else {}), **fields})
    unknown = set(wanted.contracts) - set(contracts_to_send())
    if unknown:
        raise PartnerRefused(f"contracts: expected some of {', '.join(contracts_to_send())}")
    if before is not None and not set(before.contracts) <= set(wanted.contracts):
        raise PartnerRefused("contracts: one that the partner has is missing: edit the registry to take it away")
    if before is not None and before.partitions != wanted.partitions:
        raise PartnerRefused("partitions: another number would move people to other partitions: leave it as it is")
    return wanted


def _must_be_unknown(settings: Settings, partner: Partner) -> None:
    """A principal of this name that is not in the registry is somebody else's."""
    if user_exists(settings.kafka, partner.name) or everything_of(settings.kafka, partner.name):
        raise PartnerRefused(
            f"the cluster knows a user {partner.name} who is not in {settings.partners}: choose another name, or take "
            f"that one's rights and login away first, with `wellspring partners remove {partner.name}`"
        )


def _register(
    settings: Settings, before: Partner | None, partner: Partner, everybody: Mapping[str, Partner], *, dry_run: bool
) -> Iterator[Step]:
    what = f"entry in {settings.partners.name}"
    if before == partner:
        yield Step(what, Made.THERE)
        return
    kept = None if dry_run else save_partners(settings.partners, everybody.values())
    would, did = (Made.TO_MAKE, Made.MADE) if before is None else (Made.TO_CHANGE, Made.CHANGED)
    yield Step(what, would if dry_run else did)
    if kept is not None:
        yield Step(f"{kept.name}, the registry with its comments", Made.MADE)


def topics_of(settings: Settings, partner: Partner) -> list[TopicSpec]:
    """The topics of a partner."""
    specs = wanted_topics([partner], settings.authority, settings.held_us)
    return [spec for spec in specs if spec.name.startswith(f"{partner.name}.")]


def _topics(settings: Settings, partner: Partner, replication: int | None, *, dry_run: bool) -> Iterator[Step]:
    specs = topics_of(settings, partner)
    if dry_run:
        there = {spec.name for spec in list_topics(settings.kafka, [spec.name for spec in specs])}
        for spec in specs:
            yield Step(f"topic {spec.name}", Made.THERE if spec.name in there else Made.TO_MAKE)
        return
    for result in create_topics(settings.kafka, specs, replication=replication or BROKER_DEFAULT):
        made = _OF_TOPICS.get(result.outcome, Made.THERE)
        yield Step(f"topic {result.name}", made, "; ".join(result.differences))


def _is_about(right: Right, name: str, ours: tuple[str, ...]) -> bool:
    return right.principal == name or (right.principal in ours and right.name.startswith(f"{name}."))


def step_of(result: RightResult) -> Step:
    """A right, and what became of it."""
    return Step(f"right of {result.right.principal}: {result.right.words}", result.outcome)


def registered_quota(partner: Partner) -> Quota:
    """The quota that the registry gives the partner."""
    return Quota(partner.quota_mb_s, partner.quota_percent)


def set_quota_of(kafka: KafkaSettings, partner: Partner, *, dry_run: bool) -> Step:
    """Make the partner's quota what the registry says."""
    wanted = registered_quota(partner)
    same = quota_of(kafka, partner.name) == wanted
    if not same and not dry_run:
        set_quota(kafka, partner.name, wanted)
    return Step(f"quota: {wanted.words}", Made.THERE if same else Made.TO_CHANGE if dry_run else Made.CHANGED)


def _way_in(settings: Settings, partner: Partner, coming: Coming, now: datetime, *, dry_run: bool) -> Step:
    """The login or certificate, and the folder that the partner is given: small, and whole."""
    given = Given(coming.folder / partner.name, {"authority": settings.authority})
    if coming.way == "scram":
        bootstrap = coming.bootstrap or settings.kafka.bootstrap
        renew = coming.new_password
        made = make_login(settings.kafka, bootstrap, partner.name, given, renew=renew, dry_run=dry_run)
    else:
        made = _certificate(settings, partner, coming, given, now, dry_run=dry_run)
    if not dry_run and given.folder.is_dir():
        row = partner.model_dump(mode="json", exclude_defaults=True) | {"name": partner.name}
        (given.folder / REGISTRY).write_text(yaml.safe_dump({"partners": [row]}), encoding="utf-8")
        (given.folder / REGISTRY).chmod(0o600)
    return Step(f"{'login' if coming.way == 'scram' else 'certificate'}, in {given.folder}", made)


def _certificate(
    settings: Settings, partner: Partner, coming: Coming, given: Given, now: datetime, *, dry_run: bool
) -> Made:
    local = LocalKafka(settings.broker_folder)
    port = settings.kafka.addresses[0][1]
    if not local.folder.secured.is_there or local.status().bootstrap != f"127.0.0.1:{port}":
        return ask_for_certificate(partner.name, given, dry_run=dry_run)
    authority = local.folder.secured.authority(now)
    if coming.request is not None:
        return Made.TO_MAKE if dry_run else sign_request(authority, partner.name, coming.request, given, now)
    bootstrap = coming.bootstrap or f"127.0.0.1:{certificate_port(port)}"
    return make_certificate(authority, bootstrap, partner.name, given, now, dry_run=dry_run)


# -- checking


def territory(settings: Settings, name: str) -> Territory:
    """What a partner may do, and all that it may not, as far as the registry at hand knows the others."""
    registered = load_partners(settings.partners)
    partner = registered.get(name)
    if partner is None:
        raise PartnerRefused(f"no partner of that name is registered in {settings.partners}")
    others = [spec.name for other in registered.values() if other.name != name for spec in topics_of(settings, other)]
    writes = [partner.topic(contract) for contract in partner.contracts] if partner.received == "broker" else []
    nobodys = Partner.model_construct(name=f"not-{name}"[:40]).topic("sensor-reading")
    return Territory(
        name, writes, [partner.topic("rejected")], [*others, nobodys, settings.consent_topic, settings.link_topic]
    )
