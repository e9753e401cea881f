"""The demo's world: the same for the same moment, whole, and its two accounts of consent agree."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from pipelines.consent.explain import explain
from pipelines.demo.bad_messages import Bad
from pipelines.demo.expected import expected
from pipelines.demo.messages import Message
from pipelines.demo.people import ALL, HEART, MOTION, PILOT, Choice, Person
from pipelines.demo.show import next_commands
from pipelines.demo.sums import Law, differences
from pipelines.demo.tally import Expected
from pipelines.demo.world import DAYS, STUDIES, World, world
from pipelines.entries import rfc3339
from schemas.consent_events import parse_line
from schemas.contracts import decode
from schemas.headers import sensor_header
from schemas.metrics import catalogue
from schemas.reasons import Code, Reason, Rejected
from schemas.registry import Study
from schemas.series import series

NOW = 1_772_000_000_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND


@pytest.fixture(scope="module")
def story() -> World:
    return world(NOW)


@pytest.fixture(scope="module")
def told(story: World) -> Expected:
    return expected(story)


def records(story: World) -> Iterator[Message | Bad]:
    return (record for act in story.acts for record in act.records)


def test_the_same_moment_and_seed_make_the_same_world(story: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for its doors, of which `test_demo_doors.py` says so."""
    monkeypatch.setattr("pipelines.demo.world.doors", lambda *_: story.doors)
    again = world(NOW)
    monkeypatch.setattr("pipelines.demo.world.acceleration", lambda *_: np.zeros((9_600, 3), np.int16))
    other = world(NOW, seed=7)  # whatever its signals are
    at = slice(None, None, 97)
    assert [r.value() for r in again.acts[0].records[at]] == [r.value() for r in story.acts[0].records[at]]
    assert again.consent_lines(0, NOW) == story.consent_lines(0, NOW)
    assert not {r.key for r in other.acts[0].records} & {r.key for r in story.acts[0].records}
    assert set(other.consent_lines(0, NOW)).isdisjoint(story.consent_lines(0, NOW))


def test_its_size_and_its_span(story: World, told: Expected) -> None:
    assert 300_000 <= told.readings <= 600_000
    assert told.records < 6_000
    assert 28 <= len(story.cast.people) <= 32
    times = np.concatenate(
        [r.signal.start[~r.broken] for r in records(story) if isinstance(r, Message) and len(r.broken)]
    )
    assert times.min() >= story.begin
    last = max(int(r.signal.end.max()) for r in story.acts[1].records if isinstance(r, Message))
    assert story.end - story.begin == DAYS * DAY
    assert NOW - 3_600 * SECOND < last <= story.end < NOW


def test_the_sums_of_the_story_keep_the_law(told: Expected) -> None:
    for study, sums in told.studies.items():
        settled = sums.quarantined + sums.duplicate + sums.landed
        assert sums.considered == sums.withheld.total() + settled
        assert min(sums.quarantined, sums.duplicate, sums.landed, sums.flagged) > 0
        if study != PILOT:
            assert sums.revised > 0 or any(result.revision for result in sums.results), study
        assert set(sums.withheld) == {Code.NO_AUTHORITY, Code.OUTSIDE_WINDOW}
    assert set(told.studies) == set(STUDIES)
    assert 0 < told.released < told.held


def test_every_reason_that_a_message_can_have_is_there(told: Expected) -> None:
    # a broker refuses to take a batch that cannot be unpacked; and the demo is to come to its end
    beyond_a_message = {Reason.CORRUPT, Reason.POISON}
    assert set(told.rejected) == set(Reason) - beyond_a_message


def test_a_message_says_what_its_signal_is(story: World) -> None:
    for record in list(records(story))[::61]:
        if isinstance(record, Message) and record.reason is None and not record.device.local:
            message = decode(record.value(), "sensor-reading")
            header, found = sensor_header(message), series(message)
            assert header.subject == record.device.subject
            assert len(found) == (9_600 if record.metric == MOTION else len(record.signal))
            assert int(found.start[0]) == int(record.signal.start[0])
            if record.metric == HEART:
                np.testing.assert_array_equal(found.start, record.signal.start)
                np.testing.assert_array_equal(found.values, record.signal.value)


def test_a_wall_clock_in_kolkata_is_five_and_a_half_hours_ahead(story: World) -> None:
    local = next(r for r in records(story) if isinstance(r, Message) and r.device.local and r.metric == HEART)
    found = series(decode(local.value(), "sensor-reading"))
    assert int(found.start[0]) - int(local.signal.start[0]) == 330 * 60 * SECOND


