"""Requests: created once and durable, in order, answered exactly once whatever is killed, and refused in words."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.kafka import KafkaUnreachable
from pipelines import answer, follow
from pipelines.answer import answer_next
from pipelines.entries import Entry, Kind, LakeError, RequestRefused, rfc3339
from pipelines.follow import LOOK_S, follow_until, work_off
from pipelines.holds import Changes
from pipelines.law import LawBroken
from pipelines.ledger import Ledger
from pipelines.progress import Progress, json_of
from pipelines.requests import (
    FOLDER,
    REFUSED_KEPT_US,
    Asked,
    Change,
    Request,
    ask,
    at,
    everything,
    forget_refused,
    refuse,
    remove,
)
from pipelines.store import FolderStore
from pipelines.wanted import Wanted, parse_ranges, selection, wanted_of
from pipelines.watch import Watch
from tests.lakes import JAN, Crash
from tests.lakes import Driver as SmallDriver


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A lake on which a driver has run."""
    SmallDriver(tmp_path)
    return FolderStore(tmp_path)


def asked(store: FolderStore, number: int = 1, kind: str = "count") -> Asked:
    """Left behind: a request for that many entries."""
    return ask(Ledger(store), kind, {"left": number}, JAN)


def numbers(store: FolderStore) -> list[int]:
    return [request.n for request in everything(store)]


# -- the objects


def test_a_request_is_there_with_what_it_asks(store: FolderStore) -> None:
    left = asked(store)
    (key,) = store.list(FOLDER)
    assert key == left.key and left.id in key and left.waits
    assert json.loads(store.get(key) or b"") == {
        "kind": "count", "selection": {"left": 1}, "asked_at": "2025-01-15T00:00:00.000000Z", "refused": "", "refused_at": "",
    }  # fmt: skip
    assert at(store, key) == left and everything(store) == [left]
    remove(store, left)
    assert at(store, key) is None and everything(store) == []


def test_requests_have_numbers_in_their_order_and_ids_at_random(store: FolderStore) -> None:
    left = [asked(store) for _ in range(3)]
    assert numbers(store) == [1, 2, 3]
    assert len({one.id for one in left}) == 3
    remove(store, left[0])
    asked(store)
    assert numbers(store) == [2, 3, 4]


def test_two_that_are_left_at_one_moment_are_both_there(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.requests.everything", lambda store: [])
    left = [asked(store), asked(store)]
    assert everything(store) == sorted(left) and numbers(store) == [1, 1]


def test_a_lake_that_nobody_has_driven_is_asked_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="no ledger yet"):
        ask(Ledger(FolderStore(tmp_path / "elsewhere")), "count", {}, JAN)
    assert not (tmp_path / "elsewhere").exists()


def test_an_answer_that_got_lost_is_settled_by_looking(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written = store.put_new

    def lost(key: str, data: bytes) -> None:
        written(key, data)
        raise OSError("no answer")

    monkeypatch.setattr(store, "put_new", lost)
    left = asked(store)
    assert everything(store) == [left]
    monkeypatch.setattr(store, "put_new", lambda key, data: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        asked(store)


def test_what_is_no_request_by_its_name_is_let_alone(store: FolderStore) -> None:
    for name in ("notes.txt", "000000000001.json", f"1-{'a' * 32}.json", f"000000000001-{'A' * 32}.json"):
        store.put(f"{FOLDER}{name}", b"x")
    assert everything(store) == []
    assert asked(store).n == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"kind": 1}', b'{"kind": "count", "selection": {}, "asked_at": "x", "more": 1}'],
)
def test_what_cannot_be_read_waits_as_such(store: FolderStore, content: bytes) -> None:
    key = f"{FOLDER}000000000007-{'a' * 32}.json"
    store.put(key, content)
    assert everything(store) == [Asked(7, "a" * 32, None)]
    assert everything(store)[0].waits
    assert asked(store).n == 8


