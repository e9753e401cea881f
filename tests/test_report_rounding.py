"""How a report rounds: what is published fits many numbers of people, and counts do not give a small group away."""

from collections import defaultdict
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.coarse import (
    at_least,
    coarse,
    not_applicable,
    share_of_rows,
    share_that_fails,
    share_that_passes,
    significant,
    telling_checks,
)
from quality.coverage import Coverage, coarse_coverage
from quality.suppression import Share
from tests.steward_world import TODAY

K = 10


@given(st.integers(10, 400), st.integers(2, 10))
def test_no_published_share_of_people_tells_of_few(whole: int, k: int) -> None:
    parts = defaultdict(list)
    for part in range(whole + 1):
        found = share_that_fails(part, whole, k)
        passes = share_that_passes(part, whole, k)
        if found is None:
            assert passes is None and (part in range(1, k) or part > whole - k)
            continue
        truth = part / whole
        assert 0 <= found.value <= 1 and passes is not None and passes.value == pytest.approx(1 - found.value)
        assert not passes.at_least or passes.value <= 1 - truth
        assert not found.at_most or 0 < truth <= found.value
        assert not found.at_least or found.value <= truth
        parts[found].append(part)
    for found, own in parts.items():
        if {*own} & {*range(1, k)}:
            assert {*range(1, k)} <= {*own}
        if {*own} & {*range(max(k, whole - k + 1), whole + 1)}:
            assert {*range(max(k, whole - k + 1), whole + 1)} <= {*own}
        assert found.value > 0 or found.at_least or own == [0]


def test_of_fewer_people_than_may_be_told_of_there_is_no_share() -> None:
    assert share_that_fails(3, 9, K) is None and share_that_fails(0, 0, K) is None
    assert share_that_fails(3, 10, K) is None and share_that_fails(10, 10, K) is None
    assert share_that_passes(0, 10, K) == Share(1.0)


@pytest.mark.parametrize(
    ("whole", "value", "rounded"),
    [(1000, 0.123, 0.12), (200, 0.123, 0.1), (60, 0.123, 0.1), (20, 0.6, 0.5)],
)
def test_a_step_stands_for_at_least_half_of_the_smallest_cell(whole: int, value: float, rounded: float) -> None:
    assert coarse(Share(value), whole, K) == Share(rounded)


def test_at_least_is_rounded_down() -> None:
    assert coarse(Share(0.99, at_least=True), 60, K) == Share(0.9, at_least=True)


def test_coverage_is_rounded_by_how_many_are_enrolled_that_day() -> None:
    days = [TODAY - timedelta(days=1), TODAY]
    found = coarse_coverage(
        Coverage(days, [Share(0.123), None], {"steps": [None, Share(0.123)]}), {days[0]: 1000, days[1]: 60}, K
    )
    assert found == Coverage(days, [Share(0.12), None], {"steps": [None, Share(0.1)]})


def test_shares_of_rows_have_a_tenth_of_a_per_cent() -> None:
    assert share_of_rows(0, 100, K) == Share(0.0) and share_of_rows(1, 0, K) is None
    assert share_of_rows(123_456, 1_000_000, K) == Share(0.123)
    assert share_of_rows(1, 1_000_000, K) == Share(0.001, at_most=True)
    assert not_applicable(0, 0) is None and not_applicable(0, 7) == Share(0.0)
    assert not_applicable(1, 99) == Share(0.05, at_most=True) and not_applicable(22, 78) == Share(0.2)


@pytest.mark.parametrize("whole", [12, 15, 100, 600, 4_999])
def test_of_few_rows_no_share_tells_how_many_failed(whole: int) -> None:
    """Of a laboratory's results each person has one: two such shares, subtracted, would be a few people's."""
    fit = defaultdict(list)
    for failed in range(1, whole):
        fit[share_of_rows(failed, whole, K)].append(failed)
    assert {*range(1, K)} <= {*fit[share_of_rows(1, whole, K)]}
    assert min(len(numbers) for numbers in fit.values()) > 1


def test_counts_and_measures() -> None:
    assert [at_least(count, K) for count in (0, 9, 10, 69)] == [None, None, 10, 60]
    assert significant(14.25) == 14 and significant(1234.0) == 1200 and significant(None) is None


def judged(*rows: tuple[str, str, int, int], judge: str = "gate") -> pa.Table:
    """Check, metric, the stratum's number, people."""
    names = ("check", "metric", "stratum", "people")
    table = pa.Table.from_pylist([{**dict(zip(names, row, strict=True)), "partly": False} for row in rows])
    for name, value in (("judge", judge), ("partner", "acme"), ("device_model", "watch")):
        table = table.append_column(name, pa.array([value] * len(table)))
    return table


def test_a_check_is_withheld_that_less_another_gives_a_small_metric() -> None:
    everything, one = ("TM-10", "PL-01")
    rows = [(everything, "heart_rate", 0, 50), (everything, "spo2", 1, 3), (one, "heart_rate", 0, 50)]
    assert telling_checks(judged(*rows), K) == {one}
    assert telling_checks(judged(*rows[:1], (everything, "spo2", 1, 30), rows[2]), K) == frozenset()


def test_rows_and_days_are_not_subtracted_from_each_other() -> None:
    rows = judged(("TM-10", "heart_rate", 0, 50), ("TM-10", "spo2", 1, 3))
    days = judged(("SQ-01", "heart_rate", 0, 50), judge="job")
    assert telling_checks(pa.concat_tables([rows, days]), K) == frozenset()


def test_a_small_metric_of_two_small_strata_is_found_too() -> None:
    everything = [("TM-10", "heart_rate", 0, 50), ("TM-10", "spo2", 1, 3), ("TM-10", "spo2", 2, 4)]
    assert telling_checks(judged(*everything, ("PL-01", "heart_rate", 0, 50)), K) == {"PL-01"}


def test_a_check_is_withheld_that_does_not_apply_to_a_part_of_a_stratum() -> None:
    rows = judged(("TM-10", "heart_rate", 0, 50), ("PL-01", "heart_rate", 0, 50)).drop_columns("partly")
    assert telling_checks(rows.append_column("partly", pa.array([False, True])), K) == {"PL-01"}
