"""Decode: messages among a partition's records, pointers for what is none, and bytes of any kind."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.blocks import column, texts
from pipelines.coder import BlockCoder
from pipelines.decode import Pointer, count_reasons, decode_block, pointers_from_json, pointers_to_json
from pipelines.normalise import normalise
from schemas.contract_check import check
from schemas.contracts import HEADER_BYTES, encode
from schemas.reasons import Reason, Rejected
from schemas.registry import READING_CONTRACTS
from tests.messages import (
    ACME,
    LATER,
    SECOND,
    START,
    TOPIC,
    acceleration,
    decoded,
    moments,
    packed,
    records,
    sensor,
    sleep,
    version,
)

GOOD = encode("sensor-reading", sensor())


def test_columns_of_several_messages() -> None:
    block, pointers = decoded(
        GOOD,
        encode("sensor-reading", acceleration(1, 2, 3, 4, 5, 6)),
        encode("sensor-reading", sleep("deep", "rem", record_ids=["a", "b"], subject="p-0018")),
        encode("sensor-reading", sensor(times={"start": [1, 5, 9], "end": [2, 6, 9]}, clock="local", offset_min=-210)),
    )
    assert block is not None
    assert pointers == []
    assert block.meta == {"topic": TOPIC, "partition": 3, "live": True}
    numbers = ("offset", "received", "readings", "samples", "width", "period")
    assert {name: column(block.messages, name).tolist() for name in numbers} == {
        "offset": [100, 101, 102, 103],
        "received": [LATER] * 4,
        "readings": [3, 1, 2, 3],
        "samples": [3, 2, 2, 3],
        "width": [1, 3, 1, 1],
        "period": [SECOND, 31_250, 1800 * SECOND, 0],
    }
    assert {name: texts(block.messages, name) for name in ("instant", "coded", "identified", "local")} == {
        "instant": [True, True, True, False],
        "coded": [False, False, True, False],
        "identified": [False, False, True, False],
        "local": [False, False, False, True],
    }
    assert texts(block.messages, "offset_min") == [None, None, None, -210]
    assert texts(block.messages, "subject") == ["p-0017", "p-0017", "p-0018", "p-0017"]
    assert texts(block.messages, "channels") == [[], ["x", "y", "z"], [], []]
    assert column(block.parts["samples"], "start").tolist()[-3:] == [1, 5, 9]
    assert column(block.parts["samples"], "end").tolist()[-3:] == [2, 6, 9]
    assert column(block.parts["values"], "value").tolist() == [60, 61, 63, 1, 2, 3, 4, 5, 6, 60, 61, 63]
    assert texts(block.parts["codes"], "code") == ["deep", "rem"]
    assert texts(block.parts["record_ids"], "record_id") == ["a", "b"]


def test_the_serial_number_goes_no_further() -> None:
    block, _ = decoded(encode("sensor-reading", sensor(source={"name": "w", "serial": "SN-4711"})))
    assert block is not None
    assert b"SN-4711" not in BlockCoder().encode(block)


def test_neighbours_of_bad_records_are_decoded() -> None:
    other_contract = encode("identity-link", {"link_id": "l", "partner": "p", "subject": "s", "member": "m"})
    bad = {
        Reason.EMPTY: None,
        Reason.NOT_AVRO: b"garbage of any kind",
        Reason.FINGERPRINT: GOOD[:2] + bytes(8) + GOOD[HEADER_BYTES:],
        Reason.CONTRACT: other_contract,
        Reason.TRUNCATED: GOOD[:-3],
        Reason.TRAILING: GOOD + b"\x00",
        Reason.FIELD: encode("sensor-reading", sensor(subject="")),
        Reason.RAGGED: encode("sensor-reading", sensor(times={"at": [1]})),
        Reason.NO_READINGS: encode("sensor-reading", sensor(values=[])),
    }
    block, pointers = decoded(*(value for pair in bad.values() for value in (pair, GOOD)))
    assert block is not None
    assert column(block.messages, "offset").tolist() == [101 + 2 * row for row in range(len(bad))]
    assert [(p.offset, p.reason) for p in pointers] == [(100 + 2 * row, reason) for row, reason in enumerate(bad)]
    assert {(p.topic, p.partition, p.first_reading, p.readings) for p in pointers} == {(TOPIC, 3, None, 0)}
    assert [p.path for p in pointers] == ["", "", "", "", "", "", "subject", "times.at", "values"]


def test_what_the_reader_marked_is_not_looked_into() -> None:
    block, pointers = decoded(None, None, GOOD, too_large=0, corrupt=1)
    assert block is not None
    assert [(p.offset, p.reason) for p in pointers] == [(100, Reason.TOO_LARGE), (101, Reason.CORRUPT)]
    assert column(block.messages, "offset").tolist() == [102]


@pytest.mark.parametrize("contract", READING_CONTRACTS)
def test_every_topic_that_a_run_reads_can_be_decoded(contract: str) -> None:
    _, pointers = decode_block(records(b"x"), f"acme.{contract}.v1", 3, np.zeros(1, np.int64))
    assert [p.reason for p in pointers] == [Reason.NOT_AVRO]


def test_no_message_at_all_makes_no_block() -> None:
    assert decoded(b"x") == (None, [Pointer(TOPIC, 3, 100, None, 0, Reason.NOT_AVRO, "")])
    assert decoded() == (None, [])


def test_each_message_keeps_the_time_its_record_came_in() -> None:
    block, _ = decode_block(records(b"x", GOOD, GOOD), TOPIC, 0, np.array([1, 2, 3], dtype=np.int64))
    assert block is not None
    assert column(block.messages, "received").tolist() == [2, 3]


def test_reasons_are_counted_by_record_or_by_reading() -> None:
    pointers = [
        Pointer("t", 0, 5, None, 0, "R_EMPTY", ""),
        Pointer("t", 0, 6, 2, 4, "R_NOT_FINITE", "values"),
        Pointer("t", 0, 7, 0, 1, "R_NOT_FINITE", "values"),
    ]
    assert count_reasons(pointers) == (Counter({"R_EMPTY": 1, "R_NOT_FINITE": 5}), 1)
    assert pointers_from_json(pointers_to_json(pointers)) == pointers


SEEDS = [
    encode("sensor-reading", message, contract)
    for contract in (version("1.0"), version("1.1"))
    for message in (
        sensor(zone="Europe/Madrid", record_ids=["a", "b", "c"]),
        sensor(
            times={"at": moments(START, START, START - SECOND)}, values=[36.5, 36.6, 40.0], clock="local", offset_min=60
        ),
        sensor(
            metric="steps_interval", unit="{steps}", times={"start": [START], "end": moments(START + 1)}, values=[5.0]
        ),
        acceleration(1, 2, 3, 4, 5, 6, unit="m[g]", values=packed("i2", 1, 2, 3, 4, 5, 6, scale=0.5)),
        acceleration(1, 2, 3, times={"at": [START]}, clock="local", zone="America/Sao_Paulo"),
        sleep("deep", "rem", source={"name": "w", "device_model": "m", "firmware": "1.2.3", "app": "a"}),
    )
]
BYTES = st.one_of(st.binary(min_size=1, max_size=12), st.just(b"\xff" * 9 + b"\x01"), st.just(b"\x80" * 6 + b"\x01"))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid message with some bytes of its body overwritten, put in, left out or repeated."""
    body = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(HEADER_BYTES, len(body)))
        many = draw(st.integers(1, 9))
        kind = draw(st.sampled_from(("overwrite", "insert", "delete", "repeat")))
        if kind == "insert":
            body[at:at] = draw(BYTES)
        elif kind == "repeat":
            body[at:at] = body[at : at + many] * many
        else:
            body[at : at + many] = draw(BYTES)[:many] if kind == "overwrite" else b""
    return bytes(body)


