"""Landing: files by study, family and month, what is implausible apart, nothing twice, and little held at a time."""

import json
import weakref
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from pipelines import landing as module
from pipelines.blocks import Block, batch
from pipelines.duplicates import FileKeys, KeyedFile
from pipelines.files import DataFile
from pipelines.halt import Halt
from pipelines.landing import Landing
from pipelines.stages import Land
from pipelines.store import FolderStore
from quality.checks import checks
from quality.gate import BITS, QUARANTINES
from schemas.families import FAMILIES
from tests.test_graph import plan
from tests.test_rows import made

FEB = 1_738_368_000_000_000  # 2025-02-01T00:00:00Z
HOUR = 3_600_000_000


class Runs:
    """A lake of one study and the runs that land in it, each seeing the files of those before."""

    def __init__(self, root: Path) -> None:
        self.store = FolderStore(root)
        self.files: list[DataFile] = []
        self.answers: Counter[tuple[str, str, str]] = Counter()
        self.people: list[dict[str, int]] = []
        self.n = 0

    def run(self, *blocks: Block) -> tuple[list[DataFile], Counter[str]]:
        """The files that a run wrote, and the sums of its notes by study: how many were duplicates."""
        self.n += 1
        landing = Landing(self.store, self.n, 1, self._live, FileKeys(self.store))
        notes = [note for block in blocks for note in landing.add(block)]
        said = [json.loads(note) for note in [*notes, *landing.finish()]]
        written = [DataFile.model_validate(file) for note in said for file in note["files"]]
        duplicates: Counter[str] = Counter()
        self.people = [note["people"] for note in said]
        for note in said:
            duplicates[note["study"]] += note["duplicate"]
            for *stratum, kind, count in note["answers"]:
                self.answers[note["study"], stratum[6], kind] += count
        self.files += written
        return written, duplicates

    def _live(self, table: str, month: str) -> list[KeyedFile]:
        own = [file for file in self.files if file.table == table and month in ("", file.month)]
        return [KeyedFile(f.path, f.start_min_us or 0, f.start_max_us or 0) for f in own]

    def rows(self, files: Iterable[DataFile]) -> list[dict[str, Any]]:
        found = []
        for file in files:
            with self.store.open_file(file.path) as source:
                content = pa.parquet.read_table(source)
            assert content.num_rows == file.rows and self.store.size(file.path) == file.bytes
            assert content.schema.names == FAMILIES[file.table.split("/")[1]].schema.names
            found += content.drop_columns(["end", "received"]).to_pylist()
        return found

    def keys(self, files: Iterable[DataFile]) -> list[int]:
        return sorted(row["key64"] for row in self.rows(files))


def block(
    keys: Iterable[int], starts: Iterable[int] | None = None, flags: int | Iterable[int] = 0, **more: Any
) -> Block:
    """A message of one person with these readings; `more`: study, pseudonym, record64."""
    own = list(keys)
    start = [FEB + HOUR + key for key in own] if starts is None else list(starts)
    shared = {
        "pbucket": [9],
        "pseudonym": [more.get("pseudonym", "ANN")],
        "metric": ["heart_rate"],
        "unit": ["/min"],
        "source": ["AAAA"],
        "origin": [b"o"],
    }
    readings = {"message": [0] * len(own), "index": list(range(len(own))), "start": start, "key64": own}
    found = made(shared, readings)
    columns = {name: found.readings.column(name) for name in found.readings.schema.names if name != "revision"}
    columns["flags"] = pa.array([flags] * len(own) if isinstance(flags, int) else list(flags), pa.int64())
    if "record64" in more:
        columns["record64"] = pa.array(more["record64"], pa.int64())
    meta = {**found.meta, "study": more.get("study", "sleep")}
    return Block(meta, {"messages": found.messages, "readings": batch(columns)})


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_it_notes_of_how_many_people_each_outcome_is(runs: Runs) -> None:
    runs.run(block([1, 2]))
    runs.run(block([1, 3], flags=[0, 1]), block([1, 4, 5], flags=[0, 1, 1], pseudonym="BEA"), block([6, 7]))
    assert runs.people == [{"duplicate": 2, "quarantined": 2, "landed": 1}]


def test_rows_land_in_their_studys_table_and_month(runs: Runs) -> None:
    files, duplicates = runs.run(block([1, 2]), block([3], study="cycle"), block([4]))
    assert {(f.table, f.month, f.rows) for f in files} == {
        ("study=sleep/observation", "2025-02", 3),
        ("study=cycle/observation", "2025-02", 1),
    }
    assert runs.keys(f for f in files if "sleep" in f.table) == [1, 2, 4]
    assert duplicates == {"sleep": 0, "cycle": 0}
    assert {row["entry"] for row in runs.rows(files)} == {1} and all("/000000000001-1-" in f.path for f in files)


