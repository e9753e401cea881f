"""How a study stands: sums by SQL, states by thresholds, Kahn's matrix, strata, coverage; small cells never shown."""

from datetime import date, timedelta

import pyarrow as pa
import pytest

from quality import counts
from quality.breakdowns import Strata, outcome_rows, strata_of
from quality.check_numbers import check_numbers, trend
from quality.checks import Context, Dimension, Severity, Thresholds, checks
from quality.coverage import Coverage, coverage_of, coverage_until
from quality.in_force import approved, checks_of
from quality.overview import (
    Counted,
    State,
    by_check,
    by_severity,
    counted,
    days_until,
    matrix,
    newest_day,
    one_judge,
    standings,
    state_of,
)
from quality.suppression import Share
from schemas.families import FAMILIES
from tests.desks import OUTCOME, FakeDesk
from tests.steward_world import STRATA, TODAY, K, desk

DAYS = [TODAY - timedelta(days=back) for back in range(5)]
WORLD = desk(days=5, signed=DAYS)
UNSIGNED = desk(days=5)
FIRST = TODAY - timedelta(days=4)


def test_days_are_summed_by_check_and_know_how_many_people_there_are_at_least() -> None:
    found = by_check(counts.check_days(WORLD, "sleep", FIRST, TODAY))
    today = found["PL-01"][TODAY]
    assert (today["n_eval"], today["n_fail"], today["people"]) == (18_900, 240, 180)
    assert len(found["PL-01"]) == 5
    assert counts.check_days(WORLD, "sleep", FIRST, TODAY, "CF-09").column("check").unique().to_pylist() == ["CF-09"]
    assert newest_day(counts.check_days(WORLD, "sleep", FIRST, TODAY)) == TODAY
    assert newest_day(counts.check_days(WORLD, "cycle", FIRST, TODAY)) is None


def test_until_the_job_has_judged_a_day_nobody_knows_of_how_many_people_its_counts_are() -> None:
    tables = {**WORLD.tables["sleep"], "check_result": FAMILIES["check_result"].schema.empty_table()}
    world = FakeDesk(WORLD.facts, {"sleep": tables})
    today = by_check(counts.check_days(world, "sleep", TODAY, TODAY))["PL-01"][TODAY]
    assert (today["n_eval"], today["n_fail"], today["people"], today["is_final"]) == (18_900, 240, None, False)
    (one,) = [one for one in check_numbers(world, WORLD.facts["sleep"], TODAY, checks()) if one.check.id == "PL-01"]
    assert (one.state, one.judged, one.failed, one.fails) == (State.WITHHELD, None, None, None)
    found = strata_of(checks()["PL-01"], counts.strata(world, "sleep", "PL-01", TODAY), counts.STRATUM, K)
    assert len(found.finest) == len(STRATA) and {row.fails for row in found.finest} == {None}


@pytest.mark.parametrize(
    ("numbers", "state"),
    [
        (Counted(100, 0, 0), State.PASSED),
        (Counted(100, 1, 0), State.PASSED),
        (Counted(100, 2, 0), State.WARNING),
        (Counted(100, 5, 0), State.WARNING),
        (Counted(100, 6, 0), State.ALARM),
        (Counted(0, 0, 50), State.NOT_APPLICABLE),
        (Counted(None, None, None), State.WITHHELD),
    ],
)
def test_a_state_is_above_a_threshold_or_not(numbers: Counted, state: State) -> None:
    assert state_of(Thresholds(warning=0.01, alarm=0.05), numbers) is state


def test_without_an_alarm_it_is_a_warning_at_most() -> None:
    assert state_of(Thresholds(), Counted(10, 10, 0)) is State.WARNING


def test_a_number_of_few_people_is_withheld_and_of_nobody_is_not() -> None:
    row = {"n_eval": 10, "n_fail": 1, "n_na": 0, "people": K - 1}
    assert counted(row, K) == Counted(None, None, None) == counted({**row, "people": None}, K)
    assert counted({**row, "people": K}, K) == Counted(10, 1, 0)
    assert counted({**row, "n_eval": 0, "n_fail": 0, "n_na": 7}, K) == Counted(0, 0, None)


def test_nothing_is_counted_twice_where_a_suite_judges_too() -> None:
    rows = [{"judge": "suite", "n": 1}, {"judge": "gate", "n": 2}, {"judge": "gate", "n": 3}]
    assert [row["n"] for row in one_judge(rows)] == [2, 3]
    assert [row["n"] for row in one_judge(rows[:1])] == [1] and one_judge([]) == []


def test_every_check_stands_in_the_overview_also_one_that_waits_for_something() -> None:
    of_checks = by_check(counts.check_days(WORLD, "sleep", FIRST, TODAY))
    in_force = checks_of(approved(counts.decisions(WORLD, "sleep").to_pylist()))
    found = {one.check.id: one for one in standings(of_checks, TODAY, in_force, K)}
    assert found["CF-09"].check.thresholds == Thresholds(warning=0.5)
    assert set(found) == set(checks())
    assert found["PL-01"].state is State.ALARM and found["PL-01"].of == TODAY
    assert all(found[name].state is State.NOT_APPLICABLE for name, check in checks().items() if not check.is_active)
    cells = matrix(found.values())
    assert sum(c.violated + c.withheld + c.not_applicable for row in cells.values() for c in row.values()) <= len(found)
    here = cells[Dimension.ATEMPORAL][checks()["PL-01"].context]
    assert here.violated >= 1 and here.judged >= here.violated
    assert cells[Dimension.COMPLETENESS][Context.VALIDATION].judged == 0
    assert by_severity(found.values())[Severity.WARNING] >= 1
    assert next(iter(by_severity([]))) is Severity.CRITICAL


