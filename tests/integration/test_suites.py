"""Suites in their process, a day judged by them, and the facts about Great Expectations that they are built on."""

import json
import socket
import subprocess
import sys
import time
import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest

from pipelines.driver import Driver
from pipelines.entries import Kind, TableChange
from pipelines.landing import publish
from pipelines.requests import everything
from pipelines.suite_findings import Errand, Findings, Told, Unseen
from quality import suite_process
from quality.checks import Severity, checks
from quality.desk import StudyFacts
from quality.job.times import as_day
from quality.suite_day import Asked, Judged, judge_days
from quality.suite_frames import read_rows, rows_frame
from quality.suite_process import SuiteProcess
from quality.suite_rows import rows_suite
from quality.suite_run import Failure, run
from quality.suites import Clause, Judgement, Suite
from schemas.families import CHECK_COUNT, FAMILIES
from tests import parity_rows
from tests.desks import FakeDesk
from tests.lakes import JAN, rows
from tests.parity_rows import FIRMWARE, MEDIANS, Batch
from tests.planted import DAY, FIRST
from tests.test_judging import land, make

with warnings.catch_warnings():  # it imports what Python is about to drop
    warnings.simplefilter("ignore")
    import great_expectations as gx
    import great_expectations.expectations as gxe

    from quality import suite_gx

pytestmark = pytest.mark.filterwarnings("ignore")
CANARY = 987_654.125
ON = as_day(FIRST)
UNSEEN = Unseen(after=0, through=1_000)


def validated(frame: pd.DataFrame, *expectations: Any, **asked: Any) -> list[Any]:
    suite = gx.ExpectationSuite(name="pins", expectations=list(expectations))
    batch = suite_gx._batches().get_batch({"dataframe": frame})
    return list(batch.validate(suite, result_format=suite_gx.COUNTS_ONLY, **asked).results)


def unexpected(frame: pd.DataFrame, *expectations: Any) -> list[int]:
    return [result.result["unexpected_count"] for result in validated(frame, *expectations)]


def suite_of(*clauses: Clause, check: str = "PL-01", applies: str | None = "") -> Suite:
    judgement = Judgement(check=check, version=3, severity=Severity.INFO, applies=applies, clauses=clauses)
    return Suite(name="made", family="observation", judgements=(judgement,))


def frame_of(**columns: Any) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table({"person": np.arange(count), **columns})


