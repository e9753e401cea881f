"""A stream that may stay open: what is there is read, and nobody waits longer than they want to."""

import io
import os
import select
import stat
from collections.abc import Callable
from typing import BinaryIO

_PIECE = 64 * 1024


class StreamInput:
    """A binary stream, read without waiting longer than told. `live`: more may come while nothing is there."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._stream = stream
        self.live = _may_wait(stream)

    def read(self, wait_s: float) -> bytes | None:
        """A piece as large as is there; empty at the stream's end, None where nothing has come in time."""
        if self.live and not select.select([self._stream], [], [], wait_s)[0]:
            return None
        return self._read(_PIECE)


def _may_wait(stream: BinaryIO) -> bool:
    """Whether reading may have to wait: not from a file, and not from memory."""
    try:
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (AttributeError, io.UnsupportedOperation):
        return False
