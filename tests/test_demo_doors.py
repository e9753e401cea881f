"""The demo's third act: its files are what its story says, by an independent reading, and name nobody who must not be."""

import io
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.apple_health import FORMAT as APPLE_HEALTH
from connectors.file_publishing import Outlet, Published, publish_file
from connectors.formats import Format
from connectors.hl7v2 import HL7V2
from infra.local_kafka import Address
from pipelines.demo.doors import Doors, doors
from pipelines.demo.expected_doors import judge_doors
from pipelines.demo.ground import Ground, settle
from pipelines.demo.laboratory import MAPPING, PATIENT_NAME, PATIENT_STREET
from pipelines.demo.people import CYCLELAB, NORTH_LAB, PHONES
from pipelines.demo.phone import Export
from pipelines.demo.phone_xml import PHONE_NAME, WATCH_NAME
from pipelines.demo.tally import Expected, Standing
from pipelines.demo.world import SEED
from schemas.barcodes import is_barcode
from schemas.contracts import decode
from schemas.kit_events import parse_line
from schemas.laboratories import load_laboratories
from schemas.registry import load_partners

NOW = 1_772_000_000_000_000
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def story() -> Doors:
    return doors(SEED, NOW)


class Sink:
    """Keeps what it is given."""

    failed = in_flight = 0
    refusals: list[str] = []

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def send(self, key: bytes, value: bytes) -> None:
        self.values.append(value)

    def flush(self) -> "Sink":
        return self


def published(source: Format, content: bytes, **more: Any) -> tuple[Published, list[bytes]]:
    """The file as it would be published to a partner of the demo: its receipt, and the messages."""
    sink = Sink()
    return publish_file(source, io.BytesIO(content), "file", Outlet(sink, 512 * 1024), **more), sink.values


def read(export: Export) -> list[tuple[str, int, int, str | None]]:
    """Type, start, end and value of every fact in the export, as the connector reads it."""
    (batch,) = [one for one in APPLE_HEALTH.read(io.BytesIO(export.content()), "") if isinstance(one, pa.RecordBatch)]
    found = []
    for row in batch.to_pylist():
        span = row["start"], row["end"]
        facts = [(row["type"], *span, row["value"])]
        facts += [
            (part["type"], part["start"] or span[0], part["end"] or span[1], part["value"]) for part in row["parts"]
        ]
        found += [(kind, _us(start), _us(end), value) for kind, start, end, value in facts]
    return found


def _us(moment: datetime) -> int:
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)


def test_the_same_moment_and_seed_make_the_same_files(story: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    again = doors(SEED, NOW)
    monkeypatch.setattr("pipelines.demo.doors.exports", lambda *_: story.exports)
    other = doors(7, NOW)  # whatever her phone knows
    assert again.exports == story.exports
    assert again.exports[0].content() == story.exports[0].content()
    assert [one.content() for one in again.kit.files] == [one.content() for one in story.kit.files]
    assert again.consent_lines() == story.consent_lines()
    assert other.kit.barcode != story.kit.barcode
    assert other.person.member != story.person.member


@pytest.mark.parametrize("number", [0, 1])
def test_an_export_says_what_the_story_says_and_travels_in_one_message(story: Doors, number: int) -> None:
    export = story.exports[number]
    done, messages = published(APPLE_HEALTH, export.content(), subject="s")
    assert len(messages) == 1
    assert done.receipt.records == len(export.entries)
    assert dict(done.receipt.problems) == {"R_INTERVAL": export.faults} == {"R_INTERVAL": 1}
    assert [one.what for one in done.receipt.beside] == ["__MACOSX/._*", "export_cda.xml"]
    facts = Counter((fact.start, fact.end) for fact in export.facts)
    found = read(export)
    assert Counter((start, end) for _, start, end, _ in found) == facts
    hearts = {fact.start: fact.value for fact in export.facts if fact.metric == "heart_rate"}
    kinds = ("HKQuantityTypeIdentifierHeartRate", "InstantaneousBeatsPerMinute")
    assert {start: float(value or "nan") for kind, start, _, value in found if kind in kinds} == hearts


def test_the_later_export_has_all_of_the_first_and_a_day_more(story: Doors) -> None:
    first, later = (Counter(export.facts) for export in story.exports)
    assert first < later
    more = [fact for fact in (later - first).elements() if fact.metric]
    assert 0 < len(more) < len(list(story.exports[0].facts)) / 5
    assert min(fact.start for fact in more) >= story.exports[0].exported_us
    assert story.exports[1].exported_us <= NOW


def test_names_are_in_the_files_and_not_in_what_a_laboratory_publishes(story: Doors) -> None:
    first = story.exports[0]
    assert {PHONE_NAME, WATCH_NAME} <= {word for entry in first.entries for word in entry.element.split('"')}
    values = []
    for file in story.kit.files:
        content = file.content()
        assert PATIENT_NAME in content and PATIENT_STREET in content
        done, messages = published(HL7V2, content.encode(), mapping=MAPPING)
        assert not done.receipt.problems
        assert len(messages) == len(file.reports)
        values += messages
    assert not [value for value in values for name in (PATIENT_NAME, PATIENT_STREET) if name.encode() in value]
    assert {decode(value, "lab-result")["subject"] for value in values} == {story.kit.barcode}


def test_the_kit_goes_its_way_without_a_name_or_an_address(story: Doors) -> None:
    events = [parse_line(line) for line in story.kit.posted + story.kit.resulted]
    assert [event.event for event in events] == [
        *("packed", "sent", "collected", "posted", "received", "activated", "resulted")
    ]
    times = [event.when.at for event in events]
    assert times == sorted(times) and times[-1] <= NOW
    assert is_barcode(story.kit.barcode)
    assert story.person.member not in "".join(story.kit.posted + story.kit.resulted)
    (link,) = map(json.loads, story.kit.activation)
    assert (link["partner"], link["subject"], link["member"]) == ("kit", story.kit.barcode, story.person.member)


def test_what_must_come_of_it(story: Doors) -> None:
    sums = Expected()
    judge_doors(story, sums)
    own = sums.studies[CYCLELAB]
    assert set(own.results) == {
        Standing("vaginal_fluid_ph", 4.4, None, None, "C", 2),
        Standing("hpv_high_risk", None, "not_detected", None, "F", 0),
        Standing("ferritin", 5.0, None, "less_than", "F", 0),
    }
    assert (sums.held, sums.released, sums.recalled) == (1, 1, 1)
    assert sums.records == 2 + 5
    agreed_at = story.choice.said[0].at_us
    assert agreed_at is not None
    let_in = [
        sum(fact.metric not in (None, "weight") and fact.start >= agreed_at for fact in export.facts)
        for export in story.exports
    ]
    results = 8
    assert own.duplicate == let_in[0]
    assert (own.quarantined, own.flagged) == (1, 1)
    assert own.landed == let_in[1] - own.quarantined + results
    unmapped = sum(fact.metric is None for export in story.exports for fact in export.facts)
    assert sums.rejected == {"R_METRIC": unmapped}
    assert own.considered == sums.readings - unmapped


def test_the_ground_has_the_laboratory_and_the_partners(tmp_path: Path) -> None:
    settings = settle(Ground(tmp_path), Address(port=1, cluster_id="x", pid=1, started=True))
    (mapping,) = load_laboratories(settings.laboratories).values()
    assert mapping.model_dump() == MAPPING.model_dump()
    partners = load_partners(settings.partners)
    assert partners[PHONES].contracts == ("app-export",)
    assert partners[NORTH_LAB].contracts == ("lab-result", "kit-event")
