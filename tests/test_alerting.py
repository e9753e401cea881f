"""Alerts are told once for each change, through restarts, quiet hours and receivers that fail; nothing personal in them."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import alert_book, alerting
from pipelines import lookout as lookout_module
from pipelines.alert_book import AlertBook
from pipelines.alert_delivery import NotDelivered, body_of, mail_of, message_id
from pipelines.alerting import send_test, status
from pipelines.figures import entry_before
from pipelines.lookout import Lookout
from pipelines.settings import load_settings
from quality.alert_settings import AlertSettings, Mailbox
from quality.alerts import Change, as_json
from quality.checks import checks
from quality.job.times import instant
from tests.alerted import HOOK, HOUR_US, SECRET, START_US, Remembering, Watched, replaced, world
from tests.desks import FakeDesk
from tests.lakes import Driver
from tests.steward_world import PSEUDONYM, TODAY, VALUE
from tests.test_cli import execute

Message = tuple[str, list[Change]]
PERSONAL = (PSEUDONYM, str(VALUE), SECRET, "ops.example.org")


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Message]]:
    """Who was told what, message by message."""
    found: list[Message] = []

    def deliver(receiver: Any, changes: list[Change], *_: Any) -> None:
        if why := failing.get(receiver.name):
            raise NotDelivered(why)
        found.append((receiver.name, changes))

    failing.clear()
    monkeypatch.setattr(alerting, "deliver", deliver)
    yield found
    bodies = [json.dumps(as_json(change, "")) for _, changes in found for change in changes]
    assert not [text for text in PERSONAL for body in bodies if text in body]


failing: dict[str, str] = {}


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def abouts(told: list[Message]) -> list[tuple[str, list[str]]]:
    return [(name, [f"{one.now.about} {one.now.level}" for one in changes]) for name, changes in told]


def heal(lake: FakeDesk) -> None:
    """From now on nothing fails."""
    replaced(lake, "check_result", "n_fail", 0)


# -- once for each change


def test_what_does_not_stand_well_is_told_once_and_once_more_when_it_does(
    watched: Watched, told: list[Message]
) -> None:
    watched.life(turns=3)
    ((name, first),) = told
    about = {one.now.about for one in first}
    assert name == "ops" and {"PL-01", "CF-09"} <= about <= {*checks(), "waiting"}
    assert {one.now.study for one in first} == {"sleep"}
    watched.entries += 1
    watched.life()
    assert len(told) == 1
    heal(watched.lake)
    watched.entries += 1
    watched.life()
    assert {(one.now.about, str(one.now.level)) for one in told[1][1]} == {(name, "ok") for name in about - {"waiting"}}
    assert len(told) == 2


def test_a_driver_that_was_killed_before_it_told_tells_in_its_next_life(
    watched: Watched, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(alerting.Telling, "begin", lambda self: None)
        watched.life()
    assert told == []
    watched.life()
    assert len(told) == 1
    watched.life()
    assert len(told) == 1


def test_one_that_was_killed_while_it_told_tells_again_under_the_same_id(
    watched: Watched, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(AlertBook, "note_told", _die)
        watched.life()
    watched.life()
    assert len(told) == 2 and message_id(told[0][1]) == message_id(told[1][1])
    assert watched.said == ["alerts could not be told (KeyboardInterruptNow); they are told later"]


class KeyboardInterruptNow(Exception):
    pass


def _die(*_: Any) -> None:
    raise KeyboardInterruptNow(PSEUDONYM)


def test_the_job_s_failure_and_its_end_are_told(watched: Watched, told: list[Message]) -> None:
    heal(watched.lake)
    for went in ({}, {"sleep": False}, {"sleep": False}, {}, {"sleep": True}):
        watched.went, watched.entries = went, watched.entries + 1
        watched.life()
    assert abouts(told) == [("ops", ["job alarm"]), ("ops", ["job ok"])]


def test_rows_that_wait_for_long_are_told_of_without_their_number(watched: Watched, told: list[Message]) -> None:
    heal(watched.lake)
    watched.age_us = 6 * 24 * HOUR_US
    watched.life()
    assert told == []
    watched.now_us += 25 * HOUR_US
    watched.life()
    assert abouts(told) == [("ops", ["waiting warning"])] and told[0][1][0].now.share is None
    watched.lake.tables["sleep"]["quarantine"] = watched.lake.tables["sleep"]["quarantine"].slice(0, 0)
    watched.entries += 1
    watched.life()
    assert abouts(told)[1:] == [("ops", ["waiting ok"])]


def test_nothing_is_said_of_a_group_that_is_too_small(tmp_path: Path, told: list[Message]) -> None:
    small = world()
    replaced(small, "check_result", "people", 9)
    watched = Watched(tmp_path, lake=small)
    watched.life()
    assert {name for _, changes in told for name in [one.now.about for one in changes]} <= {"waiting"}


# -- to whom


def test_each_receiver_hears_of_its_own(tmp_path: Path, told: list[Message]) -> None:
    others = [{**HOOK, "name": "cycle", "studies": ["cycle"]}, {**HOOK, "name": "grave", "at_least": "critical"}]
    watched = Watched(tmp_path, [HOOK, *others])
    watched.went = {"sleep": False, "cycle": True}
    watched.life()
    assert {name for name, _ in told} == {"ops", "grave"}
    grave = {str(one.now.severity) for name, changes in told for one in changes if name == "grave"}
    assert grave == {"critical"}


def test_whoever_is_a_receiver_no_more_is_forgotten(watched: Watched, told: list[Message]) -> None:
    failing["ops"] = "it cannot be reached"
    watched.life()
    watched.receivers = [{**HOOK, "name": "new"}]
    watched.life()
    with closing(AlertBook(watched.settings.vault)) as book:
        assert book.receivers() == [] and told == []


# -- quiet hours


def quiet(critical_passes: bool) -> dict[str, Any]:
    """From 9:30 to 12:30 in Berlin, which is 8:30 to 11:30 UTC; it is 9:00."""
    hours = {"begin": "09:30", "end": "12:30", "zone": "Europe/Berlin", "critical_passes": critical_passes}
    return {**HOOK, "quiet": hours}


def test_what_falls_in_quiet_hours_is_told_after_them_in_one_message(tmp_path: Path, told: list[Message]) -> None:
    watched = Watched(tmp_path, [quiet(False)], went={"sleep": False})
    watched.life()
    watched.went, watched.entries = {"sleep": True}, 2
    watched.life()
    watched.now_us = START_US + 2 * HOUR_US
    watched.life()
    assert told == []
    watched.now_us += HOUR_US // 2
    watched.life()
    ((_, changes),) = told
    assert [str(one.now.level) for one in changes if one.now.about == "job"] == ["alarm", "ok"]
    assert {"PL-01", "CF-09"} <= {one.now.about for one in changes}


def test_what_is_critical_passes_quiet_hours_where_it_may(tmp_path: Path, told: list[Message]) -> None:
    watched = Watched(tmp_path, [quiet(True)], went={"sleep": False})
    watched.life()
    assert {str(one.now.severity) for _, changes in told for one in changes} == {"critical"}
    watched.now_us = START_US + 3 * HOUR_US
    watched.life()
    assert len(told) == 2 and "critical" not in {str(one.now.severity) for one in told[1][1]}


# -- receivers that fail


def test_a_failure_is_said_once_counted_and_tried_again_later(watched: Watched, told: list[Message]) -> None:
    failing["ops"] = "it answers with status 503"
    watched.life(turns=3)
    watched.life(turns=3)
    (ops,) = status(watched.settings)["receivers"]
    assert (ops["failed"], ops["told"], ops["last_failure"]) == (1, 0, failing["ops"]) and ops["waiting"] > 0
    watched.now_us += 31_000_000
    watched.life()
    assert status(watched.settings)["receivers"][0]["failed"] == 2
    assert watched.said == ["ops could not be alerted (it answers with status 503); it is tried again until it can"]
    failing.clear()
    watched.life()
    assert told == []
    watched.now_us += 61_000_000
    watched.life()
    (ops,) = status(watched.settings)["receivers"]
    assert len(told) == 1 and (ops["told"], ops["waiting"], ops["last_failure"]) == (1, 0, None)


def test_one_that_fails_keeps_no_other_from_being_told(tmp_path: Path, told: list[Message]) -> None:
    failing["ops"] = "it cannot be reached"
    Watched(tmp_path, [HOOK, {**HOOK, "name": "others"}]).life()
    assert [name for name, _ in told] == ["others"]


def test_one_that_does_not_answer_does_not_hold_up_the_driver(
    watched: Watched, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked, at_once = threading.Event(), threading.Event(), alerting.deliver

    def deliver(*what: Any) -> None:
        asked.set()
        assert answers.wait(30)
        at_once(*what)

    monkeypatch.setattr(alerting, "deliver", deliver)
    with closing(watched.lookout()) as lookout:
        for _ in range(3):
            lookout.turn()
        assert asked.wait(30) and told == []
        answers.set()
        lookout.finish()
    assert len(told) == 1


def test_a_study_is_looked_at_again_only_once_something_has_changed(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    monkeypatch.setattr(Lookout, "_look_at", lambda _, study: looks.append(study))
    monkeypatch.setattr(lookout_module, "REST", 0)
    with closing(watched.lookout()) as lookout:
        for _ in range(3):
            lookout.turn()
        assert len(looks) == 2
        watched.now_us += HOUR_US  # rows may have waited for too long by now
        lookout.turn()
        assert len(looks) == 4
        watched.entries += 1
        lookout.turn()
        lookout.turn()
        assert len(looks) == 6


def test_a_job_in_the_midst_of_a_day_is_not_looked_at(watched: Watched, told: list[Message]) -> None:
    watched.is_busy = True
    watched.life(turns=2)
    assert told == []


def test_it_costs_nothing_where_nobody_is_told_and_nothing_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remembering, "query", _die)
    watched = Watched(tmp_path, [])
    watched.life(turns=2)
    assert watched.said == [] and not watched.settings.vault.exists()


def test_a_receiver_that_is_dead_for_long_gives_up_the_oldest(
    watched: Watched, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    heal(watched.lake)
    monkeypatch.setattr(alert_book, "MOST_UNTOLD", 2)
    failing["ops"] = "it cannot be reached"
    for went in (False, True, False):
        watched.went, watched.entries = {"sleep": went}, watched.entries + 1
        watched.life()
    (ops,) = status(watched.settings)["receivers"]
    assert (ops["waiting"], ops["given_up"]) == (2, 1)


def test_whatever_goes_wrong_is_said_by_its_kind_and_the_stream_goes_on(
    watched: Watched, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Remembering, "query", _die)
        watched.life(turns=2)
    assert sorted(watched.said) == [
        f"how {study} stands could not be looked at (KeyboardInterruptNow); the stream goes on"
        for study in ("cycle", "sleep")
    ]
    watched.life()
    assert len(told) == 1


# -- what stands in a message


def test_a_message_has_nothing_but_what_it_may_have(watched: Watched, told: list[Message]) -> None:
    watched.life()
    ((_, changes),) = told
    body = json.loads(body_of(changes, "https://desk.example.org"))
    assert set(body) == {"id", "alerts"}
    known = {
        "id",
        "at_us",
        "study",
        "about",
        "title",
        "severity",
        "state",
        "before",
        "day",
        "share",
        "bound",
        "text",
        "link",
    }
    assert {name for alert in body["alerts"] for name in alert} == known
    one = next(alert for alert in body["alerts"] if alert["about"] == "PL-01")
    assert one["link"] == f"https://desk.example.org/studies/sleep/checks/PL-01?day={one['day']}"
    assert one["day"] in {str(TODAY), str(TODAY - timedelta(days=1))}


def test_a_mail_has_the_same_words_and_says_that_a_machine_wrote_it(watched: Watched, told: list[Message]) -> None:
    watched.life()
    block = {"name": "team", "kind": "smtp", "host": "127.0.0.1", "sender": "w@example.org", "to": ["a@example.org"]}
    (box,) = AlertSettings.model_validate({"receivers": [block]}).receivers
    assert isinstance(box, Mailbox)
    mail = mail_of(box, told[0][1], "https://desk.example.org", watched.now_us)
    assert mail["Auto-Submitted"] == "auto-generated" and mail["To"] == "a@example.org"
    assert "PL-01" in mail.get_content() and "https://desk.example.org/studies/sleep/checks/PL-01" in mail.get_content()
    assert mail["Message-ID"] == f"<{message_id(told[0][1])}@example.org>"


# -- by hand


def test_a_test_goes_to_those_who_hear_of_the_study(tmp_path: Path, told: list[Message]) -> None:
    block = [HOOK, {**HOOK, "name": "cycle", "studies": ["cycle"]}, {**quiet(False), "name": "asleep"}]
    settings = Watched(tmp_path, block).settings
    failing["ops"] = "no answer in time"
    assert [(one.name, one.why) for one in send_test(settings, START_US, "sleep")] == [
        ("ops", "no answer in time"),
        ("asleep", ""),
    ]
    assert [name for name, _ in told] == ["asleep"]
    assert len(send_test(settings, START_US)) == 3


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Path("wellspring.yaml")
    config.write_text("{}", encoding="utf-8")
    Path("studies.yaml").write_text("studies: [{id: sleep}]\n", encoding="utf-8")
    assert execute(["alerts", "test"]) == 1
    assert "add a receiver" in capsys.readouterr().err
    config.write_text(json.dumps({"alerts": {"receivers": [HOOK]}}), encoding="utf-8")
    assert execute(["alerts", "test", "--study", "mood"]) == 1
    assert execute(["alerts", "test", "--study", "sleep", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "ops", "kind": "webhook", "why": None}
    failing["ops"] = "it cannot be reached"
    assert execute(["alerts", "test"]) == 1
    said = capsys.readouterr()
    assert "it cannot be reached" in said.out and "not everybody could be told: ops" in said.err
    assert execute(["alerts", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["receivers"][0]["told"] == 0
    assert execute(["alerts", "status"]) == 0 and not load_settings(config).vault.exists()
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err


def test_the_entry_before_a_moment_is_found(tmp_path: Path) -> None:
    driver = Driver(tmp_path / "lake")
    for _ in range(4):
        driver.land("sleep", count=1)
    ledger = driver.ledger
    times = [entry.at_us for entry in ledger.entries()]
    for moment in {*times, min(times) - 1, max(times) + 1}:
        assert entry_before(ledger, moment) == sum(at <= moment for at in times)
    assert instant(0).isoformat() == "1970-01-01T00:00:00+00:00"
