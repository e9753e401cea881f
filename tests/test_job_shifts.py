"""A day beside the days before it: shifts, new firmware, mixed-up units, and what is known of few people."""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.desk import Stratum
from quality.job import shifts
from quality.job.results import Name, summary_table
from quality.job.segments import medians, quantiles
from quality.job.shifts import FailedShares
from quality.job.summaries import METRIC, STRATUM, History
from quality.job.times import as_day
from quality.job.totals import Totals
from schemas.families import DAY_SUMMARY
from tests import planted
from tests.job_answers import Counts, check, counts, readings, result_rows
from tests.planted import FIRST, at

DAY = FIRST
W1 = Name("acme", "observation", "skin_temperature", "W1", "1.0.0")
NO_FAILURES = FailedShares({})


@cache
def day_of(day: int, model: str = "W1", firmware: str | None = "1.0.0", people: int = 12, plus: float = 0) -> pa.Table:
    tables = [
        planted.skin_temperatures(who, day, seed=n, device_model=model, firmware=firmware)
        for n, who in enumerate(planted.people(people))
    ]
    table = pa.concat_tables(tables)
    return planted.plant_factor(table, "skin_temperature", at(day), at(day + 1), model, 1.0, plus)


def totals(*tables: pa.Table) -> Totals:
    found = Totals()
    found.add(readings(*tables))
    return found


def history_of(*days: list[pa.Table]) -> History:
    """Of the last days, the last of them is the one that is judged."""
    history = History(DAY_SUMMARY.schema.empty_table())
    for back, tables in enumerate(reversed(days)):
        day = DAY - back
        history.replace(day, totals(*tables).summaries(day, 12, 10))
    return history


def steady(count: int, **columns: Any) -> list[list[pa.Table]]:
    return [[day_of(DAY - back, **columns)] for back in range(count, 0, -1)]


class TestShift:
    def judged(
        self, before: list[list[pa.Table]], today: pa.Table, failed: FailedShares = NO_FAILURES, ended: bool = True
    ) -> Counts:
        history = history_of(*before, [today])
        return counts(shifts.distribution_shift(totals(today), history, failed, DAY, ended, check("PL-07")))

    def test_a_day_like_the_others(self) -> None:
        assert self.judged(steady(8), day_of(DAY)) == Counts(1, 0, 0)

    @pytest.mark.parametrize(("plus", "failed"), [(0.5, 1), (-0.5, 1), (0.05, 0)])
    def test_another_median(self, plus: float, failed: int) -> None:
        assert self.judged(steady(8), day_of(DAY, plus=plus)) == Counts(1, failed, 0)

    def test_half_of_the_rows(self) -> None:
        today = day_of(DAY)
        half = today.filter(pa.array(np.arange(today.num_rows) % 2 == 0))
        assert self.judged(steady(8), half) == Counts(1, 1, 0)
        assert self.judged(steady(8), half, ended=False) == Counts(1, 0, 0)

    def test_fewer_people_with_as_much_each(self) -> None:
        assert self.judged(steady(8), day_of(DAY, people=6)) == Counts(1, 0, 0)

    def test_more_failures(self) -> None:
        shares = {DAY - back: 0.01 for back in range(9)}
        assert self.judged(steady(8), day_of(DAY), FailedShares({W1: shares})) == Counts(1, 0, 0)
        assert self.judged(steady(8), day_of(DAY), FailedShares({W1: {**shares, DAY: 0.2}})) == Counts(1, 1, 0)

    def test_six_days_are_too_few(self) -> None:
        assert self.judged(steady(6), day_of(DAY, plus=1)) == Counts(0, 0, 1)

    def test_of_few_people_the_rows_are_known_and_no_median(self) -> None:
        before = steady(8, people=3)
        assert self.judged(before, day_of(DAY, people=3, plus=5)) == Counts(1, 0, 0)
        found = shifts.distribution_shift(
            totals(day_of(DAY, people=3)),
            history_of(*before, [day_of(DAY, people=3)]),
            NO_FAILURES,
            DAY,
            True,
            check("PL-07"),
        )
        (row,) = result_rows(found, check("PL-07"), 10)
        assert row["people"] == 3
        assert row["measure"] is None


class TestFirmware:
    def judged(self, before: list[list[pa.Table]], *today: pa.Table) -> Counts:
        found = shifts.firmware_change(totals(*today), history_of(*before, list(today)), DAY, check("PL-08"))
        return counts(found)

    @pytest.mark.parametrize(("plus", "failed"), [(1.0, 1), (-1.0, 1), (0.2, 0)])
    def test_a_new_one(self, plus: float, failed: int) -> None:
        assert self.judged(steady(3), day_of(DAY, firmware="2.0.0", plus=plus)) == Counts(1, failed, 0)

    def test_one_that_has_been_there_for_two_days(self) -> None:
        before = [*steady(4)[:2], *steady(2, firmware="2.0.0", plus=1.0)]
        assert self.judged(before, day_of(DAY, firmware="2.0.0", plus=1.0)) == Counts(1, 1, 0)

    def test_the_old_one_counts_until_the_new_one_came(self) -> None:
        both = [[day_of(DAY - n, firmware=f, plus=1.0) for f in ("1.0.0", "2.0.0")] for n in (2, 1)]
        before = [*steady(4)[:2], *both]
        assert self.judged(before, day_of(DAY, firmware="2.0.0", plus=1.0)) == Counts(1, 1, 0)

    def test_the_old_one_beside_it_has_none_before_it(self) -> None:
        today = day_of(DAY, people=12), day_of(DAY, firmware="2.0.0", plus=1.0)
        assert self.judged(steady(3), *today) == Counts(1, 1, 1)

    def test_another_model_is_not_compared(self) -> None:
        assert self.judged(steady(3), day_of(DAY, model="W2", firmware="2.0.0", plus=1.0)) == Counts(0, 0, 1)

    def test_of_few_people_nothing_is_known(self) -> None:
        assert self.judged(steady(3, people=4), day_of(DAY, firmware="2.0.0", plus=1.0)) == Counts(0, 0, 1)

    def test_a_device_without_firmware_is_not_asked(self) -> None:
        assert self.judged(steady(3), day_of(DAY, firmware=None)) == Counts(0, 0, 0)


