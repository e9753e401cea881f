import threading
import time

import pytest

from connectors.kafka_python import (
    KafkaTimeoutError,
    NotEnoughReplicasError,
    TopicAuthorizationFailedError,
)
from connectors.publisher import UNKNOWN, Receipt, TooLarge, _Account


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


def test_silence_is_counted_from_the_last_word_and_only_while_somebody_waits() -> None:
    account = _Account(10, 1_000)
    assert account.silent_for() == 0
    leave = account.enter(1)
    time.sleep(0.02)
    assert leave
    assert account.silent_for() >= 0.02
    account.enter(1)
    leave(None)
    assert account.silent_for() < 0.02


def test_who_waits_is_woken_by_an_acknowledgement() -> None:
    account = _Account(1, 1_000)
    leave = account.enter(1)
    assert leave
    threading.Timer(0.05, leave, [None]).start()
    began = time.monotonic()
    account.wait(10)
    assert time.monotonic() - began < 5
    assert account.enter(1)


@pytest.mark.parametrize("error", [KafkaTimeoutError(), RuntimeError("heart rate 71")])
def test_without_a_brokers_word_nobody_knows(error: Exception) -> None:
    account = _Account(1, 1)
    leave = account.enter(1)
    assert leave
    leave(error)
    assert list(account.receipt.reasons) == [UNKNOWN]
