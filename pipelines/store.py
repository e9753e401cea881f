"""Where a lake's objects lie: a handful of verbs that a folder and an object store can both keep.

A key is a relative path with forward slashes. Temporary files lie together under `_tmp/`, on the lake's own file
system, so that a reader of the tables never meets one and the sweep need not search for them.
"""

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import pyarrow as pa

TEMPORARY = "_tmp"


class Taken(Exception):
    """The key holds an object already; a create-only write never replaces one."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is there already")
        self.key = key


class Temp(NamedTuple):
    """A temporary file: its key, and when it was last written (microseconds since the epoch, UTC)."""

    key: str
    modified_us: int


class Store(Protocol):
    """The lake's objects. What a method has returned from survives a power cut."""

    def put_new(self, key: str, data: bytes) -> None:
        """Create the object; Taken where there is one. After any other error, read back before trying again."""

    def put(self, key: str, data: bytes) -> None:
        """Create or replace the object in one step: only for what may be rewritten, such as a heartbeat."""

    def get(self, key: str) -> bytes | None: ...

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int | None:
        """Bytes of the object, None where there is none."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that begin with the prefix, at any depth; temporary files are not among them."""

    def folders(self, prefix: str) -> Iterator[str]:
        """Names, one level below the prefix, under which there may be keys."""

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""

    def forget(self, prefix: str) -> None:
        """Remove what the store itself keeps of objects that were deleted or replaced."""

    def uri(self, key: str) -> str:
        """The address by which delta-rs and DuckDB open the key."""

    def delta_options(self) -> Mapping[str, str]:
        """What delta-rs needs to be told to open an address; it may change, as credentials do."""

    def explain(self, error: Exception) -> None:
        """Raise what stands behind an error of delta-rs, in words without a key, where that is known here."""

    def open_file(self, key: str) -> pa.NativeFile:
        """The object for random reads; FileNotFoundError where there is none."""

    def temp_path(self, key: str) -> Path:
        """A new local path at which a file may be written before it is published under the key."""

    def publish_file(self, local_temp: Path, key: str) -> None:
        """Make a finished local file the object; Taken where there is one. The local file is gone afterwards."""

    def sync(self, key: str) -> None:
        """Make durable what another library has written under the key."""

    def temps(self) -> Iterator[Temp]: ...


class FolderStore:
    """A lake in a folder of a file system with hard links (ext4, xfs, zfs, apfs, ntfs)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def put_new(self, key: str, data: bytes) -> None:
        self.publish_file(self._written(key, data), key)

    def put(self, key: str, data: bytes) -> None:
        temp, path = self._written(key, data), self._path(key)
        _sync_file(temp)
        self._make_folder(path.parent)
        os.replace(temp, path)
        _sync_folder(path.parent)

    def get(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        return self._path(key).exists()

    def size(self, key: str) -> int | None:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[str]:
        start = self.root / prefix.rpartition("/")[0]
        for folder, names, files in os.walk(start):
            here = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
            names[:] = sorted(name for name in names if _may_hold(f"{here / name}/", prefix))
            for key in (str(here / name) for name in sorted(files)):
                if key.startswith(prefix):
                    yield key

    def folders(self, prefix: str) -> Iterator[str]:
        start, _, begin = prefix.rpartition("/")
        try:
            found = sorted(entry.name for entry in os.scandir(self.root / start) if entry.is_dir())
        except FileNotFoundError:
            return
        yield from (name for name in found if name.startswith(begin) and name != TEMPORARY)

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def forget(self, prefix: str) -> None:
        """A folder keeps nothing."""

    def uri(self, key: str) -> str:
        return str(self._path(key))

    def delta_options(self) -> Mapping[str, str]:
        return {}

    def explain(self, error: Exception) -> None:
        """The system's own words say it."""

    def open_file(self, key: str) -> pa.NativeFile:
        return pa.OSFile(str(self._path(key)))

    def temp_path(self, key: str) -> Path:
        folder = self.root / TEMPORARY
        self._make_folder(folder)
        return folder / f"{PurePosixPath(key).name}.{uuid.uuid4().hex}"

    def publish_file(self, local_temp: Path, key: str) -> None:
        path = self._path(key)
        _sync_file(local_temp)
        self._make_folder(path.parent)
        try:
            os.link(local_temp, path)  # a rename would replace what is there
        except FileExistsError:
            raise Taken(key) from None
        finally:
            local_temp.unlink()
        _sync_folder(path.parent)

    def sync(self, key: str) -> None:
        path = self._path(key)
        _sync_file(path)
        for folder in path.parents:
            _sync_folder(folder)
            if folder == self.root:
                break

    def temps(self) -> Iterator[Temp]:
        return temps_in(self.root / TEMPORARY)

    def _written(self, key: str, data: bytes) -> Path:
        temp = self.temp_path(key)
        temp.write_bytes(data)
        return temp

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts:
            raise ValueError("a key is a relative path inside the lake")
        return self.root.joinpath(*parts)

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def temps_in(folder: Path) -> Iterator[Temp]:
    """The temporary files of a store that lie in this folder, none where there is none."""
    try:
        found = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in found:
        try:
            yield Temp(f"{TEMPORARY}/{entry.name}", entry.stat().st_mtime_ns // 1000)
        except FileNotFoundError:
            continue  # its writer has just published it


def _may_hold(folder: str, prefix: str) -> bool:
    return not folder.startswith(f"{TEMPORARY}/") and (folder.startswith(prefix) or prefix.startswith(folder))


def _sync_file(path: Path) -> None:
    _sync(path, os.O_RDONLY)


def _sync_folder(path: Path) -> None:
    _sync(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
