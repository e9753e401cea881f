import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from pipelines.entries import Entry, Fenced, Kind, LakeError, LedgerLost, TableChange
from pipelines.files import DataFile, new_key
from pipelines.heartbeat import Heartbeat, live_heartbeat, read_beat
from pipelines.ledger import Ledger
from pipelines.store import FolderStore
from tests.lakes import HOUR, JAN


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def driver(store: FolderStore) -> Ledger:
    ledger = Ledger(store)
    ledger.mark_applied(ledger.takeover(JAN, {}).n)
    return ledger


def add(ledger: Ledger, **progress: int) -> Entry:
    entry = ledger.draft(Kind.INGEST, JAN, cause={}, tables={}, progress=dict(progress))
    ledger.append(entry)
    ledger.mark_applied(entry.n)
    return entry


def test_a_new_lake_has_no_head_and_begins_with_a_takeover(store: FolderStore) -> None:
    ledger = Ledger(store)
    assert ledger.head() is None
    first = ledger.takeover(JAN, {"host": "h"})
    assert (first.n, first.epoch, first.kind, first.previous) == (1, 1, Kind.TAKEOVER, "")
    assert first.at == "2025-01-15T00:00:00.000000Z"
    assert first.at_us == JAN
    assert Ledger(store).head() == first


def test_moments_never_run_backwards_whatever_the_clock_does(store: FolderStore) -> None:
    ledger = Ledger(store)
    ledger.takeover(JAN, {})
    ledger.mark_applied(1)
    entry = ledger.draft(Kind.INGEST, JAN - 3 * HOUR, cause={}, tables={})
    assert entry.at_us == JAN
    later = Ledger(store).takeover(JAN + HOUR, {})
    assert later.at_us == JAN + HOUR


def test_progress_is_carried_forward_in_every_entry(store: FolderStore) -> None:
    ledger = driver(store)
    add(ledger, a=1, b=1)
    add(ledger, b=2)
    assert driver(store).head() == Ledger(store).head()
    last = Ledger(store).head()
    assert last is not None
    assert last.progress == {"a": 1, "b": 2}
    assert last.kind == Kind.TAKEOVER


def test_the_older_driver_is_fenced_at_its_next_append(store: FolderStore) -> None:
    old = driver(store)
    late = old.draft(Kind.INGEST, JAN, cause={}, tables={})
    new = driver(store)
    with pytest.raises(Fenced) as fenced:
        old.append(late)
    assert fenced.value.exit_code == 3
    assert [entry.kind for entry in Ledger(store).entries()] == [Kind.TAKEOVER, Kind.TAKEOVER]
    add(new)


def test_a_fenced_driver_that_looks_at_the_head_still_appends_nothing(store: FolderStore) -> None:
    old = driver(store)
    driver(store)
    assert old.head() is not None
    with pytest.raises(Fenced):
        old.draft(Kind.INGEST, JAN, cause={}, tables={})
    with pytest.raises(Fenced):
        _ = old.next_n


def test_of_drivers_that_take_over_at_once_one_gets_each_epoch(store: FolderStore) -> None:
    first = [Ledger(store) for _ in range(6)]
    start, outcomes = threading.Barrier(6), []

    def race(ledger: Ledger) -> None:
        start.wait()
        with contextlib.suppress(Fenced):
            outcomes.append(ledger.takeover(JAN, {}).epoch)

    threads = [threading.Thread(target=race, args=(ledger,)) for ledger in first]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = list(Ledger(store).entries())
    assert sorted(outcomes) == [entry.epoch for entry in entries] == list(range(1, len(entries) + 1))


class Unsure(FolderStore):
    """Writes, or does not, and then says that it does not know."""

    does_write = True
    is_unsure = False

    def put_new(self, key: str, data: bytes) -> None:
        if self.does_write or not self.is_unsure:
            super().put_new(key, data)
        if self.is_unsure:
            raise TimeoutError("no answer")


def test_an_append_without_an_answer_is_settled_by_reading_back(tmp_path: Path) -> None:
    store = Unsure(tmp_path)
    ledger = driver(store)
    entry = ledger.draft(Kind.INGEST, JAN, cause={}, tables={})
    store.is_unsure = True
    ledger.append(entry)
    assert Ledger(store).head() == entry


def test_an_append_that_did_not_happen_is_an_error_and_may_be_tried_again(tmp_path: Path) -> None:
    store = Unsure(tmp_path)
    ledger = driver(store)
    entry = ledger.draft(Kind.INGEST, JAN, cause={}, tables={})
    store.is_unsure, store.does_write = True, False
    with pytest.raises(TimeoutError):
        ledger.append(entry)
    store.is_unsure = False
    ledger.append(entry)
    assert Ledger(store).head() == entry


def test_appending_in_silence_after_a_takeover_is_fenced_even_without_an_answer(tmp_path: Path) -> None:
    store = Unsure(tmp_path)
    old = driver(store)
    entry = old.draft(Kind.INGEST, JAN, cause={}, tables={})
    driver(store)
    store.is_unsure, store.does_write = True, False
    with pytest.raises(Fenced):
        old.append(entry)


