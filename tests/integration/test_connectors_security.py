"""Who may not in, and is told why: TLS, logins and permissions against a real Apache Kafka."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from connectors.kafka import KafkaRefused, KafkaSettings, KafkaUnreachable, admin, consumer, producer
from connectors.publisher import Publisher, Receipt
from connectors.ranges import DataMissing, OffsetRange, read_range
from connectors.topics import TopicSpec, create_topics
from infra.broker_process import free_port
from infra.local_kafka import LocalKafka
from tests.certificates import Authority

PASSWORD = "correct-horse-battery"
WRONG = "wrong-horse-battery"
JAAS = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Secure(NamedTuple):
    """One broker and its ways in; `user` logs in as the partner acme over TLS."""

    open: KafkaSettings
    tls: KafkaSettings
    certified: KafkaSettings
    user: KafkaSettings
    other_ca: Path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    authority, other = Authority(folder, "ours"), Authority(folder, "other")
    ports: dict[str, int] = {}
    for name in ("PLAINTEXT", "CONTROLLER", "TLS", "MTLS", "SCRAM"):
        ports[name] = free_port(*ports.values())
    kafka = LocalKafka(folder / "kafka", broker_settings(ports, authority.issue("broker"), authority.certificate))
    authority.issue("acme")

    def way(listener: str, **more: object) -> KafkaSettings:
        return KafkaSettings.model_validate({"bootstrap": f"127.0.0.1:{ports[listener]}", **more})

    tls = {"security": "SSL", "ca_file": authority.certificate}
    secured = Secure(
        way("PLAINTEXT"),
        way("TLS", **tls),
        way("MTLS", **tls, cert_file=folder / "acme.crt", key_file=folder / "acme.key"),
        way("SCRAM", **{**tls, "security": "SASL_SSL"}, username="acme", password=PASSWORD),
        other.certificate,
    )
    try:
        kafka.up(ports["PLAINTEXT"])
        let_in(secured.open)
        yield secured
    finally:
        kafka.down()


def broker_settings(ports: dict[str, int], broker_pem: Path, ca: Path) -> dict[str, str]:
    listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
    return {
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{ports['CONTROLLER']}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MTLS:SSL,SCRAM:SASL_SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(broker_pem),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca),
        "listener.name.mtls.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": JAAS,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "false",
    }


def let_in(superuser: KafkaSettings) -> None:
    """The partner acme exists, and may write to the topics that begin with its name."""
    create_topics(superuser, [TopicSpec("acme.sensor-reading.v1", 1), TopicSpec("other.sensor-reading.v1", 1)])
    own = ResourcePattern(ResourceType.TOPIC, "acme.", ACLResourcePatternType.PREFIXED)
    acl = ACL("User:acme", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, own)
    with closing(admin(superuser)) as client:
        assert not client.create_acls([acl])["failed"]
        client.alter_user_scram_credentials(
            [UserScramCredentialUpsertion("acme", ScramMechanism.SCRAM_SHA_512, PASSWORD)]
        )


def changed(settings: KafkaSettings, **changes: object) -> KafkaSettings:
    return settings.model_copy(update=changes)


def tells(words: str, settings: KafkaSettings, make: Callable[[KafkaSettings], object] = consumer) -> bool:
    """Whether a connection fails with these words, in bounded time; a machine that is busy is given more of it."""
    for patience in (1.5, 5.0, 20.0):
        began = time.monotonic()
        with pytest.raises(KafkaUnreachable) as raised:
            make(changed(settings, connect_timeout_s=patience))
        assert time.monotonic() - began < patience + 5
        assert WRONG not in str(raised.value)
        if words in str(raised.value):
            return True
    return False


def test_every_way_in_is_open_to_who_has_the_key(secure: Secure) -> None:
    for settings in (secure.open, secure.certified, secure.user):
        for make in (consumer, producer, admin):
            make(settings).close()
    consumer(secure.tls).close()


Wrong = Callable[[Secure], KafkaSettings]
WRONGS: dict[str, tuple[Wrong, str]] = {
    "wrong password": (lambda s: changed(s.user, password=SecretStr(WRONG)), "wrong user name or password"),
    "unknown user": (lambda s: changed(s.user, username="nobody"), "wrong user name or password"),
    "mechanism": (lambda s: changed(s.user, mechanism="PLAIN"), "does not offer this mechanism"),
    "wrong CA": (lambda s: changed(s.tls, ca_file=s.other_ca), "not signed by this CA"),
    "no CA": (lambda s: changed(s.tls, ca_file=None), "not signed by this CA"),
    "no certificate": (lambda s: changed(s.certified, cert_file=None, key_file=None), "asks for a client certificate"),
    "another host": (
        lambda s: changed(s.tls, bootstrap=s.tls.bootstrap.replace("127.0.0.1", "localhost")),
        "another host name",
    ),
    "TLS to none": (lambda s: changed(s.tls, bootstrap=s.open.bootstrap), "TLS is not expected"),
    "none to TLS": (lambda s: changed(s.open, bootstrap=s.tls.bootstrap), "TLS is expected"),
    "no login": (lambda s: changed(s.tls, bootstrap=s.user.bootstrap), "a login is expected"),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_who_may_not_in_is_told_why(secure: Secure, wrong: str) -> None:
    settings, words = WRONGS[wrong][0](secure), WRONGS[wrong][1]
    assert tells(words, settings)


@pytest.mark.parametrize("make", [consumer, producer, admin])
def test_every_client_tells_a_wrong_password(secure: Secure, make: Callable[[KafkaSettings], object]) -> None:
    assert tells("wrong user name or password", changed(secure.user, password=SecretStr(WRONG)), make)


def test_a_partner_writes_to_its_own_topics_alone_and_reads_none(secure: Secure) -> None:
    with Publisher(secure.user, "acme.sensor-reading.v1") as publisher:
        publisher.send(b"k", b"v")
    assert publisher.receipt == Receipt(acknowledged=1)
    with pytest.raises(KafkaRefused):
        Publisher(secure.user, "other.sensor-reading.v1")
    with pytest.raises(KafkaRefused, match="may not"):
        list(read_range(secure.user, OffsetRange("acme.sensor-reading.v1", 0, 0, 1)))
    with pytest.raises(DataMissing, match="or this user may not read it"):
        list(read_range(secure.user, OffsetRange("other.sensor-reading.v1", 0, 0, 1)))
    with pytest.raises(KafkaRefused, match="may not"):
        create_topics(secure.user, [TopicSpec("other.new.v1", 1)])
