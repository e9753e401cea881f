"""A day that is signed off, in the lake: it is judged once more, and what is found then stays, whatever comes late."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import judging
from pipelines.answer import answer_next
from pipelines.driver import Driver
from pipelines.entries import Entry, Kind, TableChange
from pipelines.files import table_key
from pipelines.lake_desk import LakeDesk
from pipelines.landing import publish
from pipelines.requests import ask, selection_of
from quality import counts
from quality.job.times import as_day
from quality.overview import by_check
from tests.planted import FIRST, MINUTE, at
from tests.test_job_counted import LATE, counts_of, observed, seen_by
from tests.test_judging import NOW, make, turns

DAY = as_day(FIRST)
pytestmark = pytest.mark.usefixtures("cheap_sessions")


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    with closing(make(tmp_path)) as made:
        monkeypatch.setattr(judging, "TURN_S", 1e9)  # however busy the machine is
        monkeypatch.setattr(made, "consent_now", lambda: None)
        made._snapshot = SimpleNamespace(path="snapshot")  # type: ignore[assignment]
        made.commits.teller = SimpleNamespace(rejected=lambda *words: None)  # type: ignore[assignment]
        yield made


def land(driver: Driver, *people: int, failing: int) -> Entry:
    """An entry with three rows of each of these people, of whom so many fail, and the gate's counts of them."""
    changes: dict[str, TableChange] = {}
    times = [at(FIRST, 8) + n * MINUTE for n in range(3)]
    rates = [observed(f"p{n}", 3, LATE * (place < failing), received=times) for place, n in enumerate(people)]
    now = driver.ledger.next_n, driver.ledger.epoch
    for family, content in (
        ("observation", rates),
        ("check_count", [counts_of(seen_by({"observation": r})) for r in rates]),
    ):
        key = table_key("a", family)
        files = [publish(driver.store, table, key, "2025-03", *now) for table in content]
        changes[key] = TableChange(add=tuple(files))
    return driver.note(Kind.INGEST, {}, changes)


def told(driver: Driver) -> dict[str, Any]:
    """PL-01's numbers of the day as the desk knows them."""
    with closing(LakeDesk(driver.settings, lambda: NOW)) as desk:
        found: dict[str, Any] = dict(by_check(counts.check_days(desk, "a", DAY, DAY))["PL-01"][DAY])
    return found


def numbers(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("n_eval", "n_fail", "people", "people_failing", "is_final"))


def sign_off(driver: Driver) -> None:
    ask(driver.ledger, "sign-off", selection_of("a", "bob", "seen", {"day": DAY.isoformat()}), NOW)
    with pytest.MonkeyPatch.context() as on_that_day:
        on_that_day.setattr(driver, "clock", lambda: at(FIRST, 23))
        entry = answer_next(driver)
    assert entry is not None and entry.kind == Kind.DECIDE


def test_what_is_told_of_a_day_follows_what_comes_until_it_is_signed_off(driver: Driver) -> None:
    land(driver, *range(12), failing=10)
    assert numbers(told(driver)) == (36, 30, None, None, False), "nobody knows of how many people before it is judged"
    turns(driver)
    assert numbers(told(driver)) == (36, 30, 12, 10, False)
    land(driver, 20, failing=1)
    turns(driver)
    assert numbers(told(driver)) == (39, 33, 13, 11, False)
    sign_off(driver)
    assert numbers(told(driver)) == (39, 33, 13, 11, False), "not yet judged since"
    assert turns(driver) >= 1
    assert numbers(told(driver)) == (39, 33, 13, 11, True)
    land(driver, 21, 22, failing=2)
    turns(driver)
    assert numbers(told(driver)) == (39, 33, 13, 11, True)
    with closing(LakeDesk(driver.settings, lambda: NOW)) as desk:
        assert desk.query("a", "SELECT sum(n_eval) AS n FROM check_count WHERE \"check\" = 'PL-01'")[
            "n"
        ].to_pylist() == [45]
        (row,) = desk.query("a", "SELECT people FROM day_summary WHERE level = 'study'").to_pylist()
    assert row == {"people": 15}, "the job goes on to know what is there"
