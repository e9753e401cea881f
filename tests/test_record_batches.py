"""Records, a dict each, as batches of a format's schema: in order, with what was left out, and faults beside them."""

import pyarrow as pa
import pytest

from connectors import record_batches
from connectors.formats import NotRead, Partial, Problem
from connectors.record_batches import LONGEST_TEXT, Record, in_batches
from schemas.reasons import Reason
from schemas.source_records import CLOCK, source_schema

SCHEMA = source_schema(CLOCK)


def record(n: int, **columns: object) -> Record:
    usual = {"type": "Weight", "start": n, "clock": "local", "source_name": "scale", "value": str(n)}
    return Record(f"line {n}", {**usual, **columns})


def test_what_a_record_does_not_name_is_filled_in() -> None:
    (batch,) = in_batches([record(7), record(8, end=9, modality="derived")], SCHEMA)
    assert isinstance(batch, pa.RecordBatch) and batch.schema == SCHEMA
    batch.validate(full=True)
    assert batch.column("end").cast(pa.int64()).to_pylist() == [7, 9]
    assert batch.column("modality").to_pylist() == ["sensed", "derived"]
    assert batch.column("parts").to_pylist() == [[], []]
    assert batch.column("unit").to_pylist() == [None, None]


def test_batches_are_cut_and_keep_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_batches, "BATCH_ROWS", 3)
    found = list(in_batches(map(record, range(8)), SCHEMA))
    values = [batch.column("value").to_pylist() for batch in found if isinstance(batch, pa.RecordBatch)]
    assert values == [["0", "1", "2"], ["3", "4", "5"], ["6", "7"]]


def test_nothing_follows_where_a_file_broke_off_and_nothing_is_lost() -> None:
    problem, beside, partial = Problem(Reason.FIELD, "line 2"), NotRead("notes", "1"), Partial("line 4", "cut")
    found = list(in_batches([record(1), problem, record(3), beside, partial], SCHEMA))
    assert found[:2] == [problem, beside]
    assert isinstance(found[2], pa.RecordBatch) and found[2].num_rows == 2
    assert found[3:] == [partial]


def test_a_text_that_no_header_could_hold_is_a_problem() -> None:
    long = "x" * (LONGEST_TEXT + 1)
    found = list(in_batches([record(1, value=long), record(2, type=long), record(3, source_name=long)], SCHEMA))
    assert found == [
        Problem(Reason.TOO_LARGE, "line 1", "Weight"),
        Problem(Reason.TOO_LARGE, "line 2"),
        Problem(Reason.TOO_LARGE, "line 3", "Weight"),
    ]


def test_without_records_there_is_no_batch() -> None:
    assert list(in_batches([], SCHEMA)) == []
