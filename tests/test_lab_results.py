"""Laboratory results: records become messages of the contract, as they were sent, and what is judged of them."""

import io
import json
import random
from typing import Any

import pyarrow as pa
import pytest

from connectors.formats import Partial
from connectors.hl7v2 import Reader
from connectors.kafka import KafkaUnreachable
from connectors.lab_results import CONTRACT, lab_messages, publish_results
from connectors.receipt import Receipt
from schemas.barcodes import in_groups, issue_many
from schemas.contracts import FOLDER, HEADER_BYTES, contracts, decode, encode, latest
from schemas.lab_records import LAB_SCHEMA
from schemas.lab_results import lab_report
from schemas.reasons import Reason, Rejected
from schemas.source_records import doc_of
from tests.canaries import MARK
from tests.lab_messages import GOOD, PID, file_with_faults, message, obr, obx, spm

MANY = message(PID.format(n=1), obr(), *(make(n) for n, make in enumerate(GOOD.values(), 1)), spm())


def batches(text: str) -> list[pa.RecordBatch]:
    return [one for one in Reader()(io.BytesIO(text.encode()), "f") if isinstance(one, pa.RecordBatch)]


def decoded(batch: pa.RecordBatch, **options: int) -> list[dict[str, Any]]:
    return [decode(one.value, CONTRACT) for one in lab_messages(batch, **options)]


def example() -> dict[str, Any]:
    """The message of the example that uses every field."""
    file = FOLDER.with_name("examples") / "lab-result.1.1.every_field.pass.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["message"]
    return found


def changed(path: str, value: Any) -> dict[str, Any]:
    """The example with another value at a path, as it comes from the topic."""
    sent = decode(encode(CONTRACT, example()), CONTRACT)
    *way, name = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = sent
    for part in way:
        place = place[part]
    place[name] = value
    return sent


# -- records to messages


def test_a_message_says_what_the_records_say() -> None:
    (batch,) = batches(MANY)
    (sent,) = decoded(batch)
    rows = batch.to_pylist()
    assert sent["subject"] == "KIT1"
    assert sent["laboratory"] == "North Lab"
    for name in ("subject", "subject_kind", "order", "specimen", "sent", "run"):
        assert sent[name] == rows[0][name]
    assert len(sent["results"]) == len(GOOD)
    for result, row in zip(sent["results"], rows, strict=True):
        wanted = dict(row["result"])
        kinds = [content for content in (wanted.pop("value") or {}).values() if content is not None]
        value = result.pop("value")
        assert result == {name: wanted[name] for name in result}
        assert kinds == ([] if value is None else [value["text"] if value.keys() == {"text"} else value])
    assert lab_report(decoded(batch)[0]).results


def test_reports_are_messages_of_their_own_with_their_subject_as_key() -> None:
    text = message(obr(1), obx("1"), spm("KIT1"), obr(2), obx("2"), obx("3"), spm("KIT2")) + message(obr(3), obx("4"))
    (batch,) = batches(text)
    found = list(lab_messages(batch))
    assert [(one.key, one.rows.num_rows) for one in found] == [(b"KIT1", 1), (b"KIT2", 2), (b"fil-3", 1)]
    assert [one.rows.column("value").to_pylist() for one in found] == [["1"], ["2", "3"], ["4"]]


def test_a_report_that_is_too_large_comes_in_several_messages_that_say_the_same_of_it() -> None:
    (batch,) = batches(message(obr(), *(obx("x" * 5000, "TX", n) for n in range(1, 40)), spm()))
    found = list(lab_messages(batch, most_bytes=30_000))
    assert len(found) > 6
    assert all(len(one.value) <= 30_000 for one in found)
    parts = [decode(one.value, CONTRACT) for one in found]
    results = [result for part in parts for result in part.pop("results")]
    assert [result["occurrence"] for result in results] == list(range(39))
    assert all(part == parts[0] for part in parts)
    assert len(list(lab_messages(batch, most_bytes=10))) == 39  # one result is sent however small the limit


