"""The fan-out: what crosses into a study carries nobody else, in no buffer and no encoding, and nobody by name."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.blocks import Block, with_columns
from pipelines.claims import claim
from pipelines.coder import BlockCoder
from pipelines.consent.register import Item
from pipelines.fan_out import study_block
from pipelines.keys import KeyRing, StudyKey, bucket, topic_hash
from tests.readings import DAY, NOON, SECOND, TOPIC, decoded, grant, keys, linked, message, normalised, snapshot

IDENTITY = {"subject", "member", "serial", "source_name", "offset", "sent", "record", "secret", "hash", "metric_index"}
BOB = {
    "subject": "zq-subject-bob",
    "source": {
        "name": "zq-watch-of-bob",
        "serial": "zq-serial-9",
        "device_model": "zq-model",
        "firmware": "zq.firm.1",
        "app": "zq-app",
        "app_version": "zq-1.0",
    },
    "record_ids": ["zq-r1", "zq-r2", "zq-r3"],
}
PLANTED = [61.734501, 62.734502, 63.734503]
SECRETS = [text.encode() for text in ("zq-", "zq.firm", "m-bob")] + [np.float64(v).tobytes() for v in PLANTED]


def fanned(folder: Path, block: Block, *items: Item) -> dict[str, Block]:
    """The block of each study that may have any of it."""
    snap, ring = snapshot(folder, items), keys(folder / "vault")
    claims = claim(block, "acme", snap, 3 * DAY)
    return {given.study: study_block(block, "acme", claims, given, snap, ring) for given in claims.grants}


def key_of(folder: Path, study: str) -> StudyKey:
    return KeyRing(folder / "vault").key(study)


def memory(block: Block) -> bytes:
    """Every byte that a block's columns can reach, whatever their offsets say."""
    found = []
    for part in block.parts.values():
        for column in part.columns:
            found += [buffer.to_pybytes() for buffer in column.buffers() if buffer is not None]
    return b"|".join(found)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1)])
def test_of_who_is_withheld_not_a_byte_crosses(order: tuple[int, ...], tmp_path: Path) -> None:
    """Bob is in cycle only; his message lies before, between and after those that sleep may have."""
    three = [message(), message(**BOB, values=PLANTED), message("s3", channels=[], zone="Europe/Madrid")]
    block = normalised(*(three[n] for n in order))
    people = [("s1", "ann"), (BOB["subject"], "m-bob"), ("s3", "cat")]
    links = [linked(str(subject), member) for subject, member in people]
    found = fanned(tmp_path, block, *links, grant("ann"), grant("m-bob", "cycle"), grant("cat"))
    assert [s for s in SECRETS if s in memory(block)] == [s for s in SECRETS if s != b"m-bob"]  # the search finds them
    assert found["sleep"].readings.num_rows == 6 and found["cycle"].readings.num_rows == 3
    for reach in (memory(found["sleep"]), BlockCoder().encode(found["sleep"])):
        assert [secret for secret in SECRETS if secret in reach] == []
    in_cycle = memory(found["cycle"])
    allowed_there = (b"zq-model", b"zq.firm.1", b"zq-app", b"zq-1.0", np.float64(PLANTED[0]).tobytes())
    assert all(text in in_cycle for text in allowed_there)
    for hidden in (b"zq-subject", b"zq-watch", b"zq-serial", b"zq-r1", b"m-bob"):
        assert hidden not in in_cycle


def test_readings_withheld_inside_a_message_stay_behind(tmp_path: Path) -> None:
    """The first two readings were taken before the grant, and their codes and record ids do not cross either."""
    block = normalised(message(values=PLANTED[:2] + [70.0], record_ids=["zq-r1", "zq-r2", "r3"]))
    late = grant("ann", effective_at=NOON + 2 * SECOND)
    found = fanned(tmp_path, block, linked("s1", "ann"), late)["sleep"]
    assert found.readings.column("value").to_pylist() == [70.0]
    assert found.readings.column("index").to_pylist() == [2]
    assert [secret for secret in SECRETS if secret in memory(found)] == []


BOTH = {"metrics": ("sleep_stage", "acceleration")}


