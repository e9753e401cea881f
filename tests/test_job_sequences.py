"""Gaps, rates, flat lines and leaps: planted ones are found, all of them and nothing else."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.job import sequences
from quality.job.segments import SECOND_US
from tests import planted
from tests.job_answers import Counts, check, counts, readings
from tests.planted import FIRST, HOUR, MINUTE, SECOND, at

DAY = FIRST
PEOPLE = planted.people(4)


def hearts(every: int = MINUTE, **columns: object) -> pa.Table:
    return pa.concat_tables(
        [planted.heart_rates(who, DAY, every=every, seed=n, **columns) for n, who in enumerate(PEOPLE)]
    )


class TestGaps:
    def test_a_clean_day_has_none(self) -> None:
        assert counts(sequences.sampling_gaps(readings(hearts()), DAY, check("SQ-01"))) == Counts(4, 0, 0)

    def test_holes_in_a_fifth_of_the_time_are_found(self) -> None:
        table = planted.plant_holes(hearts(), "p2", "heart_rate", at(DAY, 8), at(DAY, 14), keep=5)
        found = sequences.sampling_gaps(readings(table), DAY, check("SQ-01"))
        assert counts(found) == Counts(4, 1, 0)
        assert found.measured is not None
        assert np.nanmax(found.measured) == pytest.approx(0.2, abs=0.01)

    def test_holes_in_less_than_that_are_not(self) -> None:
        table = planted.plant_holes(hearts(), "p2", "heart_rate", at(DAY, 8), at(DAY, 13), keep=5)
        assert counts(sequences.sampling_gaps(readings(table), DAY, check("SQ-01"))).failed == 0

    def test_a_long_silence_is_time_not_worn(self) -> None:
        table = planted.plant_absence(hearts(), "p1", at(DAY, 8), at(DAY, 18))
        assert counts(sequences.sampling_gaps(readings(table), DAY, check("SQ-01"))).failed == 0

    def test_a_few_readings_are_not_judged(self) -> None:
        table = pa.concat_tables([hearts(), planted.heart_rates("p9", DAY, every=2 * HOUR)])
        assert counts(sequences.sampling_gaps(readings(table), DAY, check("SQ-01"))) == Counts(4, 0, 1)

    def test_metrics_that_nobody_samples_all_day_are_not_asked(self) -> None:
        table = planted.steps("p0", DAY)
        assert counts(sequences.sampling_gaps(readings(table), DAY, check("SQ-01"))) == Counts(0, 0, 0)

    def test_blocks_are_judged_by_where_they_end(self) -> None:
        clean = planted.acceleration("p0", DAY, 8, 4)
        holed = planted.acceleration("p1", DAY, 8, 4)
        holed = holed.filter(pa.array(np.arange(holed.num_rows) % 3 != 1))
        assert counts(sequences.sampling_gaps(readings(clean, holed), DAY, check("SQ-01"))) == Counts(2, 1, 0)

    @settings(max_examples=40)
    @given(st.lists(st.integers(0, 400), min_size=3, max_size=40))
    def test_the_share_is_what_a_loop_finds(self, steps: list[int]) -> None:
        start = at(DAY) + np.cumsum(np.array(steps, dtype=np.int64)) * MINUTE
        table = planted.instants("p0", "heart_rate", start, np.arange(len(start), dtype=np.float64))
        judged = check("SQ-01", least_readings=1)
        found = sequences.sampling_gaps(readings(table), DAY, judged)
        share = _gap_share([int(one) for one in np.diff(start) // MINUTE])
        assert (found.evaluated[0] == 1) == (share is not None)
        if share is not None:
            assert found.measured is not None
            assert found.measured[0] == pytest.approx(share)
            assert found.failed[0] == (share > 0.2)


def _gap_share(steps: list[int]) -> float | None:
    """The rule in a loop: minutes from one reading to the next."""
    forward = sorted(step for step in steps if step > 0)
    if not forward:
        return None
    middle = len(forward) // 2
    usual = forward[middle] if len(forward) % 2 else (forward[middle - 1] + forward[middle]) / 2
    worn = gaps = 0.0
    for step in steps:
        if step - usual < 120:
            worn += step
            if step > 3 * usual:
                gaps += step - usual
    return gaps / worn if worn > 0 else None


def rate(*tables: pa.Table) -> Counts:
    found = sequences.rates(readings(*tables), check("SQ-02"))
    return counts(sequences.sampling_rate(found, DAY, check("SQ-02")))


class TestRate:
    def test_a_device_that_samples_otherwise_than_its_model_is_found(self) -> None:
        table = planted.plant_slowness(hearts(), "p3", "heart_rate", DAY, keep=2)
        assert rate(table) == Counts(4, 1, 0)

    def test_a_clean_day_has_none(self) -> None:
        assert rate(hearts()) == Counts(4, 0, 0)

    def test_without_enough_devices_nobody_knows_the_usual_rate(self) -> None:
        table = hearts().filter(pa.array(np.arange(4 * 1440) < 2 * 1440))
        assert rate(table) == Counts(0, 0, 2)

    def test_irregular_readings_are_not_judged(self) -> None:
        rng = np.random.default_rng(1)
        start = at(DAY) + np.cumsum(rng.integers(1, 10, 200)) * MINUTE
        table = pa.concat_tables([hearts(), planted.instants("p9", "heart_rate", start, rng.normal(60, 5, 200))])
        assert rate(table) == Counts(4, 0, 1)

    def test_blocks_that_come_slower_than_they_say_are_found(self) -> None:
        start = np.arange(at(DAY, 8), at(DAY, 12), 6 * MINUTE, dtype=np.int64)
        samples = np.tile(np.array([0, 51, 502]), (len(start), planted.BLOCK, 1))
        slow = planted.blocks("p1", start, samples)  # five minutes of samples in six
        right = planted.acceleration("p0", DAY, 8, 4)
        assert rate(right, slow) == Counts(2, 1, 0)


class TestFlatLines:
    def test_each_window_that_a_flat_line_touches_fails(self) -> None:
        table = planted.plant_flat_line(hearts(), "p1", "heart_rate", at(DAY, 10), at(DAY, 11), 61.0)
        found = sequences.flat_lines(readings(table), DAY, check("SQ-03"))
        assert counts(found) == Counts(4 * 72, 3, 0)

    def test_one_that_is_too_short_does_not(self) -> None:
        table = planted.plant_flat_line(hearts(), "p1", "heart_rate", at(DAY, 10), at(DAY, 10) + 20 * MINUTE, 61.0)
        assert counts(sequences.flat_lines(readings(table), DAY, check("SQ-03"))).failed == 0

    def test_twenty_minutes_are_enough_whichever_windows_they_touch(self) -> None:
        until = at(DAY, 10) + 21 * MINUTE  # the last reading lies twenty minutes after the first
        table = planted.plant_flat_line(hearts(), "p1", "heart_rate", at(DAY, 10), until, 61.0)
        assert counts(sequences.flat_lines(readings(table), DAY, check("SQ-03"))).failed == 2

    @pytest.mark.parametrize(("silence", "failed"), [(5, 2), (6, 0)])
    def test_a_silence_ends_it(self, silence: int, failed: int) -> None:
        minutes = np.array([*range(12), *range(11 + silence, 23 + silence)], dtype=np.int64)
        table = planted.instants("p0", "heart_rate", at(DAY) + minutes * MINUTE, np.full(len(minutes), 61.0))
        assert counts(sequences.flat_lines(readings(table), DAY, check("SQ-03"))).failed == failed

    def test_a_window_with_few_readings_is_not_judged(self) -> None:
        table = planted.heart_rates("p0", DAY, every=5 * MINUTE)
        assert counts(sequences.flat_lines(readings(table), DAY, check("SQ-03"))) == Counts(0, 0, 72)

    @settings(max_examples=40)
    @given(st.lists(st.tuples(st.integers(1, 7), st.sampled_from([1, 1, 1, 1, 1, 1, 1, 2])), min_size=1, max_size=80))
    def test_the_windows_are_what_a_loop_finds(self, readings_of: list[tuple[int, int]]) -> None:
        minutes = np.cumsum([step for step, _ in readings_of])
        values = [float(value) for _, value in readings_of]
        start = at(DAY) + minutes.astype(np.int64) * MINUTE
        table = planted.instants("p0", "heart_rate", start, np.array(values))
        found = counts(sequences.flat_lines(readings(table), DAY, check("SQ-03")))
        assert found == _flat_windows(minutes.tolist(), values)


def _flat_windows(minutes: list[int], values: list[float]) -> Counts:
    """The rule in a loop: 20 minutes, five readings, broken by five minutes of silence."""
    flat, begin = [False] * len(values), 0
    for here in range(1, len(values) + 1):
        goes_on = here < len(values) and values[here] == values[begin] and minutes[here] - minutes[here - 1] <= 5
        if not goes_on:
            if minutes[here - 1] - minutes[begin] >= 20 and here - begin >= 5:
                flat[begin:here] = [True] * (here - begin)
            begin = here
    windows: dict[int, list[bool]] = {}
    for minute, is_flat in zip(minutes, flat, strict=True):
        windows.setdefault(minute // 20, []).append(is_flat)
    judged = [window for window in windows.values() if len(window) >= 5]
    return Counts(len(judged), sum(any(window) for window in judged), len(windows) - len(judged))


class TestLeaps:
    @pytest.mark.parametrize(
        ("metric", "apart", "low", "high", "expected"),
        [
            ("heart_rate", 3 * SECOND, 60, 101, Counts(1, 1, 1)),
            ("heart_rate", 3 * SECOND, 60, 100, Counts(1, 0, 1)),
            ("heart_rate", SECOND // 2, 60, 101, Counts(0, 0, 2)),
            ("heart_rate", 6 * SECOND, 60, 101, Counts(0, 0, 2)),
            ("skin_temperature", 60 * SECOND, 33, 34.5, Counts(1, 1, 1)),
            ("spo2", 10 * SECOND, 97, 88, Counts(1, 1, 1)),
        ],
    )
    def test_by_metric(self, metric: str, apart: int, low: float, high: float, expected: Counts) -> None:
        table = readings(planted.plant_leap("p0", metric, at(DAY, 9), apart, low, high))
        assert counts(*sequences.leaps(table, table, DAY, check("SQ-05"))) == expected

    def test_the_weight_is_compared_with_the_day_before(self) -> None:
        before = readings(planted.plant_leap("p0", "weight", at(DAY - 1, 20), 12 * HOUR, 70, 74))
        today = before.pick(before.start >= at(DAY))
        assert counts(*sequences.leaps(today, before, DAY, check("SQ-05"))) == Counts(1, 1, 0)

    @settings(max_examples=40)
    @given(st.lists(st.tuples(st.integers(0, 8), st.integers(40, 140)), min_size=1, max_size=60))
    def test_the_pairs_are_what_a_loop_finds(self, readings_of: list[tuple[int, int]]) -> None:
        seconds = np.cumsum([step for step, _ in readings_of])
        values = np.array([value for _, value in readings_of], dtype=np.float64)
        order = np.lexsort((np.arange(len(values)), seconds))
        start = at(DAY) + seconds.astype(np.int64) * SECOND_US
        table = readings(planted.instants("p0", "heart_rate", start, values))
        evaluated = failed = 0
        for here in range(1, len(values)):
            step = int(seconds[order][here] - seconds[order][here - 1])
            if 1 <= step <= 5:
                evaluated += 1
                failed += abs(values[here] - values[here - 1]) > 40
        found = counts(*sequences.leaps(table, table, DAY, check("SQ-05")))
        assert found == Counts(evaluated, failed, len(values) - evaluated)