def test_a_batch_may_begin_and_end_within_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.hl7v2._ROWS", 20)
    first, second, third = batches(message(obr(), *(obx(str(n), number=n) for n in range(45)), spm()))
    numbers = [r["value"]["number"] for b in (first, second, third) for one in decoded(b) for r in one["results"]]
    assert numbers == list(range(45))


class Broker:
    """Takes messages, and from `refuse` on confirms none."""

    def __init__(self, refuse: int = 1_000_000) -> None:
        self.taken: list[tuple[bytes, bytes]] = []
        self.refuse, self.failed, self.in_flight = refuse, 0, 0
        self.refusals: list[str] = []

    def send(self, key: bytes, value: bytes) -> None:
        self.taken.append((key, value))
        self.failed += len(self.taken) > self.refuse

    def flush(self) -> "Broker":
        return self


def test_publishing_a_file_with_faults_counts_what_was_confirmed_and_names_nobody() -> None:
    content, expected = file_with_faults(11)
    broker, receipt, reader = Broker(), Receipt("hl7v2"), Reader()
    publish_results(reader(io.BytesIO(content), "f"), receipt, broker, reader.answers)
    assert receipt.by_type == expected.published
    assert receipt.problems == expected.problems
    assert reader.answers.counts() == expected.answers
    sent = [decode(value, CONTRACT) for _, value in broker.taken]
    assert sum(len(lab_report(one).results) for one in sent) == receipt.published
    assert not any(MARK.encode() in key + value for key, value in broker.taken)


def test_without_a_broker_the_same_is_counted() -> None:
    content, expected = file_with_faults(11)
    receipt = Receipt("hl7v2")
    publish_results(Reader()(io.BytesIO(content), "f"), receipt, None)
    assert (receipt.by_type, receipt.problems) == (expected.published, expected.problems)


def test_what_the_broker_did_not_confirm_is_unacknowledged_and_its_messages_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("connectors.hl7v2._ROWS", 20)
    text = "".join(message(obr(), *(obx(number=n) for n in range(9)), spm(), number=n) for n in range(5))
    reader, receipt, broker = Reader(), Receipt("hl7v2"), Broker(refuse=3)
    publish_results(reader(io.BytesIO(text.encode()), "f"), receipt, broker, reader.answers)
    assert receipt.problems == {"R_UNACKNOWLEDGED": 20}
    assert receipt.published == 20
    assert receipt.records == 40
    assert isinstance(receipt.partial, Partial)
    assert [reader.answers.code(number) for number in range(1, 6)] == ["AA", "AA", "AE", "AE", "AE"]


def test_a_message_is_not_accepted_when_the_broker_goes_away_while_it_is_sent() -> None:
    class Away(Broker):
        def send(self, key: bytes, value: bytes) -> None:
            raise KafkaUnreachable("the broker is away")

    reader, receipt = Reader(), Receipt("hl7v2")
    with pytest.raises(KafkaUnreachable):
        publish_results(reader(io.BytesIO(MANY.encode()), "f"), receipt, Away(), reader.answers)
    assert receipt.problems == {"R_UNACKNOWLEDGED": len(GOOD)}
    assert reader.answers.counts() == {"AE": 1}


def test_every_column_says_what_it_holds() -> None:
    assert all(len(doc_of(field)) > 8 for field in LAB_SCHEMA)


