"""Normalise: units, times and faults of readings, one message or several in a block, against the catalogue's fractions."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from pipelines.blocks import column, texts
from pipelines.normalise import normalise
from pipelines.zones import EARLIEST_LIVE_US, NO_OFFSET, QUALITIES, SKEW_US
from schemas.contracts import encode
from schemas.mappings import FAMILIES
from schemas.metrics import catalogue
from schemas.reasons import Reason
from schemas.registry import Partner
from tests.messages import (
    ACME,
    DAY,
    HOUR,
    LATER,
    MINUTE,
    SECOND,
    START,
    acceleration,
    decoded,
    moments,
    normalised,
    observations,
    packed,
    sensor,
    sleep,
)

ARCHIVE = Partner(name="acme", live_devices=False)


def at(*times: int, **changes: Any) -> dict[str, Any]:
    """Heart rates at these times."""
    return sensor(**{"times": {"at": list(times)}, "values": [60.0 + i for i in range(len(times))], **changes})


# Units


def test_a_value_in_its_own_unit_keeps_every_bit() -> None:
    sent = np.array([60.1, np.nextafter(61, 62), 5e-324, -0.0])
    found = np.array(observations(sensor(values=packed("f8", *sent)))["value"])
    assert found.tobytes() == sent.tobytes()


def test_a_value_in_its_own_unit_keeps_every_bit_beside_one_that_is_converted() -> None:
    sent = np.array([36.65, -0.0, 36.999999999999999])
    celsius = sensor(metric="body_temperature", unit="Cel", values=packed("f8", *sent))
    fahrenheit = sensor(metric="body_temperature", unit="[degF]", values=[98.6, 32.0, 212.0])
    found = observations(celsius, fahrenheit, celsius)["value"]
    assert np.array(found[:3]).tobytes() == np.array(found[6:]).tobytes() == sent.tobytes()
    assert found[3:6] == pytest.approx([37.0, 0.0, 100.0], abs=1e-12)


CONVERSIONS = [
    (metric.code, unit)
    for metric in catalogue().metrics.values()
    if metric.family == "observation" and metric.value == "number"
    for unit in (*metric.units, *metric.synonyms)
]


def test_every_unit_of_every_metric_is_converted_by_its_exact_fraction() -> None:
    sent = (0.25, 36.5, 1234.0)
    found = observations(*(sensor(metric=code, unit=unit, values=list(sent)) for code, unit in CONVERSIONS))["value"]
    for row, (code, unit) in enumerate(CONVERSIONS):
        exact = catalogue().metrics[code].conversion(unit)
        assert exact is not None
        for number, value in enumerate(sent):
            wanted = Fraction(value) * exact.exact_factor + exact.exact_offset
            assert found[3 * row + number] == pytest.approx(float(wanted), rel=1e-14, abs=1e-12), (code, unit)


def test_metric_and_unit_are_named_in_the_catalogues_words() -> None:
    blocks, _ = normalised(sensor(metric="body_temperature", unit="°F", values=[98.6, 98.7, 98.8]))
    messages = blocks[0].messages
    assert (texts(messages, "metric"), texts(messages, "unit"), texts(messages, "unit_sent")) == (
        ["body_temperature"],
        ["Cel"],
        ["°F"],
    )
    assert texts(messages, "metric_index") == [catalogue().index["body_temperature"]]


# Times


def test_instants_have_no_length() -> None:
    regular = observations(sensor())
    irregular = observations(at(START, START + SECOND, START + SECOND))
    assert regular["start"] == regular["end"] == [START, START + SECOND, START + 2 * SECOND]
    assert irregular["start"] == irregular["end"] == [START, START + SECOND, START + SECOND]


STEPS: dict[str, Any] = {"metric": "steps_interval", "unit": "{steps}"}


def test_a_regular_metric_over_intervals_ends_where_the_next_begins() -> None:
    found = observations(sensor(**STEPS, times={"start": START, "period": MINUTE}))
    assert found["start"] == [START, START + MINUTE, START + 2 * MINUTE]
    assert found["end"] == [START + MINUTE, START + 2 * MINUTE, START + 3 * MINUTE]
    days = observations(sensor(metric="steps_24h", unit="{steps}/d", times={"start": START, "period": DAY}))
    assert days["end"] == [START + DAY, START + 2 * DAY, START + 3 * DAY]


def test_a_metric_over_intervals_sent_with_a_time_each_has_intervals_of_no_length() -> None:
    found = observations(at(START, START + MINUTE, **STEPS))
    assert found["end"] == found["start"] == [START, START + MINUTE]


def test_intervals_are_as_sent_whatever_the_metric() -> None:
    times = {"start": [START, START + MINUTE], "end": moments(START + 7, START + MINUTE)}
    for changes in (STEPS, {}):
        found = observations(sensor(**changes, times=times, values=[1.0, 2.0]))
        assert (found["start"], found["end"]) == ([START, START + MINUTE], [START + 7, START + MINUTE])


@pytest.mark.parametrize(
    ("changes", "offset", "quality"),
    [
        ({}, NO_OFFSET, "device_clock_only"),
        ({"offset_min": 330}, 330, "offset_given"),
        ({"offset_min": 330, "zone": "Europe/Madrid"}, 330, "offset_given"),
        ({"zone": "America/New_York"}, -300, "zone_metadata"),
    ],
)
def test_utc_times_stay_and_the_offset_is_noted(changes: dict[str, Any], offset: int, quality: str) -> None:
    found = observations(sensor(**changes))
    assert found["start"] == [START, START + SECOND, START + 2 * SECOND]
    assert (found["offset_min"], set(found["quality"])) == ([offset] * 3, {QUALITIES.index(quality)})


def test_a_zone_assumed_for_a_partner_serves_where_a_message_has_none() -> None:
    assuming = Partner(name="acme", assumed_zone="Asia/Kathmandu")
    found = observations(at(START, clock="local"), at(START, clock="local", zone="Europe/Madrid"), partner=assuming)
    assert found["start"] == [START - 345 * MINUTE, START - 60 * MINUTE]
    assert found["offset_min"] == [345, 60]
    assert [QUALITIES[q] for q in found["quality"]] == ["zone_assumed", "zone_metadata"]


SPRING = 1_774_746_000_000_000  # 2026-03-29T01:00:00Z: Madrid goes from 02:00 (+60) to 03:00 (+120)
AUTUMN = 1_792_890_000_000_000  # 2026-10-25T01:00:00Z: Madrid goes from 03:00 (+120) to 02:00 (+60)
MADRID: dict[str, Any] = {"clock": "local", "zone": "Europe/Madrid"}
SURE, TWICE, NEVER = (QUALITIES.index(name) for name in ("zone_metadata", "ambiguous_dst", "nonexistent_dst"))


def test_a_wall_clock_that_leaps_forward() -> None:
    wall = [SPRING + minutes * MINUTE for minutes in (59, 60, 119, 120)]  # 01:59, 02:00 and 02:59 (never), 03:00
    found = observations(at(*wall, **MADRID))
    assert [t - SPRING for t in found["start"]] == [-MINUTE, 0, 59 * MINUTE, 0]
    assert found["offset_min"] == [60, 60, 60, 120]
    assert found["quality"] == [SURE, NEVER, NEVER, SURE]
    assert found["end"] == found["start"]


def test_a_wall_clock_that_is_put_back() -> None:
    wall = [AUTUMN + minutes * MINUTE for minutes in (59, 60, 119, 120)]  # 01:59, 02:00 and 02:59 (twice), 03:00
    found = observations(at(*wall, **MADRID))
    assert [t - AUTUMN for t in found["start"]] == [-61 * MINUTE, -HOUR, -MINUTE, HOUR]
    assert found["offset_min"] == [120, 120, 120, 60]
    assert found["quality"] == [SURE, TWICE, TWICE, SURE]


def test_the_offset_of_utc_times_changes_at_the_transition() -> None:
    found = observations(at(SPRING - 1, SPRING, AUTUMN - 1, AUTUMN, zone="Europe/Madrid"))
    assert found["start"] == [SPRING - 1, SPRING, AUTUMN - 1, AUTUMN]
    assert found["offset_min"] == [60, 120, 120, 60]
    assert set(found["quality"]) == {SURE}


@pytest.mark.parametrize(("leap", "before", "after"), [(SPRING, 60, 120), (AUTUMN, 120, 60)])
def test_equally_spaced_readings_stay_so_over_a_transition(leap: int, before: int, after: int) -> None:
    begin = leap + before * MINUTE - 2 * HOUR  # two hours before, by the wall clock
    message = sensor(**MADRID, times={"start": begin, "period": HOUR}, values=[60.0, 61, 62, 63])
    found = observations(message)
    assert [t - leap for t in found["start"]] == [-2 * HOUR, -HOUR, 0, HOUR]
    assert found["offset_min"] == [before, before, after, after]
    assert set(found["quality"]) == {SURE}


def test_a_night_over_a_transition_has_its_real_length() -> None:
    def night(leap: int) -> dict[str, Any]:
        begin = leap - leap % DAY - HOUR  # 23:00 by the wall clock
        return sleep("asleep_unspecified", **MADRID, times={"start": [begin], "end": [begin + 8 * HOUR]})

    found = observations(night(SPRING), night(AUTUMN))
    assert [e - s for s, e in zip(found["start"], found["end"], strict=True)] == [7 * HOUR, 9 * HOUR]
    assert found["offset_min"] == [60, 120]
    assert found["quality"] == [SURE, SURE]


def test_an_interval_is_as_sure_as_the_less_sure_of_its_ends() -> None:
    wall = AUTUMN + HOUR  # 02:00, which came twice
    times = {"start": [wall - 2 * HOUR, wall, wall - DAY], "end": [wall, wall + 2 * HOUR, wall - DAY + HOUR]}
    found = observations(sensor(**STEPS, **MADRID, times=times))
    assert found["quality"] == [TWICE, TWICE, SURE]


def test_an_interval_never_ends_before_its_start() -> None:
    """From 02:30, which never came, to 03:10: by the zone's rules 01:30Z to 01:10Z."""
    wall = SPRING + 90 * MINUTE
    found = observations(sensor(**STEPS, **MADRID, times={"start": [wall], "end": [wall + 40 * MINUTE]}, values=[50.0]))
    assert found["end"][0] - found["start"][0] == 40 * MINUTE
    assert found["quality"] == [NEVER]