class TestFactsAboutGreatExpectations:
    def test_a_pair_with_one_side_missing_fails_unless_it_is_told_not_to(self) -> None:
        frame = pd.DataFrame({"a": [1.0, np.nan, 2.0], "b": [2.0, 1.0, np.nan]})
        pair = {"column_A": "a", "column_B": "b"}
        plain = gxe.ExpectColumnPairValuesAToBeGreaterThanB(**pair)
        told = gxe.ExpectColumnPairValuesAToBeGreaterThanB(**pair, ignore_row_if=suite_gx.MISSING)
        assert unexpected(frame, plain, told) == [3, 1]

    def test_all_members_of_a_duplicate_are_counted(self) -> None:
        frame = pd.DataFrame({"a": [1, 1, 1, 2], "b": [5, 5, 5, 5]})
        assert unexpected(frame, gxe.ExpectCompoundColumnsToBeUnique(column_list=["a", "b"])) == [3]

    @pytest.mark.parametrize("fast", [True, False])
    def test_only_some_types_are_judged_as_a_whole(self, fast: bool) -> None:
        took = {}
        for kind in ("int64", "int64" if fast else "int32"):
            frame = pd.DataFrame({"value": np.arange(100_000, dtype=kind)})
            began = time.process_time()
            assert unexpected(frame, gxe.ExpectColumnValuesToBeBetween(column="value", min_value=5)) == [5]
            took[kind] = time.process_time() - began
        assert fast or took["int32"] > 1.5 * took["int64"]

    def test_moments_with_a_zone_are_compared(self) -> None:
        moments = pd.to_datetime(pd.Series([1, 2, 3]), unit="D", utc=True)
        bound = gxe.ExpectColumnValuesToBeBetween(column="at", max_value=moments[1].to_pydatetime())
        assert unexpected(pd.DataFrame({"at": moments}), bound) == [1]

    def test_results_hold_no_value_and_no_row(self) -> None:
        frame = pd.DataFrame({"value": [1.0, CANARY, CANARY], "word": ["a", "CANARY", "b"]})
        found = validated(
            frame,
            gxe.ExpectColumnValuesToBeBetween(column="value", max_value=5),
            gxe.ExpectColumnValuesToBeInSet(column="word", value_set=["a", "b"]),
            gxe.ExpectColumnValuesToMatchRegex(column="word", regex="^[ab]$"),
        )
        assert [one.result["unexpected_count"] for one in found] == [2, 1, 1]
        said = json.dumps([one.to_json_dict() for one in found])
        assert "CANARY" not in said
        assert str(CANARY) not in said
        assert "index" not in said

    def test_nothing_is_sent_anywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
        suite = suite_of(Clause(kind="between", column="value", high=5))
        assert [one[1:4] for one in suite_gx.judge(frame_of(value=[1.0, 9.0]), suite)[0]] == [(2, 1, 0)]
        assert asked == []

    def test_nothing_is_left_on_the_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither pages (Data Docs) nor a context; a run has no name, in which a slash would break them."""
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        with SuiteProcess(
            [(suite_of(Clause(kind="between", column="value", high=5)), frame_of(value=[9.0]))]
        ) as process:
            assert process.wait().results.column("n_fail").to_pylist() == [1]
        assert list(tmp_path.rglob("*")) == []


class TestExpectations:
    def test_severity_check_and_version_go_along(self) -> None:
        (made,) = suite_gx._expectations(suite_of(Clause(kind="not_null", column="value")).judgements[0])
        assert made.severity == "info"
        assert made.meta == {"check": "PL-01", "version": 3, "clause": 0}

    def test_every_frame_has_types_that_are_judged_as_a_whole(self) -> None:
        good = {pa.int64(), pa.float64(), pa.string(), pa.timestamp("us", tz="UTC")}
        for batch in (parity_rows.observations(1, 5), parity_rows.signals(1, 5), parity_rows.results(1, 5)):
            desk = FakeDesk({"s": StudyFacts("s")}, {"s": {batch.family: batch.rows}})
            frame = rows_frame(read_rows(desk, "s", batch.family, ON), batch.family, checks(), MEDIANS)
            assert set(frame.schema.types) <= good
            assert not {"pseudonym", "source", "origin", "key64"} & set(frame.schema.names)

    def test_what_no_row_is_asked(self) -> None:
        found, failed = suite_gx.judge(frame_of(value=[1.0]), suite_of(applies=None))
        assert failed == []
        assert [one[1:] for one in found] == [(0, 0, 1, 0)]

    def test_an_empty_frame(self) -> None:
        empty = pa.table({"person": pa.array([], pa.int64()), "value": pa.array([], pa.float64())})
        found, failed = suite_gx.judge(empty, suite_of(Clause(kind="between", column="value", high=5)))
        assert (failed, [one[1:] for one in found]) == ([], [(0, 0, 0, 0)])


class TestProcess:
    SUITE = suite_of(Clause(kind="between", column="value", high=5)).on(FIRST * DAY)

    def test_one_after_the_other(self) -> None:
        frames = [(self.SUITE, frame_of(value=[1.0, 9.0])), (self.SUITE, frame_of(value=[9.0]))]
        with SuiteProcess(frames, longest_s=120) as process:
            answered = process.wait()
        rows = answered.results.to_pylist()
        assert [(row["judge"], row["check"], row["n_eval"], row["n_fail"], row["people"]) for row in rows] == [
            ("suite", "PL-01", 2, 1, 2),
            ("suite", "PL-01", 1, 1, 1),
        ]
        assert answered.failures == []

    def test_what_cannot_be_judged_is_said_and_stops_nothing(self) -> None:
        lacking = suite_of(Clause(kind="between", column="nothing", high=5))
        broken = suite_of(Clause(kind="between", column="value", high=5), applies="value ==")
        frames = [(one, frame_of(value=[CANARY])) for one in (lacking, broken, self.SUITE)]
        answered = run(frames)
        assert answered.failures[0] == Failure("made", "PL-01", "NotEvaluated")
        assert answered.failures[1][:2] == ("made", "")
        assert str(CANARY) not in repr(answered.failures)
        assert answered.results.column("n_fail").to_pylist() == [1]

    def test_one_that_takes_too_long_is_ended(self) -> None:
        with SuiteProcess([(self.SUITE, frame_of(value=[1.0]))], longest_s=0.05) as process:
            answered = process.wait()
            assert process._process.poll() is not None
        assert answered.failures == [Failure("all", "", "TimeLimit")]
        assert answered.results.num_rows == 0

    def test_one_that_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(suite_process, "write_frames", lambda frames, to: to.write(b"no frame"))
        with SuiteProcess([], longest_s=120) as process:
            assert process.wait().failures == [Failure("all", "", "ProcessFailed")]

    def test_the_driver_never_imports_it(self) -> None:
        code = (
            "import sys, pipelines.follow, pipelines.suiting, pipelines.suite_turns\n"
            "sys.exit('great_expectations' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


class TestDay:
    """A day whose counters are right, and one whose are not."""

    @pytest.fixture(scope="class")
    def batches(self) -> list[Batch]:
        return [parity_rows.observations(4, 60), parity_rows.results(4, 60)]

    def judged(self, batches: list[Batch], wrong: str | None = None) -> Judged:
        counts = [
            {
                **dict.fromkeys(("partner", "metric"), "all"),
                **dict(zip(("n_eval", "n_fail", "n_na"), (n[0], n[1] + (check == wrong), n[2]), strict=True)),
                "family": batch.family,
                "start": FIRST * DAY,
                "check": check,
                "version": checks()[check].version,
                "entry": 1,
            }
            for batch in batches
            for check, n in batch.counts(checks()).items()
        ]
        tables = {batch.family: batch.rows for batch in batches}
        tables["check_count"] = pa.Table.from_pylist(counts, CHECK_COUNT.schema)
        desk = FakeDesk({"s": StudyFacts("s")}, {"s": tables})
        asked = Asked("s", ON, checks(), firmware=FIRMWARE, medians=MEDIANS)
        return judge_days(desk, [asked, replace(asked, day=as_day(FIRST + 1), units=False)], longest_s=120)

    def test_right_counters(self, batches: list[Batch]) -> None:
        found = self.judged(batches)
        assert (found.failures, found.differences) == ([], [])
        assert found.rows == {batch.family: batch.rows.num_rows for batch in batches}
        assert set(found.whole) == {(ON, "observation"), (ON, "lab_result")}
        assert found.results.num_rows > 30

    def test_a_counter_that_is_off_by_one(self, batches: list[Batch]) -> None:
        (found,) = self.judged(batches[:1], wrong="PL-01").differences
        assert found.words == f"PL-01 of observation on {ON}: the suite counts fewer rows that fail than the gate"


class TestSample:
    def test_whole_messages_and_always_the_same(self) -> None:
        batch = parity_rows.observations(5, 200)
        desk = FakeDesk({"s": StudyFacts("s")}, {"s": {"observation": batch.rows}})
        everything = read_rows(desk, "s", "observation", ON)
        sample = read_rows(desk, "s", "observation", ON, 100)
        assert 100 <= sample.num_rows < 120
        shuffled = batch.rows.take(pa.array(np.random.default_rng(0).permutation(batch.rows.num_rows)))
        desk.tables["s"]["observation"] = shuffled
        assert read_rows(desk, "s", "observation", ON, 100).equals(sample)
        sizes = dict(zip(*np.unique(everything.column("origin").to_pylist(), return_counts=True), strict=True))
        chosen = zip(*np.unique(sample.column("origin").to_pylist(), return_counts=True), strict=True)
        assert all(sizes[origin] == count for origin, count in chosen)

    def test_a_suite_of_no_metric_asks_nothing(self) -> None:
        suite = rows_suite(checks(), "observation", ("no metric any more",))
        assert all(one.applies is None for one in suite.judgements if one.check in ("PL-00", "PL-01"))


class TestErrand:
    """The process that a driver sends out, on a lake."""

    def test_what_it_finds_comes_back_as_a_request(self, tmp_path: Path) -> None:
        with closing(make(tmp_path)) as driver:
            land(driver, "a")
            day_summary(driver)
            errand = Errand.of(driver.settings, "a", UNSEEN).model_dump_json()
            ended = subprocess.run(
                [sys.executable, "-m", "pipelines.suiting"], input=errand, text=True, capture_output=True, timeout=120
            )
            assert ended.returncode == 0, ended.stderr
            (asked,) = [one.request for one in everything(driver.store)]
            assert asked is not None
            findings = Findings.model_validate(asked.selection["about"]["suites"])  # type: ignore[index, call-overload]
            assert {row.check for row in findings.rows} >= {"PL-00", "TM-10"}
            assert {row.people for row in findings.rows} <= {0, 1}
            assert (Told.model_validate_json(ended.stdout), findings.differences) == (Told(), ())

    def test_killed_it_takes_the_suites_with_it(self, tmp_path: Path) -> None:
        with closing(make(tmp_path)) as driver:
            land(driver, "a")
            day_summary(driver)
            command = [sys.executable, "-m", "pipelines.suiting"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
                assert process.stdin is not None
                process.stdin.write(Errand.of(driver.settings, "a", UNSEEN).model_dump_json().encode())
                process.stdin.close()
                sent_out = psutil.Process(process.pid)
                until = time.monotonic() + 60
                while not (children := sent_out.children()):
                    assert time.monotonic() < until
                    time.sleep(0.02)
                process.kill()
            psutil.wait_procs(children, timeout=10)
            assert not any(child.is_running() for child in children)


def day_summary(driver: Driver) -> None:
    """That the day has rows, as the job says."""
    made = rows(FAMILIES["day_summary"], 1, start=[JAN], level=["study"], rows=[3], people=[1], enrolled=[1])
    at = driver.ledger.next_n, driver.ledger.epoch
    file = publish(driver.store, made, "study=a/day_summary", "2025-01", *at)
    driver.note(Kind.JUDGE, {}, {"study=a/day_summary": TableChange(add=(file,))})
