"""A pydantic model's limits on columns: which of many values may break one, all judged at once.

The limits are those of the model's JSON schema: how long texts and lists are, how large numbers, which words there are.
A number that is not finite may break one, too. What binds several fields is not in the schema.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

Flags = npt.NDArray[np.bool_]
Judge = Callable[[pa.Array], Flags | None]
"""Which of the values [n] are beyond their limits; None where none is. Null is never."""

_INT64 = np.iinfo(np.int64)


@cache
def limits_of(model: type[BaseModel]) -> Judge:
    """What judges a column of structs that have the model's fields; of several models that a value may be of, all theirs."""
    schema = model.model_json_schema()
    return _judge(schema, schema.get("$defs", {}))


def _judge(schema: dict[str, Any], named: dict[str, Any]) -> Judge:
    if "$ref" in schema:
        return _judge(named[schema["$ref"].rpartition("/")[2]], named)
    if "anyOf" in schema:
        one, null = schema["anyOf"]
        assert null == {"type": "null"}, "a field is of one kind, or null"
        return _judge(one, named)
    if "oneOf" in schema:
        records = [named[one["$ref"].rpartition("/")[2]] for one in schema["oneOf"]]
        return _fields({name: field for one in records for name, field in one["properties"].items()}, named)
    if schema["type"] == "object":
        return _fields(schema["properties"], named)
    return _list(schema, named) if schema["type"] == "array" else _SINGLE[schema["type"]](schema)


def _fields(properties: dict[str, Any], named: dict[str, Any]) -> Judge:
    judges = {name: _judge(field, named) for name, field in properties.items()}

    def judge(column: pa.Array) -> Flags | None:
        broken = None
        for field, values in zip(column.type, column.flatten(), strict=True):
            if values.null_count < len(values):
                broken = either(broken, judges[field.name](values))
        return broken

    return judge


def _list(schema: dict[str, Any], named: dict[str, Any]) -> Judge:
    of_item, fewest = _judge(schema["items"], named), schema.get("minItems", 0)

    def judge(column: pa.Array) -> Flags | None:
        broken = _outside(pc.list_value_length(column), fewest, _INT64.max)
        items = pc.list_flatten(column)
        return either(broken, of_lists(column, of_item(items) if len(items) else None))

    return judge


def _text(schema: dict[str, Any]) -> Judge:
    if "enum" in schema:
        words = pa.array(schema["enum"])
        return lambda column: _unless_all(pc.or_kleene(pc.is_in(column, words), column.is_null()))
    shortest, longest = schema.get("minLength", 0), schema["maxLength"]
    return lambda column: _outside(pc.utf8_length(column), shortest, longest)


def _whole_number(schema: dict[str, Any]) -> Judge:
    below = schema.get("exclusiveMaximum")
    least, most = schema.get("minimum", _INT64.min), schema.get("maximum", _INT64.max if below is None else below - 1)
    return lambda column: _outside(column, least, most)


def _number(schema: dict[str, Any]) -> Judge:
    assert schema.keys() <= {"type", "title", "default"}, "numbers have no limits yet"
    return lambda column: _unless_all(pc.is_finite(column).fill_null(True))


_SINGLE: dict[str, Callable[[dict[str, Any]], Judge]] = {
    "string": _text,
    "integer": _whole_number,
    "number": _number,
}


def _outside(numbers: pa.Array, least: int, most: int) -> Flags | None:
    found = pc.min_max(numbers).as_py()
    if found["min"] is None or (found["min"] >= least and found["max"] <= most):
        return None
    beyond = pc.or_(pc.less(numbers, least), pc.greater(numbers, most)).fill_null(False)
    return np.asarray(beyond.to_numpy(zero_copy_only=False))


def _unless_all(fine: pa.Array) -> Flags | None:
    return None if fine.true_count == len(fine) else np.asarray(~fine.to_numpy(zero_copy_only=False))


def either(some: Flags | None, others: Flags | None) -> Flags | None:
    """What is flagged by one or the other; None where nothing is."""
    if some is None or others is None:
        return others if some is None else some
    return np.asarray(some | others)


def of_lists(lists: pa.Array, items: Flags | None) -> Flags | None:
    """The lists [n] of which an item is flagged; None where none is."""
    if items is None:
        return None
    flagged = np.zeros(len(lists), dtype=bool)
    flagged[np.asarray(pc.list_parent_indices(lists))[items]] = True
    return flagged
