"""A lake in a bucket of a real S3 server: it lands, is read and is checked as one in a folder, however its server fails."""

import json
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from connectors.source_file import StorageFailed
from infra.local_kafka import Address
from pipelines.entries import Fenced, now_us
from pipelines.lake_desk import LakeDesk
from pipelines.ledger import Ledger
from pipelines.object_store import ObjectStore
from pipelines.places import store_of
from pipelines.store_check import KEY, PROBES
from pipelines.views import QueryRefused, sql
from tests.s3_server import S3Server
from tests.worlds import ROOT, World, make_world, once

MIA = range(400)


@pytest.fixture
def world(broker: Address, s3: S3Server, tmp_path: Path) -> World:
    """Somebody whose readings land in one study."""
    world = make_world(tmp_path / "world", broker.bootstrap, bucket=s3.bucket, compact_files=3)
    world.consent(world.link("mia"), world.grant("mia", "sleep"))
    return world


def objects_of(world: World) -> ObjectStore:
    store = world.store
    assert isinstance(store, ObjectStore)
    return store


def versions(store: ObjectStore, prefix: str) -> list[tuple[str, str]]:
    """Key and version of all that the bucket keeps below the prefix."""
    found = store.objects._client.list_object_versions(Bucket="uploads", Prefix=f"lake/{prefix}")
    return [(one["Key"], one["VersionId"]) for one in (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))]


def test_a_lake_in_a_bucket_lands_compacts_and_is_sound(world: World) -> None:
    for first in range(0, 400, 100):
        world.publish(world.reading("mia", MIA[first : first + 100]))
        world.work()
    assert world.landed("sleep") == once(MIA)
    world.assert_sound()
    assert {str(entry.kind) for entry in world.entries()} >= {"takeover", "ingest", "compact"}
    assert list(world.store.temps()) == [] and world.store.get(KEY)
    assert list(world.store.list(PROBES)) == []


def test_the_commands_read_it(world: World) -> None:
    world.publish(world.reading("mia", MIA))
    for words in (["run", "--once"], ["lake", "check"]):
        done = world.execute(*words)
        assert done.returncode == 0, done.stderr
    asked = world.execute("lake", "sql", "select count(*) as n from sleep_observation", "--json")
    assert json.loads(asked.stdout) == {"n": 400}
    with closing(LakeDesk(world.settings)) as desk:
        counted = desk.query("sleep", "SELECT count(*) AS n, min(month) AS m FROM observation").to_pylist()
        assert counted[0]["n"] == 400
        assert desk.query("sleep", "SELECT count(*) AS n FROM check_result").to_pylist()[0]["n"] > 0


def test_a_query_opens_the_files_of_its_views_and_nothing_else(world: World) -> None:
    world.publish(world.reading("mia", MIA))
    world.work()
    store = world.store
    store.put("elsewhere.parquet", b"PAR1")
    with pytest.raises(QueryRefused, match="Permission"):
        sql(store, f"SELECT * FROM sleep_observation, read_parquet('{store.uri('elsewhere.parquet')}')")


def test_the_older_driver_is_fenced(world: World) -> None:
    with world.driver() as older:
        with world.driver(take_over=True):
            pass
        world.publish(world.reading("mia", MIA))
        with pytest.raises(Fenced):
            older.cycle()


def test_of_drivers_that_take_over_at_once_one_gets_each_epoch(s3: S3Server) -> None:
    line, won = threading.Barrier(6), list[int]()

    def take(_: int) -> None:
        ledger = Ledger(store_of("s3://uploads/lake"))
        ledger.head()
        line.wait()
        with suppress(Fenced):
            won.append(ledger.takeover(now_us(), {}).epoch)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(take, range(6)))
    assert sorted(won) == list(range(1, len(won) + 1))  # one who looks a moment later takes over from the first
    assert [entry.epoch for entry in Ledger(store_of("s3://uploads/lake")).entries()] == sorted(won)


