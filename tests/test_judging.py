"""The quality job as ledger entries: the days that changed and no others, each once, through crashes and its own failures."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines import days_to_judge
from pipelines import judging as module
from pipelines.answer import answer_next
from pipelines.changed_days import Days, days_changed
from pipelines.compaction import choose
from pipelines.delta import LiveFile
from pipelines.driver import Driver
from pipelines.entries import Entry, Fenced, Kind, TableChange
from pipelines.files import DataFile, table_key
from pipelines.judging import TRY_AGAIN_US, Judging, Steps
from pipelines.judging_status import status
from pipelines.keys import KeyRing
from pipelines.lake_check import lake_check
from pipelines.landing import publish
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.progress import Progress
from pipelines.requests import ask, everything, remove
from pipelines.settings import load_settings
from pipelines.sweep import sweep
from pipelines.views import sql
from quality.desk import LakeDesk, Stratum
from quality.job.results import Results
from schemas.families import CHECK_RESULT, DAY_SUMMARY, FAMILIES
from tests.lakes import HOUR, JAN, Crash, CrashAt, rows

pytestmark = pytest.mark.usefixtures("cheap_sessions")
OBSERVATION = FAMILIES["observation"]
DAY = 24 * HOUR
FIRST = date(2025, 1, 15)
NOW = JAN + 20 * DAY
LONG_S = module.LONG_S
PSEUDONYM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def make(folder: Path, **quality: Any) -> Driver:
    """A driver that has taken over a lake of two studies, without Kafka."""
    config = folder / "wellspring.yaml"
    if not config.exists():
        config.write_text(json.dumps({"quality": quality}), encoding="utf-8")
        (folder / "studies.yaml").write_text("studies: [{id: a}, {id: b}]\n", encoding="utf-8")
        (folder / "partners.yaml").write_text("partners: []\n", encoding="utf-8")
    settings = load_settings(config)
    for study in "ab":
        KeyRing(settings.vault).create(study)
    driver = Driver(settings, clock=lambda: NOW, say=said.append)
    driver.ledger.takeover(NOW, {})
    driver.tables.recover()
    sweep(driver.store, driver.ledger, NOW)
    return driver


def changed_days(*of: Any) -> dict[str, Days]:
    """The days that an entry has changed, without steps."""
    steps = days_changed(*of)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: dict[str, Days] = end.value
            return found


said: list[str] = []


@pytest.fixture(autouse=True)
def _silent() -> None:
    said.clear()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with closing(make(tmp_path)) as made:
        yield made


def written(driver: Driver, study: str, content: pa.Table, month: str = "2025-01") -> DataFile:
    at = driver.ledger.next_n, driver.ledger.epoch
    return publish(driver.store, content, table_key(study, "observation"), month, *at)


def land(driver: Driver, *studies: str, days: tuple[int, ...] = (0,), first: int = 0, count: int = 3) -> Entry:
    """An entry with rows of these days for each study."""
    starts = [JAN + number * DAY + second * 1_000_000 for number in days for second in range(count)]
    keys = [first + place for place in range(len(starts))]
    made = rows(OBSERVATION, len(starts), start=starts, end=starts, key64=keys, pseudonym=[PSEUDONYM] * len(starts))
    changes = {table_key(s, "observation"): TableChange(add=(written(driver, s, made),)) for s in studies}
    return driver.note(Kind.INGEST, {}, changes)


judged: list[tuple[str, list[date]]] = []


def count_rows(desk: LakeDesk, study: str, days: list[date], of: Mapping[str, Any], now: Any) -> Results:
    """A job that counts the rows of each day."""
    judged.append((study, days))
    found = desk.query(study, "SELECT CAST(start AS DATE) AS day, count(*) AS n FROM observation GROUP BY ALL")
    counts = {row["day"]: row["n"] for row in found.to_pylist()}
    own = [one for one in days if one in counts]
    starts = [pa.scalar(one).cast(pa.timestamp("us", "UTC")).value for one in own]
    numbers = [counts[one] for one in own]
    results = rows(
        CHECK_RESULT, len(own), judge=["job"] * len(own), check=["WT-04"] * len(own), start=starts, n_eval=numbers
    )
    sums = rows(DAY_SUMMARY, len(own), level=["metric"] * len(own), start=starts, rows=numbers)
    return Results(results, sums, frozenset(("WT-04", one) for one in days), frozenset(days))


def in_steps(job: Callable[..., Results], steps: int = 0) -> Callable[..., Steps]:
    """A job that can be interrupted so many times before it has its results."""

    def made(*arguments: Any) -> Steps:
        for _ in range(steps):
            yield
        return job(*arguments)

    return made


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch) -> None:
    judged.clear()
    monkeypatch.setattr(module, "job", in_steps(count_rows))
    for name in ("LONG_S", "LOOK_S", "TURN_S"):
        monkeypatch.setattr(module, name, 1e9)  # however busy the machine is


def turn(driver: Driver, every_s: float = 0.0) -> Entry | None:
    with closing(Judging(driver)) as judging:
        return judging.turn(every_s)


def turns(driver: Driver) -> int:
    done = 0
    with closing(Judging(driver)) as judging:
        while judging.turn():
            done += 1
            assert done < 50, "it does not end"
    return done


def turns_of(driver: Driver) -> list[tuple[str, list[date]]]:
    """What is judged by the turns that are left."""
    judged.clear()
    with closing(Judging(driver)) as judging:
        while judging.turn() or judging.is_busy:
            pass
    return judged


def results(driver: Driver, study: str = "a") -> dict[date, int]:
    """How many rows each day was judged to have."""
    if not driver.tables.live_files(table_key(study, "check_result")):
        return {}
    found = sql(driver.store, f"SELECT CAST(start AS DATE) AS day, n_eval FROM {study}_check_result").to_pylist()
    assert len({row["day"] for row in found}) == len(found), "a day has two answers"
    return {row["day"]: row["n_eval"] for row in found}


# -- which days


def test_what_changed_is_judged_once_and_then_nothing_is_left(driver: Driver) -> None:
    land(driver, "a", "b", days=(0, 3))
    land(driver, "a", days=(5,), first=100)
    assert turns(driver) == 2
    assert judged == [("a", [day(0), day(3), day(5)]), ("b", [day(0), day(3)])]
    assert results(driver) == {day(0): 3, day(3): 3, day(5): 3}
    assert turns(driver) == 0
    head = driver.ledger.head()
    assert head is not None and (head.kind, head.cause) == (
        Kind.JUDGE, {"study": "b", "days": 2, "first": "2025-01-15", "last": "2025-01-18"}
    )  # fmt: skip


def test_a_day_that_is_judged_again_has_one_answer_and_the_others_keep_theirs(driver: Driver) -> None:
    land(driver, "a", days=(0, 1))
    turns(driver)
    before = {file.path for file in driver.tables.live_files("study=a/check_result")}
    land(driver, "a", days=(1,), first=100)
    judged.clear()
    entry = turn(driver)
    assert judged == [("a", [day(1)])]
    assert results(driver) == {day(0): 3, day(1): 6}
    assert entry is not None
    change = entry.tables["study=a/check_result"]
    assert (len(change.add), len(change.remove)) == (1, 1) and set(change.remove) < before
    assert lake_check(driver.store, driver.ledger, law=entry_law).problems == []


def test_results_of_other_judges_stay(driver: Driver) -> None:
    land(driver, "a", days=(0,))
    other = rows(CHECK_RESULT, 1, judge=["suite"], check=["WT-04"], n_eval=[77])
    at = driver.ledger.next_n, driver.ledger.epoch
    file = publish(driver.store, other, "study=a/check_result", "2025-01", *at)
    driver.note(Kind.JUDGE, {}, {"study=a/check_result": TableChange(add=(file,))})
    turns(driver)
    land(driver, "a", days=(0,), first=100)
    turns(driver)
    found = sql(driver.store, "SELECT judge, n_eval FROM a_check_result ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in found] == [("job", 6), ("suite", 77)]


def test_of_a_file_that_was_written_again_only_the_days_that_differ_count(driver: Driver) -> None:
    land(driver, "a", days=(0, 1, 2))
    (old,) = driver.tables.live_files("study=a/observation")
    with driver.store.open_file(old.path) as source:
        content = pq.ParquetFile(source).read()
    stays = content.filter(pc.not_equal(content["key64"], 4))  # of day 1
    change = {"study=a/observation": TableChange(add=(written(driver, "a", stays),), remove=(old.path,))}
    entry = driver.note(Kind.RECALL, {}, change)
    assert changed_days(entry, driver.ledger, driver.store) == {"a": {JAN // DAY + 1}}
    (kept,) = driver.tables.live_files("study=a/observation")
    for number, column in ((2, "key64"), (0, "entry")):  # of as many rows one is another, or has landed again
        place = stays.schema.get_field_index(column)
        values = stays.column(column).to_pylist()
        values[number * 3 - (number > 1)] = 999
        other = stays.set_column(place, stays.schema.field(place), pa.array(values, pa.int64()))
        change = {"study=a/observation": TableChange(add=(written(driver, "a", other),), remove=(kept.path,))}
        draft = driver.ledger.draft(Kind.REPLAY, NOW, cause={}, tables=change)
        assert changed_days(draft, driver.ledger, driver.store) == {"a": {JAN // DAY + number}}
    same = driver.ledger.draft(Kind.COMPACT, NOW, cause={}, tables={})
    assert changed_days(same, driver.ledger, driver.store) == {}
    driver.store.delete(old.path)
    assert changed_days(entry, driver.ledger, driver.store) == {"a": {JAN // DAY, JAN // DAY + 1, JAN // DAY + 2}}


def test_days_that_end_without_a_reading_are_judged_too(driver: Driver) -> None:
    land(driver, "a", days=(0,))
    turns(driver)
    judged.clear()
    driver.clock = lambda: NOW + 2 * DAY
    turns(driver)
    assert judged == [("a", [day(20), day(21)])]
    judged.clear()
    assert turns(driver) == 0


# -- a little at a time, and again after a kill


def test_a_turn_judges_a_few_days_and_the_ledger_keeps_the_rest(tmp_path: Path) -> None:
    with closing(make(tmp_path, days_at_once=2)) as driver:
        land(driver, "a", days=(0, 1, 2, 3, 4))
        assert turn(driver) is not None
        left = Progress.of(driver.ledger.head()).judged
        assert left is not None and left.left == {"a": (day(2), day(3), day(4))}
    with closing(make(tmp_path)) as driver:
        land(driver, "a", days=(0,), first=100)
        assert turns(driver) == 2
        assert [days for _, days in judged] == [[day(0), day(1)], [day(0), day(2)], [day(3), day(4)]]
        assert results(driver) == {day(0): 6, **{day(n): 3 for n in range(1, 5)}}


def test_turns_that_take_long_get_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(make(tmp_path, days_at_once=4)) as driver:
        land(driver, "a", days=tuple(range(9)))
        monkeypatch.setattr(module, "LONG_S", -1.0)
        assert turns(driver) == 5
        assert [len(days) for _, days in judged] == [4, 2, 1, 1, 1]


def test_days_that_take_more_than_a_turn_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged alone, a day costs again what it would have shared with others; the stream has its turn between parts."""
    ticks = itertools.count()
    with closing(make(tmp_path, days_at_once=4)) as driver:
        land(driver, "a", days=tuple(range(8)))
        monkeypatch.setattr(module, "LONG_S", LONG_S)
        monkeypatch.setattr(module, "TURN_S", 2.0)
        monkeypatch.setattr(module, "job", in_steps(count_rows, steps=5))
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
        busy = 0
        with closing(Judging(driver)) as judging:
            while judging.turn() or judging.is_busy:
                busy += judging.is_busy
    assert busy > 2 and [len(days) for _, days in judged] == [4, 4]


