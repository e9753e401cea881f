"""A vault in a bucket: its objects, and on this machine copies of them that may be lost at any moment.

A database is kept whole, under a number that rises with what it knows, as an object that is created once: `holds/` by
the ledger entry that they were brought to, `register/` by how many records it has read, `alerts/` by how often they
changed. The highest number is what holds. So a driver that was overtaken without knowing cannot put an older state in
a newer one's place, and nobody ever reads half of one.
"""

import os
import re
import secrets
import shutil
import threading
from contextlib import closing, suppress
from pathlib import Path, PurePath

from pipelines.consent.packed import read_about
from pipelines.database import Database, copied
from pipelines.store import Store, Taken
from pipelines.work_folder import WorkFolder

SALT, SALT_FILE = "snapshot-salt", "salt"
SNAPSHOTS = "snapshots/"
STILL_READ = 2
"""So many states of a database are kept: the newest, and the one that somebody may be fetching at this moment."""
AT_ONCE_BYTES = 32 * 1024 * 1024
_NUMBER = re.compile(r"/(\d{20})\.sqlite$")


class ObjectVault:
    """A vault in a bucket, as one process sees it; `work` is a folder on this machine for its copies."""

    def __init__(self, store: Store, work: Path) -> None:
        self.store, self._root = store, work
        self._work: WorkFolder | None = None
        self._secrets: dict[str, bytes] = {}
        self._own: dict[str, Path] = {}
        self._fetched: dict[tuple[str, str], list[tuple[int, Path]]] = {}
        self._published: set[str] = set()
        self._turn = threading.RLock()

    # -- secrets

    def secret(self, name: str) -> bytes | None:
        found = self._secrets.get(name) or self.store.get(name)
        if found is not None:
            self._secrets[name] = found
        return found

    def create(self, name: str, data: bytes) -> bool:
        try:
            self.store.put_new(name, data)
        except Taken:
            return False
        return True

    # -- databases

    def own(self, name: str) -> Path:
        with self._turn:
            return self._own[name] if name in self._own else self.renew(name)

    def renew(self, name: str) -> Path:
        with self._turn:
            self._own[name] = self._newest_copy(name, "own")
            return self._own[name]

    def read(self, name: str) -> Path:
        with self._turn:
            if name in self._own:
                return self._own[name]
            return self._newest_copy(name, "read")

    def has(self, name: str) -> bool:
        return name in self._own or self.newest(name) is not None

    def newest(self, name: str) -> int | None:
        return max(self._numbers(name), default=None)

    def keep(self, name: str, number: int, database: Database) -> bool:
        with self._turn:
            copy = copied(database, self._folder() / f"keep-{secrets.token_hex(4)}.sqlite")
            try:
                self._publish_new(copy, _key(name, number))
            except Taken:
                return False
            finally:
                copy.unlink(missing_ok=True)
            self._forget_older(name, number)
        return True

    def place(self, name: str, number: int, file: Path) -> None:
        with suppress(Taken):
            self._publish_new(file, _key(name, number))
        file.unlink(missing_ok=True)
        self._forget_older(name, number)

    def _publish_new(self, file: Path, key: str) -> None:
        """Taken where there is one. Of two drivers that put a large one at this moment either's stays: they say the same."""
        if file.stat().st_size <= AT_ONCE_BYTES:
            self.store.put_new(key, file.read_bytes())
        elif self.store.exists(key):
            raise Taken(key)
        else:
            self.store.publish_file(file, key)

    def derived(self, name: str) -> Path:
        return self._root / name  # not this process's alone: it takes long to make again

    def _numbers(self, name: str) -> list[int]:
        return sorted(int(found[1]) for key in self.store.list(_folder_of(name)) if (found := _NUMBER.search(key)))

    def _forget_older(self, name: str, number: int) -> None:
        for older in [found for found in self._numbers(name) if found <= number][:-STILL_READ]:
            self.store.delete(_key(name, older))

    def _newest_copy(self, name: str, use: str) -> Path:
        """The newest state, fetched unless it was; a new place where none was ever kept."""
        folder = self._folder() / use
        folder.mkdir(mode=0o700, exist_ok=True)
        fetched = self._fetched.setdefault((name, use), [])
        while True:
            number = self.newest(name)
            if number is None:
                return folder / name
            if fetched and fetched[-1][0] == number:
                return fetched[-1][1]
            path = folder / f"{number}-{secrets.token_hex(4)}-{name}"
            if self._fetch(_key(name, number), path):  # else it was taken away for a newer one meanwhile
                fetched.append((number, path))
                _remove_older(fetched)
                return path

    def _fetch(self, key: str, path: Path) -> bool:
        """Write the object to a new file of its owner's; False where there is none."""
        try:
            source = self.store.open_file(key)
        except FileNotFoundError:
            return False
        with closing(source), open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while piece := source.read(1 << 20):
                file.write(piece)
        return True

    # -- snapshots

    def snapshots(self) -> Path:
        folder = self._folder() / "snapshots"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._write_salt(folder)
        return folder

    def publish(self, snapshot: Path) -> str:
        with self._turn:
            base = read_about(snapshot)["base"]
            for folder in ([snapshot.with_name(base)] if base else []) + [snapshot]:
                if folder.name not in self._published:
                    self._published.add(folder.name)
                    self._upload(folder)
            for name in [name for name in self._published if not snapshot.with_name(name).exists()]:
                self._published.discard(name)
                self._delete_all(f"{SNAPSHOTS}{name}/")
        return str(snapshot)

    def snapshot(self, name: str) -> Path:
        made = Path(name)
        if made.is_dir():
            return made
        with self._turn:
            path = self._fetch_snapshot(PurePath(name).name)
            needed = {path.name, str(read_about(path)["base"])}
            others = sorted((each for each in path.parent.glob("*-*") if each.name not in needed), key=_age)
            for older in others[:-STILL_READ]:
                shutil.rmtree(older, ignore_errors=True)
            return path

    def sweep(self) -> None:
        for name in set(self.store.folders(SNAPSHOTS)) - self._published:
            self._delete_all(f"{SNAPSHOTS}{name}/")

    def _upload(self, folder: Path) -> None:
        for name in ("arrays.bin", "about.json"):
            beside = folder.with_name(f".{folder.name}-{name}-{secrets.token_hex(4)}")
            os.link(folder / name, beside)
            with suppress(Taken):
                self.store.publish_file(beside, f"{SNAPSHOTS}{folder.name}/{name}")

    def _fetch_snapshot(self, name: str) -> Path:
        folder = self._folder() / "fetched"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._write_salt(folder)
        path = folder / name
        if not path.is_dir():
            making = folder / f".{name}-{secrets.token_hex(4)}"
            making.mkdir(mode=0o700)
            for part in ("about.json", "arrays.bin"):
                if not self._fetch(f"{SNAPSHOTS}{name}/{part}", making / part):
                    raise FileNotFoundError(f"the vault has no {SNAPSHOTS}{name} (any more)")
            making.rename(path)
        if base := read_about(path)["base"]:
            self._fetch_snapshot(base)
        return path

    def _write_salt(self, folder: Path) -> None:
        path = folder / SALT_FILE
        if path.exists():
            return
        if self.secret(SALT) is None:
            self.create(SALT, secrets.token_bytes(32))
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(self.secret(SALT) or b"")

    def _delete_all(self, prefix: str) -> None:
        for key in list(self.store.list(prefix)):
            self.store.delete(key)

    # -- this machine

    def _folder(self) -> Path:
        if self._work is None:
            self._work = WorkFolder(self._root)
        return self._work.path

    def close(self) -> None:
        if self._work is not None:
            self._work.close()
            self._work = None
        self._own.clear()
        self._fetched.clear()


def _remove_older(fetched: list[tuple[int, Path]]) -> None:
    """Copies that were fetched before the last two go; whoever has one open reads on in it."""
    while len(fetched) > STILL_READ:
        path = fetched.pop(0)[1]
        for ending in ("", "-wal", "-shm"):
            Path(f"{path}{ending}").unlink(missing_ok=True)


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _folder_of(name: str) -> str:
    return f"{PurePath(name).stem}/"


def _key(name: str, number: int) -> str:
    return f"{_folder_of(name)}{number:020d}.sqlite"
