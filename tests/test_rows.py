"""Rows of a table: the order of a plain sort, dictionaries of exactly the values used, and the family's columns."""

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.blocks import Block, batch, is_said_once, with_columns
from pipelines.rows import Rows, join, ordered, people_in, table
from pipelines.zones import NO_OFFSET, QUALITIES
from schemas.families import OBSERVATION, QUARANTINE, WAVEFORM

PEOPLE = {"ANN": 7, "BOB": 3, "CAT": 7, "DAN": 0}
METRICS, SOURCES = ("heart_rate", "resting_heart_rate"), ("AAAA", "BBBB")
HOUR = 3_600_000_000


def study_block(rng: random.Random, partner: str = "acme", messages: int = 5, spread: int = HOUR) -> Block:
    """A study's block as Check hands it on: messages of several people, each with a few readings."""
    shared: dict[str, list[Any]] = {name: [] for name in _MESSAGE}
    readings: dict[str, list[Any]] = {name: [] for name in ("message", "index", "start", "key64")}
    for number in range(messages):
        person = rng.choice(sorted(PEOPLE))
        own = (PEOPLE[person], person, rng.choice(METRICS), "/min", rng.choice(SOURCES), f"{partner}{number}".encode())
        for name, value in zip(_MESSAGE, own, strict=True):
            shared[name].append(value)
        for index in range(rng.randrange(1, 6)):
            row = (number, index, rng.randrange(spread), rng.getrandbits(62))
            for name, value in zip(readings, row, strict=True):
                readings[name].append(value)
    return made(shared, readings, partner)


_MESSAGE = ("pbucket", "pseudonym", "metric", "unit", "source", "origin")


def made(shared: dict[str, list[Any]], readings: dict[str, list[Any]], partner: str = "acme") -> Block:
    count, of_message = len(readings["message"]), len(shared["metric"])
    messages = {
        **shared,
        "pbucket": np.array(shared["pbucket"], dtype=np.int16),
        "origin": pa.array(shared["origin"], pa.binary()),
        "received": np.full(of_message, HOUR),
        "unit_sent": ["bpm"] * of_message,
        "modality": ["sensed"] * of_message,
        "channels": pa.array([[]] * of_message, pa.list_(pa.string())),
        **{name: pa.nulls(of_message, pa.string()) for name in ("device_model", "firmware", "app", "app_version")},
    }
    own = {
        "end": np.array(readings["start"]),
        "value": np.arange(count, dtype=np.float64),
        "offset_min": np.full(count, 60, dtype=np.int16),
        "quality": np.zeros(count, dtype=np.int8),
        "consent_seq": np.ones(count, dtype=np.int32),
        "flags": np.zeros(count, dtype=np.int64),
        "revision": np.zeros(count, dtype=np.int16),
    }
    columns = {name: np.array(values) for name, values in readings.items()}
    columns |= {name: columns[name].astype(np.int32) for name in ("message", "index")}
    meta = {"study": "sleep", "partner": partner, "family": "observation"}
    return Block(meta, {"messages": batch(messages), "readings": batch({**columns, **own})})


def flat(blocks: list[Block]) -> list[dict[str, Any]]:
    """The rows of blocks one by one, each with what its message shares."""
    found = []
    for block in blocks:
        messages = block.messages.to_pylist()
        for reading in block.readings.to_pylist():
            shared = messages[reading["message"]]
            found.append({**shared, **reading, "partner": block.meta["partner"]})
    return found


@pytest.mark.parametrize("spread", [HOUR, 2**62])
@pytest.mark.parametrize("seed", range(10))
def test_rows_lie_in_the_order_of_a_plain_sort(seed: int, spread: int) -> None:
    """Of rows that are equal in all five, those that came first come first."""
    rng = random.Random(seed)
    blocks = [study_block(rng, partner, spread=spread) for partner in ("acme", "beat", "acme")]
    expected = sorted(flat(blocks), key=lambda r: tuple(r[name] for name in OBSERVATION.sort_key))
    content = table(ordered(join(blocks)), OBSERVATION, 12, "observation")
    found = content.drop_columns(["start", "end", "received"]).to_pylist()
    key = ("pbucket", "pseudonym", "metric", "source", "key64", "origin", "value", "partner")
    assert [[row[name] for name in key] for row in found] == [[row[name] for name in key] for row in expected]
    assert [row["origin_index"] for row in found] == [row["index"] for row in expected]
    assert content.column("start").cast(pa.int64()).to_pylist() == [row["start"] for row in expected]
    assert {row["entry"] for row in found} == {12}


