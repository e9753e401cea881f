import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors import publisher
from connectors.causes import NOT_WITH_THE_TOPIC
from connectors.kafka import KafkaRefused, KafkaSettings
from connectors.kafka_python import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    TopicAuthorizationFailedError,
)
from connectors.publisher import UNKNOWN, Publisher, Receipt, TooLarge, _Account
from infra.certificates import Authority, private_key


def test_the_receipt_counts_what_was_acknowledged_and_why_the_rest_failed() -> None:
    account = _Account(10, 1_000)
    errors = [None, None, TooLarge("too large"), KafkaTimeoutError(), NotEnoughReplicasError()]
    for leave, error in [(account.enter(10), error) for error in errors]:
        assert leave
        leave(error)
    account.enter(10)
    assert account.receipt == Receipt(acknowledged=2, failed=3, in_flight=1, reasons={"too large": 1, UNKNOWN: 2})


def test_room_is_bounded_by_records_and_by_bytes() -> None:
    by_records, by_bytes = _Account(2, 1_000), _Account(10, 100)
    assert [by_records.enter(1) is not None for _ in range(3)] == [True, True, False]
    assert [by_bytes.enter(60) is not None for _ in range(2)] == [True, False]
    assert by_bytes.enter(40)


def test_a_record_larger_than_all_the_room_is_taken_when_it_is_alone() -> None:
    account = _Account(10, 100)
    leave = account.enter(5_000)
    assert leave
    assert account.enter(1) is None
    leave(None)
    assert account.enter(1)


def test_only_what_is_not_the_records_own_fault_is_trouble() -> None:
    account = _Account(10, 1_000)
    for error, troubled in ((TooLarge(), False), (TopicAuthorizationFailedError(), True)):
        leave = account.enter(1)
        assert leave
        leave(error)
        assert (account.trouble is error) is troubled


def test_what_a_producer_says_after_a_refusal_does_not_hide_the_refusal() -> None:
    account = _Account(10, 1_000)
    for error in (KafkaTimeoutError(), TopicAuthorizationFailedError(), KafkaError("fatal")):
        leave = account.enter(1)
        assert leave
        leave(error)
    assert isinstance(account.trouble, TopicAuthorizationFailedError)


@pytest.mark.parametrize(
    ("settings", "who"),
    [
        ({"security": "SASL_SSL", "username": "u", "password": "p"}, "user u"),
        ({"security": "SSL", "cert_file": "c.crt", "key_file": "c.key"}, "user acme"),
        ({}, "user ANONYMOUS"),
    ],
)
def test_a_refused_user_is_named_with_the_topic_and_what_to_do(
    settings: dict[str, Any], who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime.now(UTC)
    certificate = Authority(tmp_path / "ca", now).certify("acme", private_key().public_key(), now)
    Path("c.crt").write_bytes(certificate)
    told = publisher._in_full(KafkaSettings.model_validate(settings), "acme.x.v1", NOT_WITH_THE_TOPIC)
    assert told.startswith(f"acme.x.v1: {who} may not write to this topic: `wellspring kafka grant` gives")
    assert publisher._in_full(KafkaSettings(), "acme.x.v1", "too large") == "acme.x.v1: too large"


def test_what_is_given_up_has_failed_and_a_late_word_does_not_count() -> None:
    account = _Account(10, 1_000)
    leave, late = account.enter(1), account.enter(1)
    assert leave
    assert late
    leave(None)
    account.give_up()
    late(None)
    assert account.receipt == Receipt(acknowledged=1, failed=1, in_flight=0, reasons={UNKNOWN: 1})
    assert account.trouble is None


def test_silence_is_counted_from_the_last_word_and_only_while_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(publisher, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    account = _Account(10, 1_000)
    clock[0] += 5
    assert account.silent_for() == 0
    leave = account.enter(1)
    assert leave
    clock[0] += 3
    assert account.silent_for() == 3
    account.enter(1)
    assert account.silent_for() == 3
    leave(None)
    clock[0] += 1
    assert account.silent_for() == 1


def test_who_waits_is_woken_by_an_acknowledgement() -> None:
    account = _Account(1, 1_000)
    leave = account.enter(1)
    assert leave
    threading.Timer(0.05, leave, [None]).start()
    began = time.monotonic()
    account.wait(60)
    assert time.monotonic() - began < 30
    assert account.enter(1)


@pytest.mark.parametrize("error", [KafkaTimeoutError(), RuntimeError("heart rate 71")])
def test_without_a_brokers_word_nobody_knows(error: Exception) -> None:
    account = _Account(1, 1)
    leave = account.enter(1)
    assert leave
    leave(error)
    assert list(account.receipt.reasons) == [UNKNOWN]


class Producer:
    """A producer that has lost its broker: it does not end until it is forced to."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self._fault, self._sender = fault, self
        self.forced = self.joined = self.closed = False

    def partitions_for(self, topic: str) -> set[int]:
        if self._fault is not None:
            raise self._fault
        return {0}

    def close(self, timeout: float) -> None:
        if not self.joined:
            raise KafkaTimeoutError
        self.closed = True

    def force_close(self) -> None:
        self.forced = True

    def join(self, timeout: float) -> None:
        self.joined = self.forced


def opened(monkeypatch: pytest.MonkeyPatch, producer: Producer, **options: Any) -> Publisher:
    """A publisher with this producer."""
    monkeypatch.setattr(publisher, "producer", lambda *_, **__: producer)
    monkeypatch.setattr(publisher, "message_limit", lambda *_: None)
    return Publisher(KafkaSettings(), "acme.sensor-reading.v1", **options)


def test_its_producer_ends_with_it_even_where_it_has_to_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = Producer()
    with opened(monkeypatch, producer):
        pass
    assert producer.closed


def test_its_producer_ends_with_it_when_who_is_told_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Receipt) -> None:
        raise KeyboardInterrupt

    producer = Producer()
    with pytest.raises(KeyboardInterrupt), opened(monkeypatch, producer, on_progress=interrupted):
        pass
    assert producer.closed


@pytest.mark.parametrize(
    ("fault", "raised"), [(KafkaTimeoutError(), KafkaRefused), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_no_producer_stays_of_a_topic_that_cannot_be_asked_for(
    fault: BaseException, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(fault)
    with pytest.raises(raised):
        opened(monkeypatch, producer)
    assert producer.closed


def test_every_refusal_is_told_and_what_wants_a_right_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(monkeypatch, Producer()) as sends:
        for error in (MessageSizeTooLargeError(), KafkaTimeoutError(), TopicAuthorizationFailedError()):
            leave = sends._account.enter(1)
            assert leave
            leave(error)
        first, second = sends.receipt.refusals
        assert "may not write to this topic" in first
        assert second == "acme.sensor-reading.v1: a record is larger than the topic allows"