# Faults


def test_a_message_at_fault_leaves_its_neighbours() -> None:
    bad = [
        (sensor(metric="weather"), Reason.METRIC, "metric"),
        (sensor(metric="hba1c", unit="%"), Reason.METRIC, "metric"),
        (sensor(unit="mmol/L"), Reason.UNIT, "unit"),
        (sensor(values={"codes": ["a", "b", "c"]}), Reason.CODE, "values"),
        (sensor(metric="sleep_stage", unit="1"), Reason.CODE, "values"),
        (sensor(channels=["a", "b", "c"]), Reason.RAGGED, "channels"),
        (acceleration(1, 2, 3, times={"start": [START], "end": [START]}), Reason.INTERVAL, "times"),
        (sensor(clock="local"), Reason.ZONE, "zone"),
        (sensor(zone="Mars/Olympus"), Reason.ZONE, "zone"),
    ]
    readings = [3, 3, 3, 3, 3, 1, 1, 3, 3]
    blocks, pointers = normalised(*(message for pair in bad for message in (pair[0], sensor())))
    assert [(p.reason, p.path, p.readings, p.first_reading) for p in pointers] == [
        (reason, path, count, 0) for (_, reason, path), count in zip(bad, readings, strict=True)
    ]
    assert [p.offset for p in pointers] == [100 + 2 * row for row in range(len(bad))]
    assert texts(blocks[0].messages, "offset") == [101 + 2 * row for row in range(len(bad))]
    assert blocks[0].readings.num_rows == 3 * len(bad)


