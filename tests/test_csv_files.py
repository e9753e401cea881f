"""Files of comma-separated rows: each row with its place, each fault told, and no line that fills the memory."""

import io
import tracemalloc
from itertools import chain, repeat

import pytest

from connectors.csv_files import MOST_LINE_BYTES, Row, csv_rows
from connectors.formats import Partial, Problem
from connectors.problems import ENCODING
from schemas.reasons import Reason
from tests.streams import Endless

HEAD = "when,what\n"


def read(text: str | bytes) -> list[Row | Problem | Partial]:
    return list(csv_rows(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


def row(line: int, when: str, what: str) -> Row:
    return Row(line, {"when": when, "what": what})


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,a\n2,b\n", [row(2, "1", "a"), row(3, "2", "b")]),
        ("1,a\r\n2,b", [row(2, "1", "a"), row(3, "2", "b")]),
        ('1,"a,\n\n""b"""\n2,ü\n', [row(2, "1", 'a,\n\n"b"'), row(5, "2", "ü")]),
        ("\n\n1,\n", [row(4, "1", "")]),
        ("", []),
    ],
)
def test_rows_are_read_by_the_names_in_the_head(text: str, rows: list[Row]) -> None:
    assert read(HEAD + text) == rows
    assert read(b"\xef\xbb\xbf" + (HEAD + text).encode()) == rows


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"1\n", Reason.FIELD),
        (b"1,2,3\n", Reason.FIELD),
        (b"1,gr\xfcn\n", ENCODING),
        (b"1," + b"x" * MOST_LINE_BYTES + b"\n", Reason.TOO_LARGE),
    ],
)
def test_a_row_that_is_none_costs_itself_only(bad: bytes, reason: str) -> None:
    found = read(HEAD.encode() + b"0,a\n" + bad + b"2,b\n")
    assert found == [row(2, "0", "a"), Problem(reason, "line 3"), row(4, "2", "b")]


@pytest.mark.parametrize("tail", ['3,"never\nends\n', '3,"x" y\n4,d\n', '3,"' + "x,\n" * 200_000])
def test_where_a_quoted_text_does_not_end_reading_does(tail: str) -> None:
    *rows, last = read(HEAD + "1,a\n2,b\n" + tail)
    assert rows == [row(2, "1", "a"), row(3, "2", "b")]
    assert isinstance(last, Partial)
    assert last.place == "line 4"


def test_a_file_without_a_head_has_no_rows() -> None:
    assert read("") == read("\n\n") == []


@pytest.mark.parametrize("piece", [b"x" * 8192, b"1,a\n" * 99, b'"\n' * 99])
def test_memory_does_not_grow_with_the_file(piece: bytes) -> None:
    def peak(times: int) -> int:
        tracemalloc.start()
        try:
            for _ in csv_rows(Endless(chain([HEAD.encode()], repeat(piece, times)))):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    assert peak(40) < peak(10) + 2 * 1024
