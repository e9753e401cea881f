"""The vault in a bucket, without one: what is kept, under which number, and what of it is on this machine."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.consent.kept_register import KeptRegister
from pipelines.consent.snapshot import Snapshot, Snapshots
from pipelines.holds import Changes, Holds
from pipelines.keys import KeyRing
from pipelines.object_vault import ObjectVault
from pipelines.settings import SettingsError
from pipelines.store import FolderStore
from pipelines.vault import FolderVault, _usable, vault_environment
from pipelines.work_folder import WorkFolder

HOLD = ["acme.sensor-reading.v1", 0, 7, 0, 5, 1_000, "acme", "p-1", "H_NO_CONSENT"]


class Bucket:
    """A place that outlives machines, and as many machines as are asked for."""

    def __init__(self, root: Path) -> None:
        self.root, self.store, self._machines = root, FolderStore(root / "bucket"), 0

    def machine(self) -> ObjectVault:
        self._machines += 1
        return ObjectVault(self.store, self.root / f"machine-{self._machines}")

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(self.store.list(prefix))


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


def settled(vault: ObjectVault, n: int) -> Holds:
    """Holds brought to entry n, by one reading group more each, and kept."""
    holds = Holds(vault, 1, 1)
    for number in range(holds.totals().through + 1, n + 1):
        holds.apply(number, Changes([HOLD], [], []))
        holds.keep()
    return holds


def test_keys_are_made_once_for_all_machines(bucket: Bucket) -> None:
    with closing(bucket.machine()) as one, closing(bucket.machine()) as other:
        assert KeyRing(one).create("sleep") and not KeyRing(other).create("sleep")
        assert KeyRing(one).key("sleep") == KeyRing(other).key("sleep")
    assert not list(bucket.root.glob("machine-*"))  # no key is ever written on a machine


def test_the_newest_state_is_what_another_machine_finds(bucket: Bucket) -> None:
    with closing(bucket.machine()) as one:
        settled(one, 3).close()
    with closing(bucket.machine()) as other, closing(Holds(other, 1, 1)) as holds:
        assert holds.totals() == (15, 0, 0, 3) and len(holds.at(HOLD[0], 0, 0, 10)) == 3  # type: ignore[arg-type]
    assert bucket.keys("holds/") == [f"holds/{n:020d}.sqlite" for n in (2, 3)]


def test_what_was_not_kept_never_happened(bucket: Bucket) -> None:
    with closing(bucket.machine()) as vault, closing(settled(vault, 2)) as holds:
        holds.apply(3, Changes([HOLD], [], []))
    with closing(bucket.machine()) as vault, closing(Holds(vault, 1, 1)) as holds:
        assert holds.totals().through == 2


def test_an_older_state_never_takes_the_place_of_a_newer_one(bucket: Bucket) -> None:
    with closing(bucket.machine()) as old, closing(bucket.machine()) as new:
        paused = settled(old, 2)
        settled(new, 5).close()
        paused.apply(3, Changes([], [], []))
        paused.keep()  # it wakes up, and has not noticed
        assert bucket.keys("holds/")[-1] == f"holds/{5:020d}.sqlite"
        paused.refresh()
        assert paused.totals().through == 5
        paused.close()


def test_of_two_that_settle_one_entry_the_first_is_right(bucket: Bucket) -> None:
    with closing(bucket.machine()) as one, closing(bucket.machine()) as other:
        settled(one, 2).close()
        late = Holds(other, 1, 1)
        settled(one, 3).close()
        late.apply(3, Changes([HOLD, HOLD], [], []))
        late.keep()
        assert late.totals().opened == 15
        late.close()


def test_a_state_in_the_middle_of_a_change_is_not_torn(bucket: Bucket) -> None:
    """The file on the disk is behind its log: what is kept is what SQLite says, not what the file has."""
    with closing(bucket.machine()) as vault:
        holds = settled(vault, 1)
        path = vault.own("holds.sqlite")
        assert Path(f"{path}-wal").stat().st_size > 0
        kept = bucket.store.get(bucket.keys("holds/")[-1])
        assert kept is not None
        (bucket.root / "kept.sqlite").write_bytes(kept)
        with closing(sqlite3.connect(bucket.root / "kept.sqlite")) as found:
            assert found.execute("SELECT through FROM total").fetchone() == (1,)
            assert found.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        holds.close()


def test_a_large_state_is_created_once_too(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.object_vault.AT_ONCE_BYTES", 0)
    with closing(bucket.machine()) as one, closing(bucket.machine()) as other:
        settled(one, 2).close()
        first = bucket.store.get(bucket.keys("holds/")[-1])
        with closing(Holds(other, 1, 1)) as holds:
            holds.keep()
        assert bucket.store.get(bucket.keys("holds/")[-1]) == first


def test_a_reader_sees_what_was_kept_and_does_not_fetch_it_twice(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    with closing(bucket.machine()) as driver, closing(bucket.machine()) as desk:
        settled(driver, 1).close()
        opened = bucket.store.open_file
        monkeypatch.setattr(bucket.store, "open_file", lambda key: fetched.append(key) or opened(key))
        paths = [desk.read("holds.sqlite") for _ in range(3)]
        assert len(set(paths)) == 1 and len(fetched) == 1
        settled(driver, 4).close()
        assert desk.read("holds.sqlite") != paths[0] and len(fetched) == 2
        assert driver.read("holds.sqlite") == driver.own("holds.sqlite") and len(fetched) == 2


def test_a_register_that_was_fetched_goes_on_apart(bucket: Bucket) -> None:
    """Its versions are not those that another driver's had: nobody may take one for the other."""
    with closing(bucket.machine()) as one:
        register = KeptRegister(one)
        register._db.execute("UPDATE about SET value = '5' WHERE name = 'version'")
        first = register.id
        register.keep()
        register.close()
    with closing(bucket.machine()) as other, closing(KeptRegister(other)) as again:
        assert again.version == 5 and again.id != first


