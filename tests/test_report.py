"""A study-day's report: the numbers are the planted ones, small groups are neither told nor to be computed."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from quality.check_numbers import TREND_DAYS
from quality.checks import checks
from quality.overview import State, last_monday
from quality.report.numbers import Report, as_json, report_of
from quality.report.page import MEANINGS, page
from quality.report.write import write_report
from quality.suppression import said
from quality.whole_file import write_whole
from schemas.reasons import Code
from tests.canaries import MARK
from tests.desks import FakeDesk
from tests.outline import Outline
from tests.report_world import (
    BEFORE,
    HOURS,
    LATE,
    MONDAY,
    REASON,
    SMALL_METRIC,
    numbers,
    report_desk,
)
from tests.steward_world import PSEUDONYM, TODAY, VALUE, K

FEW = said(K)


@pytest.fixture(scope="module")
def world() -> FakeDesk:
    return report_desk()


@pytest.fixture(scope="module")
def report(world: FakeDesk) -> Report:
    return report_of(world, "sleep", TODAY)


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return page(report)


@pytest.fixture(scope="module")
def told(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(as_json(report)))
    return found


def check(told: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in told["checks"] if one["check"] == name)
    return found


def exactly(value: float) -> dict[str, Any]:
    return {"value": pytest.approx(value), "bound": None}


# -- the numbers are the planted ones


def test_every_check_has_its_state_counts_and_thresholds(told: dict[str, Any]) -> None:
    assert {one["check"] for one in told["checks"]} == set(checks())
    possible = check(told, "PL-00")
    assert (possible["state"], possible["judged"], possible["failed"]) == ("warning", None, None)  # as PL-01's
    firmware = check(told, "CF-09")
    assert (firmware["warning"], firmware["alarm"], firmware["version"]) == (0.5, None, 101)
    everything = check(told, "TM-10")
    assert (everything["state"], everything["judged"], everything["failed"]) == ("passed", 18_900 + SMALL_METRIC, 0)
    assert check(told, "PL-03")["state"] == "withheld"
    assert check(told, "CF-11")["state"] == "not applicable" and check(told, "CF-11")["waits_for"]


def test_without_a_small_metric_no_count_of_rows_is_withheld() -> None:
    world = report_desk()
    tables = world.tables["sleep"]
    for name in ("check_count", "check_result", "day_summary"):
        rows = [row for row in tables[name].to_pylist() if row["metric"] != "skin_temperature"]
        tables[name] = tables[name].slice(0, 0).from_pylist(rows, schema=tables[name].schema)
    told = as_json(report_of(world, "sleep", TODAY))
    implausible = check(told, "PL-01")
    assert (implausible["state"], implausible["judged"], implausible["failed"]) == ("alarm", 18_900, 240)
    assert implausible["fails"] == exactly(240 / 18_900)
    few = check(told, "PL-00")  # two rows fail
    assert (few["judged"], few["failed"], few["fails"]["bound"]) == (None, None, "at most")


def test_the_matrix_adds_up_to_the_catalogue(told: dict[str, Any], report: Report) -> None:
    cells = told["overview"]["matrix"]
    states = [one.state for one in report.checks]
    assert sum(cell["violated"] for cell in cells) == sum(state.is_violated for state in states)
    assert sum(cell["withheld"] for cell in cells) == states.count(State.WITHHELD) == 1
    assert sum(cell["judged"] + cell["withheld"] + cell["not_applicable"] for cell in cells) == len(checks())
    assert told["overview"]["violated"]["critical"] == 1


def test_a_trend_has_ninety_days_that_end_with_the_report_s(told: dict[str, Any]) -> None:
    trend = check(told, "PL-01")["trend"]
    assert len(trend) == TREND_DAYS and list(trend)[-1] == TODAY.isoformat()
    assert trend[(TODAY - timedelta(days=TREND_DAYS - 1)).isoformat()] is None
    assert trend[TODAY.isoformat()] == exactly(0.013)
    assert check(told, "CF-11")["trend"] == {}


def test_a_trend_of_weeks_has_their_mondays(told: dict[str, Any]) -> None:
    trend = check(told, "WT-02")["trend"]
    assert list(trend)[-2:] == [(MONDAY - timedelta(days=7)).isoformat(), MONDAY.isoformat()] and len(trend) == 12
    assert trend[MONDAY.isoformat()] == exactly(0.1)


def test_coverage_wear_latency_kits_and_outcomes(told: dict[str, Any]) -> None:
    coverage = told["coverage"]
    assert coverage["days"][-1] == TODAY.isoformat() and coverage["enrolled_at_least"] == 200
    assert coverage["any_data"][-1] == exactly(0.9) == coverage["metrics"]["heart_rate"][-1]
    assert coverage["metrics"]["skin_temperature"][-1] is None
    assert coverage["readings_a_participant"] == {"heart_rate": 100}
    wear = told["wear"]
    assert (wear["worn_enough"], wear["median_hours"]) == (exactly(0.65), 14)
    assert (wear["monday"], wear["enough_days"], wear["median_days"]) == (MONDAY.isoformat(), exactly(0.9), 6)
    late = told["latency"]
    assert [row["device_model"] for row in late].count("ring") == 0 and len(late) == 4
    watch = next(row for row in late if row["firmware"] == "1.2.3")
    assert (watch["hours"], watch["late"]) == (30, exactly(0.3))
    (week,) = told["kits"]
    assert (week["monday"], week["due"], week["arrived"]) == (MONDAY.isoformat(), 40, 30)
    assert (week["returned"], week["suitable"]) == (
        {"value": 0.8, "bound": None},
        {"value": 0.6, "bound": "at least"},
    )
    assert week["rejected"] == {"haemolysed": {"value": 0.4, "bound": "at most"}}
    assert {row["outcome"]: row["n"] for row in told["came_in"]} == {
        "landed": 18_000,
        "withheld": 700,
        "duplicate": 500,
    }


def test_what_waits_and_what_was_decided(told: dict[str, Any], html: str) -> None:
    waiting = told["waiting"]
    assert waiting["earlier"] is True and waiting["any_withheld"] is True
    assert [row["device_model"] for row in waiting["groups"]] == ["watch"] and waiting["groups"][0]["n"] == 20, "of 21"
    assert FEW in html
    kinds = [(row["kind"], row["by"], row["second"], row["check"]) for row in told["decisions"]]
    assert kinds == [
        ("propose", "bob", None, "CF-09"),
        ("approve", "cyd", "bob", "CF-09"),
        ("propose", "bob", None, "PL-00"),
        ("sign-off", "cyd", None, None),
        ("release", "bob", None, "PL-00"),
    ]
    assert told["decisions"][1]["warning"] == 0.5 and told["signed_off_by"] == "cyd"


def test_the_week_of_a_report_is_the_last_that_is_over() -> None:
    assert [last_monday(MONDAY + timedelta(days=more)) for more in (-1, 0, 5, 6)] == [
        *[MONDAY - timedelta(days=7)] * 3,
        MONDAY,
    ]


@pytest.mark.parametrize(("study", "day"), [("cycle", TODAY), ("sleep", date(2020, 1, 1))])
def test_a_day_of_which_nothing_is_known_is_no_error(world: FakeDesk, study: str, day: date) -> None:
    found = report_of(world, study, day)
    assert found.is_empty and "Nothing is known of this day" in page(found)
    assert as_json(found)["nothing_known"] is True


def test_every_code_of_consent_that_a_study_counts_has_words() -> None:
    assert set(Code) - {Code.OK, Code.NOT_CONSIDERED} == set(MEANINGS)


# -- nobody is in it


def test_no_pseudonym_value_reason_or_number_of_a_row(html: str, told: dict[str, Any]) -> None:
    for text in (html, json.dumps(told)):
        assert PSEUDONYM not in text and MARK not in text.lower()
        assert str(VALUE)[:6] not in text and REASON not in text and "0" * 16 not in text


def test_of_few_who_fail_it_is_not_said_how_many(told: dict[str, Any]) -> None:
    silent = check(told, "WT-03")
    assert (silent["judged"], silent["failed"], silent["state"]) == (None, None, "passed")
    assert silent["fails"] == {"value": 0.05, "bound": "at most"} == silent["trend"][TODAY.isoformat()]


def test_what_sums_everybody_over_all_metrics_is_told_by_the_coverage_only(told: dict[str, Any]) -> None:
    everybody = check(told, "WT-04")
    assert (everybody["judged"], everybody["failed"], everybody["fails"], everybody["trend"]) == (None, None, None, {})
    assert everybody["state"] == "warning"


def test_a_median_is_not_one_person_s_value(told: dict[str, Any]) -> None:
    assert HOURS not in set(numbers(told))


def test_a_small_group_is_no_difference_of_two_numbers_of_a_report(told: dict[str, Any]) -> None:
    found = set(numbers(told))
    assert SMALL_METRIC not in found | {abs(a - b) for a, b in combinations(found, 2)}


@pytest.fixture(scope="module")
def before(world: FakeDesk) -> dict[str, Any]:
    """What was told of the day before, before two people's readings of it came."""
    return as_json(report_of(world, "sleep", BEFORE))


