"""Minutes that are counted twice, days with too many steps, and batteries that explain a hole."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.job import overlaps
from tests import planted
from tests.job_answers import Counts, check, counts, readings
from tests.planted import FIRST, MINUTE, at

DAY = FIRST


class TestOverlaps:
    def judged(self, *tables: pa.Table) -> Counts:
        return counts(overlaps.overlapping_sources(readings(*tables), DAY, check("UQ-03")))

    def test_one_source_cannot_overlap(self) -> None:
        assert self.judged(planted.steps("p0", DAY)) == Counts(0, 0, 1)

    def test_two_at_different_hours_do_not(self) -> None:
        phone = planted.steps("p0", DAY, first_hour=14, source="phone")
        assert self.judged(planted.steps("p0", DAY), phone) == Counts(1, 0, 0)

    @pytest.mark.parametrize(("share", "failed"), [(0.1, 0), (0.15, 1), (1.0, 1)])
    def test_two_at_once(self, share: float, failed: int) -> None:
        table = pa.concat_tables([planted.steps("p0", DAY), planted.steps("p1", DAY)])
        phone = planted.plant_second_source(table, "p1", "steps_interval", DAY, share)
        assert self.judged(table, phone) == Counts(1, failed, 1)

    def test_instants_are_not_asked(self) -> None:
        watch, strap = planted.heart_rates("p0", DAY), planted.heart_rates("p0", DAY, source="strap")
        assert self.judged(watch, strap) == Counts(0, 0, 0)

    @settings(max_examples=40)
    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1430), st.integers(1, 40)),
            min_size=1,
            max_size=40,
        )
    )
    def test_the_share_is_what_a_loop_finds(self, spans: list[tuple[int, int, int, int]]) -> None:
        start = np.array([at(DAY) + first * MINUTE + 1 for _, _, first, _ in spans], dtype=np.int64)
        end = start + np.array([length for *_, length in spans], dtype=np.int64) * MINUTE
        table = planted.rows(
            "observation",
            len(spans),
            pseudonym=[f"p{who}" for who, *_ in spans],
            source=[f"s{source}" for _, source, *_ in spans],
            metric="steps_interval",
            start=start,
            end=end,
            received=end,
            value=np.ones(len(spans)),
        )
        expected = [0, 0, 0]
        for who in {who for who, *_ in spans}:
            minutes: dict[int, set[int]] = {}
            for one, source, first, length in spans:
                if one == who:
                    for minute in range(first, min(first + length + 1, 1440)):
                        minutes.setdefault(minute, set()).add(source)
            several = len({source for one, source, *_ in spans if one == who}) > 1
            share = sum(len(of) > 1 for of in minutes.values()) / len(minutes)
            expected[0] += several
            expected[1] += several and share > 0.1
            expected[2] += not several
        assert self.judged(table) == Counts(*expected)

    def test_many_people_are_counted_in_portions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(overlaps, "_AT_ONCE", 2)
        tables = [planted.steps(who, DAY) for who in planted.people(5)]
        phones = [planted.plant_second_source(tables[n], f"p{n}", "steps_interval", DAY, 1.0) for n in (1, 4)]
        assert self.judged(*tables, *phones) == Counts(2, 2, 3)


class TestSteps:
    @pytest.mark.parametrize(("each", "failed"), [(250, 0), (251, 1)])
    def test_more_than_sixty_thousand_a_day(self, each: float, failed: int) -> None:
        table = planted.steps("p0", DAY, hours=4, each=each)
        found = overlaps.steps_of_day(readings(table, planted.steps("p1", DAY)), DAY, check("PL-04"))
        assert counts(found) == Counts(2, failed, 0)

    def test_each_source_counts_for_itself(self) -> None:
        tables = [planted.steps("p0", DAY, each=200, source=source) for source in ("watch", "phone")]
        assert counts(overlaps.steps_of_day(readings(*tables), DAY, check("PL-04"))) == Counts(2, 0, 0)


class TestBatteries:
    LOW = [50.0] * 10 + [8.0] * 6  # from five o'clock on, told until half past seven

    def judged(self, *tables: pa.Table, ended: bool = True) -> Counts:
        return counts(overlaps.batteries(readings(*tables), DAY, ended, check("PL-10")))

    def hearts(self, until: float) -> pa.Table:
        return planted.plant_absence(planted.heart_rates("p0", DAY), "p0", at(DAY, until), at(DAY + 1))

    def test_a_hole_after_two_low_hours(self) -> None:
        assert self.judged(self.hearts(7.6), planted.charges("p0", DAY, self.LOW)) == Counts(1, 1, 0)

    def test_no_hole_after_them(self) -> None:
        assert self.judged(planted.heart_rates("p0", DAY), planted.charges("p0", DAY, self.LOW)) == Counts(1, 0, 0)

    def test_a_hole_after_one_low_hour(self) -> None:
        charges = planted.charges("p0", DAY, self.LOW[:13])
        assert self.judged(self.hearts(6.1), charges) == Counts(1, 0, 0)

    def test_a_hole_after_it_was_charged(self) -> None:
        charges = planted.charges("p0", DAY, [*self.LOW, 90.0])
        assert self.judged(self.hearts(8.1), charges) == Counts(1, 0, 0)

    def test_a_hole_long_after_the_charge_was_last_told(self) -> None:
        assert self.judged(self.hearts(12), planted.charges("p0", DAY, self.LOW)) == Counts(1, 0, 0)

    def test_the_rest_of_a_day_that_goes_on_is_no_hole(self) -> None:
        found = self.judged(self.hearts(7.6), planted.charges("p0", DAY, self.LOW), ended=False)
        assert found == Counts(1, 0, 0)

    def test_a_device_that_does_not_tell_its_charge(self) -> None:
        assert self.judged(self.hearts(5)) == Counts(0, 0, 1)

    def test_nothing_at_all(self) -> None:
        assert self.judged(planted.heart_rates("p0", DAY).slice(0, 0)) == Counts(0, 0, 0)
