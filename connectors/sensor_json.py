"""sensor-json: newline-delimited JSON readings from a gateway become messages of the sensor-reading contract.

Readings with one header are gathered into one message, several messages being open at a time, since a gateway mixes its
metrics. A message is closed when it is full, when it has waited long enough, and at the end of the stream; a signal's
block also at each full minute of its own clock, so that the same lines, sent again, become the same blocks.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

from connectors.line_splitter import LineSplitter
from connectors.problems import LineError, Problem
from connectors.sensor_json_header import LineHeader
from connectors.sensor_json_lines import LineReader, Reading
from connectors.sensor_json_messages import MOST_READINGS, OpenMessage, split
from schemas.contracts import encode

CONTRACT = "sensor-reading"
FORMAT = "sensor-json"
MOST_BYTES = 400_000
MOST_OPEN_BYTES = 32 * 1024 * 1024
WAIT_S = 0.8  # of the second in which a reading shall be on its way; the rest is for the loop and the producer's linger
WAIT_OF_BLOCK_S = 5.0
_PIECE = 64 * 1024


class Message(NamedTuple):
    """One message as it goes to Kafka, its metric, and how many readings (samples of a signal) it holds."""

    key: bytes
    payload: bytes
    metric: str
    readings: int


def read_lines(
    stream: BinaryIO, on_problem: Callable[[Problem], None], subject: str | None = None, needs_zone: bool = False
) -> Iterator[Reading]:
    """The readings of a stream to its end; what cannot be read goes to `on_problem`, and the stream goes on."""
    reader = LineReader(subject, needs_zone)
    for number, line in enumerate(_lines(stream), 1):
        try:
            reading = reader.read(line)
        except LineError as fault:
            on_problem(Problem(number, fault.field, fault.reason, fault.expected))
            continue
        if reading is not None:
            yield reading


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    splitter = LineSplitter()
    while piece := stream.read(_PIECE):
        yield from splitter.feed(piece)
    yield from splitter.rest()


def messages(readings: Iterable[Reading], most_bytes: int = MOST_BYTES) -> Iterator[Message]:
    """The messages of a finite stream of readings, in the order in which they became full."""
    gatherer = Gatherer(most_bytes)
    for reading in readings:
        yield from gatherer.add(reading, 0.0)
    yield from gatherer.rest()


class Gatherer:
    """The open messages. `add` and `due` give those that are to be sent now; the clock is the caller's, in seconds."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._open: dict[LineHeader, OpenMessage] = {}
        self._bytes = 0

    def add(self, reading: Reading, now: float) -> list[Message]:
        """Take a reading that came at `now`; the messages that this has completed."""
        sent: list[Message] = []
        header = reading.header
        message = self._open.get(header)
        while True:
            if message is None or not (header.plain or message.continues(reading.start)):
                if message is not None:
                    sent.append(self._close(message))
                message = self._open[header] = OpenMessage(header, reading.start, now)
            if reading.samples == 1 or reading.samples <= (room := message.room(reading, self._most_bytes)):
                break
            begun, reading = split(reading, room)
            self._bytes += message.take(begun)
            sent.append(self._close(message))
            message = None
        self._bytes += message.take(reading)
        if message.samples >= MOST_READINGS or message.bytes >= self._most_bytes:
            sent.append(self._close(message))
        while self._bytes > MOST_OPEN_BYTES:
            sent.append(self._close(next(iter(self._open.values()))))
        return sent

    def due(self, now: float, caught_up: bool = True) -> list[Message]:
        """Messages that have waited long enough.

        A block of a signal waits on while lines are still coming faster than they are read (`caught_up` False), up to
        5 s: its minute is then about to be full, and a block that the clock has cut is another block when sent again.
        """
        late = [
            message
            for message in self._open.values()
            if now - message.since >= (WAIT_S if caught_up or not message.header.waveform else WAIT_OF_BLOCK_S)
        ]
        return [self._close(message) for message in late]

    def next_due(self) -> float | None:
        """When the oldest open message will have waited long enough; None where none is open."""
        oldest = min((message.since for message in self._open.values()), default=None)
        return None if oldest is None else oldest + WAIT_S

    def rest(self) -> list[Message]:
        """All that is open."""
        return [self._close(message) for message in list(self._open.values())]

    def _close(self, message: OpenMessage) -> Message:
        header = message.header
        del self._open[header]
        self._bytes -= message.bytes
        return Message(header.key, encode(CONTRACT, message.content()), header.metric, message.samples)
