"""A folder that is watched. One watcher at a time: a lock that ends with the process, however that ends."""

import fcntl
import io
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from connectors.source_file import SourceFile, StorageFailed
from connectors.watch_place import HIDDEN, PARTS, Changed, Item, PlaceRefused

P = ParamSpec("P")
R = TypeVar("R")

_LOCK = f"{HIDDEN}/lock"
_TEMPORARY = "new-"


def _told(method: Callable[P, R]) -> Callable[P, R]:
    """The method, whose failures say what the system says, and no name."""

    @wraps(method)
    def careful(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return method(*arguments, **named)
        except OSError as error:
            raise StorageFailed(f"the watched folder: {error.strerror or 'it cannot be used'}") from None

    return careful


class _Raw(io.FileIO):
    """A file of which a disk that fails is told apart from a file that ends."""

    @_told
    def readinto(self, buffer: Any) -> int | None:
        return super().readinto(buffer)


class Folder:
    """A Place in a folder. Files that are no plain files, and links, are not looked at."""

    poll_s = 1.0

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise PlaceRefused(f"{root} is not a folder")
        self._root = root.absolute()
        self._held = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        try:
            for part in PARTS:
                (self._root / part).mkdir(exist_ok=True)
            elsewhere = any((self._root / part).stat().st_dev != self._root.stat().st_dev for part in PARTS)
            lock = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PlaceRefused(f"{self._root} cannot be written to: {error.strerror}") from None
        try:
            if elsewhere:
                raise PlaceRefused(f"{self._root}: done, failed and receipts must lie on the folder's own file system")
            _lock(lock)
            self._held = True
            for left in (self._root / HIDDEN).glob(f"{_TEMPORARY}*"):
                left.unlink()
            yield
        finally:
            self._held = False
            os.close(lock)

    def assert_held(self) -> None:
        """Nobody can take the lock from a process that lives."""

    @_told
    def items(self) -> list[Item]:
        now_us = self._now_us()
        found = []
        for entry in os.scandir(self._root):
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it has gone meanwhile
            if stat.S_ISREG(info.st_mode):
                # Not the time of modification: a copy may carry its original's. This one nobody can set.
                changed_us = info.st_ctime_ns // 1000
                age_s = (now_us - changed_us) / 1e6
                found.append(Item(entry.name, info.st_size, _stamp(info), changed_us, age_s))
        return found

    def _now_us(self) -> int:
        """By the clock of the file system, which another machine may serve."""
        if not self._held:
            return time.time_ns() // 1000
        os.utime(self._root / _LOCK)
        return (self._root / _LOCK).stat().st_mtime_ns // 1000

    @_told
    def open(self, item: Item) -> SourceFile:
        try:
            descriptor = os.open(self._root / item.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise Changed from None
        raw = _Raw(descriptor)
        if _stamp(os.fstat(descriptor)) != item.stamp:
            raw.close()
            raise Changed
        return SourceFile(raw, item.size)

    @_told
    def is_still(self, item: Item) -> bool:
        return self._stamp_of(item.name) == item.stamp

    @_told
    def get(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    @_told
    def put(self, name: str, data: bytes) -> None:
        temporary = self._root / HIDDEN / f"{_TEMPORARY}{uuid.uuid4().hex}"
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._root / name)
        _sync_folder((self._root / name).parent)

    @_told
    def exists(self, name: str) -> bool:
        return os.path.lexists(self._root / name)

    @_told
    def below(self, part: str) -> Iterator[str]:
        return iter([f"{part}/{name}" for name in sorted(os.listdir(self._root / part))])

    @_told
    def move(self, name: str, stamp: str, to: str) -> None:
        target = self._root / to
        if os.path.lexists(target) or self._stamp_of(name) != stamp:
            return
        os.rename(self._root / name, target)
        _sync_folder(target.parent)
        _sync_folder(self._root)

    @_told
    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def _stamp_of(self, name: str) -> str | None:
        try:
            return _stamp((self._root / name).lstat())
        except FileNotFoundError:
            return None


def _stamp(info: os.stat_result) -> str:
    return f"{info.st_ino}-{info.st_size}-{info.st_mtime_ns}"


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PlaceRefused("another watcher is at work on this folder") from None
    except OSError as error:
        raise PlaceRefused(f"this folder cannot be locked: {error.strerror}") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