class TestUnits:
    def judged(self, *today: pa.Table, before: int = 3) -> tuple[Counts, tuple[Stratum, ...]]:
        table = totals(*today)
        history = history_of(*steady(before), list(today))
        found = shifts.mixed_units(table, table.medians(), history, DAY, check("PL-06"))
        return counts(found), shifts.recalls(found)

    def fahrenheit(self, model: str, **columns: Any) -> pa.Table:
        table = day_of(DAY, model=model, **columns)
        return planted.plant_factor(table, "skin_temperature", at(DAY), at(DAY + 1), model, 1.8, 32)

    def test_a_day_in_the_right_unit(self) -> None:
        assert self.judged(day_of(DAY)) == (Counts(1, 0, 0), ())

    def test_a_model_whose_day_is_in_another_is_to_be_recalled(self) -> None:
        found, recalled = self.judged(day_of(DAY), self.fahrenheit("W2", people=2))
        assert found == Counts(2, 1, 0)
        expected = Stratum("PL-06", "observation", "skin_temperature", "acme", "W2", "1.0.0", as_day(DAY))
        assert recalled == (expected,)

    def test_without_a_past_nothing_is_known(self) -> None:
        assert self.judged(self.fahrenheit("W2"), before=0) == (Counts(0, 0, 1), ())

    def test_what_a_recall_cannot_name_alone_is_left(self) -> None:
        found, recalled = self.judged(day_of(DAY, model="W2"), self.fahrenheit("W2", firmware=None))
        assert found == Counts(2, 1, 0)
        assert recalled == ()

    def test_metrics_of_one_unit_are_not_judged(self) -> None:
        found, _ = self.judged(planted.heart_rates("p0", DAY))
        assert found == Counts(0, 0, 1)


class TestSummaries:
    def test_levels_medians_and_suppression(self) -> None:
        tables = [day_of(DAY), day_of(DAY, model="W2", people=3), planted.acceleration("p0", DAY, 8, 1)]
        rows = summary_table(totals(*tables).summaries(DAY, 20, 10)).to_pylist()
        told = {(row["level"], row["metric"], row["device_model"]): row for row in rows}
        values = pa.concat_tables(tables[:1]).column("value").to_numpy()
        w1, w2 = told[STRATUM, "skin_temperature", "W1"], told[STRATUM, "skin_temperature", "W2"]
        assert (w1["rows"], w1["people"], w1["enrolled"]) == (12 * 144, 12, 20)
        assert w1["median"] == pytest.approx(np.median(values))
        assert w1["spread"] == pytest.approx(np.median(np.abs(values - np.median(values))))
        assert (w2["rows"], w2["people"], w2["median"], w2["spread"]) == (3 * 144, 3, None, None)
        assert told[METRIC, "skin_temperature", None]["people"] == 12
        assert told[METRIC, "acceleration", None]["median"] is None
        assert told["study", None, None]["rows"] == 15 * 144 + 12
        assert told["study", None, None]["median"] is None

    def test_a_day_without_readings_says_so(self) -> None:
        (row,) = totals(day_of(DAY).slice(0, 0)).summaries(DAY, 20, 10)
        assert (row["level"], row["rows"], row["people"], row["enrolled"]) == ("study", 0, 0, 20)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 1.5, 2.0, 7.0, float("nan")])), max_size=40))
def test_statistics_by_group_are_those_of_each(rows: list[tuple[int, float]]) -> None:
    group = np.array([number for number, _ in rows], dtype=np.int64)
    value = np.array([number for _, number in rows], dtype=np.float64)
    found, late = medians(value, group, 5), quantiles(value, group, 5, 0.95)
    for number in range(5):
        mine = sorted(value[(group == number) & ~np.isnan(value)].tolist())
        if not mine:
            assert np.isnan(found[number])
            assert np.isnan(late[number])
            continue
        assert found[number] == np.median(mine)
        assert late[number] == next(one for one in mine if sum(x <= one for x in mine) >= 0.95 * len(mine))


def test_a_z_without_any_deviation_is_finite() -> None:
    assert shifts.robust_z(1.0, np.ones(9), 0.0) == 0
    assert shifts.robust_z(2.0, np.ones(9), 0.0) == pytest.approx(1e6)
