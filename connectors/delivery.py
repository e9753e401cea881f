"""At least once: messages are kept until the broker has confirmed them, and sent again where it has not.

A stream cannot be asked for its lines again, so what is sent is held back here, within bounds, until everything sent
is confirmed. What arrives twice adds nothing further on: each reading is known by what it says.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.publisher import UNKNOWN, Receipt
from connectors.sensor_json import Message

MOST_HELD_BYTES = 16 * 1024 * 1024
MOST_HELD = 4096  # fewer than a publisher lets be in flight, so that its `send` never blocks
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_LOOK_EVERY_S = 0.1
_QUIET_S = 5.0  # unconfirmed for so long, the broker counts as away


class Sender(Protocol):
    """What is needed of a Publisher."""

    @property
    def receipt(self) -> Receipt: ...

    def send(self, key: bytes, value: bytes) -> None: ...

    def flush(self, timeout_s: float | None = None) -> Receipt: ...


class Delivery:
    """Sends messages and counts them, by metric, once they are `confirmed`; until then they are `held`.

    While the broker is away nothing is lost: `send` holds its caller back once the bounds are reached (`held_back_s` is
    for how long it has), tries again after growing pauses, and lets go when `stop` is set. What the broker refuses for
    good raises KafkaRefused.
    """

    def __init__(self, sender: Sender, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._sender, self._stop, self._clock = sender, stop, clock
        self.held: list[Message] = []
        self._held_bytes = 0
        self._unknown = 0
        self._acknowledged = 0
        self._heard_at = 0.0
        self._cut_off = False
        self._pause_s = _FIRST_PAUSE_S
        self._resend_at = 0.0
        self.confirmed: Counter[str] = Counter()
        self.held_back_s = 0.0

    @property
    def waiting(self) -> bool:
        """Whether the broker is away."""
        return self._cut_off or (bool(self.held) and self._clock() - self._heard_at > _QUIET_S)

    def send(self, message: Message) -> None:
        """Send a message; returns at once unless too much is unconfirmed."""
        if not self.held:
            self._heard_at = self._clock()
        self.held.append(message)
        self._held_bytes += len(message.payload)
        if not self._cut_off:
            self._try(message)
        began = self._clock()
        while (self._held_bytes > MOST_HELD_BYTES or len(self.held) >= MOST_HELD) and not self._stop.is_set():
            self._look_later()
        self.held_back_s += self._clock() - began

    def settle(self) -> None:
        """Look at what the broker has said: all is confirmed, or must be sent again, or nothing is known yet."""
        receipt = self._sender.receipt
        if receipt.acknowledged != self._acknowledged:
            self._acknowledged, self._heard_at = receipt.acknowledged, self._clock()
        if refused := receipt.refusals:
            raise KafkaRefused(refused[0])
        if not self.held or receipt.in_flight:
            return
        unknown = receipt.reasons.get(UNKNOWN, 0)
        if unknown > self._unknown:
            self._unknown = unknown
            self._lose()
        if not self._cut_off:
            self._confirm()
        elif self._clock() >= self._resend_at:
            self._resend()

    def finish(self, patience_s: float, patience_at_stop_s: float) -> None:
        """Wait until everything is confirmed, at most so long; `held` is then what is not."""
        deadline = self._clock() + patience_s
        told = False
        self.settle()
        while self.held and self._clock() < deadline:
            if self._stop.is_set() and not told:
                told, deadline = True, min(deadline, self._clock() + patience_at_stop_s)
            self._look_later()

    def _try(self, message: Message) -> None:
        try:
            self._sender.send(message.key, message.payload)
        except KafkaUnreachable:
            self._lose()

    def _lose(self) -> None:
        if not self._cut_off:
            self._cut_off, self._resend_at = True, self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _resend(self) -> None:
        self._cut_off = False
        for message in list(self.held):
            self._try(message)
            if self._cut_off:
                return

    def _confirm(self) -> None:
        for message in self.held:
            self.confirmed[message.metric] += message.readings
        self.held, self._held_bytes, self._pause_s = [], 0, _FIRST_PAUSE_S

    def _look_later(self) -> None:
        if self._sender.flush(_LOOK_EVERY_S).in_flight == 0 and self._cut_off:
            time.sleep(_LOOK_EVERY_S)
        self.settle()
