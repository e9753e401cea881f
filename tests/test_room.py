"""A full disk is told in words, whoever met it; whatever else goes wrong stays what it is."""

import errno
import sqlite3
from pathlib import Path

import pytest

from pipelines import room
from pipelines.room import NoRoom, telling_no_room

FULL = OSError(errno.ENOSPC, "No space left on device")


def full_in_sqlite() -> sqlite3.Error:
    """What SQLite raises where a database may not grow."""
    with sqlite3.connect(":memory:") as db:
        db.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as raised:
            db.executescript("CREATE TABLE a (b); CREATE TABLE c (d); CREATE TABLE e (f)")
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Traceback (most recent call last): OSError: [Errno 28] No space left [while running 'Land']"),
        OSError("Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)"),
        full_in_sqlite(),
    ],
)
def test_a_full_disk_is_told_whichever_library_met_it(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(NoRoom) as told, telling_no_room({"lake": tmp_path}):
        raise error
    assert str(tmp_path) not in str(told.value)
    assert "make room, then start the driver again" in str(told.value)


def test_what_it_came_from_counts_too(tmp_path: Path) -> None:
    error = ValueError("the file was not written")
    error.__cause__ = FULL
    with pytest.raises(NoRoom), telling_no_room({"lake": tmp_path}):
        raise error


def test_it_is_told_which_setting_names_the_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_free", lambda folder: 0 if folder.name == "vault" else 1 << 30)
    places = {"lake": tmp_path / "lake", "vault": tmp_path / "vault"}
    with pytest.raises(NoRoom, match="the disk of the setting vault is full"), telling_no_room(places):
        raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "I/O error"), ValueError("28"), sqlite3.OperationalError("locked")]
)
def test_other_failures_stay_what_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, telling_no_room({"lake": tmp_path}):
        raise error
    assert raised.value is error
