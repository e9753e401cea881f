"""Copies of lake and vault, taken while a driver is at work: from one another driver goes on, and nothing is lost.

In every direction between folders and buckets; broken off and begun again; and what is no copy is told from one.
"""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local_kafka import Address
from pipelines import lake_copy
from pipelines.entries import LedgerLost
from pipelines.places import store_of
from pipelines.requests import ask
from pipelines.settings import Settings, load_settings
from tests.s3_server import S3Server
from tests.worlds import World, make_world, once, wait_for

FOLDER, BUCKET = "folder", "bucket"


def place(of: str, name: str, world: World) -> str:
    return f"s3://uploads/{name}" if of == BUCKET else str(world.folder / name)


def destroy(world: World, s3: S3Server) -> None:
    """All that the driver had, but for the keys of nobody: lake, vault and working folder."""
    for name in ("lake", "vault", ".wellspring-vault"):
        shutil.rmtree(world.folder / name, ignore_errors=True)
        shutil.rmtree(s3.bucket / name, ignore_errors=True)


def restore(world: World, monkeypatch: pytest.MonkeyPatch, lake: str, vault: str) -> None:
    """Copy a backup to where the settings say."""
    to = str(world.settings.lake), str(world.settings.vault)
    with monkeypatch.context() as backup:
        backup.setenv("WELLSPRING_LAKE", lake)
        backup.setenv("WELLSPRING_VAULT", vault)
        ended = world.execute("lake", "copy", "--to", to[0], "--vault", to[1])
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("own", "backup"),
    [(FOLDER, FOLDER), (FOLDER, BUCKET), (BUCKET, FOLDER), (BUCKET, BUCKET)],
)
def test_from_a_copy_that_was_taken_of_a_driver_at_work_another_goes_on(
    broker: Address, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, backup: str
) -> None:
    bucket = s3.bucket if own == BUCKET else None
    world = make_world(
        tmp_path / "world", broker.bootstrap, bucket=bucket, vault_bucket=bucket, compact_files=3, plan_records=5
    )
    lake, vault = place(backup, "backup-lake", world), place(backup, "backup-vault", world)
    world.consent(world.link("mia"), world.grant("mia", "sleep"), world.grant("ben", "sleep"))
    numbers = iter(range(0, 100_000, 10))

    def send(messages: int) -> None:
        for _ in range(messages):
            first = next(numbers)
            world.publish(world.reading("mia" if first % 20 else "ben", range(first, first + 10)))

    with world.following("run", "--follow") as driver:
        send(20)
        wait_for(lambda: len(world.entries("ingest")) >= 3)
        for _ in range(2):  # the second one is of what has changed
            send(20)
            ended = world.execute("lake", "copy", "--to", lake, "--vault", vault, "--json")
            assert ended.returncode == 0, ended.stderr
            copied = json.loads(ended.stdout)
            verified = world.execute("lake", "verify", lake, "--vault", vault, "--deep")
            assert verified.returncode == 0, verified.stderr
        assert copied["through"] > 3 and driver.process.poll() is None
        send(10)
        driver.process.send_signal(signal.SIGKILL)
        driver.process.wait()
    destroy(world, s3)
    restore(world, monkeypatch, lake, vault)
    world.consent(world.link("ben"))
    world.work()
    last = next(numbers)
    assert world.landed("sleep") == once(range(last))
    world.assert_sound()
    ended = world.execute("lake", "copy", "--to", lake, "--vault", vault)  # and it is copied there again
    assert ended.returncode == 0, ended.stderr
    assert world.execute("lake", "verify", lake, "--vault", vault).returncode == 0


@pytest.fixture
def world(broker: Address, tmp_path: Path) -> World:
    """A lake of some entries, of which two readings wait, and a request."""
    made = make_world(tmp_path / "world", broker.bootstrap, compact_files=3)
    made.consent(made.link("mia"), made.grant("mia", "sleep"))
    for first in range(0, 50, 10):
        made.publish(
            made.reading("mia", range(first, first + 10)), made.reading("ben", range(100 + first, 102 + first))
        )
        made.work()
    return made


def copy(world: World, *more: str) -> Any:
    return world.execute("lake", "copy", "--to", str(world.folder / "b" / "lake"), *more)


def verify(world: World, *more: str) -> Any:
    return world.execute(
        "lake", "verify", str(world.folder / "b" / "lake"), "--vault", str(world.folder / "b" / "vault"), *more
    )


def copied_settings(world: World) -> Settings:
    found = load_settings(world.config)
    return found.model_copy(update={name: world.folder / "b" / name for name in ("lake", "vault")})


