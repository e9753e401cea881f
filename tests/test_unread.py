"""Reading around records that must not be touched."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest

from connectors.ranges import OffsetRange
from connectors.records import BLOCK_SCHEMA
from connectors.unread import without

asked: list[tuple[int, int]] = []


def read(wanted: OffsetRange, offsets: Sequence[int] | None) -> Iterator[pa.RecordBatch]:
    """Every record of the range, or the wanted ones of it, as a block."""
    asked.append((wanted.start, wanted.end))
    found = range(wanted.start, wanted.end) if offsets is None else offsets
    row = {"timestamp_us": 1, "timestamp_type": 1, "value": b"x", "too_large": False, "corrupt": False}
    yield pa.RecordBatch.from_pylist([{"offset": n, **row} for n in found], schema=BLOCK_SCHEMA)


@pytest.mark.parametrize(
    ("untouched", "offsets", "spans"),
    [
        ((), None, [(10, 20)]),
        ((12,), None, [(10, 12), (13, 20)]),
        ((10, 11, 19), None, [(12, 19)]),
        ((5, 25), None, [(10, 20)]),
        (range(10, 20), None, []),
        ((12,), (11, 12, 15), [(10, 12), (13, 20)]),
        ((12,), (12,), []),
        ((12,), (15,), [(10, 20)]),
    ],
)
def test_all_records_are_there_and_the_untouched_ones_without_content(
    untouched: Sequence[int], offsets: Sequence[int] | None, spans: list[tuple[int, int]]
) -> None:
    asked.clear()
    blocks = list(without(OffsetRange("t", 0, 10, 20), offsets, untouched, read))
    found = {row["offset"]: row["value"] for block in blocks for row in block.to_pylist()}
    wanted = range(10, 20) if offsets is None else offsets
    assert list(found) == sorted(found) and set(found) == set(wanted)
    assert {n for n, value in found.items() if value is None} == set(untouched) & set(wanted)
    assert asked == spans