def test_what_was_refused_stays_for_a_week(store: FolderStore) -> None:
    left, other = asked(store), asked(store)
    refuse(store, left, "because", JAN)
    found = at(store, left.key)
    assert found is not None and not found.waits and found.request is not None
    assert (found.request.refused, found.request.refused_at) == ("because", rfc3339(JAN))
    forget_refused(store, everything(store), JAN + REFUSED_KEPT_US)
    assert numbers(store) == [1, 2]
    forget_refused(store, everything(store), JAN + REFUSED_KEPT_US + 1)
    assert everything(store) == [other]


# -- records by name


def test_records_are_named_and_named_back() -> None:
    texts = ["acme.sensor-reading.v1", "acme.sensor-reading.v1/3", "acme.sensor-reading.v1/0:5-7"]
    wanted = parse_ranges(texts)
    assert wanted[1:] == [Wanted("acme.sensor-reading.v1", 3), Wanted("acme.sensor-reading.v1", 0, 5, 7)]
    assert selection(wanted) == {"ranges": texts}
    assert wanted_of(selection(wanted)) == wanted


@pytest.mark.parametrize("text", ["", "A", "t/x", "t/0:5", "t/0:5-", "t:5-7", "t\n", "t/٣", "t/0:0-" + "9" * 30])
def test_other_texts_name_no_records(text: str) -> None:
    with pytest.raises(RequestRefused, match="--replay takes TOPIC"):
        parse_ranges([text])


@pytest.mark.parametrize(
    "selected", [{}, {"ranges": []}, {"ranges": [1]}, {"ranges": "t"}, {"ranges": ["t"], "more": 1}]
)
def test_other_selections_name_no_records(selected: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused, match="does not name the records"):
        wanted_of(selected)


# -- answering


class StandIn:
    """As much of a driver as answering needs: each commit is an entry, and a crash or an error may come at each step."""

    def __init__(self, root: Path) -> None:
        self.small = SmallDriver(root)
        self.store, self.ledger = self.small.store, self.small.ledger
        self.said: list[str] = []
        self.now_us = JAN
        self.unfinished: Any = None
        self.fails: Callable[[str], None] = lambda step: None

    def clock(self) -> int:
        return self.now_us

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        yield

    def commit(self, plan: Any, progress: Progress, changes: Changes, cause: dict[str, Any]) -> Entry:
        self.fails("commit")
        entry = self.ledger.draft(plan.kind, self.now_us, cause=cause, tables={}, progress=json_of(progress))
        self.small.tables.append_and_apply(entry)
        self.fails("committed")
        return entry


def count(driver: Any, selected: Any) -> Change:
    """A kind that becomes as many entries as it says."""
    if not isinstance(selected.get("left"), int):
        raise RequestRefused("how many is not said")
    left = selected["left"] - 1
    plan: Any = SimpleNamespace(kind=Kind.REPLAY)
    return Change(plan, Changes([], [], []), {"left": left}, {"left": left} if left else None)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(answer.KINDS, "count", count)
    return StandIn(tmp_path)


def answers(store: FolderStore) -> list[tuple[Any, Any]]:
    """Which request each entry answers, and what of it was left."""
    causes: list[Any] = [entry.cause for entry in Ledger(store).entries() if "request" in entry.cause]
    return [(cause["request"]["n"], cause["left"]) for cause in causes]


def answer_all(driver: Any) -> int:
    done = 0
    while answer_next(driver):
        done += 1
        assert done < 50, "it does not end"
    return done


def test_requests_are_done_in_their_order_an_entry_at_a_time(driver: Any) -> None:
    left = [asked(driver.store, 2), asked(driver.store, 1), asked(driver.store, 3)]
    entry = answer_next(driver)
    assert entry is not None and entry.cause["request"] == left[0].mark == {"n": 1, "id": left[0].id}
    assert answers(driver.store) == [(1, 1)] and numbers(driver.store) == [1, 2, 3]
    assert answer_all(driver) == 5
    assert answers(driver.store) == [(1, 1), (1, 0), (2, 0), (3, 2), (3, 1), (3, 0)]
    assert everything(driver.store) == [] and driver.said == []
    assert answer_next(driver) is None
    assert asked(driver.store).n == 4  # no number twice


