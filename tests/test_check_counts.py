"""The checks' counts: of what stands alone, whatever is taken out again, and whatever ranges have become since."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.accounts import Accounts, note
from pipelines.check_counts import TakenOut, write_counts
from pipelines.store import FolderStore
from pipelines.suite_findings import Findings
from quality import strata
from quality.applicable import ALWAYS
from quality.checks import Check
from quality.gate import BITS
from quality.in_force import OF_STUDY, Approved, Proposal, checks_of
from quality.job.results import Answers, Name, Tallies
from quality.judged import NO_OFFSET
from quality.strata import tally
from schemas.families import CHECK_COUNT, OBSERVATION
from tests.lakes import rows
from tests.recount import Answers as Recounted
from tests.recount import recount, summed

START = datetime(2025, 1, 31, 23, tzinfo=UTC)
DEVICES = ("partner", "metric", "device_model", "firmware")


def made(count: int, entry: int, seed: int) -> pa.Table:
    """Rows of an entry, over the end of a month: several metrics and devices, some of them flagged."""
    rng = random.Random(seed)
    start = [START + timedelta(minutes=rng.randrange(120)) for _ in range(count)]
    metric = [rng.choice(["heart_rate", "steps_interval", "sleep_stage"]) for _ in range(count)]
    columns: dict[str, list[Any]] = {
        "metric": metric,
        "partner": [rng.choice(["acme", "beat"]) for _ in range(count)],
        "device_model": [rng.choice([None, "A"]) for _ in range(count)],
        "firmware": [rng.choice([None, "1.0.0"]) for _ in range(count)],
        "start": start,
        "end": [at + timedelta(minutes=rng.randrange(2)) for at in start],
        "offset_min": [rng.choice([None, 60]) for _ in range(count)],
        "flags": [rng.choice([0, 1 << BITS["TM-10"]]) for _ in range(count)],
        "entry": [entry] * count,
    }
    return rows(OBSERVATION, count, **columns)


def written(folder: Path, *entries: pa.Table) -> pa.Table:
    """The rows of counts that are written with these entries."""
    store, found = FolderStore(folder), []
    for content in entries:
        accounts = Accounts()
        answers = tally(*tallied(content), "observation").listed()
        accounts.add(note("write", study="sleep", duplicate=0, people={}, files=[], answers=answers))
        files = write_counts(accounts.checks, store, content.column("entry")[0].as_py(), 1)
        found += [pq.read_table(folder / file.path, partitioning=None) for file in files]
    return pa.concat_tables(found)


CHANGES = 400
"""More than a number of sixteen bits counts: the version of a check rises by a hundred with each."""


def changed_often() -> dict[str, Check]:
    """The catalogue in force in a study that has changed a check that often."""
    proposal = Proposal(check="TM-10", warning=0.5)
    said = {"proposed_by": "bob", "approved_by": "cyd", "reason": "again", "proposal": proposal}
    return checks_of(Approved(decision=f"{n:032x}", at_us=n, **said) for n in range(CHANGES))


def test_a_check_may_be_changed_as_often_as_a_study_wants(tmp_path: Path) -> None:
    of, accounts = changed_often(), Accounts()
    answers = tally(*tallied(made(10, 1, seed=1)), "observation", of).listed()
    accounts.add(note("write", study="sleep", duplicate=0, people={}, files=[], answers=answers))
    (file, *_) = write_counts(accounts.checks, FolderStore(tmp_path), 1, 1)
    versions = {row["check"]: row["version"] for row in pq.read_table(tmp_path / file.path).to_pylist()}
    assert versions["TM-10"] == CHANGES * OF_STUDY + 1 and versions["TM-06"] == 1


def test_results_of_job_and_suites_take_such_a_version_too() -> None:
    of = {"TM-09": changed_often()["TM-10"].model_copy(update={"id": "TM-09"})}
    one, none = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    found = Tallies()
    found.add(Answers("TM-09", 20_000, [Name()], none, none, one, none, none))
    results = found.table(of, 1)
    assert results.column("version").to_pylist() == [CHANGES * OF_STUDY + 1]
    again = Findings.model_validate_json(Findings.of(results, []).model_dump_json())
    assert again.table().column("version").equals(results.column("version"))


def tallied(content: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    """The rows as landing has them, a message for each."""
    moments = {name: content.column(name).cast(pa.int64()).to_numpy() for name in ("start", "end", "flags")}
    offset = content.column("offset_min").fill_null(NO_OFFSET).to_numpy()
    return content.select(DEVICES), {**moments, "offset_min": offset, "message": np.arange(len(content))}


def fresh(content: pa.Table, family: str = "observation") -> Recounted:
    return recount({**row, "family": family} for row in content.drop_columns(["received"]).to_pylist())


def sums(counts: pa.Table) -> Recounted:
    return summed(counts.to_pylist())


def taken(content: pa.Table, family: str = "observation") -> TakenOut:
    found = TakenOut()
    found.add(content.select(TakenOut.COLUMNS), pa.repeat(family, len(content)))
    return found


def test_a_count_is_of_every_row_once_by_day_and_device(tmp_path: Path) -> None:
    content = made(500, 4, seed=1)
    counts = written(tmp_path, content)
    assert counts.schema.equals(CHECK_COUNT.schema)
    assert sums(counts) == fresh(content)
    assert set(counts.column("entry").to_pylist()) == {4}
    assert len({row["start"] for row in counts.to_pylist()}) == 2


def test_of_nothing_but_duplicates_there_is_no_file_and_counts_lie_in_order(tmp_path: Path) -> None:
    accounts = Accounts()
    accounts.add(note("write", study="sleep", duplicate=3, people={}, files=[], answers=[]))
    assert list(write_counts(accounts.checks, FolderStore(tmp_path), 1, 1)) == []
    found = written(tmp_path, made(500, 1, 7)).to_pylist()
    assert {row["start"].month for row in found} == {1, 2}
    for month in (1, 2):
        order = [(row["check"], row["metric"], row["start"]) for row in found if row["start"].month == month]
        assert order == sorted(order)


def test_what_is_taken_out_is_not_counted_any_more(tmp_path: Path) -> None:
    """Some of it, more of it, all of it, in any order and from two entries at once."""
    standing = pa.concat_tables([made(200, 4, seed=1), made(200, 7, seed=2)])
    counts = written(tmp_path, standing.slice(0, 200), standing.slice(200))
    rng = np.random.default_rng(3)
    while len(standing):
        going = rng.random(len(standing)) < 0.3 if len(standing) > 20 else np.ones(len(standing), dtype=bool)
        found = taken(standing.filter(pa.array(going))).lessened(counts)
        assert found is not None
        counts, standing = found, standing.filter(pa.array(~going))
        assert counts.schema.equals(CHECK_COUNT.schema)
        assert sums(counts) == fresh(standing)
    assert len(counts) == 0


def test_of_rows_in_quarantine_the_family_is_the_one_that_they_came_from(tmp_path: Path) -> None:
    content = made(50, 4, seed=1)
    counts, found = written(tmp_path, content), TakenOut()
    found.add(content.select(TakenOut.COLUMNS), pa.array(["waveform"] * 20 + ["observation"] * 30))
    lessened = found.lessened(counts)
    assert lessened is not None and sums(lessened) == fresh(content.slice(0, 20))


def test_what_a_message_failed_is_taken_out_of_what_was_judged_also_when_few_of_its_rows_go() -> None:
    same: dict[str, Any] = dict.fromkeys(("device_model", "firmware"))
    same |= {"metric": "weight", "partner": "acme", "start": START, "end": START, "entry": 1}
    content = rows(
        OBSERVATION, 3, **{name: [value] * 3 for name, value in same.items()}, flags=[1 << BITS["PL-06"]] * 3
    )
    day = START.replace(hour=0)
    count = {**same, "family": "observation", "start": day, "check": "PL-06", "version": 1}
    counts = pa.Table.from_pylist([{**count, "n_eval": 20, "n_fail": 20, "n_na": 5}], schema=CHECK_COUNT.schema)
    lessened = taken(content).lessened(counts)
    assert lessened is not None
    assert [lessened.column(name)[0].as_py() for name in ("n_eval", "n_fail", "n_na")] == [17, 17, 5]


def test_of_a_part_of_a_message_as_many_rows_are_taken_out_as_went() -> None:
    """Alone it looks like a message of too few readings to be compared; it was counted as one that was."""
    same: dict[str, Any] = dict.fromkeys(("device_model", "firmware"))
    same |= {"metric": "weight", "partner": "acme", "start": START, "end": START, "entry": 1}
    content = rows(OBSERVATION, 3, **{name: [value] * 3 for name, value in same.items()}, flags=[0] * 3)
    count = {**same, "family": "observation", "start": START.replace(hour=0), "check": "PL-06", "version": 1}
    counts = pa.Table.from_pylist([{**count, "n_eval": 20, "n_fail": 19, "n_na": 1}], schema=CHECK_COUNT.schema)
    lessened = taken(content).lessened(counts)
    assert lessened is not None
    assert [lessened.column(name)[0].as_py() for name in ("n_eval", "n_fail", "n_na")] == [18, 18, 0]


def test_counts_of_other_entries_and_families_are_left_alone(tmp_path: Path) -> None:
    content = made(50, 4, seed=1)
    counts = written(tmp_path, content)
    assert taken(content, "waveform").lessened(counts) is None
    other = content.set_column(content.schema.get_field_index("entry"), "entry", pa.array([5] * 50))
    assert taken(other).lessened(counts) is None
    assert TakenOut().lessened(counts) is None


def test_what_was_counted_is_taken_back_whatever_the_catalogue_says_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check applied to nothing when rows landed and applies to all now, and the other way round."""
    content = made(200, 4, seed=1)
    turned = {ALWAYS: None, None: ALWAYS}
    applies = strata.applies
    monkeypatch.setattr(strata, "applies", lambda *words: turned.get(applies(*words), applies(*words)))
    counts = written(tmp_path, content)
    monkeypatch.undo()
    assert sums(counts) != fresh(content)
    half = taken(content.slice(0, 100)).lessened(counts)
    assert half is not None and all(min(numbers) >= 0 for numbers in sums(half).values())
    rest = taken(content.slice(100)).lessened(half)
    assert rest is not None and len(rest) == 0


def test_the_months_are_those_in_which_rows_began() -> None:
    content = made(50, 4, seed=1)
    assert taken(content).months() == {"2025-01", "2025-02"}
    assert TakenOut().months() == set()
