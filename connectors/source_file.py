"""A source's file as the connectors read it: in pieces, from wherever it lies, and how far its reader is."""

import io
from typing import Any

BUFFER_BYTES = 1024 * 1024


class StorageFailed(Exception):
    """A disk, a network or a server failed, or refused; the text says why and names no file. Asked again, it may go
    well: so it is never taken for the end of a file."""


class SourceFile(io.BufferedReader):
    """A file that is read in pieces, its size, and how much of it was read; closing it closes what it reads from."""

    def __init__(self, raw: io.RawIOBase, size: int, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._counted = _Counted(raw)
        super().__init__(self._counted, buffer_bytes)
        self.size = size

    @property
    def read_bytes(self) -> int:
        return self._counted.read_bytes


class _Counted(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self.read_bytes = 0

    def readinto(self, buffer: Any) -> int | None:
        size: int | None = self._raw.readinto(buffer)
        self.read_bytes += size or 0
        return size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._raw.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        self._raw.close()
        super().close()
