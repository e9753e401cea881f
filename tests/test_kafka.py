import logging
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from connectors.causes import cause, in_words, recent
from connectors.kafka import KafkaSettings, KafkaUnreachable, admin, client_options, consumer, producer
from connectors.kafka_python import TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from tests.certificates import Authority

PASSWORD = "correct-horse-battery"


@contextmanager
def listener(answer: bytes = b"", tls: ssl.SSLContext | None = None, hang_up: bool = False) -> Iterator[int]:
    """A port that takes connections and is no Kafka broker."""
    taken: list[socket.socket] = []

    def serve(server: socket.socket) -> None:
        while True:
            try:
                one, _ = server.accept()
            except OSError:
                return
            taken.append(one)
            try:
                one.settimeout(2)
                one = tls.wrap_socket(one, server_side=True) if tls else one
                taken.append(one)
                one.sendall(answer)
            except OSError:
                pass
            if hang_up:
                one.close()

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(3)
    for one in taken:
        one.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 of an authority that nobody knows, with its key."""
    return Authority(tmp_path, "nobody").issue("server")


PATIENCE_S = (0.25, 1.0, 5.0)  # a machine that is busy is asked again, and given more time


def tells(words: str, settings: dict[str, object], make: Callable[[KafkaSettings], object] = consumer) -> bool:
    """Whether a connection fails with these words. Left to itself kafka-python tries for half a minute, or for ever."""
    for patience in PATIENCE_S:
        began = time.monotonic()
        with pytest.raises(KafkaUnreachable) as raised:
            make(KafkaSettings.model_validate({**settings, "connect_timeout_s": patience}))
        assert time.monotonic() - began < patience + 10
        assert str(settings["bootstrap"]) in str(raised.value)
        if words in str(raised.value):
            return True
    return False


def at(port: int, **more: object) -> dict[str, object]:
    """Settings for this port."""
    return {"bootstrap": f"127.0.0.1:{port}", **more}


@pytest.mark.parametrize("make", [producer, consumer, admin])
def test_nothing_listens(make: Callable[[KafkaSettings], object]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    assert tells("nothing listens there", at(port), make)


def test_the_name_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the resolver of this machine does about such a name, and however long that takes."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert tells("does not resolve", {"bootstrap": "no-such-host.invalid"})


def test_no_answer() -> None:
    with listener() as port:
        assert tells(f"no answer within {PATIENCE_S[0]} s", at(port))


def test_tls_where_none_is_expected() -> None:
    with listener(answer=b"not TLS") as port:
        assert tells("TLS is not expected there", at(port, security="SSL"))


def test_a_tls_greeting_that_is_never_answered() -> None:
    with listener() as port:
        assert tells(f"no answer within {PATIENCE_S[0]} s", at(port, security="SSL"))


def test_no_tls_where_it_is_expected(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with listener(tls=context) as port:
        assert tells("TLS is expected there", at(port))


def test_another_ca(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with listener(tls=context) as port:
        assert tells("not signed by this CA", at(port, security="SSL"))


def test_it_hangs_up() -> None:
    with listener(hang_up=True) as port:
        assert tells("it closes the connection", at(port))


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    garbage = tmp_path / "subject-4711.pem"
    garbage.write_text("no certificate")
    for file, words in ((tmp_path / "absent.pem", "No such file"), (garbage, "not PEM")):
        with pytest.raises(KafkaUnreachable, match=words) as raised:
            consumer(KafkaSettings(security="SSL", ca_file=file))
        assert file.name not in str(raised.value)
    with pytest.raises(KafkaUnreachable, match="cert_file and key_file"):
        consumer(KafkaSettings(security="SSL", cert_file=garbage, key_file=garbage))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("SaslAuthenticationFailedError [Error 58] …", "wrong user name or password"),
        ("UnsupportedSaslMechanismError …", "does not offer this mechanism"),
        ("IllegalSaslStateError [Error 34]", "expects no login"),
        ("KafkaConnectionError [SSL: SSLV3_ALERT_BAD_CERTIFICATE] …", "asks for a client certificate"),
        ("KafkaConnectionError [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] …", "asks for a client certificate"),
        ("Handshake failed: … Hostname mismatch, certificate is not valid for 'b'", "another host name"),
        ("Handshake failed: … certificate has expired", "has expired"),
        ("IncompatibleBrokerVersion [Error 35] …", "a controller"),
        ("Handshake failed: TLS/SSL connection has been closed (EOF) (_ssl.c:992)", "TLS is not expected"),
        ("KafkaConnectionError [Errno 104] Connection reset by peer", "TLS is not expected"),
    ],
)
def test_causes_that_only_a_real_broker_tells(event: str, words: str) -> None:
    settings = KafkaSettings(security="SASL_SSL", username="acme", password=SecretStr(PASSWORD))
    told = cause(settings, ["KafkaTimeoutError Unable to bootstrap", event])
    assert words in told
    assert "acme" not in told
    assert PASSWORD not in told


def test_the_password_is_shown_nowhere() -> None:
    settings = KafkaSettings(security="SASL_SSL", username="acme", password=SecretStr(PASSWORD))
    assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert client_options(settings)["sasl_plain_password"] == PASSWORD
    with pytest.raises(ValidationError) as raised:
        KafkaSettings.model_validate({"security": "SASL_SSL", "password": PASSWORD})
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bootstrap": " , "},
        {"bootstrap": "a:b"},
        {"bootstrap": "a:70000"},
        {"security": "SASL_SSL"},
        {"security": "SSL", "cert_file": "a"},
        {"security": "TLS"},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        KafkaSettings.model_validate(wrong)


def test_several_servers_and_default_ports() -> None:
    assert KafkaSettings(bootstrap="a, b:1 ,[::1]:2").addresses == [("a", 9092), ("b", 1), ("::1", 2)]


def test_the_clients_log_passes_on_no_text(logged: deque[str]) -> None:
    logging.getLogger("kafka.protocol.parser").error("Unable to decode %d-byte buffer: %r", 4, b"heart rate 71")
    logging.getLogger("kafka.net.manager").warning("Bootstrap of %s failed", "subject-4711")
    said = "\n".join(logged)
    assert "heart rate" not in said + "".join(recent())
    assert "subject-4711" not in said
    assert "kafka.net.manager" in said


def test_what_was_logged_long_ago_is_no_cause_of_a_failure_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stays open has been through other failures, which were mended."""
    logging.getLogger("kafka.net").warning("CERTIFICATE_VERIFY_FAILED: certificate has expired")
    assert "certificate has expired" in recent()[-1]
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert recent() == []


def test_refusals_have_words_and_never_their_own_text() -> None:
    assert in_words(TopicAuthorizationFailedError({"acme.secret"})) == "this user may not do that with the topic"
    assert in_words(UnknownTopicOrPartitionError("x")) == "there is no such topic"
    assert in_words(ValueError("heart rate 71")) == "ValueError"
