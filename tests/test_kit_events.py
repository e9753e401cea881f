"""Events of kits: no room for a name in any field, JSON lines that become the contract's messages, ids that stay."""

import json
import random
from typing import Any
from uuid import UUID

import pytest

from schemas.barcodes import in_groups, issue
from schemas.contracts import decode, encode, latest
from schemas.kit_events import CONTRACT, SEVERITY, KitEvent, kit_event, parse_line
from schemas.reasons import Reason, Rejected

BARCODE = issue(random.Random(1).choice)
ID = "0198f3a2-6c1e-7b44-9d2a-3f5e8c7b1a90"
TOKEN = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
NAME = "Jane Doe"
NOON = "2026-06-01T12:00:00Z"
NOON_US = 1_780_315_200_000_000


def line(event: str = "collected", **fields: Any) -> str:
    return json.dumps({"event_id": ID, "barcode": BARCODE, "event": event, "when": NOON, **fields})


def refusal(text: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse_line(text)
    assert NAME not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


LINES = [
    line("packed", lot="NS-2026/04", lot_expires="2027-03-31"),
    line("sent", ship_token=TOKEN),
    line("activated"),
    line("collected", site="nose"),
    line("posted"),
    line("received", laboratory="north-lab"),
    line("rejected", laboratory="north-lab", reason="leaked"),
    line("resulted", laboratory="north-lab"),
    line("destroyed", reason="withdrawn"),
]


@pytest.mark.parametrize("text", LINES, ids=lambda text: str(json.loads(text)["event"]))
def test_a_line_becomes_a_message_and_says_the_same(text: str) -> None:
    event = parse_line(text)
    assert kit_event(decode(encode(CONTRACT, event.to_record()), CONTRACT)) == event
    assert (event.barcode, event.event_id, event.when.at) == (BARCODE, ID, NOON_US)


def test_there_is_a_severity_for_each_kind_of_event() -> None:
    (kinds,) = (field["type"]["symbols"] for field in latest(CONTRACT).schema["fields"] if field["name"] == "event")
    assert set(SEVERITY) == set(kinds) == {json.loads(text)["event"] for text in LINES}
    assert len(set(SEVERITY.values())) == len(SEVERITY)


def test_times_keep_the_offset_that_they_were_written_with() -> None:
    moment = parse_line(line(when="2026-06-01T14:00:00.25+02:00")).when
    assert (moment.at, moment.clock, moment.offset_min) == (NOON_US + 250_000, "utc", 120)
    assert parse_line(line()).when.offset_min is None
    assert parse_line(line(when="2026-06-01T12:00:00+00:00")).when.offset_min == 0
    packed = parse_line(line("packed", lot="1", lot_expires="1970-01-02"))
    assert packed.lot_expires == 1


def test_a_barcode_is_taken_as_people_type_it() -> None:
    assert parse_line(line(barcode=in_groups(BARCODE).lower())).barcode == BARCODE


def test_without_an_id_the_same_line_has_the_same_id_and_another_one_another() -> None:
    def without_id(**fields: Any) -> str:
        return parse_line(line(**fields, event_id=None)).event_id

    assert without_id() == without_id() == without_id(barcode=in_groups(BARCODE))
    assert UUID(without_id())
    assert len({without_id(), without_id(when="2026-06-01T12:00:01Z"), without_id(site="nose")}) == 3


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (NAME, ""),
        (line(event_id=NAME), "event_id"),
        (line(event_id=TOKEN.replace("-", "")), "event_id"),
        (line(barcode=NAME), "barcode"),
        (line(barcode=7), "barcode"),
        (line(event=NAME), "event"),
        (line(when=NAME), "when"),
        (line(when="2026-06-01T12:00:00"), "when"),
        (line(when=NOON_US), "when"),
        (line("packed"), "lot"),
        (line("packed", lot=NAME), "lot"),
        (line("packed", lot="JANE-DOE-1"), "lot"),
        (line("packed", lot="1\n"), "lot"),
        (line("packed", lot="1", lot_expires="31.3.2027"), "lot_expires"),
        (line("packed", lot="1", lot_expires="2027-02-30"), "lot_expires"),
        (line("packed", lot="1", lot_expires=17), "lot_expires"),
        (line("sent"), "ship_token"),
        (line("sent", ship_token=NAME), "ship_token"),
        (line("sent", ship_token="12 Mill Lane, Cambridge, CB3 9HQ, UK"), "ship_token"),
        (line(site=NAME), "site"),
        (line("received"), "laboratory"),
        (line("received", laboratory=NAME), "laboratory"),
        (line("received", laboratory="north-lab\n"), "laboratory"),
        (line("destroyed"), "reason"),
        (line("destroyed", reason=NAME), "reason"),
        (line("posted", site="nose"), "site"),
        (line("posted", ship_token=TOKEN), "ship_token"),
        (line(**{NAME: 1}), "(unknown field)"),
        (line(member="m1"), "(unknown field)"),
        (line(address=NAME), "(unknown field)"),
    ],
)
def test_a_line_at_fault_is_told_by_its_field_and_never_its_value(text: str, path: str) -> None:
    found = refusal(text)
    assert (found.reason, found.path) == (Reason.FIELD, path)
    assert found.expected


def test_a_wall_clock_needs_an_offset_a_zone_or_the_one_that_is_assumed() -> None:
    message = parse_line(line()).to_record() | {"when": {"at": NOON_US, "clock": "local"}}
    with pytest.raises(Rejected) as caught:
        kit_event(message)
    assert (caught.value.reason, caught.value.path) == (Reason.ZONE, "when.zone")
    assert kit_event(message, "Europe/Madrid").when.zone is None


def test_an_event_shows_neither_barcode_nor_token_nor_site_where_it_is_printed() -> None:
    for text in LINES:
        shown = repr(parse_line(text))
        assert BARCODE not in shown and TOKEN not in shown and "nose" not in shown


def test_the_event_is_frozen() -> None:
    assert KitEvent.model_config["frozen"] and KitEvent.model_config["extra"] == "forbid"