def test_a_trend_has_gaps_where_nothing_was_judged() -> None:
    of_checks = by_check(counts.check_days(WORLD, "sleep", FIRST, TODAY))
    days = days_until(TODAY, 7)
    shares = list(trend(checks()["PL-01"], of_checks["PL-01"], days, K).values())
    assert days[-1] == TODAY and shares[:2] == [None, None] and None not in shares[2:]
    assert shares[-1] == Share(0.013)


def strata(check: str) -> Strata:
    return strata_of(checks()[check], counts.strata(WORLD, "sleep", check, TODAY), counts.STRATUM, K)


def test_strata_have_rounded_shares_and_those_of_few_people_none() -> None:
    found = strata("PL-01")
    assert found.anything and found.any_withheld and len(found.finest) == len(STRATA)
    models = {row.key[0]: row.fails for row in found.tables["device_model"]}
    assert models == {"watch": Share(0.024), "ring": None, "band": Share(0.0), "strap": Share(0.0)}
    assert {row.key[0]: row.fails for row in found.tables["partner"]} == {"acme": Share(0.023), "beat": Share(0.0)}


def test_the_order_of_strata_says_no_more_than_their_shares() -> None:
    """The ring's rows failed, more than some; the database gives them in that order."""
    found = strata("CF-09")
    assert [row.fails for row in found.finest] == [Share(0.01)] * 4 + [None]
    keys = [row.key for row in found.finest[:4]]
    assert keys == sorted(keys, key=lambda key: [part or "" for part in key])


def test_coverage_says_nothing_of_few_who_have_data_nor_of_few_who_have_none() -> None:
    days = days_until(TODAY, 6)
    found = coverage_of(counts.coverage(WORLD, "sleep", days[0], TODAY), days, K)
    assert found.any_data[0] is None and found.any_data[-1] == Share(0.91)
    assert found.shares["heart_rate"][-1] == Share(0.9)
    assert found.shares["skin_temperature"][-1] is None
    assert coverage_until(WORLD, WORLD.facts["sleep"], TODAY).any_data[-1] == Share(0.9)
    assert coverage_of(counts.coverage(WORLD, "cycle", days[0], TODAY), days, K) == Coverage(days, [None] * 6, {})


def test_a_metric_without_rows_on_a_day_is_nobody_s() -> None:
    rows = [
        {"day": TODAY, "metric": None, "people": 20, "enrolled": 50, "rows": 9},
        {"day": TODAY - timedelta(days=1), "metric": "heart_rate", "people": 20, "enrolled": 50, "rows": 9},
    ]
    found = coverage_of(pa.Table.from_pylist(rows), days_until(TODAY, 2), K)
    assert found.shares["heart_rate"] == [Share(0.4), Share(0.0)]


def test_outcomes_hide_a_few_and_what_would_give_them_away() -> None:
    """Three people had a thousand readings: as many as there are of each do not count, but who they are of."""
    rows = [
        {"day": TODAY, "outcome": outcome, "reason": reason, "n": n, "people": people}
        for outcome, reason, n, people in (
            ("landed", "", 1000, 60),
            ("withheld", "R_ERASED", 1000, 3),
            ("duplicate", "", 50, 10),
        )
    ]
    world = FakeDesk(WORLD.facts, {"sleep": {"outcome": pa.Table.from_pylist(rows, schema=OUTCOME)}})
    found = {one.outcome: one.n for one in outcome_rows(counts.outcomes(world, "sleep", TODAY, TODAY), K)}
    assert found == {"landed": 1000, "withheld": None, "duplicate": None}
    assert outcome_rows(counts.outcomes(WORLD, "sleep", date(2020, 1, 1), date(2020, 1, 2)), K) == []


def test_outcomes_of_a_day_that_goes_on_are_of_nobody_knows_how_many() -> None:
    rows = [
        {"day": day, "outcome": "landed", "reason": "", "n": 1000, "people": people}
        for day, people in ((TODAY - timedelta(days=1), 60), (TODAY, None))
    ]
    world = FakeDesk(WORLD.facts, {"sleep": {"outcome": pa.Table.from_pylist(rows, schema=OUTCOME)}})
    told = [
        outcome_rows(counts.outcomes(world, "sleep", first, TODAY), K)[0].n for first in (TODAY, TODAY - timedelta(1))
    ]
    assert told == [None, None]
    before = outcome_rows(counts.outcomes(world, "sleep", TODAY - timedelta(1), TODAY - timedelta(1)), K)
    assert [(one.n, one.share) for one in before] == [(1000, 1.0)]
