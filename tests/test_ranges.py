import pyarrow as pa
import pytest

from connectors import ranges
from connectors.ranges import OffsetRange, _chosen, _parts
from connectors.records import BLOCK_SCHEMA, Rows, _append


def block(*offsets: int) -> pa.RecordBatch:
    rows = Rows()
    for offset in offsets:
        _append(rows, offset, 1, 1, 0)
    return rows.block()


def offsets_of(batch: pa.RecordBatch) -> list[int]:
    return list(batch.column("offset").to_pylist())


def test_a_range_without_wanted_offsets_is_read_in_one_stretch() -> None:
    whole = OffsetRange("t", 0, 5, 9)
    assert _parts(whole, None) == [whole]


def test_offsets_far_apart_are_read_in_stretches_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_FAR", 10)
    parts = _parts(OffsetRange("t", 0, 5, 1_000), [900, 7, 3, 12, 7, 1_000, 905])
    assert [(part.start, part.end) for part in parts] == [(7, 13), (900, 906)]


def test_wanted_offsets_outside_the_range_are_not_read() -> None:
    assert _parts(OffsetRange("t", 0, 5, 9), [1, 9]) == []
    assert _parts(OffsetRange("t", 0, 5, 9), []) == []


def test_a_block_ends_with_the_range() -> None:
    assert offsets_of(_chosen(block(3, 4, 7, 8), OffsetRange("t", 0, 3, 7), None)) == [3, 4]
    assert offsets_of(_chosen(block(3, 4), OffsetRange("t", 0, 3, 100), None)) == [3, 4]


def test_of_single_offsets_only_those_are_chosen() -> None:
    chosen = _chosen(block(3, 4, 6, 7, 8), OffsetRange("t", 0, 3, 8), [4, 5, 7, 8])
    assert offsets_of(chosen) == [4, 7]
    assert chosen.schema == BLOCK_SCHEMA
