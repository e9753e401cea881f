"""Laboratories' reports in the run: what each result becomes in the catalogue's terms, and what is refused."""

import io
import random
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectors.hl7v2 import Reader
from connectors.lab_results import CONTRACT, lab_messages
from pipelines.blocks import Block, column
from pipelines.decode import Pointer, decode_block
from pipelines.normalise import normalise
from schemas.barcodes import in_groups, issue_many
from schemas.contracts import decode, encode
from schemas.lab_mapping import LabMapping, parse
from schemas.registry import Partner
from tests.lab_messages import PID, file_with_faults, message, obr, obx, spm

LAB = Partner(name="lab", contracts=(CONTRACT,))
RECEIVED = 1_741_953_600_000_000  # 2025-03-14T12:00:00Z
HBA1C = "4548-4^HbA1c^LN"
NAME = "North Lab"


def hba1c(value: str = "5.4", status: str = "F", number: int = 1, **fields: str) -> str:
    return obx(value, number=number, **{"f3": HBA1C, "f6": "%^^UCUM", "f11": status, **fields})


def report(*segments: str, order: int = 1) -> str:
    return message(PID.format(n=1), obr(order), *segments, spm())


def payloads(text: str) -> list[bytes]:
    found = Reader()(io.BytesIO(text.encode("utf-8", "surrogateescape")), "f")
    return [one.value for part in found if isinstance(part, pa.RecordBatch) for one in lab_messages(part)]


def block_of(values: list[bytes], received: int = RECEIVED) -> Block:
    block, pointers = decode_block(raw_of(values), LAB.topic(CONTRACT), 0, np.full(len(values), received))
    assert block is not None and not pointers
    return block


def judged(*texts: str, partner: Partner = LAB, **laboratories: LabMapping) -> tuple[dict[str, Block], list[Pointer]]:
    """The blocks by family, and what was refused."""
    known = {mapping.laboratory or name: mapping for name, mapping in laboratories.items()}
    blocks, pointers = normalise(block_of(payloads("".join(texts))), partner, known)
    return {block.meta["family"]: block for block in blocks}, pointers


def raw_of(values: list[bytes]) -> pa.RecordBatch:
    """Records with these values, at offsets from 0."""
    return pa.record_batch(
        {
            "offset": np.arange(len(values)),
            "value": pa.array(values, pa.binary()),
            "too_large": np.zeros(len(values), bool),
            "corrupt": np.zeros(len(values), bool),
        }
    )


def rows(block: Block) -> list[dict[str, Any]]:
    """What is said of each reading, by its message and itself."""
    messages = block.messages.to_pylist()
    return [{**messages[row["message"]], **row} for row in block.readings.to_pylist()]


def test_a_report_that_breaks_a_rule_is_refused_alone_and_those_around_it_keep_their_places() -> None:
    first, last = payloads(report(hba1c("5.1"), hba1c("5.2", number=2))), payloads(report(hba1c("5.3"), order=2))
    wrong = decode(last[0], CONTRACT)
    wrong["results"][0]["occurrence"] = -1
    values = [b"", *first, encode(CONTRACT, wrong), b"\xc3\x01", *last]
    block, pointers = decode_block(raw_of(values), LAB.topic(CONTRACT), 0, np.arange(5) * 10)
    assert block is not None
    assert [(pointer.offset, pointer.reason, pointer.path) for pointer in pointers] == [
        (0, "R_EMPTY", ""),
        (2, "R_FIELD", "results[0].occurrence"),
        (3, "R_NOT_AVRO", ""),
    ]
    assert column(block.messages, "offset").tolist() == [1, 4]
    assert column(block.messages, "received").tolist() == [10, 40]
    results = block.parts["results"]
    assert column(results, "message").tolist() == [0, 0, 1] and column(results, "index").tolist() == [0, 1, 0]
    assert results.column("written").to_pylist() == ["5.1", "5.2", "5.3"]
    assert len(set(block.messages.column("order").to_pylist())) == 2


def test_where_every_report_is_refused_there_is_no_block() -> None:
    wrong = decode(payloads(report(hba1c("5.1")))[0], CONTRACT) | {"results": []}
    block, pointers = decode_block(raw_of([encode(CONTRACT, wrong)]), LAB.topic(CONTRACT), 0, np.zeros(1))
    assert block is None and [(pointer.offset, pointer.reason) for pointer in pointers] == [(0, "R_NO_READINGS")]


