"""DuckDB over a bucket: the files of a session's views, read through our own client instead of an extension of its."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
from fsspec import AbstractFileSystem

from connectors.source_file import StorageFailed
from pipelines.store import FolderStore, Store

if TYPE_CHECKING:
    from pipelines.object_store import ObjectStore

_FAILED = re.compile(rf"^{StorageFailed.__name__}: (.*)$", re.MULTILINE)


class ObjectFiles(AbstractFileSystem):  # type: ignore[misc]
    """The data files of one lake, by the addresses that `Store.uri` gives. They are read alone."""

    protocol = "s3"
    cachable = False

    def __init__(self, store: "ObjectStore") -> None:
        super().__init__()
        self._store = store

    def open(self, path: str, mode: str = "rb", **_: Any) -> io.RawIOBase:
        """The file for reading; FileNotFoundError where there is none."""
        if mode != "rb":
            raise PermissionError("the lake is changed by the driver alone")
        from connectors.object_reading import ObjectReader

        return ObjectReader(self._store.pieces, self._key(path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Its size."""
        return {"name": path, "size": self._store.pieces.size(self._key(path)), "type": "file"}

    def glob(self, path: str, **_: Any) -> list[str]:
        """The address itself: a view names each of its files."""
        return [path]

    def modified(self, path: str) -> datetime:
        """The same for ever: a data file never changes."""
        return datetime.fromtimestamp(0, UTC)

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self._store.address}/")


@contextmanager
def in_words() -> Iterator[None]:
    """StorageFailed in place of DuckDB's error, which has it as the last line of a traceback."""
    try:
        yield
    except duckdb.Error as error:
        if found := _FAILED.search(str(error)):
            raise StorageFailed(found[1]) from None
        raise


def reach(session: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Let the session open the lake's files; nothing to be done where they lie in a folder."""
    if isinstance(store, FolderStore):
        return
    from pipelines.object_store import ObjectStore  # loads the SDK, which a folder does without

    if isinstance(store, ObjectStore):
        session.register_filesystem(ObjectFiles(store))
