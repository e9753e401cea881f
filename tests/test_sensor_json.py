"""sensor-json: lines become readings and messages, and a bad line costs itself only."""

import io
import json
from collections.abc import Iterable
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.line_splitter import LineSplitter
from connectors.problems import NOT_JSON, LineError, Problem
from connectors.sensor_json import WAIT_OF_BLOCK_S, WAIT_S, Gatherer, Message, messages, read_lines
from connectors.sensor_json_header import Headers
from connectors.sensor_json_lines import LineReader
from connectors.sensor_json_times import moment
from schemas.contracts import decode
from schemas.headers import sensor_header
from schemas.mappings import mapping
from schemas.metrics import catalogue
from schemas.reasons import Reason, Rejected
from schemas.series import Series, series

HEART = {"metric": "heart_rate", "unit": "/min", "source": "watch"}
STEPS = {"metric": "steps_interval", "unit": "{steps}", "source": "phone"}
ACCELERATION = {"metric": "acceleration", "unit": "[g]", "source": "phone", "channels": ["x", "y", "z"]}
NOON_US = 1_751_284_800_000_000  # 2025-06-30T12:00:00Z


def lines(*objects: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(thing).encode() + b"\n" for thing in objects)


def read(content: bytes, subject: str | None = "p1", needs_zone: bool = False) -> tuple[list[Message], list[Problem]]:
    problems: list[Problem] = []
    found = list(messages(read_lines(io.BytesIO(content), problems.append, subject, needs_zone)))
    return found, problems


def read_one(*objects: dict[str, Any]) -> tuple[dict[str, Any], Series]:
    """The one message that the lines become, and its series, as the pipeline reads them."""
    found, problems = read(lines(*objects))
    assert not problems
    assert len(found) == 1
    return opened(found[0])


def opened(message: Message) -> tuple[dict[str, Any], Series]:
    content = decode(message.payload, "sensor-reading")
    header, held = sensor_header(content), series(content)
    assert message.key == header.subject.encode()
    assert message.readings == len(held)
    return content, held


def refused(line: dict[str, Any] | bytes, **options: Any) -> tuple[str, str]:
    """Reason and field of the one problem that a line is."""
    found, problems = read(line if isinstance(line, bytes) else lines(line), **options)
    assert not found
    (problem,) = problems
    assert problem.line == 1
    return problem.reason, problem.field


def test_readings_with_one_header_become_one_message() -> None:
    source = {
        "name": "watch",
        "device_model": "W1",
        "firmware": "1.2.3",
        "serial": "S",
        "app": "a",
        "app_version": "4.5.6",
    }
    shared = HEART | {"source": source, "modality": "derived", "zone": "Europe/Madrid"}
    content, held = read_one(*(shared | {"time": f"2025-06-30T12:00:{s:02}Z", "value": 60 + s} for s in (0, 1, 3)))
    assert content["source"] == source
    assert (content["subject"], content["modality"], content["zone"]) == ("p1", "derived", "Europe/Madrid")
    assert (content["clock"], content["offset_min"]) == ("utc", None)
    assert held.start.tolist() == [NOON_US, NOON_US + 1_000_000, NOON_US + 3_000_000]
    assert held.values is not None
    assert held.values.tolist() == [60.0, 61.0, 63.0]


@pytest.mark.parametrize(
    ("text", "us", "clock", "offset_min"),
    [
        ("2025-06-30T12:00:00Z", NOON_US, "utc", None),
        ("2025-06-30T12:00:00-00:00", NOON_US, "utc", None),
        ("2025-06-30T12:00:00+00:00", NOON_US, "utc", 0),
        ("2025-06-30T14:00:00.000001+02:00", NOON_US + 1, "utc", 120),
        ("2025-06-30T06:30:00-05:30", NOON_US, "utc", -330),
        ("2025-06-30T12:00:00.123456", NOON_US + 123_456, "local", None),
        ("2025-06-30 12:00:00", NOON_US, "local", None),
        ("2025-06-30T12:00:00.1234569Z", NOON_US + 123_456, "utc", None),
        (1751284800, NOON_US, "utc", None),
        (1751284800.000001, NOON_US + 1, "utc", None),
    ],
)
def test_times(text: Any, us: int, clock: str, offset_min: int | None) -> None:
    content, held = read_one(HEART | {"time": text, "value": 60})
    assert held.start.tolist() == [us]
    assert (content["clock"], content["offset_min"]) == (clock, offset_min)