def test_every_result_becomes_one_reading_or_one_refusal() -> None:
    content, _ = file_with_faults(seed=3)
    block = block_of(payloads(content.decode("utf-8", "surrogateescape")))
    blocks, pointers = normalise(block, LAB)
    total = block.parts["results"].num_rows
    assert total == int(np.sum(block.messages.column("readings").to_numpy()))
    assert sum(one.readings.num_rows for one in blocks) + sum(pointer.readings for pointer in pointers) == total
    places = [(pointer.offset, pointer.first_reading) for pointer in pointers]
    places += [(row["offset"], row["index"]) for one in blocks for row in rows(one)]
    assert set(Counter(places).values()) == {1}, "a result had two outcomes, or none"


@pytest.mark.parametrize(
    ("value", "unit", "landed", "comparator"),
    [
        ("5.4", "%^^UCUM", 5.4, None),
        ("<4.5", "%^^UCUM", 4.5, "less_than"),
        (">= 14", "%^^UCUM", 14.0, "at_least"),
    ],
)
def test_a_limit_keeps_what_it_is(value: str, unit: str, landed: float, comparator: str | None) -> None:
    blocks, pointers = judged(report(hba1c(value, f2="ST", f6=unit)))
    (row,) = rows(blocks["lab_result"])
    assert not pointers and (row["value"], row["comparator"], row["value_sent"]) == (landed, comparator, value)


def test_not_detected_without_a_limit_is_no_number() -> None:
    blocks, _ = judged(report(hba1c("ND", f2="ST")))
    (row,) = rows(blocks["lab_result"])
    assert np.isnan(row["value"]) and row["comparator"] == "not_detected"


def test_a_result_that_cannot_be_had_has_no_value() -> None:
    blocks, _ = judged(report(hba1c("", "X")))
    (row,) = rows(blocks["lab_result"])
    assert np.isnan(row["value"]) and row["code"] is None and row["status"] == "X"


def test_units_are_converted_and_kept_as_sent() -> None:
    blocks, _ = judged(report(hba1c("36", f6="mmol/mol^^UCUM")))
    (row,) = rows(blocks["lab_result"])
    assert row["unit"] == "%" and row["unit_sent"] == "mmol/mol"
    assert row["value"] == pytest.approx(36 * 0.09148 + 2.152, abs=0.01)  # IFCC to NGSP, the master equation


def test_what_is_refused_says_where_and_never_what() -> None:
    _, pointers = judged(
        report(
            obx(f3="4711^secret^L"),
            obx(number=2, f3="99998-7^?^LN"),
            hba1c("5", number=3, f6="furlong"),
            hba1c("five", number=4, f2="ST"),
        )
    )
    assert [(p.first_reading, p.readings, p.reason, p.path) for p in pointers] == [
        (0, 1, "R_METRIC", "results.other"),
        (1, 1, "R_METRIC", "results.99998-7"),
        (2, 1, "R_UNIT", "results.hba1c.unit"),
        (3, 1, "R_CODE", "results.hba1c.value"),
    ]


def test_a_laboratorys_own_code_and_unit_are_read_by_its_file_alone() -> None:
    sent = report(obx("5.4", f3="A1C^HbA1c^L", f6="Perc."))
    mapping = parse(f'laboratory: {NAME}\ncodes: [{{code: A1C, metric: hba1c}}]\nunits: {{"Perc.": "%"}}\n')
    blocks, _ = judged(sent, lab=mapping)
    (row,) = rows(blocks["lab_result"])
    assert (row["metric"], row["code_sent"], row["value"], row["unit_sent"]) == ("hba1c", "A1C", 5.4, "Perc.")
    other = mapping.model_copy(update={"laboratory": "South Lab"})
    assert judged(sent, lab=other)[1][0].reason == "R_METRIC"


def test_a_question_is_an_answer_whatever_the_metric() -> None:
    blocks, _ = judged(report(hba1c(f29="QST")))
    assert set(blocks) == {"answer"}
    assert rows(blocks["answer"])[0]["modality"] == "self_reported"


def test_a_result_of_the_future_is_refused_and_an_old_one_is_not() -> None:
    late, old = hba1c(f14="20250315120000+0000"), hba1c(number=2, f4="2", f14="19990101120000+0000")
    blocks, pointers = judged(report(late, old))
    assert [(pointer.first_reading, pointer.reason) for pointer in pointers] == [(0, "R_FUTURE")]
    assert len(rows(blocks["lab_result"])) == 1


# -- what a result is