def test_codes_of_who_is_withheld_stay_behind(tmp_path: Path) -> None:
    stages = {"metric": "sleep_stage", "unit": "1"}
    mine, theirs = {"codes": ["deep", "rem", "deep"]}, {"codes": ["awake", "awake", "awake"]}
    block = normalised(message("s2", **stages, values=theirs), message(**stages, values=mine))
    events = [grant("ann", **BOTH), grant("bob", "cycle", **BOTH)]
    found = fanned(tmp_path, block, linked("s1", "ann"), linked("s2", "bob"), *events)
    assert found["sleep"].readings.column("code").to_pylist() == mine["codes"]
    assert found["cycle"].readings.column("code").to_pylist() == theirs["codes"]
    assert b"awake" in memory(block) and b"awake" not in memory(found["sleep"])


def test_signals_of_who_is_withheld_stay_behind(tmp_path: Path) -> None:
    def signal(subject: str, axis: str, first: float) -> dict[str, object]:
        samples = [first, 0.0, first, 1.0]
        times = {"at": [NOON, NOON + 5]}
        return message(subject, samples, metric="acceleration", unit="m/s2", channels=["x", axis], times=times)

    block = normalised(
        signal("s2", "zq-axis", PLANTED[0]), signal("s1", "y", 0.25), signal("s2", "zq-axis", PLANTED[1])
    )
    events = [grant("ann", **BOTH), grant("bob", "cycle", **BOTH)]
    found = fanned(tmp_path, block, linked("s1", "ann"), linked("s2", "bob"), *events)
    assert found["sleep"].readings.column("values").to_pylist() == [[0.25, 0.0, 0.25, 1.0]]
    assert found["sleep"].readings.column("times_us").to_pylist() == [[0, 5]]
    assert found["cycle"].readings.column("values").to_pylist() == [[p, 0.0, p, 1.0] for p in PLANTED[:2]]
    assert [secret for secret in SECRETS if secret in memory(found["sleep"])] == []


def test_no_column_that_tells_who_it_is_crosses(tmp_path: Path) -> None:
    found = fanned(tmp_path, normalised(message(record_ids=["a", "", "c"])), linked("s1", "ann"), grant("ann"))["sleep"]
    assert not IDENTITY & {*found.messages.schema.names, *found.readings.schema.names}
    assert found.meta == {"study": "sleep", "partner": "acme", "family": "observation"}
    assert not any(pa.types.is_dictionary(column.type) for part in found.parts.values() for column in part.columns)


def test_a_person_and_a_device_are_the_studys_own_words_for_them(tmp_path: Path) -> None:
    block = normalised(message(), first_offset=41)
    found = fanned(tmp_path, block, linked("s1", "ann"), grant("ann"), grant("ann", "cycle"))
    (sleep,), (cycle,) = (found[name].messages.to_pylist() for name in ("sleep", "cycle"))
    key = key_of(tmp_path, "sleep")
    assert sleep["pseudonym"] == key.pseudonym("ann") and sleep["pbucket"] == bucket(sleep["pseudonym"])
    assert sleep["source"] == key.token("acme", "s1's watch")
    assert key.coordinates(sleep["origin"]) == (topic_hash(TOPIC), 0, 41)
    for name in ("pseudonym", "source", "origin"):
        assert sleep[name] != cycle[name]
    assert not {*found["sleep"].readings.column("key64").to_pylist()} & {
        *found["cycle"].readings.column("key64").to_pylist()
    }


def test_two_people_of_one_message_cross_as_two(tmp_path: Path) -> None:
    """A watch that was handed on: two rows of messages, one origin, and each reading under its own wearer."""
    links = [linked("s1", "ann", end=NOON + SECOND), linked("s1", "bob", NOON + SECOND)]
    block = normalised(message(values=[60, 61, 62]))
    found = fanned(tmp_path, block, *links, grant("ann"), grant("bob"))["sleep"]
    key, messages = key_of(tmp_path, "sleep"), found.messages.to_pylist()
    who = [messages[row]["pseudonym"] for row in found.readings.column("message").to_pylist()]
    assert who == [key.pseudonym("ann")] + [key.pseudonym("bob")] * 2
    assert len({m["origin"] for m in messages}) == 1 and len({m["source"] for m in messages}) == 1


