"""Records as they are read one by one, a dict each, become batches of a format's schema: for files that are small."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from connectors.formats import Found, NotRead, Partial, Problem
from schemas.reasons import Reason

BATCH_ROWS = 5000
LONGEST_TEXT = 200
_MISSING: dict[str, Any] = {"modality": "sensed", "parts": []}


class Record(NamedTuple):
    """A source record: where it lies in the file, and its columns by name. One that is not named is null; of `end`, the
    start; of `modality`, sensed; of `parts`, none. Times are microseconds."""

    place: str
    columns: dict[str, Any]


def in_batches(found: Iterable[Record | Problem | NotRead | Partial], schema: pa.Schema) -> Iterator[Found]:
    """The records in batches, in their order, and whatever else a file holds; a text that is too long is a problem."""
    rows: list[dict[str, Any]] = []
    for one in found:
        if not isinstance(one, Record):
            if isinstance(one, Partial) and rows:
                yield _batch(rows, schema)
                rows = []
            yield one
        elif any(isinstance(value, str) and len(value) > LONGEST_TEXT for value in one.columns.values()):
            yield Problem(Reason.TOO_LARGE, one.place, _kind(one))
        else:
            rows.append(one.columns)
        if len(rows) >= BATCH_ROWS:
            yield _batch(rows, schema)
            rows = []
    if rows:
        yield _batch(rows, schema)


def _kind(record: Record) -> str | None:
    kind: str = record.columns["type"]
    return kind if len(kind) <= LONGEST_TEXT else None


def _batch(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    whole = [{**_MISSING, "end": row["start"], **row} for row in rows]
    return pa.RecordBatch.from_pylist(whole, schema=schema)
