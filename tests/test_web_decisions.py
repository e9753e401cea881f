"""Decisions at the desk: seen before they are made, by two people where a check is critical, each written down first."""

import json
import re
from html import unescape
from typing import Any

import pyarrow as pa
import pytest

from quality.desk import Answer
from tests.desks import FakeDesk
from tests.steward_world import TODAY, desk
from tests.stewards import Browser, app_over, as_

FLAGGED = {"check": "PL-01", "day": TODAY.isoformat()}
CRITICAL = {"check": "PL-00", "metric": "heart_rate"}
SHOWN = re.compile(r'name="fingerprint" value="([0-9a-f]{32})"')


def shown(ada: Browser, fields: dict[str, Any]) -> dict[str, str]:
    """Which rows the preview says these are, as its form has it."""
    (fingerprint,) = SHOWN.findall(ada.post("/studies/sleep/decision/preview", fields).text)
    return {"fingerprint": fingerprint}


@pytest.fixture
def world() -> FakeDesk:
    return desk(days=1)


@pytest.fixture
def ada(world: FakeDesk) -> Browser:
    return as_(app_over(world), "ada")


def last(world: FakeDesk) -> dict[str, Any]:
    return world.asked[-1]


def test_what_is_released_was_looked_at_first(world: FakeDesk, ada: Browser) -> None:
    text = ada.post("/studies/sleep/decision/preview", {**FLAGGED, "decision": "release"}).text
    assert 'name="expected" value="12"' in text and "Release 12 rows" in text and not world.asked
    which = shown(ada, {**FLAGGED, "decision": "release"})
    response = ada.post(
        "/studies/sleep/decision",
        {**FLAGGED, **which, "decision": "release", "expected": "12", "reason": " a new strap "},
    )
    assert response.status_code == 303
    assert last(world) == {
        "kind": "release",
        "study": "sleep",
        "about": {**FLAGGED, "expected": 12, **which},
        "by": "ada",
        "reason": "a new strap",
    }
    assert world.seen[-1].what == "release" and world.seen[-1].about == {
        **FLAGGED,
        "expected": 12,
        "reason": "a new strap",
    }
    assert ada.get(response.headers["location"]).status_code == 200


def test_chosen_rows_are_decided_alone(world: FakeDesk, ada: Browser) -> None:
    numbers = re.findall(r'name="row" value="([0-9a-f]{16})"', ada.get("/studies/sleep/rows?check=PL-01").text)
    assert len(numbers) == 12
    chosen = {"check": "PL-01", "row": numbers[:2], "decision": "discard"}
    text = ada.post("/studies/sleep/decision/preview", chosen).text
    assert 'name="expected" value="2"' in text and text.count('name="row"') == 2 and "do not come back" in text
    ada.post("/studies/sleep/decision", {**chosen, **shown(ada, chosen), "expected": "2", "reason": "doubled"})
    assert last(world)["kind"] == "discard" and last(world)["about"]["rows"] == numbers[:2]
    assert "rows" not in world.seen[-1].about


def test_what_failed_a_critical_check_is_proposed_whatever_is_sent(world: FakeDesk, ada: Browser) -> None:
    text = ada.post("/studies/sleep/decision/preview", {**CRITICAL, "decision": "release"}).text
    assert "a second person approves" in text and "Propose to release 12 rows" in text
    which = shown(ada, {**CRITICAL, "decision": "release"})
    ada.post("/studies/sleep/decision", {**CRITICAL, **which, "decision": "release", "expected": "12", "reason": "r"})
    assert last(world)["kind"] == "propose"
    assert last(world)["about"] == {"decision": "release", **CRITICAL, "expected": 12, **which}


@pytest.mark.parametrize(
    "fields",
    [
        {**FLAGGED, "decision": "release", "expected": "12", "reason": ""},
        {**FLAGGED, "decision": "release", "expected": "12", "reason": "x" * 1001},
        {**FLAGGED, "decision": "release", "expected": "12", "reason": "as ABCDEFGHIJKLMNOPQRSTUVWXY2 said"},
        {**FLAGGED, "decision": "release", "reason": "r"},
        {**FLAGGED, "decision": "release", "expected": "12", "reason": "r", "fingerprint": ""},
        {**FLAGGED, "decision": "release", "expected": "12", "reason": "r", "fingerprint": "x" * 32},
        {**FLAGGED, "decision": "release", "expected": "-1", "reason": "r"},
        {**FLAGGED, "decision": "recall", "expected": "12", "reason": "r"},
        {"decision": "release", "expected": "12", "reason": "r"},
        {"row": "1 or true", "decision": "release", "expected": "12", "reason": "r"},
    ],
)
def test_what_is_not_whole_is_not_asked(world: FakeDesk, ada: Browser, fields: dict[str, str]) -> None:
    assert ada.post("/studies/sleep/decision", {"fingerprint": "0" * 32, **fields}).status_code == 422
    assert not world.asked and not world.seen


