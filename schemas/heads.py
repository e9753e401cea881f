"""Heads: what a device says of itself comes first in each of its messages, in the same bytes, and is read once.

Avro lays the fields of a record end to end, and where a field ends and what it is are told by its own bytes alone. So a
body that begins with the bytes of a head that was read before has that very head, and the rest begins where it ends.
"""

import io
from typing import Any

import fastavro
from fastavro.schema import to_parsing_canonical_form

_MOST_HEADS = 20_000
_MOST_BYTES = 1_024  # of a head that is kept
_MOST_ENDS = 8
_IN_EVERY_HEAD = 12  # bytes that come after the first text of any head


class PlainReader:
    """Reads bodies of the writer's schema as the reader's."""

    def __init__(self, writer: Any, reader: Any) -> None:
        self._writer, self._reader = writer, _unless_alike(reader, writer)

    def read(self, payload: bytes, begin: int) -> tuple[Any, int]:
        """What begins there, and where it ends; it raises what fastavro raises."""
        body = io.BytesIO(payload)
        body.seek(begin)
        return fastavro.schemaless_reader(body, self._writer, self._reader), body.tell()


class HeadedReader:
    """Reads bodies of the writer's schema as the reader's: records of which the first field is a text.

    Their heads are the fields up to `last`. What is inside the head is shared by all messages that have it, and is not
    to be changed.
    """

    def __init__(self, writer: Any, reader: Any, last: str) -> None:
        (head, rest), (head_as, rest_as) = _parts(writer, last), _parts(reader, last)
        self._head, self._rest = PlainReader(head, head_as), PlainReader(rest, rest_as)
        self._heads: dict[bytes, dict[str, Any]] = {}
        self._ends: dict[bytes, tuple[int, ...]] = {}

    def read(self, payload: bytes, begin: int) -> tuple[Any, int]:
        """What begins there, and where it ends; it raises what fastavro raises."""
        first = payload[begin : _end_of_text(payload, begin) + _IN_EVERY_HEAD]
        for end in self._ends.get(first, ()):
            head = self._heads.get(payload[begin:end])
            if head is not None:
                break
        else:
            head, end = self._head.read(payload, begin)
            self._keep(head, payload[begin:end], first, end)
        rest, end = self._rest.read(payload, end)
        return {**head, **rest}, end

    def _keep(self, head: dict[str, Any], said: bytes, first: bytes, end: int) -> None:
        """Remember a head by its bytes, and where those end that begin like it."""
        if len(said) > _MOST_BYTES:
            return
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
            self._ends.clear()
        self._heads[said] = head
        ends = self._ends.get(first, ())
        if end not in ends:
            self._ends[first] = (end, *ends[: _MOST_ENDS - 1])


def _parts(schema: Any, last: str) -> tuple[Any, Any]:
    """The record's schema as two: of the fields up to `last`, and of those after it."""
    cut = 1 + [field["name"] for field in schema["fields"]].index(last)
    fields = schema["fields"][:cut], schema["fields"][cut:]
    head, rest = (fastavro.parse_schema({"type": "record", "name": schema["name"], "fields": own}) for own in fields)
    return head, rest


def _unless_alike(reader: Any, writer: Any) -> Any:
    """The reader's schema; None where the writer's says the same of the bytes."""
    return None if to_parsing_canonical_form(reader) == to_parsing_canonical_form(writer) else reader


def _end_of_text(payload: bytes, at: int) -> int:
    """Where the text ends that begins there, if it has less than 8 kB; any place where it has more, or is none."""
    size = payload[at]
    if size < 0x80:
        return at + 1 + (size >> 1)
    return at + 2 + ((size & 0x7F | payload[at + 1] << 7) >> 1)
