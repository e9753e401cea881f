"""Five defects of kafka-python 3.0 that would be ours to answer for, mended where they are.

- A broker that says why it refuses a login, and then hangs up, is not heard: what was read is dropped when the
  connection ends in the same moment.
- The socket of a connection that is refused stays open until the garbage collector comes.
- So does that of a TLS handshake that fails; and one that is never answered has no end.
- So does that of a connection over which something was just to be sent, or which was just being made, when its client
  is closed.
- Asked for the offsets of partitions of which one has no leader at that moment, it asks for those of the others only, and
  then fails over the one that is missing.
"""

import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any
from weakref import WeakSet

from connectors.kafka_python import (
    Fetcher,
    KafkaNetSocket,
    KafkaSSLTransport,
    KafkaTCPTransport,
    NetworkSelector,
    StaleMetadata,
    TopicPartition,
)


class TlsContext(ssl.SSLContext):
    """How to speak TLS, and how long a handshake may take, in seconds."""

    greeting_s: float = 5.0


class Loop(NetworkSelector):  # type: ignore[misc]  # kafka-python carries no types
    """kafka-python's event loop, which closes every socket that it ever waited for when it is closed itself."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._waited_for: WeakSet[socket.socket] = WeakSet()

    def register_event(self, fileobj: socket.socket, event: int, task: Any) -> None:
        self._waited_for.add(fileobj)
        super().register_event(fileobj, event, task)

    def close(self) -> None:
        super().close()  # its thread has ended then: nobody opens or closes one meanwhile
        for sock in self._waited_for:
            sock.close()


@cache
def mend() -> None:
    """Once in a process, before its first client."""
    for transport in (KafkaTCPTransport, KafkaSSLTransport):
        _hear_the_last_words(transport)
    _close_what_was_refused()
    _end_a_greeting()
    _wait_for_every_leader()


def _hear_the_last_words(transport: type[Any]) -> None:
    receive: Callable[[Any], tuple[bytes, Exception | None]] = transport._sock_recv

    def heard(self: Any) -> tuple[bytes, Exception | None]:
        words, fault = receive(self)
        return words, None if words else fault  # the fault comes again with the next, empty, read

    transport._sock_recv = heard


def _close_what_was_refused() -> None:
    connect: Callable[..., Awaitable[socket.socket]] = KafkaNetSocket.sock_connect

    async def connected(self: Any, net: Any, sock: socket.socket, *where: Any, **limit: Any) -> socket.socket:
        try:
            return await connect(self, net, sock, *where, **limit)
        except Exception:
            sock.close()
            raise

    KafkaNetSocket.sock_connect = connected


def _end_a_greeting() -> None:
    async def greeted(self: Any) -> None:
        limit = time.monotonic() + getattr(self._ssl_context, "greeting_s", TlsContext.greeting_s)
        try:
            while not _greeted(self._sock):
                await self._net.wait_read(self._sock, timeout_at=limit)
        except Exception:
            self._sock.close()
            raise

    KafkaSSLTransport.handshake = greeted


def _greeted(sock: ssl.SSLSocket) -> bool:
    """One step of the handshake. (What is to be written, a few hundred bytes, fits into the socket's buffer.)"""
    try:
        sock.do_handshake()
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    return True


def _wait_for_every_leader() -> None:
    group: Callable[..., dict[int, dict[TopicPartition, Any]]] = Fetcher._group_list_offset_requests

    def grouped(self: Any, wanted: Mapping[TopicPartition, Any]) -> dict[int, dict[TopicPartition, Any]]:
        by_leader = group(self, wanted)
        if sum(map(len, by_leader.values())) < len(wanted):
            raise StaleMetadata  # it asks for the leaders anew then, as often as its time limit lets it
        return by_leader

    Fetcher._group_list_offset_requests = grouped
