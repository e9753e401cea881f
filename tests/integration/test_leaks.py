"""Leaks: of whoever may not be in a study, no byte lies in any of its files, however it is encoded."""

import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.ranges import OffsetRange, RangeReader
from infra.local_kafka import Address
from pipelines.write import write_sorted
from schemas.contracts import encode
from schemas.families import OBSERVATION
from tests.canaries import MARK, Listener, leaks_in_folder, member, source, subject
from tests.kafka_batches import ZSTD, batch
from tests.lakes import rows
from tests.parquet_pages import found_in, pages
from tests.raw_produce import produce_batch
from tests.worlds import DAY, SECOND, World, make_world

# What each person sends lies nowhere else: a value of their own, and names that only their messages carry.
PEOPLE = ("ann", "wit", "unl", "oth")  # in sleep; withheld there; linked to nobody; in cycle only
VALUES = {person: 60.0 + number + 0.123456789 for number, person in enumerate(PEOPLE)}
HARD = {person: 1_000.0 + number + 0.987654321 for number, person in enumerate(PEOPLE)}  # outside: quarantined


def own_words(person: str) -> dict[str, str]:
    """Texts that cross into a study with the person's readings, and with nobody else's."""
    return {"device_model": f"model-{person}", "firmware": f"9.9.{person}", "app": f"app.{person}"}


def scalar(world: World, person: str, value: float) -> bytes:
    """Three heart rates with record ids, of which the middle one is the person's own value."""
    content: dict[str, Any] = {
        "subject": subject(person),
        "metric": "heart_rate",
        "unit": "/min",
        "source": {**source(person), **own_words(person)},
        "times": {"start": world.began - DAY, "period": SECOND},
        "values": [70.0, value, 71.0],
        "record_ids": [f"{MARK}-record-{person}-{number}" for number in range(3)],
    }
    return encode("sensor-reading", content)


def signal(world: World, person: str) -> bytes:
    """A second of acceleration, whose channels bear names and hold the person's own value."""
    content = {
        "subject": subject(person),
        "metric": "acceleration",
        "unit": "m/s2",
        "channels": ["x", "y", f"channel-{person}"],
        "source": {**source(person), **own_words(person)},
        "times": {"start": world.began - DAY, "period": 20_000},
        "values": {"dtype": "f8", "data": struct.pack("<3d", 0.5, -0.5, VALUES[person]) * 50, "scale": 1.0},
    }
    return encode("sensor-reading", content)


def secrets_of(person: str) -> dict[str, bytes]:
    """Everything by which the person could be found; values as they are packed."""
    names = {"subject": subject(person), "member": member(person), **source(person), "record": f"record-{person}"}
    words = {**names, **own_words(person), "channel": f"channel-{person}"}
    packed = {"value": struct.pack("<d", VALUES[person]), "hard": struct.pack("<d", HARD[person])}
    return {f"{person}'s {name}": text.encode() for name, text in words.items()} | {
        f"{person}'s {name}": content for name, content in packed.items()
    }


