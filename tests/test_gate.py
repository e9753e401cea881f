"""The gate: each check finds its planted defect, in one reading among others, and counts all three answers."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.blocks import Block, column
from quality.applicable import applies
from quality.checks import Check, Where, checks
from quality.gate import BITS, KERNELS, QUARANTINES, Gate
from quality.gate_ranges import range_checks
from quality.in_force import Approved, Proposal, checks_of
from quality.strata import Counts, Stratum, tally
from schemas.metrics import catalogue
from tests.messages import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    START,
    acceleration,
    moments,
    normalised,
    packed,
    sensor,
    sleep,
)

MIDNIGHT = START - START % DAY
GATE = {check.id: check for check in checks().values() if check.where is Where.GATE and check.is_active}
OF_SENSORS = [check for check in GATE if not check.startswith("LK-")]
PLAIN = Gate()
PLAUSIBILITY = sorted(range_checks() - {"PL-00"})
LAB = ("collected", "arrived", "lot_expires")


def block_of(*messages: dict[str, Any]) -> Block:
    blocks, pointers = normalised(*messages)
    assert pointers == []
    assert len(blocks) == 1
    return blocks[0]


def judged(*messages: dict[str, Any], firmware: tuple[str, ...] = ()) -> tuple[list[set[str]], Counts]:
    """The names of the checks that each reading fails, and the counts."""
    block = block_of(*messages)
    flags = PLAIN.flags(block.messages, block.readings, block.meta["family"], firmware)
    assert flags.dtype == np.int64
    return names_of(flags), counted(block, flags)


def names_of(flags: Any) -> list[set[str]]:
    assert not (flags & ~sum(1 << BITS[check] for check in GATE)).any()
    return [{check for check, bit in BITS.items() if flag >> bit & 1} for flag in flags.tolist()]


def counted(block: Block, flags: Any, of: dict[str, Check] | None = None) -> Counts:
    """The counts of a block that lands as it is."""
    messages = pa.Table.from_batches([block.messages])
    messages = messages.append_column("partner", pa.repeat("acme", len(messages)))
    readings = {name: column(block.readings, name) for name in ("message", "start", "end", "offset_min")}
    return tally(messages, {**readings, "flags": flags}, block.meta["family"], of)


def failed(*messages: dict[str, Any], firmware: tuple[str, ...] = ()) -> list[set[str]]:
    return judged(*messages, firmware=firmware)[0]


def of(metric: str, *values: float, **changes: Any) -> dict[str, Any]:
    return sensor(**{"metric": metric, "unit": catalogue().metrics[metric].unit, "values": list(values), **changes})


def steps(*counted: tuple[int, float]) -> dict[str, Any]:
    """Steps in intervals of that many microseconds, one after the other."""
    lengths = [length for length, _ in counted]
    ends = (START + np.cumsum(lengths)).tolist()
    times = {"start": [START, *ends[:-1]], "end": ends}
    return of("steps_interval", *(value for _, value in counted), times=times)


def test_every_check_of_the_gate_has_a_kernel_and_every_kernel_a_check() -> None:
    assert set(KERNELS) | range_checks() == set(GATE)
    assert not set(KERNELS) & range_checks()


def test_what_is_critical_holds_a_row_back_and_what_is_doubtful_does_not() -> None:
    held_back = {check for check in GATE if QUARANTINES >> BITS[check] & 1}
    assert held_back == {"PL-00", "LK-03", "LK-04", "LK-05", "LK-06", "LK-08", "LK-09", "LK-11"}
    assert {check for check in BITS if QUARANTINES >> BITS[check] & 1} - held_back == {
        *("PL-06", "TM-04", "UQ-04"),
    }


# Values


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (of("heart_rate", 19.99, 20, 300, 300.01), [{"PL-00", "PL-01"}, {"PL-01"}, {"PL-01"}, {"PL-00", "PL-01"}]),
        (of("heart_rate", 24.99, 25, 240, 240.01), [{"PL-01"}, set(), set(), {"PL-01"}]),
        (of("skin_temperature_deviation", -8, 8, 8.1), [set(), set(), {"PL-00"}]),
        (of("body_temperature", 33.9, 34, 43, 43.1, 45.1), [{"PL-00", "PL-03"}, set(), set(), {"PL-03"}, {"PL-00", "PL-03"}]),
        (of("steps_24h", 60_000, 60_001, 100_001), [set(), {"PL-04"}, {"PL-00", "PL-04"}]),
        (of("ppg", -1e300, 0, 1e300), [set(), set(), set()]),
    ],
    ids=["hard range", "PL-01", "without a plausible range", "PL-03", "PL-04", "without a range"],
)  # fmt: skip
def test_a_value_outside_its_range(message: dict[str, Any], wanted: list[set[str]]) -> None:
    if message["metric"] == "ppg":
        wanted = wanted[:1]  # a block is one reading
    assert failed(message) == wanted


@pytest.mark.parametrize("check", PLAUSIBILITY)
def test_each_plausible_range_flags_its_own_bit_on_both_sides(check: str) -> None:
    judged_by = [m for m in catalogue().metrics.values() if m.plausible and m.plausible.check == check]
    assert judged_by, "a check that no metric names"
    for metric in judged_by:
        assert metric.plausible is not None
        assert metric.hard is not None
        if metric.family != "observation":
            continue
        inside = (metric.plausible.low, metric.plausible.high)
        assert failed(of(metric.code, *inside)) == [set(), set()], metric.code
        below, above = np.nextafter(inside[0], -np.inf), np.nextafter(inside[1], np.inf)
        for value, possible in ((below, metric.hard.low <= below), (above, above <= metric.hard.high)):
            assert failed(of(metric.code, value)) == [{check} if possible else {check, "PL-00"}], metric.code


def test_a_range_is_meant_in_the_canonical_unit() -> None:
    assert failed(of("body_temperature", 98.6, 110.0, unit="[degF]")) == [set(), {"PL-03"}]


def test_steps_are_judged_by_the_length_of_their_interval() -> None:
    found = failed(steps((MINUTE, 300), (MINUTE, 301), (10 * SECOND, 50), (10 * SECOND, 51), (HOUR, 18_001)))
    assert found == [set(), {"PL-00", "PL-04"}, set(), {"PL-00"}, {"PL-00", "PL-04"}]
    assert failed(steps((SECOND, 5), (SECOND, 6))) == [set(), {"PL-00"}]
    assert failed(steps((SECOND // 10, 5), (1, 5), (1, 6))) == [set(), set(), {"PL-00"}], "a second at least"


def test_a_rate_needs_a_length() -> None:
    message = of("steps_interval", 5000, times={"at": [START]})
    found, counts = judged(message)
    assert found == [set()]
    assert answers(counts)["PL-04"] == (0, 0, 1)
    assert answers(counts)["PL-00"] == (1, 0, 0), "its range is judged all the same"
    assert failed(of("steps_interval", 100_001, times={"at": [START]})) == [{"PL-00"}]


def test_a_value_that_overflows_a_rate_is_caught_without_a_warning() -> None:
    assert failed(steps((1, 1e308), (HOUR, -1e308))) == [{"PL-00", "PL-04"}, {"PL-00"}]


def test_a_block_is_judged_by_its_lowest_and_highest_sample() -> None:
    low, high = -313.8128, 313.8128
    found = failed(
        acceleration(1, low, 3, 4, high, 6),
        acceleration(1, 2, 3, low - 0.001, 5, 6),
        acceleration(1, 2, high + 0.001),
        acceleration(1, 2, 3),
    )
    assert found == [set(), {"PL-00"}, {"PL-00"}, set()]


def test_a_channel_with_a_range_of_its_own() -> None:
    def position(*numbers: float, channels: tuple[str, ...] = ("latitude", "longitude")) -> dict[str, Any]:
        return acceleration(*numbers, metric="location", unit="deg", channels=list(channels))

    found = failed(
        position(40, -3, 90, 180),
        position(40, -3, 90.1, 0),
        position(179, 45, channels=("longitude", "latitude")),
        position(40, 180.1),
        position(120, -120, channels=("a", "b")),
    )
    assert found == [set(), {"PL-00"}, set(), {"PL-00"}, set()]


# Times and devices


@pytest.mark.parametrize("offset", [-720, -210, 0, 345, 525, 765, 840])
def test_an_offset_that_exists(offset: int) -> None:
    assert failed(of("heart_rate", 60, offset_min=offset)) == [set()]


@pytest.mark.parametrize("offset", [-735, -1440, 855, 1440, 1, 61, -7])
def test_tm_06_an_offset_that_no_zone_has(offset: int) -> None:
    found, counts = judged(
        of("heart_rate", 60, 61, offset_min=offset), of("heart_rate", 62), of("heart_rate", 63, offset_min=60)
    )
    assert found == [{"TM-06"}, {"TM-06"}, set(), set()]
    assert answers(counts)["TM-06"] == (3, 2, 1)


def test_tm_10_a_time_more_than_a_second_before_the_one_before_it() -> None:
    times = [START, START - SECOND, START + MINUTE, START + MINUTE - SECOND - 1, START + MINUTE, START]
    message = of("heart_rate", *[60.0] * 6, times={"at": times})
    assert failed(message) == [set(), set(), set(), {"TM-10"}, set(), {"TM-10"}]
    later = of("heart_rate", 60, times={"at": [START + HOUR]})
    assert failed(later, message)[1] == set(), "the order of messages is not judged"


@pytest.mark.parametrize(
    ("version", "known", "wrong"),
    [
        ("2.1.0", (), False),
        ("2.1", (), True),
        ("v2.1.0", (), True),
        ("2.1.0-beta", (), True),
        ("2.1.0", ("2.1.0", "B7"), False),
        ("B7", ("2.1.0", "B7"), False),
        ("2.1.1", ("2.1.0", "B7"), True),
    ],
)
def test_cf_09_firmware(version: str, known: tuple[str, ...], wrong: bool) -> None:
    source = {"name": "wrist", "firmware": version}
    found, counts = judged(of("heart_rate", 60, 61, source=source), of("heart_rate", 62), firmware=known)
    assert found == [{"CF-09"} if wrong else set()] * 2 + [set()]
    assert answers(counts)["CF-09"] == (2, 2 if wrong else 0, 1)


def test_several_faults_are_several_bits() -> None:
    source = {"name": "wrist", "firmware": "x"}
    message = of("heart_rate", 60, 301, times={"at": [START, START - MINUTE]}, offset_min=7, source=source)
    assert failed(message) == [{"TM-06", "CF-09"}, {"PL-00", "PL-01", "TM-06", "TM-10", "CF-09"}]


# Counts


def answers(counts: Counts) -> dict[str, tuple[int, int, int]]:
    """By check: evaluated, failed, not applicable."""
    totals: dict[str, list[int]] = {check: [0, 0, 0] for check in GATE}
    for place, counter in enumerate((counts.evaluated, counts.failed, counts.not_applicable)):
        for stratum, number in counter.items():
            if stratum.check in totals:
                totals[stratum.check][place] += number
    return {check: (a, b, c) for check, (a, b, c) in totals.items()}


MIXED = [
    of("heart_rate", 60, 19, 250, offset_min=60, source={"name": "a", "firmware": "1.0.0", "device_model": "A"}),
    of("body_temperature", 36.6, 44.0),
    sleep("deep", "rem", "awake"),
    steps((MINUTE, 10), (MINUTE, 400)),
    of("heart_rate", 61, times={"at": [MIDNIGHT - 1]}, source={"name": "b", "firmware": "?", "device_model": "A"}),
    of("spo2", 97, 40),
    of("heart_rate", *[61] * 5, times={"start": MIDNIGHT - 2 * MINUTE, "period": MINUTE}),
]


def test_every_check_answers_for_every_reading() -> None:
    found, counts = judged(*MIXED)
    total = len(found)
    assert total == 18
    for check in OF_SENSORS:
        evaluated, fails, not_applicable = answers(counts)[check]
        assert evaluated + not_applicable == total, check
        assert fails == sum(check in names for names in found), check
    assert {check: answers(counts)[check] for check in OF_SENSORS} == {
        "PL-00": (15, 3, 3),
        "PL-01": (9, 2, 9),
        "PL-02": (2, 1, 16),
        "PL-03": (2, 1, 16),
        "PL-04": (2, 1, 16),
        "PL-05": (0, 0, 18),
        "PL-09": (0, 0, 18),
        "TM-06": (3, 0, 15),
        "TM-10": (18, 0, 0),
        "CF-09": (4, 1, 14),
    }


def added(parts: list[Counts]) -> Counts:
    def total(name: str) -> Counter[Stratum]:
        return sum((getattr(part, name) for part in parts), Counter())

    return Counts(total("evaluated"), total("failed"), total("not_applicable"))


def test_counts_add_up_however_the_messages_are_cut_into_blocks() -> None:
    found, together = judged(*MIXED)
    one_by_one = [judged(message) for message in MIXED]
    assert added([counts for _, counts in one_by_one]) == together
    assert [names for part, _ in one_by_one for names in part] == found
    halves = [judged(*MIXED[3:])[1], judged(*MIXED[:3])[1]]
    assert added(halves) == together


def test_counts_are_by_device_firmware_metric_and_day() -> None:
    _, counts = judged(MIXED[0], MIXED[6])
    device: dict[str, Any] = {"partner": "acme", "family": "observation", "metric": "heart_rate", "version": 1}
    today, before = MIDNIGHT // DAY, MIDNIGHT // DAY - 1
    first = {**device, "device_model": "A", "firmware": "1.0.0", "day": today}
    plain = {**device, "device_model": None, "firmware": None}
    assert {s: n for s, n in counts.evaluated.items() if s.check == "PL-01"} == {
        Stratum(**first, check="PL-01"): 3,
        Stratum(**plain, day=before, check="PL-01"): 2,
        Stratum(**plain, day=today, check="PL-01"): 3,
    }
    assert {s: n for s, n in counts.failed.items() if s.check == "PL-01"} == {Stratum(**first, check="PL-01"): 2}


def test_blocks_of_signals_are_counted_too() -> None:
    _, counts = judged(acceleration(1, 2, 3), acceleration(999, 2, 3), acceleration(1, 2, 3, metric="ppg", unit="1"))
    assert answers(counts)["PL-00"] == (2, 1, 1)
    assert {stratum.family for stratum in counts.evaluated} == {"waveform"}


def test_flags_do_not_depend_on_where_the_readings_lie() -> None:
    """A filtered block, as one study gets it: messages without a reading, offsets that do not begin at 0."""
    block = block_of(acceleration(999, 2, 3), acceleration(1, 2, 3), acceleration(1, -999, 3))
    readings = block.readings.slice(1)
    flags = PLAIN.flags(block.messages, readings, "waveform")
    assert flags.tolist() == [0, 1]
    numbers = block_of(of("heart_rate", 301, 60), of("heart_rate", 61), of("heart_rate", 19))
    kept = numbers.readings.filter(column(numbers.readings, "message") != 1)
    flags = PLAIN.flags(numbers.messages, kept, "observation")
    assert [flag & 1 for flag in flags.tolist()] == [1, 0, 1]


@settings(derandomize=True, database=None)
@given(chosen=st.lists(st.booleans(), min_size=18, max_size=18).filter(any), order=st.permutations(range(len(MIXED))))
def test_a_reading_is_judged_like_this_alone(chosen: list[bool], order: list[int]) -> None:
    """Whichever readings lie beside it; but for its order among them (TM-10)."""
    block = block_of(*(MIXED[place] for place in order))
    kept = block.readings.filter(pa.array(chosen))
    flags = PLAIN.flags(block.messages, kept, "observation") & ~(1 << BITS["TM-10"])
    alone = [PLAIN.flags(block.messages, kept.slice(row, 1), "observation")[0] for row in range(kept.num_rows)]
    assert flags.tolist() == alone


def test_packed_intervals_are_judged_like_any() -> None:
    times = {"start": moments(START), "end": moments(START + MINUTE)}
    assert failed(sensor(metric="steps_interval", unit="{steps}", times=times, values=packed("i2", 301))) == [
        {"PL-00", "PL-04"}
    ]


# Specimens


def specimens(*rows: tuple[str, int | None, int | None, int | None]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Results, each a metric and when its specimen was taken and arrived and its kit's lot expires, in hours from START."""
    count, numbers = len(rows), list(range(len(rows)))
    metric, *times = zip(*rows, strict=True)
    messages = {"metric": pa.array(metric), "channels": pa.nulls(count, pa.list_(pa.string()))}
    messages |= dict.fromkeys(("firmware", "device_model"), pa.nulls(count, pa.string()))
    known = {
        name: [None if t is None else START + t * HOUR for t in column] for name, column in zip(LAB, times, strict=True)
    }
    readings = {
        "message": pa.array(numbers, pa.int32()),
        "start": pa.array([START] * count),
        "end": pa.array([START] * count),
        "value": pa.array([np.nan] * count),
        "comparator": pa.nulls(count, pa.string()),
        "offset_min": pa.array([60] * count, pa.int16()),
    }
    readings |= {name: pa.array(moments, pa.int64()) for name, moments in known.items()}
    return pa.RecordBatch.from_pydict(messages), pa.RecordBatch.from_pydict(readings)


