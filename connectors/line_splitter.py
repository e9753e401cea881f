"""A stream of bytes becomes lines, none of which can fill the memory."""

MOST_LINE_BYTES = 1_000_000


class LineSplitter:
    """Takes a stream piece by piece and gives its complete lines, without their ends.

    A line of more than `most_bytes` comes out as None, once, as soon as that is known; the rest of it is dropped as it
    comes, so no more than one line and one piece are ever held.
    """

    def __init__(self, most_bytes: int = MOST_LINE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._begun: list[bytes] = []
        self._held = 0
        self._dropping = False

    def feed(self, piece: bytes) -> list[bytes | None]:
        """The lines that `piece` completes; the last, incomplete one is kept for the next piece."""
        *complete, begun = piece.split(b"\n")
        lines: list[bytes | None] = []
        if complete:
            lines += self._end(complete[0])
            lines += [line if len(line) <= self._most_bytes else None for line in complete[1:]]
        return lines + self._begin(begun)

    def rest(self) -> list[bytes | None]:
        """The last line of a stream that has ended without a line end."""
        return self._end(b"") if self._held else []

    def _begin(self, begun: bytes) -> list[bytes | None]:
        if self._dropping or not begun:
            return []
        self._begun.append(begun)
        self._held += len(begun)
        if self._held <= self._most_bytes:
            return []
        self._begun, self._held, self._dropping = [], 0, True
        return [None]

    def _end(self, tail: bytes) -> list[bytes | None]:
        """The line that was begun and ends with `tail`; none where it has been given up already."""
        begun, self._begun, self._held = b"".join([*self._begun, tail]), [], 0
        if self._dropping:
            self._dropping = False
            return []
        return [begun if len(begun) <= self._most_bytes else None]