def test_a_reading_at_fault_costs_that_reading_only() -> None:
    nan, inf = float("nan"), float("inf")
    blocks, pointers = normalised(
        sensor(values=packed("f4", 60, nan, 62, inf, -inf, 65)),
        at(START, LATER + SKEW_US + 1, LATER + SKEW_US, EARLIEST_LIVE_US - 1, EARLIEST_LIVE_US),
        sleep("deep", "N3", "rem", "awake", "wake"),
    )
    assert [tuple(p[2:6]) for p in pointers] == [
        (101, 1, 1, Reason.FUTURE),
        (101, 3, 1, Reason.TIME),
        (102, 1, 2, Reason.CODE),
        (100, 1, 3, Reason.NOT_FINITE),
    ]
    kept = blocks[0].readings.to_pydict()
    assert list(zip(kept["message"], kept["index"], strict=True)) == [
        *((0, index) for index in (0, 2, 5)),
        *((1, index) for index in (0, 2, 4)),
        *((2, index) for index in (0, 2, 3)),
    ]
    assert kept["value"][:6] == [60, 62, 65, 60, 62, 64]
    assert kept["code"] == [None] * 6 + ["deep", "rem", "awake"]


def test_old_readings_are_refused_of_live_devices_only() -> None:
    blocks, pointers = normalised(at(-DAY, 0, START), partner=ARCHIVE)
    assert pointers == []
    assert column(blocks[0].readings, "start").tolist() == [-DAY, 0, START]