def specimens_judged(
    of: dict[str, Check], *rows: tuple[str, int | None, int | None, int | None]
) -> tuple[list[set[str]], Counts]:
    messages, readings = specimens(*rows)
    flags = Gate(of).flags(messages, readings, "lab_result")
    table = pa.Table.from_batches([messages]).append_column("partner", pa.repeat("acme", len(messages)))
    columns = {name: column(readings, name) for name in ("message", "start", "end", "offset_min")}
    known = {name: readings.column(name) for name in LAB}
    return names_of(flags), tally(table, {**columns, **known, "flags": flags}, "lab_result", of)


@pytest.mark.parametrize(
    ("check", "rows", "wanted"),
    [
        ("LK-05", [("potassium", 0, 9, None), ("potassium", 0, 8, None), ("hba1c", 0, 9, None)], (3, 1, 0)),
        ("LK-05", [("folate", 0, 13, None), ("folate", None, 13, None), ("vitamin_d", 0, 999, None)], (1, 1, 2)),
        ("LK-06", [("hba1c", 5, None, 5), ("hba1c", 4, None, 5), ("hba1c", 4, None, None)], (2, 1, 1)),
        ("LK-06", [("zinc", 0, 24 * 31, 9000), ("zinc", 0, 24 * 30, None), ("zinc", None, 1, 1)], (2, 1, 1)),
        ("LK-16", [("zinc", 0, 37, None), ("zinc", 0, 36, None), ("zinc", 0, None, None)], (2, 1, 1)),
    ],
)  # fmt: skip
def test_a_specimen_that_fails_one_that_passes_and_one_that_is_not_asked(
    check: str, rows: list[tuple[str, int | None, int | None, int | None]], wanted: tuple[int, int, int]
) -> None:
    found, counts = specimens_judged(checks_of(transit_limit_us=36 * HOUR), *rows)
    assert [check in names for names in found] == [True, False, False]
    assert answers(counts)[check] == wanted


