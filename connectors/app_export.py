"""App exports: batches of source records as messages of the contract app-export, and back.

A message carries some of the records of one export as the app wrote them; what they mean is decided by the pipeline,
with the format's mapping, so that a wrong mapping is mended without asking anybody for the export again.
"""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.formats import Format, Found, format_named
from connectors.receipt import Receipt
from connectors.sending import MOST_BYTES, Message, Sink, send
from schemas.arrow_stream import as_words, from_stream, to_stream
from schemas.contract_check import JUDGES
from schemas.contracts import encode
from schemas.headers import Text, field_rejection
from schemas.reasons import Reason, Rejected
from schemas.source_records import repeating

CONTRACT = "app-export"


class ExportHeader(BaseModel):
    """Everything of a message but its records."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    subject: Text
    format: Annotated[str, Field(min_length=1, max_length=40)]
    format_version: Annotated[int, Field(ge=1)]
    part: Annotated[int, Field(ge=0)] = 0


def publish_export(
    source: Format,
    found: Iterable[Found],
    subject: str,
    receipt: Receipt,
    sink: Sink | None,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Publish what a file holds, or only count it where there is no sink; as `connectors.sending.send` says."""
    parts = count()

    def messages(batch: pa.RecordBatch) -> Iterator[Message]:
        for rows, stream in _streams(_in_words(batch), most_bytes):
            value = None if stream is None else _encoded(source, subject, next(parts), stream)
            yield Message(rows, subject.encode(), value)

    send(found, messages, receipt, sink)


def _in_words(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with each text of a column that repeats few of them said once."""
    names = repeating(batch.schema)
    columns = {name: batch.column(name) for name in batch.schema.names}
    coded = {name: as_words(values) if name in names else values for name, values in columns.items()}
    fields = [field.with_type(coded[field.name].type) for field in batch.schema]
    return pa.RecordBatch.from_arrays(list(coded.values()), schema=pa.schema(fields))


def _encoded(source: Format, subject: str, part: int, stream: bytes) -> bytes:
    head = {"subject": subject, "format": source.name, "format_version": source.version, "part": part}
    return encode(CONTRACT, {**head, "records": stream})


def _streams(batch: pa.RecordBatch, most_bytes: int) -> Iterator[tuple[pa.RecordBatch, bytes | None]]:
    """The batch in pieces, in its order, each as a stream of at most `most_bytes`; None for a row that is larger."""
    waiting = [batch]
    while waiting:
        rows = waiting.pop()
        stream = to_stream(rows)
        if len(stream) <= most_bytes:
            yield rows, stream
        elif rows.num_rows == 1:
            yield rows, None
        else:
            half = min(rows.num_rows - 1, max(1, rows.num_rows * most_bytes // (len(stream) + most_bytes // 8)))
            waiting += [rows.slice(half), rows.slice(0, half)]


def read_export(message: dict[str, Any]) -> tuple[ExportHeader, pa.RecordBatch]:
    """The judged header and the source records of a decoded message, texts that repeat maybe as WORDS; Rejected where
    they are not what they should be."""
    try:
        header = ExportHeader.model_validate({name: value for name, value in message.items() if name != "records"})
    except ValidationError as error:
        raise field_rejection(error) from None
    source = format_named(header.format)
    if source is None or source.contract != CONTRACT:
        raise Rejected(Reason.FIELD, "format", "the name of a format that is known here")
    if header.format_version != source.version:
        raise Rejected(Reason.FIELD, "format_version", f"version {source.version} of the format")
    records = from_stream(message["records"], source.schema, "records", repeating(source.schema))
    if not records.num_rows:
        raise Rejected(Reason.NO_READINGS, "records")
    return header, records


def _judge(message: dict[str, Any]) -> int:
    """The facts of a message, for `wellspring contract check`: each record's own value and its parts."""
    _, records = read_export(message)
    return int(records.num_rows + sum(records.column("parts").value_lengths().to_pylist()))


JUDGES[CONTRACT] = _judge
