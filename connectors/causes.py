"""Why Kafka cannot be used, in plain words.

kafka-python answers every failed connection with "unable to bootstrap"; the cause it tells only its log. So its log is
kept here, and nothing of it is passed on but the kind of event: a line of it can hold keys, values and passwords.
"""

import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from connectors.kafka_python import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidTopicError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SecurityDisabledError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

_log = logging.getLogger("wellspring.kafka")
_KEPT_EVENTS = 64
_RECENT_S = 60.0
"""For so long what was logged may be why a connection fails: kafka-python tries again twice a second, and logs it again."""
PROBE_SHARE = 0.2  # of the time allowed to connect: kept to look for the cause


class Server(Protocol):
    """What of the settings is needed to say why they do not work."""

    @property
    def bootstrap(self) -> str: ...
    @property
    def security(self) -> str: ...
    @property
    def tls(self) -> bool: ...
    @property
    def addresses(self) -> list[tuple[str, int]]: ...
    @property
    def connect_timeout_s(self) -> float: ...


class _Events(logging.Handler):
    """Takes the place of the `kafka` logger's output: texts stay here, only the kind of event goes on, at DEBUG."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: deque[tuple[float, str]] = deque(maxlen=_KEPT_EVENTS)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING and record.name != "kafka.protocol.parser":
            faults = [arg for arg in record.args or () if isinstance(arg, BaseException)]
            if record.exc_info and record.exc_info[1] is not None:
                faults.append(record.exc_info[1])
            texts = [told(fault) for fault in faults] or [record.getMessage()]
            self.texts.extend((time.monotonic(), text) for text in texts)
        record.msg, record.args, record.exc_info = f"{record.name}:{record.lineno}", None, None  # for other handlers
        _log.debug("%s %s", record.levelname, record.msg)


_events = _Events()


def _keep_kafka_log() -> None:
    kafka_log = logging.getLogger("kafka")
    kafka_log.propagate = False
    kafka_log.setLevel(logging.WARNING)
    if _events not in kafka_log.handlers:
        kafka_log.addHandler(_events)


_keep_kafka_log()


def told(error: BaseException) -> str:
    return f"{type(error).__name__} {error}"


def forget() -> None:
    """A connection is begun: what was logged before says nothing of it."""
    _events.texts.clear()


def recent() -> list[str]:
    """What kafka-python has logged in the last minute, since a connection was begun; oldest first.

    For `cause` alone: the texts are not fit for a log.
    """
    now = time.monotonic()
    return [text for at, text in list(_events.texts) if now - at < _RECENT_S]


_NO_TLS = "TLS is not expected there"
_CERTIFICATE = "the broker asks for a client certificate that it knows (cert_file, key_file)"
_CAUSES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("DNS lookup failed", "DNS Resolution failure"), "the name does not resolve"),
    (("Hostname mismatch", "IP address mismatch"), "the broker's certificate is made out to another host name"),
    (("certificate has expired",), "the broker's certificate has expired"),
    (("CERTIFICATE_VERIFY_FAILED",), "the broker's certificate is not signed by this CA (ca_file)"),
    (("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_", "ALERT_UNKNOWN_CA", "ALERT_HANDSHAKE_FAILURE"), _CERTIFICATE),
    (("SaslAuthenticationFailed",), "wrong user name or password"),
    (("UnsupportedSaslMechanism",), "the broker does not offer this mechanism of login"),
    (("IllegalSaslState",), "the broker expects no login on this port"),
    (("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF", "EOF occurred", "closed (EOF)"), _NO_TLS),
    (("Invalid frame length", "InvalidReceive"), "TLS is expected there, or it is not a Kafka broker"),
    (("ECONNREFUSED", "Connection refused"), "nothing listens there"),
    (("IncompatibleBrokerVersion",), "it is a controller, or a broker older than this client can speak to"),
    (("EHOSTUNREACH", "ENETUNREACH"), "there is no way through the network to that address"),
)


def cause(server: Server, events: Iterable[str]) -> str:
    """One sentence: which server, and why no connection came about. It names no user, password or file."""
    log = "\n".join(events)
    why = next((words for marks, words in _CAUSES if any(mark in log for mark in marks)), None)
    if why is None and not server.tls and _answers_tls(server):
        why = "TLS is expected there"
    if why is None and server.tls and any(mark in log for mark in ("ECONNRESET", "Connection reset")):
        why = _NO_TLS  # a broker that takes the greeting for a message and hangs up: whether as an end is a matter of luck
    if why is None and "socket disconnected" in log:
        why = "it closes the connection: a login is expected there (SASL), or it is not a Kafka broker"
    if why is None:
        why = f"no answer within {server.connect_timeout_s:g} s"
    return f"Kafka at {server.bootstrap} ({server.security}) cannot be used: {why}"


def _answers_tls(server: Server) -> bool:
    """Does the first server that can be reached speak TLS? (Nothing is sent but the greeting, nothing is trusted.)"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    patience = server.connect_timeout_s * PROBE_SHARE / len(server.addresses)
    for address in server.addresses:
        try:
            with socket.create_connection(address, timeout=patience) as plain, context.wrap_socket(plain):
                return True
        except OSError:
            continue
    return False


NOT_WITH_THE_TOPIC = "this user may not do that with the topic"
_REFUSALS: dict[type[KafkaError], str] = {
    UnknownTopicOrPartitionError: "there is no such topic",
    TopicAuthorizationFailedError: NOT_WITH_THE_TOPIC,
    ClusterAuthorizationFailedError: "this user may not do that on the cluster",
    GroupAuthorizationFailedError: "this user may not do that with the group",
    TransactionalIdAuthorizationFailedError: "this user may not begin transactions",
    SecurityDisabledError: "the cluster asks nobody for rights: it has no authorizer",
    InvalidTopicError: "the topic's name is not one that Kafka allows",
    MessageSizeTooLargeError: "a record is larger than the topic allows",
    RecordListTooLargeError: "the batch is larger than the topic allows",
    KafkaTimeoutError: "no acknowledgement in time",
}


def in_words(error: BaseException, otherwise: str | None = None) -> str:
    """What a broker's refusal means; where we have none, `otherwise` or the error's name, never its text."""
    known = next((words for kind, words in _REFUSALS.items() if isinstance(error, kind)), None)
    return known or otherwise or type(error).__name__
