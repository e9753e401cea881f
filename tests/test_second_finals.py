"""UQ-04: a second final result of another report, and what is not one."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.duplicates import KeyedFile
from pipelines.second_finals import SecondFinals
from pipelines.store import FolderStore
from quality.gate import BITS

PLACE = ("sleep", "lab_result", "2026-03")
FIRST = {
    "specimen64": 5,
    "metric": "hba1c",
    "code_sent": "4548-4",
    "run": "r",
    "origin": b"1",
    "status": "F",
    "record64": 1,
}


def looked_at(
    finals: SecondFinals, *results: dict[str, Any], files: tuple[KeyedFile, ...] = (), flags: int = 0
) -> list[bool]:
    """The answer for results, each a change of FIRST."""
    rows = [FIRST | result for result in results]
    messages = pa.table({name: [row[name] for row in rows] for name in ("metric", "origin")})
    own = {
        name: pa.array([row[name] for row in rows]) for name in ("code_sent", "run", "status", "record64", "specimen64")
    }
    numbers = {
        "message": np.arange(len(rows)),
        "key64": np.arange(100, 100 + len(rows)),
        "flags": np.full(len(rows), flags),
    }
    return list(finals.second(messages, {**own, **numbers}, files, PLACE).tolist())


@pytest.fixture
def finals(tmp_path: Path) -> SecondFinals:
    return SecondFinals(FolderStore(tmp_path))


SECOND = {"origin": b"2", "record64": 2}


@pytest.mark.parametrize(
    ("second", "wanted"),
    [
        (SECOND, True),
        ({**SECOND, "status": "C"}, True),
        ({**SECOND, "record64": None}, True),
        ({**SECOND, "status": "P"}, False),
        ({**SECOND, "status": "D"}, False),
        ({**SECOND, "record64": 1}, False),
        ({**SECOND, "origin": b"1"}, False),
        ({**SECOND, "metric": "zinc"}, False),
        ({**SECOND, "code_sent": "17856-6"}, False),
        ({**SECOND, "specimen64": 6}, False),
        ({**SECOND, "run": "s"}, False),
        ({**SECOND, "specimen64": None}, False),
    ],
)
def test_a_second_final_result(finals: SecondFinals, second: dict[str, Any], wanted: bool) -> None:
    assert looked_at(finals, {}, second) == [False, wanted]


def test_after_a_preliminary_result_the_final_one_is_the_first(finals: SecondFinals) -> None:
    assert looked_at(finals, {"status": "P"}, SECOND, {"origin": b"3", "record64": 3}) == [False, False, True]


def test_what_came_before_in_the_plan_counts_and_what_was_held_back_does_not(finals: SecondFinals) -> None:
    assert looked_at(finals, {"specimen64": 7}, flags=1 << BITS["PL-00"]) == [False]
    assert looked_at(finals, {}, {**SECOND, "specimen64": 7}) == [False, False]
    assert looked_at(finals, SECOND) == [True]
    assert looked_at(finals, {"origin": b"4", "record64": 4}) == [True]


def test_what_landed_before_counts(tmp_path: Path, finals: SecondFinals) -> None:
    columns = {name: pa.array([value]) for name, value in FIRST.items()}
    pq.write_table(pa.table({**columns, "key64": pa.array([9])}), tmp_path / "a.parquet")
    file = KeyedFile("a.parquet", 5, 5)
    assert looked_at(finals, SECOND, {**SECOND, "specimen64": 6}, files=(file,)) == [True, False]
    assert looked_at(finals, {"origin": b"3"}, files=(file,)) == [False], "a correction of the first"


def test_results_of_no_kit_are_not_compared_and_no_file_is_read_for_them(finals: SecondFinals) -> None:
    gone = KeyedFile("is-not-there.parquet", 5, 5)
    of_none = {"specimen64": None}
    assert looked_at(finals, of_none, {**SECOND, **of_none}, files=(gone,)) == [False, False]
    assert finals.second(pa.table({}), {"message": np.zeros(2), "flags": np.zeros(2)}, (gone,), PLACE).tolist() == [
        False,
        False,
    ]
