"""What makes a consent event or a link valid, and how it travels between JSON and its Avro record."""

import json
from typing import Any

import pytest

from schemas.consent_events import (
    MAX_LINE,
    ConsentEvent,
    IdentityLink,
    Unreadable,
    chain_key,
    micros_of,
    moment_of,
    parse_line,
    read_event,
    read_link,
    unreadable_key,
)
from schemas.contracts import decode, encode
from schemas.reasons import Rejected

GRANT = {
    "kind": "grant",
    "member": "planted-member",
    "study": "sleep",
    "seq": 1,
    "effective_at": "2026-03-01T00:00:00Z",
    "metrics": ["steps", "heart-rate", "steps"],
    "categories": [],
    "retro_from": "2026-02-01T02:00:00.25+02:00",
    "fill_gap": True,
    "collect_until": "2027-03-01T00:00:00Z",
    "store_until": None,
    "mode": None,
    "target_seq": None,
}
PAUSE = {key: GRANT[key] for key in ("kind", "member", "study", "seq", "effective_at")} | {"kind": "pause"}
WITHDRAW = PAUSE | {"kind": "withdraw", "mode": "erase"}
LINK = {
    "kind": "link",
    "link_id": "l-1",
    "partner": "acme",
    "subject": "planted-subject",
    "member": "planted-member",
    "from": "2026-03-01T00:00:00Z",
    "to": None,
}
MARCH = 1_772_323_200_000_000


def line(fields: dict[str, Any], **changes: Any) -> str:
    return json.dumps(fields | changes)


def test_a_grant_keeps_its_record_through_the_contract() -> None:
    event = parse_line(line(GRANT))
    assert isinstance(event, ConsentEvent)
    record = event.to_record()
    assert record == {
        "kind": "grant",
        "member": "planted-member",
        "study": "sleep",
        "seq": 1,
        "effective_at": MARCH,
        "metrics": ["heart-rate", "steps"],
        "categories": None,
        "retro_from": micros_of("2026-02-01T00:00:00.250Z"),
        "fill_gap": True,
        "collect_until": micros_of("2027-03-01T00:00:00Z"),
        "store_until": None,
        "mode": None,
        "target_seq": None,
    }
    assert ConsentEvent.from_record(decode(encode("consent-event", record), "consent-event")) == event


def test_a_link_keeps_its_record() -> None:
    link = parse_line(line(LINK))
    assert isinstance(link, IdentityLink)
    record = link.to_record()
    assert record == {
        "link_id": "l-1",
        "partner": "acme",
        "subject": "planted-subject",
        "member": "planted-member",
        "from_us": MARCH,
        "to_us": None,
    }
    assert IdentityLink.from_record(decode(encode("identity-link", record), "identity-link")) == link


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("no json", ""),
        ("[]", ""),
        ("[" * 100_000, ""),
        ('{"kind":"pause"} {}', ""),
        (" " * (MAX_LINE + 1), ""),
        ("{}", "kind"),
        (line(PAUSE, kind="refuse"), "kind"),
        (line(PAUSE, kind=["pause"]), "kind"),
        (line(PAUSE, planted=1), "(unknown field)"),
        (line(PAUSE, appended_us=1), "(unknown field)"),
        (line(PAUSE, member=""), "member"),
        (line(PAUSE, member=7), "member"),
        (line(PAUSE, study="s" * 201), "study"),
        (line(PAUSE, seq=0), "seq"),
        (line(PAUSE, seq=True), "seq"),
        (line(PAUSE, seq="1"), "seq"),
        (line(PAUSE, seq=1.5), "seq"),
        (line(PAUSE, seq=2**31), "seq"),
        (line(PAUSE, effective_at="2026-03-01T00:00:00"), "effective_at"),
        (line(PAUSE, effective_at="2026-03-01"), "effective_at"),
        (line(PAUSE, effective_at="2026-02-30T00:00:00Z"), "effective_at"),
        (line(PAUSE, effective_at="0001-01-01T00:00:00+14:00"), "effective_at"),
        (line(PAUSE, effective_at=MARCH), "effective_at"),
        (line(PAUSE, effective_at=None), "effective_at"),
        (line(PAUSE, metrics=["steps"]), "metrics"),
        (line(PAUSE, mode="keep"), "mode"),
        (line(PAUSE, fill_gap=True), "fill_gap"),
        (line(PAUSE, retro_from="2026-01-01T00:00:00Z"), "retro_from"),
        (line(PAUSE, target_seq=1), "target_seq"),
        (line(WITHDRAW, mode=None), "mode"),
        (line(WITHDRAW, mode="burn"), "mode"),
        (line(GRANT, metrics=None), "metrics"),
        (line(GRANT, metrics=[]), "metrics"),
        (line(GRANT, metrics=[""]), "metrics"),
        (line(GRANT, metrics="steps"), "metrics"),
        (line(GRANT, kind="narrow", metrics=[]), "metrics"),
        (line(GRANT, kind="narrow"), "retro_from"),
        (line(GRANT, categories=["sleep"]), "categories"),
        (line(GRANT, retro_from="2026-03-01T00:00:01Z"), "retro_from"),
        (line(GRANT, collect_until="2026-03-01T00:00:00Z"), "collect_until"),
        (line(GRANT, store_until="2026-02-01T00:00:00Z"), "store_until"),
        (line(GRANT, fill_gap="yes"), "fill_gap"),
        (line(LINK, to="2026-03-01T00:00:00Z"), "to"),
        (line(LINK, subject=None), "subject"),
        (line(LINK, from_us=1), "(unknown field)"),
        (line(LINK, **{"from": 5}), "from"),
    ],
)
def test_a_bad_line_is_refused_by_field_and_expectation_never_by_value(text: str, path: str) -> None:
    with pytest.raises(Rejected) as refusal:
        parse_line(text)
    assert refusal.value.path == path
    said = f"{refusal.value} {refusal.value!r} {refusal.value.__cause__} {refusal.value.__context__}"
    assert "planted" not in said
    assert "None None" in said, "pydantic's own error, which repeats the value, is not carried along"