def test_nothing_is_decided_that_could_not_be_written_down() -> None:
    class Full(FakeDesk):
        def audit(self, seen: Any) -> None:
            raise OSError

    made = desk(days=1)
    full = Full(made.facts, made.tables)
    browser = as_(app_over(full), "ada")
    fields = {**FLAGGED, "decision": "release", "expected": "12", "fingerprint": "0" * 32, "reason": "r"}
    assert browser.post("/studies/sleep/decision", fields).status_code == 500 and not full.asked


def test_a_second_person_approves(world: FakeDesk) -> None:
    app = app_over(world)
    cyd = as_(app, "cyd")
    listed = cyd.get("/studies/sleep/proposals").text
    assert f"{3:032x}" in listed and f"{1:032x}" not in listed
    text = cyd.get(f"/studies/sleep/proposals/{3:032x}").text
    assert "bob proposes" in text and "Approve" in text and "cannot be approved any more" not in text
    cyd.post(f"/studies/sleep/proposals/{3:032x}/approve", {"reason": "seen the rows"})
    assert last(world) == {
        "kind": "approve",
        "study": "sleep",
        "about": {"proposal": f"{3:032x}"},
        "by": "cyd",
        "reason": "seen the rows",
    }
    cyd.post(f"/studies/sleep/proposals/{3:032x}/decline", {"reason": "no"})
    assert last(world)["kind"] == "decline"


def test_nobody_approves_their_own_or_what_is_settled_or_another_s_as_a_steward(world: FakeDesk, ada: Browser) -> None:
    app = app_over(world)
    bob = as_(app, "bob")
    assert "Take it back" in bob.get(f"/studies/sleep/proposals/{3:032x}").text
    assert bob.post(f"/studies/sleep/proposals/{3:032x}/approve", {"reason": "r"}).status_code == 403
    assert ada.post(f"/studies/sleep/proposals/{3:032x}/decline", {"reason": "r"}).status_code == 403
    assert as_(app, "cyd").post(f"/studies/sleep/proposals/{1:032x}/approve", {"reason": "r"}).status_code == 404
    assert not world.asked
    assert bob.post(f"/studies/sleep/proposals/{3:032x}/decline", {"reason": "r"}).status_code == 303


def test_an_approver_does_not_approve_what_they_proposed(world: FakeDesk) -> None:
    rows = world.tables["sleep"]["decision"].to_pylist()
    rows[2]["by"] = "cyd"
    schema = world.tables["sleep"]["decision"].schema
    world.tables["sleep"]["decision"] = type(world.tables["sleep"]["decision"]).from_pylist(rows, schema=schema)
    cyd = as_(app_over(world), "cyd")
    response = cyd.post(f"/studies/sleep/proposals/{3:032x}/approve", {"reason": "r"})
    assert response.status_code == 403 and "another person" in response.text and not world.asked


def test_a_proposal_about_rows_that_have_changed_says_so(world: FakeDesk) -> None:
    world.tables["sleep"]["quarantine"] = world.tables["sleep"]["quarantine"].slice(0, 10)
    text = as_(app_over(world), "cyd").get(f"/studies/sleep/proposals/{3:032x}").text
    assert "It was about 12 rows" in text


