"""Why a message does not fit a contract's schema: the first field at fault and what it should be, never its value.

The Avro library says no more than that something does not match, and prints the value that did not.
"""

from collections.abc import Callable, Iterator
from typing import Any

from fastavro.schema import expand_schema

from schemas.reasons import Reason, Rejected

_INTEGERS = {"int": 31, "long": 63}
_WANTED = {
    "null": "null",
    "boolean": "true or false",
    "int": "a whole number of 32 bits",
    "long": "a whole number of 64 bits",
    "double": "a number",
    "string": "a text",
    "bytes": 'bytes (in JSON {"hex": "…"})',
    "array": "a list",
}


def fault(schema: Any, value: Any, path: str = "") -> Rejected | None:
    """The first field of a value, in the order of the schema, that is not what the schema says; None where all are."""
    return next(_faults(expand_schema(schema), value, path), None)


def _faults(schema: Any, value: Any, path: str) -> Iterator[Rejected]:
    if isinstance(schema, list):
        yield from _faults_of_union(schema, value, path)
    elif _kind(schema) == "record":
        yield from _faults_of_record(schema, value, path)
    elif not _fits(schema, value):
        yield Rejected(Reason.FIELD, path, _wanted(schema))
    elif _kind(schema) == "array":
        for number, item in enumerate(value):
            yield from _faults(schema["items"], item, f"{path}[{number}]")


def _faults_of_record(schema: Any, value: Any, path: str) -> Iterator[Rejected]:
    if not isinstance(value, dict):
        yield Rejected(Reason.FIELD, path, _wanted(schema))
        return
    for field in schema["fields"]:
        inner = f"{path}.{field['name']}".removeprefix(".")
        if field["name"] in value:
            yield from _faults(field["type"], value[field["name"]], inner)
        elif "default" not in field:
            yield Rejected(Reason.FIELD, inner, "the field to be there")
    if value.keys() - _names(schema):
        yield Rejected(Reason.FIELD, f"{path}.(unknown field)".removeprefix("."), f"only {_wanted(schema)}")


def _faults_of_union(branches: list[Any], value: Any, path: str) -> Iterator[Rejected]:
    """What the nearest branch says: of several records the one whose fields are most like the value's.

    A pair of a record's full name and its fields is that record: so the Avro library need not try one after another.
    """
    if isinstance(value, tuple):
        name, value = value
        branches = [branch for branch in branches if isinstance(branch, dict) and branch.get("name") == name]
    fitting = [branch for branch in branches if _fits(branch, value)]
    if isinstance(value, dict):
        fitting = _nearest_first([record for record in fitting if value.keys() & _names(record)], value)
    if not fitting:
        yield Rejected(Reason.FIELD, path, " or ".join(_wanted(branch) for branch in branches))
        return
    yield from _faults(fitting[0], value, path)


def _nearest_first(records: list[Any], value: Any) -> list[Any]:
    return sorted(records, key=lambda record: len(_names(record) ^ value.keys()))


def _names(record: Any) -> set[str]:
    return {field["name"] for field in record["fields"]}


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _fits(schema: Any, value: Any) -> bool:
    """Whether a value is of the schema's kind; what a list or a record holds is not looked at."""
    kind = _kind(schema)
    if kind in _INTEGERS:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and -(2 ** _INTEGERS[kind]) <= value < 2 ** _INTEGERS[kind]
    if kind == "enum":
        return value in schema["symbols"]
    return _IS[kind](value)


_IS: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "double": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str) and _encodable(value),
    "bytes": lambda value: isinstance(value, bytes | bytearray),
    "array": lambda value: isinstance(value, list | tuple),
    "record": lambda value: isinstance(value, dict),
}


def _encodable(text: str) -> bool:
    """UTF-8 has no half of a surrogate pair, which JSON can write."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _wanted(schema: Any) -> str:
    kind = _kind(schema)
    if kind == "enum":
        return f"one of {', '.join(schema['symbols'])}"
    if kind == "record":
        return f"an object with the fields {', '.join(field['name'] for field in schema['fields'])}"
    return _WANTED[kind]
