"""Is the broker ready: one metadata request in Kafka's own protocol, written by hand so that no client is needed.

A broker lists itself in its metadata only when a controller has let it in (it is "unfenced"), and names a controller
only when it knows one: an open port is less. After a crash the list may be that of the former run, so this alone does
not tell that the broker is up.
"""

import socket
import ssl
import struct
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"

_METADATA, _VERSION, _CORRELATION, _NO_TOPICS = 3, 2, 1, 0
_LARGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class Metadata:
    """What a broker says of its cluster: its id, its live brokers' ports, and its controller's node (-1: none yet)."""

    cluster_id: str | None
    ports: tuple[int, ...]
    controller: int

    @property
    def ready(self) -> bool:
        """Whether a topic can be created."""
        return bool(self.ports) and self.controller >= 0


def ask_metadata(port: int, timeout: float, tls: ssl.SSLContext | None = None) -> Metadata | None:
    """What answers on this loopback port, or None if nothing does or it is no Kafka broker. Timeout in seconds."""
    request = struct.pack(">hhih", _METADATA, _VERSION, _CORRELATION, -1) + struct.pack(">i", _NO_TOPICS)
    try:
        with _connected(port, timeout, tls) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _receive(connection, 4))
            if not 4 <= size <= _LARGEST_ANSWER:
                return None
            return parse_metadata(_receive(connection, size))
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _connected(port: int, timeout: float, tls: ssl.SSLContext | None) -> socket.socket:
    plain = socket.create_connection((LOOPBACK, port), timeout=timeout)
    plain.settimeout(timeout)
    try:
        return tls.wrap_socket(plain, server_hostname=LOOPBACK) if tls else plain
    except OSError:
        plain.close()
        raise


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size and (part := connection.recv(size - len(received))):
        received += part
    return bytes(received)


def parse_metadata(answer: bytes) -> Metadata:
    """Read a Metadata response of version 2 from its correlation id on. Raises struct.error where it ends early."""
    (_, brokers), at = struct.unpack_from(">ii", answer), 8
    ports = []
    for _ in range(brokers):
        at += 4
        _, at = _string(answer, at)
        ports.append(int(struct.unpack_from(">i", answer, at)[0]))
        _, at = _string(answer, at + 4)
    cluster_id, at = _string(answer, at)
    (controller,) = struct.unpack_from(">i", answer, at)
    return Metadata(cluster_id, tuple(ports), int(controller))


def _string(answer: bytes, at: int) -> tuple[str | None, int]:
    (length,) = struct.unpack_from(">h", answer, at)
    if length < 0:
        return None, at + 2
    return answer[at + 2 : at + 2 + length].decode(), at + 2 + int(length)