def test_an_unknown_kind_is_told_which_are_accepted() -> None:
    with pytest.raises(Rejected, match="one of link, grant, narrow, pause, resume, withdraw"):
        parse_line(line(PAUSE, kind="invalidate"))


def test_a_metric_outside_the_catalogue_is_refused_by_its_place() -> None:
    assert parse_line(line(GRANT), known_metrics={"steps", "heart-rate"})
    with pytest.raises(Rejected) as refusal:
        parse_line(line(GRANT), known_metrics={"steps"})
    assert refusal.value.path == "metrics[1]"


def test_what_says_nothing_is_the_same_as_null() -> None:
    assert parse_line(line(PAUSE, metrics=[], categories=[], fill_gap=False, mode=None)) == parse_line(line(PAUSE))


@pytest.mark.parametrize(
    "changes",
    [{"kind": "invalidate"}, {"categories": ["sleep"]}, {"seq": 0}, {"mode": "keep"}, {"effective_at": 2**62}],
)
def test_an_event_that_is_not_understood_keeps_the_name_of_its_chain(changes: dict[str, Any]) -> None:
    record = parse_line(line(PAUSE)).to_record() | changes
    assert read_event(record) == Unreadable("planted-member", "sleep")


KIT_LINK = LINK | {"partner": "kit", "subject": "9y87 5xrt-6m0n-fkbn"}


def test_an_activation_has_its_barcode_in_the_one_spelling() -> None:
    link = parse_line(line(KIT_LINK))
    assert isinstance(link, IdentityLink) and link.subject == "9Y875XRT6M0NFKBN"
    assert read_link(link.to_record() | {"subject": KIT_LINK["subject"]}) == link
    assert parse_line(line(LINK | {"subject": "9y87 5xrt"})).to_record()["subject"] == "9y87 5xrt", (
        "of a partner as sent"
    )


@pytest.mark.parametrize("subject", ["p-0017", "8Y87-5XRT-6M0N-FKBN", "OY87-5XRT-6M0N-FKBN"])
def test_an_activation_of_what_is_no_barcode_is_refused_and_on_the_topic_not_understood(subject: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_line(line(KIT_LINK | {"subject": subject}))
    assert (caught.value.path, subject in str(caught.value)) == ("subject", False)
    record = parse_line(line(KIT_LINK)).to_record()
    assert read_link(record | {"subject": subject}) == Unreadable()


def test_a_link_that_is_not_one_is_unreadable() -> None:
    record = parse_line(line(LINK)).to_record()
    assert read_link(record) == parse_line(line(LINK))
    assert read_link(record | {"to_us": 0}) == Unreadable()


def test_the_key_names_the_chain() -> None:
    assert unreadable_key(chain_key("mia", "sleep")) == Unreadable("mia", "sleep")
    for key in (None, b"", b"mia", b'["mia"]', b'["mia", 7]', b"\xff"):
        assert unreadable_key(key) == Unreadable()


def test_no_person_shows_in_what_an_object_prints() -> None:
    shown = f"{parse_line(line(GRANT))!r} {parse_line(line(LINK))!r} {Unreadable('planted-member', 'sleep')!r}"
    assert "planted" not in shown


def test_moments_are_exact_to_the_microsecond() -> None:
    assert micros_of("1970-01-01T00:00:00.000001Z") == 1
    assert micros_of("1969-12-31T23:59:59.999999-00:00") == -1
    assert micros_of("2026-03-01t01:00:00+01:00") == MARCH
    assert moment_of(MARCH) == "2026-03-01T00:00:00Z"
    assert micros_of(moment_of(MARCH + 1)) == MARCH + 1
