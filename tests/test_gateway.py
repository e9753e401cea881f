"""The gateway: lines from a stream that stays open are on their way within a second, and nothing is lost."""

import io
import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from connectors import delivery
from connectors.delivery import Delivery
from connectors.gateway import Progress, Result, run_gateway, stop_on_signals
from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.problems import NOT_JSON, UNACKNOWLEDGED, Problem
from connectors.publisher import UNKNOWN, Publisher, Receipt
from connectors.sensor_json import Message
from schemas.contracts import decode
from schemas.reasons import Reason
from schemas.series import series

HEART = {"metric": "heart_rate", "unit": "/min", "source": "watch"}


class Broker:
    """Stands in for a publisher: confirms at once, or keeps records in flight, or loses them, as it is told."""

    def __init__(self) -> None:
        self.arrived: list[bytes] = []
        self.in_flight: list[bytes] = []
        self.reasons: dict[str, int] = {}
        self.away = False
        self.slow = False
        self.refusal = ""
        self.calls = self.looks = 0

    @property
    def receipt(self) -> Receipt:
        if not self.slow:
            self.arrived += self.in_flight
            self.in_flight = []
        return Receipt(len(self.arrived), sum(self.reasons.values()), len(self.in_flight), dict(self.reasons))

    def send(self, key: bytes, value: bytes) -> None:
        self.calls += 1
        if self.away:
            self.lose()
            raise KafkaUnreachable("nothing listens there")
        if self.refusal:
            raise KafkaRefused(self.refusal)
        self.in_flight.append(value)

    def flush(self, timeout_s: float | None = None) -> Receipt:
        self.looks += 1
        return self.receipt

    def lose(self) -> None:
        """What is in flight is never confirmed; it may or may not have arrived."""
        if self.in_flight:
            self.reasons[UNKNOWN] = self.reasons.get(UNKNOWN, 0) + len(self.in_flight)
            self.in_flight = []


def _takes_a_publisher(publisher: Publisher) -> None:
    run_gateway(io.BytesIO(), publisher)  # for the type checker: the stand-in's shape is the publisher's


def line(number: int, **other: Any) -> bytes:
    return json.dumps({**HEART, "time": 1751284800 + number, "value": 60, **other}).encode() + b"\n"


