"""Users who log in to Kafka by name and password (SCRAM-SHA-512).

kafka-python does not raise where the cluster refuses to change one; it returns a text for each user.

A user is shut out by a password that nobody has, not deleted. A broker of Apache Kafka 4.4 that reads its metadata from
the beginning, as one does that is restarted before it has taken a snapshot, may forget every user once one of them has
been deleted, its administrator too. Who is shut out is known by the number of iterations, which is nobody else's.
"""

import secrets
import time

from pydantic import SecretStr

from connectors.kafka import KafkaRefused, KafkaSettings, administering
from connectors.kafka_python import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion

_MECHANISM = ScramMechanism.SCRAM_SHA_512
_ITERATIONS, _OF_WHO_IS_SHUT_OUT = 4096, 4099
_SEEN_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.05


def new_password() -> SecretStr:
    """256 random bits, in letters, digits, `-` and `_`."""
    return SecretStr(secrets.token_urlsafe(32))


def user_exists(settings: KafkaSettings, name: str) -> bool:
    """Whether somebody can log in under this name. KafkaUnreachable, KafkaRefused."""
    with administering(settings, "users") as client:
        return _exists(client, name)


def set_password(settings: KafkaSettings, name: str, password: SecretStr) -> None:
    """Make the user, or give it another password; done when it can log in. KafkaUnreachable, KafkaRefused."""
    with administering(settings, "users") as client:
        _set(client, name, password, _ITERATIONS)


def shut_out(settings: KafkaSettings, name: str) -> bool:
    """Nobody logs in under this name any more; False where nobody could. KafkaUnreachable, KafkaRefused.

    Who is logged in stays it until the connection ends: take the rights away first.
    """
    with administering(settings, "users") as client:
        exists = _exists(client, name)
        if exists:
            _set(client, name, new_password(), _OF_WHO_IS_SHUT_OUT)
    return exists


def _set(client: KafkaAdminClient, name: str, password: SecretStr, iterations: int) -> None:
    """The cluster's own text is not passed on: it shows connections and buffers."""
    change = UserScramCredentialUpsertion(name, _MECHANISM, password.get_secret_value(), iterations)
    if client.alter_user_scram_credentials([change]).get(name, "no answer") is not None:
        raise KafkaRefused(
            f"user {name} was not changed: this user may not do that on the cluster, or it keeps no such users"
        )
    deadline = time.monotonic() + _SEEN_WITHIN_S
    while _iterations(client, name) != iterations:
        if time.monotonic() > deadline:
            raise KafkaRefused(f"user {name}: the cluster has accepted the change, and does not show it: ask again")
        time.sleep(_LOOK_EVERY_S)


def _exists(client: KafkaAdminClient, name: str) -> bool:
    return _iterations(client, name) not in (None, _OF_WHO_IS_SHUT_OUT)


def _iterations(client: KafkaAdminClient, name: str) -> int | None:
    told = client.describe_user_scram_credentials([name]).get(name)
    infos = told["credential_infos"] if told else []
    return next((int(info["iterations"]) for info in infos if info["mechanism"] == _MECHANISM), None)
