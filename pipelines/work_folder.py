"""A process's own folder for copies of what lies in a bucket: nothing in it is ever the only one."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.settings import SettingsError

_LOCK, _PREFIX = "lock", "life-"


class WorkFolder:
    """A new folder below `root`, both for their owner's eyes only. `close` removes it. SettingsError where `root` is not.

    What killed processes left is removed when the next one begins: it is known by its lock, which ends with its holder.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_shared(root)
        with _locked(root):
            for left in root.glob(f"{_PREFIX}*"):
                _remove_unless_alive(left)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
            self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _refuse_shared(root: Path) -> None:
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise SettingsError("vault_work: expected a folder that is this user's alone (mode 700), or none yet")


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One process at a time makes and removes folders."""
    lock = os.open(root / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove_unless_alive(folder: Path) -> None:
    with suppress(FileNotFoundError):
        lock = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        finally:
            os.close(lock)
    shutil.rmtree(folder, ignore_errors=True)
