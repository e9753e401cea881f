"""Formats: found by name, told apart by their first bytes, and accounted for by the receipt."""

import io
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any, BinaryIO

import pyarrow as pa
import pytest

from connectors import formats
from connectors.formats import (
    FileRefused,
    Format,
    Found,
    NotRead,
    Partial,
    Problem,
    format_named,
    read_file,
    refuse_other,
    register,
    seems,
    sniffed,
)
from connectors.receipt import MOST_LISTED, MOST_TYPES, OTHER_TYPES, Receipt
from schemas.reasons import Reason
from schemas.source_records import core_schema, doc_of, source_schema
from tests.apple_exports import xml, zipped

SCHEMA = source_schema()


def batch(*kinds: str) -> pa.RecordBatch:
    rows = [
        {"type": kind, "start": 0, "end": 0, "modality": "sensed", "source_name": "x", "parts": []} for kind in kinds
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def toy(name: str = "toy", **changes: Any) -> Format:
    def read(stream: BinaryIO, _: str) -> Iterator[Found]:
        yield batch(stream.read().decode())

    made: dict[str, Any] = {"title": "toy", "version": 1, "contract": "app-export", "schema": SCHEMA, "read": read}
    return Format(name=name, **(made | {"sniff": lambda head, _: head.startswith(b"TOY")} | changes))


@pytest.fixture(autouse=True)
def _registry_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    formats.formats()
    monkeypatch.setattr(formats, "_registered", dict(formats._registered))
    yield
    formats._load.cache_clear()


# -- the registry


def test_a_registered_format_is_found_by_name_and_by_its_first_bytes() -> None:
    one = register(toy())
    assert format_named("toy") is one is sniffed(b"TOY 1", "a.toy")
    assert format_named("toys") is None is sniffed(b"\x00\x01", "a.toy")
    assert list(formats.formats()) == sorted(formats.formats())


def test_two_formats_of_one_name_are_a_mistake_and_one_twice_is_not() -> None:
    one = register(toy())
    assert register(one) is one
    with pytest.raises(ValueError, match="two formats of the name toy"):
        register(toy(title="another"))


def test_formats_of_other_distributions_are_found_by_their_entry_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "toy_format.py").write_text("from tests.test_formats import register, toy\nregister(toy('foreign'))\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("foreign", "toy_format", "wellspring.formats")
    monkeypatch.setattr(formats, "entry_points", lambda group: [entry] if group == entry.group else [])
    formats._load.cache_clear()
    assert format_named("foreign") is not None


def test_every_format_has_the_core_columns_first_and_says_what_each_column_holds() -> None:
    for one in formats.formats().values():
        assert one.schema.names[: len(core_schema())] == core_schema().names
        assert one.schema.field("parts").type == core_schema().field("parts").type
        assert [field.name for field in one.schema if not doc_of(field)] == []


# -- what a file seems to be


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"%PDF-1.7", "a PDF"),
        (b"\x1f\x8b\x08", "gzip"),
        (xml(), "Apple Health export"),
        (b"MSH|^~\\&|", "HL7 v2"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><gpx/>", "some other XML"),
        (b'{"a": 1}', "JSON"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_a_word_on_what_it_seems_to_be(head: bytes, words: str) -> None:
    with pytest.raises(FileRefused, match=rf"this is no toy: it seems to be .*{words}"):
        refuse_other(toy(), head, "file")


def test_a_file_that_looks_like_nothing_is_refused_too() -> None:
    assert seems(b"\x00\x01\x02", "x") is None
    with pytest.raises(FileRefused, match="^this is no toy$"):
        refuse_other(toy(), b"\x00\x01\x02", "x")


def test_a_zip_that_holds_no_export_by_its_first_name_is_not_taken_for_one() -> None:
    apple = format_named("apple-health")
    assert apple is not None
    document = zipped({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<d/>"})
    assert not apple.sniff(document, "export.zip")
    assert apple.sniff(zipped({"apple_health_export/导出.xml": b""}), "导出.zip")
    assert apple.sniff(zipped({"notes.txt": b"", "export.xml": xml()}), "x.zip")


def test_a_file_is_sniffed_and_then_read_from_its_beginning() -> None:
    (found,) = read_file(toy(), io.BytesIO(b"TOY 1"), "a.toy")
    assert found.column("type").to_pylist() == ["TOY 1"]
    with pytest.raises(FileRefused):
        read_file(toy(), io.BytesIO(b"%PDF"), "a.toy")


# -- the receipt


def test_the_sums_of_a_receipt_are_exact() -> None:
    receipt = Receipt("toy")
    problems = [Problem(Reason.FIELD, f"line {n}", "steps") for n in range(3)] + [Problem("R_ZONE", "line 9")]
    found = [
        batch("steps", "heart"),
        *problems,
        NotRead("a.csv", "1 in the zip"),
        batch("steps"),
        Partial("line 12", "cut"),
    ]
    for one in receipt.batches(found):
        receipt.add(one)
    assert receipt.as_json() == {
        "format": "toy",
        "records": 7,
        "published": 3,
        "problems": {"R_FIELD": 3, "R_ZONE": 1},
        "not_read": [
            {"what": "a.csv", "place": "1 in the zip"},
            *({"what": "steps", "place": f"line {n}", "reason": "R_FIELD"} for n in range(3)),
            {"what": "record", "place": "line 9", "reason": "R_ZONE"},
            {"what": "the rest of the file", "place": "line 12", "reason": "cut"},
        ],
        "partial": True,
        "by_type": {"heart": 1, "steps": 2},
    }
    assert list(receipt.lines("published")) == [
        "7 records: 3 published, 4 not",
        "            2 steps",
        "            1 heart",
        "  not published: 3 R_FIELD, at line 0, line 1, line 2",
        "  not published: 1 R_ZONE, at line 9",
        "  not read: a.csv (1 in the zip)",
        "  read as far as line 12: cut",
    ]


def test_what_is_only_counted_is_not_published() -> None:
    receipt = Receipt("toy")
    assert len(list(receipt.batches([batch("steps")]))) == 1
    assert receipt.records == 0


def test_a_receipt_stays_small_whatever_the_file_holds() -> None:
    receipt = Receipt("toy")
    for n in range(MOST_LISTED + 5):
        receipt.note(Problem(Reason.FIELD, f"line {n}"))
    receipt.add(batch(*(f"type{n}" for n in range(MOST_TYPES + 5))))
    receipt.add(batch("type0", "type-new"))
    told = receipt.as_json()
    assert told["problems"] == {"R_FIELD": MOST_LISTED + 5}
    assert len(told["not_read"]) == MOST_LISTED
    assert told["by_type"][OTHER_TYPES] == 6
    assert told["by_type"]["type0"] == 2
    assert told["records"] == told["published"] + MOST_LISTED + 5 == sum(told["by_type"].values()) + MOST_LISTED + 5
    assert "and 5 more" in "\n".join(receipt.lines("published"))
