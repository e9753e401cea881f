"""The vault's databases: changed all or nothing, and said in words when somebody else keeps them."""

import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipelines import database
from pipelines.consent.register import Register
from pipelines.database import Database, VaultLocked
from pipelines.holds import Changes, Holds
from tests.worlds import lay_out

TABLES = "CREATE TABLE IF NOT EXISTS t (n INTEGER)"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.05)


@contextmanager
def paused(path: Path) -> Iterator[None]:
    """Somebody who stays in the middle of a change."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    Database(tmp_path / "vault" / "x.sqlite", TABLES, "FULL").close()
    assert stat.S_IMODE((tmp_path / "vault").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "vault" / "x.sqlite").stat().st_mode) == 0o600


def test_a_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "x.sqlite", TABLES, "FULL")) as one:
        with pytest.raises(sqlite3.OperationalError, match="no such table"), one.transaction():
            one.executemany("INSERT INTO t VALUES (?)", [(1,)]).execute("SELECT * FROM gone")
        with one.transaction():
            one.executemany("INSERT INTO t VALUES (?)", [(2,), (3,)])
        assert one.execute("SELECT n FROM t").fetchall() == [(2,), (3,)]


def test_what_is_no_lock_stays_a_defect(tmp_path: Path) -> None:
    with (
        closing(Database(tmp_path / "x.sqlite", TABLES, "FULL")) as one,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
    ):
        one.execute("SELECT * FROM gone")


@pytest.mark.parametrize(
    ("name", "reopen"),
    [
        ("holds.sqlite", lambda vault: Holds(vault, 1, 1)),
        ("register.sqlite", lambda vault: Register(vault / "register.sqlite")),
    ],
)
def test_whoever_comes_while_another_is_in_the_middle_is_told(
    tmp_path: Path, name: str, reopen: Callable[[Path], Holds | Register]
) -> None:
    reopen(tmp_path).close()
    with paused(tmp_path / name), pytest.raises(VaultLocked, match=f"^{name} in the vault is locked: another process"):
        reopen(tmp_path)
    reopen(tmp_path).close()


def test_a_change_that_cannot_begin_can_be_made_later(tmp_path: Path) -> None:
    with closing(Holds(tmp_path, 1, 1)) as holds, closing(Register(tmp_path / "register.sqlite")) as register:
        with paused(tmp_path / "holds.sqlite"):
            with pytest.raises(VaultLocked):
                holds.apply(1, Changes([], [], []))
            with pytest.raises(VaultLocked):
                holds.look_at("r", 1)
            assert holds.totals().through == 0, "it can be read meanwhile"
        with paused(tmp_path / "register.sqlite"), pytest.raises(VaultLocked):
            register.reached("t", 0, 7)
        holds.apply(1, Changes([], [], []))
        register.reached("t", 0, 7)
        assert (holds.totals().through, register.positions()) == (1, {("t", 0): 7})


def test_the_command_ends_with_1_and_says_what_to_do(tmp_path: Path) -> None:
    world = lay_out(tmp_path / "world", "127.0.0.1:1")
    Holds(world.settings.vault, 1, 1).close()
    with paused(world.settings.vault / "holds.sqlite"):
        done = world.execute("run", "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds.sqlite in the vault is locked" in done.stderr and "let it go on or end it" in done.stderr
    assert "Traceback" not in done.stderr and "sqlite3" not in done.stderr
