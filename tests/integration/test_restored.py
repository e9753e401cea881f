"""A ledger, table or vault that was restored from an older copy is noticed and refused, with words that say what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local_kafka import Address
from pipelines.commands.common import failure_of
from pipelines.keys import KeyRing
from pipelines.lake_check import lake_check
from tests.worlds import World, make_world, once

NEWEST = "restore the newest"


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, broker: Address) -> World:
    """A world whose lake and vault were copied as they were, `older`, before more came in."""
    folder = tmp_path_factory.mktemp("grown")
    world = make_world(folder / "world", broker.bootstrap, compact_files=3)
    world.consent(world.link("ann"), world.grant("ann", "sleep"), world.grant("ann", "cycle"))
    for first in (0, 10):
        world.publish(world.reading("ann", range(first, first + 10)), (b"x", b"no message"))
        world.work()
    for name in ("lake", "vault"):
        shutil.copytree(world.folder / name, folder / "older" / name)
    world.publish(world.reading("ann", range(20, 30)), world.reading("bob", range(100, 105)))
    world.work()
    for name in ("lake", "vault"):
        shutil.copytree(world.folder / name, folder / "newest" / name)
    return world


@pytest.fixture
def world(grown: World) -> World:
    """The grown world with the newest lake and vault."""
    for name in ("lake", "vault"):
        shutil.rmtree(grown.folder / name)
        shutil.copytree(grown.folder.parent / "newest" / name, grown.folder / name)
    return grown


def restore(world: World, *paths: str, copy: str = "older") -> None:
    """Put the older copy, or the newest, in the place of these files and folders of the lake or the vault."""
    for path in paths:
        here, there = world.folder / path, world.folder.parent / copy / path
        if here.is_dir():
            shutil.rmtree(here)
            shutil.copytree(there, here)
        else:
            shutil.copy2(there, here)


def refusal(world: World) -> str:
    """What a driver says that must not start; nothing is appended, nothing lands, and its exit code is 4."""
    before = written(world)
    with pytest.raises(Exception, match=".") as refused:
        world.work()
    assert failure_of(refused.value) == 4, repr(refused.value)
    assert written(world) == before
    return str(refused.value)


def written(world: World) -> dict[Path, int]:
    """The files of tables and ledger, and when each was written."""
    lake = world.settings.lake
    files = [*lake.glob("study=*/**/*"), *lake.glob("_control/ledger/*")]
    return {path: path.stat().st_mtime_ns for path in files if path.is_file()}


def newest_entries(world: World, count: int) -> list[Path]:
    return sorted((world.settings.lake / "_control" / "ledger").glob("*.json"))[-count:]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_ledger_that_lost_its_last_entries_is_refused(world: World, count: int) -> None:
    for path in newest_entries(world, count):
        path.unlink()
    assert "ledger" in refusal(world)


def test_a_ledger_that_lost_its_last_entries_is_refused_without_the_saved_standing(world: World) -> None:
    for path in newest_entries(world, 2):
        path.unlink()
    (world.settings.lake / "_control" / "standing.json").unlink()
    assert "the ledger is an older copy" in refusal(world)


def test_a_ledger_with_a_hole_is_refused(world: World) -> None:
    newest_entries(world, 3)[0].unlink()
    assert "the ledger has no entry" in refusal(world)


def test_a_ledger_folder_restored_from_an_older_copy_is_refused(world: World) -> None:
    restore(world, "lake/_control")
    assert "the ledger is an older copy" in refusal(world)


@pytest.mark.parametrize("table", ["study=sleep/observation", "study=cycle/observation", "study=sleep/check_count"])
def test_a_table_restored_from_an_older_copy_is_refused(world: World, table: str) -> None:
    restore(world, f"lake/{table}")
    assert f"{table} is older than the ledger" in refusal(world)
    assert not lake_check(world.store, world.ledger).is_sound


def test_a_table_that_is_gone_is_refused(world: World) -> None:
    shutil.rmtree(world.settings.lake / "study=cycle" / "observation")
    assert "study=cycle/observation is older than the ledger" in refusal(world)


def test_a_whole_lake_restored_from_an_older_copy_is_refused(world: World) -> None:
    restore(world, "lake")
    assert NEWEST in refusal(world)


def test_a_whole_vault_restored_from_an_older_copy_is_refused(world: World) -> None:
    restore(world, "vault")
    assert NEWEST in refusal(world)


@pytest.mark.parametrize("path", ["vault", "lake"])
def test_after_an_older_copy_was_refused_the_newest_goes_on(world: World, path: str) -> None:
    restore(world, path)
    for _ in range(2):
        assert NEWEST in refusal(world)
    restore(world, path, copy="newest")
    lose_nothing(world)


def test_holds_restored_from_an_older_copy_are_refused(world: World) -> None:
    restore(world, "vault/holds.sqlite")
    assert NEWEST in refusal(world)


def test_holds_that_are_gone_are_refused(world: World) -> None:
    (world.settings.vault / "holds.sqlite").unlink()
    assert NEWEST in refusal(world)


def test_another_vault_is_refused(world: World) -> None:
    other = world.folder / "another vault"
    for study in ("sleep", "cycle"):
        KeyRing(other).create(study)
    world.settings.vault, vault = other, world.settings.vault
    try:
        assert "another vault" in refusal(world)
    finally:
        world.settings.vault = vault
        shutil.rmtree(other)


def test_a_vault_that_is_gone_is_refused(world: World) -> None:
    shutil.rmtree(world.settings.vault)
    assert "vault" in refusal(world)


def test_another_key_of_a_study_is_refused(world: World) -> None:
    (world.settings.vault / "keys" / "sleep.key").unlink()
    KeyRing(world.settings.vault).create("sleep")
    assert "study sleep has another key than before" in refusal(world)


def test_a_study_whose_key_is_gone_is_refused(world: World) -> None:
    (world.settings.vault / "keys" / "sleep.key").unlink()
    assert "study sleep has no key" in refusal(world)


def test_the_command_refuses_with_exit_code_4(world: World) -> None:
    restore(world, "vault")
    done = world.execute("run", "--once")
    assert (done.returncode, done.stdout) == (4, "")
    assert NEWEST in done.stderr
    assert "Traceback" not in done.stderr


def lose_nothing(world: World) -> None:
    """Whatever was restored, all that Kafka holds is there once."""
    world.work()
    assert world.landed("sleep") == world.landed("cycle") == once(range(30))
    world.assert_sound()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda world: restore(world, "lake", "vault"), id="lake and vault together"),
        pytest.param(lambda world: restore(world, "vault/register.sqlite"), id="an older register"),
        pytest.param(lambda world: (world.settings.vault / "register.sqlite").unlink(), id="no register"),
        pytest.param(lambda world: shutil.rmtree(world.settings.vault / "snapshots"), id="no snapshots"),
        pytest.param(lambda world: (world.settings.lake / "_control/standing.json").unlink(), id="no standing"),
    ],
)
def test_what_follows_from_elsewhere_or_fits_together_goes_on(world: World, change: Callable[[World], object]) -> None:
    change(world)
    lose_nothing(world)