@pytest.mark.parametrize("same", [True, False])
def test_equal_starts_keep_the_order_in_which_they_came(same: bool) -> None:
    shared = {"pbucket": [1], "pseudonym": ["A"], "metric": ["x"], "unit": ["1"], "source": ["s"], "origin": [b"o"]}
    start = [5] * 100 if same else [5] * 50 + [4] * 50
    block = made(shared, {"message": [0] * 100, "index": list(range(100)), "start": start, "key64": list(range(100))})
    found = ordered(join([block])).readings["index"].tolist()
    assert found == list(range(100)) if same else found == [*range(50, 100), *range(50)]


def test_a_dictionary_holds_the_values_used_and_no_other() -> None:
    rng = random.Random(1)
    blocks = [study_block(rng, partner, messages=30) for partner in ("acme", "beat")]
    rows = join(blocks)
    pseudonym = np.array(rows.messages.column("pseudonym").to_pylist())[rows.readings["message"]]
    partner = np.array(rows.messages.column("partner").to_pylist())[rows.readings["message"]]
    kept = ordered(rows.filter((pseudonym == "ANN") & (partner == "beat")))
    content = table(kept, OBSERVATION, 1, "observation")
    coded = 0
    for name in content.schema.names:
        column = content.column(name).combine_chunks()
        if pa.types.is_dictionary(column.type):
            used = [value for value in column.dictionary_decode().unique().to_pylist() if value is not None]
            assert sorted(column.dictionary.to_pylist()) == sorted(used), name
            coded += 1
    assert coded >= 10
    assert set(content.column("pseudonym").to_pylist()) == {"ANN"}
    assert set(content.column("partner").to_pylist()) == {"beat"}


def test_columns_are_the_familys_and_what_a_block_lacks_is_null() -> None:
    block = study_block(random.Random(2))
    for family in (OBSERVATION, QUARANTINE):
        content = table(ordered(join([block])), family, 3, "observation")
        plain = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in content.schema]
        assert content.schema.names == family.schema.names and plain == family.schema.types
        assert content.column("code").null_count == content.num_rows
        assert content.column("record64").null_count == content.num_rows
    assert set(content.column("family").to_pylist()) == {"observation"}


def test_blocks_of_different_columns_become_one() -> None:
    """Codes and record ids come with some messages only."""
    one, two = study_block(random.Random(3)), study_block(random.Random(4))
    count = two.readings.num_rows
    with_more = two.readings.append_column("code", pa.array(["deep"] * count))
    with_more = with_more.append_column("record64", pa.array([None] + [9] * (count - 1), pa.int64()))
    rows = join([one, Block(two.meta, {**two.parts, "readings": with_more})])
    content = table(rows, OBSERVATION, 1, "observation")
    assert content.column("code").to_pylist() == [None] * one.readings.num_rows + ["deep"] * count
    assert content.column("record64").to_pylist() == [None] * (one.readings.num_rows + 1) + [9] * (count - 1)


def test_qualities_and_offsets_are_spelled_out() -> None:
    block = study_block(random.Random(5))
    rows = join([block])
    count = len(rows)
    quality = np.where(np.arange(count) % 2, 5, 2).astype(np.int8)
    offset = np.where(np.arange(count) % 3, 60, NO_OFFSET).astype(np.int16)
    content = table(
        rows.with_column("quality", quality).with_column("offset_min", offset), OBSERVATION, 1, "observation"
    )
    assert content.column("time_quality").to_pylist() == [QUALITIES[code] for code in quality]
    assert content.column("time_quality").combine_chunks().dictionary.to_pylist() == [QUALITIES[2], QUALITIES[5]]
    assert content.column("offset_min").to_pylist() == [None if o == NO_OFFSET else 60 for o in offset]


