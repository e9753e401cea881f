"""What a client that is closed leaves behind: nothing, whatever it was about to do."""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from connectors import kafka
from connectors.kafka import KafkaSettings, admin, consumer, producer
from connectors.kafka_mends import Loop, TlsContext, mend
from connectors.kafka_python import KafkaNetSocket, KafkaSSLTransport, KafkaTCPTransport

MORE_THAN_IS_TAKEN = bytes(64 * 1024 * 1024)  # of a peer that does not read


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    mend()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with closing(theirs):
        yield ours, theirs


def test_one_that_has_something_to_send(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = Loop()
    transport = KafkaTCPTransport(loop, pair[0])
    transport.write(MORE_THAN_IS_TAKEN)
    loop.poll(timeout_ms=10)
    transport.close()
    assert pair[0].fileno() >= 0  # it hopes to send the rest
    loop.close()
    assert pair[0].fileno() == -1


def test_one_that_is_greeted(pair: tuple[socket.socket, socket.socket]) -> None:
    loop, context = Loop(), TlsContext(kafka.ssl.PROTOCOL_TLS_CLIENT)
    transport = KafkaSSLTransport(loop, pair[0], host="localhost", ssl_context=context)
    secured = transport._sock
    loop.call_soon(transport.handshake)
    loop.poll(timeout_ms=10)
    assert secured.fileno() >= 0
    loop.close()
    assert secured.fileno() == -1


def test_one_that_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    mend()
    made: list[socket.socket] = []

    def never(_: Any, sock: socket.socket, __: Any) -> int:
        made.append(sock)
        return errno.EINPROGRESS

    monkeypatch.setattr(KafkaNetSocket, "connect_ex", never)
    loop, address = Loop(), (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))
    loop.call_soon(KafkaNetSocket().connect(loop, address))
    loop.poll(timeout_ms=10)
    assert made[0].fileno() >= 0
    loop.close()
    assert made[0].fileno() == -1


@pytest.mark.parametrize(
    ("make", "name"), [(consumer, "KafkaConsumer"), (producer, "KafkaProducer"), (admin, "KafkaAdminClient")]
)
def test_one_whose_making_is_interrupted(
    make: Callable[[KafkaSettings], Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops: list[Loop] = []

    def interrupted(*, kafka_client: Callable[..., Any], **_: Any) -> None:
        loops.append(kafka_client()._net)
        raise KeyboardInterrupt

    monkeypatch.setattr(kafka, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(KafkaSettings())
    assert loops[0]._closed
