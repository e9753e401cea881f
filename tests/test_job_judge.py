"""The job as a whole: a clean study has nothing wrong, what is planted is found and nothing else, twice the same."""

from datetime import UTC, datetime
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from quality.checks import Where, checks
from quality.desk import StudyFacts
from quality.job.judge import JUDGED, judge_days
from quality.job.results import Results
from quality.job.times import as_day
from schemas.families import CHECK_RESULT, DAY_SUMMARY
from tests import planted
from tests.desks import FakeDesk
from tests.planted import FIRST, HOUR, at

DAY = FIRST
NOW = datetime.fromtimestamp(at(DAY + 1, 1) / 1e6, tz=UTC)
PEOPLE = 10


@cache
def clean() -> dict[str, pa.Table]:
    return planted.clean_study(PEOPLE, [DAY])


def judged(
    tables: dict[str, pa.Table], *days: int, now: datetime | None = NOW, cell: int = 10, only: tuple[str, ...] = ()
) -> Results:
    desk = FakeDesk({"s": StudyFacts("s", smallest_cell=cell)}, {"s": tables})
    catalogue = {name: check for name, check in checks().items() if not only or name in only}
    return judge_days(desk, "s", map(as_day, days or (DAY,)), catalogue, now)


@cache
def found_clean() -> Results:
    """What is found in the clean study: nothing changes it."""
    return judged(clean())


def failures(found: Results) -> dict[str, int]:
    """How often each check failed, of those that did."""
    counted: dict[str, int] = {}
    for row in found.results.to_pylist():
        counted[row["check"]] = counted.get(row["check"], 0) + row["n_fail"]
    return {check: count for check, count in counted.items() if count}


def test_every_check_of_the_catalogue_that_runs_here_is_known() -> None:
    mine = {check.id for check in checks().values() if check.where == Where.JOB and check.is_active}
    assert mine <= JUDGED


def test_a_clean_study() -> None:
    found = found_clean()
    assert failures(found) == {}
    assert found.results.schema == CHECK_RESULT.schema
    assert found.summaries.schema == DAY_SUMMARY.schema
    asked = {row["check"] for row in found.results.to_pylist() if row["n_eval"]}
    assert asked >= {"SQ-01", "SQ-02", "SQ-03", "SQ-04", "TM-07", "TM-09", "PL-04", "WT-01", "WT-03", "WT-04"}
    assert set(found.results.column("judge").to_pylist()) == {"job"}


def test_what_is_planted_is_found_and_nothing_else() -> None:
    tables = dict(clean())
    observed = planted.plant_zone_jump(tables["observation"], "p1", at(DAY, 8), at(DAY, 9), 300)
    observed = planted.plant_lateness(observed, "p2", "skin_temperature", DAY, 30)
    observed = planted.plant_flat_line(observed, "p3", "skin_temperature", at(DAY, 4), at(DAY, 6), 33.0)
    phone = planted.plant_second_source(observed, "p4", "steps_interval", DAY, 1.0)
    leap = planted.plant_leap("p5", "spo2", at(DAY, 8), 5_000_000, 97, 80)
    tables["observation"] = pa.concat_tables([observed, phone, leap])
    tables["waveform"] = planted.plant_clipping(tables["waveform"], "p0", at(DAY, 9), at(DAY, 9.25))
    tables["enrolled"] = planted.enrolled(planted.people(PEOPLE + 1))
    expected = {"TM-07": 1, "TM-09": 1, "SQ-03": 2, "UQ-03": 1, "SQ-05": 1, "SQ-04": 1, "WT-03": 1}
    found = failures(judged(tables))
    silent = found.pop("WT-04")
    assert found == expected
    assert silent == 5 + PEOPLE  # somebody of whom nothing came at all; and all but one have no oxygen


def test_the_same_rows_give_the_same_results_in_any_order() -> None:
    first = found_clean()
    order = np.random.default_rng(5).permutation(clean()["observation"].num_rows)
    again = judged({**clean(), "observation": clean()["observation"].take(order)})
    assert again.results.equals(first.results)
    assert again.summaries.equals(first.summaries)
    assert again.replaced == first.replaced


