"""A disk without room: whichever library met it, and however it puts it, the operator is told which disk it is.

Nothing has to be undone then. What a run wrote is visible to nobody before its entry is appended, and an entry that was
appended is applied by the next driver.
"""

import errno
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipelines.entries import LakeError
from pipelines.places import Place

_FULL = (errno.ENOSPC, errno.EDQUOT)
_IN_WORDS = re.compile(rf"\[errno ({errno.ENOSPC}|{errno.EDQUOT})\]|\(os error ({errno.ENOSPC}|{errno.EDQUOT})\)", re.I)
"""As Python and Arrow, and as Rust's libraries put it: Beam and Delta hand on nothing but a text."""
_LITTLE = 1024 * 1024


class NoRoom(LakeError):
    """A disk is full: what was under way is not done, and nothing is lost by it."""


@contextmanager
def telling_no_room(places: Mapping[str, Place]) -> Iterator[None]:
    """NoRoom in place of whatever else says that a disk is full; `places` by the name of their setting."""
    try:
        yield
    except Exception as error:
        full = [name for name, place in places.items() if isinstance(place, Path) and _free(place) < _LITTLE]
        if is_of_full_disk(error) or (full and any(map(_is_of_files, _with_causes(error)))):
            raise NoRoom(_words(full)) from None
        raise


def is_of_full_disk(error: BaseException) -> bool:
    """Whether it, or what it came from, says that a disk is full."""
    return any(map(_is_full, _with_causes(error)))


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _is_of_files(error: BaseException) -> bool:
    """Whether it may be for want of room without saying so: SQLite calls it an I/O error where its index does not fit."""
    return isinstance(error, (OSError, sqlite3.OperationalError))


def _is_full(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return _IN_WORDS.search(str(error)) is not None


def _words(full: list[str]) -> str:
    where = f"the disk of the setting {' and '.join(full)} is full" if full else "a disk was full, or a quota reached"
    return (
        f"{where}: what was under way is not committed, and nothing is lost by it; "
        "make room, then start the driver again"
    )


def _free(folder: Path) -> int:
    """Bytes that whoever runs this may still write there."""
    there = os.statvfs(next(at for at in (folder, *folder.parents) if at.exists()))
    return there.f_bavail * there.f_frsize
