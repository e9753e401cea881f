"""The format withings-weight: `weight.csv` of the data that Withings gives to download, a row a weighing.

Each column is a type, with its unit in its head: `Weight (kg)`. Times are the wall clock's, and no zone is named. What
somebody wrote under Comments is not read.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from connectors.csv_files import Row, csv_rows
from connectors.formats import Format, Found, Partial, Problem, register
from connectors.record_batches import Record, in_batches
from schemas.reasons import Reason
from schemas.source_records import CLOCK, source_schema

SCHEMA = source_schema(CLOCK)
_HEAD = re.compile(rb'(\xef\xbb\xbf)?"?Date"?,"?Weight \(')
_COLUMN = re.compile(r"(?P<type>[A-Za-z ]+) \((?P<unit>[a-z]+)\)")
_EPOCH = datetime(1970, 1, 1)


def read(stream: BinaryIO, name: str = "") -> Iterator[Found]:
    """The records of a file, in batches of SCHEMA, and what could not be read."""
    return in_batches(_records(stream), SCHEMA)


def _records(stream: BinaryIO) -> Iterator[Record | Problem | Partial]:
    for row in csv_rows(stream):
        if isinstance(row, Row):
            yield from _weighing(row)
        else:
            yield row


def _weighing(row: Row) -> Iterator[Record | Problem]:
    try:
        at = datetime.strptime(row.cells["Date"], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        yield Problem(Reason.FIELD, row.place)
        return
    said = {"start": (at - _EPOCH) // timedelta(microseconds=1), "clock": "local", "source_name": "Withings"}
    for head, value in row.cells.items():
        if value and (column := _COLUMN.fullmatch(head)):
            yield Record(row.place, {**said, **column.groupdict(), "value": value})


def sniff(head: bytes, name: str) -> bool:
    """Whether a file that begins so may be such a table."""
    return _HEAD.match(head) is not None


MAPPING = Path(__file__).with_name("withings-weight.yaml")
FORMAT = register(Format("withings-weight", "Withings weight table", 1, "app-export", SCHEMA, read, sniff, MAPPING))
