"""`wellspring demo` as an operator runs it: by itself, on real parts, and held against what its story tells."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from connectors.kafka import KafkaSettings
from connectors.ranges import OffsetRange, RangeReader
from infra.local_kafka import LocalKafka
from pipelines.demo.expected import expected
from pipelines.demo.laboratory import PATIENT_NAME, PATIENT_STREET
from pipelines.demo.people import CYCLELAB, PILOT
from pipelines.demo.phone_xml import PHONE_NAME, WATCH_NAME
from pipelines.demo.pilot import DAYS as PILOT_DAYS
from pipelines.demo.tally import Expected, Standing
from pipelines.demo.world import DAYS, World, world
from pipelines.ledger import Ledger
from pipelines.store import FolderStore
from pipelines.views import sql
from quality.users import load_users
from tests.parquet_pages import found_in
from tests.worlds import wait_for

DEMO = [sys.executable, "-m", "pipelines.cli", "demo"]
SECONDS = 240


class Played(NamedTuple):
    """A demo that has ended with its broker kept: its folder, its JSON, and what its story tells."""

    folder: Path
    said: dict[str, Any]
    errors: str
    story: World
    told: Expected


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("demo") / "ground"
    try:
        done = _demo("--dir", str(folder), "--json", "--keep")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        story = world(said["world"]["now_us"])
        yield Played(folder, said, done.stderr, story, expected(story))
    finally:
        LocalKafka(folder / "kafka").kill()


def _demo(*options: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """The command, to its end, in an environment without other settings of ours."""
    clean = {name: value for name, value in os.environ.items() if name != "WELLSPRING_CONFIG"}
    return subprocess.run(
        [*DEMO, *options], capture_output=True, text=True, timeout=SECONDS, env={**clean, **environ}, check=False
    )


def _entries(played: Played) -> list[dict[str, Any]]:
    """The ledger's entries with counts, as their files say it."""
    found = [entry.model_dump(mode="json") for entry in Ledger(FolderStore(played.folder / "lake")).entries(1)]
    return [entry for entry in found if entry["counts"]]


