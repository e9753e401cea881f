import os
import threading
from pathlib import Path

import pytest

from pipelines.store import FolderStore, Taken


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "lake")


def test_of_many_who_create_one_key_exactly_one_wins(store: FolderStore) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def race(me: int) -> None:
        start.wait()
        try:
            store.put_new("a/key", str(me).encode())
            won.append(me)
        except Taken:
            pass

    threads = [threading.Thread(target=race, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("a/key") == str(won[0]).encode()


def test_what_is_there_is_never_created_again_and_leaves_no_temporary_file(store: FolderStore) -> None:
    store.put_new("a/key", b"first")
    with pytest.raises(Taken):
        store.put_new("a/key", b"second")
    assert store.get("a/key") == b"first"
    assert list(store.temps()) == []


def test_a_published_file_never_replaces_another(store: FolderStore) -> None:
    for content in (b"one", b"two"):
        temp = store.temp_path("t/file.parquet")
        temp.write_bytes(content)
        if content == b"one":
            store.publish_file(temp, "t/file.parquet")
        else:
            with pytest.raises(Taken):
                store.publish_file(temp, "t/file.parquet")
    assert store.get("t/file.parquet") == b"one"
    assert list(store.temps()) == []


def test_file_and_folders_are_synced_before_a_create_returns(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    store.put_new("a/b/key", b"x")
    lake = store.root
    assert [path.partition("/key.")[0] for path in synced] == [
        str(folder) for folder in (lake.parent, lake, lake / "_tmp", lake, lake / "a", lake / "a/b")
    ], "a new folder where it stands, the content, and then where its name stands"


def test_put_replaces_and_delete_is_content_with_nothing(store: FolderStore) -> None:
    store.put("state", b"1")
    store.put("state", b"22")
    assert (store.get("state"), store.size("state"), store.exists("state")) == (b"22", 2, True)
    store.delete("state")
    store.delete("state")
    assert (store.get("state"), store.size("state"), store.exists("state")) == (None, None, False)


def test_listing_is_by_prefix_in_order_and_without_temporary_files(store: FolderStore) -> None:
    for key in ("study=b/x/1", "study=a/x/2", "study=a/x/1", "_control/ledger/1", "_control/lease"):
        store.put_new(key, b"")
    store.temp_path("study=a/x/3").write_bytes(b"")
    assert list(store.list("study=")) == ["study=a/x/1", "study=a/x/2", "study=b/x/1"]
    assert list(store.list("_control/le")) == ["_control/lease", "_control/ledger/1"]
    assert not any(key.startswith("_tmp") for key in store.list(""))
    assert list(store.folders("study=")) == ["study=a", "study=b"]
    assert list(store.folders("nothing/")) == []
    assert [temp.key.startswith("_tmp/3.") for temp in store.temps()] == [True]


@pytest.mark.parametrize("key", ["../outside", "a/../../b", "/etc/passwd", ""])
def test_a_key_never_leaves_the_lake(store: FolderStore, key: str) -> None:
    with pytest.raises(ValueError, match="inside the lake"):
        store.put_new(key, b"")