def test_of_two_commits_on_one_version_the_second_fails_whatever_the_environment_says(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    store = store_of("s3://uploads/lake")
    where, options = store.uri("t"), dict(store.delta_options())
    write_deltalake(where, pa.table({"a": [1]}), storage_options=options)
    handles = [DeltaTable(where, storage_options=options) for _ in range(2)]
    once_only = CommitProperties(max_commit_retries=0, app_transactions=[Transaction("test", 1)])
    write_deltalake(handles[0], pa.table({"a": [2]}), mode="append", commit_properties=once_only)
    with pytest.raises(DeltaError):
        write_deltalake(handles[1], pa.table({"a": [3]}), mode="append", commit_properties=once_only)
    assert sorted(DeltaTable(where, storage_options=options).to_pyarrow_table()["a"].to_pylist()) == [1, 2]


# -- its server fails


@pytest.mark.parametrize(
    "step",
    ["takeover", "planned", "ran", "append.checked", "append.done", "apply.table", "apply.committed", "told"],
)
def test_a_server_that_goes_away_in_a_cycle_ends_it_in_words_and_nothing_is_lost(
    step: str, world: World, s3: S3Server
) -> None:
    world.publish(world.reading("mia", MIA))

    def fell(at: str) -> None:
        if at == step:
            s3.kill()

    with pytest.raises(StorageFailed, match=r"^the lake's bucket: the server cannot be reached \(AWS_ENDPOINT_URL\)"):
        world.work(on_step=fell)
    s3.up()
    world.work(take_over=True)
    assert world.landed("sleep") == once(MIA)
    world.assert_sound()
    assert world.leavings() == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS_SECRET_ACCESS_KEY is not the right one"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "the server does not know AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "the server cannot be reached (AWS_ENDPOINT_URL)"),
        (None, "there is no such bucket: see its address, and AWS_ENDPOINT_URL"),
    ],
)
def test_what_is_wrong_with_the_bucket_is_said_and_mended(
    fault: dict[str, str] | None, words: str, world: World, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(world.reading("mia", MIA[:200]))
    world.work()
    world.publish(world.reading("mia", MIA[200:]))
    away = s3.bucket.with_name("away")
    with monkeypatch.context() as broken:
        for name, value in (fault or {}).items():
            broken.setenv(name, value)
        if fault is None:
            s3.bucket.rename(away)
        for command in (["run", "--once"], ["lake", "check"], ["lake", "sql", "select 1"], ["ledger", "list"]):
            done = world.execute(*command)
            assert (done.returncode, done.stderr) == (1, f"wellspring: the lake's bucket: {words}\n"), command
    if fault is None:
        away.rename(s3.bucket)
    world.work()
    assert world.landed("sleep") == once(MIA)
    world.assert_sound()


# -- versions


def test_what_is_deleted_goes_with_its_versions(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    store = objects_of(world)
    store.objects._client.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    said: list[str] = []
    world.publish(world.reading("mia", MIA))
    world.work(say=said.append)
    assert len(said) == 1 and said[0].startswith("the lake's bucket keeps versions: ") and "erasure" in said[0]
    assert versions(store, PROBES) == [] and versions(store, "_control/heartbeat.json") == []
    (key,) = store.list("study=sleep/observation/month=")
    assert len(versions(store, key)) == 1
    store.delete(key)
    assert versions(store, key) == [] and store.get(key) is None


def test_old_versions_of_what_was_rewritten_are_forgotten_and_what_is_there_stays(world: World) -> None:
    store = objects_of(world)
    store.objects._client.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    for content in (b"1", b"2", b"3"):
        store.put("log/a", content)
    store.put("log/b", b"1")
    store.objects.delete("log/b")  # as delta-rs does, which knows of no versions
    assert len(versions(store, "log/")) == 5
    store.forget("log/")
    assert [key for key, _ in versions(store, "log/")] == ["lake/log/a"] and store.get("log/a") == b"3"


# -- exactly once


@pytest.mark.timeout(900)
def test_every_acknowledged_reading_lands_exactly_once_however_often_driver_and_server_are_killed() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.torture_s3",
        "--json",
        "--kills",
        "5",
        "--server-kills",
        "5",
        "--seed",
        "20",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=800, check=False)
    assert done.stdout, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    wrong = {name: figures[name] for name in ("lost", "doubled", "untold", "differing", "problems") if figures[name]}
    assert (done.returncode, wrong) == (0, {})
    assert (Counter(figures["killed_at"]).total(), Counter(figures["felled_at"]).total()) == (5, 5)
    assert figures["acknowledged"] > 100 and figures["compared"] > 100