def test_what_was_begun_is_brought_to_its_end_first(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(driver.store, 1)
    answer_next(driver)
    late, early = asked(driver.store, 3), Asked(1, "0" * 32, Request(kind="count", selection={"left": 1}, asked_at=""))
    answer_next(driver)
    assert early.request is not None
    driver.store.put_new(early.key, early.request.model_dump_json().encode())
    assert early < late
    answer_all(driver)
    assert answers(driver.store) == [(1, 0), (2, 2), (2, 1), (2, 0), (1, 0)]


@pytest.mark.parametrize("entries", [1, 3])
@pytest.mark.parametrize("place", range(12))
def test_a_kill_at_any_step_does_nothing_twice(
    driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: int, place: int
) -> None:
    steps: list[str] = []

    def crash(step: str) -> None:
        steps.append(step)
        if len(steps) == place + 1:
            raise Crash(step)

    def crash_then_remove(*words: Any) -> None:
        crash("remove")
        remove(*words)
        crash("removed")

    asked(driver.store, entries)
    asked(driver.store, 1)
    driver.fails = crash
    monkeypatch.setattr(answer, "remove", crash_then_remove)
    try:
        answer_all(driver)
    except Crash:
        driver = StandIn(tmp_path)
        answer_all(driver)
    assert answers(driver.store) == [*((1, left) for left in reversed(range(entries))), (2, 0)]
    assert everything(driver.store) == []


KNOWN = sorted({*answer.KINDS, *answer.DECISIONS, "count"})


@pytest.mark.parametrize(
    ("kind", "selected", "why"),
    [
        ("nonsense", {}, f"it is of a kind that this driver does not know; it knows {', '.join(KNOWN)}"),
        ("count", {"much": 1}, "how many is not said"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words_and_holds_up_nothing(
    driver: Any, kind: str, selected: dict[str, Any], why: str
) -> None:
    left = ask(driver.ledger, kind, selected, JAN)
    asked(driver.store, 1)
    assert answer_all(driver) == 1
    assert answers(driver.store) == [(2, 0)]
    found = at(driver.store, left.key)
    assert found is not None and found.request is not None and not found.waits
    assert (found.request.kind, found.request.selection, found.request.refused) == (kind, selected, why)
    assert driver.said == [f"request 1 is refused: {why}"]
    assert answer_next(driver) is None and len(driver.said) == 1
    driver.now_us += REFUSED_KEPT_US + 1
    assert answer_next(driver) is None and everything(driver.store) == []


def test_a_damaged_request_is_refused_and_its_content_not_kept(driver: Any) -> None:
    key = f"{FOLDER}000000000007-{'a' * 32}.json"
    driver.store.put(key, b'{"zq-somebody')
    assert answer_next(driver) is None
    found = at(driver.store, key)
    assert found is not None and found.request is not None and not found.waits
    assert found.request.refused == "it cannot be read: ask again"
    assert b"zq" not in (driver.store.get(key) or b"") and "zq" not in str(driver.said)


def test_a_run_that_breaks_the_law_refuses_its_request_alone(driver: Any) -> None:
    asked(driver.store, 1)
    asked(driver.store, 1)

    def once(step: str) -> None:
        if not driver.said:
            raise LawBroken("the sums differ")

    driver.fails = once
    assert answer_all(driver) == 1
    assert driver.said == ["request 1 is refused: the sums differ"] and answers(driver.store) == [(2, 0)]


@pytest.mark.parametrize("error", [KafkaUnreachable("away"), ZeroDivisionError(), LakeError("a file is not there")])
def test_what_is_no_fault_of_the_request_leaves_it_waiting(driver: Any, error: Exception) -> None:
    left = asked(driver.store, 1)

    def fail(step: str) -> None:
        raise error

    driver.fails = fail
    with pytest.raises(type(error)):
        answer_next(driver)
    assert everything(driver.store) == [left] and left.waits


# -- watching


def watched(driver: Any, left: int) -> Watch:
    return Watch(driver.store, "count", {"left": left})


def test_a_watch_tells_the_entries_of_its_request_and_no_others(driver: Any) -> None:
    asked(driver.store, 1)
    watch = watched(driver, 2)
    assert watch.look() == [] and not watch.is_over
    assert watch.state() == "request 2 waits for the driver, with 1 before it"
    answer_next(driver)
    assert watch.look() == []
    assert watch.state() == "request 2 waits for the driver"
    first = answer_next(driver)
    assert watch.look() == [first] and not watch.is_over
    assert watch.state() == "request 2 is at work: 1 of its entries are there"
    second = answer_next(driver)
    asked(driver.store, 1)
    answer_next(driver)
    assert watch.look() == [second]
    assert watch.is_over and watch.refused == ""


def test_a_watch_tells_why_it_was_refused(driver: Any) -> None:
    watch = Watch(driver.store, "count", {})
    answer_next(driver)
    assert watch.look() == [] and watch.is_over and watch.refused == "how many is not said"


@pytest.mark.parametrize("done", [0, 1])
def test_a_watch_does_not_take_what_is_gone_for_done(driver: Any, done: int) -> None:
    watch = watched(driver, 2)
    for _ in range(done):
        answer_next(driver)
    remove(driver.store, watch.asked)
    assert len(watch.look()) == done
    assert watch.is_over and watch.refused == "it was taken away before it was done"


def test_a_watch_that_looks_while_it_is_done_misses_no_entry(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def just_in_time(store: FolderStore, key: str) -> Asked | None:
        answer_all(driver)
        return at(store, key)

    watch = watched(driver, 2)
    monkeypatch.setattr("pipelines.watch.at", just_in_time)
    assert len(watch.look()) == 2
    assert watch.is_over and watch.refused == ""


# -- following


class Following(StandIn):
    """A driver that follows: notes what it does, and stops after so many doings. `days` are left to judge."""

    def __init__(self, root: Path, busy: bool, most: int, days: int = 0) -> None:
        super().__init__(root)
        limits, quality = SimpleNamespace(freshness_s=3600.0), SimpleNamespace(every_s=60.0)
        self.settings, self.days = SimpleNamespace(limits=limits, quality=quality), days
        self.done: list[str] = []
        self.stop, self._busy, self._most = threading.Event(), busy, most
        self.fails = lambda step: self._note("entry") if step == "committed" else None

    def cycle(self) -> list[str]:
        self._note("cycle")
        return ["entry"] if self._busy else []

    def a_plan_waits(self) -> bool:
        return True

    def _note(self, what: str) -> None:
        self.done.append(what)
        if len(self.done) == self._most:
            self.stop.set()


class Judge:
    """The quality job of a driver that follows."""

    is_busy = False

    def __init__(self, driver: Following) -> None:
        self._driver = driver

    def turn(self, every_s: float = 0.0) -> str | None:
        if not self._driver.days:
            return None
        self._driver.days -= 1
        self._driver._note("judge")
        return "entry"

    def close(self) -> None:
        self._driver.done.append("closed")


@pytest.fixture(autouse=True)
def _judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "Judging", Judge)
    does = dict.fromkeys(("turn", "finish", "close", "missed"), lambda: None) | {"cycled": lambda seconds: None}
    monkeypatch.setattr(follow, "Lookout", lambda *_: SimpleNamespace(**does))
    monkeypatch.setattr(follow, "SuiteTurns", lambda *_: SimpleNamespace(**does))


class LongJudge(Judge):
    """It needs three turns for a day."""

    _parts = 0

    @property
    def is_busy(self) -> bool:  # type: ignore[override]
        return self._parts % 3 > 0

    def turn(self, every_s: float = 0.0) -> str | None:
        self._parts += 1 if self._driver.days else 0
        if not self.is_busy:
            return super().turn(every_s)
        self._driver._note("part")
        return None


def test_a_large_day_is_judged_between_cycles_and_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "Judging", LongJudge)
    driver: Any = Following(tmp_path, busy=False, most=99, days=1)
    work_off(driver)
    assert driver.done == ["cycle", "part", "cycle", "part", "cycle", "judge", "cycle", "closed"]
    driver = Following(tmp_path, busy=False, most=4, days=2)
    monkeypatch.setattr(driver.stop, "wait", lambda seconds: pytest.fail("it waits"))
    follow_until(driver, driver.stop, lambda text: None)
    assert driver.done == ["cycle", "part", "part", "judge", "closed"]


def test_what_has_changed_is_judged_when_nothing_else_is_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(answer.KINDS, "count", count)
    driver: Any = Following(tmp_path, busy=False, most=4, days=9)
    asked(driver.store, 1)
    follow_until(driver, driver.stop, lambda text: None)
    assert driver.done == ["cycle", "entry", "judge", "judge", "closed"]


def test_a_full_backlog_is_not_kept_waiting_by_what_is_to_be_judged(tmp_path: Path) -> None:
    driver: Any = Following(tmp_path, busy=True, most=3, days=9)
    follow_until(driver, driver.stop, lambda text: None)
    assert driver.done == ["cycle", "cycle", "cycle", "closed"]


def test_a_request_does_not_wait_until_the_next_cycle_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(answer.KINDS, "count", count)
    driver: Any = Following(tmp_path, busy=False, most=3)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        assert not waited  # then it has seen the request
        waited.append(seconds)
        asked(driver.store, 2)

    monkeypatch.setattr(driver.stop, "wait", wait)
    follow_until(driver, driver.stop, lambda text: None)
    assert driver.done == ["cycle", "entry", "entry", "closed"] and waited[0] <= LOOK_S


def test_a_driver_gives_memory_back_before_it_waits_and_not_between_two_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver: Any = Following(tmp_path, busy=False, most=9, days=1)
    monkeypatch.setattr(follow, "give_back", lambda: driver.done.append("given back"))
    monkeypatch.setattr(driver.stop, "wait", lambda seconds: driver.stop.set())
    follow_until(driver, driver.stop, lambda text: None)
    assert driver.done == ["cycle", "judge", "given back", "closed"]
    idle: Any = Following(tmp_path, busy=False, most=9)
    monkeypatch.setattr(follow, "give_back", lambda: idle.done.append("given back"))
    monkeypatch.setattr(idle.stop, "wait", lambda seconds: idle.stop.set())
    follow_until(idle, idle.stop, lambda text: None)
    assert idle.done == ["cycle", "closed"], "it has used nothing since it waited last"
    busy: Any = Following(tmp_path, busy=True, most=3)
    monkeypatch.setattr(follow, "give_back", lambda: busy.done.append("given back"))
    follow_until(busy, busy.stop, lambda text: None)
    assert busy.done == ["cycle", "cycle", "cycle", "closed"]


def test_a_long_request_and_a_full_backlog_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(answer.KINDS, "count", count)
    driver: Any = Following(tmp_path, busy=True, most=6)
    asked(driver.store, 9)
    follow_until(driver, driver.stop, lambda text: None)
    assert driver.done == [*["cycle", "entry"] * 3, "closed"]


def test_working_off_ends_when_nothing_of_all_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(answer.KINDS, "count", count)
    driver: Any = Following(tmp_path, busy=False, most=99, days=1)
    asked(driver.store, 2)
    work_off(driver)
    assert driver.done == ["cycle", "entry", "cycle", "entry", "cycle", "judge", "cycle", "closed"]