@pytest.fixture(scope="module")
def world(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> World:
    """All four sent in one record batch, twice over: what landed, and what the quarantine holds."""
    made = make_world(tmp_path_factory.mktemp("leaks"), broker.bootstrap, partitions=1, compact_files=2)
    metrics = {"metrics": ("heart_rate", "acceleration")}
    made.consent(
        *(made.link(person) for person in PEOPLE if person != "unl"),
        made.grant("ann", "sleep", **metrics),
        made.grant("wit", "sleep", metrics=("steps_interval",)),
        made.grant("oth", "cycle", **metrics),
    )
    records = []
    for person in ("wit", "ann", "unl", "oth"):
        values = [scalar(made, person, VALUES[person]), scalar(made, person, HARD[person]), signal(made, person)]
        records += [(0, subject(person).encode(), value, []) for value in values]
    produce_batch(broker.bootstrap, made.topic, 0, batch(records, ZSTD))
    made.work()
    return made


def files(world: World, study: str) -> list[Path]:
    return sorted(world.settings.lake.glob(f"study={study}/*/month=*/*.parquet"))


def test_all_came_in_one_batch_and_each_had_its_outcome(world: World) -> None:
    with RangeReader(world.settings.kafka) as reader:
        (block,) = reader.read(OffsetRange(world.topic, 0, 0, 12))
    assert len(set(block.column("timestamp_us").to_pylist())) == 1
    (entry,) = world.entries("ingest")
    counts: Any = entry.counts
    assert counts["readings"] == {"decoded": 28, "rejected": 0, "held": 7, "claimed": 21, "skipped": 0}
    assert counts["studies"]["sleep"] == {
        "considered": 14,
        "withheld": {"R_NO_AUTHORITY": 7},
        "quarantined": 1,
        "duplicate": 2,
        "landed": 4,
    }
    assert counts["studies"]["cycle"]["landed"] == 4
    world.assert_sound()


@pytest.mark.parametrize(("study", "inside"), [("sleep", "ann"), ("cycle", "oth")])
def test_who_is_not_in_a_study_is_in_none_of_its_files(world: World, study: str, inside: str) -> None:
    outside = {name: text for person in PEOPLE if person != inside for name, text in secrets_of(person).items()}
    hidden = {name: text for name, text in secrets_of(inside).items() if MARK.encode() in text}
    found = files(world, study)
    assert {path.parts[-3] for path in found} >= {"observation", "waveform", "quarantine"}
    for path in found:
        assert found_in(path, {**outside, **hidden}) == []
    for path in world.settings.lake.glob(f"study={study}/*/_delta_log/*"):
        if path.is_file():
            content = path.read_bytes()
            assert [name for name, text in {**outside, **hidden}.items() if text in content] == []


@pytest.mark.parametrize(("study", "inside"), [("sleep", "ann"), ("cycle", "oth")])
def test_the_same_search_finds_whoever_is_inside(world: World, study: str, inside: str) -> None:
    seen = {name for path in files(world, study) for name, _ in found_in(path, secrets_of(inside))}
    crossing = ("device_model", "firmware", "app", "channel", "value", "hard")
    assert seen == {f"{inside}'s {name}" for name in crossing}


def test_a_redrive_and_a_compaction_leak_no_more(world: World) -> None:
    """Their files are written on other ways: the unlinked person is linked, to a member of cycle only."""
    world.consent(world.link("unl"), world.grant("unl", "cycle", metrics=("heart_rate", "acceleration")))
    world.work()
    assert len(world.entries("redrive")) == 1 and world.entries("compact")
    outside = {name: text for person in PEOPLE[1:] for name, text in secrets_of(person).items()}
    for path in files(world, "sleep"):
        assert found_in(path, outside) == []
    seen = {name for path in files(world, "cycle") for name, _ in found_in(path, secrets_of("unl"))}
    assert {"unl's device_model", "unl's value"} <= seen
    assert not any(name.endswith(("subject", "member", "serial", "record", "name")) for name in seen)


def test_no_output_of_the_deployment_names_anybody(world: World) -> None:
    assert list(leaks_in_folder(world.folder, world.settings.lake)) == []
    assert MARK.encode() not in b"".join(world.rejected_bytes())


# -- the search itself


@pytest.fixture
def planted() -> pa.Table:
    """Rows of ann; the dictionary still holds wit's model, as Arrow keeps it through a filter."""
    both = pa.array(["model-ann", "model-wit"] * 10).dictionary_encode()
    content = rows(OBSERVATION, 20, value=[VALUES["ann"]] * 20)
    place = content.schema.get_field_index("device_model")
    content = content.set_column(place, pa.field("device_model", both.type), both)
    return content.filter(pa.array([True, False] * 10))


def test_a_dictionary_that_was_not_compacted_is_caught(planted: pa.Table, tmp_path: Path) -> None:
    write_sorted(planted, OBSERVATION, tmp_path / "a.parquet")
    assert set(pq.read_table(tmp_path / "a.parquet").column("device_model").to_pylist()) == {"model-ann"}
    found = found_in(tmp_path / "a.parquet", {"wit": b"model-wit", "ann": b"model-ann"})
    assert ("wit", "device_model dictionary") in found and ("ann", "device_model dictionary") in found


def test_values_statistics_and_metadata_are_searched(planted: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_sorted(planted, OBSERVATION, path)
    assert found_in(path, {"value": struct.pack("<d", VALUES["ann"])})[-1:] == [("value", "value")]
    pq.write_table(planted.replace_schema_metadata({"note": "model-wit"}), path, compression="zstd")
    where = {place for _, place in found_in(path, {"note": b"model-wit", "pseudonym": b"p"})}
    assert "footer" in where


def test_pages_hold_all_that_a_reader_finds(planted: pa.Table, tmp_path: Path) -> None:
    """An independent count: the dictionary indices and plain values of every column are unpacked to their last byte."""
    write_sorted(planted, OBSERVATION, tmp_path / "a.parquet")
    every = list(pages(tmp_path / "a.parquet"))
    assert {page.column for page in every} == set(OBSERVATION.schema.names)
    keys = next(page.content for page in every if page.column == "key64" and not page.dictionary)
    assert keys[-80:] == np.array(planted.column("key64").to_pylist(), dtype="<i8").tobytes()


@pytest.fixture
def listening() -> Listener:
    return Listener()


def test_the_watch_over_the_session_hears_what_it_must(listening: Listener, tmp_path: Path) -> None:
    log = logging.Logger("wellspring.test")
    log.addHandler(listening)
    log.debug("record of %s", subject("ann"))
    log.warning("record of nobody")
    try:
        try:
            raise KeyError(member("ann"))
        except KeyError as cause:
            raise ValueError("of nobody") from cause
    except ValueError as error:
        listening.hear(error)
    assert len(listening.told()) == 2 and listening.told() == []
    for name in (f"lake/_control/{MARK}.json", "lake/_control/ledger.json", "driver.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(subject("ann"))
    assert len(list(leaks_in_folder(tmp_path, tmp_path / "lake"))) == 4