def test_who_is_to_approve_is_led_to_all_rows_that_the_proposal_is_about(world: FakeDesk) -> None:
    bob = as_(app_over(world), "bob")
    numbers = re.findall(r'name="row" value="([0-9a-f]{16})"', bob.get("/studies/sleep/rows?check=PL-00").text)[:3]
    about = json.dumps({"decision": "discard", "rows": numbers, "expected": 3})
    kept = world.tables["sleep"]["decision"].to_pylist()
    made = {**kept[-1], "decision": f"{9:032x}", "about": about, "check": None, "rows": 3}
    schema = world.tables["sleep"]["decision"].schema
    world.tables["sleep"]["decision"] = pa.Table.from_pylist([*kept, made], schema=schema)
    cyd = as_(app_over(world), "cyd")
    text = cyd.get(f"/studies/sleep/proposals/{9:032x}").text
    assert "It was about other rows when it was proposed, though as many. It cannot be approved any more" in text
    (link,) = re.findall(r'href="(/studies/sleep/rows[^"]+)"', text)
    assert re.findall(r'aria-label="Row ([0-9a-f]{16})"', cyd.get(unescape(link)).text) == numbers


def test_a_threshold_is_proposed_in_per_cent(world: FakeDesk, ada: Browser) -> None:
    path = "/studies/sleep/checks/PL-01/threshold"
    assert 'value="0.5"' in ada.get("/studies/sleep/checks/PL-01").text
    ada.post(path, {"warning": "0.4", "alarm": "2,5", "reason": "older devices"})
    assert last(world)["about"] == {"threshold": {"check": "PL-01", "warning": 0.004, "alarm": 0.025}}
    ada.post(path, {"warning": "1", "alarm": "", "reason": "r"})
    assert last(world)["about"]["threshold"]["alarm"] is None
    for warning, alarm in (("", "1"), ("x", "1"), ("2", "1"), ("-1", ""), ("101", ""), ("nan", "")):
        assert ada.post(path, {"warning": warning, "alarm": alarm, "reason": "r"}).status_code == 422
    assert len(world.asked) == 2


def test_a_day_is_signed_off_not_one_to_come(world: FakeDesk, ada: Browser) -> None:
    ada.post("/studies/sleep/sign-off", {"day": TODAY.isoformat(), "reason": "seen"})
    assert (last(world)["kind"], last(world)["about"]) == ("sign-off", {"day": TODAY.isoformat()})
    for day in ("", "2027-01-01", "x"):
        assert ada.post("/studies/sleep/sign-off", {"day": day, "reason": "seen"}).status_code == 422


def test_the_page_of_a_request_asks_until_there_is_an_answer(world: FakeDesk) -> None:
    class Slow(FakeDesk):
        answers = [
            Answer("x", "waiting"),
            Answer("x", "done", rows=12, entry=7),
            Answer("x", "refused", words="what you were shown has changed: 3 rows now"),
        ]

        def answer(self, request: str) -> Answer:
            assert request == f"{1:032x}"
            return self.answers.pop(0)

    slow = Slow(world.facts, world.tables)
    ada = as_(app_over(slow), "ada")
    page = ada.post("/studies/sleep/sign-off", {"day": TODAY.isoformat(), "reason": "seen"}).headers["location"]
    waiting, done, refused = (ada.get(f"{page}{end}").text for end in ("", "/state", "/state"))
    assert f'hx-get="{page}/state"' in waiting and "<html" in waiting
    assert "Done: 12 rows" in done and "entry 7" in done and "hx-get" not in done and "<html" not in done
    assert "3 rows now" in refused and "hx-get" not in refused


def test_a_viewer_sees_decisions_without_how_many_rows(world: FakeDesk) -> None:
    app = app_over(world)
    of_viewer = as_(app, "vic").get("/studies/sleep/decisions").text
    assert "reason 3" in of_viewer and "bob" in of_viewer and ">Rows<" not in of_viewer
    (fingerprint,) = (about["fingerprint"] for about in _abouts(world) if "fingerprint" in about)
    for user, pages in {"vic": ("decisions", "proposals"), "ada": ("decisions", "proposals", "audit")}.items():
        assert not any(fingerprint in as_(app, user).get(f"/studies/sleep/{page}").text for page in pages)
    assert ">Rows<" in as_(app, "ada").get("/studies/sleep/decisions").text


def _abouts(world: FakeDesk) -> list[dict[str, Any]]:
    return [json.loads(text) for text in world.tables["sleep"]["decision"]["about"].to_pylist()]


def test_the_audit_lists_who_saw_what(world: FakeDesk, ada: Browser) -> None:
    ada.get("/studies/sleep/rows?check=PL-01&partner=acme")
    text = ada.get("/studies/sleep/audit").text
    assert "ada" in text and "partner acme" in text