def test_a_study_without_a_limit_asks_nobody_how_fast_a_specimen_came() -> None:
    found, counts = specimens_judged(checks(), ("zinc", 0, 999, None))
    assert "LK-16" not in found[0]
    assert answers(counts)["LK-16"] == (0, 0, 1)


def test_an_answer_to_a_question_is_not_judged_by_its_specimen() -> None:
    messages, readings = specimens(("hba1c", 99, 0, 0))
    assert PLAIN.flags(messages, readings, "lab_result")[0] != 0
    assert PLAIN.flags(messages, readings, "answer").tolist() == [0]


def test_a_sensor_is_not_asked_about_specimens() -> None:
    _, counts = judged(of("heart_rate", 60))
    assert {stratum.check for stratum in counts.not_applicable} & {"LK-03", "LK-05", "LK-06", "LK-16"} == set()


# What a study has changed


def changed(check: str, **parameters: Any) -> dict[str, Check]:
    proposal = Proposal(check=check, warning=0.1, alarm=0.2, parameters=parameters)
    return checks_of([Approved(decision="d", proposed_by="a", approved_by="b", at_us=0, reason="r", proposal=proposal)])


@pytest.mark.parametrize(
    ("check", "parameters", "message", "wanted"),
    [
        ("TM-10", {"back_s": 120.0}, of("heart_rate", 60, 61, times={"at": [START + MINUTE, START]}), []),
        ("TM-10", {"back_s": 50.0}, of("heart_rate", 60, 61, times={"at": [START + MINUTE, START]}), [1]),
        ("TM-06", {"step_min": 60.0}, of("heart_rate", 60, offset_min=330), [0]),
        ("PL-01", {"low": {"heart_rate": 40.0}}, of("heart_rate", 39, 40, 240, 241), [0, 3]),
        ("PL-01", {"high": {"heart_rate": 200.0}}, of("heart_rate", 24, 25, 200, 201), [0, 3]),
    ],
)  # fmt: skip
def test_the_numbers_of_the_study_are_judged_by_and_their_version_is_counted(
    check: str, parameters: dict[str, Any], message: dict[str, Any], wanted: list[int]
) -> None:
    block, catalogue_of_study = block_of(message), changed(check, **parameters)
    flags = Gate(catalogue_of_study).flags(block.messages, block.readings, "observation")
    assert np.flatnonzero(flags >> BITS[check] & 1).tolist() == wanted
    counts = counted(block, flags, catalogue_of_study)
    assert {stratum.version for stratum in counts.evaluated if stratum.check == check} == {101}
    others = {(stratum.check, stratum.version) for stratum in counts.evaluated if stratum.check != check}
    assert others == {(name, checks()[name].version) for name, _ in others}


def test_a_check_that_is_turned_dormant_is_neither_judged_nor_counted() -> None:
    asleep = {name: check.model_copy(update={"missing": "x"}) for name, check in checks().items()}
    block = block_of(of("heart_rate", 60, 61, 500, times={"at": [START, START - HOUR, START]}, offset_min=7))
    flags = Gate(asleep).flags(block.messages, block.readings, "observation")
    assert flags.tolist() == [0, 0, 0]
    assert counted(block, flags, asleep).listed() == []


def test_nothing_fails_a_check_that_does_not_apply_to_it() -> None:
    block = block_of(*MIXED)
    flags = PLAIN.flags(block.messages, block.readings, "observation")
    codes, firmware = (block.messages.column(name).to_pylist() for name in ("metric", "firmware"))
    for row, message in enumerate(column(block.readings, "message").tolist()):
        for name in OF_SENSORS:
            if applies(GATE[name], codes[message], firmware[message] is not None) is None:
                assert not flags[row] >> BITS[name] & 1, (row, name)
