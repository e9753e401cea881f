"""A model's limits on columns: what pydantic would refuse for its length, size or word is found, and where."""

from typing import Annotated, Literal

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field, StringConstraints

from schemas.limits import limits_of

PART = pa.struct([("word", pa.string())])
THING = pa.struct(
    [
        *(("text", pa.string()), ("colour", pa.string()), ("count", pa.int32()), ("below", pa.int64())),
        *(("size", pa.float64()), ("part", PART), ("parts", pa.list_(PART))),
    ]
)


class Part(BaseModel):
    word: Annotated[str, StringConstraints(min_length=2, max_length=4)]


class Thing(BaseModel):
    text: Annotated[str, StringConstraints(max_length=3)] | None = None
    colour: Literal["red", "green"] | None = None
    count: Annotated[int, Field(ge=-5, le=5)] | None = None
    below: Annotated[int, Field(lt=10)] | None = None
    size: Annotated[float, Field(allow_inf_nan=False)] | None = None
    part: Part | None = None
    parts: Annotated[tuple[Part, ...], Field(min_length=1)] | None = None


def beyond(*things: dict[str, object]) -> list[int]:
    """The places of the things that are beyond a limit."""
    found = limits_of(Thing)(pa.array(things, THING))
    return [] if found is None else found.nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("field", "within", "out"),
    [
        ("text", ["", "abc", "é🙂é", None], ["abcd", "é🙂éé"]),
        ("colour", ["red", None], ["blue", ""]),
        ("count", [-5, 0, 5, None], [-6, 6, 2**31 - 1]),
        ("below", [9, -(2**63), None], [10, 2**63 - 1]),
        ("size", [0.0, -1e300, None], [float("nan"), float("inf"), float("-inf")]),
        ("part", [{"word": "ab"}, None], [{"word": "a"}, {"word": "abcde"}]),
        ("parts", [[{"word": "ab"}] * 3, None], [[], [{"word": "ab"}, {"word": "a"}]]),
    ],
)
def test_what_is_beyond_a_limit_is_found_among_what_is_not(field: str, within: list[object], out: list[object]) -> None:
    assert beyond(*({field: value} for value in within)) == []
    values = [value for bad in out for value in (*within, bad)]
    places = range(len(within), len(values), len(within) + 1)
    assert beyond(*({field: value} for value in values)) == list(places)


def test_several_limits_are_held_at_once() -> None:
    assert beyond({"text": "abcd"}, {}, {"parts": []}, {"text": "abcd", "count": 9}, {"below": 10}) == [0, 2, 3, 4]


def test_a_column_that_the_model_does_not_know_is_a_defect() -> None:
    with pytest.raises(KeyError):
        limits_of(Thing)(pa.array([{"other": 1}], pa.struct([("other", pa.int64())])))