def test_the_future_begins_five_minutes_after_the_end_of_a_reading() -> None:
    times = {"start": [START, START], "end": [START + HOUR, START + HOUR + 1]}
    _, pointers = normalised(sensor(**STEPS, times=times, values=[1.0, 2.0]), received=START + HOUR - SKEW_US)
    assert [(p.first_reading, p.readings, p.reason) for p in pointers] == [(1, 1, Reason.FUTURE)]


def test_a_value_too_large_for_its_new_unit_is_not_finite() -> None:
    _, pointers = normalised(sensor(metric="weight", unit="[stone_av]", values=[1e308, 11.0, 12.0]))
    assert [(p.first_reading, p.readings, p.reason) for p in pointers] == [(0, 1, Reason.NOT_FINITE)]


def test_no_reading_left_is_no_block() -> None:
    blocks, pointers = normalised(sensor(values=packed("f8", *[float("nan")] * 3)))
    assert blocks == []
    assert [p.readings for p in pointers] == [3]


# Several messages in a block

MIXED = [
    sensor(),
    acceleration(1, 2, 3, 4, 5, 6, unit="[g]"),
    sensor(metric="weather", values=[1.0, 2.0]),
    sleep("deep", "odd", "rem", record_ids=["a", "", "c"]),
    sensor(**MADRID, times={"at": [SPRING + HOUR, SPRING + 2 * HOUR, SPRING]}, unit="Hz"),
    acceleration(1, 2, 3, times={"at": [START]}, clock="local", zone="Asia/Tokyo"),
    sensor(**STEPS, times={"start": START, "period": MINUTE}, record_ids=["a", "b", "c"]),
    acceleration(1, float("nan"), 3),
    sensor(values=packed("f8", 60.0, float("nan"), 63.0), source={"name": "chest"}),
]


def readings_by_offset(messages: list[dict[str, Any]], first: int = 0) -> dict[int, Any]:
    """What becomes of each message: its readings, all columns that may not depend on the block, and its pointers."""
    blocks, pointers = normalised(*messages)
    found: dict[int, Any] = {first + row: ([], []) for row in range(len(messages))}
    for block in blocks:
        offsets = texts(block.messages, "offset")
        for row in block.readings.to_pylist():
            offset = offsets[row.pop("message")] - 100
            shown = {"record": row.pop("record", 0), "code": row.pop("code", None), **row}
            found[first + offset][0].append(repr(sorted(shown.items())))
    for pointer in pointers:
        found[first + pointer.offset - 100][1].append(pointer[3:])
    return found


