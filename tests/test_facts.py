"""The facts of source records as columns: whatever the records, each fact is what a look at it alone says it is."""

import math
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import facts
from pipelines.blocks import Block
from pipelines.exports import UNMAPPED
from pipelines.facts import Kinds, words
from pipelines.identity import hash64, sent64
from pipelines.normalise import normalise
from schemas.arrow_stream import WORDS
from schemas.clocks import is_zone
from schemas.contracts import decode, encode
from schemas.export_mappings import ExportMapping, Rule, export_mapping
from schemas.metrics import catalogue
from schemas.reasons import Reason
from schemas.registry import Partner
from schemas.source_records import repeating
from tests.test_exports import APPLE, START, batch, decoded, messages, source

HEART, STEPS, SLEEP = (
    "HKQuantityTypeIdentifierHeartRate",
    "HKQuantityTypeIdentifierStepCount",
    "HKCategoryTypeIdentifierSleepAnalysis",
)
KINDS = (
    HEART,
    STEPS,
    SLEEP,
    SLEEP,
    SLEEP,
    "HKWorkoutActivityTypeYoga",
    "ActivitySummary",
    "HKNew",
    "somebody's own",
    "duration",
)
VALUES = ("72", "7.25", "-0", "+5", ".5", "5.", "1e2", "2E-3", "1e999", "lots", "", "0x10", "nan", None)
CODES = tuple(f"HKCategoryValueSleepAnalysis{one}" for one in ("AsleepDeep", "Awake", "Hovering"))
TIMES = st.integers(START, START + 1_000_000_000)

parts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(("duration", "totalDistance", "InstantaneousBeatsPerMinute", HEART, "appleStandHours")),
        "value": st.sampled_from(VALUES),
        "unit": st.sampled_from(("min", "km", "count/min", None)),
        "start": st.none() | TIMES,
        "end": st.none() | TIMES,
    }
)
one_record = st.builds(
    source,
    st.sampled_from(KINDS),
    value=st.sampled_from((*VALUES, *CODES, *CODES, *CODES)),
    unit=st.sampled_from(("count/min", "count", "furlong", "", None)),
    start=TIMES,
    end=TIMES,
    zone=st.sampled_from((None, None, "Asia/Tokyo", "Mars/Olympus")),
    offset_min=st.sampled_from((60, -300, None)),
    modality=st.sampled_from(("sensed", "derived")),
    source_name=st.sampled_from(("Ann's phone", "Ann's watch")),
    device_model=st.sampled_from((None, "", "Watch6,1")),
    offset_of=st.sampled_from(("export", "record")),
    record_id=st.sampled_from((None, "a", "b")),
    parts=st.lists(parts, max_size=3),
)
MANY = st.lists(one_record, min_size=1, max_size=12)


def mapping() -> ExportMapping:
    assert APPLE is not None and APPLE.mapping is not None
    return export_mapping(APPLE.mapping)


def number(text: str | None) -> float | None:
    """The number that a text is; None where it is none, or one that nothing can hold."""
    is_number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text or "")
    return float(text) if text and is_number and math.isfinite(float(text)) else None


def said(rows: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """What each fact of the records is by itself, by its index; None for a container."""
    found: list[dict[str, Any] | None] = []
    for row in rows:
        found.append(None if row["type"] in mapping().containers else fact(row, row, False))
        found += [fact(row, part, True) for part in row["parts"]]
    return found


def fact(row: dict[str, Any], own: dict[str, Any], is_part: bool) -> dict[str, Any]:
    rule = mapping().rule(own["type"], is_part, own["unit"])
    zone = row["zone"] if is_zone(row["zone"]) else None
    plain = re.fullmatch(r"[A-Za-z0-9/_.]{1,100}", own["type"])
    return {
        "metric": rule.metric.code if rule else UNMAPPED,
        "unit": (rule.unit if rule else "") or "1",
        "sent_as": own["type"],
        "unit_sent": own["unit"] or "",
        "shown": None if rule else own["type"] if plain else "other",
        **{name: row[name] for name in ("modality", "source_name")},
        "device_model": row["device_model"] or None,
        "zone": zone,
        "offset_min": None if zone else row["offset_min"],
        "export_offset": row["offset_of"] == "export",
        **{name: row[name] if own[name] is None else own[name] for name in ("start", "end")},
        "record_id": None if is_part else row["record_id"] or "",
        **content(own["value"], rule),
    }


def content(value: str | None, rule: Rule | None) -> dict[str, Any]:
    if rule is None:  # it is rejected, whatever its value
        return {}
    if not rule.is_coded:
        return {"value": number(value)}
    sent = rule.code or "" if value is None else value
    return {"sent": sent, "code": rule.code or rule.codes.get(sent, sent)}


def facts_in(block: Block) -> dict[int, dict[str, Any]]:
    """The facts of a decoded block one by one, by their index."""
    samples = block.parts["samples"].to_pylist()
    values, codes, ids = (iter(block.parts[part].to_pylist()) for part in ("values", "codes", "record_ids"))
    found = {}
    for message in block.messages.to_pylist():
        own, samples = samples[: message["readings"]], samples[message["readings"] :]
        assert [sample["index"] for sample in own] == sorted(sample["index"] for sample in own)
        for sample in own:
            one: dict[str, Any] = {**message, "start": sample["start"], "end": sample["end"]}
            if message["coded"]:
                one |= next(codes)
            else:
                value = next(values)["value"]
                one["value"] = value if math.isfinite(value) else None
            one["record_id"] = next(ids)["record_id"] if message["identified"] else None
            found[sample["index"]] = one
    assert not samples
    return found


@given(rows=MANY, in_words=st.booleans())
def test_each_fact_is_what_a_look_at_it_alone_says(rows: list[dict[str, Any]], in_words: bool) -> None:
    wanted = said(rows)
    block, rejected = decoded(*(messages(*rows) if in_words else [plainly(rows)]))
    assert bool(rejected) == (not any(wanted)) and (block is None) == bool(rejected)
    found = facts_in(block) if block else {}
    assert sorted(found) == [index for index, one in enumerate(wanted) if one]
    has_ids = any(row["record_id"] for row in rows)
    for index, one in found.items():
        expected = wanted[index]
        assert expected is not None
        expected |= {} if has_ids else {"record_id": None}
        assert {name: one[name] for name in expected} == expected


def plainly(rows: list[dict[str, Any]]) -> bytes:
    """The message as one writes it who has no dictionaries."""
    sink = pa.BufferOutputStream()
    records = batch(*rows).replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, records.schema) as writer:
        writer.write_batch(records)
    (whole,) = messages(*rows)
    return encode("app-export", {**decode(whole, "app-export"), "records": sink.getvalue().to_pybytes()})