def test_signals_keep_their_lists_through_the_sort() -> None:
    block = study_block(random.Random(6))
    count = block.readings.num_rows
    values = pa.array([[float(n), n + 0.5] for n in range(count)])
    times = pa.array([None if n % 2 else [n] for n in range(count)], pa.list_(pa.int64()))
    readings = block.readings.drop_columns(["value"])
    own = {"values": values, "times_us": times, "period_us": pa.array([5] * count), "samples": pa.array([2] * count)}
    for name, column in own.items():
        readings = readings.append_column(name, column)
    rows = join([Block({**block.meta, "family": "waveform"}, {**block.parts, "readings": readings})])
    content = table(ordered(rows), WAVEFORM, 1, "waveform").to_pylist()
    where = {row["key64"]: n for n, row in enumerate(block.readings.to_pylist())}
    assert len(content) == count
    for row in content:
        n = where[row["key64"]]
        assert row["values"] == [float(n), n + 0.5] and row["times_us"] == (None if n % 2 else [n])


def test_integers_of_two_widths_land_in_one_file() -> None:
    blocks = []
    for seed, kind in ((8, pa.int16()), (9, pa.int32())):
        block = study_block(random.Random(seed))
        counts = pa.array([[n, -n] for n in range(block.readings.num_rows)], pa.list_(kind))
        readings = block.readings.drop_columns(["value"]).append_column("counts", counts)
        blocks.append(Block({**block.meta, "family": "waveform"}, {**block.parts, "readings": readings}))
    content = table(ordered(join(blocks)), WAVEFORM, 1, "waveform")
    assert content.schema.field("counts").type == WAVEFORM.schema.field("counts").type
    sent = {row["key64"]: row["counts"] for block in blocks for row in block.readings.to_pylist()}
    assert {row["key64"]: row["counts"] for row in content.to_pylist()} == sent


def test_taking_rows_takes_them_of_every_column() -> None:
    rows = join([study_block(random.Random(7))])
    rows = rows.with_column("code", pa.array([str(n) for n in range(len(rows))]))
    kept = rows.take(np.array([2, 0]))
    assert len(kept) == 2 and kept.readings["code"].to_pylist() == ["2", "0"]
    assert kept.readings["value"].tolist() == [2.0, 0.0]
    assert len(rows.filter(np.zeros(len(rows), dtype=bool))) == 0


def test_integers_that_are_all_the_same_are_said_once_and_no_others() -> None:
    blocks = [study_block(random.Random(seed)) for seed in (1, 2)]
    count = sum(block.readings.num_rows for block in blocks)
    same, last, zeros = np.full(count, 60, dtype=np.int16), np.full(count, 60, dtype=np.int16), np.zeros(count)
    last[-1], zeros[-1] = 0, -0.0
    numbers = {"same": same, "last": last, "zeros": zeros}
    begin, parts = 0, []
    for block in blocks:
        end = begin + block.readings.num_rows
        own = [(name, values[begin:end]) for name, values in numbers.items()]
        parts.append(Block(block.meta, {**block.parts, "readings": with_columns(block.readings, own)}))
        begin = end
    found = join(parts).readings
    assert [is_said_once(found[name]) for name in numbers] == [True, False, False]
    for name, values in numbers.items():
        assert found[name].dtype == values.dtype and found[name].tobytes() == values.tobytes()


def test_people_are_counted_by_pseudonym_whatever_messages_they_sent() -> None:
    rows = Rows(pa.table({"pseudonym": ["a", "a", "b", "c"]}), {"message": np.array([0, 0, 1, 2, 3], dtype=np.int32)})
    chosen = [[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert [people_in(rows, np.array(one, dtype=bool)) for one in chosen] == [3, 1, 2, 0]
