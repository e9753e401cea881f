"""The gateway: sensor-json lines from a stream that may stay open for months, published as they come.

A reading is on its way within a second, whether further lines come or not. While the broker is away the stream is held
back; when the process is told to end, what has come is still sent.
"""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, BinaryIO, NamedTuple

from connectors.delivery import Delivery, Sender
from connectors.kafka import KafkaRefused
from connectors.line_splitter import LineSplitter
from connectors.problems import UNACKNOWLEDGED, LineError, Problem
from connectors.sensor_json import FORMAT, MOST_BYTES, Gatherer, Message
from connectors.sensor_json_lines import LineReader
from connectors.stream_input import StreamInput

MOST_NOT_READ = 100

_WAKE_S = 0.1  # how long a told end may go unnoticed
_DRAIN_S = 0.5
_TELL_EVERY_S = 0.25
_PATIENCE_S = 120.0
_PATIENCE_AT_STOP_S = 10.0


@dataclass(frozen=True)
class Result:
    """What became of a stream: `records` = `published` + the sum of `problems`, counted in readings.

    A line that could not be read counts as one, whatever it holds. `not_read` has the first of these lines. `published`
    is what the broker confirmed or, without a broker, what would be published; `by_type` the same by metric. `partial`:
    the stream was not read to its end, or not all of it was confirmed; `failure` says why where the broker refused.
    """

    published: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    not_read: tuple[Problem, ...] = ()
    partial: bool = False
    by_type: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    @property
    def records(self) -> int:
        return self.published + sum(self.problems.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "records": self.records,
            "published": self.published,
            "problems": self.problems,
            "not_read": [problem._asdict() for problem in self.not_read],
            "partial": self.partial,
            "by_type": self.by_type,
        }


class Progress(NamedTuple):
    """Where the gateway stands; `waiting`: the broker is away, and the stream is held back."""

    lines: int
    published: int
    problems: int
    waiting: bool

    def __str__(self) -> str:
        state = " – the broker is away, waiting for it" if self.waiting else ""
        return f"{self.lines:,} lines, {self.published:,} readings published, {self.problems:,} problems{state}"


def run_gateway(
    stream: BinaryIO,
    publisher: Sender | None,
    *,
    subject: str | None = None,
    dry_run: bool = False,
    needs_zone: bool = False,
    most_bytes: int = MOST_BYTES,
    clock: Callable[[], float] = time.monotonic,
    stop: threading.Event | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_problem: Callable[[Problem], None] | None = None,
) -> Result:
    """Publish a stream's readings until it ends or `stop` is set; `dry_run`, or no publisher: only say what would be.

    `subject` is of whom lines without one speak; `needs_zone` refuses local times without a zone; `most_bytes` bounds a
    message. What cannot be read goes to `on_problem` and into the result, and stops nothing. While the broker is away
    this waits; whoever closes the publisher after a `partial` result need not wait for it again.
    """
    stop = stop or threading.Event()
    gateway = _Gateway(
        None if dry_run else publisher, LineReader(subject, needs_zone), Gatherer(most_bytes), clock, stop
    )
    gateway.on_progress, gateway.on_problem = on_progress, on_problem
    try:
        ended = gateway.read(StreamInput(stream))
        gateway.finish()
    except KafkaRefused as refusal:
        return gateway.result(False, str(refusal))
    return gateway.result(ended, "")


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop` for the time of the block, so that what has come is still sent."""

    def told(_: int, __: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Gateway:
    def __init__(
        self,
        publisher: Sender | None,
        reader: LineReader,
        gatherer: Gatherer,
        clock: Callable[[], float],
        stop: threading.Event,
    ) -> None:
        self._delivery = None if publisher is None else Delivery(publisher, stop, clock)
        self._reader, self._gatherer, self._clock, self._stop = reader, gatherer, clock, stop
        self._splitter = LineSplitter()
        self._lines = 0
        self._told_at = clock()
        self._problems: Counter[str] = Counter()
        self._not_read: list[Problem] = []
        self._would_publish: Counter[str] = Counter()
        self.on_progress: Callable[[Progress], None] | None = None
        self.on_problem: Callable[[Problem], None] | None = None

    def read(self, source: StreamInput) -> bool:
        """Read until the stream ends (True) or the end is told (False)."""
        while not self._stop.is_set():
            piece = source.read(0.0)
            caught_up = piece is None
            if piece is None:
                piece = source.read(self._longest_wait())
            if piece == b"":
                self._take(self._splitter.rest())
                return True
            if piece is not None:
                self._take(self._splitter.feed(piece))
            if source.live:
                self._publish(self._gatherer.due(self._now(), caught_up))
            self._look_around()
        self._drain(source)
        return False

    def _drain(self, source: StreamInput) -> None:
        """Take what has come already; a line that is only half there is left, unless it happens to be whole."""
        until = self._clock() + _DRAIN_S
        while source.live and self._clock() < until and (piece := source.read(0.0)):
            self._take(self._splitter.feed(piece))
        for line in self._splitter.rest():
            try:
                reading = self._reader.read(line)
            except LineError:
                continue
            if reading is not None:
                self._publish(self._gatherer.add(reading, self._now()))

    def finish(self) -> None:
        """Send what is open, and wait until the broker has confirmed it, or for as long as that may take."""
        self._publish(self._gatherer.rest())
        if self._delivery is not None:
            self._delivery.finish(_PATIENCE_S, _PATIENCE_AT_STOP_S)
        self._tell()

    def result(self, ended: bool, failure: str) -> Result:
        problems, published = Counter(self._problems), self._would_publish
        if self._delivery is not None:
            published = self._delivery.confirmed
            unconfirmed = sum(m.readings for m in [*self._delivery.held, *self._gatherer.rest()])
            if unconfirmed:
                problems[UNACKNOWLEDGED] += unconfirmed
        partial = not ended or bool(problems[UNACKNOWLEDGED])
        return Result(
            published.total(), dict(+problems), tuple(self._not_read), partial, dict(sorted(published.items())), failure
        )

    def _take(self, lines: list[bytes | None]) -> None:
        read, add, now = self._reader.read, self._gatherer.add, self._now()
        for line in lines:
            self._lines += 1
            try:
                reading = read(line)
            except LineError as fault:
                self._note(Problem(self._lines, fault.field, fault.reason, fault.expected))
                continue
            if reading is not None and (complete := add(reading, now)):
                self._publish(complete)

    def _note(self, problem: Problem) -> None:
        self._problems[problem.reason] += 1
        if len(self._not_read) < MOST_NOT_READ:
            self._not_read.append(problem)
        if self.on_problem is not None:
            self.on_problem(problem)

    def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            if self._delivery is not None:
                self._delivery.send(message)
            else:
                self._would_publish[message.metric] += message.readings

    def _now(self) -> float:
        """The clock without the time for which the broker held us back: no block is cut for that."""
        return self._clock() - (0.0 if self._delivery is None else self._delivery.held_back_s)

    def _longest_wait(self) -> float:
        due = self._gatherer.next_due()
        return _WAKE_S if due is None else min(_WAKE_S, max(0.0, due - self._now()))

    def _look_around(self) -> None:
        if self._delivery is not None:
            self._delivery.settle()
        if self._clock() - self._told_at >= _TELL_EVERY_S:
            self._tell()

    def _tell(self) -> None:
        self._told_at = self._clock()
        if self.on_progress is None:
            return
        delivery = self._delivery
        published = self._would_publish if delivery is None else delivery.confirmed
        waiting = delivery is not None and delivery.waiting
        self.on_progress(Progress(self._lines, published.total(), self._problems.total(), waiting))
