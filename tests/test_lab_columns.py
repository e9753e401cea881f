"""Many laboratories' messages at once: the same are refused, in the same words, as one by one."""

import io
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from connectors.hl7v2 import Reader
from connectors.lab_results import CONTRACT, lab_messages
from schemas import lab_columns
from schemas.contracts import decode, encode
from schemas.lab_columns import lab_reports
from schemas.lab_results import lab_report
from schemas.reasons import Rejected
from tests.lab_messages import GOOD, PID, file_with_faults, message, obr, spm
from tests.test_lab_results import example

Message = dict[str, Any]
TEXTS = (
    "",
    "x",
    "ü" * 20,
    "x" * 21,
    "x" * 64,
    "x" * 65,
    "🙂" * 200,
    "x" * 201,
    "x" * 1000,
    "x" * 1001,
    "Europe/Madrid",
)
LONG = ("x" * 65_536, "x" * 65_537)
NUMBERS = (float("nan"), float("inf"), float("-inf"), 0.0, 1e300)
WHOLE = (-1441, -1440, -1, 0, 1440, 1441, 2**31 - 1)
LARGE = (86_399_999_999, 86_400_000_000, -(2**63))
WORDS = {
    "clock": ("utc", "local"),
    "status": tuple("PFCAXDW"),
    "comparator": ("less_than", "not_detected"),
    "relation": ("range", "ratio", "graded"),
}
NULLABLE = {
    *("id", "placer_id", "service", "specimen", "sent", "type", "site", "method", "collected", "received", "system"),
    *(
        "text",
        "offset_min",
        "zone",
        "taken_from",
        "offset_from",
        "other_code",
        "sub_id",
        "value",
        "comparator",
        "number",
    ),
    *("relation", "second", "moment", "time_of_day", "unit", "reference_range", "analysed"),
    *("run", "dilution", "haemolysis_index"),
}


def from_file(content: str | bytes) -> list[Message]:
    """The decoded messages of a laboratory's file."""
    sent = content.encode() if isinstance(content, str) else content
    batches = [one for one in Reader()(io.BytesIO(sent), "f") if isinstance(one, pa.RecordBatch)]
    return [decode(one.value, CONTRACT) for batch in batches for one in lab_messages(batch) if one.value]


@cache
def small() -> list[Message]:
    """Messages of one value of each kind, and of a clock that has no offset."""
    return [
        one
        for n, make in enumerate(GOOD.values())
        for one in from_file(message(PID.format(n=n), obr(), make(1), spm()))
    ]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path in a message, the lists' first item only."""
    if path:
        yield path
    if isinstance(node, dict):
        for name, inner in node.items():
            yield from places(inner, (*path, name))
    elif isinstance(node, list) and node:
        yield from places(node[0], (*path, 0))


def replacements(name: Any, value: Any) -> Iterator[Any]:
    """Values at and beyond every limit, of the type that the contract has at this place."""
    if name in NULLABLE:
        yield None
    if name in WORDS:
        yield from WORDS[name]
    elif isinstance(value, list):
        yield from ([], value * 2)
    elif isinstance(value, float) or name in ("number", "second"):
        yield from NUMBERS
    elif isinstance(value, int) or name in ("offset_min", "time_of_day"):
        yield from WHOLE
        if name in ("at", "time_of_day"):
            yield from LARGE
    elif isinstance(value, str) and name not in ("kind", "subject_kind", "precision"):
        yield from TEXTS
        if name == "text":
            yield from LONG
    elif name in ("zone", "taken_from", "offset_from", "sub_id", "reference_range", "system"):
        yield from TEXTS


def changed(one: Message, unclear: bool, within: tuple[Any, ...] = ()) -> Iterator[Message]:
    """The message with one thing `within` it changed, each possible thing in turn.

    `unclear`: its clocks have lost their offsets.
    """
    base = one
    for path in places(one) if unclear else ():
        base = put(base, path, None) if path[-1] == "offset_min" else base
    for path in places(base):
        for value in replacements(path[-1], at(base, path)) if path[: len(within)] == within else ():
            yield put(base, path, value)


def put(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The node with another value at the path; what does not lie on it is shared."""
    if not path:
        return value
    made = node.copy()
    made[path[0]] = put(node[path[0]], path[1:], value)
    return made


def with_last(one: Message, **said: Any) -> Message:
    """The message with something else said in the last of its results."""
    return {**one, "results": [*one["results"][:-1], {**one["results"][-1], **said}]}


def at(node: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        node = node[part]
    return node


def one_by_one(messages: list[Message], zone: str | None) -> dict[int, tuple[str, str, str]]:
    refused = {}
    for place, one in enumerate(messages):
        try:
            lab_report(one, zone)
        except Rejected as fault:
            refused[place] = (str(fault.reason), fault.path, fault.expected)
    return refused


def at_once(messages: list[Message], zone: str | None) -> dict[int, tuple[str, str, str]]:
    _, refused = lab_reports(messages, zone)
    return {place: (str(fault.reason), fault.path, fault.expected) for place, fault in refused.items()}


@pytest.mark.parametrize("zone", [None, "Europe/Madrid", "Nowhere/Else"])
@pytest.mark.parametrize("unclear", [False, True])
def test_the_same_messages_are_refused_in_the_same_words(zone: str | None, unclear: bool) -> None:
    bases = [decode(encode(CONTRACT, example()), CONTRACT), *small()]
    several = from_file(message(PID.format(n=1), obr(), *(make(n) for n, make in enumerate(GOOD.values(), 1)), spm()))
    messages = [*changed(bases[0], unclear), *bases, *several]
    for base in bases[1::4] if zone is None else ():  # of a zone it is the clocks that matter: the first has them all
        messages += changed(base, unclear, ("results", 0, "value"))
    messages += [with_last(several[0], **fault) for fault in ({"sub_id": ""}, {"value": None}, {"occurrence": -1})]
    messages += [{**several[0], "subject": "X" * 16, "subject_kind": kind} for kind in ("kit", "person")]
    expected = one_by_one(messages, zone)
    assert at_once(messages, zone) == expected
    assert len(expected) > 100 and (zone == "Nowhere/Else" or len(messages) - len(expected) > 100)


def test_of_a_file_that_is_in_order_no_message_is_judged_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def must_not(*_: object) -> None:
        raise AssertionError("a message was judged alone")

    monkeypatch.setattr(lab_columns, "lab_report", must_not)
    messages = from_file(file_with_faults(5)[0])
    column, refused = lab_reports(messages)
    assert not refused and len(column) == len(messages) > 10


def test_the_column_says_what_the_messages_say() -> None:
    messages = from_file(file_with_faults(5)[0])
    column, _ = lab_reports(messages)
    for one, row in zip(messages, column.to_pylist(), strict=True):
        for result, own in zip(one["results"], row["results"], strict=True):
            value = {name: part for name, part in (own["value"] or {}).items() if name in (result["value"] or {})}
            assert {**own, "value": value or None} == result
        assert {**row, "results": None} == {**one, "results": None}