def test_the_head_is_found_by_what_came_since_not_by_listing(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = driver(store)
    reader = Ledger(store)
    assert reader.head() is not None
    monkeypatch.setattr(FolderStore, "list", lambda *_: pytest.fail("listed"))
    last = [add(writer) for _ in range(3)][-1]
    assert reader.head() == last


def test_an_entry_waits_until_the_one_before_is_applied(store: FolderStore) -> None:
    ledger = driver(store)
    ledger.append(ledger.draft(Kind.INGEST, JAN, cause={}, tables={}))
    with pytest.raises(LakeError, match="must be applied"):
        ledger.draft(Kind.INGEST, JAN, cause={}, tables={})


def test_a_hole_in_the_numbers_is_a_lost_ledger(store: FolderStore) -> None:
    ledger = driver(store)
    for _ in range(3):
        add(ledger)
    store.delete("_control/ledger/000000000002.json")
    with pytest.raises(LedgerLost, match="no entry 2") as lost:
        Ledger(store).head()
    assert lost.value.exit_code == 4


def test_an_entry_of_another_history_breaks_the_chain(store: FolderStore, tmp_path: Path) -> None:
    ledger = driver(store)
    add(ledger)
    shutil.copytree(tmp_path / "_control", tmp_path / "copy")
    add(ledger, a=1)
    add(ledger)
    other = FolderStore(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "copy", tmp_path / "elsewhere" / "_control")
    forked = Ledger(other)
    forked.takeover(JAN, {})
    data = other.get("_control/ledger/000000000003.json")
    assert data is not None
    store.put("_control/ledger/000000000003.json", data)
    with pytest.raises(LedgerLost, match="entry 4 of the ledger does not follow"):
        list(Ledger(store).entries())


@pytest.mark.parametrize("data", [b"", b"{", b'{"n": "planted-secret"}'])
def test_a_damaged_entry_is_told_by_its_place_not_its_content(store: FolderStore, data: bytes) -> None:
    driver(store)
    store.put("_control/ledger/000000000001.json", data)
    with pytest.raises(LedgerLost, match="entry 1 of the ledger is damaged") as lost:
        Ledger(store).head()
    assert "planted-secret" not in str(lost.value)


def test_an_entry_under_another_number_is_refused(store: FolderStore) -> None:
    driver(store)
    data = json.loads(store.get("_control/ledger/000000000001.json") or b"")
    store.put("_control/ledger/000000000001.json", json.dumps({**data, "n": 5}).encode())
    with pytest.raises(LedgerLost, match="says that it is entry 5"):
        Ledger(store).head()


@pytest.mark.parametrize(("n", "epoch", "month"), [(3, 1, "2025-01"), (2, 2, "2025-01"), (2, 1, "2025-02")])
def test_an_entry_adds_only_files_that_were_written_for_it(store: FolderStore, n: int, epoch: int, month: str) -> None:
    ledger = driver(store)
    table = "study=a/observation"
    file = DataFile(path=new_key(table, "2025-01", n, epoch), table=table, month=month, rows=1, bytes=1)
    with pytest.raises(LakeError, match="must carry its table, its month, this entry and this epoch"):
        ledger.draft(Kind.INGEST, JAN, cause={}, tables={table: TableChange(add=(file,))})


class Clock:
    def __init__(self) -> None:
        self.now_us = JAN

    def __call__(self) -> int:
        return self.now_us


def test_a_heartbeat_lives_as_long_as_it_is_renewed_and_goes_with_its_driver(store: FolderStore) -> None:
    clock = Clock()
    with Heartbeat(store, 1, clock, every_seconds=60) as heart:
        assert live_heartbeat(store, clock.now_us) is not None
        assert live_heartbeat(store, JAN + 16_000_000) is None
        clock.now_us += 10_000_000
        assert heart.beat()
        assert live_heartbeat(store, JAN + 16_000_000) is not None
    assert read_beat(store) is None


def test_a_heartbeat_is_renewed_by_its_thread(store: FolderStore) -> None:
    clock = Clock()
    with Heartbeat(store, 1, clock, every_seconds=0.01):
        clock.now_us += 1
        for _ in range(6_000):
            beat = read_beat(store)
            if beat and beat.at_us > JAN:
                break
            threading.Event().wait(0.01)
        assert beat is not None
        assert beat.at_us == JAN + 1


def test_an_older_driver_neither_overwrites_nor_removes_the_newer_ones_heartbeat(store: FolderStore) -> None:
    clock = Clock()
    with Heartbeat(store, 1, clock, every_seconds=60) as old:
        assert Heartbeat(store, 2, clock).beat()
        assert not old.beat()
    beat = read_beat(store)
    assert beat is not None
    assert beat.epoch == 2


def test_a_killed_driver_of_this_machine_is_not_alive(store: FolderStore) -> None:
    Heartbeat(store, 1, Clock()).beat()
    beat = read_beat(store)
    assert beat is not None
    assert beat.pid == os.getpid()
    for change in ({"born": beat.born - 100}, {"pid": 2**22 + 1}):
        store.put("_control/heartbeat.json", beat.model_copy(update=change).model_dump_json().encode())
        assert live_heartbeat(store, JAN) is None
    elsewhere = beat.model_copy(update={"host": "another", "pid": 2**22 + 1})
    store.put("_control/heartbeat.json", elsewhere.model_dump_json().encode())
    assert live_heartbeat(store, JAN) is not None


def test_a_killed_driver_that_its_parent_has_not_buried_is_not_alive(store: FolderStore) -> None:
    Heartbeat(store, 1, Clock()).beat()
    beat = read_beat(store)
    assert beat is not None
    with subprocess.Popen(["sleep", "60"]) as child:
        process = psutil.Process(child.pid)
        theirs = beat.model_copy(update={"pid": child.pid, "born": int(process.create_time())})
        store.put("_control/heartbeat.json", theirs.model_dump_json().encode())
        assert live_heartbeat(store, JAN) is not None
        child.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert live_heartbeat(store, JAN) is None
