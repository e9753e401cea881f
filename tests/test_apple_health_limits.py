"""Apple Health: hostile files are given up within limits, in memory that does not grow, and the process lives."""

import io
import random
import tracemalloc
from collections.abc import Iterator
from itertools import chain, repeat

import pyarrow as pa
import pytest

from connectors.apple_health import FORMAT
from connectors.formats import FileRefused, Found, NotRead, Partial, Problem
from tests.apple_exports import HEART, beats, correlation, export_zip, plain, record, workout, xml
from tests.streams import Endless

HEAD = xml(record(HEART, "1"), dtd="").split(b"</HealthData>")[0]
MB = 1024 * 1024


def given_up(*pieces: Iterator[bytes]) -> tuple[Partial, int, int]:
    """Where a file that goes on so was given up, how much of it was read, and how many records came out."""
    stream = Endless(chain([HEAD], *pieces))
    found = list(FORMAT.read(stream, ""))
    assert isinstance(found[-1], Partial)
    return found[-1], stream.given, sum(one.num_rows for one in found if isinstance(one, pa.RecordBatch))


def test_an_attribute_without_end_is_given_up_after_a_megabyte() -> None:
    told, read, records = given_up(iter([b'<Record value="']), repeat(b"x" * 65536))
    assert told.why == "a tag is longer than 1 MB"
    assert told.place.startswith("line 6, ")
    assert read < 3 * MB
    assert records == 1


def test_a_comment_without_end_is_given_up() -> None:
    told, read, records = given_up(iter([b"<!-- "]), repeat(b"x" * 65536))
    assert "longer than 1 MB" in told.why
    assert (read < 3 * MB, records) == (True, 1)


@pytest.mark.parametrize("name", [b"Record", b"Correlation", b"a"])
def test_elements_inside_each_other_without_end_are_given_up(name: bytes) -> None:
    told, read, _ = given_up(repeat(b"<%b>" % name * 1000))
    assert "too deeply" in told.why
    assert read < MB


def test_names_without_end_are_given_up() -> None:
    names = ("".join(f'<Record a{n}="1" b{n}="2"/>\n' for n in range(m, m + 99)).encode() for m in range(0, 10**9, 99))
    told, read, _ = given_up(names)
    assert "names of elements and attributes" in told.why
    assert read < 3 * MB


def test_a_record_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.apple_health_xml.MOST_BATCH_BYTES", MB // 4)
    told, read, records = given_up(iter([b"<Workout>"]), repeat(b"<WorkoutRoute/>" * 1000))
    assert "a record is longer" in told.why
    assert told.place.startswith("line 6, ")
    assert (read < MB, records) == (True, 1)


@pytest.mark.parametrize(
    "text", [b" " * 8192, b"text \n" * 1365, b"<Other a=''/>" * 630, correlation(record()).encode() * 10]
)
def test_what_is_no_record_takes_no_memory_however_long_it_is(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record before it is given away once so many bytes have gone by: both files are longer than that."""
    monkeypatch.setattr("connectors.apple_health_xml.MOST_BATCH_BYTES", 64 * 1024)

    def peak(times: int) -> int:
        stream = Endless(chain([HEAD], repeat(text, times), [b"</HealthData>"]))
        return _peak(FORMAT.read(stream, ""))

    peak(1)
    assert peak(30) < peak(10) + 32 * 1024


def test_memory_does_not_grow_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.apple_health_xml.BATCH_ROWS", 50)
    monkeypatch.setattr("connectors.apple_health.PIECE_BYTES", 8192)
    lines = "".join(f"{line}\n" for line in plain(50)).encode()

    def peak(times: int) -> int:
        return _peak(FORMAT.read(Endless(chain([HEAD], repeat(lines, times), [b"</HealthData>"])), ""))

    peak(1)
    assert peak(9) < peak(3) * 1.1


def _peak(found: Iterator[Found]) -> int:
    tracemalloc.start()
    try:
        for _ in found:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_laughs_by_the_billion_are_refused_before_they_begin() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">\n' for n in range(1, 10))
    dtd = f'<!DOCTYPE HealthData [\n<!ENTITY l0 "ha">\n{laughs}]>\n'
    for content in (xml(record(HEART, "&l9;"), dtd=dtd), xml(dtd=dtd)):
        with pytest.raises(FileRefused, match="defines entities"):
            list(FORMAT.read(io.BytesIO(content), ""))


def test_entities_behind_a_decoy_of_the_root_are_refused_too() -> None:
    dtd = '<!-- <HealthData > -->\n<!DOCTYPE HealthData [\n<!ENTITY x SYSTEM "file:///etc/passwd">\n]>\n'
    (told,) = FORMAT.read(io.BytesIO(xml(dtd=dtd)), "")
    assert isinstance(told, Partial)
    assert told.why == "it defines a document type where none belongs"


def test_nothing_outside_the_file_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("a file was opened"))
    dtd = '<!DOCTYPE HealthData SYSTEM "file:///etc/passwd">\n'
    (batch,) = FORMAT.read(io.BytesIO(xml(record(), dtd=dtd)), "")
    assert batch.num_rows == 1
    content = xml(record(HEART, "1"), dtd=dtd).replace(b'value="1"', b'value="&other;"')
    (told,) = FORMAT.read(io.BytesIO(content), "")
    assert isinstance(told, Partial)
    assert told.why == "it is no XML there: undefined entity"


def test_beats_by_the_million_cost_one_record() -> None:
    head, beat, tail = beats("8:15:01.00").split("\n")
    crowded = record(HEART, "61", "\n".join([head, *[beat] * 20_000, tail]))
    found = list(FORMAT.read(io.BytesIO(xml(record(HEART, "1"), crowded, record(HEART, "2"))), ""))
    assert sum(one.num_rows for one in found if isinstance(one, pa.RecordBatch)) == 2
    assert [one.type for one in found if isinstance(one, Problem)] == [HEART]


@pytest.mark.parametrize("seed", range(60))
def test_no_file_is_so_damaged_that_the_process_dies(seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(xml(*plain(20), workout(), record(HEART, "1", beats("8:15:01.00"))))
    for _ in range(chance.randint(1, 15)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    whole = bytes(content) if seed % 2 else export_zip(bytes(content))
    try:
        found = list(FORMAT.read(io.BytesIO(whole), ""))
    except FileRefused:
        return
    rows = sum(one.num_rows for one in found if isinstance(one, pa.RecordBatch))
    told = [one for one in found if isinstance(one, Partial | Problem | NotRead)]
    assert rows <= 22
    assert rows == 22 or told
