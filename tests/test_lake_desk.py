"""The desk on the real lake: one study's views, locked; trends; rows by stratum; what was asked; the audit."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import requests
from pipelines.audit import AuditBroken
from pipelines.consent.register import Register
from pipelines.entries import Kind, LakeError, TableChange
from pipelines.keys import KeyRing
from pipelines.lake_desk import LakeDesk
from pipelines.ledger import Ledger
from pipelines.live_tables import LiveTables
from pipelines.requests import everything
from pipelines.settings import Settings, load_settings
from pipelines.views import QueryRefused
from quality.desk import Seen, Stratum
from schemas.families import CHECK_COUNT, CHECK_RESULT, FAMILIES, QUARANTINE
from tests.desks import VIEWS
from tests.lakes import HOUR, JAN, Driver, rows
from tests.test_kits import LATER, NOW, ONE, TWO, activation, news, told
from tests.test_register import DAY, LINKS, event, tell

FIFTEENTH = date(2025, 1, 15)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "wellspring.yaml").write_text("{}\n", encoding="utf-8")
    keeps = "basis_after_withdrawal: public_interest_research"
    studies = f"studies: [{{id: heart-a, title: Hearts, smallest_cell: 5, {keeps}}}, {{id: b}}]\n"
    (tmp_path / "studies.yaml").write_text(studies, encoding="utf-8")
    found = load_settings(tmp_path / "wellspring.yaml")
    for study in ("heart-a", "b"):
        KeyRing(found.vault).create(study)
    return found


@pytest.fixture
def driver(settings: Settings) -> Driver:
    return Driver(settings.lake)


@pytest.fixture
def desk(settings: Settings, driver: Driver) -> Iterator[LakeDesk]:
    with closing(LakeDesk(settings, lambda: JAN)) as made:
        yield made


def land(driver: Driver, family: str, content: pa.Table, study: str = "heart-a", **more: Any) -> None:
    driver.tables.append_and_apply(driver.entry([driver.file(study, content, family)], **more))


def count(desk: LakeDesk, view: str, study: str = "heart-a") -> int:
    found: int = desk.query(study, f"SELECT count(*) AS n FROM {view}").column("n")[0].as_py()
    return found


# -- questions


def test_it_knows_the_registered_studies_and_no_other(desk: LakeDesk) -> None:
    facts = desk.studies()
    assert [*facts] == ["heart-a", "b"]
    assert (facts["heart-a"].title, facts["heart-a"].smallest_cell, facts["b"].smallest_cell) == ("Hearts", 5, 10)
    with pytest.raises(LakeError, match="no study"):
        desk.query("c", "SELECT 1")


def test_every_view_is_there_from_the_beginning_and_empty(desk: LakeDesk) -> None:
    for name, schema in VIEWS.items():
        found = desk.query("heart-a", f"SELECT * FROM {name}")
        assert found.num_rows == 0
        hidden = {"counts", "scale", "zero"}  # a block shows its values, whichever way they lie
        assert [*schema.names] == [n for n in found.schema.names if n != "month"] or hidden & {*schema.names}


def test_a_study_sees_its_own_rows_and_those_of_no_other(driver: Driver, desk: LakeDesk) -> None:
    land(driver, "observation", rows(FAMILIES["observation"], 3))
    land(driver, "observation", rows(FAMILIES["observation"], 5), study="b")
    assert count(desk, "observation") == 3 and count(desk, "observation", "b") == 5
    others = driver.tables.live_files("study=b/observation")[0].path
    for query in (f"FROM read_parquet('{driver.store.uri(others)}')", "FROM b_observation", "FROM glob('/etc/*')"):
        with pytest.raises(QueryRefused):
            desk.query("heart-a", f"SELECT count(*) {query}")


@pytest.mark.parametrize("query", ["DROP VIEW observation", "SET enable_external_access = true", "SELECT 1; SELECT 2"])
def test_it_answers_one_select_and_does_nothing_else(desk: LakeDesk, query: str) -> None:
    with pytest.raises(QueryRefused):
        desk.query("heart-a", query)


def test_what_an_entry_brings_and_takes_is_seen_at_once(driver: Driver, desk: LakeDesk) -> None:
    assert count(desk, "observation") == 0
    land(driver, "observation", rows(FAMILIES["observation"], 3))
    assert count(desk, "observation") == 3
    land(driver, "observation", rows(FAMILIES["observation"], 2, 10))
    assert count(desk, "observation") == 5
    first = next(file for file in driver.tables.live_files("study=heart-a/observation") if file.rows == 3)
    change = {"study=heart-a/observation": TableChange(remove=(first.path,))}
    driver.tables.append_and_apply(driver.ledger.draft(Kind.DISCARD, JAN, cause={}, tables=change))
    driver.store.delete(first.path)
    assert count(desk, "observation") == 2


def test_an_entry_that_is_appended_and_not_applied_yet_counts_once(driver: Driver, desk: LakeDesk) -> None:
    land(driver, "observation", rows(FAMILIES["observation"], 3))
    entry = driver.entry([driver.file("heart-a", rows(FAMILIES["observation"], 4, 10))])
    driver.ledger.append(entry)
    assert count(desk, "observation") == 7
    driver.tables.apply(entry)
    land(driver, "observation", rows(FAMILIES["observation"], 1, 20))
    assert count(desk, "observation") == 8


def test_a_table_that_is_ahead_of_what_is_known_of_the_ledger_shows_no_file_that_has_gone(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "study=heart-a/observation"
    land(driver, "observation", rows(FAMILIES["observation"], 3))
    before = driver.ledger.head()
    (old,) = driver.tables.live_files(table)
    new = driver.file("heart-a", rows(FAMILIES["observation"], 3))
    change = {table: TableChange(add=(new,), remove=(old.path,))}
    driver.tables.append_and_apply(driver.ledger.draft(Kind.COMPACT, JAN, cause={}, tables=change))
    behind = Ledger(driver.store)
    monkeypatch.setattr(behind, "head", lambda: before)
    assert LiveTables(driver.store, behind).files(table) == [new]


def test_a_session_holds_little_and_is_given_back(settings: Settings, driver: Driver) -> None:
    land(driver, "observation", rows(FAMILIES["observation"], 3))
    with closing(LakeDesk(settings, threads=1)) as desk:
        names = ("memory_limit", "threads", "enable_external_file_cache")
        asked = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
        (found,) = desk.query("heart-a", f"SELECT {asked}").to_pylist()
        assert (found["threads"], found["enable_external_file_cache"]) == (1, False)
        assert float(found["memory_limit"].split()[0]) < 512 and "MiB" in found["memory_limit"]
        before = desk._sessions["heart-a"]
        desk.release()
        assert not Path(before.spill.name).exists()
        assert count(desk, "observation") == 3 and desk._sessions["heart-a"] is not before


def test_a_session_is_kept_while_nothing_of_the_study_changes(driver: Driver, desk: LakeDesk) -> None:
    land(driver, "observation", rows(FAMILIES["observation"], 3))
    count(desk, "observation"), count(desk, "observation", "b")
    kept = dict(desk._sessions)
    land(driver, "observation", rows(FAMILIES["observation"], 3, 10))
    count(desk, "observation"), count(desk, "observation", "b")
    assert desk._sessions["b"] is kept["b"] and desk._sessions["heart-a"] is not kept["heart-a"]


def test_threads_take_turns(driver: Driver, desk: LakeDesk) -> None:
    land(driver, "observation", rows(FAMILIES["observation"], 3))
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(count(desk, "observation"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3] * 8


# -- how checks went


def test_the_history_adds_the_gate_s_runs_and_shows_the_job_s_results(driver: Driver, desk: LakeDesk) -> None:
    gate = rows(CHECK_COUNT, 2, check=["PL-01", "PL-01"], n_eval=[10, 5], n_fail=[1, 2], n_na=[0, 3])
    land(driver, "check_count", gate)
    land(driver, "check_count", rows(CHECK_COUNT, 1, check=["TM-06"], n_eval=[7]))
    job = {
        "judge": ["job"] * 2,
        "check": ["PL-01", "WT-01"],
        "n_eval": [4, 9],
        "people": [12, 3],
        "measure": [0.5, None],
    }
    land(driver, "check_result", rows(CHECK_RESULT, 2, **job))
    found = desk.history("heart-a", FIFTEENTH, FIFTEENTH, "PL-01").sort_by("judge").to_pylist()
    assert [(row["judge"], row["day"], row["n_eval"], row["n_fail"], row["n_na"]) for row in found] == [
        ("gate", FIFTEENTH, 15, 3, 3),
        ("job", FIFTEENTH, 4, 0, 0),
    ]
    assert [(row["people"], row["measure"]) for row in found] == [(None, None), (12, 0.5)]
    assert {*desk.history("heart-a", FIFTEENTH, FIFTEENTH)["check"].to_pylist()} == {"PL-01", "TM-06", "WT-01"}
    before = FIFTEENTH - timedelta(days=1)
    assert desk.history("heart-a", before, before).num_rows == desk.history("b", before, FIFTEENTH).num_rows == 0


# -- rows that wait


def test_rows_are_found_by_their_stratum_and_by_number(driver: Driver, desk: LakeDesk) -> None:
    keys = [3, -1, 2**63 - 1, -(2**63)]
    content = rows(
        QUARANTINE, 4, key64=keys, flags=[1, 1, 257, 0], metric=["weight", "weight", "height", "height"],
        start_us=JAN, partner=["acme"] * 4,
    )  # fmt: skip
    land(driver, "quarantine", content)
    page = desk.rows("heart-a", Stratum())
    assert page.total == 4
    numbers = [row["row"] for row in page.rows.to_pylist()]
    assert numbers == ["0000000000000003", "ffffffffffffffff", "7fffffffffffffff", "8000000000000000"]
    assert desk.rows("heart-a", Stratum(check="PL-00")).total == 3
    assert desk.rows("heart-a", Stratum(check="PL-06")).rows["row"].to_pylist() == ["7fffffffffffffff"]
    assert desk.rows("heart-a", Stratum(metric="height", partner="acme")).total == 2
    assert desk.rows("heart-a", Stratum(day=FIFTEENTH)).total == 4
    assert desk.rows("heart-a", Stratum(day=FIFTEENTH + timedelta(days=1))).total == 0
    assert desk.rows("heart-a", Stratum(rows=(numbers[1], numbers[3]))).total == 2
    second = desk.rows("heart-a", Stratum(), limit=2, offset=2)
    assert (second.rows["row"].to_pylist(), second.total) == (numbers[2:], 4)


def test_every_row_waits_whatever_came_of_its_record(driver: Driver, desk: LakeDesk) -> None:
    land(driver, "quarantine", rows(QUARANTINE, 2, record64=[1, 1], revision=[0, 1], status=["F", "W"]))
    assert desk.rows("heart-a", Stratum()).total == count(desk, "quarantine") == 2


# -- participants, kits, outcomes


@pytest.fixture
def register(settings: Settings) -> Iterator[Register]:
    with closing(Register(settings.vault / "register.sqlite")) as opened:
        yield opened


def at_day(day: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)


def test_enrolled_is_who_has_a_live_consent_under_the_study_s_own_names(
    register: Register, settings: Settings, desk: LakeDesk
) -> None:
    tell(register, event("grant", 1, 10, study="heart-a"), event("pause", 2, 20, study="heart-a"))
    tell(register, event("resume", 3, 25, study="heart-a"), event("withdraw", 4, 30, study="heart-a"), at=LATER)
    tell(register, event("grant", 1, 12, "ben", "heart-a", collect_until=40 * DAY), event("grant", 1, 5, "cat", "b"))
    tell(register, event("grant", 2, 12, "dan", "heart-a"))  # an event is missing: nothing is said of dan
    found = desk.query("heart-a", "SELECT * FROM enrolled ORDER BY since").to_pylist()
    mia, ben = (KeyRing(settings.vault).key("heart-a").pseudonym(name) for name in ("mia", "ben"))
    assert [tuple(row.values()) for row in found] == [
        (mia, at_day(10), at_day(20)),
        (ben, at_day(12), at_day(40)),
        (mia, at_day(25), at_day(30)),
    ]
    tell(register, event("withdraw", 2, 45, "ben", "heart-a", mode="erase"), at=LATER)  # as if ben had not been there
    assert desk.query("heart-a", "SELECT * FROM enrolled WHERE pseudonym = ?", [ben]).num_rows == 0
    tell(register, event("grant", 5, 50, study="heart-a"))
    last = desk.query("heart-a", "SELECT * FROM enrolled ORDER BY since DESC LIMIT 1").to_pylist()
    assert [tuple(row.values()) for row in last] == [(mia, at_day(50), None)]


def test_a_study_s_kits_are_those_of_its_members_and_show_no_barcode(register: Register, desk: LakeDesk) -> None:
    told(
        register,
        news("sent", 1),
        news("received", 30),
        news("rejected", 31),
        news("received", 40),
        news("sent", 2, TWO),
    )
    tell(register, event("grant", 1, 10, study="heart-a"))
    tell(register, activation("a"), topic=LINKS)
    (kit,) = desk.query("heart-a", "SELECT * FROM kit").to_pylist()
    assert ONE not in str(kit) and len(kit["barcode_hash"]) == 16
    assert kit["received"] == at_day(NOW // DAY) + timedelta(hours=30)
    assert (kit["rejected_reason"], kit["packed"]) == ("leaked", None)
    assert count(desk, "kit", "b") == 0


def counts(landed: int, withheld: int) -> dict[str, Any]:
    sums = {"considered": landed + withheld, "withheld": {"W_METRIC": withheld}, "quarantined": 0, "duplicate": 0}
    people = {"landed": landed * 10, "W_METRIC": withheld * 10}
    return {"studies": {"heart-a": {**sums, "landed": landed}}, "people": {"heart-a": people}}


def test_outcomes_are_added_by_the_day_on_which_readings_were_judged(
    settings: Settings, driver: Driver, desk: LakeDesk
) -> None:
    land(driver, "observation", rows(FAMILIES["observation"], 3), counts=counts(3, 2))
    assert sum(desk.query("heart-a", "SELECT n FROM outcome")["n"].to_pylist()) == 5
    land(driver, "observation", rows(FAMILIES["observation"], 1, 10), counts=counts(1, 0))
    land(driver, "observation", rows(FAMILIES["observation"], 1, 20), counts=counts(9, 9), kind=Kind.REPLAY)
    driver.now_us += 24 * HOUR
    land(driver, "observation", rows(FAMILIES["observation"], 1, 30), counts=counts(5, 1))
    found = desk.query("heart-a", "SELECT * FROM outcome ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in found] == [
        (FIFTEENTH, "landed", "", 4, None),
        (FIFTEENTH, "withheld", "W_METRIC", 2, None),
        (FIFTEENTH + timedelta(days=1), "landed", "", 5, None),
        (FIFTEENTH + timedelta(days=1), "withheld", "W_METRIC", 1, None),
    ]
    with closing(LakeDesk(settings, lambda: JAN + 24 * HOUR)) as next_day:  # the first day is over
        found = next_day.query("heart-a", "SELECT n, people FROM outcome ORDER BY ALL").to_pylist()
    assert [(row["n"], row["people"]) for row in found] == [(1, None), (2, 20), (4, 30), (5, None)], "of 3 and 1"
    assert count(desk, "outcome", "b") == 0


# -- what is asked


def test_a_request_waits_until_it_is_done_or_refused(driver: Driver, desk: LakeDesk) -> None:
    about = Stratum(check="PL-00", day=FIFTEENTH).as_json()
    first, second = (desk.request("release", "heart-a", about, "ann", "it was so") for _ in range(2))
    waiting = everything(driver.store)
    assert [asked.id for asked in waiting] == [first, second]
    assert waiting[0].request is not None
    assert waiting[0].request.selection == {"study": "heart-a", "by": "ann", "reason": "it was so", "about": about}
    assert desk.answer(first).state == "waiting"
    done = driver.ledger.draft(Kind.RELEASE, JAN, cause={"request": waiting[0].mark, "rows": 7}, tables={})
    driver.tables.append_and_apply(done)
    requests.remove(driver.store, waiting[0])
    assert desk.answer(first)._asdict() == {"id": first, "state": "done", "rows": 7, "entry": done.n, "words": ""}
    requests.refuse(driver.store, waiting[1], "no such rows", JAN)
    assert desk.answer(second)[1:] == ("refused", None, None, "no such rows")
    assert desk.answer("0" * 32).state == "refused"


# -- the audit


def seen(what: str, study: str = "heart-a") -> Seen:
    return Seen(datetime(2025, 1, 15, tzinfo=UTC), "ann", study, what, {"check": "PL-00"})


def test_the_audit_keeps_everything_newest_first(desk: LakeDesk, settings: Settings) -> None:
    for what in ("sign-in", "rows", "release"):
        desk.audit(seen(what))
    desk.audit(seen("rows", "b"))
    assert desk.audited("heart-a") == [seen("release"), seen("rows"), seen("sign-in")]
    assert desk.audited("heart-a", limit=1) == [seen("release")]
    with closing(LakeDesk(settings)) as another:
        assert len(another.audited("b")) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE seen SET by = 'bob' WHERE n = 2", "line 2"),
        ("DELETE FROM seen WHERE n = 2", "line 2"),
        ("DELETE FROM seen WHERE n = 3", "last lines"),
    ],
)
def test_an_audit_that_was_changed_is_noticed(desk: LakeDesk, settings: Settings, change: str, words: str) -> None:
    for what in ("a", "b", "c"):
        desk.audit(seen(what))
    with closing(sqlite3.connect(settings.vault / "audit.sqlite")) as db:
        with pytest.raises(sqlite3.IntegrityError, match="audit"):
            db.execute(change)
        db.executescript("DROP TRIGGER seen_stays; DROP TRIGGER seen_is_kept;")
        db.execute(change)
        db.commit()
    with pytest.raises(AuditBroken, match=words):
        desk.audited("heart-a")