def test_the_columns_are_those_of_the_contract() -> None:
    """Names and order of the records in the columns are the contract's, so that one becomes the other as it is."""
    schema = latest(CONTRACT).schema
    named = schema["__named_schemas"]

    def names(record: str) -> list[str]:
        return [field["name"] for field in named[f"org.wellspring.{record}"]["fields"]]

    def fields(kind: pa.DataType) -> list[str]:
        return [kind.field(number).name for number in range(kind.num_fields)]

    result = LAB_SCHEMA.field("result").type
    assert fields(result) == names("Result")
    assert fields(LAB_SCHEMA.field("order").type) == names("Order")
    assert fields(LAB_SCHEMA.field("specimen").type) == names("Specimen")
    assert fields(LAB_SCHEMA.field("sent").type) == names("Moment")
    assert fields(result.field("code").type) == names("Code")
    value = result.field("value").type
    assert fields(value.field("number").type) == names("NumberValue")
    assert fields(value.field("codes").type) == names("CodeValue")
    assert fields(value.field("time").type) == names("TimeValue")


# -- the contract


def test_every_truncation_and_every_trailing_byte_is_rejected() -> None:
    payload = encode(CONTRACT, example())
    for length in range(HEADER_BYTES, len(payload)):
        with pytest.raises(Rejected) as caught:
            decode(payload[:length], CONTRACT)
        assert caught.value.reason == Reason.TRUNCATED
    with pytest.raises(Rejected) as caught:
        decode(payload + b"\0", CONTRACT)
    assert caught.value.reason == Reason.TRAILING


# A result below 5 mmol/L of kit K, by the rules of Avro, byte for byte: whatever comes later, this stays readable.
FIRST_BYTES = bytes.fromhex(
    "c301 07b135f35e096da9"  # marker, fingerprint of 1.0
    " 024b 00 024c 000000 00 00"  # K, a kit, laboratory L, an order of which nothing is said, no specimen, not sent
    " 02 00 02470000 00 00 00"  # one result: lab, code G, no other code, no sub id, occurrence 0
    " 02 043c35 0200 020000000000001440 00 00"  # a number: "<5", less_than, 5.0, no relation, no second
    " 02 0c6d6d6f6c2f4c 0000"  # mmol/L
    " 00 00 00 02 00"  # no range, what it applies to, flags; F; no method
    " 02 00 00 00 04 00 00 00 00"  # observed: 1, utc, no offset and zone, a day; not analysed; no more results
)


def test_a_message_of_today_is_read_for_ever() -> None:
    """The bytes that the first version of the contract makes of a small message."""
    small = {
        "subject": "K",
        "subject_kind": "kit",
        "laboratory": "L",
        "order": {},
        "results": [
            {
                "code": {"code": "G"},
                "value": {"written": "<5", "comparator": "less_than", "number": 5.0},
                "unit": {"code": "mmol/L"},
                "status": "F",
                "observed": {"at": 1, "precision": "day"},
            }
        ],
    }
    first = next(one for one in contracts().values() if one.label == "lab-result 1.0")
    assert encode(CONTRACT, small, first) == FIRST_BYTES
    read = decode(FIRST_BYTES, CONTRACT)
    assert read["results"][0]["value"]["number"] == 5.0
    assert read["run"] is None and read["results"][0]["dilution"] is None, "what came with 1.1"


