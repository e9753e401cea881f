"""Reading objects that never change, in any order: a piece is fetched once, as long as there is room for it.

The end of an object comes first, since that is where a Parquet file says what is in it, and its size with it: a small
file is one request.
"""

import io
import threading
from collections import OrderedDict
from typing import Any, NamedTuple

from connectors.objects import Objects, StoredObject

PIECE_BYTES = 1024 * 1024
HELD_BYTES = 64 * 1024 * 1024
_AT_ONCE = 16  # pieces of one request


class _End(NamedTuple):
    one: StoredObject
    content: bytes

    @property
    def begin(self) -> int:
        return self.one.size - len(self.content)


class Pieces:
    """What was read of objects; the least recently used is forgotten. Any thread may ask. Raises StorageFailed."""

    def __init__(self, objects: Objects, held_bytes: int = HELD_BYTES) -> None:
        self._objects, self._most, self._bytes = objects, held_bytes, 0
        self._held: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._turn = threading.Lock()

    def size(self, key: str) -> int:
        """Bytes of the object; FileNotFoundError where there is none."""
        return self._end(key).one.size

    def read(self, key: str, start: int, size: int) -> bytes:
        """Bytes of the object from `start`, fewer at its end; FileNotFoundError where there is none."""
        end = self._end(key)
        stop = min(start + size, end.one.size)
        parts = []
        while start < min(stop, end.begin):
            piece = self._piece(key, end, start // PIECE_BYTES, min(stop, end.begin))
            inside = start % PIECE_BYTES
            parts.append(piece[inside : inside + stop - start])
            start += len(parts[-1])
        if start < stop:
            parts.append(end.content[start - end.begin : stop - end.begin])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end(self, key: str) -> _End:
        found = self._get(key, -1)
        if found is None:
            answer = self._objects.tail(key, PIECE_BYTES)
            if answer is None:
                raise FileNotFoundError("there is no such object")
            found = _End(*answer)
            self._put(key, -1, found, len(found.content))
        return found  # type: ignore[no-any-return]

    def _piece(self, key: str, end: _End, number: int, stop: int) -> bytes:
        """A piece of the object before its end, together with those after it that are wanted and not held."""
        found = self._get(key, number)
        if found is not None:
            return found  # type: ignore[no-any-return]
        last = number
        while (last + 1) * PIECE_BYTES < stop and last + 1 - number < _AT_ONCE and self._get(key, last + 1) is None:
            last += 1
        begin = number * PIECE_BYTES
        content = self._objects.read(end.one, begin, min((last + 1) * PIECE_BYTES, end.begin) - begin)
        for at in range(number, last + 1):
            piece = content[(at - number) * PIECE_BYTES : (at - number + 1) * PIECE_BYTES]
            self._put(key, at, piece, len(piece))
        return content[:PIECE_BYTES]

    def _get(self, key: str, number: int) -> Any:
        with self._turn:
            found = self._held.get((key, number))
            if found is None:
                return None
            self._held.move_to_end((key, number))
            return found[0]

    def _put(self, key: str, number: int, content: Any, size: int) -> None:
        with self._turn:
            self._bytes += size - self._held.pop((key, number), (None, 0))[1]
            self._held[key, number] = (content, size)
            while self._bytes > self._most and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1][1]


class ObjectReader(io.RawIOBase):
    """One object, to be read in any order. FileNotFoundError where there is none."""

    def __init__(self, pieces: Pieces, key: str) -> None:
        self._pieces, self._key, self._at = pieces, key, 0
        self._size = pieces.size(key)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        """Bytes of the object."""
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._size if size is None or size < 0 else size
        content = self._pieces.read(self._key, self._at, wanted) if self._at < self._size else b""
        self._at += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
