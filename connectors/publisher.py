"""Publishing to one topic: bounded in flight, asked of all replicas, and counted by what the broker acknowledged."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import pyarrow as pa

from connectors.bounded import Limits
from connectors.causes import NOT_WITH_THE_TOPIC, cause, in_words, recent
from connectors.kafka import KafkaRefused, KafkaSettings, KafkaUnreachable, producer
from connectors.kafka_python import (
    BrokerResponseError,
    KafkaError,
    KafkaProducer,
    KafkaTimeoutError,
    RetriableError,
)
from connectors.topics import message_limit

_LINGER_MS = 20
_BATCH_BYTES = 256 * 1024
_LARGEST_RECORD = Limits().record_bytes  # unpacked: what a reader takes
_USUAL_LIMIT = 1024 * 1024  # where the topic's own may not be known
_ZSTD = pa.Codec("zstd", compression_level=3)
_TELL_EVERY_S = 0.25
_OVERHEAD = 256  # bytes of a record, and of a batch with this record alone, beside its key, value and headers
_LAST_S = 1.0
_ENDS_S = 10.0

UNKNOWN = "no acknowledgement in time: it may have arrived or not"


class TooLarge(Exception):
    """A record that its topic would not take, or that a reader would have to reject."""


@dataclass(frozen=True)
class Receipt:
    """What became of the records given to a publisher: their sum is the number of records that `send` took.

    `reasons` counts the failed ones by words; a record that failed with UNKNOWN may be in the topic nevertheless.
    `told` has each reason in full: in which topic, for whom, and what to do.
    """

    acknowledged: int = 0
    failed: int = 0
    in_flight: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def refusals(self) -> list[str]:
        """Why some were refused, and will be again: what wants a right first. Nothing of those whose fate is not known."""
        decided = sorted(self.reasons.keys() - {UNKNOWN}, key=lambda words: (words != NOT_WITH_THE_TOPIC, words))
        return [self.told.get(words, words) for words in decided]


Progress = Callable[[Receipt], None]


class _Account:
    """Who is in flight, and what became of the others. One lock, since acknowledgements come from another thread."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        self._max_records, self._max_bytes = max_records, max_bytes
        self._changed = threading.Condition()
        self._acknowledged = self._records = self._bytes = self._generation = 0
        self._reasons: Counter[str] = Counter()
        self._moved = time.monotonic()
        self.trouble: Exception | None = None

    @property
    def receipt(self) -> Receipt:
        with self._changed:
            return Receipt(self._acknowledged, self._reasons.total(), self._records, dict(self._reasons))

    def enter(self, size: int) -> Callable[[Exception | None], None] | None:
        """Take one record in, where there is room (for one there always is); what to call when its fate is known."""
        with self._changed:
            if self._records and (self._records >= self._max_records or self._bytes + size > self._max_bytes):
                return None
            if not self._records:
                self._moved = time.monotonic()
            self._records, self._bytes = self._records + 1, self._bytes + size
            return partial(self._leave, self._generation, size)

    def _leave(self, generation: int, size: int, error: Exception | None) -> None:
        with self._changed:
            if generation != self._generation:
                return
            self._records, self._bytes, self._moved = self._records - 1, self._bytes - size, time.monotonic()
            if error is None:
                self._acknowledged += 1
            else:
                self._reasons[_reason(error)] += 1
                if not isinstance(error, TooLarge) and not (self.trouble and _is_decided(self.trouble)):
                    self.trouble = error  # what follows a refusal says only that the producer has ended by it
            self._changed.notify_all()

    def silent_for(self) -> float:
        """Seconds since a record's fate was known; 0 with nothing in flight."""
        with self._changed:
            return time.monotonic() - self._moved if self._records else 0.0

    def wait(self, seconds: float) -> None:
        """Until something has changed, at most so long."""
        with self._changed:
            if self._records:
                self._changed.wait(max(0.0, seconds))

    def give_up(self) -> None:
        """Whatever is in flight has failed; a late word about it no longer counts."""
        with self._changed:
            if self._records:
                self._reasons[UNKNOWN] += self._records
            self._records = self._bytes = 0
            self._generation += 1
            self.trouble = None


def _reason(error: Exception) -> str:
    if isinstance(error, TooLarge):
        return str(error)
    return in_words(error) if _is_decided(error) else UNKNOWN


def _is_decided(error: Exception) -> bool:
    return isinstance(error, BrokerResponseError) and not isinstance(error, RetriableError)


def _in_full(settings: KafkaSettings, topic: str, words: str) -> str:
    """Which topic refuses; and where it is a matter of rights, whom, and what gives the right."""
    if words != NOT_WITH_THE_TOPIC:
        return f"{topic}: {words}"
    return (
        f"{topic}: {settings.principal} may not write to this topic: `wellspring kafka grant` gives our own users and "
        "partners their rights; a partner asks the operator"
    )


