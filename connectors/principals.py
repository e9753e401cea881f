"""Who may do what in Kafka: every principal of an installation, with the least that it needs.

One table, `wanted_rights`: `wellspring kafka grant` applies it, the operators' page shows it (`principals_page`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from schemas.registry import ALMIGHTY, OURS, Partner, RegistryError

DRIVER = f"{OURS}driver"
CONNECTOR = f"{OURS}connector"
MIRROR = f"{OURS}mirror"
OPERATOR = f"{OURS}operator"
SYSTEM = (DRIVER, CONNECTOR, MIRROR, OPERATOR)

TOPIC, CLUSTER = "TOPIC", "CLUSTER"
LITERAL, PREFIXED = "LITERAL", "PREFIXED"
THE_CLUSTER, ANY = "kafka-cluster", "*"


@dataclass(frozen=True, order=True)
class Right:
    """One entry of Kafka's access list, in Kafka's own words, from any host."""

    principal: str
    operation: str
    resource: str
    pattern: str
    name: str
    host: str = ANY

    @property
    def words(self) -> str:
        """`WRITE on topics acme.*`"""
        if self.resource != TOPIC:
            what = "the cluster" if self.resource == CLUSTER else f"{self.resource} {self.name}"
        elif self.name == ANY:
            what = "every topic"
        else:
            what = f"topics {self.name}*" if self.pattern == PREFIXED else f"topic {self.name}"
        return f"{self.operation} on {what}" + ("" if self.host == ANY else f" from {self.host}")

    def covers(self, topic: str) -> bool:
        """Whether it is about this topic too."""
        if self.resource != TOPIC:
            return False
        return topic.startswith(self.name) if self.pattern == PREFIXED else self.name in (ANY, topic)


def system(ours: str) -> tuple[str, ...]:
    """The system's own principals, where their names begin so."""
    return tuple(_named(name, ours) for name in SYSTEM)


def _named(name: str, ours: str) -> str:
    return ours + name.removeprefix(OURS)


def wanted_rights(partners: Iterable[Partner], authority: str, ours: str = OURS) -> list[Right]:
    """What the system's principals, the consent authority and each partner may do, each right once, in that order.

    RegistryError where the authority or a partner bears another principal's name.
    """
    registered = list(partners)
    check_authority(registered, authority, ours)
    mine = [replace(right, principal=_named(right.principal, ours)) for right in _system(registered, authority)]
    rights = [*mine, *_authority(authority)]
    return [*rights, *(right for partner in registered for right in partner_rights(partner))]


def check_authority(partners: Iterable[Partner], authority: str, ours: str = OURS) -> None:
    """RegistryError where two principals would bear one name: who may write as the one could speak as the other."""
    if authority.startswith((OURS, ours)) or authority in ALMIGHTY:
        raise RegistryError("authority: expected another name: it is that of a principal with other rights")
    for partner in partners:
        if partner.name == authority:
            raise RegistryError(f"partner {authority}: expected another name than the consent authority's")
        if partner.name.startswith(ours):
            raise RegistryError(
                f"partner {partner.name}: expected another name: the system's own begin so (principals)"
            )


def principals(partners: Iterable[Partner], authority: str, ours: str = OURS) -> list[str]:
    """Everybody who has a place in the table, those without a right too."""
    return [*system(ours), authority, *(partner.name for partner in partners)]


def partner_rights(partner: Partner) -> Iterator[Right]:
    """Writes what begins with its name, reads what was rejected. What only our mirror may write, it may not."""
    if partner.received == "broker":
        yield Right(partner.name, "WRITE", TOPIC, PREFIXED, f"{partner.name}.")
    yield Right(partner.name, "READ", TOPIC, LITERAL, partner.topic("rejected"))


def _system(partners: list[Partner], authority: str) -> Iterator[Right]:
    for partner in partners:
        for contract in partner.contracts:
            for operation in ("READ", "DESCRIBE_CONFIGS"):
                yield Right(DRIVER, operation, TOPIC, LITERAL, partner.topic(contract))
        yield Right(DRIVER, "WRITE", TOPIC, LITERAL, partner.topic("rejected"))
    for topic in _of_authority(authority):
        yield Right(DRIVER, "READ", TOPIC, LITERAL, topic)
    for partner in partners:
        publisher = CONNECTOR if partner.received == "broker" else MIRROR
        for contract in partner.contracts:
            for operation in ("WRITE", "DESCRIBE_CONFIGS"):
                yield Right(publisher, operation, TOPIC, LITERAL, partner.topic(contract))
    for operation in ("ALTER", "ALTER_CONFIGS", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"):
        yield Right(OPERATOR, operation, CLUSTER, LITERAL, THE_CLUSTER)
    for operation in ("DESCRIBE", "DESCRIBE_CONFIGS"):
        yield Right(OPERATOR, operation, TOPIC, LITERAL, ANY)
    for partner in partners:
        yield Right(OPERATOR, "DELETE", TOPIC, PREFIXED, f"{partner.name}.")


def _authority(authority: str) -> Iterator[Right]:
    for topic in _of_authority(authority):
        yield Right(authority, "WRITE", TOPIC, LITERAL, topic)


def _of_authority(authority: str) -> tuple[str, str]:
    return f"{authority}.consent-event.v1", f"{authority}.identity-link.v1"
