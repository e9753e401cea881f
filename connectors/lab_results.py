"""Laboratory results: batches of source records become messages of the contract lab-result, one a report.

Only the containers change here: what a code, a unit or a status means is decided behind Kafka.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

import pyarrow as pa

from connectors.formats import Found
from connectors.hl7v2_answers import Answers
from connectors.receipt import Receipt
from connectors.sending import MOST_BYTES, Message, Sink, send
from schemas.contracts import encode

CONTRACT = "lab-result"
_MOST_RESULTS = 1000
_HEAD = ("subject", "subject_kind", "order", "specimen", "sent")
_RECORD = "org.wellspring."
_VALUES = {"number": "NumberValue", "codes": "CodeValue", "text": "TextValue", "time": "TimeValue"}
_OPTIONAL = {"other_code": "Code", "unit": "Code", "method": "Code", "analysed": "Moment"}


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
    columns = {name: batch.column(name).to_pylist() for name in (*_HEAD, "source_name", "result")}
    first = 0
    for _, rows in groupby(batch.column("report").to_pylist()):
        last = first + len(list(rows))
        head = {name: columns[name][first] for name in _HEAD} | {"laboratory": columns["source_name"][first]}
        results = [_result(one) for one in columns["result"][first:last]]
        yield from _messages(batch.slice(first, last - first), head, results, most_bytes)
        first = last


def _messages(
    rows: pa.RecordBatch, head: dict[str, Any], results: list[dict[str, Any]], most_bytes: int
) -> Iterator[Message]:
    value = encode(CONTRACT, {**head, "results": results}) if len(results) <= _MOST_RESULTS else b""
    if value and (len(value) <= most_bytes or len(results) == 1):
        yield Message(rows, head["subject"].encode(), value)
        return
    half = len(results) // 2
    yield from _messages(rows.slice(0, half), head, results[:half], most_bytes)
    yield from _messages(rows.slice(half), head, results[half:], most_bytes)


def _result(result: dict[str, Any]) -> dict[str, Any]:
    """A result as the Avro library takes it: records that may be absent by their names, so that it tries no others."""
    for name, record in _OPTIONAL.items():
        if result[name] is not None:
            result[name] = (_RECORD + record, result[name])
    value = result["value"]
    if value is not None:
        kind = next(kind for kind in _VALUES if value[kind] is not None)
        content = {"text": value[kind]} if kind == "text" else value[kind]
        result["value"] = (_RECORD + _VALUES[kind], content)
    return result