def sent(*texts: str) -> list[int]:
    return [row["sent"] for row in rows(judged(*texts)[0]["lab_result"])]


def records(*texts: str) -> list[int]:
    return [row["record"] for row in rows(judged(*texts)[0]["lab_result"])]


def test_a_correction_is_another_reading_of_the_same_record() -> None:
    versions = [report(hba1c(status="P")), report(hba1c(status="F")), report(hba1c("5.6", "C"))]
    assert len(set(sent(*versions))) == 3
    assert len(set(records(*versions))) == 1 and 0 not in records(*versions)


def test_the_same_result_is_the_same_reading_beside_whatever_it_is_sent() -> None:
    (alone,) = sent(report(hba1c()))
    assert sent(report(hba1c("9", number=1, f4="0"), hba1c(number=2)))[1] == alone


@pytest.mark.parametrize(
    "other",
    [
        report(hba1c(), order=2),
        report(hba1c(f4="2")),
        report(hba1c("9"), hba1c(number=2))[:0] + report(hba1c("9", f4="1"), hba1c(number=2, f4="1")),
    ],
)
def test_orders_sub_ids_and_occurrences_are_records_of_their_own(other: str) -> None:
    (one,) = records(report(hba1c()))
    assert one not in records(other)[-1:]


def of_kit(*spellings: str) -> list[dict[str, Any]]:
    """A result of a report of a kit, whose order nothing else tells, by how its barcode is spelled there."""
    said = decode(payloads(report(hba1c()))[0], CONTRACT)
    said |= {"subject_kind": "kit", "specimen": said["specimen"] | {"id": None}}
    said["order"] |= {"id": None, "placer_id": None}
    values = [encode(CONTRACT, said | {"subject": spelling}) for spelling in spellings]
    return rows(normalise(block_of(values), LAB)[0][0])


def test_a_kit_is_the_same_however_its_barcode_is_spelled() -> None:
    barcode, other = issue_many(2, random.Random(5).choice)
    *same, another = of_kit(barcode, in_groups(barcode), in_groups(barcode).lower(), other)
    for name in ("specimen", "record"):
        assert len({row[name] for row in same}) == 1
        assert another[name] not in (0, same[0][name])


def test_what_was_sent_of_a_kit_is_as_it_was_spelled() -> None:
    """What landed before is known again: its key is over what was sent, whatever else is known of kits by now."""
    sent_of = [row["sent"] for row in of_kit("5ZG209YQM1HZCT6H", "5ZG2-09YQ-M1HZ-CT6H")]
    assert sent_of == [5329445802575684694, 1145816226511852601]


def test_what_a_result_is_does_not_depend_on_what_it_is_taken_for() -> None:
    """A corrected mapping replaces by replay: what comes again afterwards must be known as what is there."""
    text = report(obx("5.4", f3="A1C^HbA1c^L", f6="Perc."))
    one = parse(f'laboratory: {NAME}\ncodes: [{{code: A1C, metric: hba1c}}]\nunits: {{"Perc.": "%"}}\n')
    two = parse(f'laboratory: {NAME}\ncodes: [{{code: A1C, metric: hba1c}}]\nunits: {{"Perc.": "mmol/mol"}}\n')
    (first,), (second,) = (rows(judged(text, lab=mapping)[0]["lab_result"]) for mapping in (one, two))
    assert first["value"] != second["value"] and first["sent"] == second["sent"]


def test_names_do_not_get_past_the_reports_columns() -> None:
    blocks, _ = judged(report(hba1c()))
    for part in blocks["lab_result"].parts.values():
        assert not any("zaphod" in str(value).lower() for row in part.to_pylist() for value in row.values())


# -- the laboratory's clock


def test_a_zone_that_was_borrowed_of_the_laboratory_is_assumed() -> None:
    mapping = parse(f"laboratory: {NAME}\nzone: Europe/Brussels\n")
    text = report(hba1c(f14="20240701083000"), order=1).replace("20240229083000+0100", "20240701083000")
    text = text.replace("20240301090000+0100", "20240702090000").replace("20240301120000+0100", "20240702120000")
    found = Reader(mapping)(io.BytesIO(text.encode()), "f")
    values = [m.value for part in found if isinstance(part, pa.RecordBatch) for m in lab_messages(part)]
    blocks, _ = normalise(block_of(values), LAB)
    (row,) = rows(blocks[0])
    assert row["start"] == 1_719_815_400_000_000 and row["offset_min"] == 120  # 06:30 UTC
    assert row["quality"] == 2  # zone_assumed