def test_one_of_two_people_of_a_message_may_be_withheld(tmp_path: Path) -> None:
    links = [linked("s1", "ann", end=NOON + SECOND), linked("s1", "bob", NOON + SECOND)]
    block = normalised(message(values=[PLANTED[0], 61, 62]))
    found = fanned(tmp_path, block, *links, grant("ann", metrics=("steps_interval",)), grant("bob"))["sleep"]
    assert found.messages.num_rows == 1 and found.readings.column("value").to_pylist() == [61.0, 62.0]
    assert np.float64(PLANTED[0]).tobytes() not in memory(found)


def test_each_reading_keeps_the_consent_that_let_it_in(tmp_path: Path) -> None:
    people = [linked("s1", "ann"), linked("s2", "bob")]
    events = [grant("ann"), grant("ann", seq=2), grant("bob")]
    found = fanned(tmp_path, normalised(message(), message("s2")), *people, *events)["sleep"]
    assert found.readings.column("consent_seq").to_pylist() == [2, 2, 2, 1, 1, 1]


def test_the_same_reading_has_the_same_key_wherever_it_comes_from(tmp_path: Path) -> None:
    again = {"times": {"at": [NOON + 2 * SECOND, NOON]}, "values": [62.0, -0.0]}
    block = normalised(message(values=[0.0, 61.0, 62.0]), message(**again), first_offset=7)
    found = fanned(tmp_path, block, linked("s1", "ann"), grant("ann"))["sleep"]
    first, second = found.readings.column("key64").to_pylist()[:3], found.readings.column("key64").to_pylist()[3:]
    assert second == [first[2], first[0]]


@pytest.mark.parametrize(
    "changes",
    [
        {"source": {"name": "other"}},
        {"unit": "{beats}/min"},
        {"metric": "resting_heart_rate"},
        {"times": {"start": NOON + 1, "period": SECOND}},
        {"values": [60.0, 61.0, 62.0000001]},
        {"subject": "s2"},
        {"record_ids": ["", "", "x"]},
    ],
)
def test_another_reading_has_another_key(changes: dict[str, object], tmp_path: Path) -> None:
    """The last reading of each message differs by one thing that was sent."""
    links = [linked("s1", "ann"), linked("s2", "bob")]
    metrics = {"metrics": ("heart_rate", "resting_heart_rate")}
    block = normalised(message(), message(**{"record_ids": ["", "", ""], **changes}))
    found = fanned(tmp_path, block, *links, grant("ann", **metrics), grant("bob", **metrics))["sleep"]
    key64 = found.readings.column("key64").to_pylist()
    assert key64[2] != key64[5]


def test_record_ids_become_numbers_of_the_study_and_the_source(tmp_path: Path) -> None:
    block = normalised(message(record_ids=["a", "", "c"]), message(values=[80.0], record_ids=["c"]))
    found = fanned(tmp_path, block, linked("s1", "ann"), grant("ann"), grant("ann", "cycle"))
    records = found["sleep"].readings.column("record64").to_pylist()
    assert records[1] is None and records[0] != records[2] == records[3]
    assert not set(records) - {None} & set(found["cycle"].readings.column("record64").to_pylist())


def test_decoded_blocks_hold_what_the_fan_out_must_drop() -> None:
    """The tests above would say nothing if the names were lost before."""
    block = decoded(message(**BOB, values=PLANTED))
    assert all(secret in memory(block) for secret in (b"zq-subject-bob", b"zq-watch-of-bob", b"zq-r1"))


def test_a_run_has_the_same_name_for_everybody_and_another_in_every_study(tmp_path: Path) -> None:
    """A laboratory's results come with the hash of their run, 0 for none."""
    block = normalised(message(), message("s2", values=[70.0]))
    runs = np.array([11, 12, 0, 11], dtype=np.uint64)
    block = Block(block.meta, {**block.parts, "readings": with_columns(block.readings, [("run", runs)])})
    links = [linked("s1", "ann"), linked("s2", "bob")]
    found = fanned(tmp_path, block, *links, grant("ann"), grant("bob"), grant("ann", "cycle"))
    first, second, none, other = found["sleep"].readings.column("run").to_pylist()
    assert first == other != second and none is None
    assert len(first) > 10 and not {first, second} & set(found["cycle"].readings.column("run").to_pylist())