def readings(payloads: list[bytes]) -> list[int]:
    """Which lines arrived, in order."""
    decoded = [series(decode(payload, "sensor-reading")) for payload in payloads]
    return [(us - 1_751_284_800_000_000) // 1_000_000 for found in decoded for us in found.start.tolist()]


class Running:
    """A gateway that reads a pipe in a thread."""

    def __init__(self, broker: Broker | None, **options: Any) -> None:
        ours, theirs = os.pipe()
        self.stream: BinaryIO = os.fdopen(ours, "rb")
        self.writer = theirs
        self.stop = threading.Event()
        self.pool = ThreadPoolExecutor(1)
        self.future: Future[Result] = self.pool.submit(
            run_gateway, self.stream, broker, subject="p1", stop=self.stop, **options
        )

    def write(self, content: bytes) -> None:
        os.write(self.writer, content)

    def end(self) -> Result:
        os.close(self.writer)
        self.writer = -1
        return self.future.result(60)


def sample(number: int) -> bytes:
    """One of 50 samples a second."""
    line = {
        "metric": "acceleration",
        "unit": "[g]",
        "source": "phone",
        "time": 1751284800 + number / 50,
        "value": number,
    }
    return json.dumps(line).encode() + b"\n"


@contextmanager
def running(broker: Broker | None, **options: Any) -> Iterator[Running]:
    gateway = Running(broker, **options)
    try:
        yield gateway
    finally:
        gateway.stop.set()
        gateway.future.result(60)
        gateway.pool.shutdown()
        gateway.stream.close()
        if gateway.writer >= 0:
            os.close(gateway.writer)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits and pauses are short."""
    monkeypatch.setattr("connectors.sensor_json.WAIT_S", 0.05)
    monkeypatch.setattr("connectors.delivery._FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("connectors.delivery._LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("connectors.gateway._WAKE_S", 0.05)
    monkeypatch.setattr("connectors.gateway._TELL_EVERY_S", 0.05)


def eventually(happened: Callable[[], bool]) -> None:
    """Wait until it has happened."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.01)


def test_a_file_is_published_and_accounted_for() -> None:
    broker = Broker()
    walk = {"metric": "steps_interval", "unit": "{steps}", "source": "phone", "start": 1, "end": 2, "value": 5}
    content = line(0) + b"oops\n" + line(1) + json.dumps(walk).encode() + b"\n" + line(2, unit="furlong") + line(3)
    result = run_gateway(io.BytesIO(content), broker, subject="p1")
    assert result.as_json() == {
        "format": "sensor-json",
        "records": 6,
        "published": 4,
        "problems": {NOT_JSON: 1, Reason.UNIT: 1},
        "not_read": [
            {
                "line": 2,
                "field": "",
                "reason": NOT_JSON,
                "expected": "one JSON object in UTF-8, without NaN or Infinity",
            },
            {"line": 5, "field": "unit", "reason": "R_UNIT", "expected": result.not_read[1].expected},
        ],
        "partial": False,
        "by_type": {"heart_rate": 3, "steps_interval": 1},
    }
    json.dumps(result.as_json())
    assert "/min" in result.not_read[1].expected
    assert sorted(readings(broker.arrived)[:3]) == [0, 1, 3]


def test_without_a_broker_it_says_what_would_be_published() -> None:
    found: list[Problem] = []
    result = run_gateway(io.BytesIO(line(0) + b"{\n" + line(1)), None, subject="p1", on_problem=found.append)
    assert (result.published, result.by_type, result.partial) == (2, {"heart_rate": 2}, False)
    assert found == list(result.not_read)


def test_only_the_first_problems_are_kept_but_all_are_counted() -> None:
    result = run_gateway(io.BytesIO(b"?\n" * 5000), None)
    assert (len(result.not_read), result.problems, result.records) == (100, {NOT_JSON: 5000}, 5000)


def test_a_reading_is_on_its_way_within_a_second_though_no_line_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only while the gateway waits."""
    clock, ours, theirs = [0.0], *os.pipe()
    sent_at: list[float] = []

    def wait(streams: Any, _: Any, __: Any, seconds: float) -> Any:
        ready = select.select(streams, [], [], 0.0)
        clock[0] += 0.0 if ready[0] else seconds
        return ready

    class Noting(Broker):
        def send(self, key: bytes, value: bytes) -> None:
            super().send(key, value)
            sent_at.append(clock[0])
            if len(sent_at) == 1:
                writer.write(line(1))
            else:
                writer.close()

    monkeypatch.setattr("connectors.stream_input.select", SimpleNamespace(select=wait))
    with os.fdopen(ours, "rb") as stream, os.fdopen(theirs, "wb", buffering=0) as writer:
        writer.write(line(0))
        result = run_gateway(stream, broker := Noting(), subject="p1", clock=lambda: clock[0])
    assert result.published == 2
    assert readings(broker.arrived) == [0, 1]
    assert 0.0 < sent_at[0] < 1.0
    assert 0.0 < sent_at[1] - sent_at[0] < 1.0


def test_what_has_come_is_sent_when_the_end_is_told() -> None:
    broker = Broker()
    with running(broker) as gateway:
        gateway.write(line(0) + line(1) + line(2)[:-1])
        time.sleep(0.05)
        gateway.stop.set()
        result = gateway.future.result(60)
    assert readings(broker.arrived) == [0, 1, 2]
    assert (result.published, result.partial) == (3, True)


def test_half_a_line_at_the_end_told_is_no_problem_and_no_reading() -> None:
    broker = Broker()
    with running(broker) as gateway:
        gateway.write(line(0) + line(1)[:40])
        time.sleep(0.05)
        gateway.stop.set()
        result = gateway.future.result(60)
    assert (result.published, result.problems) == (1, {})


def test_progress_is_told() -> None:
    told: list[Progress] = []
    run_gateway(io.BytesIO(line(0) + b"?\n"), Broker(), subject="p1", on_progress=told.append)
    assert told[-1] == Progress(lines=2, published=1, problems=1, waiting=False)


@pytest.mark.usefixtures("hurried")
def test_a_broker_that_was_away_gets_everything() -> None:
    broker = Broker()
    told: list[Progress] = []
    with running(broker, on_progress=told.append) as gateway:
        broker.away = True
        gateway.write(line(0))
        eventually(lambda: any(progress.waiting for progress in told))
        gateway.write(line(1))
        before = broker.calls
        eventually(lambda: broker.calls > before + 1)
        assert broker.arrived == []
        broker.away = False
        eventually(lambda: sorted(readings(broker.arrived)) == [0, 1])
        result = gateway.end()
    assert (result.published, result.partial, result.problems) == (2, False, {})


@pytest.mark.usefixtures("hurried")
def test_what_was_in_flight_and_never_confirmed_is_sent_again() -> None:
    broker = Broker()
    broker.slow = True
    with running(broker) as gateway:
        gateway.write(line(0))
        eventually(lambda: len(broker.in_flight) == 1)
        broker.lose()
        broker.slow = False
        eventually(lambda: readings(broker.arrived) == [0])
        assert gateway.end().published == 1


def test_a_broker_that_stays_away_holds_the_stream_back_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_HELD", 5)
    broker = Broker()
    broker.away = True
    sent: list[int] = []

    def send_all() -> None:
        for number in range(100):
            sent.append(number)
            held.send(Message(b"k", b"v", "heart_rate", 1))

    stop = threading.Event()
    held = Delivery(broker, stop)
    thread = threading.Thread(target=send_all)
    thread.start()
    eventually(lambda: broker.looks > 3)
    assert len(sent) == 5
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert held.held_back_s > 0.2


def test_a_block_is_not_cut_because_the_broker_held_the_stream_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.stream_input._PIECE", 1000)
    monkeypatch.setattr("connectors.delivery.MOST_HELD", 1)
    clock = [0.0]

    class Away(Broker):
        """Comes back after a hundred seconds."""

        def flush(self, timeout_s: float | None = None) -> Receipt:
            clock[0] += 100.0
            self.away = False
            return super().flush(timeout_s)

    broker = Away()
    broker.away = True
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as stream, os.fdopen(theirs, "wb") as writer:
        writer.write(b"".join(sample(number) for number in (*range(10), *range(3000, 3040))))
        writer.close()
        result = run_gateway(stream, broker, subject="p1", clock=lambda: clock[0])
    assert [len(series(decode(payload, "sensor-reading"))) for payload in broker.arrived] == [10, 40]
    assert result.published == 50


@pytest.mark.usefixtures("hurried")
def test_what_is_not_confirmed_in_time_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.gateway._PATIENCE_AT_STOP_S", 0.2)
    broker = Broker()
    broker.slow = True
    with running(broker) as gateway:
        gateway.write(line(0) + line(1))
        eventually(lambda: len(broker.in_flight) == 1)
        gateway.stop.set()
        result = gateway.future.result(60)
    assert (result.published, result.problems, result.partial) == (0, {UNACKNOWLEDGED: 2}, True)
    assert result.records == 2


@pytest.mark.parametrize("late", [False, True])
def test_what_the_broker_refuses_ends_the_stream_with_words(late: bool) -> None:
    broker = Broker()
    if late:
        broker.reasons = {"the record is larger than the topic allows": 1}
    else:
        broker.refusal = "this user may not do that with the topic"
    result = run_gateway(io.BytesIO(line(0) + line(1)), broker, subject="p1")
    assert result.failure in (broker.refusal, "the record is larger than the topic allows")
    assert (result.published, result.problems, result.partial) == (0, {UNACKNOWLEDGED: 2}, True)


def test_a_block_of_a_file_is_not_cut_by_the_clock() -> None:
    clock = [0.0]

    class Slow(io.BytesIO):
        """A file whose reading takes ten seconds a piece."""

        def read1(self, size: int | None = -1, /) -> bytes:
            clock[0] += 10.0
            return super().read1(400)

    broker = Broker()
    run_gateway(Slow(b"".join(sample(i) for i in range(200))), broker, subject="p1", clock=lambda: clock[0])
    assert len(broker.arrived) == 1


def test_sigterm_ends_it_and_flushes() -> None:
    ours, theirs = os.pipe()
    broker, stop = Broker(), threading.Event()
    with os.fdopen(ours, "rb") as stream, os.fdopen(theirs, "wb", buffering=0) as writer, stop_on_signals(stop):
        writer.write(line(0) + line(1))
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        result = run_gateway(stream, broker, subject="p1", stop=stop)
    assert readings(broker.arrived) == [0, 1]
    assert (result.published, result.partial) == (2, True)


def test_handlers_of_signals_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals(threading.Event()):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_memory_stays_flat_whatever_comes() -> None:
    class Endless(io.RawIOBase):
        """60 MB without a line end."""

        left = 60

        def read(self, size: int = -1, /) -> bytes:
            self.left -= 1
            return b"x" * 1_000_000 if self.left >= 0 else b""

    import tracemalloc

    tracemalloc.start()
    result = run_gateway(Endless(), None)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.problems == {Reason.TOO_LARGE: 1}
    assert peak < 10_000_000