def test_bad_messages_are_refused_by_the_contract_for_their_reason(story: World) -> None:
    """Those that can be judged without the catalogue, a clock or a broker."""
    judged = [r for r in records(story) if isinstance(r, Bad) and not r.readings and not r.zeros]
    assert len(judged) >= 10
    for bad in judged:
        assert _refused_for(bad.value()) == bad.reason


def _refused_for(value: bytes) -> Reason | None:
    try:
        message = decode(value, "sensor-reading")
        sensor_header(message)
        series(message)
    except Rejected as fault:
        return fault.reason
    return None


def test_every_consent_line_is_valid_and_every_chain_is_whole(story: World) -> None:
    lines = [line for act in (0, 1) for line in story.consent_lines(act, NOW + act)]
    lines += story.doors.consent_lines() + story.doors.kit.activation + story.pilot.consent_lines()
    items = [parse_line(line, catalogue().codes) for line in lines]
    chains: dict[tuple[str, str], list[int]] = {}
    for line, item in zip(lines, items, strict=True):
        if item.kind != "link":
            fields = json.loads(line)
            chains.setdefault((fields["member"], fields["study"]), []).append(fields["seq"])
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in chains.values())
    assert {item.kind for item in items} == {"link", "grant", "narrow", "pause", "resume", "withdraw"}


@pytest.mark.parametrize("act", [0, 1])
def test_what_people_said_means_what_the_story_says_it_means(story: World, act: int) -> None:
    """The pipeline's verdict on the events, beside the windows that the story gives by hand."""
    received = NOW + act * 60 * SECOND
    lines = [line for known in range(act + 1) for line in story.consent_lines(known, NOW + known * 30 * SECOND)]
    lines += story.doors.consent_lines()
    events = [line for line in lines if json.loads(line)["kind"] != "link"]
    readings: list[str] = []
    wanted: list[str] = []
    for person, choice, metric, start in _probes(story, act):
        identity = str(len(readings))
        wanted.append(_told_code(choice, act, metric, start))
        readings.append(_reading(identity, person, choice, metric, start, received))
    studies = {name: Study(id=name, basis_after_withdrawal=basis) for name, (_, basis) in STUDIES.items()}
    found = [row["code"] for row in explain(events, readings, studies)]
    assert found == wanted
    assert len(wanted) > 1_000


def _probes(story: World, act: int) -> Iterator[tuple[Person, Choice, str, int]]:
    for person in story.cast.people:
        for choice in person.choices:
            if choice.known_from <= act:
                for metric in ALL:
                    for start in range(story.begin, story.end, 5 * 3_600 * SECOND + 37 * SECOND):
                        yield person, choice, metric, start
    doors = story.doors
    for fact in [fact for fact in doors.exports[0].facts if fact.metric][::5]:
        yield doors.person, doors.choice, str(fact.metric), fact.start


def _told_code(choice: Choice, act: int, metric: str, start: int) -> str:
    windows = choice.may[act].get(metric)
    if windows is None:
        return Code.NO_AUTHORITY
    end = start + 60 * SECOND
    return Code.OK if any(low <= start and end <= high for low, high in windows) else Code.OUTSIDE_WINDOW


def _reading(identity: str, person: Person, choice: Choice, metric: str, start: int, received: int) -> str:
    return json.dumps(
        {
            "id": identity,
            "member": person.member,
            "study": choice.study,
            "metric": metric,
            "start": rfc3339(start),
            "end": rfc3339(start + 60 * SECOND),
            "received": rfc3339(received),
            "attribution": "sure",
        }
    )


def test_differences_names_where_two_accounts_part() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == ["a.c", "d"]
    assert differences({"a": 1}, {"a": 1}) == []


def test_a_law_holds_only_where_the_parts_add_up() -> None:
    assert Law("records read", 3, {"decoded": 2, "rejected": 1}).holds
    assert not Law("records read", 3, {"decoded": 2, "rejected": 2}).holds


def test_the_next_commands_name_the_settings(tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = tmp_path / "a folder" / "wellspring.yaml"
    barcode = "9Y875XRT6M0NFKBN"
    assert all(f"--config '{config}'" in line for line in next_commands(config, barcode, running=True))
    assert next_commands(config, barcode, running=True)[-1].split()[1:3] == ["kafka", "down"]
    assert any(line.split()[1:3] == ["kafka", "up"] for line in next_commands(config, barcode, running=False))
    assert any(
        line.split()[1:4] == ["kits", "show", "9Y87-5XRT-6M0N-FKBN"] for line in next_commands(config, barcode, True)
    )