def test_every_study_and_reason_counts_what_the_story_counts(played: Played) -> None:
    considered, withheld, settled = Counter[str](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for entry in _entries(played):
        for study, sums in entry["counts"]["studies"].items():
            considered[study] += sums["considered"]
            withheld.update({(study, code): count for code, count in sums["withheld"].items()})
            settled.update({(study, name): sums[name] for name in ("quarantined", "duplicate", "landed")})
    for study, told in played.told.studies.items():
        assert considered[study] == told.considered
        assert {code: n for (of, code), n in withheld.items() if of == study} == dict(told.withheld)
        assert settled[study, "quarantined"] == told.quarantined
        assert settled[study, "duplicate"] == told.duplicate
        assert settled[study, "landed"] == told.landed
    assert set(considered) == set(played.told.studies)


def test_records_readings_rejections_and_holds_are_those_of_the_story(played: Played) -> None:
    entries = _entries(played)
    ingested = [entry["counts"] for entry in entries if entry["kind"] == "ingest"]
    assert sum(counts["records"]["read"] for counts in ingested) == played.told.records
    assert sum(counts["records"]["rejected"] for counts in ingested) == played.told.records_rejected
    assert sum(counts["readings"]["decoded"] for counts in ingested) == played.told.readings
    rejected = Counter[str]()
    for entry in entries:
        rejected.update(entry["counts"]["rejected"])
    assert dict(rejected) == dict(played.told.rejected)
    assert sum(entry["counts"]["readings"]["claimed"] for entry in entries) == played.told.claimed
    assert sum(entry["holds"]["opened"] for entry in entries) == played.told.held
    assert sum(entry["holds"]["released"] for entry in entries) == played.told.released
    assert entries[-1]["holds"]["open"] == played.told.held - played.told.released
    assert {entry["kind"] for entry in entries} >= {"ingest", "redrive", "recall"}


def test_the_lake_answers_what_the_story_knows(played: Played) -> None:
    store = FolderStore(played.folder / "lake")
    for study, told in played.told.studies.items():
        days = sql(
            store,
            f"select strftime(start, '%Y-%m-%d') as day, count(*) as n, sum(value) as total from {study}_observation "
            "where metric = 'heart_rate' group by all",
        ).to_pylist()
        assert {row["day"]: (row["n"], row["total"]) for row in days} == told.heart
        rows = sql(
            store, f"select count(*) as n, count_if(flags <> 0) as flagged from {study}_observation"
        ).to_pylist()[0]
        every = sql(store, f"select count(*) as n from {study}_observation_all").to_pylist()[0]
        assert rows["flagged"] == told.flagged + told.released
        assert every["n"] - rows["n"] == told.revised


def test_it_says_so_as_json(played: Played) -> None:
    said = played.said
    assert said["problems"] == []
    assert said["counts"] == said["expected"] == played.told.as_json()
    assert [law["holds"] for law in said["laws"]] == [True] * 7
    assert said["lake"]["sound"]
    assert all(Path(path).exists() for path in said["paths"].values())
    assert said["kafka"]["running"]
    assert LocalKafka(played.folder / "kafka").status().bootstrap == said["kafka"]["bootstrap"]


def test_the_laboratory_s_results_stand_as_the_story_tells(played: Played) -> None:
    """Corrected, revised, taken back; and each time by an entry of its own."""
    store, columns = FolderStore(played.folder / "lake"), ", ".join(Standing._fields)
    rows = sql(store, f"select {columns} from {CYCLELAB}_lab_result").to_pylist()
    assert sorted((Standing(**row) for row in rows), key=str) == sorted(played.told.studies[CYCLELAB].results, key=str)
    query = f"select metric, status, recalled from {CYCLELAB}_quarantine where recalled is not null"
    recalled = [entry["n"] for entry in _entries(played) if entry["kind"] == "recall"]
    assert sql(store, query).to_pylist() == [{"metric": "hba1c", "status": "F", "recalled": recalled[0]}]
    answers = sql(store, f"select metric, code, modality from {CYCLELAB}_answer").to_pylist()
    assert answers == [{"metric": "has_symptoms", "code": "yes", "modality": "self_reported"}]
    held = [entry["counts"]["held"] for entry in _entries(played) if "H_KIT" in entry["counts"]["held"]]
    assert held == [{"H_KIT": 1}]


def test_two_people_released_what_was_held_back_wrongly(played: Played) -> None:
    decision, told = played.said["quality"]["decision"], played.told.studies[PILOT]
    assert (decision["second"], decision["by"], decision["check"], decision["rows"]) == ("ada", "grace", "PL-06", 6)
    (release,) = [e for e in Ledger(FolderStore(played.folder / "lake")).entries(1) if e.kind == "release"]
    assert (release.n, release.cause["released"], told.released) == (decision["entry"], 6, 6)
    query = f"select count(*) as n from {PILOT}_observation where metric = 'weight' and value > 160"
    assert sql(FolderStore(played.folder / "lake"), query).to_pylist() == [{"n": 6 + 3}]


def test_reports_tell_of_each_study_and_day_and_of_nobody(played: Played) -> None:
    reports = [Path(path) for path in played.said["quality"]["reports"]]
    days = {path.stem[-10:] for path in reports}
    assert len(days) >= DAYS
    wanted = {f"{study}-{day}.html" for study in played.told.studies for day in days if study != PILOT}
    wanted |= {f"{PILOT}-{day}.html" for day in sorted(days)[-PILOT_DAYS:]}
    assert {path.name for path in (played.folder / "reports").iterdir()} == wanted == {path.name for path in reports}
    people = [person.member.encode() for person in played.story.people]
    content = b"".join(path.read_bytes() for path in reports)
    assert not [name for name in [*PLANTED, *people] if name in content]
    assert b"fewer than 10 people" in content
    assert {"shiftwork", "pilot"} <= {study for study, found in played.said["quality"]["found"].items() if found}
    hidden = [one for found in played.said["quality"]["found"].values() for one in found.values()]
    assert {one["judged"] is None for one in hidden} == {True, False}, "some is told, and some would tell of few people"
    assert {one["failed"] for one in hidden} == {None}, "nothing goes wrong with as many as ten people"


def test_its_stewards_can_sign_in_and_their_passwords_lie_nowhere(played: Played) -> None:
    path = played.folder / "users.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    said = dict(re.findall(r"^  (ada|grace|vera) +(\S{16})  ", played.errors, re.MULTILINE))
    users = load_users(path)
    assert played.said["quality"]["users"] == sorted(said) == ["ada", "grace", "vera"]
    for name, password in said.items():
        assert users.sign_in(name, password) is not None
        assert password not in json.dumps(played.said)
        assert not [p for p in played.folder.rglob("*.yaml") if password in p.read_text(encoding="utf-8")]


def test_what_the_doors_took_in_is_told_with_receipts(played: Played) -> None:
    receipts, doors = played.said["receipts"], played.story.doors
    for export in doors.exports:
        said = receipts[export.file]
        assert said["records"] == said["published"] + export.faults == len(export.entries)
        assert [one["what"] for one in said["not_read"][:2]] == ["__MACOSX/._*", "export_cda.xml"]
    assert [receipts[file.file]["published"] for file in doors.kit.files] == [1, 6, 1]
    way = [event["event"] for event in played.said["kit"]]
    assert way == ["packed", "sent", "collected", "posted", "received", "activated", "resulted"]


PLANTED = [name.encode() for name in (PHONE_NAME, WATCH_NAME, PATIENT_NAME, PATIENT_STREET)]


def test_what_people_call_their_phones_and_what_a_laboratory_calls_them_reaches_nobody(played: Played) -> None:
    lake = played.folder / "lake"
    said = json.dumps(played.said, ensure_ascii=False).encode() + played.errors.encode()
    assert not [name for name in PLANTED if name in said]
    others = [path for path in lake.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    assert len(others) > 10
    assert not [path for path in others for name in PLANTED if name in path.read_bytes()]
    files = sorted(lake.glob(f"study={CYCLELAB}/*/month=*/*.parquet"))
    planted = {name.decode(): name for name in PLANTED}
    assert len(files) > 5
    assert [found for file in files for found in found_in(file, planted)] == []
    assert any(found_in(file, {"model": b"Watch6,2"}) for file in files), "what may land is found in this way"


def test_the_patient_s_name_never_left_the_connector(played: Played) -> None:
    topics = ["north-lab.lab-result.v1", "north-lab.kit-event.v1", "north-lab.rejected.v1"]
    with RangeReader(KafkaSettings(bootstrap=played.said["kafka"]["bootstrap"])) as reader:
        ends = reader.end_offsets(topics)
        blocks = [
            block for (topic, part), end in ends.items() for block in reader.read(OffsetRange(topic, part, 0, end))
        ]
    values = [value for block in blocks for value in block.column("value").to_pylist()]
    assert len(values) == 5 + 7, "five reports, seven events"
    assert not [value for value in values for name in PLANTED if name in value]
    assert all(played.story.doors.kit.barcode.encode() in value for value in values), "they are readable"


def test_a_second_demo_replaces_the_first_and_leaves_what_is_not_its_own(played: Played) -> None:
    """Runs last: it stops the first demo's broker."""
    before = LocalKafka(played.folder / "kafka").status()
    mine = played.folder / "notes.txt"
    mine.write_text("mine", encoding="utf-8")
    done = _demo("--dir", str(played.folder))
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "✗" not in done.stdout
    assert "✓ every sum is the one" in done.stdout
    assert f"ledger list --config {played.folder}/wellspring.yaml" in done.stdout
    assert mine.read_text(encoding="utf-8") == "mine"
    assert before.running
    assert not LocalKafka(played.folder / "kafka").status().running
    assert next(entry["n"] for entry in _entries(played)) == 2  # a ledger of its own, after its own takeover


def test_a_folder_that_no_demo_made_is_not_touched(tmp_path: Path) -> None:
    mine = tmp_path / "lake" / "precious"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    done = _demo("--dir", str(tmp_path))
    assert done.returncode == 1
    assert "nothing in it was touched" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]
    assert mine.read_text(encoding="utf-8") == "mine"


def test_settings_of_the_environment_do_not_send_it_to_another_lake(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    done = _demo("--dir", str(tmp_path / "ground"), WELLSPRING_LAKE=str(elsewhere), WELLSPRING_KAFKA__BOOTSTRAP="h:1")
    assert done.returncode == 1
    assert "unset WELLSPRING_KAFKA__BOOTSTRAP, WELLSPRING_LAKE" in done.stderr
    assert not elsewhere.exists()
    assert not (tmp_path / "ground").exists()


def test_an_interrupted_demo_leaves_no_broker(tmp_path: Path) -> None:
    with _playing(tmp_path / "ground") as playing:
        playing.wait_for("consents-1.ndjson")
        playing.end(signal.SIGINT)


def test_a_demo_in_the_background_goes_on_when_others_are_interrupted(tmp_path: Path) -> None:
    """A shell starts in the background with SIGINT ignored: Ctrl-C is meant for another program."""
    with _playing(tmp_path / "ground", "sh", "-c", 'trap "" INT; exec "$@"', "sh") as playing:
        playing.wait_for("consents-1.ndjson")
        playing.process.send_signal(signal.SIGINT)
        playing.wait_for("consents-2.ndjson")
        playing.end(signal.SIGTERM)


class Playing(NamedTuple):
    """A demo that has begun."""

    folder: Path
    process: "subprocess.Popen[bytes]"
    kafka: LocalKafka

    def wait_for(self, name: str) -> None:
        """Until it has written this file; the broker runs then."""
        wait_for(lambda: (self.folder / name).exists() or self.process.poll() is not None, SECONDS)
        assert self.process.poll() is None
        assert self.kafka.status().running

    def end(self, number: signal.Signals) -> None:
        """Tell it to end, and see that it does so in good order."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 1
        assert b"Traceback" not in errors
        assert b"run it again" in errors
        assert not self.kafka.status().running


@contextmanager
def _playing(folder: Path, *before: str) -> Iterator[Playing]:
    """A demo that keeps its broker at the end, started by the words `before`; nothing of it outlives the block."""
    words = [*before, *DEMO, "--dir", str(folder), "--keep"]
    kafka = LocalKafka(folder / "kafka")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield Playing(folder, process, kafka)
        finally:
            process.kill()
            kafka.kill()