def test_a_folder_is_what_it_was(tmp_path: Path) -> None:
    vault = FolderVault(tmp_path / "vault")
    with closing(settled(vault, 2)) as holds:  # type: ignore[arg-type]
        holds.refresh()
    assert [path.name for path in sorted((tmp_path / "vault").iterdir())] == ["holds.sqlite"]
    register = KeptRegister(vault)
    before = register.id
    register.close()
    with closing(KeptRegister(vault)) as again:
        assert again.id == before


def test_a_snapshot_is_fetched_where_it_was_not_made(bucket: Bucket) -> None:
    with closing(bucket.machine()) as driver, closing(bucket.machine()) as worker:
        register = KeptRegister(driver)
        snapshots = Snapshots(register, driver.snapshots(), {}, ("hr",))
        name = driver.publish(snapshots.refresh().path)
        found = worker.snapshot(f"/another-machine/{Path(name).name}")
        assert found != Path(name) and found.name == Path(name).name
        assert (found.parent / "salt").read_bytes() == (Path(name).parent / "salt").read_bytes()
        assert {key.split("/")[2] for key in bucket.keys("snapshots/")} == {"arrays.bin", "about.json"}
        newer = bucket.machine()
        newer.sweep()
        assert bucket.keys("snapshots/") == []
        register.close()


def test_a_worker_keeps_few_of_the_snapshots_that_it_fetched(bucket: Bucket) -> None:
    with (
        closing(bucket.machine()) as driver,
        closing(bucket.machine()) as worker,
        closing(KeptRegister(driver)) as register,
    ):
        snapshots = Snapshots(register, driver.snapshots(), {}, ("hr",))
        found = []
        for version in range(6):
            register._db.execute("UPDATE about SET value = ? WHERE name = 'version'", (str(version),))
            name = driver.publish(snapshots.refresh().path)
            found.append(worker.snapshot(f"/another-machine/{Path(name).name}"))
            assert Snapshot.open(found[-1]).member_id
        there = {path.name for path in found[-1].parent.iterdir() if path.is_dir()}
        assert {found[-1].name, found[0].name} <= there and len(there) == 4 and found[0].name.startswith("base")


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    alive = WorkFolder(tmp_path / "work")
    killed = tmp_path / "work" / "life-killed"
    killed.mkdir()
    (killed / "register.sqlite").write_bytes(b"members")
    next_one = WorkFolder(tmp_path / "work")
    assert alive.path.is_dir() and next_one.path.is_dir() and not killed.exists()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "work", alive.path)] == [0o700, 0o700]
    for one in (alive, next_one):
        one.close()


def test_a_working_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path)
    for root in (tmp_path / "shared", tmp_path / "link"):
        with pytest.raises(SettingsError, match="vault_work: expected a folder that is this user's alone"):
            WorkFolder(root)


def test_a_worker_without_the_driver_s_folder_has_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert _usable(str(tmp_path / "work")) == tmp_path / "work"
    (tmp_path / "file").touch()
    for unusable in (str(tmp_path / "file" / "work"), ""):
        assert _usable(unusable).parent == tmp_path and str(os.getuid()) in _usable(unusable).name


def test_the_vault_s_own_variables_go_before_and_identities_are_not_mixed() -> None:
    lake = {"AWS_ACCESS_KEY_ID": "l", "AWS_SECRET_ACCESS_KEY": "ls", "AWS_SESSION_TOKEN": "lt", "AWS_REGION": "r"}
    assert vault_environment(lake) == lake
    own = {"WELLSPRING_VAULT_AWS_ACCESS_KEY_ID": "v", "WELLSPRING_VAULT_AWS_SECRET_ACCESS_KEY": "vs", "HOME": "/"}
    assert vault_environment({**lake, **own}) == {
        "AWS_ACCESS_KEY_ID": "v",
        "AWS_SECRET_ACCESS_KEY": "vs",
        "AWS_REGION": "r",
    }
    endpoint = {"WELLSPRING_VAULT_AWS_ENDPOINT_URL": "http://v"}
    assert vault_environment({**lake, **endpoint}) == {**lake, "AWS_ENDPOINT_URL": "http://v"}
    shared = {**lake, "AWS_ENDPOINT_URL_S3": "http://l"}
    region = {"WELLSPRING_VAULT_AWS_DEFAULT_REGION": "v"}
    assert vault_environment({**shared, **endpoint, **region}) == {
        **{name: value for name, value in lake.items() if name != "AWS_REGION"},
        "AWS_ENDPOINT_URL": "http://v",
        "AWS_DEFAULT_REGION": "v",
    }
