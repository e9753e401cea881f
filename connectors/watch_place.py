"""A place that is watched: what lies in it, and the few things that a watcher does there. A folder or a bucket.

Names are relative to the place, with forward slashes. Files are looked for at the top only; the watcher keeps its own
in the hidden part `.wellspring/`, and puts what it has done with into `done/`, `failed/` and `receipts/`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from connectors.source_file import SourceFile

HIDDEN = ".wellspring"
PARTS = ("done", "failed", "receipts", HIDDEN)
_UNFINISHED = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".download")


class Item(NamedTuple):
    """A file at the top of a place: bytes, a stamp that is another one when the file is, when it was changed last in
    microseconds since the epoch by the place's clock, and how long ago that was, seconds."""

    name: str
    size: int
    stamp: str
    changed_us: int
    age_s: float


class PlaceRefused(Exception):
    """A place that cannot be watched, or no longer; the text says why and names no file in it."""


class Changed(Exception):
    """A file is no longer the one that was listed."""


class Place(Protocol):
    """A place. Its methods raise StorageFailed; what one has returned from survives a power cut of this machine."""

    poll_s: float
    """Seconds after which it is worth while to look again."""

    def hold(self) -> AbstractContextManager[None]:
        """Be its only watcher for the time of the block; PlaceRefused where there is one already."""

    def assert_held(self) -> None:
        """PlaceRefused where another watcher has taken over."""

    def items(self) -> list[Item]:
        """The files at its top, in no order, whatever they are called."""

    def open(self, item: Item) -> SourceFile:
        """The file, from its beginning; Changed where it is another one by now."""

    def is_still(self, item: Item) -> bool:
        """Whether the file is the one that was listed, unchanged."""

    def get(self, name: str) -> bytes | None:
        """What lies there, None where nothing does: for small files."""

    def put(self, name: str, data: bytes) -> None:
        """Create or replace in one step."""

    def exists(self, name: str) -> bool: ...

    def below(self, part: str) -> Iterator[str]:
        """The names of what lies in a part of the place."""

    def move(self, name: str, stamp: str, to: str) -> None:
        """Move what has this stamp to a name that only this move was given; nothing happens where that was done before,
        nor to another file that has come in its place."""

    def delete(self, name: str) -> None:
        """Remove; nothing happens where there is nothing."""


def may_be_whole(name: str) -> bool:
    """Whether a file of that name may be looked at: not where it is hidden, or named as one that is on its way."""
    return not name.startswith((".", "~")) and not name.lower().endswith(_UNFINISHED)