def test_radar_base_spells_a_time_with_an_exponent() -> None:
    assert moment(json.loads("1.572017970926E9"), "time") == (1_572_017_970_926_000, False, None)


@given(st.integers(min_value=-4_294_967_295_999_999, max_value=4_294_967_295_999_999))
def test_a_number_of_seconds_is_exact_to_the_microsecond(us: int) -> None:
    written = str(Decimal(us) / 1_000_000)
    assert moment(json.loads(written), "time")[0] == us


@pytest.mark.parametrize(
    "time",
    ["2025-06-30", "12:00:00", "yesterday", "2025-06-30T12:00", "2025-13-30T12:00:00", "", True, [1], "1751284800"],
)
def test_what_is_no_time_is_refused(time: Any) -> None:
    assert refused(HEART | {"time": time, "value": 60}) == (Reason.FIELD, "time")


@pytest.mark.parametrize(
    "time", [1.572017970926e12, 10**40, -1e300, "9999-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_that_the_contract_cannot_hold_is_refused(time: Any) -> None:
    assert refused(HEART | {"time": time, "value": 60}) == (Reason.TIME, "time")


def test_times_are_regular_only_where_they_are_exactly_so() -> None:
    def times(*seconds: float) -> dict[str, Any]:
        content, held = read_one(*(HEART | {"time": 1751284800 + s, "value": 60} for s in seconds))
        assert held.start.tolist() == [NOON_US + round(s * 1_000_000) for s in seconds]
        found: dict[str, Any] = content["times"]
        return found

    assert times(0, 1, 2) == {"start": NOON_US, "period": 1_000_000}
    assert "at" in times(0, 1)
    assert "at" in times(0, 1, 2.000001)
    assert "at" in times(0, 0, 0)
    assert "at" in times(2, 1, 0)


def test_wall_clock_times_stay_times_each_since_the_clock_may_change_in_between() -> None:
    local = HEART | {"zone": "Europe/Madrid"}
    content, _ = read_one(*(local | {"time": f"2025-10-26T0{hour}:00:00", "value": 60} for hour in range(1, 6)))
    assert "at" in content["times"]
    part = local | {"period_ms": 1000, "values": [60, 61]}
    found, _ = read(lines(part | {"start": "2025-10-26T02:59:58"}, part | {"start": "2025-10-26T03:00:00"}))
    assert [m.readings for m in found] == [2, 2]


def test_moments_of_a_metric_about_intervals_never_become_intervals() -> None:
    content, held = read_one(*(STEPS | {"time": 1751284800 + i, "value": 1} for i in range(5)))
    assert "at" in content["times"]
    assert held.end is None


def test_intervals() -> None:
    content, held = read_one(
        STEPS | {"start": "2025-06-30T12:00:00Z", "end": "2025-06-30T12:01:00Z", "value": 7},
        STEPS | {"start": 1751284860, "end": 1751284860, "value": 0},
    )
    assert "end" in content["times"]
    assert held.end is not None
    assert (held.end - held.start).tolist() == [60_000_000, 0]


def test_codes() -> None:
    stage = {"metric": "sleep_stage", "unit": "1", "source": "ring", "start": 1751284800, "end": 1751284830}
    code = next(iter(catalogue().metrics["sleep_stage"].codes))
    _, held = read_one(stage | {"value": code})
    assert held.codes == [code]
    assert refused(stage | {"value": "half_asleep"}) == (Reason.CODE, "value")
    assert refused(stage | {"value": 3}) == (Reason.CODE, "value")


def test_samples_that_share_a_time_stamp_all_survive_in_order() -> None:
    stamps = [1751284800.0, 1751284800.02, 1751284800.02, 1751284800.02, 1751284800.01]
    content, held = read_one(*(ACCELERATION | {"time": t, "value": [i, -i, 0.5]} for i, t in enumerate(stamps)))
    assert content["channels"] == ["x", "y", "z"]
    assert held.start.tolist() == [round(t * 1_000_000) for t in stamps]
    assert held.values is not None
    assert held.values.reshape(-1, 3)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_signal_is_cut_into_blocks_at_its_own_minutes_and_at_3600_samples() -> None:
    at_10_hz = lines(*(ACCELERATION | {"time": 1751284790 + i / 10, "value": [i, 0, 0]} for i in range(800)))
    found, _ = read(at_10_hz)
    assert [m.readings for m in found] == [100, 600, 100]
    again, _ = read(at_10_hz)
    assert [m.payload for m in again] == [m.payload for m in found]
    at_100_hz = lines(*(ACCELERATION | {"time": 1751284800 + i / 100, "value": [i, 0, 0]} for i in range(3700)))
    assert [m.readings for m in read(at_100_hz)[0]] == [3600, 100]


def test_a_series() -> None:
    content, held = read_one(HEART | {"start": 1751284800, "period_ms": 500, "values": [60, 61.5]})
    assert content["times"] == {"start": NOON_US, "period": 500_000}
    assert held.values is not None
    assert held.values.tolist() == [60, 61.5]


def test_series_that_follow_each_other_become_one_message_and_others_do_not() -> None:
    part = HEART | {"period_us": 1_000_000, "values": [60, 61]}
    _, held = read_one(part | {"start": 1751284800}, part | {"start": 1751284802})
    assert len(held) == 4
    found, _ = read(lines(part | {"start": 1751284800}, part | {"start": 1751284803}))
    assert [m.readings for m in found] == [2, 2]


def test_a_long_series_is_cut_and_loses_nothing() -> None:
    signal = ACCELERATION | {"start": 1751284830, "period_ms": 10, "values": [[i, 0, 1] for i in range(10_000)]}
    found, _ = read(lines(signal))
    assert [m.readings for m in found] == [3000, 3600, 2400, 1000]
    parts = [opened(m)[1] for m in found]
    assert np.concatenate([p.start for p in parts]).tolist() == [
        NOON_US + 30_000_000 + i * 10_000 for i in range(10_000)
    ]
    values = [p.values.reshape(-1, 3)[:, 0] for p in parts if p.values is not None]
    assert np.concatenate(values).tolist() == list(range(10_000))


def test_a_message_stays_below_its_limit_of_bytes() -> None:
    named = (HEART | {"time": 1751284800 + i * i, "value": 60, "record_id": f"{i:0200}"} for i in range(1000))
    problems: list[Problem] = []
    found = list(messages(read_lines(io.BytesIO(lines(*named)), problems.append, "p1"), most_bytes=40_000))
    assert sum(m.readings for m in found) == 1000
    assert max(len(m.payload) for m in found) < 42_000


def test_record_ids_stay_with_their_readings() -> None:
    _, held = read_one(*(HEART | {"time": 1751284800 + i, "value": 60, "record_id": f"r{i}"} for i in range(3)))
    assert held.record_ids == ["r0", "r1", "r2"]
    _, held = read_one(HEART | {"start": 1751284800, "period_ms": 1000, "values": [1, 2], "record_ids": ["a", "b"]})
    assert held.record_ids == ["a", "b"]


@pytest.mark.parametrize(
    "other",
    [
        {"subject": "p2"},
        {"unit": "1/min"},
        {"source": "ring"},
        {"source": {"name": "watch", "firmware": "2.0.0"}},
        {"modality": "self_reported"},
        {"zone": "Europe/Madrid"},
        {"time": "2025-06-30T12:00:00+02:00"},
        {"time": "2025-06-30T12:00:00"},
        {"record_id": "r"},
    ],
)
def test_readings_with_another_header_become_another_message(other: dict[str, Any]) -> None:
    one = HEART | {"time": 1751284800, "value": 60}
    found, problems = read(lines(one, one | other, one, one | other))
    assert not problems
    assert [m.readings for m in found] == [2, 2]


def test_interleaved_metrics_are_gathered_each_on_its_own() -> None:
    pulse = [HEART | {"time": 1751284800 + i, "value": 60} for i in range(50)]
    walk = [STEPS | {"start": 1751284800 + i, "end": 1751284801 + i, "value": 1} for i in range(50)]
    found, _ = read(lines(*(line for pair in zip(pulse, walk, strict=True) for line in pair)))
    assert [(m.metric, m.readings) for m in found] == [("heart_rate", 50), ("steps_interval", 50)]


def test_the_line_says_of_whom_it_speaks_before_the_stream_does() -> None:
    found, _ = read(lines(HEART | {"subject": "p7", "time": 1751284800, "value": 60}))
    assert found[0].key == b"p7"
    assert refused(HEART | {"time": 1751284800, "value": 60}, subject=None) == (Reason.FIELD, "subject")


def test_null_counts_as_absent() -> None:
    read_one(HEART | {"time": 1751284800, "end": None, "value": 60, "zone": None, "record_id": None})
    assert refused(HEART | {"time": 1751284800, "value": None}) == (Reason.FIELD, "value")


ONE = HEART | {"time": 1751284800, "value": 60}
LONG = "x" * 201


@pytest.mark.parametrize(
    ("line", "reason", "field"),
    [
        (b"no json\n", NOT_JSON, ""),
        (b'"text"\n', NOT_JSON, ""),
        (b"[1]\n", NOT_JSON, ""),
        (b"{} {}\n", NOT_JSON, ""),
        (b'{"metric": "heart_rate"\n', NOT_JSON, ""),
        (b"\xff\xfe{}\n", NOT_JSON, ""),
        (b"[" * 100_000 + b"\n", NOT_JSON, ""),
        (b'{"value": ' + b"9" * 5000 + b"}\n", NOT_JSON, ""),
        (json.dumps(ONE | {"value": float("nan")}).encode(), NOT_JSON, ""),
        (json.dumps(ONE | {"value": float("-inf")}).encode(), NOT_JSON, ""),
        (json.dumps(ONE).encode().replace(b"60", b"1e999"), Reason.NOT_FINITE, "value"),
        (json.dumps(ONE).encode().replace(b"60", b"9" * 400), Reason.NOT_FINITE, "value"),
        (b"{" + b" " * 1_000_001 + b"}\n", Reason.TOO_LARGE, ""),
        (b"{}\n", Reason.FIELD, "time"),
        (ONE | {"tme": 1}, Reason.FIELD, ""),
        (ONE | {"end": 1}, Reason.FIELD, "start"),
        (ONE | {"values": [1]}, Reason.FIELD, "start"),
        (ONE | {"start": 1, "values": [1]}, Reason.FIELD, "time"),
        (HEART | {"start": 1, "values": [1]}, Reason.FIELD, "period_ms"),
        (HEART | {"start": 1, "values": [1], "period_ms": 1, "period_us": 1}, Reason.FIELD, "period_ms"),
        (HEART | {"start": 1, "values": [1], "period_ms": 0}, Reason.INTERVAL, "period_ms"),
        (HEART | {"start": 1, "values": [1], "period_ms": 0.0001}, Reason.INTERVAL, "period_ms"),
        (HEART | {"start": 1, "values": [1], "period_us": "1"}, Reason.INTERVAL, "period_us"),
        (HEART | {"start": 1, "values": [], "period_us": 1}, Reason.NO_READINGS, "values"),
        (HEART | {"start": 1, "values": 5, "period_us": 1}, Reason.FIELD, "values"),
        (HEART | {"start": 1, "values": [1, None], "period_us": 1}, Reason.FIELD, "values.1"),
        (HEART | {"start": 1, "values": [1, 2], "period_us": 1, "record_ids": ["a"]}, Reason.RAGGED, "record_ids"),
        (HEART | {"start": 1, "values": [1], "period_us": 1, "record_ids": [1]}, Reason.FIELD, "record_ids.0"),
        (ONE | {"metric": "aura"}, Reason.METRIC, "metric"),
        (ONE | {"metric": ["heart_rate"]}, Reason.FIELD, "metric"),
        (ONE | {"metric": "mood_text"}, Reason.METRIC, "metric"),
        (ONE | {"unit": "furlong"}, Reason.UNIT, "unit"),
        (ONE | {"subject": ""}, Reason.FIELD, "subject"),
        (ONE | {"subject": 17}, Reason.FIELD, "subject"),
        (ONE | {"subject": LONG}, Reason.FIELD, "subject"),
        (ONE | {"subject": "\ud800"}, NOT_JSON, ""),
        (ONE | {"source": {}}, Reason.FIELD, "source.name"),
        (ONE | {"source": {"name": "w", "owner": "Ada"}}, Reason.FIELD, "source"),
        (ONE | {"source": 5}, Reason.FIELD, "source"),
        (ONE | {"source": {"name": ["w"]}}, Reason.FIELD, "source.name"),
        (ONE | {"modality": "guessed"}, Reason.FIELD, "modality"),
        (ONE | {"zone": "Mars/Olympus"}, Reason.ZONE, "zone"),
        (ONE | {"zone": "../../etc/passwd"}, Reason.ZONE, "zone"),
        (ONE | {"channels": "xyz"}, Reason.FIELD, "channels"),
        (ONE | {"channels": ["x", "y"], "value": [1, 2]}, Reason.RAGGED, "channels"),
        (ONE | {"value": "60"}, Reason.FIELD, "value"),
        (ONE | {"value": True}, Reason.FIELD, "value"),
        (ONE | {"value": {}}, Reason.FIELD, "value"),
        (ONE | {"value": [60, 61]}, Reason.RAGGED, "value"),
        (ONE | {"record_id": 5}, Reason.FIELD, "record_id"),
        (ONE | {"record_id": ""}, Reason.FIELD, "record_id"),
        (ONE | {"record_id": LONG}, Reason.FIELD, "record_id"),
        (ONE | {"record_id": "\udfff"}, NOT_JSON, ""),
        (STEPS | {"start": 2, "end": 1, "value": 5}, Reason.INTERVAL, "end"),
        (STEPS | {"start": "2025-06-30T12:00:00", "end": 1751284800, "value": 5}, Reason.FIELD, "end"),
        (ACCELERATION | {"start": 1, "end": 2, "value": [1, 2, 3]}, Reason.INTERVAL, "end"),
        (ACCELERATION | {"time": 1, "value": [1, 2]}, Reason.RAGGED, "value"),
        (ACCELERATION | {"time": 1, "value": 1}, Reason.RAGGED, "value"),
    ],
)
def test_a_bad_line_costs_itself_only(line: dict[str, Any] | bytes, reason: str, field: str) -> None:
    content = line if isinstance(line, bytes) else lines(line)
    assert refused(content) == (reason, field)
    found, problems = read(lines(ONE) + content.rstrip(b"\n") + b"\n" + lines(ONE))
    assert [m.readings for m in found] == [2]
    assert [(p.line, p.reason) for p in problems] == [(2, reason)]


def test_a_problem_never_shows_what_the_line_said() -> None:
    secret = "SECRET-8731"
    bad: Iterable[dict[str, Any]] = [{**ONE, name: secret} for name in (*ONE, "zone", "modality", "channels", "start")]
    bad = [*bad, ONE | {secret: 1}, ONE | {"source": {"name": "w", secret: 1}}, ONE | {"value": [secret]}]
    for line in bad:
        _, problems = read(lines(line))
        assert all(secret not in repr(problem) for problem in problems)
        with pytest.raises(LineError) as caught:
            LineReader(None).read(json.dumps(line).encode())
        assert secret not in str(caught.value)


def test_local_times_need_a_zone_where_none_is_assumed() -> None:
    local = HEART | {"time": "2025-06-30T12:00:00", "value": 60}
    assert refused(local, needs_zone=True) == (Reason.ZONE, "zone")
    found, problems = read(lines(local | {"zone": "Europe/Madrid"}), needs_zone=True)
    assert len(found) == 1
    assert not problems


def test_empty_lines_and_other_line_ends_are_no_problem() -> None:
    content = b"\n \r\n" + lines(ONE).replace(b"\n", b"\r\n") + json.dumps(ONE).encode()
    found, problems = read(content)
    assert [m.readings for m in found] == [2]
    assert not problems


def test_headers_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Headers, "KEPT", 10)
    found, problems = read(lines(*(ONE | {"subject": f"p{i}"} for i in range(100))))
    assert len(found) == 100
    assert not problems


def _pipeline_says(metric: str, unit: str, coded: bool, width: int, form: str) -> str:
    try:
        mapping(metric, unit, coded, width, form)
    except Rejected as fault:
        return fault.reason
    return ""


def test_what_the_pipeline_would_reject_is_not_sent_and_nothing_else_is_refused() -> None:
    times = {"irregular": {"time": 1751284800}, "intervals": {"start": 1751284800, "end": 1751284801}}
    for metric in catalogue().metrics.values():
        values: tuple[Any, ...] = (1, [1, 2], next(iter(metric.codes), "none"))
        for form, placed in times.items():
            tried: list[dict[str, Any]] = []
            expected = set()
            for unit, value in product(("furlong", *metric.synonyms, *metric.units), values):
                line = {"metric": metric.code, "unit": unit, "source": "s", "value": value} | placed
                tried.append(line | ({"channels": ["a", "b"]} if isinstance(value, list) else {}))
                if _pipeline_says(metric.code, unit, isinstance(value, str), 1 + isinstance(value, list), form):
                    expected.add(len(tried))
            found, problems = read(lines(*tried))
            assert {one.line for one in problems} == expected, (metric.code, form)
            assert len(problems) == len(expected)
            assert sum(message.readings for message in found) == len(tried) - len(expected)


@given(st.lists(st.binary(max_size=30)), st.integers(min_value=1, max_value=40))
def test_lines_do_not_depend_on_how_a_stream_is_cut(content: list[bytes], size: int) -> None:
    whole = b"\n".join(content)
    splitter = LineSplitter(most_bytes=25)
    found = [line for at in range(0, len(whole), size) for line in splitter.feed(whole[at : at + size])]
    found += splitter.rest()
    expected = [line if len(line) <= 25 else None for line in whole.split(b"\n")]
    if expected[-1] == b"":
        expected.pop()
    assert found == expected


def test_a_line_that_is_too_long_is_not_kept() -> None:
    splitter = LineSplitter(most_bytes=1000)
    given_up = [line for _ in range(1000) for line in splitter.feed(b"x" * 600)]
    assert given_up == [None]
    assert splitter.feed(b"end\nnext\n") == [b"next"]


def test_messages_wait_no_longer_than_they_may() -> None:
    reader, gatherer = LineReader("p1"), Gatherer()
    assert gatherer.next_due() is None
    for line, now in ((ONE, 10.0), (ACCELERATION | {"time": 1751284800, "value": [1, 2, 3]}, 10.5)):
        reading = reader.read(json.dumps(line).encode())
        assert reading is not None
        gatherer.add(reading, now)
    assert gatherer.next_due() == 10.0 + WAIT_S
    assert gatherer.due(10.0 + WAIT_S - 0.01) == []
    assert [m.metric for m in gatherer.due(10.0 + WAIT_S)] == ["heart_rate"]
    assert gatherer.due(10.5 + WAIT_S, caught_up=False) == []
    assert [m.metric for m in gatherer.due(10.5 + WAIT_OF_BLOCK_S, caught_up=False)] == ["acceleration"]
    assert gatherer.rest() == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ONE, *STEPS, "values"]), inner),
        max_leaves=8,
    ),
    st.sampled_from(["", *ONE, "start", "end", "values", "period_ms", "record_ids", "channels", "zone", "subject"]),
)
def test_whatever_a_line_holds_it_is_sent_or_refused(thing: Any, field: str) -> None:
    line = json.dumps(ONE | {field: thing} if field else thing).encode()
    found, problems = read(line)
    assert len(found) + len(problems) == 1
    for message in found:
        opened(message)
