"""HL7 v2, values and times: what each type holds, and what is not what its type says."""

from typing import Any

import pytest

from connectors.hl7v2_fields import Marks, Unreadable, parsed, unescaped
from connectors.hl7v2_times import Clocks, end_us, moment, stamp, time_of_day
from connectors.hl7v2_values import limit, value
from schemas.lab_results import MOST_TEXT

MARKS = Marks("|", "^", "~", "\\", "&", "utf-8")
WORDS = ("ND", "N.D.")


def held(kind: str, text: str) -> Any:
    """What an OBX-5 holds, by the library as the connector uses it."""
    ((_, field),) = parsed([f"OBX|{text}"], MARKS)
    return value(kind, field, MARKS, WORDS)


def number(written: str, first: float | None, **more: Any) -> dict[str, Any]:
    plain = {"written": written, "comparator": None, "number": first, "relation": None, "second": None}
    return {"number": plain | more}


def codes(
    *found: tuple[str, str | None, str | None], other: tuple[tuple[str, str | None, str | None], ...] = ()
) -> Any:
    def of(several: Any) -> list[Any]:
        return [{"code": code, "text": text, "system": system} for code, text, system in several]

    return {"codes": {"codes": of(found), "other_codes": of(other)}}


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("NM", "5", number("5", 5.0)),
        ("NM", " 5.10 ", number("5.10", 5.1)),
        ("NM", "-0.5", number("-0.5", -0.5)),
        ("NM", "+.5", number("+.5", 0.5)),
        ("NM", "5.", number("5.", 5.0)),
        ("NM", "1.2E3", number("1.2E3", 1200.0)),
        ("NM", "0", number("0", 0.0)),
        ("NM", "<5", number("<5", 5.0, comparator="less_than")),
        ("NM", "< 5", number("< 5", 5.0, comparator="less_than")),
        ("NM", "<=5", number("<=5", 5.0, comparator="at_most")),
        ("NM", "≥5", number("≥5", 5.0, comparator="at_least")),
        ("NM", ">1000", number(">1000", 1000.0, comparator="greater_than")),
        ("NM", "ND", number("ND", None, comparator="not_detected")),
        ("ST", "<0.01", number("<0.01", 0.01, comparator="less_than")),
        ("ST", "N.D.", number("N.D.", None, comparator="not_detected")),
        ("ST", "ND <20", number("ND <20", 20.0, comparator="not_detected")),
        ("ST", "ND (<20)", number("ND (<20)", 20.0, comparator="not_detected")),
        ("ST", "NDA", {"text": "NDA"}),
        ("ST", "ND >20", {"text": "ND >20"}),
        ("ST", "5.1", {"text": "5.1"}),
        ("ST", "<5 mg/L", {"text": "<5 mg/L"}),
        ("ST", "a^b", {"text": "a^b"}),
        ("ST", "Salt & pepper", {"text": "Salt & pepper"}),
        ("TX", "<5", {"text": "<5"}),
        ("TX", " one~two ~", {"text": "one\ntwo"}),
        ("FT", r"one\.br\two\.sp2\three", {"text": "one\ntwo\n\nthree"}),
        ("FT", r"\H\bold\N\ 5\S\6 \E\ \F\ \T\ \R\ \XC3A9\ \Zx\ \.sk3\.", {"text": "bold 5^6 \\ | & ~ é \\Zx\\  ."}),
        ("SN", "<^5", number("<5", 5.0, comparator="less_than")),
        ("SN", "^182", number("182", 182.0)),
        ("SN", "=^182", number("=182", 182.0)),
        ("SN", "182", number("182", 182.0)),
        ("SN", ">=^1.5", number(">=1.5", 1.5, comparator="at_least")),
        ("SN", "^1^:^80", number("1:80", 1.0, relation="ratio", second=80.0)),
        ("SN", ">^1^:^80", number(">1:80", 1.0, comparator="greater_than", relation="ratio", second=80.0)),
        ("SN", "^1^/^128", number("1/128", 1.0, relation="ratio", second=128.0)),
        ("SN", "^2^-^4", number("2-4", 2.0, relation="range", second=4.0)),
        ("SN", "^2^+", number("2+", 2.0, relation="graded")),
        ("NR", "2^4", number("2-4", 2.0, relation="range", second=4.0)),
        ("CWE", "260373001^Detected^SCT", codes(("260373001", "Detected", "SCT"))),
        ("CE", "POS", codes(("POS", None, None))),
        ("CE", "POS^^L^260373001^Detected^SCT", codes(("260373001", "Detected", "SCT"), other=(("POS", None, "L"),))),
        ("CE", "A^a^L^B^b^M", codes(("A", "a", "L"), other=(("B", "b", "M"),))),
        ("CWE", "^^^POS^Positive^L", codes(("POS", "Positive", "L"))),
        ("CWE", "^positive", codes(("positive", "positive", None))),
        ("CWE", "^^^^^^^^as written", codes(("as written", "as written", None))),
        ("CWE", "A^^L~B^^L", codes(("A", None, "L"), ("B", None, "L"))),
        ("CWE", r"A^Kit \T\ strip^L", codes(("A", "Kit & strip", "L"))),
        ("IS", "F", codes(("F", None, None))),
        ("TM", "0830", {"time": {"written": "0830", "moment": None, "time_of_day": 30_600_000_000}}),
    ],
)
def test_a_value_is_what_its_type_says(kind: str, text: str, found: Any) -> None:
    assert held(kind, text) == found


