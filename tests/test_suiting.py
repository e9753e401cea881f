"""Suites beside a driver: when a process is sent out, what it is told, and what becomes of what it found."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from pipelines import suite_turns, suiting
from pipelines.answer import answer_next
from pipelines.driver import Driver
from pipelines.entries import Entry, Kind, TableChange
from pipelines.judging_status import status
from pipelines.landing import publish
from pipelines.places import Address
from pipelines.requests import ask
from pipelines.settings import Settings
from pipelines.suite_findings import Errand, Findings, Told, Unseen
from pipelines.suite_turns import MOST_TRIES, SuiteTurns
from pipelines.suiting import Found, NothingToJudge, judge_by_suites, request_of
from pipelines.views import sql
from quality.parity import Difference, differences
from quality.suite_day import EVERY_ROW, Asked, Judged
from quality.suite_run import Failure
from schemas.families import CHECK_RESULT, FAMILIES
from tests.lakes import JAN, rows
from tests.test_judging import DAY, NOW, day, land, make, said

HOUR_US = 3_600_000_000


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    said.clear()
    with closing(make(tmp_path, suites_every_h=6)) as made:
        monkeypatch.setattr(made, "consent_now", lambda: None)
        made._snapshot = SimpleNamespace(path="snapshot")  # type: ignore[assignment]
        made.commits.teller = SimpleNamespace(rejected=lambda *words: None)  # type: ignore[assignment]
        yield made


def found(*counts: int, start: int = JAN, words: tuple[Difference, ...] = ()) -> Judged:
    """The answers of one check, as often as there are counts of what failed."""
    common = {"judge": "suite", "check": "PL-01", "version": 1, "n_eval": 9, "n_na": 0, "people": 3, "entry": 0}
    families = ("observation", "lab_result", None)
    rows = [{**common, "family": families[n], "start": start, "n_fail": count} for n, count in enumerate(counts)]
    return Judged(pa.Table.from_pylist(rows, CHECK_RESULT.schema), [], list(words), {}, ())


def failed(driver: Driver) -> list[tuple[str, str | None, date, int]]:
    rows = sql(driver.store, "SELECT judge, family, CAST(start AS DATE) AS day, n_fail FROM a_check_result").to_pylist()
    return sorted((row["judge"], row["family"], row["day"], row["n_fail"]) for row in rows)


class TestFindings:
    def test_they_take_the_place_of_the_earlier_ones_of_the_day(self, driver: Driver) -> None:
        land(driver, "a")
        for one in (found(1, 2), found(5, start=JAN + DAY), found(3)):
            ask(driver.ledger, Kind.JUDGE, request_of("a", day(0), one), NOW)
            entry = answer_next(driver)
            assert entry is not None
            assert entry.kind == Kind.JUDGE
            assert entry.cause["suites"] is True
        assert failed(driver) == [
            ("suite", "lab_result", day(0), 2),
            ("suite", "observation", day(0), 3),
            ("suite", "observation", day(1), 5),
        ]

    def test_differences_are_words_and_counted(self, driver: Driver) -> None:
        words = (Difference("PL-01", "observation", day(0), (9, 2), (9, 1)),)
        request = request_of("a", day(0), found(1, words=words))
        assert "fewer rows that fail than the gate" in json.dumps(request)
        ask(driver.ledger, Kind.JUDGE, request, NOW)
        entry = answer_next(driver)
        assert entry is not None
        assert entry.cause["differences"] == 1

    @pytest.mark.parametrize("wrong", [{"check": "XX-01"}, {"n_fail": -1}, {"start": JAN + 1}, {"value": 5.0}])
    def test_what_are_no_findings_is_refused(self, driver: Driver, wrong: Mapping[str, Any]) -> None:
        request: Any = request_of("a", day(0), found(1))
        request["about"]["suites"]["rows"][0] |= wrong
        ask(driver.ledger, Kind.JUDGE, request, NOW)
        assert answer_next(driver) is None
        assert "does not name" in said[0]

    def test_they_are_what_they_were(self) -> None:
        one = found(1, 2)
        again = Findings.model_validate_json(Findings.of(one.results, []).model_dump_json())
        assert again.table().equals(one.results)
        assert again.days() == {JAN // DAY}

    def test_what_the_job_found_stays(self) -> None:
        one = found(1)
        beside = one.results.set_column(0, "judge", pa.array(["job"])).cast(one.results.schema)
        assert Findings.of(one.results, []).goes(pa.concat_tables([beside, one.results])).tolist() == [False, True]


class Process:
    """A process that ends with a code when it is told to; `told` is what it says."""

    def __init__(self, command: list[str], stdin: Any, stdout: Any, stderr: Any) -> None:
        self.errand = Errand.model_validate_json(stdin.read())
        self.code: int | None = None
        self.killed = False
        self.out = stdout
        STARTED.append(self)

    def end(self, code: int, *words: str, left: tuple[date, ...] = ()) -> None:
        self.code = code
        self.out.write(Told(words=words, left=left).model_dump_json().encode())

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed = True

    def wait(self) -> None:
        pass


STARTED: list[Process] = []


class TestTurns:
    @pytest.fixture
    def turns(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Iterator[SuiteTurns]:
        STARTED.clear()
        monkeypatch.setattr(suite_turns.subprocess, "Popen", Process)
        self.now = NOW
        monkeypatch.setattr(driver, "clock", lambda: self.now)
        with closing(SuiteTurns(driver)) as made:
            made.turn()
            yield made

    def after(self, turns: SuiteTurns, hours: float) -> None:
        self.now += round(hours * HOUR_US)
        turns.turn()

    def test_one_study_after_the_other_every_so_many_hours(self, turns: SuiteTurns, driver: Driver) -> None:
        self.after(turns, 5.9)
        assert STARTED == []
        self.after(turns, 0.1)
        self.after(turns, 0.1)
        assert [one.errand.study for one in STARTED] == ["a"]
        assert STARTED[0].errand.settings().lake == driver.settings.lake
        assert STARTED[0].errand.unseen == Unseen(after=0, through=driver.ledger.next_n - 1)
        STARTED[0].end(0)
        self.after(turns, 0.1)
        assert [one.errand.study for one in STARTED] == ["a", "b"]
        STARTED[1].end(0)
        self.after(turns, 5.7)
        assert len(STARTED) == 2
        self.after(turns, 0.1)
        assert len(STARTED) == 3
        assert said == []

    def test_what_it_says_is_said(self, turns: SuiteTurns) -> None:
        self.after(turns, 6)
        STARTED[0].end(0, "PL-01 could not be judged (NotEvaluated)")
        turns.turn()
        assert said == ["a: PL-01 could not be judged (NotEvaluated)"]
        assert turns.failures == 1
        STARTED[1].end(0)
        turns.turn()
        assert len(said) == 1

    def test_a_failure_is_said_and_the_next_study_is_judged(self, turns: SuiteTurns) -> None:
        self.after(turns, 6)
        STARTED[0].end(1)
        turns.turn()
        assert "the suites of a could not be judged" in said[0]
        assert turns.failures == 1
        assert STARTED[1].errand.study == "b"

    def test_one_that_takes_too_long_is_ended(self, turns: SuiteTurns) -> None:
        self.after(turns, 6)
        self.after(turns, 1.1)
        assert STARTED[0].killed
        assert "too long" in said[0]

    def test_one_that_is_started_often_goes_on_counting(self, turns: SuiteTurns, driver: Driver) -> None:
        self.after(turns, 5.9)
        with closing(SuiteTurns(driver)) as again:
            again.turn()
            assert STARTED == []
            self.after(again, 0.1)
            assert len(STARTED) == 1
            STARTED[0].end(1)
            again.turn()
        told = status(driver.store)["suites"]
        assert (told["failures"], told["failed"]) == (1, "a")

    def test_one_that_failed_is_tried_again_and_loses_no_night(self, turns: SuiteTurns, driver: Driver) -> None:
        self.after(turns, 6)
        STARTED[0].end(1)
        turns.turn()
        assert "tried again in 10 minutes" in said[0]
        STARTED[1].end(0)
        turns.turn()
        assert len(STARTED) == 2
        self.after(turns, 1 / 6)
        assert (STARTED[2].errand.study, STARTED[2].errand.unseen.after) == ("a", 0)
        STARTED[2].end(0, left=(day(3),))
        turns.turn()
        told = status(driver.store)["suites"]["studies"]["a"]
        assert told["done"] >= told["began"]
        assert told["failed_today"] == 0
        self.after(turns, 5.9)
        assert STARTED[-1].errand.study == "b"
        STARTED[-1].end(0)
        self.after(turns, 0.1)
        assert STARTED[-1].errand.study == "a"
        seen = driver.ledger.next_n - 1
        assert STARTED[-1].errand.unseen == Unseen(after=seen, through=seen, left=(day(3),))

    def test_one_that_ends_well_without_a_word_has_failed(self, turns: SuiteTurns) -> None:
        self.after(turns, 6)
        STARTED[0].code = 0
        turns.turn()
        assert "the suites of a could not be judged" in said[0]

    def test_nothing_is_noted_of_one_whose_driver_was_killed(self, turns: SuiteTurns, driver: Driver) -> None:
        self.after(turns, 6)
        turns.close()
        with closing(SuiteTurns(driver)) as again:
            again.turn()
        assert [one.errand.study for one in STARTED] == ["a", "a"]

    def test_so_many_tries_may_fail_in_a_day(self, turns: SuiteTurns) -> None:
        self.after(turns, 6)
        for n in range(MOST_TRIES):
            of_a = [one for one in STARTED if one.errand.study == "a"]
            assert len(of_a) == n + 1
            of_a[-1].end(1)
            turns.turn()
            STARTED[-1].end(0)
            self.after(turns, 1 / 6)
        assert "left alone for a day" in said[-1]
        assert "wellspring quality suites --study a" in said[-1]
        for _ in range(22):
            if STARTED[-1].code is None:
                STARTED[-1].end(0)
            self.after(turns, 1)
        assert len([one for one in STARTED if one.errand.study == "a"]) == MOST_TRIES
        self.after(turns, 1.5)
        self.after(turns, 0)
        assert len([one for one in STARTED if one.errand.study == "a"]) == MOST_TRIES + 1

    def test_closing_ends_it(self, turns: SuiteTurns) -> None:
        self.after(turns, 6)
        turns.close()
        assert STARTED[0].killed


def test_an_errand_to_a_lake_in_a_bucket_keeps_its_address(tmp_path: Path) -> None:
    settings = Settings(lake=Address("s3://studies/lake"), vault=Address("s3://people/vault"), vault_work=tmp_path)
    errand = Errand.model_validate_json(Errand.of(settings, "a", Unseen(after=0, through=1)).model_dump_json())
    assert errand.settings().lake == Address("s3://studies/lake")
    assert (errand.settings().vault, errand.settings().vault_work) == (Address("s3://people/vault"), tmp_path)


def test_never_where_it_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    STARTED.clear()
    monkeypatch.setattr(suite_turns.subprocess, "Popen", Process)
    with closing(make(tmp_path, suites_every_h=0)) as driver, closing(SuiteTurns(driver)) as turns:
        monkeypatch.setattr(driver, "clock", lambda: NOW + 1_000 * HOUR_US)
        turns.turn()
    assert STARTED == []


class TestDay:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
        told: list[Asked] = []

        def judged(desk: Any, days: list[Asked]) -> Judged:
            told.extend(days)
            return found(1)

        monkeypatch.setattr(suiting, "judge_days", judged)
        return told

    def test_the_newest_day_that_has_ended(self, driver: Driver, asked: list[Asked]) -> None:
        with pytest.raises(NothingToJudge):
            judge_by_suites(driver.settings, "a")
        assert asked == []
        assert judge_by_suites(driver.settings, "a", day(3))[0] == day(3)
        assert asked[0].whole in (("observation",), ("waveform",))

    def land_results(
        self, driver: Driver, number: int, family: str = "lab_result", of: str = "lab_result", **columns: Any
    ) -> Entry:
        """A result of a day, that was received long before everything else here."""
        starts, n = [JAN + number * DAY], driver.ledger.next_n
        about = {"start": starts, "end": starts, "received": [JAN], "entry": [n]} | columns
        made = rows(FAMILIES[family], 1, **about)
        if family == "quarantine":
            made = made.set_column(0, made.schema.field(0), pa.array([of]))
        file = publish(driver.store, made, f"study=a/{family}", "2025-01", n, driver.ledger.epoch)
        return driver.note(Kind.INGEST, {}, {f"study=a/{family}": TableChange(add=(file,))})

    def days_of(self, asked: list[Asked]) -> list[tuple[date, bool, bool]]:
        told = [(one.day, set(one.families) == set(EVERY_ROW), one.units) for one in asked]
        asked.clear()
        return told

    def test_rows_that_entries_have_brought_since(self, driver: Driver, asked: list[Asked]) -> None:
        """However long ago they were received: they were held, or are judged again."""
        first, second = (self.land_results(driver, number).n for number in (0, 1))
        for unseen, others in (
            (Unseen(after=0, through=second), [1, 0]),
            (Unseen(after=first, through=second), [1]),
            (Unseen(after=0, through=first), [0]),
            (Unseen(after=second, through=second), []),
            (Unseen(after=first, through=second, left=(day(5),)), [5, 1]),
        ):
            judge_by_suites(driver.settings, "a", day(9), unseen=unseen)
            assert self.days_of(asked) == [(day(9), False, True), *((day(number), True, False) for number in others)]
        assert judge_by_suites(driver.settings, "a", unseen=Unseen(after=0, through=second)).day == day(1)

    def test_rows_that_wait_and_rows_that_were_released(self, driver: Driver, asked: list[Asked]) -> None:
        waiting = self.land_results(driver, 2, "quarantine").n
        self.land_results(driver, 3, "quarantine", "observation")
        released = self.land_results(driver, 4, entry=[1], released=[driver.ledger.next_n]).n
        judge_by_suites(driver.settings, "a", day(9), unseen=Unseen(after=waiting - 1, through=released))
        assert [one[0] for one in self.days_of(asked)] == [day(9), day(4), day(2)]

    def test_every_day_in_its_turn(self, driver: Driver, asked: list[Asked], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(suiting, "MOST_DAYS", 2)
        through = [self.land_results(driver, number).n for number in range(5)][-1]
        seen, left = [], ()
        for after in (0, through, through):
            found = judge_by_suites(
                driver.settings, "a", day(9), unseen=Unseen(after=after, through=through, left=left)
            )
            left = found.left
            seen += [one[0] for one in self.days_of(asked)[1:]]
        assert (sorted(seen), left) == ([day(number) for number in range(5)], ())

    def test_another_family_the_next_day(self, driver: Driver, asked: list[Asked]) -> None:
        for number in (1, 2):
            judge_by_suites(driver.settings, "a", day(number))
        assert {one.whole for one in asked} == {("observation",), ("waveform",)}

    def test_where_nothing_could_be_judged_the_process_fails(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        errand = Errand.of(driver.settings, "a", Unseen(after=0, through=0)).model_dump_json().encode()
        for failure, code in ((Failure("units", "PL-07", "NotEvaluated"), 0), (Failure("all", "", "TimeLimit"), 1)):
            one = found()
            one.failures.append(failure)
            monkeypatch.setattr(suiting, "judge_by_suites", lambda *_, one=one, **__: Found(day(0), one, ()))
            monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(errand)))
            assert suiting.main() == code
            assert "could not be judged" in capsys.readouterr().out

    def test_words(self) -> None:
        one = found(1)
        one.failures.append(Failure("rows of observation", "", "KeyError"))
        assert suiting.words_of(one) == ["rows of observation could not be judged (KeyError)"]


class TestDifferences:
    def compared(self, *counted: tuple[str, int, int, int]) -> list[Difference]:
        from quality.checks import checks

        schema = pa.schema([("check", pa.string()), *((n, pa.int64()) for n in ("version", "n_eval", "n_fail"))])
        gate = pa.Table.from_pylist([dict(zip(schema.names, one, strict=True)) for one in counted], schema)
        return differences(found(2).results, gate, "observation", day(0), checks())

    def test_the_same(self) -> None:
        assert self.compared(("PL-01", 1, 9, 2), ("UQ-02", 1, 9, 0)) == []

    @pytest.mark.parametrize(("judged", "failing"), [(9, 3), (8, 2), (0, 0)])
    def test_others(self, judged: int, failing: int) -> None:
        (one,) = self.compared(("PL-01", 1, judged, failing))
        assert one.gate == (judged, failing)
        assert not set(one.words.replace(str(one.day), "").replace("PL-01", "")) & set("0123456789")

    def test_what_the_gate_has_not_counted(self) -> None:
        assert [one.gate for one in self.compared()] == [(0, 0)]

    def test_versions_that_are_not_compared(self) -> None:
        assert self.compared(("PL-01", 101, 9, 3)) == []
        assert self.compared(("PL-01", 1, 4, 0), ("PL-01", 101, 5, 0)) == []