@settings(derandomize=True, database=None)
@given(st.lists(mutated(), min_size=1, max_size=4))
def test_of_mutated_messages_nothing_comes_but_blocks_and_pointers(payloads: list[bytes]) -> None:
    """Each intact neighbour is read, and the readings are accounted for: what is decoded is kept or rejected."""
    block, pointers = decoded(GOOD, *payloads, GOOD)
    assert block is not None
    assert {100, 101 + len(payloads)} <= set(column(block.messages, "offset").tolist())
    assert block.messages.num_rows + len(pointers) == 2 + len(payloads)
    blocks, rejected = normalise(block, ACME)
    kept = sum(part.readings.num_rows for part in blocks)
    assert kept + sum(p.readings for p in rejected) == column(block.messages, "readings").sum()
    for payload in payloads:
        assert check(payload).ok in (True, False)


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_are_rejected(seed: int) -> None:
    chance = random.Random(seed)
    head = GOOD[: (0, 2, HEADER_BYTES, HEADER_BYTES + 20)[seed]]
    for _ in range(300):
        payload = head + chance.randbytes(chance.randrange(200))
        block, pointers = decoded(payload)
        assert (block is None) == (len(pointers) == 1)


def test_anything_but_a_rejection_is_a_defect_and_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pipelines.messages.series", broken)
    with pytest.raises(ZeroDivisionError):
        decoded(GOOD)
    assert not issubclass(ZeroDivisionError, Rejected)