def test_nobody_is_named_and_nothing_is_told_of_few() -> None:
    found = judged(clean(), cell=PEOPLE + 1)
    for table in (found.results, found.summaries):
        texts = {value for column in table.columns if pa.types.is_string(column.type) for value in column.to_pylist()}
        assert not texts & {*planted.people(PEOPLE), "watch"}
    assert found.results.column("measure").null_count == found.results.num_rows
    assert found.summaries.column("median").null_count == found.summaries.num_rows
    assert found.summaries.column("spread").null_count == found.summaries.num_rows
    enough = found_clean()
    assert enough.results.column("measure").null_count < enough.results.num_rows


def test_it_says_what_it_replaces_also_where_it_found_nothing() -> None:
    found = found_clean()
    assert ("WT-02", as_day(DAY - 1)) in found.replaced
    assert ("LK-14", as_day(DAY)) in found.replaced
    assert found.summarised == {as_day(DAY)}
    told = {(row["check"], row["start"].date()) for row in found.results.to_pylist()}
    assert told <= found.replaced


def test_a_week_is_judged_when_it_is_over() -> None:
    assert "WT-02" not in found_clean().results.column("check").to_pylist()
    later = judged(clean(), now=NOW.replace(day=11))
    assert "WT-02" in later.results.column("check").to_pylist()


def test_a_day_that_goes_on_is_not_judged_by_what_may_still_come() -> None:
    found = judged(clean(), now=NOW.replace(day=NOW.day - 1))
    told = {*found.results.column("check").to_pylist()}
    assert not told & {"WT-01", "WT-03", "WT-04"}
    assert {"SQ-01", "TM-09"} <= told
    assert ("WT-04", as_day(DAY)) in found.replaced


def test_silence_is_judged_again_on_the_days_after() -> None:
    found = judged(clean(), now=datetime.fromtimestamp(at(DAY + 5) / 1e6, tz=UTC))
    silent = {row["start"].date(): row["n_fail"] for row in found.results.to_pylist() if row["check"] == "WT-03"}
    assert silent == {as_day(DAY + n): 0 if n < 3 else PEOPLE for n in range(5)}
    assert {("WT-03", as_day(DAY + n)) for n in range(5)} <= found.replaced


def test_days_that_are_judged_together_are_each_compared_with_those_before() -> None:
    observed = pa.concat_tables(
        [
            planted.skin_temperatures(who, DAY - back, seed=n)
            for back in range(9)
            for n, who in enumerate(planted.people(10))
        ]
    )
    observed = planted.plant_factor(observed, "skin_temperature", at(DAY), at(DAY + 1), "W1", 1.0, 2.0)
    tables = {"observation": observed, "enrolled": planted.enrolled(planted.people(10))}
    days = [DAY - back for back in range(9)]
    together = judged(tables, *days, only=("PL-07",))
    before = judged(tables, *days[1:], only=("PL-07",))
    alone = judged({**tables, "day_summary": before.summaries}, DAY, only=("PL-07",))
    assert failures(together) == failures(alone) == {"PL-07": 1}
    assert together.results.to_pylist()[-1:] == alone.results.to_pylist()


def test_a_day_on_which_nothing_came() -> None:
    found = judged({"enrolled": planted.enrolled(planted.people(12))})
    (row,) = [row for row in found.results.to_pylist() if row["check"] == "WT-04"]
    assert (row["n_eval"], row["n_fail"], row["measure"]) == (12, 12, 0.0)
    (summary,) = found.summaries.to_pylist()
    assert (summary["level"], summary["rows"], summary["enrolled"]) == ("study", 0, 12)


def test_no_days_are_no_questions() -> None:
    desk = FakeDesk({"s": StudyFacts("s")})
    found = judge_days(desk, "s", [], checks(), NOW)
    assert found.results.num_rows == found.summaries.num_rows == 0
    assert found.replaced == frozenset()


@pytest.mark.parametrize("alone", [True, False])
def test_checks_can_be_left_out(alone: bool) -> None:
    some = ("SQ-03", "SQ-05", "TM-07", "WT-01", "WT-02")
    kept = tuple(name for name in checks() if (name in some) == alone)
    tables = {"observation": planted.heart_rates("p0", DAY, every=HOUR), "enrolled": planted.enrolled(["p0"])}
    found = judged(tables, only=kept)
    assert {check for check, _ in found.replaced} == JUDGED & {*kept}
    assert {*found.results.column("check").to_pylist()} <= {*kept}
