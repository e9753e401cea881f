"""Messages from columns: the bytes are those that the Avro library writes, and what does not fit is refused."""

import random
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from schemas.avro_columns import ListWriter
from schemas.contracts import Contract, encode
from schemas.reasons import Reason, Rejected

_COLOUR = {"type": "enum", "name": "Colour", "symbols": ["red", "green", "blue"]}
_PART = [
    {"name": "name", "type": "string"},
    {"name": "colour", "type": ["null", _COLOUR], "default": None},
    {"name": "words", "type": {"type": "array", "items": "string"}},
]
_WORD = {"type": "record", "name": "Word", "fields": [{"name": "text", "type": "string"}]}
_SIZE = {"type": "record", "name": "Size", "fields": [{"name": "n", "type": "double"}, {"name": "m", "type": "Part"}]}
_NOTE = {
    "type": "record",
    "name": "Note",
    "fields": [{"name": "by", "type": ["null", "string"]}, {"name": "on", "type": ["null", "long"]}],
}
_ITEM = [
    {"name": "count", "type": "int"},
    {"name": "colour", "type": "Colour"},
    {"name": "at", "type": ["null", "long"], "default": None},
    {"name": "note", "type": ["null", _NOTE], "default": None},
    {"name": "part", "type": ["null", "Part"], "default": None},
    {"name": "parts", "type": {"type": "array", "items": "Part"}},
    {"name": "value", "type": ["null", _WORD, _SIZE], "default": None},
]
_HEAD = [{"name": "first", "type": {"type": "record", "name": "Part", "fields": _PART}}, {"name": "n", "type": "long"}]
_ITEMS = {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "Item", "fields": _ITEM}}}
CONTRACT = Contract(
    "things",
    "1.0",
    fastavro.parse_schema({"type": "record", "name": "Things", "fields": [*_HEAD, _ITEMS]}),
    b"12345678",
)

PART = pa.struct([("name", pa.string()), ("colour", pa.string()), ("words", pa.list_(pa.string()))])
NOTE = pa.struct([("by", pa.string()), ("on", pa.int64())])
SIZE = pa.struct([("m", PART), ("n", pa.float64())])
VALUE = pa.struct([("word", pa.string()), ("size", SIZE)])
HEAD = pa.struct([("n", pa.int64()), ("first", PART)])
ITEM = pa.struct(
    [
        *(("count", pa.int16()), ("colour", pa.string()), ("at", pa.int64()), ("note", NOTE)),
        *(("part", PART), ("parts", pa.list_(PART)), ("value", VALUE)),
    ]
)


class Things:
    """Things at random: numbers of all sizes, texts of all lengths, and what may be absent absent at times."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def maybe(self, value: Any) -> Any:
        return value if self.random.random() < 0.7 else None

    def number(self, bits: int) -> int:
        return self.random.choice((-1, 0, 1)) * self.random.getrandbits(self.random.randint(1, bits))

    def text(self) -> str:
        return self.random.choice("aé🙂\0") * self.random.choice((0, 1, 31, 32, 63, 64, 8200))

    def part(self) -> dict[str, Any]:
        words = [self.text() for _ in range(self.random.choice((0, 0, 1, 3)))]
        return {"name": self.text(), "colour": self.maybe("green"), "words": words}

    def value(self) -> dict[str, Any]:
        if self.random.random() < 0.5:
            return {"word": self.text(), "size": None}
        return {"word": None, "size": {"m": self.part(), "n": self.random.choice((-0.0, 1e300, self.random.random()))}}

    def item(self) -> dict[str, Any]:
        return {
            "count": self.number(15),
            "colour": self.random.choice(("red", "green", "blue")),
            "at": self.maybe(self.number(63)),
            "note": self.maybe({"by": self.maybe(self.text()), "on": self.maybe(self.number(63))}),
            "part": self.maybe(self.part()),
            "parts": [self.part() for _ in range(self.random.choice((0, 1, 70)))],
            "value": self.maybe(self.value()),
        }

    def head(self) -> dict[str, Any]:
        return {"n": self.number(63), "first": self.part()}


def as_sent(item: dict[str, Any]) -> dict[str, Any]:
    """The item with the value that its column says, as the contract has it."""
    value = item["value"]
    if value is None:
        return item
    return {**item, "value": {"text": value["word"]} if value["size"] is None else value["size"]}


@pytest.mark.parametrize("seed", range(8))
def test_the_bytes_are_those_that_the_library_writes(seed: int) -> None:
    things, writer = Things(seed), ListWriter(CONTRACT)
    heads, lists = [things.head() for _ in range(4)], [[things.item() for _ in range(size)] for size in (1, 2, 70, 3)]
    column = pa.array([things.item(), *(item for one in lists for item in one), things.item()], ITEM)
    items = writer.items(column.slice(1, 76))
    found, first = [], 0
    for head, one in zip(writer.heads(pa.array(heads, HEAD)), lists, strict=True):
        found.append(items.after(head, first, first + len(one)))
        first += len(one)
    wanted = [{**head, "items": [as_sent(item) for item in one]} for head, one in zip(heads, lists, strict=True)]
    assert found == [encode("things", message, CONTRACT) for message in wanted]


@pytest.mark.parametrize("number", [0, -1, 1, 63, 64, -64, -65, 2**31, 2**62, 2**63 - 1, -(2**63)])
def test_whole_numbers_of_any_size_are_written(number: int) -> None:
    things, writer = Things(1), ListWriter(CONTRACT)
    head, item = {"n": number, "first": things.part()}, {**things.item(), "at": number}
    (begin,) = writer.heads(pa.array([head], HEAD))
    found = writer.items(pa.array([item], ITEM)).after(begin, 0, 1)
    assert found == encode("things", {**head, "items": [as_sent(item)]}, CONTRACT)


def test_there_may_be_nothing_to_write() -> None:
    writer = ListWriter(CONTRACT)
    assert writer.heads(pa.array([], HEAD)) == []
    writer.items(pa.array([], ITEM))


PART_WITHOUT: dict[str, Any] = {"name": None, "colour": None, "words": []}


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("count", None, "items.count"),
        ("colour", "black", "items.colour"),
        ("part", {"name": "a", "colour": "black", "words": []}, "items.part.colour"),
        ("part", PART_WITHOUT, "items.part.name"),
        ("part", {"name": "a", "colour": None, "words": None}, "items.part.words"),
        ("parts", [PART_WITHOUT], "items.parts.name"),
        ("parts", [None], "items.parts"),
        ("parts", None, "items.parts"),
        ("value", {"word": None, "size": {"m": PART_WITHOUT, "n": 1.0}}, "items.value.m.name"),
    ],
)
def test_what_the_contract_does_not_allow_is_refused_with_its_path(field: str, value: Any, path: str) -> None:
    items = [Things(seed).item() for seed in range(3)]
    items[1][field] = value
    with pytest.raises(Rejected) as refused:
        ListWriter(CONTRACT).items(pa.array(items, ITEM))
    assert (refused.value.reason, refused.value.path) == (Reason.FIELD, path)


def test_an_item_or_a_head_that_is_not_there_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        ListWriter(CONTRACT).items(pa.array([Things(1).item(), None], ITEM))
    assert refused.value.path == "items"
    for head, path in ((None, ""), ({"n": None, "first": Things(1).part()}, "n")):
        with pytest.raises(Rejected) as refused:
            ListWriter(CONTRACT).heads(pa.array([head], HEAD))
        assert refused.value.path == path
