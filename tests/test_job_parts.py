"""A day in parts: the same results as at once, and no more in memory at a time however many people there are."""

import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quality.checks import checks
from quality.desk import StudyFacts
from quality.job import blocks, parts
from quality.job.judge import judge_days, judge_in_steps
from quality.job.parts import EVERYBODY, Part, cut, parts_of_day
from quality.job.results import Results
from quality.job.times import as_day
from schemas.families import DAY_SUMMARY
from tests import planted
from tests.desks import FakeDesk
from tests.planted import FIRST, HOUR, at

DAY = FIRST
NOW = datetime.fromtimestamp(at(DAY + 8) / 1e6, tz=UTC)
FACTS = {"s": StudyFacts("s", smallest_cell=2)}


class MeasuringDesk(FakeDesk):
    """Notes how large the largest answer was, in bytes."""

    largest = 0

    def query(self, study: str, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        found = super().query(study, sql, parameters)
        self.largest = max(self.largest, found.nbytes)
        return found


@cache
def study() -> dict[str, pa.Table]:
    """A day of four people, each in a bucket of their own, with a defect here and there."""
    people = planted.people(4)
    tables = [planted.heart_rates(who, DAY, seed=n) for n, who in enumerate(people)]
    tables += [planted.skin_temperatures(who, DAY, seed=n) for n, who in enumerate(people)]
    tables += [planted.steps("p1", DAY, hours=2), planted.plant_leap("p2", "spo2", at(DAY, 8), 5_000_000, 97, 80)]
    observed = planted.plant_slowness(pa.concat_tables(tables), "p3", "heart_rate", DAY, keep=2)
    observed = planted.plant_lateness(observed, "p2", "skin_temperature", DAY, 30)
    observed = planted.plant_zone_jump(observed, "p1", at(DAY, 8), at(DAY, 9), 300)
    observed = planted.plant_factor(observed, "skin_temperature", at(DAY), at(DAY + 1), "W1", 1.8, 32)
    more = [
        planted.plant_second_source(observed, "p1", "steps_interval", DAY, 0.5),
        planted.skin_temperatures("p3", DAY, seed=9, device_model="W2", source="band"),
        planted.instants("p0", "weight", np.array([at(DAY, -5), at(DAY, 5)]), np.array([80.0, 60.0])),
    ]
    moved = planted.plant_clipping(planted.acceleration("p0", DAY, 9, 1), "p0", at(DAY, 9), at(DAY, 9.25))
    still = planted.plant_stillness(planted.acceleration("p2", DAY, 9, 1, seed=1), "p2", at(DAY, 9), at(DAY, 10))
    results = [planted.results(who, "potassium", [DAY - 1, DAY], [4.0, 6.0], status="F") for who in people[:2]]
    known = {"level": "metric", "family": "observation", "metric": "skin_temperature", "start": at(DAY - 1)}
    numbers = {"rows": 999, "people": 9, "enrolled": 9, "median": 33.0, "spread": 0.3, "entry": 1}
    found = {
        "observation": pa.concat_tables([observed, *more]),
        "waveform": pa.concat_tables([moved, still]),
        "lab_result": pa.concat_tables(results),
    }
    return {
        **{name: in_buckets(table) for name, table in found.items()},
        "enrolled": planted.enrolled(planted.people(5)),
        "day_summary": pa.Table.from_pylist([{**known, **numbers}], DAY_SUMMARY.schema),
    }


def in_buckets(table: pa.Table) -> pa.Table:
    """Each person in a bucket of the person's number, as the lake's are by hash."""
    numbers = [int(who.removeprefix("p")) for who in table.column("pseudonym").to_pylist()]
    return table.set_column(0, table.schema.field("pbucket"), pa.array(numbers, pa.int16()))


def judged() -> Results:
    return judge_days(FakeDesk(FACTS, {"s": study()}), "s", [as_day(DAY)], checks(), NOW)


def test_parts_and_the_whole_give_equal_results(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(parts_of_day(FakeDesk(FACTS, {"s": study()}), "s", DAY)) == 1
    whole = judged()
    failed = {row["check"] for row in whole.results.to_pylist() if row["n_fail"]}
    assert failed >= {"SQ-02", "SQ-03", "SQ-04", "SQ-05", "TM-07", "TM-09", "PL-06", "UQ-03", "WT-02", "WT-04", "LK-14"}
    monkeypatch.setattr(parts, "PART_ROWS", 1)
    assert len(parts_of_day(FakeDesk(FACTS, {"s": study()}), "s", DAY)) == 4
    cut_up = judged()
    assert cut_up.results.equals(whole.results)
    assert cut_up.summaries.equals(whole.summaries)
    assert (cut_up.replaced, cut_up.summarised, cut_up.recalls) == (whole.replaced, whole.summarised, whole.recalls)


def test_each_part_is_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 1)
    steps = judge_in_steps(FakeDesk(FACTS, {"s": study()}), "s", [as_day(DAY)], {}, NOW)
    assert len([*steps]) == 4 + 1  # and the week


def crowd(count: int) -> FakeDesk:
    people = planted.people(count)
    hearts = [planted.heart_rates(who, DAY, every=HOUR // 2, seed=n) for n, who in enumerate(people)]
    walks = [planted.steps(who, DAY, hours=1) for who in people]
    moved = [planted.acceleration(who, DAY, 9, 1 / 12) for who in people]
    tables = {"observation": pa.concat_tables([*hearts, *walks]), "waveform": pa.concat_tables(moved)}
    found = {name: in_buckets(table) for name, table in tables.items()}
    return MeasuringDesk(FACTS, {"s": {**found, "enrolled": planted.enrolled(people)}})


def used(count: int) -> tuple[int, int]:
    """Bytes of the largest answer that was asked for, and how much was in memory at most."""
    desk = crowd(count)
    assert isinstance(desk, MeasuringDesk)
    tracemalloc.start()
    try:
        judge_days(desk, "s", [as_day(DAY)], checks(), NOW)
        return desk.largest, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_is_in_memory_does_not_grow_with_the_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 220)
    monkeypatch.setattr(blocks, "PORTION", 2 * planted.BLOCK * 3)
    used(2)  # what is loaded once
    few, many = used(2), used(8)
    assert many[0] < 1.2 * few[0]
    assert many[1] < 1.27 * few[1]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, []),
        ({7: 3}, [EVERYBODY]),
        ({1: 4, 2: 6, 9: 1}, [Part(EVERYBODY.first, 2), Part(3, EVERYBODY.last)]),
        ({1: 99, 2: 1, 3: 99}, [Part(EVERYBODY.first, 1), Part(2, 2), Part(3, EVERYBODY.last)]),
    ],
)
def test_parts_take_as_many_buckets_as_fit(
    monkeypatch: pytest.MonkeyPatch, sizes: dict[int, int], expected: list[Part]
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    table = pa.table({"pbucket": pa.array(sizes, pa.int16()), "n": pa.array(sizes.values(), pa.int64())})
    assert [*cut(table)] == expected