def test_a_specimen_of_the_first_version_says_nothing_of_its_condition() -> None:
    first = next(one for one in contracts().values() if one.label == "lab-result 1.0")
    sent = {**example(), "specimen": {"id": "s"}, "results": []}
    del sent["run"]
    specimen = decode(encode(CONTRACT, sent, first), CONTRACT)["specimen"]
    assert (specimen["conditions"], specimen["rejected"], specimen["haemolysis_index"]) == ([], [], None)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("subject", "", Reason.FIELD),
        ("laboratory", "x" * 201, Reason.FIELD),
        ("order.id", "x" * 201, Reason.FIELD),
        ("specimen.type.code", "", Reason.FIELD),
        ("specimen.collected.offset_min", 1441, Reason.FIELD),
        ("results", [], Reason.NO_READINGS),
        ("results.0.code.text", "x" * 1001, Reason.FIELD),
        ("results.0.value", None, Reason.FIELD),
        ("results.0.value.number", float("nan"), Reason.NOT_FINITE),
        ("results.0.value.number", float("inf"), Reason.NOT_FINITE),
        ("results.0.value.number", None, Reason.FIELD),
        ("results.0.value.second", 5.0, Reason.FIELD),
        ("results.0.value.second", float("-inf"), Reason.NOT_FINITE),
        ("results.0.value.written", "", Reason.FIELD),
        ("results.0.reference_range", "x" * 1001, Reason.FIELD),
        ("results.0.abnormal_flags", ["x" * 201], Reason.FIELD),
        ("results.0.occurrence", -1, Reason.FIELD),
        ("results.0.dilution", float("nan"), Reason.NOT_FINITE),
        ("specimen.haemolysis_index", float("inf"), Reason.NOT_FINITE),
        ("specimen.conditions.0.code", "", Reason.FIELD),
        ("specimen.rejected.0.text", "x" * 1001, Reason.FIELD),
        ("run.id", "x" * 201, Reason.FIELD),
        ("run.controls", "xxxx", Reason.FIELD),
    ],
)
def test_what_is_at_fault_is_told_by_its_path_without_the_value(path: str, value: Any, reason: Reason) -> None:
    with pytest.raises(Rejected) as caught:
        lab_report(changed(path, value))
    place = caught.value.path.replace("[", ".").replace("]", "")
    assert (caught.value.reason, place.removesuffix(".0")) == (reason, path.removesuffix(".0"))
    assert caught.value.expected
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize("path", ["specimen.collected", "specimen.received", "results.0.observed"])
def test_a_wall_clock_needs_a_zone_or_one_that_is_assumed(path: str) -> None:
    sent = changed(f"{path}.clock", "local")
    place = sent
    for part in path.split("."):
        place = place[int(part) if part.isdigit() else part]  # type: ignore[index]
    place["offset_min"] = None
    with pytest.raises(Rejected) as caught:
        lab_report(sent)
    assert (caught.value.reason, caught.value.path.replace("[0]", ".0")) == (Reason.ZONE, f"{path}.zone")
    assert lab_report(sent, assumed_zone="Europe/Madrid")


@pytest.mark.parametrize("status", "PFCA")
def test_only_a_status_that_says_so_does_without_a_value(status: str) -> None:
    sent = changed("results.0.value", None)
    sent["results"][0]["status"] = status
    with pytest.raises(Rejected):
        lab_report(sent)
    for other in "XDW":
        sent["results"][0]["status"] = other
        assert lab_report(sent).results[0].value is None


# -- kits' barcodes


BARCODE = next(issue_many(1, random.Random(5).choice))


@pytest.mark.parametrize(
    "as_sent", [BARCODE, in_groups(BARCODE).lower(), "KIT1", "K7Q2-9XW4", BARCODE[1:], "LAB/2024/000017X"]
)
def test_a_barcode_and_a_number_that_is_none(as_sent: str) -> None:
    """Whose kits have other numbers links them itself."""
    assert lab_report(changed("subject", as_sent)).subject == as_sent


@pytest.mark.parametrize("place", range(16))
def test_a_report_of_a_kit_whose_barcode_was_misread_is_refused(place: int) -> None:
    wrong = "8" if BARCODE[place] != "8" else "9"
    for misread in (BARCODE[:place] + wrong + BARCODE[place + 1 :], BARCODE[:place] + "O" + BARCODE[place + 1 :]):
        for written in (misread, in_groups(misread).lower()):
            with pytest.raises(Rejected) as caught:
                lab_report(changed("subject", written))
            assert (caught.value.reason, caught.value.path) == (Reason.FIELD, "subject")
            assert written not in str(caught.value)


def test_a_persons_number_is_no_barcode() -> None:
    sent = changed("subject", BARCODE[::-1])
    sent["subject_kind"] = "person"
    assert lab_report(sent).results
