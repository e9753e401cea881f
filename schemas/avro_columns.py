"""Messages from columns: Arrow columns become Avro bodies, one a row, without an object for each value.

A record comes from a struct with its fields' names, or, where it has one field only, from that field itself. A union of
several records comes from a struct of which at most one field is there, one for each of them in their order.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastavro.schema import expand_schema

from schemas.contracts import MARKER, Contract
from schemas.reasons import Reason, Rejected

Write = Callable[[pa.Array], pa.Array]
"""Values to their bytes, `pa.large_binary`: null where a value is, or is not what the schema says."""

_BYTES = pa.large_binary()
_NOTHING = pa.scalar(b"", _BYTES)
_ZERO = pa.scalar(b"\0", _BYTES)  # the end of a list, and a union's null


class ListWriter:
    """Writes messages of a contract whose last field is a list, `encode`'s very bytes: heads and items apart.

    Rejected, with the field's path, where something is not what the contract says.
    """

    def __init__(self, contract: Contract) -> None:
        schema: Any = expand_schema(contract.schema)
        *head, last = schema["fields"]
        self._begin = MARKER + contract.fingerprint
        self._head = _record({"type": "record", "fields": head}, "")
        self._items, self._path = _writer(last["type"]["items"], last["name"]), last["name"]

    def heads(self, columns: pa.StructArray) -> list[bytes]:
        """All of each message but its list."""
        return [self._begin + body for body in _whole(self._head(columns), 0, "").to_pylist()]

    def items(self, column: pa.Array) -> "Items":
        """The items of one list or several, one after the other."""
        return Items(_whole(self._items(column), 0, self._path))


class Items:
    """Items of lists, as they are written."""

    def __init__(self, bodies: pa.Array) -> None:
        _, ends, content = bodies.buffers()
        self._ends = np.frombuffer(ends, np.int64)[bodies.offset :]
        self._content = memoryview(content or b"")

    def after(self, head: bytes, first: int, last: int) -> bytes:
        """The message of a head and the items [first, last), one at least."""
        own = self._content[self._ends[first] : self._ends[last]]
        return b"".join((head, _varint(last - first), own, b"\0"))


def _writer(schema: Any, path: str) -> Write:
    if isinstance(schema, list):
        return _union(schema[1:], path)  # null comes first
    kind = schema["type"] if isinstance(schema, dict) else schema
    of_kind = {"record": _record, "array": _list, "enum": _enum}.get(kind)
    return of_kind(schema, path) if of_kind else _PLAIN[kind]


def _record(schema: Any, path: str) -> Write:
    fields = {field["name"]: f"{path}.{field['name']}".removeprefix(".") for field in schema["fields"]}
    writers = [_writer(field["type"], fields[field["name"]]) for field in schema["fields"]]

    def write(column: pa.Array) -> pa.Array:
        own = [column]
        if pa.types.is_struct(column.type):
            named = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
            own = [named.pop(name) for name in fields]
            assert not named, "a column that the contract does not know"
        parts = zip(writers, own, fields.values(), strict=True)
        made = _joined(*(_whole(write(values), column.null_count, name) for write, values, name in parts))
        return pc.if_else(column.is_valid(), made, None) if column.null_count else made

    return write


def _list(schema: Any, path: str) -> Write:
    of_item = _writer(schema["items"], path)

    def write(column: pa.Array) -> pa.Array:
        sizes, values = pc.list_value_length(column), column.flatten()
        if not len(values):
            return pc.if_else(column.is_valid(), _ZERO, None)
        offsets = np.concatenate([[0], np.cumsum(sizes.fill_null(0).to_numpy(zero_copy_only=False))])
        lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), _whole(of_item(values), 0, path))
        filled = _joined(_integers(sizes), pc.binary_join(lists, _NOTHING), _ZERO)
        return pc.if_else(pc.equal(sizes, 0), _ZERO, filled)

    return write


def _enum(schema: Any, _: str) -> Write:
    symbols, numbers = pa.array(schema["symbols"]), pa.array(map(_varint, range(len(schema["symbols"]))), _BYTES)
    return lambda column: numbers.take(pc.index_in(column, symbols))


def _union(branches: list[Any], path: str) -> Write:
    """Null and others; of several others, each is a field of a struct."""
    writers = [(pa.scalar(_varint(place), _BYTES), _writer(one, path)) for place, one in enumerate(branches, 1)]

    def write(column: pa.Array) -> pa.Array:
        parts = zip(writers, [column] if len(writers) == 1 else column.flatten(), strict=True)
        made = [
            _joined(place, _whole(write(values), values.null_count, path))
            for (place, write), values in parts
            if values.null_count < len(values)
        ]
        return pc.coalesce(*made, _ZERO) if made else pa.repeat(_ZERO, len(column))

    return write


def _texts(column: pa.Array) -> pa.Array:
    content = column.cast(_BYTES)
    return _joined(_integers(pc.binary_length(content)), content)


def _integers(column: pa.Array) -> pa.Array:
    """Whole numbers of up to 64 bits, of which there are few different ones."""
    coded = column.dictionary_encode()
    return pa.array(map(_varint, coded.dictionary.to_pylist()), _BYTES).take(coded.indices)


def _varint(number: int) -> bytes:
    """Avro's form of a whole number: seven bits a byte, the sign in the last of all bits."""
    left, made = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        made.append(left & 0x7F | 0x80)
        left >>= 7
    made.append(left)
    return bytes(made)


def _doubles(column: pa.Array) -> pa.Array:
    content = column.fill_null(0.0).to_numpy().astype("<f8").tobytes()
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(column), [None, pa.py_buffer(content)])
    return pc.if_else(column.is_valid(), fixed.cast(_BYTES), None)


_PLAIN: dict[str, Write] = {"string": _texts, "int": _integers, "long": _integers, "double": _doubles}


def _joined(*parts: Any) -> pa.Array:
    return pc.binary_join_element_wise(*parts, _NOTHING)


def _whole(made: pa.Array, nulls: int, path: str) -> pa.Array:
    """What was made of a column of so many nulls, if nothing else is missing."""
    if made.null_count > nulls:
        raise Rejected(Reason.FIELD, path, "what the contract says")
    return made


def message_type(contract: Contract) -> pa.DataType:
    """The type of a column of decoded messages; of a union of several records it has the fields of all of them."""
    return _type(expand_schema(contract.schema))


def _type(schema: Any) -> pa.DataType:
    if isinstance(schema, list):
        own = [_type(branch) for branch in schema if branch != "null"]
        return own[0] if len(own) == 1 else pa.struct({field.name: field.type for kind in own for field in kind})
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return pa.struct({field["name"]: _type(field["type"]) for field in schema["fields"]})
    return pa.list_(_type(schema["items"])) if kind == "array" else _TYPES[kind]


_TYPES = {
    "string": pa.string(),
    "enum": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
}
