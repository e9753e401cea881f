"""Sending what a file holds: batches become messages, and the receipt counts what the broker has confirmed."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa

from connectors.formats import Found, Partial, Problem
from connectors.kafka import KafkaRefused
from connectors.problems import UNACKNOWLEDGED
from connectors.receipt import Receipt
from schemas.reasons import Reason

MOST_BYTES = 800_000
"""Of a message with what a file holds: the contracts ask for 20 to 800 kB."""


class Message(NamedTuple):
    """A message: the rows of a batch that it holds, its Kafka key and its bytes; None for a row that no message can hold."""

    rows: pa.RecordBatch
    key: bytes
    value: bytes | None


class Fate(Protocol):
    """What became of the messages that a sink was given."""

    @property
    def failed(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def refusals(self) -> Sequence[str]:
        """Why some were refused for good, in words."""


class Sink(Protocol):
    """Where messages go, such as a Publisher: `flush` returns when each has been acknowledged or has failed."""

    def send(self, key: bytes, value: bytes) -> None: ...
    def flush(self) -> Fate: ...


def send(
    found: Iterable[Found],
    messages: Callable[[pa.RecordBatch], Iterable[Message]],
    receipt: Receipt,
    sink: Sink | None,
    unconfirmed: Callable[[pa.RecordBatch], None] | None = None,
) -> None:
    """Send what a file holds, or only count it where there is no sink; the receipt counts what was acknowledged.

    Where something was not, its whole batch counts as unacknowledged, `unconfirmed` is called with it, and the rest of
    the file is not read: sent again, what has arrived does not count twice. Raises what the sink raises.
    """
    for batch in receipt.batches(found):
        made = list(messages(batch))
        for message in made:
            if message.value is None:
                receipt.note(Problem(str(Reason.TOO_LARGE), "a record", message.rows.column("type")[0].as_py()))
        confirmed = False
        try:
            confirmed = sink is None or _are_confirmed(made, sink)
        finally:
            for message in made:
                if message.value is not None:
                    _count(message.rows, confirmed, receipt)
            if not confirmed and unconfirmed:
                unconfirmed(batch)
        if not confirmed:
            receipt.note(Partial("the first message that was not confirmed", "the broker did not confirm it in time"))
            return


def _are_confirmed(messages: Iterable[Message], sink: Sink) -> bool:
    """KafkaRefused where the broker will not take them another time either."""
    for message in messages:
        if message.value is not None:
            sink.send(message.key, message.value)
    fate = sink.flush()
    if fate.failed and fate.refusals:
        raise KafkaRefused(fate.refusals[0])
    return fate.failed == 0 and fate.in_flight == 0


def _count(rows: pa.RecordBatch, confirmed: bool, receipt: Receipt) -> None:
    if confirmed:
        receipt.add(rows)
        return
    for kind in rows.column("type").to_pylist():
        receipt.note(Problem(UNACKNOWLEDGED, "a message that the broker did not confirm", kind))
