"""Record batches sent to a broker byte by byte: what no well-behaved producer would send.

The protocol is Kafka's Produce request, version 7 (the first that carries zstd), in plain structs.
"""

import socket
import struct

from connectors.kafka_python import error_of_code

_PRODUCE, _VERSION, _ACKS_ALL, _TIMEOUT_MS = 0, 7, -1, 30_000


def produce_batch(bootstrap: str, topic: str, partition: int, batch: bytes) -> int:
    """Append one record batch; the offset of its first record. A KafkaError where the broker refuses it.

    `bootstrap` is the address of the one broker, which leads every partition.
    """
    host, port = bootstrap.rsplit(":", 1)
    name = _text(topic)
    body = struct.pack(">hhi", -1, _ACKS_ALL, _TIMEOUT_MS)
    body += struct.pack(">i", 1) + name + struct.pack(">iii", 1, partition, len(batch)) + batch
    request = struct.pack(">hhi", _PRODUCE, _VERSION, 1) + _text("raw") + body
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = _exactly(connection, struct.unpack(">i", _exactly(connection, 4))[0])
    error, offset = struct.unpack_from(">hq", answer, 4 + 4 + len(name) + 4 + 4)
    if error:
        raise error_of_code(error)
    return int(offset)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = connection.recv(count - len(found))
        if not piece:
            raise ConnectionError("the broker hung up")
        found += piece
    return found
