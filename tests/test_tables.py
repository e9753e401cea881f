import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pipelines import delta, tables
from pipelines.entries import Entry, Fenced, Kind, LakeError, LedgerLost, TableChange
from pipelines.files import describe, new_key
from pipelines.ledger import Ledger
from pipelines.store import FolderStore
from pipelines.tables import Tables
from schemas.families import FAMILIES
from tests.lakes import JAN, Crash, CrashAt, Driver, buckets_in, keys_landed, noting, rows

A, B = "study=a/observation", "study=b/observation"


def landed(root: Path) -> dict[str, list[int]]:
    store = FolderStore(root)
    return {table: keys_landed(store, table) for table in (A, B) if (root / table / "_delta_log").exists()}


def test_an_entry_makes_its_tables_and_later_ones_add_to_them(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.land("a", "b")
    driver.land("a")
    assert landed(tmp_path) == {A: [2000, 2001, 2002, 3000, 3001, 3002], B: [2000, 2001, 2002]}
    table = DeltaTable(str(tmp_path / A))
    assert (table.version(), table.transaction_version("wellspring")) == (1, 3)
    assert table.metadata().partition_columns == ["month"]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_lands_and_is_read_back_as_it_was(tmp_path: Path, family: str) -> None:
    driver = Driver(tmp_path)
    content = rows(FAMILIES[family], 2)
    driver.tables.append_and_apply(driver.entry([driver.file("a", content, family)]))
    uri = DeltaTable(str(tmp_path / f"study=a/{family}")).file_uris()[0]
    assert pq.ParquetFile(uri).read().replace_schema_metadata(None).equals(content)


def test_the_log_says_nothing_of_a_person(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    content = rows(FAMILIES["observation"], 2, pseudonym=["PLANTED"] * 2, origin=[b"PLANTED"] * 2)
    driver.tables.append_and_apply(driver.entry([driver.file("a", content)]))
    log = (tmp_path / A / "_delta_log/00000000000000000000.json").read_text()
    add = next(json.loads(line)["add"] for line in log.splitlines() if "add" in json.loads(line))
    assert set(json.loads(add["stats"])["minValues"]) == {"pbucket", "start"}
    assert "PLANTED" not in log
    assert "key64" not in add["stats"]


def of_bucket(driver: Driver, *buckets: int) -> Entry:
    """An entry that adds a file of one person for each of these buckets."""
    first = driver.ledger.next_n * 1000
    contents = [rows(FAMILIES["observation"], 2, first + 10 * b, pbucket=[b] * 2) for b in buckets]
    return driver.entry([driver.file("a", content) for content in contents])


def test_the_ledger_has_no_hash_of_a_person_and_delta_finds_their_files(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.tables.append_and_apply(of_bucket(driver, 3, 20_301))
    control = [path.read_text() for path in (tmp_path / "_control").rglob("*.json")]
    assert len(control) > 1 and not any(word in text for text in control for word in ("bucket", ":20301"))
    first, second = driver.ledger.head().tables[A].add  # type: ignore[union-attr]
    assert buckets_in(driver.store, A) == {first.path: (3, 3), second.path: (20_301, 20_301)}


def test_a_recovered_entry_has_the_statistics_too(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    with pytest.raises(Crash):
        driver.tables.append_and_apply(of_bucket(driver, 3), CrashAt(STEPS.index("append.done")))
    (entry,) = Driver(tmp_path).recovered
    assert buckets_in(driver.store, A) == {entry.tables[A].add[0].path: (3, 3)}


def test_a_footer_is_read_once_for_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, read = Driver(tmp_path), []
    monkeypatch.setattr(tables, "footer", noting(read, tables.footer, 1))
    entry = of_bucket(driver, 3, 4)
    driver.tables.append_and_apply(entry)
    assert sorted(read) == sorted(file.path for file in entry.tables[A].add)


def test_a_file_that_says_no_bucket_lands_without(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    file = driver.file("a", rows(FAMILIES["observation"], 2))
    content = pq.read_table(tmp_path / file.path, partitioning=None)
    pq.write_table(content, tmp_path / file.path, write_statistics=False)
    size = (tmp_path / file.path).stat().st_size
    driver.tables.append_and_apply(driver.entry([file.model_copy(update={"bytes": size})]))
    log = (tmp_path / A / "_delta_log/00000000000000000000.json").read_text()
    add = next(json.loads(line)["add"] for line in log.splitlines() if "add" in json.loads(line))
    assert set(json.loads(add["stats"])["minValues"]) == {"start"}


def replacement(driver: Driver) -> Entry:
    """An entry that takes table a's files away and gives it and table b one each: every kind of step."""
    gone = tuple(file.path for file in driver.tables.live_files(A))
    first = driver.ledger.next_n * 1000
    files = [driver.file(study, rows(FAMILIES["observation"], 2, first)) for study in ("a", "b")]
    draft = driver.entry(files, Kind.REPLAY)
    change = draft.tables[A].model_copy(update={"remove": gone})
    return draft.model_copy(update={"tables": {**draft.tables, A: change}})


STEPS = [
    "append.checked",
    "append.done",
    "apply.table",
    "apply.committed",
    "apply.synced",
    "apply.table",
    "apply.committed",
    "apply.synced",
    "apply.done",
]


def test_the_steps_of_a_commit(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    steps = CrashAt(99)
    driver.tables.append_and_apply(replacement(driver), steps)
    assert steps.steps == STEPS
    assert landed(tmp_path) == {A: [3000, 3001], B: [3000, 3001]}


@pytest.mark.parametrize("place", range(len(STEPS)))
def test_a_crash_at_any_step_leaves_all_of_an_entry_or_nothing(tmp_path: Path, place: int) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    with pytest.raises(Crash):
        driver.tables.append_and_apply(replacement(driver), CrashAt(place))
    Driver(tmp_path)
    before, after = {A: [2000, 2001, 2002]}, {A: [3000, 3001], B: [3000, 3001]}
    assert landed(tmp_path) == (before if STEPS[place] == "append.checked" else after)


def test_a_crash_in_the_recovery_of_a_crash_is_recovered(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    with pytest.raises(Crash):
        driver.tables.append_and_apply(replacement(driver), CrashAt(STEPS.index("append.done")))
    for place in range(3):
        ledger = Ledger(driver.store)
        ledger.takeover(JAN, {})
        with pytest.raises(Crash):
            Tables(driver.store, ledger).recover(CrashAt(place))
    assert [entry.n for entry in Driver(tmp_path).recovered] == [3]
    assert landed(tmp_path) == {A: [3000, 3001], B: [3000, 3001]}


def test_recovery_opens_only_tables_of_entries_that_may_be_unapplied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(tmp_path)
    driver.land("b")
    driver.land("a")
    opened: list[str] = []
    monkeypatch.setattr(delta, "open_table", noting(opened, delta.open_table, 1))
    assert [entry.n for entry in Driver(tmp_path).recovered] == [3]
    assert set(opened) == {A}


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_commit_cut_off_by_a_power_cut_is_done_again(tmp_path: Path, share: float) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    driver.land("a")
    commit = tmp_path / delta.log_key(A, 1)
    os.truncate(commit, int(commit.stat().st_size * share))
    Driver(tmp_path)
    assert landed(tmp_path)[A] == [2000, 2001, 2002, 3000, 3001, 3002]


def test_the_commit_is_synced_before_the_entry_counts_as_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(tmp_path)
    synced: list[str] = []
    monkeypatch.setattr(FolderStore, "sync", lambda _, key: synced.append(key))
    driver.land("a", "b")
    assert synced == [delta.log_key(A, 0), delta.log_key(B, 0)]


def test_an_entry_says_through_where_all_is_applied(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    assert [driver.land("a").applied_through for _ in range(3)] == [1, 2, 3]
    assert driver.ledger.takeover(JAN, {}).applied_through == 3


def test_the_older_of_two_drivers_is_fenced_and_nothing_doubles(tmp_path: Path) -> None:
    old = Driver(tmp_path)
    old.land("a")
    late = old.entry([old.file("a", rows(FAMILIES["observation"], 2, 9000))])
    new = Driver(tmp_path)
    new.land("a")
    with pytest.raises(Fenced):
        old.tables.append_and_apply(late)
    assert landed(tmp_path)[A] == [2000, 2001, 2002, 4000, 4001, 4002]


def test_a_driver_paused_after_its_append_finds_its_entry_applied_by_the_next(tmp_path: Path) -> None:
    old = Driver(tmp_path)
    old.land("a")
    entry = old.entry([old.file("a", rows(FAMILIES["observation"], 2, 9000))])
    old.ledger.append(entry)
    new = Driver(tmp_path)
    with pytest.raises(Fenced):
        old.tables.apply(entry)
    new.land("a")
    with pytest.raises(Fenced):
        old.tables.apply(entry)
    assert landed(tmp_path)[A] == [2000, 2001, 2002, 5000, 5001, 5002, 9000, 9001]


@pytest.mark.parametrize("study", ["a", "b"])
def test_a_zombie_that_commits_on_a_stale_handle_is_fenced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: str
) -> None:
    """Paused between its open and its commit: of a table that is there, and of one that it would create."""
    old = Driver(tmp_path)
    old.land("a")
    entry = old.entry([old.file(study, rows(FAMILIES["observation"], 2, 9000))])
    old.ledger.append(entry)
    commit = delta.commit

    def paused(*args: object) -> None:
        monkeypatch.setattr(delta, "commit", commit)
        Driver(tmp_path)
        commit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(delta, "commit", paused)
    with pytest.raises(Fenced):
        old.tables.apply(entry)
    assert landed(tmp_path)[f"study={study}/observation"].count(9000) == 1


def test_a_commit_of_something_else_between_open_and_commit_is_not_built_upon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    commit = delta.commit

    def interrupted(*args: object) -> None:
        DeltaTable(str(tmp_path / A)).alter.set_table_properties({"delta.appendOnly": "false"})
        commit(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(delta, "commit", interrupted)
    with pytest.raises(LakeError, match="entry 3 could not be committed"):
        driver.land("a")
    assert landed(tmp_path)[A] == [2000, 2001, 2002]


@pytest.mark.parametrize("error", [DeltaError("conflict with its own second try"), OSError("no answer")])
@pytest.mark.parametrize("was_done", [True, False])
def test_a_commit_that_answered_an_error_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, was_done: bool
) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    commit = delta.commit

    def unanswered(*args: object) -> None:
        if was_done:
            commit(*args)  # type: ignore[arg-type]
        raise error

    monkeypatch.setattr(delta, "commit", unanswered)
    if was_done:
        driver.land("a")
    else:
        with pytest.raises(LakeError, match="entry 3 could not be committed"):
            driver.land("a")
    monkeypatch.setattr(delta, "commit", commit)
    Driver(tmp_path)
    assert len(landed(tmp_path)[A]) == 6


def copied(tmp_path: Path, part: str) -> Callable[[], None]:
    """A copy of part of the lake now; calling the result restores it."""
    shutil.copytree(tmp_path / "lake" / part, tmp_path / "copy")

    def restore() -> None:
        shutil.rmtree(tmp_path / "lake" / part)
        shutil.copytree(tmp_path / "copy", tmp_path / "lake" / part)

    return restore


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("_control", f"{A} is ahead of the ledger"),
        ("_control/ledger", "not the one that this lake was written with"),
        (A, f"{A} is older than the ledger"),
    ],
)
def test_what_was_restored_from_an_older_copy_is_refused(tmp_path: Path, part: str, told: str) -> None:
    driver = Driver(tmp_path / "lake")
    driver.land("a")
    Driver(tmp_path / "lake")
    restore = copied(tmp_path, part)
    driver = Driver(tmp_path / "lake")
    driver.land("a", "b")
    driver.land("b")
    Driver(tmp_path / "lake")
    restore()
    ledger = Ledger(driver.store)
    with pytest.raises(LedgerLost, match=told) as lost:
        Tables(driver.store, ledger).verify()
    assert lost.value.exit_code == 4
    with pytest.raises(LedgerLost):
        Driver(tmp_path / "lake")


def test_an_older_table_is_refused_without_the_saved_standing_too(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "lake")
    driver.land("a")
    restore = copied(tmp_path, A)
    driver.land("a")
    driver.land("b")
    restore()
    driver.store.delete("_control/standing.json")
    with pytest.raises(LedgerLost, match="is older than the ledger"):
        Driver(tmp_path / "lake")


def test_an_older_table_is_noticed_by_the_running_driver(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "lake")
    driver.land("a")
    restore = copied(tmp_path, A)
    driver.land("a")
    restore()
    with pytest.raises(LedgerLost, match="is older than the ledger"):
        driver.land("a")
    entry = driver.entry([])
    driver.ledger.append(entry)
    assert driver.ledger.read(entry.n).tables == {}, "and nothing was appended for it"


def test_a_table_that_changes_under_the_apply_stops_the_driver(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    entry = driver.entry([driver.file("a", rows(FAMILIES["observation"], 2, 9000))])
    driver.ledger.append(entry)
    DeltaTable(str(tmp_path / A)).delete()
    with pytest.raises(LedgerLost, match="the table is an older copy, or something else has changed it"):
        driver.tables.apply(entry)


def test_a_lost_ledger_is_noticed_by_the_tables_that_are_there(tmp_path: Path) -> None:
    Driver(tmp_path).land("a")
    shutil.rmtree(tmp_path / "_control")
    with pytest.raises(LedgerLost, match=f"{A} is a table that the ledger does not know"):
        Driver(tmp_path)


def test_a_commit_by_something_else_is_noticed(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    driver.land("a")
    driver.land("a")
    DeltaTable(str(tmp_path / A)).delete()
    with pytest.raises(LedgerLost, match="ahead of the ledger"):
        driver.land("a")
    with pytest.raises(LedgerLost, match="ahead of the ledger"):
        Driver(tmp_path)


def test_the_saved_standing_spares_reading_the_whole_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(tmp_path)
    for _ in range(5):
        driver.land("a")
    driver.tables.save()
    read: list[int] = []
    monkeypatch.setattr(Ledger, "_load", noting(read, Ledger._load, 1))
    assert Driver(tmp_path).tables.standing.place(A).commits == 5
    assert min(read) == 6


def test_nothing_is_appended_that_could_not_be_applied(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    good = driver.file("a", rows(FAMILIES["observation"], 2))
    missing = good.model_copy(update={"path": new_key(A, "2025-01", 2, 1)})
    bad = {
        "is not there": missing,
        "bytes where": good.model_copy(update={"bytes": good.bytes + 1}),
        "rows where": good.model_copy(update={"rows": 3}),
    }
    for told, file in bad.items():
        with pytest.raises(LakeError, match=told):
            driver.tables.append_and_apply(driver.entry([file]))
    wrong = rows(FAMILIES["observation"], 2)
    narrow = wrong.set_column(0, pa.field("pbucket", pa.int32(), False), wrong["pbucket"].cast(pa.int32()))
    with pytest.raises(LakeError, match="family's columns: pbucket"):
        driver.tables.append_and_apply(driver.entry([driver.file("a", narrow)]))
    with pytest.raises(LakeError, match="not a table of any family"):
        driver.tables.check(driver.entry([driver.file("a", wrong, "narrative")]))
    gone = {A: TableChange(remove=(good.path,))}
    with pytest.raises(LakeError, match="is not live"):
        driver.tables.append_and_apply(driver.ledger.draft(Kind.DISCARD, JAN, cause={}, tables=gone))
    head = driver.ledger.head()
    assert head is not None
    assert head.kind == Kind.TAKEOVER
    assert landed(tmp_path) == {}


def test_a_file_that_vanished_after_the_append_stops_the_driver(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    entry = driver.entry([driver.file("a", rows(FAMILIES["observation"], 2))])
    driver.ledger.append(entry)
    driver.store.delete(entry.tables[A].add[0].path)
    with pytest.raises(LedgerLost, match="entry 2 is in the ledger, but cannot be applied"):
        Driver(tmp_path)


def test_live_files_are_the_same_from_the_log_and_from_the_entries(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    for hour in range(3):
        driver.now_us = JAN + hour
        driver.land("a")
        driver.tables.live(A)
    driver.tables.append_and_apply(replacement(driver))
    kept, read = driver.tables.live(A), Tables(driver.store, driver.ledger).live(A)
    assert [live.file for live in kept] == [live.file for live in read] == driver.tables.live_files(A)
    assert [live.added_us // 1000 for live in kept] == [live.added_us // 1000 for live in read]
    assert read[0].file.start_min_us == JAN + 5000 * 1_000_000
    assert describe(read[0].file.path, rows(FAMILIES["observation"], 2, 5000), read[0].file.bytes) == read[0].file


def test_a_long_log_is_gathered_into_checkpoints_and_keeps_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "CHECKPOINT_EVERY", 4)
    driver = Driver(tmp_path)
    for _ in range(5):
        driver.land("a", count=1)
    log = sorted(os.listdir(tmp_path / A / "_delta_log"))
    assert "_last_checkpoint" in log
    assert any(name.endswith(".checkpoint.parquet") for name in log)
    (tmp_path / delta.log_key(A, 0)).unlink()
    assert DeltaTable(str(tmp_path / A)).transaction_version("wellspring") == 6
    assert len(Driver(tmp_path).tables.live(A)) == 5


def test_a_cycle_touches_only_its_own_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(tmp_path)
    driver.land(*(f"s{i}" for i in range(8)))
    asked: list[str] = []
    for verb in ("get", "exists", "size", "list", "folders", "sync", "uri", "open_file"):
        monkeypatch.setattr(FolderStore, verb, noting(asked, getattr(FolderStore, verb), 1))
    driver.land("s3", "s7")
    assert {key.split("/")[0] for key in asked} == {"study=s3", "study=s7"}
