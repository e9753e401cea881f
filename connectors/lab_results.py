"""Laboratory results: batches of source records become messages of the contract lab-result, one a report.

Only the containers change here: what a code, a unit or a status means is decided behind Kafka.
"""

from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import pairwise

import numpy as np
import pyarrow as pa

from connectors.formats import Found
from connectors.hl7v2_answers import Answers
from connectors.receipt import Receipt
from connectors.sending import MOST_BYTES, Message, Sink, send
from schemas.avro_columns import Items, ListWriter
from schemas.contracts import latest

CONTRACT = "lab-result"
_MOST_RESULTS = 1000
_OWN = ("subject", "subject_kind", "order", "specimen", "sent", "run")
_HEAD = {**dict(zip(_OWN, _OWN, strict=True)), "laboratory": "source_name"}
"""What a message says once, and the column that it is in."""


@cache
def _writer() -> ListWriter:
    return ListWriter(latest(CONTRACT))


def publish_results(
    found: Iterable[Found],
    receipt: Receipt,
    sink: Sink | None,
    answers: Answers | None = None,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Publish the results of a file, or only count them where there is no sink; raises what the sink raises.

    `answers` are told of the messages whose results were not confirmed.
    """

    def failed(batch: pa.RecordBatch) -> None:
        if answers:
            for number in batch.column("message").unique().to_pylist():
                answers.failed(number)

    send(found, partial(lab_messages, most_bytes=most_bytes), receipt, sink, failed)


def lab_messages(batch: pa.RecordBatch, most_bytes: int = MOST_BYTES) -> Iterator[Message]:
    """A batch of LAB_SCHEMA in messages of at most `most_bytes`, a report that is larger in several.

    A single result is far smaller than any limit: its texts are bounded where it is read.
    """
    report = batch.column("report").to_numpy()
    begins = np.flatnonzero(np.append(len(report) > 0, report[1:] != report[:-1]))
    columns = [batch.column(name).take(pa.array(begins)) for name in _HEAD.values()]
    heads = _writer().heads(pa.StructArray.from_arrays(columns, list(_HEAD)))
    results = _writer().items(batch.column("result"))
    reports = zip(heads, columns[0].to_pylist(), pairwise([*begins.tolist(), len(report)]), strict=True)
    for head, subject, (first, last) in reports:
        yield from _messages(batch, subject.encode(), head, results, first, last, most_bytes)


def _messages(
    batch: pa.RecordBatch, key: bytes, head: bytes, results: Items, first: int, last: int, most_bytes: int
) -> Iterator[Message]:
    """The rows [first, last) of a batch, all of one report, in as many messages as they need."""
    count = last - first
    value = results.after(head, first, last) if count <= _MOST_RESULTS else b""
    if value and (len(value) <= most_bytes or count == 1):
        yield Message(batch.slice(first, count), key, value)
        return
    half = first + count // 2
    yield from _messages(batch, key, head, results, first, half, most_bytes)
    yield from _messages(batch, key, head, results, half, last, most_bytes)
