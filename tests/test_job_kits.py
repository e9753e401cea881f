"""Kits that do not come back or cannot be used, and results that do not fit the last ones."""

import pyarrow as pa
import pytest

from quality.desk import StudyFacts
from quality.job import kits
from schemas.families import FAMILIES
from tests import planted
from tests.desks import FakeDesk
from tests.job_answers import Counts, check, counts, result_rows
from tests.planted import FIRST, at

DAY = FIRST
MONDAY = FIRST - 1
DUE = at(MONDAY - 20)
"""When kits were sent that are due in the week."""
IN_WEEK = at(MONDAY + 2)


class TestKits:
    def judged(self, *tables: pa.Table) -> Counts:
        desk = FakeDesk({"s": StudyFacts("s")}, {"s": {"kit": pa.concat_tables(tables)}})
        found = kits.kits_of_week(desk, "s", MONDAY, check("LK-13"))
        self.rows = result_rows(found, check("LK-13"), 10)
        return counts(found)

    def test_all_come_back(self) -> None:
        assert self.judged(planted.kits(10, DUE, IN_WEEK)) == Counts(2, 0, 1)
        assert self.rows[0]["measure"] == 1.0

    @pytest.mark.parametrize(("back", "failed"), [(8, 0), (7, 1)])
    def test_too_few_come_back(self, back: int, failed: int) -> None:
        tables = [planted.kits(back, DUE, IN_WEEK), planted.kits(10 - back, DUE, None)]
        assert self.judged(*tables) == Counts(2, failed, 1)
        assert self.rows[0]["people"] == 10
        assert self.rows[0]["measure"] == pytest.approx(back / 10)

    @pytest.mark.parametrize(("rejected", "failed"), [(1, 0), (2, 1)])
    def test_too_few_can_be_used(self, rejected: int, failed: int) -> None:
        bad = planted.kits(rejected, DUE, IN_WEEK, rejected=IN_WEEK, rejected_reason="too_little")
        assert self.judged(planted.kits(10 - rejected, DUE, IN_WEEK), bad) == Counts(2, failed, 1)

    def test_those_that_came_after_the_week_were_not_back_in_time(self) -> None:
        assert self.judged(planted.kits(10, DUE, at(MONDAY + 9))) == Counts(1, 1, 2)

    @pytest.mark.parametrize(("burst", "expected"), [(0, (3, 0, 0)), (1, (3, 0, 0)), (2, (3, 1, 0))])
    def test_too_many_burst_specimens(self, burst: int, expected: tuple[int, int, int]) -> None:
        """Of twenty specimens, one of them in quarantine, each with two results."""
        tables = [
            planted.results(
                who,
                metric,
                [MONDAY + 1],
                [4.0],
                specimen64=number,
                haemolysis_index=0.1,
                specimen_condition="haemolysed" if number < burst else None,
            )
            for number, who in enumerate(planted.people(20))
            for metric in ("potassium", "sodium")
        ]
        held = [pa.concat_tables(tables[:2]).append_column("family", pa.array(["lab_result"] * 2))]
        schema = FAMILIES["quarantine"].schema
        quarantine = pa.concat_tables([schema.empty_table(), *held], promote_options="default").select(schema.names)
        desk = FakeDesk(
            {"s": StudyFacts("s")},
            {
                "s": {
                    "kit": planted.kits(10, DUE, IN_WEEK),
                    "lab_result": pa.concat_tables(tables[2:]),
                    "quarantine": quarantine,
                }
            },
        )
        assert counts(kits.kits_of_week(desk, "s", MONDAY, check("LK-13"))) == Counts(*expected)

    def test_kits_of_other_weeks_are_not_asked(self) -> None:
        assert self.judged(planted.kits(10, at(MONDAY - 5), None)) == Counts(0, 0, 3)
        assert self.rows[0]["people"] == 0

    def test_of_few_kits_no_rate_is_told(self) -> None:
        self.judged(planted.kits(9, DUE, None))
        assert self.rows[0]["measure"] is None


class TestDeltas:
    def judged(self, *tables: pa.Table) -> Counts:
        desk = FakeDesk({"s": StudyFacts("s")}, {"s": {"lab_result": pa.concat_tables(tables)}})
        return counts(kits.delta_check(desk, "s", DAY, check("LK-14")))

    @pytest.mark.parametrize(("value", "failed"), [(4.7, 0), (4.9, 1), (3.1, 1)])
    def test_a_result_beside_the_last(self, value: float, failed: int) -> None:
        assert self.judged(planted.results("p0", "potassium", [DAY - 200, DAY], [4.0, value])) == Counts(1, failed, 0)

    def test_a_first_result_is_not_judged(self) -> None:
        assert self.judged(planted.results("p0", "potassium", [DAY], [4.0])) == Counts(0, 0, 1)

    def test_nor_one_long_after(self) -> None:
        assert self.judged(planted.results("p0", "potassium", [DAY - 366, DAY], [4.0, 9.0])) == Counts(0, 0, 1)

    def test_people_and_metrics_are_told_apart(self) -> None:
        tables = [
            planted.results("p0", "potassium", [DAY - 9, DAY], [4.0, 4.1]),
            planted.results("p1", "potassium", [DAY - 9, DAY], [8.0, 4.1]),
            planted.results("p1", "sodium", [DAY - 9, DAY], [140.0, 141.0]),
        ]
        assert self.judged(*tables) == Counts(3, 1, 0)

    def test_limits_are_no_values(self) -> None:
        tables = [
            planted.results("p0", "potassium", [DAY - 9], [1.0], comparator="<"),
            planted.results("p0", "potassium", [DAY], [4.0]),
        ]
        assert self.judged(*tables) == Counts(0, 0, 1)

    def test_each_result_of_several_is_beside_the_one_before_it(self) -> None:
        table = planted.results("p0", "potassium", [DAY - 30, DAY - 2, DAY], [4.0, 6.0, 6.1])
        assert self.judged(table) == Counts(1, 0, 0)
