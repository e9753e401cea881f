"""Streams for tests that are made while they are read, so that a file of any size takes no room."""

import io
from collections.abc import Iterator


class Endless(io.RawIOBase):
    """A stream of pieces that are made as they are read, and how much was `given`."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._ahead, self.given = pieces, b"", 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._ahead or next(self._pieces, b"")
        self._ahead = data[len(buffer) :]
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        self.given += size
        return size