def test_a_report_and_the_next_day_s_do_not_give_away_who_came_late(
    before: dict[str, Any], told: dict[str, Any]
) -> None:
    """No later report has a count of that day, nor a share fine enough to see them."""
    after: dict[str, Any] = json.loads(json.dumps(as_json(report_of(report_desk(late=True), "sleep", TODAY))))
    assert after == told
    differences = {abs(a - b) for a in set(numbers(before)) for b in set(numbers(after))}
    assert not differences & {LATE, SMALL_METRIC}
    assert before["waiting"]["groups"][0]["n"] == 40, "of 42, five people's to a step"
    assert check(before, "TM-10")["judged"] == 20_000, "of 26,819, of which one person has 2,640"


def test_a_week_is_told_alike_in_seven_reports_and_without_counts(world: FakeDesk, told: dict[str, Any]) -> None:
    later = as_json(report_of(world, "sleep", TODAY + timedelta(days=3)))
    for name in ("WT-02", "LK-13"):
        week, again = check(told, name), check(later, name)
        assert week["of"] == MONDAY.isoformat() and week["judged"] is None and week["failed"] is None
        assert {**week, "trend": 0} == {**again, "trend": 0}
    assert told["kits"] == later["kits"]


# -- the file


def test_the_file_asks_nobody_for_anything_and_runs_nothing(html: str) -> None:
    outline = Outline(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in outline.tags}
    assert not {name for _, given in outline.tags for name in given if name.startswith("on") or name in ("src", "href")}
    assert set(re.findall(r"https?://[^\"' <]+", html)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in html and "url(" not in html


def test_its_structure_can_be_read_aloud(html: str) -> None:
    outline = Outline(html)
    tags = [tag for tag, _ in outline.tags]
    assert outline.count("h1") == 1 and tags.index("h1") < tags.index("h2") and outline.count("h3") == 0
    assert outline.count("caption") == outline.count("table") == outline.count("thead")
    assert all(tags[place + 1] == "caption" for place, tag in enumerate(tags) if tag == "table")
    ids = [given["id"] for _, given in outline.tags if "id" in given]
    assert len(ids) == len(set(ids))
    pictures = [given for tag, given in outline.tags if tag == "svg"]
    assert len(pictures) > 5
    for given in pictures:
        assert given["role"] == "img" and set((given["aria-labelledby"] or "").split()) <= set(ids)
    named = [given["aria-labelledby"] for tag, given in outline.tags if tag == "section"]
    assert named and set(named) <= set(ids)
    assert all("scope" in given for tag, given in outline.tags if tag == "th")
    assert outline.count("details") >= len(pictures)


def test_the_page_says_what_the_numbers_say(html: str, told: dict[str, Any]) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "Signed off by cyd." in text and "Participants with a live consent: at least 200." in text
    assert re.search(r"TM-10 Readings come in order passed info report 0 26\s819 0 % 0 %", text)
    assert "at least 60 %" in text and "haemolysed: at most 40 %" in text
    assert FEW in text


def test_names_are_escaped(report: Report) -> None:
    (first, *_) = report.latency
    html = page(replace(report, latency=[replace(first, device_model="<b>model")]))
    assert "<b>model" not in html and "&lt;b&gt;model" in html


def test_it_is_left_in_a_folder_by_study_and_day_and_nothing_beside_it(
    world: FakeDesk, html: str, tmp_path: Path
) -> None:
    path = write_report(world, "sleep", TODAY, tmp_path / "reports")
    assert path == tmp_path / "reports" / f"sleep-{TODAY}.html"
    assert path.read_text(encoding="utf-8") == html
    write_whole(path, "anew")
    assert path.read_text(encoding="utf-8") == "anew" and list(path.parent.iterdir()) == [path]
