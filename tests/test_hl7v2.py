"""HL7 v2: each OBX of a result message is published or a problem, whatever the file looks like, and names go nowhere."""

import io
import json
import os
import random
import re
import tracemalloc
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.formats import FileRefused, NotRead, Partial, Problem, format_named, seems, sniffed
from connectors.hl7v2 import HL7V2, Reader
from connectors.hl7v2_encodings import ENCODINGS
from connectors.hl7v2_lines import MOST_SEGMENT_BYTES
from connectors.receipt import Receipt
from schemas.lab_entries import SubjectField
from schemas.lab_mapping import LabMapping, LabMappingError
from schemas.lab_records import LAB_SCHEMA
from tests.canaries import MARK
from tests.lab_messages import BAD, BESIDE, HEADER, PID, file_with_faults, message, obr, obx, spm

SAMPLES = Path(os.environ.get("SAMPLES_DIR", Path(__file__).parents[2] / "shared" / "samples")) / "hl7"


def read(content: bytes | str, mapping: LabMapping | None = None, **options: Any) -> tuple[list[Any], list[Any]]:
    """The rows of a file, and whatever is not a row."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    found = list(Reader(mapping, **options)(io.BytesIO(data), "results.hl7"))
    batches = [one for one in found if isinstance(one, pa.RecordBatch)]
    assert all(batch.schema.equals(LAB_SCHEMA) and batch.validate(full=True) is None for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()], [one for one in found if one not in batches]


def row(*segments: str, mapping: LabMapping | None = None, **options: Any) -> dict[str, Any]:
    """The one row of a message with one OBX."""
    rows, beside = read(message(*segments), mapping, **options)
    assert not beside
    (one,) = rows
    return one


def problems(content: bytes | str, mapping: LabMapping | None = None) -> list[Any]:
    """The reasons, where there is nothing but problems."""
    rows, beside = read(content, mapping)
    assert not rows
    return [one.reason for one in beside]


# -- everything is accounted for


@pytest.mark.parametrize("seed", range(3))
def test_the_receipt_finds_exactly_the_planted_faults(seed: int) -> None:
    content, expected = file_with_faults(seed)
    reader, receipt = Reader(), Receipt("hl7v2")
    for batch in receipt.batches(reader(io.BytesIO(content), "f")):
        receipt.add(batch)
    assert receipt.problems == expected.problems
    assert set(receipt.problems) >= {reason for reason, _ in BAD.values()} | {"R_SUBJECT", "R_HEADER"}
    assert receipt.by_type == expected.published
    assert reader.answers.counts() == expected.answers
    (beside,) = receipt.beside
    assert beside.what == f"OML^O21: {expected.beside} OBX"
    assert receipt.partial is None
    assert receipt.records == receipt.published + sum(receipt.problems.values())


@pytest.mark.parametrize("name", sorted(BAD))
def test_each_fault_is_named_with_its_place_and_costs_its_own_result_only(name: str) -> None:
    reason, segment = BAD[name]
    rows, (problem,) = read(message(obr(), obx(number=1), segment(2), obx(number=3), spm()))
    assert problem.reason == reason
    assert problem.place == "line 4 (message 1, OBX 2)"
    counted = problem.type is not None and name != "long sub-id"
    assert [one["result"]["occurrence"] for one in rows] == [0, 2 if counted else 1]


def test_no_planted_name_is_in_anything_that_comes_out(logged: deque[str]) -> None:
    content, _ = file_with_faults(7)
    assert content.count(MARK.encode()) > 1000
    reader, receipt = Reader(), Receipt("hl7v2")
    for batch in receipt.batches(reader(io.BytesIO(content), "f")):
        receipt.add(batch)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        assert MARK.encode() not in sink.getvalue().to_pybytes()
    assert MARK not in json.dumps(receipt.as_json()) + "".join(receipt.lines("published")) + "".join(logged)


def test_a_name_comes_out_where_it_is_not_cut_away() -> None:
    """So that the test before this one could fail: a text that a laboratory writes is carried."""
    assert MARK in json.dumps(row(obr(), obx(f"{MARK}-patient", "ST"), spm())["value"])


@pytest.mark.parametrize(
    ("file", "by_type"),
    [
        ("single_message.hl7", {"94558-4": 1, "95418-0": 1, "95417-2": 1, "95421-4": 1, "95419-8": 1, "82810-3": 1}),
        ("batch_message.hl7", {"94558-4": 2, "95418-0": 2, "95417-2": 2, "95421-4": 2, "95419-8": 2}),
        ("sample_1.hl7", {"94558-4": 1, "35659-2": 1}),
        ("valid.hl7", {"94558-4": 1, "35659-2": 1}),
    ],
)
def test_real_files_are_read_whole(file: str, by_type: dict[str, int]) -> None:
    if not (SAMPLES / file).is_file():
        pytest.skip(f"no real file {file}: set SAMPLES_DIR to the folder of samples")
    rows, beside = read((SAMPLES / file).read_bytes())
    assert beside == []
    assert Counter(one["type"] for one in rows) == by_type
    lab = [one for one in rows if one["type"] == "94558-4"]
    assert {one["result"]["kind"] for one in lab} == {"lab"}
    assert {one["result"]["kind"] for one in rows if one not in lab} == {"questionnaire"}
    assert all(one["subject"] and one["offset_min"] in (-360, -240) for one in rows)
    assert {one["value"] for one in lab} <= {"260415000", "260373001"}


def test_real_files_give_nobody_away() -> None:
    if not (SAMPLES / "batch_message.hl7").is_file():
        pytest.skip("no real file batch_message.hl7: set SAMPLES_DIR to the folder of samples")
    said = json.dumps(read((SAMPLES / "batch_message.hl7").read_bytes())[0], default=str)
    assert not re.search("Buckridge|Eddin|Leighann|roscoe|19580810|1629082607|2a14112c", said)


# -- what a file may look like

TWO = message(PID.format(n=1), *BESIDE, obr(), obx("<5"), obx("größer", "ST", 2), spm())


@pytest.mark.parametrize(
    "change",
    {
        "LF": lambda text: text.replace("\r", "\n").encode(),
        "CRLF": lambda text: text.replace("\r", "\r\n").encode(),
        "no last end": lambda text: text.rstrip("\r").encode(),
        "empty lines": lambda text: text.replace("\r", "\r\n\n").encode(),
        "byte order mark": lambda text: text.encode("utf-8-sig"),
        "UTF-16": lambda text: text.encode("utf-16"),
        "UTF-16 big": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        "UTF-16 without mark": lambda text: text.encode("utf-16-le"),
        "framed": lambda text: b"\x0b" + text.encode() + b"\x1c\r",
        "blanks before": lambda text: b"\r\n  " + text.encode(),
        "five marks": lambda text: text.replace(r"MSH|^~\&|", r"MSH|^~\&#|").encode(),
        "other marks": lambda text: text.translate(str.maketrans("|^~&", "#@*!")).encode(),
        "trailing blanks": lambda text: text.replace("\r", " \r").encode(),
        "no version": lambda text: text.replace("|2.5.1", "|").encode(),
        "2.3": lambda text: text.replace("|2.5.1", "|2.3").replace("ORU^R01^ORU_R01", "ORU^R01").encode(),
        "2.8.2": lambda text: text.replace("|2.5.1", "|2.8.2^USA").encode(),
    }.items(),
    ids=lambda item: item[0],
)
def test_the_same_message_is_the_same_results(change: Any) -> None:
    rows, beside = read(change[1](TWO))
    assert beside == []
    assert (rows, beside) == read(TWO)


@pytest.mark.parametrize(
    ("named", "codec"),
    [
        ("8859/1", "iso8859-1"),
        ("ISO-8859-15", "iso8859-15"),
        ("UNICODE UTF-8", "utf-8"),
        ("", "utf-8"),
        ("ASCII", "utf-8"),
        ("GB 18030-2000", "gb18030"),
        ("WINDOWS-1252", "cp1252"),
    ],
)
def test_letters_are_read_as_the_message_names_their_set(named: str, codec: str) -> None:
    text = message(obr(), obx("größer µ", "ST"), spm(), header=HEADER + "||||||" + named)
    (one,), beside = read(text.encode(codec))
    assert (one["value"], beside) == ("größer µ", [])


def test_marks_within_letters_of_two_bytes_are_letters() -> None:
    trail = "|\\^~"
    letters = [letter for letter in map(chr, range(0x4E00, 0x9FFF)) if _second_byte(letter) in trail.encode()]
    text = "".join(letters[:20])
    content = message(obr(), obx(text, "ST"), spm(), header=HEADER + "||||||BIG-5").encode("big5")
    assert len({_second_byte(letter) for letter in text}) > 1
    assert read(content)[0][0]["value"] == text


def _second_byte(letter: str) -> int:
    return letter.encode("big5", "replace")[-1]


def test_letters_that_nobody_reads_may_be_of_any_set() -> None:
    content = message("PID|1||p1||Gr\udcfcn", obr(), obx(), spm())
    assert len(read(content)[0]) == 1


def test_a_laboratory_may_say_the_set_that_its_messages_do_not() -> None:
    content = message(obr(), obx("größer", "ST"), spm()).encode("latin-1")
    assert problems(content) == ["R_ENCODING"]
    assert read(content, LabMapping(encoding="8859/1"))[0][0]["value"] == "größer"
    with pytest.raises(LabMappingError, match="encoding"):
        Reader(LabMapping(encoding="klingon"))


def test_a_text_that_was_broken_into_lines_is_one() -> None:
    text = message(obr(), obx("first\nsecond line\n  third", "TX"), spm()).replace("\r", "\r\n")
    (one,), _ = read(text)
    assert one["value"] == "first\nsecond line\nthird"
    assert one["result"]["status"] == "F"


@pytest.mark.parametrize("name", ENCODINGS)
def test_no_set_of_letters_makes_reading_fail(name: str) -> None:
    noise = bytes(byte for byte in random.Random(name).randbytes(2000) if byte not in b"\r\n")
    parts = message(obr(), obx("NOISE", "ST"), obx(f3="NOISE"), spm(), header=HEADER + "||||||" + name).encode()
    rows, beside = read(parts.replace(b"NOISE", noise))
    assert len(rows) + len(beside) == 2


# -- messages, files and batches


@pytest.mark.parametrize(
    "content", ["PID|1||p\rOBR|1\rOBX|1|NM|a||5||||||F\r", "", "MSH", "MSHA^~\\&|x", "%PDF-1.7", "{}"]
)
def test_a_file_without_a_header_is_refused_with_a_word_on_what_it_is(content: str) -> None:
    with pytest.raises(FileRefused, match="this is no HL7 v2 file") as refused:
        read(content)
    assert "PID" not in str(refused.value)
    assert ("PDF" in str(refused.value)) == content.startswith("%PDF")


def test_the_registry_knows_the_format_by_name_and_by_its_first_bytes() -> None:
    assert format_named("hl7v2") is HL7V2
    assert sniffed(TWO.encode(), "a.bin") is HL7V2
    assert sniffed(b"\xef\xbb\xbfFHS|^~\\&|", "x") is HL7V2
    assert seems(b"BHS|^~\\&", "x") == HL7V2.title
    assert [type(one) for one in HL7V2.read(io.BytesIO(TWO.encode()), "a")] == [pa.RecordBatch]


def test_results_of_no_message_are_problems() -> None:
    content = "BHS|^~\\&|x\rOBX|1|NM|a||5\r" + TWO + "BTS|1\rOBX|1|NM|a||5\r"
    rows, beside = read(content)
    assert len(rows) == 2
    assert [(one.reason, one.place) for one in beside] == [("R_HEADER", "line 2"), ("R_HEADER", "line 13")]


def test_messages_of_other_kinds_are_listed_and_never_results() -> None:
    kinds = ("ORM^O01", "OML^O21^OML_O21", "ADT^A01", "ADT^A01", "ORL^O22", "", "drop table")
    reader = Reader()
    content = "".join(
        message(PID.format(n=1), obr(), obx(), spm(), kind=kind, number=n) for n, kind in enumerate(kinds)
    )
    found = list(reader(io.BytesIO((content + TWO).encode()), "f"))
    assert [one for one in found if isinstance(one, NotRead)] == [
        NotRead("ORM^O01: 1 OBX", "message 1"),
        NotRead("OML^O21: 1 OBX", "message 2"),
        NotRead("ADT^A01: 2 OBX", "messages 3, 4"),
        NotRead("ORL^O22: 1 OBX", "message 5"),
        NotRead("a message of no known type: 2 OBX", "messages 6, 7"),
    ]
    assert sum(one.num_rows for one in found if isinstance(one, pa.RecordBatch)) == 2
    assert reader.answers.counts() == {"AR": 7, "AA": 1}
    assert (reader.answers.code(8), reader.answers.first("AR")) == ("AA", [1, 2, 3, 4, 5, 6, 7])


def test_however_many_kinds_of_messages_there_are_the_list_is_short() -> None:
    content = "".join(message(obx(), kind=f"ADT^A{n:02}") for n in range(70)) + message(kind="ADT^A01") * 30
    beside = read(content)[1]
    assert len(beside) == 51
    assert sum(int(re.findall(r"(\d+) OBX", one.what)[0]) for one in beside) == 70
    assert all(len(one.place) < 60 for one in beside)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("FHS|^~\\&|x\r" + TWO, "the end of the file"),
        ("BHS|^~\\&|x\r" + TWO, "the end of the file"),
        ("BHS|^~\\&|x\r" + TWO + "BTS|2\r", "line 11"),
        ("FHS|^~\\&|x\rBHS|^~\\&|x\r" + TWO + "BTS|1\rFTS|2\r", "line 13"),
        ("BHS|^~\\&|x\r" + TWO + "BHS|^~\\&|x\r" + TWO + "BTS|1\r", "line 11"),
        ("FHS|^~\\&|x\rBHS|^~\\&|x\r" + TWO[:-3], "the end of the file"),
    ],
)
def test_a_file_that_was_cut_short_is_read_as_far_as_it_goes(content: str, place: str) -> None:
    rows, beside = read(content)
    assert len(rows) >= 1
    assert [(type(one), one.place) for one in beside[-1:]] == [(Partial, place)]


@pytest.mark.parametrize(
    "content",
    [
        TWO,
        "BHS|^~\\&|x\r" + TWO + TWO + "BTS|2\r",
        "FHS|^~\\&|x\rBHS|^~\\&|x\r" + TWO + "BTS\rBHS|^~\\&|x\r" + TWO + "BTS|many\rFTS|2\r",
        "FHS|^~\\&|x\r" + TWO + TWO + "FTS|0\r",
    ],
)
def test_a_file_that_is_whole_is_not_partial(content: str) -> None:
    rows, beside = read(content)
    assert (len(rows), beside) == (content.count("OBX|"), [])


def test_every_cut_of_a_file_is_accounted_for() -> None:
    content = (message(obr(), obx("<5"), spm()) + message(obr(2), obx(), kind="ORM^O01") + TWO).encode()
    for length in range(8, len(content), 7):
        cut = content[:length]
        rows, beside = read(cut)
        listed = sum(int(re.findall(r"(\d+) OBX", one.what)[0]) for one in beside if isinstance(one, NotRead))
        refused = sum(isinstance(one, Problem) for one in beside)
        assert len(rows) + refused + listed == len(re.findall(rb"(?:^|\r)OBX(?:\||$)", cut)), length


def test_noise_is_accounted_for_and_never_fails() -> None:
    chance = random.Random(5)
    content, _ = file_with_faults(5)
    for _ in range(60):
        noisy = bytearray(content[:20_000])
        for _ in range(30):
            noisy[chance.randrange(60, len(noisy))] = chance.choice(b"|^~\\&\r\nOBXMSH\0\xff1")
        rows, beside = read(bytes(noisy))
        listed = sum(int(re.findall(r"(\d+) OBX", one.what)[0]) for one in beside if isinstance(one, NotRead))
        lines = re.split(rb"\r|\n", bytes(noisy))
        marks = {line[3:4] for line in lines if line[:3] in (b"MSH", b"FHS", b"BHS") and not line[3:4].isalnum()}
        if marks <= {b"|", b""}:
            counted = sum(line.strip(b"\0\t ")[:4] in (b"OBX|", b"OBX") for line in lines)
            assert abs(len(rows) + sum(isinstance(one, Problem) for one in beside) + listed - counted) <= 1


# -- what is hostile


def test_a_segment_as_large_as_a_file_is_one_problem_and_little_memory() -> None:
    class Endless(io.RawIOBase):
        """A message whose first OBX is 60 MB."""

        def __init__(self) -> None:
            self.left = 60_000_000
            self.start = message(obr()).encode() + b"OBX|1|NM|a||"
            self.end = b"\r" + message(obx(number=2), spm()).encode().split(b"\r", 1)[1]

        def read(self, size: int = -1) -> bytes:
            for name in ("start", "end"):
                if (name == "start" or not self.left) and (given := getattr(self, name)):
                    setattr(self, name, given[size:])
                    return bytes(given[:size])
            given = min(size, self.left)
            self.left -= given
            return b"7" * given

    tracemalloc.start()
    found = list(Reader()(Endless(), "f"))  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [one.reason for one in found if isinstance(one, Problem)] == ["R_TOO_LARGE"]
    assert sum(one.num_rows for one in found if isinstance(one, pa.RecordBatch)) == 1
    assert peak < 5 * MOST_SEGMENT_BYTES


@pytest.mark.parametrize("segment", ["PID|1||p~q", "ORC|RE|p", "OBR|1||f", "SPM|1|KIT1"])
def test_where_a_segment_is_too_large_to_say_whose_it_is_nobody_is_guessed(segment: str) -> None:
    usual = {one[:3]: one for one in (PID.format(n=1), "ORC|RE|p", obr(), obx(), spm())}
    content = message(*(usual | {segment[:3]: segment + "|" + "x" * MOST_SEGMENT_BYTES}).values())
    assert problems(content) == ["R_TOO_LARGE"]


def test_what_exceeds_a_group_is_named_and_the_next_group_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.hl7v2_messages.MOST_GROUP_BYTES", 3000)
    rows, beside = read(message(obr(), *(obx(number=n) for n in range(20))) + TWO)
    assert len(rows) + len(beside) == 22
    assert {one.reason for one in beside} == {"R_TOO_LARGE"}
    assert len(beside) >= 5
    assert [one["message"] for one in rows].count(2) == 2


def test_marks_without_end_are_refused_before_they_are_taken_apart() -> None:
    many = message(obr(), obx("^~&" * 1_000_000, "CWE"), obx("x" * 1_000_000, "ED"), obx("1"), spm())
    tracemalloc.start()
    rows, beside = read(many)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [one.reason for one in beside] == ["R_TOO_LARGE", "R_VALUE_TYPE"]
    assert len(rows) == 1
    assert peak < 80_000_000


def test_a_segment_of_ever_more_lines_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.hl7v2_lines.MOST_SEGMENT_BYTES", 64 * 1024)
    content = message(obr()) + obx("x") + "\nx" * 5_000 + "\r" + obx(number=2) + "\r"
    rows, beside = read(content)
    assert ([one.reason for one in beside], len(rows)) == (["R_TOO_LARGE"], 1)


def test_a_report_of_very_many_results_comes_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.hl7v2._ROWS", 20)
    many = message(obr(), *(obx(str(n), number=n) for n in range(50)), spm())
    found = list(Reader()(io.BytesIO(many.encode()), "f"))
    assert [type(one) for one in found] == [pa.RecordBatch] * 3
    assert {one for batch in found for one in batch.column("report").to_pylist()} == {1}  # type: ignore[union-attr]


# -- whose, and what belongs together


@pytest.mark.parametrize(
    ("segments", "subject"),
    [
        ((obr(), obx(), spm("KIT7")), "KIT7"),
        ((obr(), obx(), spm("KIT7&LAB&1.2&ISO^F7")), "KIT7"),
        ((obr(), obx(), spm("^F7&LAB&1.2&ISO")), "F7"),
        ((obr(), obx(), spm("")), "fil-1"),
        ((obr(3), obx()), "fil-3"),
        ((obr(), spm("KIT7"), obx()), "KIT7"),
    ],
)
def test_the_barcode_is_in_the_specimen_else_in_the_order(segments: tuple[str, ...], subject: str) -> None:
    one = row(*segments)
    assert (one["subject"], one["subject_kind"]) == (subject, "kit")


PERSON = LabMapping(subject=(SubjectField(kind="person", field="PID-3", identifier_type="PI"),))


@pytest.mark.parametrize(
    ("mapping", "subject"),
    [
        (PERSON, "p-4"),
        (LabMapping(subject=(SubjectField(kind="person", field="PID-3", identifier_type="MR"),)), "mrn-17"),
        (LabMapping(subject=(SubjectField(kind="person", field="PID-3.4", identifier_type="PI"),)), "NL"),
        (LabMapping(subject=(SubjectField(kind="kit", field="ORC-2"), *PERSON.subject)), "p-4"),
        (LabMapping(subject=(SubjectField(kind="person", field="OBR-2"),)), "ord-1"),
    ],
)
def test_the_mapping_file_says_where_the_person_is(mapping: LabMapping, subject: str) -> None:
    assert row(PID.format(n=4), obr(), obx(), spm(), mapping=mapping)["subject"] == subject


def test_several_numbers_of_one_person_are_not_guessed_at() -> None:
    either = LabMapping(subject=(SubjectField(kind="person", field="PID-3"),))
    assert problems(message(PID.format(n=4), obr(), obx(), obx()), either) == ["R_SUBJECT"] * 2


def test_a_subject_that_is_given_goes_before_what_messages_say() -> None:
    one = row(PID.format(n=4), obr(), obx(), spm(), subject="p-9")
    assert (one["subject"], one["subject_kind"]) == ("p-9", "person")


def test_each_patient_of_a_message_has_their_own_results() -> None:
    content = message(
        PID.format(n=1), obr(1), obx("1"), PID.format(n=2), "ORC|RE", obr(2), obx("2"), obr(3), obx("3"), spm("KIT3")
    )
    rows, _ = read(content, LabMapping(subject=(*PERSON.subject,)))
    assert [(one["subject"], one["order"]["id"], one["value"]) for one in rows] == [
        ("p-1", "fil-1", "1"),
        ("p-2", "fil-2", "2"),
        ("p-2", "fil-3", "3"),
    ]
    assert [one["specimen"]["id"] for one in rows] == [None, None, "KIT3"]
    assert [one["report"] for one in rows] == [1, 2, 3]


def test_numbers_of_the_order_stand_in_for_those_of_the_request() -> None:
    empty = "OBR|1||^LAB^1.2^ISO|57698-3^Lipids^LN|||20240229083000+0100"
    one = row("ORC|RE|place-1|fill-1", empty, obx(), spm())
    assert one["order"] == {
        "id": "fill-1",
        "placer_id": "place-1",
        "service": {"code": "57698-3", "system": "LN", "text": "Lipids"},
    }


def test_specimens_of_a_specimen_message_stand_before_their_orders() -> None:
    content = message(
        PID.format(n=1), spm("KIT1"), obr(1), "ORC|RE|p", obx("1"), obr(2), obx("2"), spm("KIT2"), obx("3"), obr(3),
        obx("4"), kind="OUL^R22^OUL_R22",
    )  # fmt: skip
    rows, beside = read(content)
    assert beside == []
    assert [(one["value"], one["subject"], one["order"]["id"]) for one in rows] == [
        ("1", "KIT1", "fil-1"),
        ("2", "KIT1", "fil-2"),
        ("3", "KIT2", None),
        ("4", "KIT2", "fil-3"),
    ]


# -- what a result says


def test_a_result_says_all_that_the_message_says() -> None:
    one = row(PID.format(n=1), "ORC|RE|x|y", obr(), obx("5.10", f4="1^2", f10="A~S", f19="20240301110000"), spm("KIT1"))
    at = {"clock": "utc", "offset_min": 60, "zone": None, "precision": "second", "offset_from": None}
    assert one["result"] == {
        "kind": "lab",
        "code": {"code": "2345-7", "system": "LN", "text": "Glucose"},
        "other_code": {"code": "GLU", "system": "L", "text": "Glucose"},
        "sub_id": "1^2",
        "occurrence": 0,
        "value": {
            "number": {"written": "5.10", "comparator": None, "number": 5.1, "relation": None, "second": None},
            "codes": None,
            "text": None,
            "time": None,
        },
        "unit": {"code": "mmol/L", "system": "UCUM", "text": None},
        "reference_range": "3.9-5.6",
        "range_applies_to": ["A", "S"],
        "abnormal_flags": ["N"],
        "status": "F",
        "method": {"code": "M1", "system": "99M", "text": "Strip"},
        "observed": at | {"at": 1_709_191_800_000_000, "taken_from": "OBX-14"},
        "analysed": at | {"at": 1_709_287_200_000_000, "taken_from": "OBX-19", "offset_from": "MSH-7"},
        "dilution": None,
    }
    assert one["specimen"] == {
        "id": "KIT1",
        "type": {"code": "119297000", "system": "SCT", "text": "Blood"},
        "site": {"code": "368208006", "system": "SCT", "text": "Arm"},
        "method": {"code": "VENIP", "system": "HL70488", "text": "Puncture"},
        "collected": at | {"at": 1_709_191_800_000_000, "taken_from": "SPM-17"},
        "received": at | {"at": 1_709_280_000_000_000, "taken_from": "SPM-18"},
        "conditions": [],
        "rejected": [],
        "haemolysis_index": None,
    }
    assert (one["source_name"], one["type"], one["value"], one["unit"]) == ("North Lab", "2345-7", "5.10", "mmol/L")


def test_a_loinc_code_goes_before_the_laboratorys_own() -> None:
    swapped = row(obr(), obx(f3="GLU^Zucker^L^2345-7^Glucose^LN"), spm())["result"]
    assert (swapped["code"]["code"], swapped["other_code"]["code"]) == ("2345-7", "GLU")
    own = row(obr(), obx(f3="GLU^Zucker^L"), spm())["result"]
    assert (own["code"], own["other_code"]) == ({"code": "GLU", "system": "L", "text": "Zucker"}, None)


def test_before_there_were_specimen_segments_the_request_said_it() -> None:
    request = "OBR|1|o|f|GLU|||20240229|||||||20240301|SER&Serum&HL70070^^^ARM&Arm&L"
    specimen = row(request, obx())["specimen"]
    assert specimen["type"] == {"code": "SER", "system": "HL70070", "text": "Serum"}
    assert specimen["site"] == {"code": "ARM", "system": "L", "text": "Arm"}
    assert (specimen["received"]["taken_from"], specimen["collected"]["taken_from"]) == ("OBR-14", "OBR-7")


@pytest.mark.parametrize(
    ("own", "request_time", "collected", "zone", "found"),
    [
        ("20240101080000+0200", "20240102+0100", "20240103+0100", None, ("OBX-14", 120, None, None)),
        ("20240101080000", "20240102+0100", "20240103-0500", None, ("OBX-14", -300, "SPM-17", None)),
        ("20240101080000", "20240102+0300", "20240103", None, ("OBX-14", 180, "OBR-7", None)),
        ("20240101080000", "20240102", "20240103", "Europe/Madrid", ("OBX-14", 60, "MSH-7", None)),
        ("", "20240102+0300", "20240103", None, ("OBR-7", 180, None, None)),
        ("", "", "20240103-0500", None, ("SPM-17", -300, None, None)),
        ('""', "", "20240103-0500", None, ("SPM-17", -300, None, None)),
    ],
)
def test_the_time_and_its_offset_are_taken_from_where_they_are(
    own: str, request_time: str, collected: str, zone: str | None, found: tuple[Any, ...]
) -> None:
    segments = obr(time=request_time), obx(f14=own), spm(collected=collected)
    observed = row(*segments, mapping=LabMapping(zone=zone))["result"]["observed"]
    assert (observed["taken_from"], observed["offset_min"], observed["offset_from"], observed["zone"]) == found
    assert observed["clock"] == "utc"


@pytest.mark.parametrize(("zone", "from_"), [("Europe/Madrid", "laboratory"), (None, None)])
def test_without_any_offset_a_time_is_the_wall_clocks(zone: str | None, from_: str | None) -> None:
    content = message(obr(time="20240102"), obx(f14=""), header=HEADER.replace("+0100", ""))
    (one,), _ = read(content, LabMapping(zone=zone))
    observed = one["result"]["observed"]
    assert (observed["clock"], observed["zone"], observed["offset_from"]) == ("local", zone, from_)
    assert (observed["at"], observed["precision"]) == (1_704_153_600_000_000, "day")


def test_without_a_time_of_observation_or_collection_there_is_no_result() -> None:
    assert problems(message(obr(time=""), obx(f14=""), spm(collected=""))) == ["R_NO_TIME"]
    assert problems(message(obr(time="soon"), obx(f14=""), spm(collected="00000000"))) == ["R_NO_TIME"]


def test_a_question_is_no_result_of_the_laboratory() -> None:
    one = row(obr(), obx("Y^Yes^HL70136", "CWE", f29="QST"), spm())
    assert (one["result"]["kind"], one["modality"]) == ("questionnaire", "self_reported")
    assert row(obr(), obx(f29="RSLT"), spm())["result"]["kind"] == "lab"
