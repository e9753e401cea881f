"""The numbers in blocks of acceleration: what lies still and what is cut off, however the blocks are cut and read."""

import numpy as np
import pyarrow as pa
import pytest

from quality.desk import StudyFacts
from quality.job import blocks
from tests import planted
from tests.desks import FakeDesk
from tests.job_answers import Counts, check, counts, readings
from tests.planted import FIRST, MINUTE, at

DAY = FIRST


def windows_of(*tables: pa.Table) -> blocks.Windows:
    desk = FakeDesk({"s": StudyFacts("s")}, {"s": {"waveform": pa.concat_tables(tables)}})
    return blocks.read_windows(desk, "s", readings(*tables), DAY, check("SQ-04"))


def two_people() -> pa.Table:
    return pa.concat_tables([planted.acceleration(who, DAY, 8, 3, seed=n) for n, who in enumerate(("p0", "p1"))])


def test_the_windows_hold_what_was_sampled() -> None:
    table = planted.acceleration("p0", DAY, 8, 1)
    found = windows_of(table)
    values = np.array(table.column("values").to_pylist()).reshape(-1, 3) / blocks.GRAVITY
    quarter = values.reshape(4, -1, 3)
    assert found.samples[0, 32:36].tolist() == [15 * 60 * planted.HZ] * 4
    assert found.samples.sum() == len(values)
    assert found.sums[0, 32:36] == pytest.approx(quarter.sum(axis=1))
    assert found.squares[0, 32:36] == pytest.approx((quarter**2).sum(axis=1))
    assert found.highest[0, 32:36] == pytest.approx(quarter.max(axis=1))
    assert found.lowest[0, 32:36] == pytest.approx(quarter.min(axis=1))


def test_a_block_over_the_end_of_a_window_counts_to_both() -> None:
    table = planted.acceleration("p0", DAY, 8 + 13 / 60, 1 / 12)  # 8:13 to 8:18
    found = windows_of(table)
    assert found.samples[0, 32:34].tolist() == [2 * 60 * planted.HZ, 3 * 60 * planted.HZ]


def test_what_runs_into_the_next_day_is_left_out() -> None:
    found = windows_of(planted.acceleration("p0", DAY, 24 - 2 / 60, 1 / 12))
    assert found.samples.sum() == 2 * 60 * planted.HZ


def test_a_block_whose_numbers_make_no_whole_samples_is_not_judged() -> None:
    table = planted.acceleration("p0", DAY, 8, 1)
    place, lists = table.schema.get_field_index("values"), table.column("values").to_pylist()
    broken = pa.array([lists[0][:-1], *lists[1:]], table.schema.field("values").type)
    found = windows_of(table.set_column(place, table.schema.field("values"), broken))
    assert found.samples[0, 32] == 10 * 60 * planted.HZ


def test_a_signal_of_one_channel_is_still_by_that_one() -> None:
    table = planted.plant_stillness(planted.acceleration("p0", DAY, 8, 2), "p0", at(DAY, 8), at(DAY, 10))
    place, lists = table.schema.get_field_index("values"), table.column("values").to_pylist()
    single = pa.array([one[::3] for one in lists], table.schema.field("values").type)
    found = windows_of(table.set_column(place, table.schema.field("values"), single))
    assert counts(blocks.stillness(found, DAY, check("SQ-03"))) == Counts(5, 5, 0)


def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = two_people()
    whole = windows_of(table)
    monkeypatch.setattr(blocks, "PORTION", 15 * planted.BLOCK * 3)
    parts = windows_of(table)
    assert parts.samples.tolist() == whole.samples.tolist()
    assert parts.sums == pytest.approx(whole.sums)


def test_a_clean_day_has_neither() -> None:
    found = windows_of(two_people())
    assert counts(blocks.stillness(found, DAY, check("SQ-03"))) == Counts(2 * 9, 0, 0)
    assert counts(blocks.clipping(found, DAY, check("SQ-04"))) == Counts(2 * 12, 0, 0)


def test_an_hour_on_the_table_is_one_still_window() -> None:
    table = planted.plant_stillness(two_people(), "p1", at(DAY, 9), at(DAY, 10))
    found = windows_of(table)
    assert counts(blocks.stillness(found, DAY, check("SQ-03"))) == Counts(2 * 9, 1, 0)
    assert blocks.worn_minutes(found, check("SQ-03")).tolist() == [180, 120]


def test_three_quarters_of_an_hour_are_none() -> None:
    table = planted.plant_stillness(two_people(), "p1", at(DAY, 9), at(DAY, 9.75))
    assert counts(blocks.stillness(windows_of(table), DAY, check("SQ-03"))).failed == 0


def test_two_windows_at_the_end_of_the_range_are_found() -> None:
    table = planted.plant_clipping(two_people(), "p0", at(DAY, 9), at(DAY, 9.5))
    assert counts(blocks.clipping(windows_of(table), DAY, check("SQ-04"))) == Counts(2 * 12, 2, 0)


def test_ten_minutes_of_fifteen_are_not_enough() -> None:
    table = planted.plant_clipping(two_people(), "p0", at(DAY, 9), at(DAY, 9) + 10 * MINUTE)
    assert counts(blocks.clipping(windows_of(table), DAY, check("SQ-04"))).failed == 0


def test_a_device_with_little_is_not_judged() -> None:
    found = windows_of(planted.acceleration("p0", DAY, 8, 1 / 12))
    assert counts(blocks.stillness(found, DAY, check("SQ-03"))) == Counts(0, 0, 1)
    assert counts(blocks.clipping(found, DAY, check("SQ-04"))) == Counts(0, 0, 1)


def test_integers_that_a_block_was_sent_as_are_the_same_numbers() -> None:
    plain = two_people()
    sent = planted.as_counts(plain)
    found, expected = windows_of(sent), windows_of(plain)
    assert found.samples.tolist() == expected.samples.tolist()
    assert found.sums == pytest.approx(expected.sums)
    assert found.highest == pytest.approx(expected.highest)
    mixed = windows_of(sent.slice(0, 20), plain.slice(20))
    assert mixed.sums == pytest.approx(expected.sums)
