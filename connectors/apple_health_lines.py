"""Where a byte of a stream lies, in lines: what people find in an editor."""

from collections import deque


class Lines:
    """The pieces of a stream that may still be asked about, and how many lines were before each."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, int, bytes]] = deque()
        self._bytes = self._lines = 0

    def add(self, piece: bytes, newlines: int) -> None:
        """The stream goes on with this piece, which has so many newlines."""
        self._pieces.append((self._bytes, self._lines, piece))
        self._bytes += len(piece)
        self._lines += newlines

    def line(self, byte: int) -> int:
        """The line, from 1, in which a byte lies; it must not lie before what was forgotten."""
        start, lines, piece = next(one for one in reversed(self._pieces) if one[0] <= byte)
        return lines + piece.count(b"\n", 0, byte - start) + 1

    def forget(self, byte: int) -> None:
        """Nobody will ask about what lies before this byte."""
        while len(self._pieces) > 1 and self._pieces[1][0] <= byte:
            self._pieces.popleft()