@pytest.mark.parametrize("place", [*range(12), 15, 18, 21])
def test_a_kill_at_any_step_leaves_one_answer_a_day(tmp_path: Path, place: int) -> None:
    with closing(make(tmp_path, days_at_once=1)) as driver:
        land(driver, "a", days=(0, 1))
        driver.on_step = CrashAt(place)
        try:
            turns(driver)
        except Crash:
            driver.ledger.epoch = 0  # it leaves nothing in good order
    with closing(make(tmp_path)) as driver:
        turns(driver)
        assert results(driver) == {day(0): 3, day(1): 3}
        report = lake_check(driver.store, driver.ledger, law=entry_law)
        assert report.problems == [] and [one for one in report.leavings if "grace" not in one] == []


def test_nothing_is_done_for_a_while_after_all_was_done(driver: Driver) -> None:
    land(driver, "a")
    with closing(Judging(driver)) as judging:
        assert judging.turn(60) is not None
        assert judging.turn(60) is None
        land(driver, "a", first=100)
        assert judging.turn(60) is None
        driver.clock = lambda: NOW + 60_000_000
        assert judging.turn(60) is not None


# -- what goes wrong


def test_a_job_that_fails_is_said_and_counted_and_nothing_else_waits(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(desk: Any, study: str, *rest: Any) -> Results:
        if study == "a":
            raise ValueError(f"somebody is {PSEUDONYM}")
        return count_rows(desk, study, *rest)

    land(driver, "a", "b")
    monkeypatch.setattr(module, "job", in_steps(fail))
    with closing(Judging(driver)) as judging:
        entry = judging.turn()
        assert entry is not None and entry.cause["study"] == "b"
        assert judging.turn() is None and judging.failures == 1
        assert said == ["the quality job of a failed (ValueError) and is tried again in 10 minutes; the stream goes on"]
        land(driver, "a", first=100)
        assert judging.turn() is None and len(said) == 1
        told = status(driver.store)
        assert told["days_left"] == {"a": 1} and told["last_failure"]["error"] == "ValueError"
        assert PSEUDONYM not in str(told)
        driver.clock = lambda: NOW + TRY_AGAIN_US
        monkeypatch.setattr(module, "job", in_steps(count_rows))
        assert judging.turn() is not None
    assert results(driver) == {day(0): 6}


def test_a_file_that_is_damaged_is_the_job_s_trouble_alone(driver: Driver) -> None:
    entry = land(driver, "a", days=(0, 1))
    (file,) = (file for change in entry.tables.values() for file in change.add)
    (driver.settings.lake / file.path).write_bytes(b"damaged")
    assert turn(driver) is None
    assert len(said) == 1 and "the quality job of a failed" in said[0]


def test_a_driver_that_was_overtaken_stops(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(*arguments: Any) -> Results:
        Ledger(driver.store).takeover(NOW, {})
        raise ValueError

    land(driver, "a")
    monkeypatch.setattr(module, "job", in_steps(overtaken))
    with pytest.raises(Fenced):
        turn(driver)
    assert said == []


def test_a_fault_of_the_ledger_is_no_fault_of_the_job(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    land(driver, "a")
    monkeypatch.setattr(driver, "note", lambda *words: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError):  # noqa: PT011  # the test's own
        turn(driver)


# -- a large day, through several turns


def test_a_large_day_leaves_the_stream_its_turn_and_is_one_entry(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(driver, "a", days=(0, 1))
    monkeypatch.setattr(module, "TURN_S", -1.0)
    monkeypatch.setattr(module, "job", in_steps(count_rows, steps=2))
    with closing(Judging(driver)) as judging:
        assert judging.turn() is None and judging.is_busy
        land(driver, "a", days=(1, 2), first=100)  # the stream goes on, and changes one of the days
        assert judging.turn() is None and judging.is_busy
        entry = judging.turn(every_s=1e6)
        assert entry is not None and not judging.is_busy
        assert judged == [("a", [day(0), day(1)])]
        after = Progress.of(entry).judged
        assert after is not None and after.left == {}
    assert turns_of(driver) == [("a", [day(1), day(2)])]
    assert results(driver) == {day(0): 3, day(1): 6, day(2): 3}


def test_a_kill_in_the_midst_of_a_large_day_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "job", in_steps(count_rows, steps=1))
    with closing(make(tmp_path)) as driver:
        land(driver, "a")
        monkeypatch.setattr(module, "TURN_S", -1.0)
        assert turn(driver) is None and results(driver) == {}
    monkeypatch.setattr(module, "TURN_S", 1e9)
    with closing(make(tmp_path)) as driver:
        assert turns(driver) == 1
        assert results(driver) == {day(0): 3}


def test_a_large_day_that_fails_in_the_end_waits_as_it_was(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Results:
        raise ValueError

    land(driver, "a", days=(0, 1))
    monkeypatch.setattr(module, "TURN_S", -1.0)
    monkeypatch.setattr(module, "job", in_steps(fail, steps=1))
    with closing(Judging(driver)) as judging:
        assert judging.turn() is None and judging.is_busy
        assert judging.turn() is None and not judging.is_busy
        assert judging.failures == 1
        driver.clock = lambda: NOW + TRY_AGAIN_US
        monkeypatch.setattr(module, "job", in_steps(count_rows))
        assert judging.turn() is not None
    assert results(driver) == {day(0): 3, day(1): 3}


# -- a first look at an old lake


def test_a_look_at_many_entries_leaves_the_stream_its_turn_and_says_how_far_it_came(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        land(driver, "a", days=(number,), first=100 * number)
    monkeypatch.setattr(module, "LOOK_S", -1.0)
    with closing(Judging(driver)) as judging:
        reached = []
        while not judged:
            entry = judging.turn()
            assert judging.is_busy or judged
            if entry and "looked_through" in entry.cause:
                assert entry.tables == {} and (entry.kind, [*entry.cause]) == (Kind.JUDGE, ["looked_through"])
                reached.append(entry.cause["looked_through"])
                if len(reached) == 2:
                    land(driver, "b", days=(9,))  # the stream goes on meanwhile
        assert len(reached) > 4 and reached == sorted({*reached})
        monkeypatch.setattr(module, "LOOK_S", 1e9)
        while judging.turn():
            pass
    assert results(driver) == {day(n): 3 for n in range(4)} and results(driver, "b") == {day(9): 3}
    assert lake_check(driver.store, driver.ledger, law=entry_law).problems == []


def test_an_entry_of_many_files_is_looked_at_file_by_file(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        written(driver, "a", rows(OBSERVATION, 2, start=[JAN, JAN + n * DAY], key64=[2 * n, 2 * n + 1]))
        for n in (1, 2, 3)
    ]
    driver.note(Kind.INGEST, {}, {"study=a/observation": TableChange(add=tuple(files))})
    monkeypatch.setattr(module, "LOOK_S", -1.0)
    with closing(Judging(driver)) as judging:
        busy = 0
        while not judged:
            judging.turn()
            busy += judging.is_busy
        assert busy > 3
    assert judged == [("a", [day(0), day(1), day(2), day(3)])]


def test_a_kill_in_the_midst_of_a_look_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    found = days_to_judge.days_changed

    def note(entry: Entry, *where: Any) -> Any:
        looked.append(entry.n)
        return found(entry, *where)

    monkeypatch.setattr(days_to_judge, "days_changed", note)
    monkeypatch.setattr(module, "LOOK_S", -1.0)
    with closing(make(tmp_path)) as driver:
        for number in range(4):
            land(driver, "a", days=(number,), first=100 * number)
        with closing(Judging(driver)) as judging:
            while not (entry := judging.turn()) or entry.cause["looked_through"] < 3:  # type: ignore[operator]
                pass
        reached = Progress.of(driver.ledger.head()).judged
        assert reached is not None and reached.through == 3 and reached.left == {"a": (day(0), day(1))}
        assert status(driver.store)["days_left"] == {"a": 2}
    looked.clear()
    monkeypatch.setattr(module, "LOOK_S", 1e9)
    with closing(make(tmp_path)) as driver:
        assert turns(driver) == 1
        assert min(looked) == 4
        assert results(driver) == {day(n): 3 for n in range(4)}


# -- what it wishes


def test_what_it_finds_of_rows_that_have_landed_becomes_a_request(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stratum = Stratum(check="PL-06", family="observation", metric="weight", day=day(0))

    def find(*arguments: Any) -> Results:
        found = count_rows(*arguments)
        return Results(found.results, found.summaries, found.replaced, found.summarised, (stratum,))

    land(driver, "a")
    monkeypatch.setattr(module, "job", in_steps(find))
    turn(driver)
    (asked,) = everything(driver.store)
    assert asked.request is not None and (asked.request.kind, asked.request.selection) == (
        "recall",
        {"study": "a", "by": "wellspring", "reason": "found by PL-06 after it had landed", "about": stratum.as_json()},
    )


def test_a_recall_is_asked_for_once_while_it_waits_and_again_when_it_was_done(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    strata = [Stratum(check="PL-06", metric=metric) for metric in ("weight", "height")]

    def find(*arguments: Any) -> Results:
        found = count_rows(*arguments)
        return Results(found.results, found.summaries, found.replaced, found.summarised, tuple(strata))

    def asked() -> list[Any]:
        return [one.request.selection["about"] for one in everything(driver.store) if one.request]

    monkeypatch.setattr(module, "job", in_steps(find))
    for first in (0, 100):
        land(driver, "a", first=first)
        turn(driver)
        assert asked() == [stratum.as_json() for stratum in strata]
    remove(driver.store, everything(driver.store)[0])  # it has been done; a replay brings the rows back
    land(driver, "a", first=200)
    turn(driver)
    assert asked() == [stratum.as_json() for stratum in reversed(strata)]


def test_a_day_is_judged_again_by_hand(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "consent_now", lambda: None)
    driver._snapshot = SimpleNamespace(path="snapshot")  # type: ignore[assignment]
    driver.commits.teller = SimpleNamespace(rejected=lambda *words: None)  # type: ignore[assignment]
    land(driver, "a", days=(0, 1))
    about = {"study": "a", "by": "ann", "reason": "to see", "about": {"day": "2025-01-16"}}
    ask(driver.ledger, "judge", about, NOW)
    entry = answer_next(driver)
    assert entry is not None and entry.kind == Kind.JUDGE and entry.cause["first"] == "2025-01-16"
    assert results(driver) == {day(1): 3} and everything(driver.store) == []
    ask(driver.ledger, "judge", {**about, "study": "c"}, NOW)
    ask(driver.ledger, "judge", {"study": "a"}, NOW)
    assert answer_next(driver) is None and "not registered" in said[0] and "does not name" in said[1]
    assert turns(driver) == 1
    assert results(driver) == {day(0): 3, day(1): 3}


def test_a_large_day_by_hand_leaves_the_stream_its_turn(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "consent_now", lambda: None)
    driver._snapshot = SimpleNamespace(path="snapshot")  # type: ignore[assignment]
    driver.commits.teller = SimpleNamespace(rejected=lambda *words: None)  # type: ignore[assignment]
    monkeypatch.setattr(module, "TURN_S", -1.0)
    monkeypatch.setattr(module, "job", in_steps(count_rows, steps=2))
    land(driver, "a", days=(0, 1))
    about = {"study": "a", "by": "ann", "reason": "to see", "about": {"day": "2025-01-16"}}
    first, second = (ask(driver.ledger, "judge", {**about, "about": {"day": day(n).isoformat()}}, NOW) for n in (1, 0))
    for _ in range(2):
        assert answer_next(driver) is None and driver.unfinished is not None
        land(driver, "a", days=(5,), first=driver.ledger.next_n * 100)
        assert [one.id for one in everything(driver.store) if one.waits] == [first.id, second.id] and said == []
    entry = answer_next(driver)
    assert entry is not None and entry.cause["first"] == "2025-01-16" and driver.unfinished is None
    assert results(driver) == {day(1): 3}
    while (entry := answer_next(driver)) is None:
        assert driver.unfinished is not None
    assert entry.cause["first"] == "2025-01-15" and everything(driver.store) == [] and driver.unfinished is None


def test_what_nobody_asks_for_any_more_is_left_off(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "consent_now", lambda: None)
    monkeypatch.setattr(module, "TURN_S", -1.0)
    monkeypatch.setattr(module, "job", in_steps(count_rows, steps=2))
    land(driver, "a")
    asked = ask(driver.ledger, "judge", {"study": "a", "by": "ann", "reason": "r", "about": {"day": "2025-01-15"}}, NOW)
    assert answer_next(driver) is None and driver.unfinished is not None
    remove(driver.store, asked)
    assert answer_next(driver) is None and driver.unfinished is None


def test_a_kill_in_the_midst_of_a_day_by_hand_judges_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "consent_now", lambda driver: None)
    monkeypatch.setattr(module, "TURN_S", -1.0)
    monkeypatch.setattr(module, "job", in_steps(count_rows, steps=1))
    with closing(make(tmp_path)) as driver:
        land(driver, "a")
        about = {"study": "a", "by": "ann", "reason": "to see", "about": {"day": "2025-01-15"}}
        ask(driver.ledger, "judge", about, NOW)
        assert answer_next(driver) is None and driver.unfinished is not None
    with closing(make(tmp_path)) as driver:
        driver._snapshot = SimpleNamespace(path="snapshot")  # type: ignore[assignment]
        driver.commits.teller = SimpleNamespace(rejected=lambda *words: None)  # type: ignore[assignment]
        assert answer_next(driver) is None
        assert answer_next(driver) is not None
        assert results(driver) == {day(0): 3} and everything(driver.store) == []


def test_a_job_by_hand_that_fails_is_refused_by_its_kind_and_the_driver_goes_on(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Results:
        raise ValueError(f"somebody is {PSEUDONYM}")

    monkeypatch.setattr(driver, "consent_now", lambda: None)
    monkeypatch.setattr(module, "job", in_steps(fail))
    land(driver, "a")
    ask(driver.ledger, "judge", {"study": "a", "by": "ann", "reason": "to see", "about": {"day": "2025-01-15"}}, NOW)
    assert answer_next(driver) is None
    (asked,) = everything(driver.store)
    assert asked.request is not None and asked.request.refused == "the quality job failed (ValueError): ask again"


# -- the whole, with the real job


def test_the_real_job_s_results_are_a_study_s_and_nobody_s(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    starts = [JAN + n * 600_000_000 for n in range(100)]
    people = [f"{n % 12:026d}".replace("0", "A") for n in range(100)]
    made = rows(
        OBSERVATION, 100, start=starts, end=starts, received=starts, pseudonym=people, metric=["heart_rate"] * 100,
        value=[60.0 + n % 7 for n in range(100)], unit=["/min"] * 100, partner=["acme"] * 100, source=["w"] * 100,
        modality=["sensed"] * 100,
    )  # fmt: skip
    driver.note(Kind.INGEST, {}, {"study=a/observation": TableChange(add=(written(driver, "a", made),))})
    assert turns(driver) == 1 and said == []
    found = sql(driver.store, 'SELECT DISTINCT "check" FROM a_check_result')["check"].to_pylist()
    assert {"WT-01", "PL-07", "SQ-01"} <= {*found}
    assert driver.pinned.medians() == {"a": {"heart_rate": 63.0}}
    assert sql(driver.store, "SELECT max(entry) AS n FROM a_day_summary")["n"][0].as_py() == driver.ledger.next_n - 1
    in_ledger = b"".join(driver.store.get(key) or b"" for key in driver.store.list("_control/"))
    assert not any(person.encode() in in_ledger for person in people)


def test_files_of_a_day_each_stay_until_the_month_is_over() -> None:
    files = [
        LiveFile(
            DataFile(path=f"{table}/month=2025-01/{n:012d}-1-{'a' * 32}.parquet", table=table, month="2025-01", rows=5, bytes=9),
            0,
        )
        for table in ("study=a/check_result",)
        for n in range(1, 60)
    ]  # fmt: skip
    assert choose({"study=a/check_result": files}, JAN) == []
    (job,) = choose({"study=a/check_result": files}, JAN + 40 * DAY)
    assert len(job.files) == 59
