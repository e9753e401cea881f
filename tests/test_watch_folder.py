"""A watched folder as a place: what lies in it, one watcher at a time, moves that can be done twice."""

import fcntl
import os
from pathlib import Path

import pytest

from connectors.source_file import StorageFailed
from connectors.watch_folder import Folder
from connectors.watch_place import Changed, Item, PlaceRefused
from tests.canaries import MARK


def only(folder: Folder) -> Item:
    (item,) = folder.items()
    return item


def test_only_plain_files_at_the_top_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    item = only(Folder(tmp_path))
    assert (item.name, item.size) == ("a", 3)


def test_an_old_time_that_a_copy_carries_makes_no_file_settled(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    os.utime(tmp_path / "a", (1, 1))
    assert -1 < only(Folder(tmp_path)).age_s < 3600
    os.utime(tmp_path / "a", (2**33, 2**33))
    with Folder(tmp_path).hold():
        pass
    folder = Folder(tmp_path)
    with folder.hold():
        assert -1 < only(folder).age_s < 3600


def test_a_file_that_was_written_to_or_replaced_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"123")
    folder = Folder(tmp_path)
    item = only(folder)
    assert folder.open(item).read() == b"123" and folder.is_still(item)
    with open(path, "ab") as more:
        more.write(b"4")
    assert not folder.is_still(item)
    with pytest.raises(Changed):
        folder.open(item)
    path.unlink()
    assert not folder.is_still(item)
    with pytest.raises(Changed):
        folder.open(item)


def test_a_link_that_has_come_in_a_file_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "secret").write_bytes(b"456")
    folder = Folder(tmp_path)
    item = next(item for item in folder.items() if item.name == "a")
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to(tmp_path / "secret")
    with pytest.raises((Changed, StorageFailed)):
        folder.open(item)


def test_one_watcher_at_a_time(tmp_path: Path) -> None:
    with Folder(tmp_path).hold(), pytest.raises(PlaceRefused, match="another watcher"), Folder(tmp_path).hold():
        pass
    with Folder(tmp_path).hold():
        pass


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # the child calls nothing but the system
def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    with Folder(tmp_path).hold():
        pass
    child = os.fork()
    if not child:
        lock = os.open(tmp_path / ".wellspring" / "lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os._exit(0)
    os.waitpid(child, 0)
    with Folder(tmp_path).hold():
        pass


def test_a_move_done_twice_is_done_once_and_takes_no_other_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.hold():
        (tmp_path / "a").write_bytes(b"first")
        stamp = only(folder).stamp
        folder.move("a", stamp, "done/a")
        (tmp_path / "a").write_bytes(b"second")
        folder.move("a", stamp, "done/a")
        assert (tmp_path / "a").read_bytes() == b"second"
        assert (tmp_path / "done" / "a").read_bytes() == b"first"
        folder.move("a", stamp, "done/b")
        assert not (tmp_path / "done" / "b").exists()
        folder.move("gone", stamp, "done/gone")


def test_a_move_replaces_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.hold():
        (tmp_path / "a").write_bytes(b"new")
        (tmp_path / "done" / "a").write_bytes(b"old")
        folder.move("a", only(folder).stamp, "done/a")
    assert (tmp_path / "a").read_bytes() == b"new" and (tmp_path / "done" / "a").read_bytes() == b"old"


def test_what_is_put_is_there_as_a_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.hold():
        folder.put("receipts/x.json", b"1")
        folder.put("receipts/x.json", b"2")
        assert folder.get("receipts/x.json") == b"2"
        (tmp_path / ".wellspring" / "new-left").write_bytes(b"half")
    with folder.hold():
        assert list(folder.below(".wellspring")) == [".wellspring/lock"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second file system to be sure of")
def test_what_is_done_with_lies_on_the_folder_s_own_file_system(tmp_path: Path) -> None:
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the temporary folder lies there, too")
    (tmp_path / "done").symlink_to("/dev/shm")
    with pytest.raises(PlaceRefused, match="must lie on the folder's own file system"), Folder(tmp_path).hold():
        pass


def test_a_folder_that_cannot_be_used_is_told_without_the_names_in_it(tmp_path: Path) -> None:
    with pytest.raises(PlaceRefused, match="is not a folder"):
        Folder(tmp_path / "none")
    folder = Folder(tmp_path)
    with pytest.raises(StorageFailed) as failure:
        folder.put(f"none/{MARK}", b"")
    assert str(failure.value) == "the watched folder: No such file or directory"
