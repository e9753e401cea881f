"""Reading a range around records that must not be touched, since to read them ends the process."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from connectors.ranges import OffsetRange
from connectors.records import BLOCK_SCHEMA

Read = Callable[[OffsetRange, Sequence[int] | None], Iterable[pa.RecordBatch]]


def without(
    wanted: OffsetRange, offsets: Sequence[int] | None, untouched: Collection[int], read: Read
) -> Iterator[pa.RecordBatch]:
    """What `read` gives of the range, or of single offsets in it, in order; an untouched record is there without content.

    The broker is asked for what lies before and after it. Records that were packed in one batch with it are unpacked
    with it: who does not survive that finds each of them out.
    """
    start = wanted.start
    for offset in sorted(offset for offset in untouched if wanted.start <= offset < wanted.end):
        if offsets is None or offset in offsets:
            yield from _between(replace(wanted, start=start, end=offset), offsets, read)
            yield unread(offset)
            start = offset + 1
    yield from _between(replace(wanted, start=start), offsets, read)


def _between(wanted: OffsetRange, offsets: Sequence[int] | None, read: Read) -> Iterable[pa.RecordBatch]:
    inside = offsets if offsets is None else [one for one in offsets if wanted.start <= one < wanted.end]
    if wanted.start >= wanted.end or inside == []:
        return ()
    return read(wanted, inside)


def unread(offset: int) -> pa.RecordBatch:
    """A record of which only the offset is known, as a block."""
    row = {"offset": offset, "timestamp_us": 0, "timestamp_type": 0, "too_large": False, "corrupt": False}
    return pa.RecordBatch.from_pylist([row], schema=BLOCK_SCHEMA)