@pytest.mark.parametrize("kind", ["NM", "SN", "CWE", "ST", "TX", "DT", "TM", "XPN", ""])
@pytest.mark.parametrize("text", ["", '""', "  ", "^", "~", "^^~", '""^""'])
def test_an_empty_value_is_none_and_never_zero(kind: str, text: str) -> None:
    assert held(kind, text) is None


def test_a_text_of_nothing_but_formatting_is_none() -> None:
    assert held("FT", r"\.br\\.br\ ") is None


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("NM", "five", "R_VALUE"),
        ("NM", "5,1", "R_VALUE"),
        ("NM", "1 000", "R_VALUE"),
        ("NM", "5~6", "R_VALUE"),
        ("NM", "nan", "R_VALUE"),
        ("NM", "Infinity", "R_VALUE"),
        ("NM", "0x1F", "R_VALUE"),
        ("NM", "٣", "R_VALUE"),
        ("NM", "--5", "R_VALUE"),
        ("NM", "1" * 41, "R_VALUE"),
        ("NM", "1e400", "R_NOT_FINITE"),
        ("NM", "<1e400", "R_NOT_FINITE"),
        ("SN", "<>^5", "R_VALUE"),
        ("SN", "<", "R_VALUE"),
        ("SN", "<^", "R_VALUE"),
        ("SN", "^1^:", "R_VALUE"),
        ("SN", "^1^:^x", "R_VALUE"),
        ("SN", "^1^x^2", "R_VALUE"),
        ("SN", "^1~^2", "R_VALUE"),
        ("CWE", "^^SCT", "R_VALUE"),
        ("CWE", "x" * 201, "R_FIELD"),
        ("DT", "tomorrow", "R_VALUE"),
        ("DT", "20240231", "R_VALUE"),
        ("TM", "2401", "R_VALUE"),
        ("TX", "x" * (MOST_TEXT + 1), "R_TOO_LARGE"),
        ("FT", r"\X9\ x", "R_ENCODING"),
        ("FT", r"\XFF\ x", "R_ENCODING"),
        ("FT", r"\M1234\ x", "R_ENCODING"),
        ("XPN", "Doe^Jane", "R_VALUE_TYPE"),
        ("ED", "^PDF^^Base64^JVBERi0=", "R_VALUE_TYPE"),
        ("", "5", "R_VALUE_TYPE"),
        ("nm", "5", "R_VALUE_TYPE"),
    ],
)
def test_a_value_that_is_not_what_its_type_says_is_refused_by_name(kind: str, text: str, reason: str) -> None:
    with pytest.raises(Unreadable) as refused:
        held(kind, text)
    assert refused.value.reason == reason
    assert str(refused.value) == reason


def test_a_laboratory_has_its_own_words_for_not_detected() -> None:
    assert limit("n.n.", ("n.n.",)) == number("n.n.", None, comparator="not_detected")["number"]
    assert limit("ND", ("n.n.",)) is None


def test_an_escape_that_is_not_ended_stays() -> None:
    assert unescaped("a\\b", MARKS) == "a\\b"
    assert unescaped("50\\T\\50 \\", MARKS) == "50&50 \\"


NOON = 1_706_702_400_000_000  # 2024-01-31T12:00:00Z
HOUR, DAY = 3_600_000_000, 86_400_000_000


@pytest.mark.parametrize(
    ("text", "at", "precision", "offset", "length"),
    [
        ("2024", NOON - 30 * DAY - 12 * HOUR, "year", None, 366 * DAY),
        ("202401", NOON - 30 * DAY - 12 * HOUR, "month", None, 31 * DAY),
        ("202312+0100", NOON - 61 * DAY - 13 * HOUR, "month", 60, 31 * DAY),
        ("20240131", NOON - 12 * HOUR, "day", None, DAY),
        ("20240131+0100", NOON - 13 * HOUR, "day", 60, DAY),
        ("2024013112", NOON, "hour", None, HOUR),
        ("202401311200", NOON, "minute", None, 0),
        ("20240131120000", NOON, "second", None, 0),
        ("20240131120000.5", NOON + 500_000, "second", None, 0),
        ("20240131120000.1234567-0330", NOON + 123_456 + 3 * HOUR + HOUR // 2, "second", -210, 0),
        ("20240131120000-0000", NOON, "second", 0, 0),
    ],
)
def test_a_time_is_as_precise_as_it_was_written(
    text: str, at: int, precision: str, offset: int | None, length: int
) -> None:
    found = stamp(text)
    assert found is not None
    one = moment(found, "OBX-14", Clocks((), None))
    assert (one["at"], one["precision"], one["offset_min"]) == (at, precision, offset)
    assert one["clock"] == ("local" if offset is None else "utc")
    assert end_us(one) - one["at"] == length


@pytest.mark.parametrize(
    "text",
    ["", "0", "20240230", "20241301", "2024013124", "202401311260", "2024-01-31", "20240131120000+2500", "2024013",
     "20240131120000+0160", "00000000", "9999", "20240131120000Z", "٢٠٢٤", "20240131 120000"],
)  # fmt: skip
def test_what_is_no_time_is_none(text: str) -> None:
    assert stamp(text) is None


def test_the_last_year_of_all_has_an_end() -> None:
    found = stamp("9998")
    assert found is not None
    assert end_us(moment(found, None, Clocks((("SPM-17", -1440),), None))) > 0


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("00", 0),
        ("0830", 30_600_000_000),
        ("083001.25+0100", 30_601_250_000),
        ("24", None),
        ("0860", None),
        ("x", None),
    ],
)
def test_a_time_of_day_is_counted_from_midnight(text: str, micros: int | None) -> None:
    assert time_of_day(text) == micros
