"""What is told of rows is told of enough people, and two looks between which one person's rows come differ by no more than
a step; what is signed off differs by nothing.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.coarse import count_told, counts_told, share_told, together
from quality.desk import StudyFacts
from quality.job.judge import judge_days
from quality.job.times import as_day
from quality.report.numbers import as_json, report_of
from quality.suppression import Share
from schemas.families import CHECK_RESULT, DECISION
from tests import planted
from tests.desks import FakeDesk
from tests.lakes import rows as filled
from tests.planted import FIRST, at
from tests.test_job_counted import LATE, counts_of, in_quarantine, observed, seen_by

K = 10
Rows = list[tuple[int, int]]
"""By person: how many rows failed and how many passed."""


def row(people: Rows, final: bool = False) -> dict[str, Any]:
    """What is known of a cell that these people are in."""
    return {
        "n_eval": sum(failed + passed for failed, passed in people),
        "n_fail": sum(failed for failed, _ in people),
        "n_na": 0,
        "people": len(people),
        "people_failing": sum(failed > 0 for failed, _ in people),
        "people_passing": sum(passed > 0 for _, passed in people),
        "most_of_one": max((failed + passed for failed, passed in people), default=0),
        "is_final": final,
    }


# -- of enough people


@pytest.mark.parametrize("final", [False, True])
def test_forty_rows_that_one_person_failed_are_not_told(final: bool) -> None:
    of_one = row([(40, 0), *[(0, 50)] * 99], final)
    assert counts_told(of_one, K) == (None, None)
    assert share_told(of_one, K) == Share(0.2, at_most=True)


def test_what_one_person_passed_is_not_told_either() -> None:
    all_but_one = row([(0, 40), *[(50, 0)] * 99])
    assert counts_told(all_but_one, K) == (None, None)
    assert share_told(all_but_one, K) == Share(0.8, at_least=True)


def test_that_nothing_failed_is_told_of_enough_people_and_of_no_fewer() -> None:
    assert counts_told(row([(0, 50)] * 100, final=True), K) == (5_000, 0)
    assert counts_told(row([(0, 50)] * 100), K) == (5_000, 0) and share_told(row([(0, 50)] * 100), K) == Share(0.0)
    assert counts_told(row([(50, 0)] * 100, final=True), K) == (5_000, 5_000)
    few = row([(0, 50)] * (K - 1), final=True)
    assert counts_told(few, K) == (None, None) and share_told(few, K) is None


def test_where_enough_fail_and_pass_it_is_told_once_it_is_signed_off() -> None:
    people = [(7, 50)] * K + [(0, 51)] * 90
    assert counts_told(row(people, final=True), K) == (5_160, 70)
    assert counts_told(row(people), K) == (5_000, None), "a step is 500 rows"
    assert counts_told(row([(7, 50)] * (K - 1) + [(0, 51)] * 90, final=True), K) == (None, None)


def test_of_what_nobody_knows_nothing_is_told() -> None:
    unknown = {**row([(7, 50)] * 100), "most_of_one": None}
    assert counts_told(unknown, K) == (None, None) and share_told(unknown, K) is None
    assert together([row([(7, 50)] * 100), unknown])["most_of_one"] is None


@given(st.integers(1, K - 1), st.integers(1, 50), st.integers(1, K - 1), st.integers(1, 50))
def test_of_fewer_who_fail_the_bound_is_the_same_whoever_they_are(one: int, rows: int, other: int, more: int) -> None:
    first, second = ([(n, 50 - n)] * who + [(0, 50)] * (60 - who) for who, n in ((one, rows), (other, more)))
    assert share_told(row(first), K) == share_told(row(second), K) == Share(0.2, at_most=True)


# -- two looks

PERSON = st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(lambda rows: sum(rows) > 0)


def step_of(people: Rows) -> int:
    """How wide a step of counts is at least: what five people may have."""
    most = row(people)["most_of_one"]
    return next(step for power in range(6) for digit in (1, 2, 5) if (step := digit * 10**power) >= K / 2 * most)


@given(st.lists(PERSON, min_size=K, max_size=40), PERSON)
def test_one_person_more_moves_a_count_by_a_step_at_most(people: Rows, late: tuple[int, int]) -> None:
    before, after = row(people), row([*people, late])
    for one, other in zip(counts_told(before, K), counts_told(after, K), strict=True):
        if one is not None and other is not None:
            assert one % step_of(people) == 0 and other % step_of([*people, late]) == 0
            assert abs(one - other) <= step_of([*people, late])


@given(st.lists(PERSON, min_size=K, max_size=60), PERSON)
def test_one_person_more_moves_a_share_by_what_half_of_the_smallest_cell_may_have(
    people: Rows, late: tuple[int, int]
) -> None:
    before, after = row(people), row([*people, late])
    one, other = share_told(before, K), share_told(after, K)
    if one and other and (one.at_most, one.at_least) == (other.at_most, other.at_least):
        widest = max(K * one["most_of_one"] / one["n_eval"] for one in (before, after))
        assert abs(one.value - other.value) <= 1.25 * widest + 1e-9


@given(st.integers(0, 10**6), st.integers(1, 1000), st.integers(1, 20))
def test_a_count_is_rounded_to_the_nearest_step(count: int, most: int, k: int) -> None:
    told = count_told(count, most, k)
    step = count_told(10**9, most, k)
    assert told is not None or 0 < count <= 5 * k * most / 4 + 1
    assert told is None or (abs(told - count) <= max(1.25 * k * most, 1) / 2 + 1 and step is not None)
    assert (told == 0) is (count == 0)


# -- the same of a whole report

SMALL = 5
DAY = as_day(FIRST)


def study(people: int) -> dict[str, pa.Table]:
    """A day of so many people: some fail, of some a few rows wait."""
    rates = [observed(f"p{n}", 40, LATE * (n % 3 == 0), origin=[b"%d" % n] * 40) for n in range(people)]
    held = {"start": [at(FIRST, 9)] * people, "end": [at(FIRST, 9)] * people, "flags": [1] * people}
    who = {"pseudonym": [f"p{n}" for n in range(people)], "pbucket": list(range(people))}
    said = {"metric": ["heart_rate"] * people, "partner": ["acme"] * people}
    return {"observation": pa.concat_tables(rates), "quarantine": in_quarantine(people, **held, **who, **said)}


@cache
def judged(people: int) -> dict[str, pa.Table]:
    """The same with what the job finds of it, in an entry after the one in which the day may have been signed off."""
    tables = {**study(people), "enrolled": planted.enrolled(planted.people(60))}
    tables["check_count"] = counts_of(seen_by(study(people)))
    found = judge_days(FakeDesk({"s": StudyFacts("s", "", SMALL)}, {"s": tables}), "s", [DAY], {}, None)
    entry = pa.array([6] * len(found.results), pa.int64())
    results = found.results.set_column(CHECK_RESULT.schema.get_field_index("entry"), "entry", entry)
    return {**tables, "check_result": results.cast(CHECK_RESULT.schema), "day_summary": found.summaries}


def told(tables: dict[str, pa.Table], signed: bool = False) -> dict[str, Any]:
    """The day's report as JSON."""
    about = json.dumps({"day": DAY.isoformat()})
    signs = filled(DECISION, 1, kind=["sign-off"], about=[about], entry=[5]).slice(0, int(signed))
    desk = FakeDesk({"s": StudyFacts("s", "", SMALL)}, {"s": {**tables, "decision": signs}})
    found: dict[str, Any] = as_json(report_of(desk, "s", DAY))
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and word, by where it stands."""
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, f"{path}/{name}")
    else:
        yield path, value


ALLOWED = {"judged": 200, "failed": 200, "n": 5, "value": 0.1, "heart_rate": 5.0}
"""By the name of a number: a step of rows, of which one person has 41; of rows that wait; of shares; of rows a person."""


@pytest.mark.parametrize("people", [40, 41, 44, 47])
def test_two_looks_at_a_day_that_is_not_signed_off_tell_nothing_of_one_person(people: int) -> None:
    before, after = dict(leaves(told(judged(people)))), dict(leaves(told(judged(people + 1))))
    assert before.keys() == after.keys()
    for path, number in before.items():
        if number == after[path]:
            continue
        assert isinstance(number, int | float) and isinstance(after[path], int | float), path
        assert abs(number - after[path]) <= ALLOWED[path.rsplit("/", 1)[1]] + 1e-9, path
    counts = [
        (number, 5 if path.endswith("/n") else 100)
        for path, number in (*before.items(), *after.items())
        if number and path.startswith(("/checks/", "/waiting/")) and path.endswith(("/judged", "/failed", "/n"))
    ]
    assert counts and not [number for number, step in counts if number % step]


def test_what_is_signed_off_is_told_as_it_was_whatever_comes_later() -> None:
    """The job finds more by then, and keeps what it had found (`tests/test_job_counted.py`)."""
    first = told(judged(40), signed=True)
    later = told({**judged(44), "check_result": judged(40)["check_result"]}, signed=True)
    assert first["checks"] == later["checks"]
    implausible = next(one for one in first["checks"] if one["check"] == "PL-01")
    assert (implausible["judged"], implausible["failed"]) == (40 * 41, 14 * 40)