def test_a_copy_that_is_broken_off_is_refused_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every object that it writes."""
    vault = ("--vault", str(world.folder / "b" / "vault"))
    put_new, steps = lake_copy.copy_new, 0

    class Broken(Exception):
        """The copying process ends."""

    for after in range(0, 100, 7):
        count = iter(range(after + 1))

        def put(*words: Any, count: Any = count) -> None:
            if next(count, None) is None:
                raise Broken
            put_new(*words)

        monkeypatch.setattr(lake_copy, "copy_new", put)
        try:
            ended = copy(world, *vault)
        except Broken:
            steps += 1
            refused = World(world.folder, world.config, copied_settings(world), world.partner)
            with pytest.raises(LedgerLost, match="a copy into this place was broken off"):
                refused.work()
            assert verify(world).returncode == 1
        else:
            assert ended.returncode == 0
            break
    assert steps >= 2 and verify(world).returncode == 0


def test_a_dry_run_copies_nothing(world: World) -> None:
    ended = copy(world, "--vault", str(world.folder / "b" / "vault"), "--dry-run", "--json")
    told = json.loads(ended.stdout)
    assert ended.returncode == 0 and told["files"] > 1 and told["dry_run"] and told["vault"]
    assert not (world.folder / "b").exists()


def test_what_was_copied_is_passed_over(world: World) -> None:
    vault = ("--vault", str(world.folder / "b" / "vault"))
    first, again = (json.loads(copy(world, *vault, "--json").stdout) for _ in range(2))
    assert first["entries"] == first["through"] == again["through"] and first["files"] > 0
    assert again["entries"] == again["files"] == 0


def a_file(world: World) -> Path:
    return next((world.folder / "b" / "lake").glob("study=sleep/observation/month=*/*.parquet"))


def lose_key(world: World) -> None:
    (world.folder / "b" / "vault" / "keys" / "sleep.key").unlink()


def damage_a_page(world: World) -> None:
    content = bytearray(a_file(world).read_bytes())
    content[8:40] = bytes(32)
    a_file(world).write_bytes(content)


def lose_an_entry(world: World) -> None:
    (world.folder / "b" / "lake" / "_control" / "ledger" / f"{3:012d}.json").unlink()


def lose_a_log(world: World) -> None:
    sorted((world.folder / "b" / "lake" / "study=sleep" / "observation" / "_delta_log").glob("*.json"))[-1].unlink()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param(lambda world: a_file(world).unlink(), "is missing", id="a file is gone"),
        pytest.param(lambda world: a_file(world).write_bytes(b"PAR1"), "has 4 bytes", id="a file is short"),
        pytest.param(damage_a_page, "cannot be read", id="a page is damaged"),
        pytest.param(lose_an_entry, "the ledger has no entry 3", id="an entry is gone"),
        pytest.param(lose_a_log, "", id="a log is gone"),
        pytest.param(lose_key, "study sleep has no key", id="a key is gone"),
        pytest.param(
            lambda world: (world.folder / "b" / "vault" / "holds.sqlite").unlink(), "no holds.sqlite", id="no holds"
        ),
        pytest.param(
            lambda world: (world.folder / "b" / "vault" / "register.sqlite").write_bytes(b"no database" * 500),
            "register.sqlite is damaged",
            id="a damaged register",
        ),
        pytest.param(
            lambda world: (world.folder / "b" / "vault" / "vault-id").write_text("0" * 16),
            "this is another vault",
            id="another vault",
        ),
    ],
)
def test_what_is_no_whole_copy_is_told(world: World, harm: Callable[[World], Any], words: str) -> None:
    assert copy(world, "--vault", str(world.folder / "b" / "vault")).returncode == 0
    assert verify(world, "--deep").returncode == 0
    harm(world)
    ended = verify(world, "--deep")
    assert ended.returncode == 1 and words in ended.stderr


def test_holds_of_another_moment_are_told(world: World) -> None:
    vault = world.folder / "b" / "vault"
    assert copy(world, "--vault", str(vault)).returncode == 0
    holds = (vault / "holds.sqlite").read_bytes()
    world.publish(world.reading("ben", range(200, 210)))
    world.work()
    assert copy(world, "--vault", str(vault)).returncode == 0 and verify(world).returncode == 0
    (vault / "holds.sqlite").write_bytes(holds)
    ended = verify(world)
    assert ended.returncode == 1 and "it is an older copy" in ended.stderr


def test_another_lake_s_place_is_not_copied_into(world: World, broker: Address, tmp_path: Path) -> None:
    other = make_world(tmp_path / "other", broker.bootstrap)
    other.consent(other.link("mia"), other.grant("mia", "sleep"))
    other.publish(other.reading("mia", range(3)))
    other.work()
    ended = world.execute("lake", "copy", "--to", str(other.settings.lake))
    assert ended.returncode == 1 and "the other place" in ended.stderr
    with other.driver():
        ended = world.execute("lake", "copy", "--to", str(other.settings.lake))
    assert ended.returncode == 1 and "a driver is at work in the other place" in ended.stderr


def test_a_request_that_waits_is_in_the_copy_and_one_that_was_answered_is_not(world: World) -> None:
    def waiting(folder: Path) -> list[str]:
        return list(store_of(folder).list("_control/requests/"))

    world.execute("run", "--replay", f"{world.topic}/0:0-1")  # leaves a request, or does it at once
    with world.driver() as driver:
        asked = ask(driver.ledger, "count", {}, driver.clock())
    assert copy(world, "--vault", str(world.folder / "b" / "vault")).returncode == 0
    assert waiting(world.folder / "b" / "lake") == [asked.key]
    world.store.delete(asked.key)
    assert copy(world, "--vault", str(world.folder / "b" / "vault")).returncode == 0
    assert waiting(world.folder / "b" / "lake") == []