def test_a_message_becomes_the_same_alone_and_among_others() -> None:
    together = readings_by_offset(MIXED)
    for row, message in enumerate(MIXED):
        assert readings_by_offset([message], row) == {row: together[row]}
    assert readings_by_offset(MIXED[::-1]) == {len(MIXED) - 1 - row: found for row, found in together.items()}


def test_codes_with_channels_do_not_shift_their_neighbours() -> None:
    """A count of codes that is not the count of samples would move the codes of every message behind it."""
    messages = (sleep("deep", "rem", "deep", "rem", channels=["a", "b"]), sleep("awake"))
    found, pointers = decoded(*(encode("sensor-reading", message) for message in messages))
    assert [(p.offset, p.reason) for p in pointers] == [(100, Reason.RAGGED)]
    assert found is not None
    assert texts(normalise(found, ACME)[0][0].readings, "code") == ["awake"]


# What a reading is


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two messages say the same of each reading."""
    first, second = (normalised(message)[0][0].readings for message in (one, other))
    return bool(column(first, "sent").tolist() == column(second, "sent").tolist())


def test_the_form_of_a_message_does_not_change_what_its_readings_are() -> None:
    base = sensor()
    third = START + 2 * SECOND
    assert same(base, sensor(values=packed("i2", 60, 61, 63)))
    assert same(base, sensor(values=[60.0, 61.0, 63.0], times={"at": moments(START, START + SECOND, third)}))
    assert same(base, sensor(values=packed("i2", 120, 122, 126, scale=0.5)))
    assert same(base, sensor(subject="p-0018")), "the person comes in with the study's pseudonym"
    assert same(base, sensor(offset_min=60, source={"name": "wrist", "firmware": "9.9.9"}))
    assert same(base, sensor(clock="local", offset_min=60, times={"start": START + HOUR, "period": SECOND}))


def test_zero_is_zero_whatever_its_sign() -> None:
    assert same(sensor(values=[0.0, 1.0, 2.0]), sensor(values=[-0.0, 1.0, 2.0]))
    assert same(acceleration(0.0, 1, 2), acceleration(-0.0, 1, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "resting_heart_rate"},
        {"unit": "{beats}/min"},
        {"source": {"name": "chest"}},
        {"times": {"start": START + 1, "period": SECOND}},
        {"times": {"start": [START] * 3, "end": [START + 1] * 3}},
        {"values": [60.0, 61.0, 63.0000001]},
        {"record_ids": ["a", "b", "c"]},
    ],
)
def test_what_makes_another_reading(changes: dict[str, Any]) -> None:
    assert not same(sensor(), sensor(**changes))


def test_another_partners_reading_is_another() -> None:
    one, other = (observations(sensor(), partner=Partner(name=name))["sent"] for name in ("acme", "beta"))
    assert not set(one) & set(other)


def test_the_same_record_with_another_value_is_known_by_its_id() -> None:
    def records(**changes: Any) -> dict[str, list[Any]]:
        return observations(sensor(record_ids=["a", "", "c"], **changes))

    one, revised = records(), records(values=[60.0, 61.0, 99.0])
    assert one["record"] == revised["record"]
    assert [record == 0 for record in one["record"]] == [False, True, False]
    assert [a == b for a, b in zip(one["sent"], revised["sent"], strict=True)] == [True, True, False]
    assert records(source={"name": "chest"})["record"][0] != one["record"][0]


# Blocks of high-rate signals


def block(*messages: dict[str, Any]) -> dict[str, list[Any]]:
    blocks, pointers = normalised(*messages)
    assert pointers == []
    assert [found.meta["family"] for found in blocks] == ["waveform"]
    return dict(blocks[0].readings.to_pydict())


def test_a_regular_block_is_one_reading() -> None:
    found = block(acceleration(1, 2, 3, 4, 5, 6), acceleration(7, 8, 9, unit="[g]", values=packed("i2", 0, 1, -2)))
    assert found["start"] == [START, START]
    assert found["end"] == [START + 2 * 31_250, START + 31_250]
    assert (found["samples"], found["period_us"], found["times_us"]) == ([2, 1], [31_250] * 2, [None] * 2)
    assert found["values"] == [[1, 2, 3, 4, 5, 6], None]
    assert (found["counts"], found["scale"], found["zero"]) == ([None, [0, 1, -2]], [None, 9.80665], [None, 0.0])
    assert (found["low"], found["high"]) == ([1, -19.6133], [6, 9.80665])


def test_an_irregular_block_keeps_its_times() -> None:
    times = [START + 20_000, START, START + 20_000]
    found = block(acceleration(*range(9), times={"at": times}), acceleration(1, 2, 3))
    assert found["start"] == [START, START]
    assert found["end"] == [START + 20_001, START + 31_250]
    assert (found["period_us"], found["times_us"]) == ([None, 31_250], [[20_000, 0, 20_000], None])


def test_a_block_over_a_transition() -> None:
    wall = SPRING + HOUR - 10_000  # 10 ms before the leap
    regular = acceleration(*range(6), **MADRID, times={"start": wall, "period": 20_000})
    leaping = acceleration(*range(6), **MADRID, times={"at": [wall, wall + HOUR + 20_000]})
    found = block(regular, leaping)
    assert found["start"] == [SPRING - 10_000] * 2
    assert found["end"] == [SPRING + 30_000, SPRING + 10_001]
    assert found["times_us"][1] == [0, 20_000]
    assert found["offset_min"] == [60, 60]


def test_one_value_that_is_not_finite_costs_the_block() -> None:
    blocks, pointers = normalised(acceleration(1, float("inf"), 3), acceleration(1, 2, 3))
    assert [tuple(p[2:6]) for p in pointers] == [(100, 0, 1, Reason.NOT_FINITE)]
    assert column(blocks[0].readings, "message").tolist() == [1]
    _, pointers = normalised(sensor(metric="ecg", unit="V", values=[1.0, 1e305, 1.0]))
    assert [p.reason for p in pointers] == [Reason.NOT_FINITE]


@pytest.mark.parametrize(
    "other",
    [
        acceleration(1, 2, 3, 4, 5, 7),
        acceleration(1, 2, 3, 4, 5, 6, channels=["z", "y", "x"]),
        acceleration(1, 2, 3, 4, 5, 6, channels=["x", "y"]),
        acceleration(1, 2, 3, 4, 5, 6, unit="[g]"),
        acceleration(1, 2, 3, 4, 5, 6, times={"start": START, "period": 31_251}),
    ],
)
def test_what_makes_another_block(other: dict[str, Any]) -> None:
    assert not same(acceleration(1, 2, 3, 4, 5, 6), other)


def test_blocks_that_differ_in_a_time_inside_are_two() -> None:
    def inside(middle: int) -> dict[str, Any]:
        return acceleration(*range(9), times={"at": [START, START + middle, START + 100]})

    assert same(inside(50), inside(50))
    assert not same(inside(50), inside(51))


def test_every_metric_that_this_contract_carries_has_a_form_that_is_taken() -> None:
    carried = [metric for metric in catalogue().metrics.values() if metric.family in FAMILIES]
    sent = []
    for metric in carried:
        values = {"codes": [next(iter(metric.codes))]} if metric.value == "code" else [1.0]
        times = {"start": START, "period": SECOND}
        sent.append(sensor(metric=metric.code, unit=metric.unit, times=times, values=values))
    blocks, pointers = normalised(*sent)
    assert pointers == []
    found = {code: block.meta["family"] for block in blocks for code in texts(block.messages, "metric")}
    assert found == {metric.code: metric.family for metric in carried}
    assert sum(block.readings.num_rows for block in blocks) == len(carried)