def test_a_message_over_the_end_of_a_month_is_divided_at_its_very_moment(runs: Runs) -> None:
    starts = [FEB - 1, FEB, FEB + 1, FEB - HOUR]
    files, _ = runs.run(block([10, 11, 12, 13], starts))
    by_month = {f.month: [row["origin_index"] for row in runs.rows([f])] for f in files}
    assert by_month == {"2025-01": [3, 0], "2025-02": [1, 2]}
    assert {f.month: (f.start_min_us, f.start_max_us) for f in files} == {
        "2025-01": (FEB - HOUR, FEB - 1),
        "2025-02": (FEB, FEB + 1),
    }


@pytest.mark.parametrize("start", [-1, 0, -(10**12), 4 * 10**15])
def test_months_are_right_before_1970_and_far_ahead(runs: Runs, start: int) -> None:
    files, _ = runs.run(block([1], [start]))
    assert files[0].month == str(np.datetime64(start, "us"))[:7]


def test_what_a_check_quarantines_lands_apart_with_its_family(runs: Runs) -> None:
    files, _ = runs.run(block([1, 2, 3], flags=[0, QUARANTINES, QUARANTINES | 2]), block([4], flags=2))
    by_table = {f.table: f for f in files}
    assert runs.keys([by_table["study=sleep/observation"]]) == [1, 4]
    quarantined = runs.rows([by_table["study=sleep/quarantine"]])
    assert [(row["key64"], row["family"]) for row in quarantined] == [(2, "observation"), (3, "observation")]


def test_all_quarantined_leaves_the_table_alone(runs: Runs) -> None:
    files, _ = runs.run(block([1, 2], flags=QUARANTINES))
    assert [f.table for f in files] == ["study=sleep/quarantine"]


def test_what_is_there_does_not_land_again(runs: Runs) -> None:
    runs.run(block([1, 2, 3], flags=[0, QUARANTINES, 0]))
    files, duplicates = runs.run(block([1, 2, 4]), block([4, 3]))
    assert runs.keys(files) == [4] and duplicates == {"sleep": 4}
    files, duplicates = runs.run(block([1, 2, 3, 4]))
    assert files == [] and duplicates == {"sleep": 4}


def test_the_checks_are_counted_of_what_lands_or_is_quarantined_and_of_no_duplicate(runs: Runs) -> None:
    plausible = 1 << BITS["PL-01"]
    runs.run(block([1, 2, 3], flags=[0, QUARANTINES | plausible, plausible]), block([1, 4]))
    found = {kind: runs.answers["sleep", "PL-01", kind] for kind in ("evaluated", "failed")}
    assert found == {"evaluated": 4, "failed": 2} and sum(file.rows for file in runs.files) == 4
    runs.run(block([4, 3, 2, 1], flags=[0, plausible, QUARANTINES | plausible, 0]))
    runs.run(block([3, 5, 1], flags=[plausible, 0, 0]))
    assert runs.answers["sleep", "PL-01", "evaluated"] == sum(file.rows for file in runs.files) == 5
    assert runs.answers["sleep", "PL-01", "failed"] == 2


def test_two_studies_do_not_see_each_others_rows(runs: Runs) -> None:
    runs.run(block([1]))
    files, duplicates = runs.run(block([1], study="cycle"), block([1]))
    assert [f.table for f in files] == ["study=cycle/observation"]
    assert duplicates == {"cycle": 0, "sleep": 1}