@given(rows=MANY)
def test_each_reading_that_lands_is_its_fact_and_every_other_is_rejected_once(rows: list[dict[str, Any]]) -> None:
    wanted = said(rows)
    block, _ = decoded(*messages(*rows))
    if block is None:
        return
    blocks, pointers = normalise(block, Partner(name="acme"))
    landed: dict[int, dict[str, Any]] = {}
    for part in blocks:
        shared = part.messages.to_pylist()
        landed |= {row["index"]: {**shared[row["message"]], **row} for row in part.readings.to_pylist()}
    assert len(landed) + sum(pointer.readings for pointer in pointers) == sum(one is not None for one in wanted)
    for index, one in landed.items():
        expected = wanted[index]
        assert expected is not None and expected["end"] >= expected["start"]
        assert one.get("code") == expected.get("code") and one["metric"] == expected["metric"]
        if not expected["record_id"]:
            assert one["sent"] == hash_of(expected)
    reasons = {Reason.METRIC, Reason.UNIT, Reason.CODE, Reason.NOT_FINITE, Reason.INTERVAL}
    assert {pointer.reason for pointer in pointers} <= reasons
    coded = {index: one for index, one in enumerate(wanted) if one and "code" in one}
    assert set(landed) & set(coded) == {index for index, one in coded.items() if is_a_reading(one)}


def is_a_reading(fact: dict[str, Any]) -> bool:
    """Whether the fact, a code, is one of its metric's, and at a time that can be."""
    metric = catalogue().get(fact["metric"])
    return metric is not None and fact["code"] in metric.codes and fact["start"] <= fact["end"]


def hash_of(fact: dict[str, Any]) -> int:
    """What the reading of a fact without a record id is known by."""
    message = hash64("acme", fact["source_name"], fact["sent_as"], fact["unit_sent"])
    value = fact["value"] + 0.0 if "value" in fact else math.nan
    bits = np.array([value]).view(np.uint64)
    if "sent" in fact:
        bits ^= np.uint64(hash64(fact["sent"]))
    start, end = (np.array([fact[name]], dtype=np.int64) for name in ("start", "end"))
    return int(sent64(np.array([message], dtype=np.uint64), start, end, bits)[0])


def test_texts_that_repeat_come_in_words_and_what_is_each_record_s_does_not() -> None:
    assert APPLE is not None
    names = repeating(APPLE.schema)
    assert {"type", "unit", "source_name", "offset_of"} <= names and not {"value", "record_id", "parts"} & names
    (message,) = messages(*(source(HEART, str(n)) for n in range(300)))
    sent = pa.ipc.open_stream(decode(message, "app-export")["records"]).schema
    assert {field.name for field in sent if field.type == WORDS} == names
    many = [source(f"HKType{n}") for n in range(200)]
    sent = pa.ipc.open_stream(decode(messages(*many)[0], "app-export")["records"]).schema
    assert sent.field("type").type == pa.string() and sent.field("unit").type == WORDS


@pytest.mark.parametrize("column", [pa.nulls(2, pa.string()), pa.nulls(2, WORDS)], ids=["plain", "coded"])
def test_words_of_a_column_that_says_nothing_are_none_and_of_one_kind(column: pa.Array) -> None:
    found = words(column)
    assert found.texts == [None] and found.codes.tolist() == [0, 0]


def test_words_are_the_column_coded_or_not() -> None:
    texts = pa.array(["b", None, "a", "b"])
    for column in (texts, texts.dictionary_encode(), pa.array([3, None, 1, 3], pa.int16())):
        found = words(column)
        assert [found.texts[code] for code in found.codes] == column.to_pylist()
    both = found.take(np.array([0, 2])).then(words(pa.array(["x"])))
    assert [both.texts[code] for code in both.codes] == [3, 1, "x"]


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=30, max_size=30), min_size=1, max_size=6),
    st.sampled_from([9, 1 << 62]),
)
def test_what_differs_in_anything_is_of_another_kind(things: list[list[int]], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "_MOST_KINDS", most)
        patch.setattr(facts, "_FEW_KINDS", min(most, 1 << 8))
        kinds = Kinds(30)
        for codes in things:
            kinds.tell_apart(np.array(codes), 4)
        order, begins = kinds.grouped()
    each = list(zip(*things, strict=True))
    groups = [order[low:high].tolist() for low, high in pairwise(begins.tolist())]
    assert groups == [[n for n in range(30) if each[n] == kind] for kind in sorted(set(each))]
