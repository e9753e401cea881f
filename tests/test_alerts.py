"""When somebody is told: states as on the desk, changes once, quiet hours by the wall clock, words without numbers of few."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from quality.alert_settings import AlertSettings, Mailbox, QuietHours, Receiver, Webhook
from quality.alerts import (
    JOB,
    LOOKED_BACK,
    WAITING,
    Change,
    Condition,
    Level,
    as_json,
    changed,
    conditions,
    headline,
    job_condition,
    line,
    link,
    of_json,
    trial,
    waiting_condition,
)
from quality.check_numbers import share_of
from quality.checks import Severity, Thresholds, checks
from quality.counts import check_days
from quality.overview import by_check
from quality.suppression import bound_of
from tests.documents import OPERATORS, blocks
from tests.steward_world import TODAY, K, desk

DESK = "https://quality.example.org"
SECRET = "a secret of sixteen or more"
HOOK = {"name": "ops", "kind": "webhook", "url": "https://ops.example.org/x", "secret": SECRET}
MAIL = {"name": "team", "kind": "smtp", "host": "mail.example.org", "sender": "w@example.org", "to": ["a@example.org"]}
PL = checks()["PL-01"].model_copy(update={"thresholds": Thresholds(warning=0.01, alarm=0.05)})


def row(n_fail: int, n_eval: int = 1000, people: int | None = K) -> dict[str, Any]:
    behind = {"people": people, "people_failing": min(n_fail, K), "people_passing": K, "most_of_one": 1}
    return {"judge": "gate", "n_eval": n_eval, "n_fail": n_fail, "n_na": 0, **behind, "is_final": False}


def stands(days: dict[int, dict[str, Any]]) -> list[Condition]:
    """How the check stands, by days before today."""
    of_days = {TODAY - timedelta(days=back): numbers for back, numbers in days.items()}
    return conditions("sleep", {"PL-01": of_days}, {"PL-01": PL}, TODAY, K)


def levels(days: dict[int, dict[str, Any]]) -> list[Level]:
    return [one.level for one in stands(days)]


def receiver(**more: Any) -> Receiver:
    return TypeAdapter[Receiver](Receiver).validate_python({**HOOK, **more})


# -- how things stand


@pytest.mark.parametrize(
    ("n_fail", "level"), [(0, Level.OK), (10, Level.OK), (11, Level.WARNING), (50, Level.WARNING), (51, Level.ALARM)]
)
def test_a_level_is_that_of_the_thresholds_in_force(n_fail: int, level: Level) -> None:
    assert levels({0: row(n_fail)}) == [level]


def test_what_few_people_are_behind_is_no_news() -> None:
    assert levels({0: row(900, people=K - 1)}) == levels({0: row(900, people=None)}) == []
    assert levels({0: row(900, people=K - 1), 1: row(0)}) == [Level.OK]


def test_what_was_not_judged_is_no_news() -> None:
    assert levels({0: row(0, n_eval=0)}) == levels({}) == levels({LOOKED_BACK: row(900)}) == []
    assert levels({LOOKED_BACK - 1: row(900)}) == [Level.ALARM]
    assert levels({-1: row(900)}) == []


def test_a_check_stands_as_on_the_worse_of_its_two_newest_days() -> None:
    (found,) = stands({0: row(0), 1: row(60), 2: row(900)})
    assert (found.level, found.day, found.share) == (Level.ALARM, TODAY - timedelta(days=1), 0.06)
    assert levels({0: row(0), 2: row(900)}) == [Level.OK]


def test_dormant_checks_do_not_stand_at_all() -> None:
    dormant = PL.model_copy(update={"missing": "data"})
    assert conditions("sleep", {"PL-01": {TODAY: row(900)}}, {"PL-01": dormant}, TODAY, K) == []


def test_the_states_are_those_of_the_pages() -> None:
    days = check_days(desk(days=3), "sleep", TODAY - timedelta(days=2), TODAY)
    found = {one.about: one for one in conditions("sleep", by_check(days), checks(), TODAY, K)}
    shown = share_of(checks()["PL-01"], by_check(days)["PL-01"][TODAY], K)
    assert shown is not None and (found["PL-01"].share, found["PL-01"].bound) == (shown.value, bound_of(shown))
    assert found["CF-09"].level is not Level.OK


# -- what is new


def test_only_what_stands_otherwise_is_told_and_what_was_never_otherwise_is_not() -> None:
    well, bad = job_condition("sleep", True), job_condition("sleep", False)
    assert changed({}, [well]) == [] and changed({}, [bad]) == [(None, bad)]
    assert changed({JOB: Level.ALARM}, [bad]) == [] and changed({JOB: Level.ALARM}, [well]) == [(Level.ALARM, well)]


@pytest.mark.parametrize(
    ("more", "hears"),
    [
        ({}, [False, True, True]),
        ({"at_least": "info"}, [True, True, True]),
        ({"at_least": "critical"}, [False, False, True]),
        ({"studies": ["sleep"]}, [False, True, True]),
        ({"studies": ["cycle"]}, [False, False, False]),
    ],
)
def test_a_receiver_hears_of_its_studies_and_of_what_is_grave_enough(more: dict[str, Any], hears: list[bool]) -> None:
    assert [receiver(**more).hears("sleep", severity) for severity in Severity] == hears


# -- quiet hours


@pytest.mark.parametrize(
    ("at", "is_quiet"),
    [("20:59", False), ("21:00", True), ("23:30", True), ("04:59", True), ("05:00", False), ("12:00", False)],
)
def test_quiet_hours_go_by_the_zone_s_wall_clock_over_midnight(at: str, is_quiet: bool) -> None:
    quiet = QuietHours(begin="23:00", end="07:00", zone="Europe/Berlin")  # two hours before UTC in summer
    assert quiet.holds_at(datetime.fromisoformat(f"2026-07-01T{at}:00+00:00")) is is_quiet


def test_quiet_hours_within_a_day_and_in_winter() -> None:
    quiet = QuietHours(begin="12:00", end="13:00", zone="Europe/Berlin")
    assert quiet.holds_at(datetime(2026, 1, 15, 11, 30, tzinfo=UTC))
    assert not quiet.holds_at(datetime(2026, 1, 15, 12, 0, tzinfo=UTC))


def test_a_time_that_yaml_took_for_a_number_is_that_time() -> None:
    assert QuietHours.model_validate({"begin": 22 * 60, "end": "07:00"}).begin == "22:00"


@pytest.mark.parametrize(
    "wrong",
    [
        {"begin": "24:00", "end": "07:00"},
        {"begin": "7:00", "end": "08:00"},
        {"begin": "07:00", "end": "07:00"},
        {"begin": 1440, "end": "07:00"},
        {"begin": "22:00", "end": "07:00", "zone": "Mars/Olympus"},
    ],
)
def test_hours_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        QuietHours.model_validate(wrong)


# -- settings


@pytest.mark.parametrize(
    "wrong",
    [
        {**HOOK, "url": "http://ops.example.org"},
        {**HOOK, "url": "ftp://127.0.0.1/"},
        {**HOOK, "url": "https://"},
        {**HOOK, "secret": "short"},
        {**HOOK, "secret": None},
        {**HOOK, "secret_file": "x"},
        {**HOOK, "kind": "pigeon"},
        {**HOOK, "at_least": "everything"},
        {**MAIL, "tls": "none"},
        {**MAIL, "username": "w"},
        {**MAIL, "password": SECRET},
        {**MAIL, "to": []},
        {**MAIL, "to": ["a@example.org\nBcc: b@example.org"]},
        {**MAIL, "sender": "nobody"},
    ],
)
def test_a_receiver_that_would_not_be_safe_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        AlertSettings.model_validate({"receivers": [wrong]})
    assert SECRET not in str(raised.value)


def test_receivers_have_names_of_their_own() -> None:
    with pytest.raises(ValidationError, match="same name"):
        AlertSettings.model_validate({"receivers": [HOOK, {**MAIL, "name": "ops"}]})


def test_secrets_and_addresses_of_webhooks_are_shown_nowhere() -> None:
    mail = {**MAIL, "username": "w", "password": SECRET}
    found = AlertSettings.model_validate({"receivers": [{**HOOK, "url": f"https://h/{SECRET}"}, mail]})
    assert SECRET not in f"{found!r} {found} {found.model_dump(mode='json')} {found.model_dump_json()}"


# -- words


def change(one: Condition, before: Level | None = None) -> Change:
    return Change("0123456789abcdef" * 2, 1_000_000, before, one)


def test_a_line_says_study_check_state_severity_share_and_day() -> None:
    one = Condition("sleep", "PL-01", "Value is plausible", Severity.WARNING, Level.ALARM, date(2026, 11, 29), 0.063)
    expected = "sleep: alarm (warning, was ok): PL-01 Value is plausible, 6.3 % of what was judged on 2026-11-29"
    assert line(change(one, Level.OK)) == expected
    assert link(one, DESK) == f"{DESK}/studies/sleep/checks/PL-01?day=2026-11-29"
    assert of_json(as_json(change(one, Level.OK), DESK)) == change(one, Level.OK)


def test_what_is_no_check_leads_to_its_page() -> None:
    waits = waiting_condition("sleep", 7, True)
    assert link(waits, DESK) == f"{DESK}/studies/sleep/waiting" and waits.about == WAITING
    assert line(change(waits)) == "sleep: warning (warning): Rows have waited in quarantine for more than 7 days"
    assert link(job_condition("sleep", False), DESK) == link(trial("sleep"), DESK) == f"{DESK}/studies/sleep"


def test_a_headline_counts_by_state() -> None:
    found = [change(job_condition(study, False)) for study in ("sleep", "cycle")]
    found.append(change(waiting_condition("sleep", 7, False), Level.WARNING))
    assert headline(found) == "Wellspring: 2 alarm, 1 ok in cycle, sleep"


# -- the operators' page


def test_the_example_can_be_used_and_every_field_is_told() -> None:
    (example,) = [block.text for block in blocks(OPERATORS) if block.mark == "alerts-example"]
    found = AlertSettings.model_validate(yaml.safe_load(example)["alerts"])
    assert {one.kind for one in found.receivers} == {"webhook", "smtp"}
    part = OPERATORS.read_text(encoding="utf-8").split("\n### Alerts")[1].split("\n### ")[0]
    fields = {*Webhook.model_fields, *Mailbox.model_fields, *QuietHours.model_fields, *as_json(change(trial("x")), "")}
    assert [name for name in fields if not re.search(rf"`{name}[`:]", part)] == []
