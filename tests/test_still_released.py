"""When two rows say the same, column by column: nothing is the same as nothing, and as nothing else."""

from typing import Any

import pyarrow as pa
import pytest

from pipelines.still_released import _OF_THE_RUN, _equal
from schemas.families import FAMILIES, READING_FAMILIES, WAVEFORM


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        (pa.float64(), [1.0, 1.0, None, None, 0.0], [1.0, 2.0, None, 1.0, -0.0], [True, False, True, False, True]),
        (pa.string(), ["a", "a", None, ""], ["a", "b", None, None], [True, False, True, False]),
        (WAVEFORM.schema.field("counts").type, [[1, 2], [1, 2], [1], None, None], [[1, 2], [1, 3], [1, 1], None, [1]],
         [True, False, False, True, False]),
        (pa.float64(), [float("nan")], [float("nan")], [False]),
    ],
)  # fmt: skip
def test_what_is_equal(kind: Any, one: list[Any], other: list[Any], same: list[bool]) -> None:
    assert _equal(pa.chunked_array([one], kind), pa.chunked_array([other], kind)).tolist() == same


def test_all_that_says_what_a_reading_is_is_compared() -> None:
    """A new column of the run's own is named among `_OF_THE_RUN`; any other is compared."""
    for name in READING_FAMILIES:
        assert set(_OF_THE_RUN) <= set(FAMILIES[name].schema.names)
    compared = {column for name in READING_FAMILIES for column in FAMILIES[name].schema.names} - {*_OF_THE_RUN}
    assert {"value", "unit", "metric", "code", "values", "counts", "scale", "start", "end", "comparator"} <= compared
