"""Wear time, valid days, people who fell silent, and how many sent anything."""

import numpy as np
import pyarrow as pa
import pytest

from quality.desk import StudyFacts
from quality.job import blocks, overlaps, wear
from quality.job.readings import Readings
from quality.job.results import Answers, Name
from tests import planted
from tests.desks import FakeDesk
from tests.job_answers import Counts, check, counts, readings, result_rows
from tests.planted import FIRST, HOUR, MINUTE, at

DAY = FIRST
MONDAY = FIRST - 1


def everybody(*people: str, since: int = at(FIRST - 100), until: int | None = None) -> wear.Enrolled:
    desk = FakeDesk({"s": StudyFacts("s")}, {"s": {"enrolled": planted.enrolled(people, since, until)}})
    return wear.read_enrolled(desk, "s")


class TestWearTime:
    def judged(self, *tables: pa.Table, windows: blocks.Windows | None = None) -> Counts:
        return counts(wear.wear_time(readings(*tables), windows, DAY, check("WT-01"), check("SQ-03")))

    @pytest.mark.parametrize(("hours", "failed"), [(9.9, 1), (10.1, 0), (24, 0)])
    def test_by_the_heart_rate(self, hours: float, failed: int) -> None:
        table = planted.plant_absence(planted.heart_rates("p0", DAY), "p0", at(DAY, hours), at(DAY + 1))
        assert self.judged(table) == Counts(1, failed, 0)

    def test_each_minute_counts_once_for_all_sources(self) -> None:
        tables = [
            planted.plant_absence(planted.heart_rates("p0", DAY, source=source), "p0", at(DAY, 6), at(DAY + 1))
            for source in ("watch", "strap")
        ]
        assert self.judged(*tables) == Counts(1, 1, 0)

    def test_a_reading_counts_until_the_next_one_but_not_for_long(self) -> None:
        rare = planted.heart_rates("p0", DAY, every=HOUR // 4)
        assert wear.heart_minutes(readings(rare), DAY, 10).tolist() == [96]
        often = planted.heart_rates("p0", DAY, every=5 * MINUTE)
        assert wear.heart_minutes(readings(often), DAY, 10).tolist() == [1436]

    @pytest.mark.parametrize(("hours", "failed"), [(15, 1), (16.5, 0)])
    def test_by_acceleration_alone(self, hours: float, failed: int) -> None:
        moved = planted.acceleration("p0", DAY, 0, hours)
        desk = FakeDesk({"s": StudyFacts("s")}, {"s": {"waveform": moved}})
        found = blocks.read_windows(desk, "s", readings(moved), DAY, check("SQ-04"))
        assert self.judged(moved, windows=found) == Counts(1, failed, 0)

    def test_somebody_who_only_sent_something_else(self) -> None:
        assert self.judged(planted.steps("p0", DAY)) == Counts(0, 0, 1)


class TestValidDays:
    def judged(self, days: int, hours: float = 24, enrolled: wear.Enrolled | None = None) -> Counts:
        tables = [
            planted.plant_absence(
                planted.heart_rates("p0", MONDAY + n), "p0", at(MONDAY + n, hours), at(MONDAY + n + 1)
            )
            for n in range(days)
        ]
        desk = FakeDesk({"s": StudyFacts("s")}, {"s": {"observation": pa.concat_tables(tables)}})
        enrolled = enrolled or everybody("p0", "p1")
        return counts(wear.valid_days(desk, "s", MONDAY, enrolled, check("WT-01"), check("WT-02")))

    def test_four_of_seven(self) -> None:
        assert self.judged(4) == Counts(1, 0, 1)

    def test_three_of_seven(self) -> None:
        assert self.judged(3) == Counts(1, 1, 1)

    def test_days_that_are_too_short(self) -> None:
        assert self.judged(7, hours=9) == Counts(1, 1, 1)

    def test_who_came_in_the_middle_of_the_week_is_not_asked(self) -> None:
        assert self.judged(3, enrolled=everybody("p0", since=at(MONDAY + 2))) == Counts(0, 0, 0)

    def test_nor_is_who_left_in_it(self) -> None:
        assert self.judged(3, enrolled=everybody("p0", until=at(MONDAY + 3))) == Counts(0, 0, 0)


class TestSilence:
    def judged(self, *last: int, enrolled: wear.Enrolled | None = None) -> Counts:
        tables = [planted.steps(f"p{n}", day) for n, day in enumerate(last)]
        desk = FakeDesk({"s": StudyFacts("s")}, {"s": {"observation": pa.concat_tables(tables)}})
        people = enrolled or everybody(*planted.people(len(last)))
        presence = wear.read_presence(desk, "s", DAY - 7, DAY)
        return counts(wear.silent(presence, people, DAY, check("WT-03")))

    def test_three_days(self) -> None:
        assert self.judged(DAY, DAY - 2, DAY - 3, DAY - 7) == Counts(4, 2, 0)

    def test_somebody_of_whom_nothing_ever_came(self) -> None:
        assert self.judged(DAY, enrolled=everybody("p0", "p1")) == Counts(2, 1, 0)

    def test_somebody_who_has_just_come(self) -> None:
        assert self.judged(DAY, enrolled=everybody("p1", since=at(DAY - 1))) == Counts(0, 0, 1)

    def test_somebody_who_has_left(self) -> None:
        assert self.judged(DAY - 7, enrolled=everybody("p0", until=at(DAY, 12))) == Counts(0, 0, 0)


def covered(table: Readings, people: wear.Enrolled) -> Answers:
    found = wear.Coverage(people, DAY)
    found.add(table)
    return found.answers(check("WT-04"))


class TestCoverage:
    def test_of_any_metric_and_of_each(self) -> None:
        table = readings(planted.heart_rates("p0", DAY), planted.heart_rates("p1", DAY), planted.steps("p2", DAY))
        found = covered(table, everybody(*planted.people(5)))
        rows = result_rows(found, check("WT-04"), 5)
        told = {row["metric"]: (row["n_eval"], row["n_fail"], row["people"], row["measure"]) for row in rows}
        assert told == {
            None: (5, 2, 5, pytest.approx(0.6)),
            "heart_rate": (5, 3, 5, pytest.approx(0.4)),
            "steps_interval": (5, 4, 5, pytest.approx(0.2)),
        }

    def test_who_is_not_enrolled_any_more_does_not_count(self) -> None:
        table = readings(planted.heart_rates("p9", DAY))
        found = covered(table, everybody("p0"))
        assert found.names[0] == Name()
        assert counts(found) == Counts(2, 2, 0)

    def test_a_day_without_anybody(self) -> None:
        table = readings(planted.heart_rates("p9", DAY))
        assert counts(covered(table, everybody())) == Counts(0, 0, 0)


def test_the_share_of_minutes_is_exact() -> None:
    first, until = np.array([0, 5, 3]), np.array([2, 7, 6])
    assert overlaps.has_minute(np.array([0, 0, 1]), first, until, 2).sum(axis=1).tolist() == [4, 3]