def test_a_full_file_is_written_before_the_end_and_still_remembered(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_ROWS", 4)
    landing = Landing(runs.store, 1, 1, lambda table, month: [], FileKeys(runs.store))
    early = [json.loads(note) for keys in ([1, 2], [3, 2, 4], [4, 5]) for note in landing.add(block(keys))]
    late = [json.loads(note) for note in landing.finish()]
    assert [(sum(f["rows"] for f in n["files"]), n["duplicate"]) for n in early] == [(4, 1)]
    assert [(sum(f["rows"] for f in n["files"]), n["duplicate"]) for n in late] == [(1, 1)]
    files = [DataFile.model_validate(f) for n in early + late for f in n["files"]]
    assert runs.keys(files) == [1, 2, 3, 4, 5]


def test_the_keys_of_the_plan_itself_leave_less_room_for_those_of_files(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_ROWS", 4)
    room, cache = [], FileKeys(runs.store, limit_bytes=100)
    landing = Landing(runs.store, 1, 1, lambda table, month: [], cache)
    monkeypatch.setattr(cache, "make_room", room.append)
    for keys in (range(4), range(4, 8), range(8, 12)):
        list(landing.add(block(keys)))
    assert room == [0, 4 * 8, 8 * 8]


def test_a_stage_that_is_kept_does_not_keep_the_keys_of_all_that_landed(runs: Runs) -> None:
    """A runner lets go of a stage only when the collector of garbage gets to it, some plans later."""
    stage = Land.__new__(Land)
    stage._halt = cast(Halt, SimpleNamespace(is_called=False))
    stage.plan, stage._keys = plan(), FileKeys(runs.store)
    stage._landing = Landing(runs.store, 1, 1, lambda table, month: [], stage._keys)
    landing = weakref.ref(stage._landing)
    assert len(list(stage._landing.add(block([1, 2])))) + len(list(stage.finish())) == 1
    assert landing() is None


def test_what_is_gathered_is_bounded_over_all_places(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small places, none of them full: the largest is written first."""
    one = block(range(10)).readings.nbytes
    monkeypatch.setattr(module, "HELD_BYTES", 4 * one)
    landing = Landing(runs.store, 1, 1, lambda table, month: [], FileKeys(runs.store))
    written: list[str] = []
    for number in range(12):
        keys = range(10 * number, 10 * number + (12 if number == 2 else 10))
        for note in landing.add(block(keys, [FEB + HOUR + number * 31 * 24 * HOUR] * len(keys))):
            written += [f["month"] for f in json.loads(note)["files"]]
        assert sum(g.bytes for g in landing._gathered.values()) <= 4 * one
    assert written[0] == "2025-04" and len(written) == 8
    rest = [f for note in landing.finish() for f in json.loads(note)["files"]]
    assert len(written) + len(rest) == 12


def test_a_record_with_another_content_is_its_revision(runs: Runs) -> None:
    runs.run(block([1, 2, 3], record64=[70, 71, None]))
    files, duplicates = runs.run(block([4, 1, 5, 6], record64=[70, 70, 70, None]))
    assert duplicates == {"sleep": 1}
    found = {row["key64"]: row["revision"] for row in runs.rows(files)}
    assert found == {4: 1, 5: 2, 6: 0}


def test_what_arrives_later_is_the_later_revision_whenever_it_was_taken(runs: Runs) -> None:
    files, _ = runs.run(block([1, 2], [FEB + HOUR, FEB], record64=[70, 70]))
    assert {row["key64"]: row["revision"] for row in runs.rows(files)} == {1: 0, 2: 1}


def test_a_revision_in_another_month_or_in_quarantine_counts(runs: Runs) -> None:
    runs.run(block([1], [FEB - HOUR], flags=QUARANTINES, record64=[70]))
    files, _ = runs.run(block([2], [FEB + HOUR], record64=[70]), block([3], [FEB - HOUR], record64=[70]))
    assert sorted(row["revision"] for row in runs.rows(files)) == [1, 2]


def test_a_duplicate_uses_up_no_revision(runs: Runs) -> None:
    runs.run(block([1], record64=[70]))
    runs.run(block([1], record64=[70]))
    files, _ = runs.run(block([2], record64=[70]))
    assert [row["revision"] for row in runs.rows(files)] == [1]


def test_another_value_for_the_same_lands_with_a_flag(runs: Runs) -> None:
    """Of a record that came before, or beside a reading of the same moment; the first is left as it is."""
    bit = 1 << BITS["UQ-02"]
    files, _ = runs.run(block([1, 2], record64=[70, 71]), block([3], [FEB + HOUR + 2]))
    assert {row["key64"]: row["flags"] for row in runs.rows(files)} == {1: 0, 2: 0, 3: bit}
    files, _ = runs.run(block([4, 5], [FEB + 9 * HOUR, FEB], record64=[70, None]))
    assert {row["key64"]: row["flags"] for row in runs.rows(files)} == {4: bit, 5: 0}
    assert runs.answers["sleep", "UQ-02", "evaluated"] == 5
    assert runs.answers["sleep", "UQ-02", "failed"] == 2


def test_answers_are_counted_under_the_version_that_is_in_force_in_the_study(runs: Runs) -> None:
    changed = {**checks(), "PL-01": checks()["PL-01"].model_copy(update={"version": 101})}
    in_force = {"sleep": changed, "cycle": checks()}
    landing = Landing(runs.store, 1, 1, lambda table, month: [], FileKeys(runs.store), checks_of=in_force.__getitem__)
    notes = [*landing.add(block([1])), *landing.add(block([2], study="cycle")), *landing.finish()]
    versions = {
        note["study"]: {(stratum[6], stratum[7]) for *stratum, _, _ in note["answers"]}
        for note in map(json.loads, notes)
    }
    assert {("PL-01", 101), ("PL-02", 1)} <= versions["sleep"]
    assert {("PL-01", 1), ("PL-02", 1)} <= versions["cycle"]


def result(key: int, origin: bytes, status: str = "F", record64: int | None = None) -> Block:
    """A result of one specimen, of the report `origin`."""
    found = block([key], [FEB], record64=[key if record64 is None else record64])
    messages = found.messages.set_column(found.messages.schema.get_field_index("origin"), "origin", pa.array([origin]))
    readings = found.readings
    for name, value in (("status", status), ("code_sent", "4548-4"), ("specimen64", 5), ("run", "r")):
        readings = readings.append_column(name, pa.array([value]))
    meta = {**found.meta, "family": "lab_result"}
    return Block(meta, {"messages": messages, "readings": readings})


def test_a_second_final_result_waits_for_a_steward(runs: Runs) -> None:
    first, _ = runs.run(result(1, b"1", "P", 70), result(2, b"2", "F", 70))
    assert [file.table for file in first] == ["study=sleep/lab_result"]
    files, _ = runs.run(result(3, b"3", "C", 70), result(4, b"4"))
    assert {file.table: runs.keys([file]) for file in files} == {
        "study=sleep/lab_result": [3],
        "study=sleep/quarantine": [4],
    }
    later, _ = runs.run(result(5, b"5"))
    assert {file.table: runs.keys([file]) for file in later} == {"study=sleep/quarantine": [5]}
    assert runs.answers["sleep", "UQ-04", "failed"] == 2
    assert runs.answers["sleep", "UQ-02", "evaluated"] == 0


def test_a_replay_of_results_asks_whether_what_it_brings_back_was_taken_back(runs: Runs) -> None:
    files, _ = runs.run(result(1, b"1"))

    def asked(replaced: list[str]) -> bool:
        landing = Landing(runs.store, 2, 1, lambda *of: [], FileKeys(runs.store), lambda table: replaced)
        return any("take_back" in text for text in [*landing.add(result(1, b"1")), *landing.finish()])

    assert asked([file.path for file in files]) and not asked([])


def test_of_results_a_file_for_quarantine_is_expected_always(runs: Runs) -> None:
    landing = Landing(runs.store, 1, 1, lambda table, month: [], FileKeys(runs.store))
    assert list(landing.add(result(1, b"1"))) == []
    assert landing.files == 3


def test_it_is_known_beforehand_how_many_files_come_of_it(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """By study, family and month, what is quarantined apart, the checks' counts beside them, full files over again."""
    monkeypatch.setattr(module, "FILE_ROWS", 3)
    landing = Landing(runs.store, 1, 1, lambda table, month: [], FileKeys(runs.store))
    expected = []
    for one in (
        block([1, 2]),
        block([3], study="cycle"),
        block([4, 5], [FEB - 1, FEB]),  # a second month, and a full file
        block([6]),
        block([7], flags=QUARANTINES),
        block([8, 9], study="cycle", flags=[0, QUARANTINES]),
    ):
        written = list(landing.add(one))
        expected.append((landing.files, len(written)))
    assert expected == [(2, 0), (4, 0), (6, 1), (7, 0), (8, 0), (9, 1)]


def test_it_expects_as_many_files_as_are_written_where_nothing_is_a_duplicate(runs: Runs) -> None:
    landing = Landing(runs.store, 1, 1, lambda table, month: [], FileKeys(runs.store))
    random = np.random.default_rng(5)
    for number in range(40):
        starts = (FEB + random.integers(0, 400 * 24, 3) * HOUR).tolist()
        flags = random.choice([0, 2, QUARANTINES], 3).tolist()
        study = f"study-{random.integers(3)}"
        assert list(landing.add(block(range(3 * number, 3 * number + 3), starts, flags, study=study))) == []
    files = [DataFile.model_validate(file) for text in landing.finish() for file in json.loads(text)["files"]]
    counted = {(file.table.split("/")[0], file.month) for file in files}
    assert landing.files == len(files) + len(counted)
