"""Clocks that drift, offsets that leap, nights that move, and readings that come late."""

import numpy as np
import pyarrow as pa
import pytest

from quality.desk import StudyFacts
from quality.job import clocks, nights
from quality.job.readings import Readings, read_day
from tests import planted
from tests.desks import FakeDesk
from tests.job_answers import Counts, check, counts, readings
from tests.planted import FIRST, HOUR, MINUTE, at

DAY = FIRST
PEOPLE = planted.people(3)


def hearts(first: int, last: int = DAY, every: int = HOUR // 2) -> pa.Table:
    days = range(first, last + 1)
    return pa.concat_tables(
        [planted.heart_rates(who, day, every=every, seed=n) for n, who in enumerate(PEOPLE) for day in days]
    )


def desk_of(table: pa.Table) -> FakeDesk:
    return FakeDesk({"s": StudyFacts("s")}, {"s": {"observation": table}})


def today(table: pa.Table) -> Readings:
    return read_day(desk_of(table), "s", DAY)


class TestDrift:
    def judged(self, table: pa.Table) -> Counts:
        hours = clocks.read_hours(desk_of(table), "s", today(table), DAY, 7)
        return counts(clocks.clock_drift(hours, DAY, check("TM-05")))

    def test_a_right_clock(self) -> None:
        assert self.judged(hearts(DAY - 6)) == Counts(3, 0, 0)

    @pytest.mark.parametrize(("seconds_a_day", "failed"), [(6, 1), (-6, 1), (4, 0)])
    def test_one_that_drifts(self, seconds_a_day: float, failed: int) -> None:
        table = planted.plant_drift(hearts(DAY - 6), "p1", at(DAY - 6), seconds_a_day)
        assert self.judged(table) == Counts(3, failed, 0)

    def test_readings_that_wait_are_no_drift(self) -> None:
        table = hearts(DAY - 6)
        for day, hours in ((DAY - 3, 1), (DAY - 2, 5), (DAY - 1, 2), (DAY, 7)):
            table = planted.plant_lateness(table, "p1", "heart_rate", day, hours)
        assert self.judged(table) == Counts(2, 0, 1)

    def test_nor_are_lags_of_all_sizes(self) -> None:
        rng = np.random.default_rng(7)
        table = hearts(DAY - 6)
        for day in range(DAY - 6, DAY + 1):
            for who in PEOPLE:
                table = planted.plant_lateness(table, who, "heart_rate", day, rng.uniform(0, 60) / 3600)
        assert self.judged(table) == Counts(0, 0, 3)

    def test_four_days_are_too_few(self) -> None:
        assert self.judged(hearts(DAY - 3)) == Counts(0, 0, 3)


class TestZoneJumps:
    def judged(self, table: pa.Table) -> Counts:
        return counts(
            clocks.zone_jumps(clocks.read_hours(desk_of(table), "s", today(table), DAY, 2), DAY, check("TM-07"))
        )

    def test_a_steady_offset(self) -> None:
        assert self.judged(hearts(DAY - 1)) == Counts(3, 0, 0)

    @pytest.mark.parametrize(
        ("since", "until", "offset_min", "failed"),
        [
            (at(DAY, 8), at(DAY, 12), 120, 1),
            (at(DAY, 8), at(DAY, 12), 60, 0),
            (at(DAY - 1, 20), at(DAY, 4), -300, 1),  # back on the next day
            (at(DAY - 1, 20), at(DAY), 300, 1),  # back with the day's first reading
            (at(DAY, 20), at(DAY + 1), 300, 0),  # not back yet
            (at(DAY - 1, 0.5), at(DAY, 1), 300, 0),  # back too late
            (at(DAY - 1, 8), at(DAY - 1, 12), 300, 0),  # the day before has told of it
        ],
    )
    def test_one_that_leaps(self, since: int, until: int, offset_min: int, failed: int) -> None:
        table = planted.plant_zone_jump(hearts(DAY - 1), "p2", since, until, offset_min)
        assert self.judged(table) == Counts(3, failed, 0)

    def test_an_unknown_offset_is_not_judged(self) -> None:
        table = hearts(DAY)
        place = table.schema.get_field_index("offset_min")
        mine = table.column("pseudonym").to_numpy() == "p0"
        offset = pa.array(np.zeros(table.num_rows, dtype=np.int16), mask=mine)
        assert self.judged(table.set_column(place, table.schema.field("offset_min"), offset)) == Counts(2, 0, 1)


class TestLatency:
    def test_a_day_that_came_late_is_found(self) -> None:
        table = planted.plant_lateness(hearts(DAY), "p0", "heart_rate", DAY, 25)
        found = clocks.latency(readings(table), DAY, check("TM-09"))
        assert counts(found) == Counts(3, 1, 0)
        assert found.measured is not None
        assert found.measured.max() == pytest.approx(25, abs=0.1)

    def test_a_late_reading_or_two_are_not(self) -> None:
        table = hearts(DAY, every=MINUTE)
        received = planted.numbers(table, "received")
        received[:60] += 30 * HOUR  # 60 of 1,440
        place = table.schema.get_field_index("received")
        late = table.set_column(
            place, table.schema.field("received"), pa.array(received).cast(pa.timestamp("us", "UTC"))
        )
        assert counts(clocks.latency(readings(late), DAY, check("TM-09"))) == Counts(3, 0, 0)

    def test_results_of_laboratories_may_take_their_time(self) -> None:
        table = planted.results("p0", "potassium", [DAY], [4.0])
        assert counts(clocks.latency(readings(table), DAY, check("TM-09"))) == Counts(0, 0, 0)


class TestNights:
    def judged(self, table: pa.Table) -> Counts:
        found = nights.read_nights(desk_of(table), "s", today(table), DAY, check("TM-08"))
        return counts(nights.night_shift(found, DAY, check("TM-08")))

    def test_nights_that_lie_where_they_did(self) -> None:
        assert self.judged(hearts(DAY - 13)) == Counts(3, 0, 0)

    @pytest.mark.parametrize(("first", "hours", "failed"), [(DAY - 2, 5, 1), (DAY - 2, 1, 0), (DAY - 1, 5, 0)])
    def test_nights_that_moved(self, first: int, hours: float, failed: int) -> None:
        table = planted.plant_night_shift(hearts(DAY - 13), "p1", first, hours)
        assert self.judged(table) == Counts(3, failed, 0)

    def test_nights_that_lie_to_either_side_have_not_moved(self) -> None:
        table = hearts(DAY - 13)
        for first, hours in ((DAY - 2, 5), (DAY - 1, -10), (DAY, 10)):
            table = planted.plant_night_shift(table, "p1", first, hours)
        assert self.judged(table) == Counts(3, 0, 0)

    def test_a_night_that_is_missing_among_the_last(self) -> None:
        table = planted.plant_absence(hearts(DAY - 13), "p1", at(DAY - 1), at(DAY))
        assert self.judged(table) == Counts(2, 0, 1)

    def test_a_week_is_needed_before(self) -> None:
        assert self.judged(hearts(DAY - 7)) == Counts(0, 0, 3)

    def test_the_lowest_hour_is_by_the_wall_clock(self) -> None:
        table = planted.plant_zone_jump(hearts(DAY), "p0", at(DAY - 1), at(DAY + 1), 180)
        found = nights.read_nights(desk_of(table), "s", today(table), DAY, check("TM-08"))
        assert found.hour[0, -1] == pytest.approx(6.5, abs=1.5)
        assert found.hour[1, -1] == pytest.approx(3.5, abs=1.5)