class Publisher:
    """Sends records to one topic; `with` waits at its end until all are acknowledged or have failed.

    `send` blocks while `max_records` or `max_bytes` are in flight, so a broker that is away holds its sender back, and
    all goes on when it is back. When nothing has been acknowledged for `patience_s`, what is in flight has failed, and
    the next `send` raises. Opening raises KafkaUnreachable, or KafkaRefused where the topic is not there or not ours.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        max_records: int = 10_000,
        max_bytes: int = 32 * 1024 * 1024,
        patience_s: float = 120.0,
        on_progress: Progress | None = None,
    ) -> None:
        self._settings, self._topic, self._patience_s = settings, topic, patience_s
        self._on_progress, self._told_at = on_progress, 0.0
        self._account = _Account(max_records, max_bytes)
        self._limit = message_limit(settings, topic) or _USUAL_LIMIT
        self._producer: KafkaProducer | None = self._open()

    def _open(self) -> KafkaProducer:
        opened = producer(
            self._settings,
            compression_type="zstd",
            linger_ms=_LINGER_MS,
            batch_size=min(_BATCH_BYTES, self._limit),
            max_request_size=2 * _LARGEST_RECORD,
            max_block_ms=int(self._settings.connect_timeout_s * 1000),
            delivery_timeout_ms=int(2 * self._patience_s * 1000) + _LINGER_MS,
            request_timeout_ms=int(min(30.0, self._patience_s) * 1000),
        )
        with ExitStack() as unfinished:
            unfinished.callback(_end, opened)
            try:
                opened.partitions_for(self._topic)
            except KafkaError as error:
                unknown = isinstance(error, KafkaTimeoutError)
                why = "there is no such topic, or this user may not see it" if unknown else in_words(error)
                raise KafkaRefused(f"{self._topic}: {why}") from None
            unfinished.pop_all()
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self.close(self._patience_s if failure is None else self._settings.connect_timeout_s)

    @property
    def receipt(self) -> Receipt:
        """As of now."""
        found = self._account.receipt
        return replace(found, told={words: _in_full(self._settings, self._topic, words) for words in found.reasons})

    def send(self, key: bytes, value: bytes, headers: Iterable[tuple[str, bytes]] = ()) -> None:
        """Take one record, as soon as there is room for it.

        KafkaUnreachable or KafkaRefused where earlier records could not be delivered: this one is then not taken, and
        all that was in flight is counted as failed; who calls again goes on, with a new connection. A record that is
        too large is counted as failed, and does not raise.
        """
        if self._producer is None:
            self._producer = self._open()
        listed = list(headers)
        size = _OVERHEAD + len(key) + len(value) + sum(len(name) + len(content) for name, content in listed)
        leave = self._enter(size)
        try:
            self._must_fit(value, size)
            future = self._producer.send(self._topic, key=key, value=value, headers=listed)
        except (TooLarge, KafkaError) as error:
            leave(error)
        else:
            future.add_callback(lambda _: leave(None))
            future.add_errback(leave)
        self._tell()

    def _enter(self, size: int) -> Callable[[Exception | None], None]:
        while True:
            self._must_go_on()
            if leave := self._account.enter(size):
                return leave
            self._account.wait(_TELL_EVERY_S)
            self._tell()

    def _must_fit(self, value: bytes, size: int) -> None:
        """Judged before it is sent: after a broker's refusal kafka-python's producer fails whatever comes next."""
        if size > _LARGEST_RECORD:
            raise TooLarge(f"the record is larger than {_LARGEST_RECORD} bytes")
        if size > self._limit and size - len(value) + len(_ZSTD.compress(value, asbytes=True)) > self._limit:
            raise TooLarge(f"the record is larger, compressed, than the {self._limit} bytes that its topic takes")

    def _must_go_on(self) -> None:
        """Raise where records could not be delivered. kafka-python's producer does not recover from that: it goes."""
        trouble = self._account.trouble
        if trouble is None and self._account.silent_for() <= self._patience_s:
            return
        why = cause(self._settings, recent())
        self._end()
        if trouble is None or isinstance(trouble, RetriableError):
            raise KafkaUnreachable(why)
        raise KafkaRefused(_in_full(self._settings, self._topic, in_words(trouble)))

    def flush(self, timeout_s: float | None = None) -> Receipt:
        """Wait until nothing is in flight, at most `timeout_s` (by default the patience); the receipt says what is."""
        deadline = time.monotonic() + (self._patience_s if timeout_s is None else timeout_s)
        while self.receipt.in_flight and (left := deadline - time.monotonic()) > 0:
            self._account.wait(min(_TELL_EVERY_S, left))
            self._tell()
        self._tell(now=True)
        return self.receipt

    def close(self, timeout_s: float | None = None) -> Receipt:
        """Flush; what is still in flight then is given up and counted as failed."""
        try:
            self.flush(timeout_s)
        finally:
            self._end()
        return self.receipt

    def _end(self) -> None:
        last, self._producer = self._producer, None
        if last is not None:
            _end(last)
        self._account.give_up()

    def _tell(self, now: bool = False) -> None:
        if self._on_progress is not None and (now or time.monotonic() - self._told_at >= _TELL_EVERY_S):
            self._told_at = time.monotonic()
            self._on_progress(self.receipt)


def _end(last: KafkaProducer) -> None:
    """Close it, and wait for its thread, which holds its connections; what is in flight has a moment to arrive."""
    with suppress(KafkaTimeoutError):
        last.close(timeout=_LAST_S)
    last._sender.force_close()
    last._sender.join(_ENDS_S)
    last.close(timeout=_LAST_S)
