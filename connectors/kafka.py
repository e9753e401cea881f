"""Kafka clients from one set of settings, and the true cause when they cannot connect."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import NameOID
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from connectors import bounded
from connectors.causes import PROBE_SHARE, cause, forget, in_words, recent, told
from connectors.kafka_mends import Loop, TlsContext, mend
from connectors.kafka_python import (
    KafkaAdminClient,
    KafkaConsumer,
    KafkaError,
    KafkaNetClient,
    KafkaProducer,
    RetriableError,
)

Client = TypeVar("Client")
Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
"""A path that is relative to the working folder at the time of validation, and stays what it was then."""


class KafkaSettings(BaseModel):
    """How to reach one cluster. Files are PEM; the password is shown nowhere, not even by `repr`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    bootstrap: str = "127.0.0.1:9092"
    security: Security = "PLAINTEXT"
    ca_file: AbsolutePath | None = None
    cert_file: AbsolutePath | None = None
    key_file: AbsolutePath | None = None
    username: str | None = None
    password: SecretStr | None = None
    mechanism: Mechanism = "SCRAM-SHA-512"
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60)

    @property
    def tls(self) -> bool:
        return self.security in ("SSL", "SASL_SSL")

    @property
    def login(self) -> bool:
        return self.security in ("SASL_PLAINTEXT", "SASL_SSL")

    @property
    def principal(self) -> str:
        """As whom the brokers know this client, as far as the settings say it: a login's user, else a certificate's CN."""
        if self.login:
            return f"user {self.username}"
        if self.cert_file is None:
            return "user ANONYMOUS"
        try:
            named = load_pem_x509_certificate(self.cert_file.read_bytes()).subject
            return f"user {named.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value!s}"
        except (OSError, ValueError, IndexError):
            return "the user of cert_file"

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each bootstrap server; the port is 9092 where none is given."""
        return [_address(part.strip()) for part in self.bootstrap.split(",") if part.strip()]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.addresses:
            raise ValueError("bootstrap names no server (host:port, host:port, …)")
        if self.login and (self.username is None or self.password is None):
            raise ValueError(f"{self.security} needs username and password")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, 9092
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("bootstrap holds a port that is not a number from 1 to 65535")
    return host.strip("[]"), int(port)


class KafkaUnreachable(Exception):
    """No client of the cluster could be made, or it stopped answering; the text says why and what to look at."""


class KafkaRefused(Exception):
    """The cluster answers, and refuses: the topic is not there, or this user may not do it."""


def producer(settings: KafkaSettings, **options: Any) -> KafkaProducer:
    """An idempotent producer that asks all replicas; KafkaUnreachable with the cause."""
    defaults = {
        "acks": "all",
        "enable_idempotence": True,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }
    return _connected(settings, KafkaProducer, {**defaults, **options})


def consumer(settings: KafkaSettings, **options: Any) -> KafkaConsumer:
    """A consumer without a group that reads committed records, unpacking within the ceilings of `bounded`."""
    bounded.install(bounded.BoundedRecordBatch.limits)
    defaults = {
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }
    return _connected(settings, KafkaConsumer, {**defaults, **options})


def admin(settings: KafkaSettings, **options: Any) -> KafkaAdminClient:
    """An administrator's client; KafkaUnreachable with the cause."""
    return _connected(settings, KafkaAdminClient, options)


@contextmanager
def administering(settings: KafkaSettings, what: str) -> Iterator[KafkaAdminClient]:
    """An administrator's client for one task. KafkaUnreachable; or KafkaRefused, which says what of."""
    with admin(settings) as client:
        try:
            yield client
        except RetriableError:
            raise KafkaUnreachable(cause(settings, recent())) from None
        except KafkaError as error:
            raise KafkaRefused(f"{what}: {in_words(error)}") from None


def asked(client: KafkaAdminClient, request: Any) -> Any:
    """The cluster's answer to a request of Kafka's protocol for which the client has no word of its own."""
    return client._manager.run(client._manager.send, request)


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """The settings in kafka-python's names."""
    options: dict[str, Any] = {
        "bootstrap_servers": [f"{host}:{port}" for host, port in settings.addresses],
        "security_protocol": settings.security,
        "client_id": "wellspring",
        "bootstrap_timeout_ms": int(settings.connect_timeout_s * 1000 * (1 - PROBE_SHARE)),
        "reconnect_backoff_max_ms": 500,
    }
    if settings.tls:
        options["ssl_context"] = _tls_context(settings)
    if settings.login and settings.password is not None:
        options["sasl_mechanism"] = settings.mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = settings.password.get_secret_value()
    return options


def _tls_context(settings: KafkaSettings) -> ssl.SSLContext:
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.greeting_s = settings.connect_timeout_s * (1 - PROBE_SHARE)
    try:
        context.load_default_certs() if settings.ca_file is None else context.load_verify_locations(settings.ca_file)
    except OSError as error:
        raise KafkaUnreachable(f"ca_file cannot be used: {_file_fault(error)}") from None
    if settings.cert_file is not None:
        try:
            # an encrypted key would make OpenSSL ask for its pass phrase on the terminal
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")
        except OSError as error:
            raise KafkaUnreachable(f"cert_file and key_file cannot be used: {_file_fault(error)}") from None
        if load_pem_x509_certificate(settings.cert_file.read_bytes()).not_valid_after_utc < datetime.now(UTC):
            # a broker says of it only that it does not take it
            raise KafkaUnreachable("cert_file: this client's certificate has expired: ask for a new one")
    return context


def _file_fault(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not PEM, the key belongs to another certificate, or it is protected by a pass phrase"
    return error.strerror or "it cannot be read"


def _connected(settings: KafkaSettings, make: Callable[..., Client], options: dict[str, Any]) -> Client:
    mend()
    made: list[KafkaNetClient] = []

    def network(**config: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(net=Loop(**config), **config))
        unfinished.callback(_given_up, made[-1])
        return made[-1]

    def stop() -> None:
        for client in made:
            client._manager.call_soon(client._manager.close)

    everything = {**client_options(settings), **options, "kafka_client": network}
    forget()
    last = ""
    with ExitStack() as unfinished, _at_the_latest(settings.connect_timeout_s, stop):
        try:
            connected = make(**everything)
        except (KafkaError, OSError) as error:
            last = told(error)
        else:
            unfinished.pop_all()
            return connected
    raise KafkaUnreachable(cause(settings, [*recent(), last]))


def _given_up(client: KafkaNetClient) -> None:
    """Close a client that came to nothing; one that was interrupted in the middle of its loop lets nobody in again."""
    with suppress(RuntimeError):
        client.close()


@contextmanager
def _at_the_latest(seconds: float, stop: Callable[[], None]) -> Iterator[None]:
    """kafka-python looks at its own time limit only between two attempts."""
    watch = threading.Timer(seconds, stop)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        watch.join()  # what it may be stopping just now is closed by nobody else meanwhile
