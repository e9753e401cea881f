"""The desk's pages: what they show of a study, what they withhold, and what every response says to the browser."""

import csv
import hashlib
import io
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import quality.web
from quality.checks import checks
from quality.desk import Stratum
from quality.web.headers import POLICY
from quality.web.routes import ROUTES
from quality.web.strata import _told
from schemas.families import FAMILIES
from tests.canaries import MARK
from tests.desks import ENROLLED, FakeDesk
from tests.outline import Outline
from tests.report_world import MONDAY, report_desk
from tests.steward_world import PSEUDONYM, TODAY, VALUE, desk, moment
from tests.stewards import Browser, app_over, as_

STATIC = Path(quality.web.__file__).parent / "static"
TEMPLATES = STATIC.parent / "templates"
HTMX = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
PAGES = [
    "/",
    "/studies/sleep",
    "/studies/sleep/coverage",
    "/studies/sleep/checks/PL-01",
    "/studies/sleep/waiting",
    "/studies/sleep/waiting?check=PL-01",
    f"/studies/sleep/rows?check=PL-01&day={TODAY}",
    "/studies/sleep/participants",
    "/studies/sleep/proposals",
    f"/studies/sleep/proposals/{3:032x}",
    "/studies/sleep/decisions",
    "/studies/sleep/audit",
    "/studies/cycle",
]


@pytest.fixture(scope="module")
def world() -> FakeDesk:
    return desk(days=40, signed=[TODAY])


@pytest.fixture(scope="module")
def cyd(world: FakeDesk) -> Browser:
    return as_(app_over(world), "cyd")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_landmarks_headings_labels_and_captions(cyd: Browser, path: str) -> None:
    response = cyd.get(path)
    if path.endswith("cycle"):
        assert response.status_code == 404
    outline = Outline(response.text)
    assert [len(outline.all(tag)) for tag in ("main", "h1", "title", "header")] >= [1, 1, 1, 1]
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all("scope" in attributes for attributes in outline.all("th"))
    labelled = {attributes.get("for") for attributes in outline.all("label")}
    for tag in ("input", "textarea", "select"):
        for field in outline.all(tag):
            assert field.get("type") == "hidden" or field.get("id") in labelled or field.get("aria-label"), field
    ids = [attributes["id"] for _, attributes in outline.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    forms = [form for form in outline.all("form") if form.get("method") == "post"]
    assert response.text.count('name="token"') == len(forms)


@pytest.mark.parametrize("path", [*PAGES, "/nowhere", "/static/desk.css", "/sign-in"])
def test_every_response_forbids_what_the_desk_does_not_need(cyd: Browser, path: str) -> None:
    response = cyd.get(path)
    assert response.headers["content-security-policy"] == POLICY
    assert "default-src 'self'" in POLICY and "frame-ancestors 'none'" in POLICY and "unsafe" not in POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == ("max-age=3600" if "static" in path else "no-store")
    assert not re.search(r"<script>|<style|\sstyle=|\son[a-z]+=|https?://(?!www\.w3\.org/2000/svg)", response.text)


def test_with_https_it_stays_with_https() -> None:
    browser = Browser(app_over(desk(1), url="https://quality.example.org"), "https://quality.example.org")
    assert "max-age" in browser.get("/sign-in").headers["strict-transport-security"]


def test_the_first_page_says_how_each_study_stands(cyd: Browser) -> None:
    text = cyd.get("/").text
    assert "Sleep and shift work" in text and str(TODAY) in text and "90 %" in text
    assert "Rows wait for a decision" in text and 'class="sparkline"' in text


def test_a_study_shows_the_matrix_and_every_check(cyd: Browser) -> None:
    text = cyd.get("/studies/sleep").text
    assert all(f">{name}</a>" in text for name in checks())
    assert "plausibility: atemporal" in text and "not applicable" in text
    assert "state alarm" in text and "240" in text and "18\N{NARROW NO-BREAK SPACE}900" in text
    assert "R_NOT_MEMBER" in text and "Signed off by cyd" in text and "those of the sign-off" in text
    before = cyd.get(f"/studies/sleep?day={TODAY - timedelta(days=1)}").text
    assert "state alarm" not in before.split("outcomes")[0] or before.count("state alarm") < text.count("state alarm")
    assert "Sign off this day" in before and "Until a steward signs the day off" in before


@pytest.mark.parametrize("day", ["x", "2026-02-30", "0001-01-01", "9999-12-31"])
@pytest.mark.parametrize("path", ["", "/coverage", "/checks/PL-01", "/participants", "/export/checks.csv"])
def test_what_is_no_day_is_said(cyd: Browser, path: str, day: str) -> None:
    assert cyd.get(f"/studies/sleep{path}?day={day}").status_code == 422


def test_a_check_shows_its_trend_and_strata_and_withholds_the_small_one(cyd: Browser) -> None:
    text = cyd.get("/studies/sleep/checks/PL-01").text
    assert 'class="trend"' in text and text.count('<tr><th scope="row"><a href="/studies/sleep/checks/PL-01?day=') == 90
    assert "fewer than 10 people: nothing is published for this group" in text
    table = text.split("By device model")[1].split("</table>")[0]
    ring = table.split(">ring<")[1].split("</tr>")[0]
    assert "withheld" in ring and "%" not in ring


def test_an_unknown_check_is_said(cyd: Browser) -> None:
    assert cyd.get("/studies/sleep/checks/XX-01").status_code == 404
    assert cyd.get("/studies/sleep/export/strata.csv?check=XX-01").status_code == 404
    assert cyd.get("/studies/sleep/export/anything.csv").status_code == 404


def test_rows_that_wait_are_counted_by_stratum_and_few_people_s_are_not(cyd: Browser) -> None:
    text = cyd.get("/studies/sleep/waiting").text
    assert ">ring<" in text and text.count("withheld") >= 2 and PSEUDONYM not in text
    assert "No such rows" not in text


def test_the_order_of_what_waits_says_nothing_of_what_is_withheld() -> None:
    day = {"family": "observation", "metric": "heart_rate", "partner": "acme", "firmware": None, "day": TODAY}
    models = {"a": (50, 3), "b": (40, 90), "c": (30, 2), "d": (20, 90), "e": (10, 15)}
    rows = [
        {**day, "device_model": name, "n": n, "people": people, "most_of_one": 1}
        for name, (n, people) in models.items()
    ]
    told = [(one.stratum.device_model, one.n) for one in _told(rows, Stratum(), 10)]
    assert told == [("b", 40), ("d", 20), ("a", None), ("c", None), ("e", None)]


def test_a_check_of_weeks_is_told_of_once_its_week_is_over() -> None:
    browser = as_(app_over(report_desk()), "cyd")
    assert f"week of {MONDAY}" in browser.get(f"/studies/sleep?day={TODAY}").text
    text = browser.get(f"/studies/sleep/checks/WT-02?day={TODAY}").text
    assert f"in the week of {MONDAY}" in text and f'?day={TODAY}">{MONDAY}</a></th><td class="n">10 %</td>' in text
    begun = browser.get(f"/studies/sleep/checks/WT-02?day={TODAY - timedelta(days=1)}").text
    assert f">{MONDAY}</a>" not in begun and ">10 %<" not in begun


def test_what_sums_everybody_over_all_metrics_is_told_by_the_coverage_only() -> None:
    browser = as_(app_over(report_desk()), "cyd")
    text = browser.get(f"/studies/sleep/checks/WT-04?day={TODAY}").text
    assert "state warning" in text and "Its numbers are those of the" in text and "<table" not in text
    rows = json.loads(browser.get(f"/studies/sleep/export/checks.json?day={TODAY}").text)["rows"]
    everybody = next(row for row in rows if row["check"] == "WT-04")
    assert [everybody[name] for name in ("judged", "failed", "share", "not_applicable")] == [None] * 4


def test_a_viewer_cannot_subtract_one_part_from_another(world: FakeDesk) -> None:
    """Of 21 rows of one stratum, told as 20, 11 failed one check: the rest of them may be a few people's."""
    tables = world.tables["sleep"]
    large = tables["quarantine"].filter(pc.equal(tables["quarantine"].column("device_model"), "watch"))
    app = app_over(FakeDesk(world.facts, {"sleep": {**tables, "quarantine": large}}))
    numbers = {
        name: [
            re.findall(r'<td class="n">(.*?)</td>', as_(app, name).get(f"/studies/sleep/waiting{part}").text)
            for part in ("", "?check=PL-01")
        ]
        for name in ("vic", "ada")
    }
    assert numbers["vic"][0] == numbers["ada"][0] == ["20"] and numbers["ada"][1] == ["10"]
    assert len(numbers["vic"][1]) == 1 and "withheld" in numbers["vic"][1][0]


def test_participants_are_listed_day_by_day_once_it_is_written_down(world: FakeDesk) -> None:
    begin = moment(TODAY - timedelta(days=1))
    people = [{"pseudonym": f"{PSEUDONYM}{i}", "since": begin, "until": None} for i in range(3)]
    rows = [
        {"pseudonym": f"{PSEUDONYM}1", "start": begin + timedelta(hours=hours), "metric": "heart_rate"}
        for hours in (1, 2, 30)
    ]
    tables = {
        "enrolled": pa.Table.from_pylist(people, schema=ENROLLED),
        "observation": pa.Table.from_pylist(rows, schema=FAMILIES["observation"].schema),
    }
    made = FakeDesk(world.facts, {"sleep": tables})
    text = as_(app_over(made), "ada").get(f"/studies/sleep/participants?day={TODAY}").text
    lines = dict(re.findall(rf'<tr><th scope="row">({PSEUDONYM}\d)</th>(.*?)</tr>', text))
    assert list(lines) == [f"{PSEUDONYM}{i}" for i in range(3)]
    assert re.findall(r">(\d+)<", lines[f"{PSEUDONYM}1"])[-2:] == ["2", "1"] and text.count('class="cell') == 84
    assert re.findall(r">(\d+)<", lines[f"{PSEUDONYM}0"]) == ["0"] * 28
    assert made.seen[0].what == "participants" and made.seen[0].about["day"] == TODAY.isoformat()


def test_rows_are_shown_once_it_is_written_down(world: FakeDesk, cyd: Browser) -> None:
    before = len(world.seen)
    text = cyd.get(f"/studies/sleep/rows?check=PL-01&day={TODAY}").text
    noted = world.seen[before]
    assert (noted.by, noted.study, noted.what) == ("cyd", "sleep", "rows")
    assert noted.about == {"check": "PL-01", "day": TODAY.isoformat(), "offset": 0}
    assert PSEUDONYM in text and str(VALUE + 1) in text and "12 rows" in text


def test_nothing_is_shown_that_could_not_be_written_down() -> None:
    class Full(FakeDesk):
        def audit(self, seen: Any) -> None:
            raise OSError(f"no space for {PSEUDONYM}")

    made = desk(days=1)
    browser = as_(app_over(Full(made.facts, made.tables)), "cyd")
    for path in ("rows?check=PL-01", "participants", "export/checks.csv"):
        response = browser.get(f"/studies/sleep/{path}")
        assert response.status_code == 500 and PSEUDONYM not in response.text


@pytest.mark.parametrize(
    "query",
    ["", "?check=XX-99", "?row=1", "?day=x", "?metric=" + "x" * 300, "?check=PL-01&offset=-1", "?check=PL-01&offset=x"],
)
def test_rows_that_cannot_be_chosen_are_said_and_not_repeated(cyd: Browser, query: str) -> None:
    response = cyd.get(f"/studies/sleep/rows{query}")
    assert response.status_code == 422 and "xxxx" not in response.text and "XX-99" not in response.text


def test_text_from_outside_is_text(cyd: Browser) -> None:
    assert "<b>bold" not in cyd.get("/studies/sleep/waiting?metric=<b>bold</b>").text
    assert "&lt;b&gt;bold" in cyd.get("/studies/sleep/waiting?metric=<b>bold</b>").text


def test_a_page_that_fails_says_and_logs_nothing_of_why(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeDesk):
        def query(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError(f"value {VALUE} of {MARK}")

    made = desk(days=1)
    browser = Browser(app_over(Broken(made.facts, made.tables)))
    browser.sign_in("cyd")
    response = browser.get("/studies/sleep")
    assert response.status_code == 500 and MARK not in response.text and str(VALUE) not in response.text


@pytest.mark.parametrize("name", ["checks", "trend", "strata", "coverage", "outcomes", "decisions"])
def test_an_export_says_what_the_page_says(world: FakeDesk, cyd: Browser, name: str) -> None:
    query = f"?check=PL-01&day={TODAY}"
    said = cyd.get(f"/studies/sleep/export/{name}.json{query}")
    rows = json.loads(said.text)["rows"]
    text = cyd.get(f"/studies/sleep/export/{name}.csv{query}")
    assert text.headers["content-type"].startswith("text/csv") and "attachment" in text.headers["content-disposition"]
    assert len(list(csv.DictReader(io.StringIO(text.text)))) == len(rows) > 0
    assert world.seen[-1].what == "export" and PSEUDONYM not in said.text + text.text


def test_an_export_withholds_what_the_page_withholds(cyd: Browser) -> None:
    rows = json.loads(cyd.get(f"/studies/sleep/export/strata.json?check=PL-01&day={TODAY}").text)["rows"]
    ring = next(row for row in rows if row["by"] == "device_model" and row["stratum"] == "ring")
    assert ring["share"] is None and ring["bound"] is None
    assert {row["share"] for row in rows if row["by"] == "device_model"} == {0.024, 0.0, None}
    assert not {"judged", "failed", "not_applicable"} & set(ring)


def test_a_spreadsheet_runs_nothing_of_an_export(world: FakeDesk) -> None:
    from quality.web.exports import _csv

    assert _csv([{"reason": "=1+1", "n": -3}]).splitlines()[1] == "'=1+1,-3"


def test_what_is_vendored_is_what_was_published() -> None:
    assert hashlib.sha256((STATIC / "htmx-4.0.1.min.js").read_bytes()).hexdigest() == HTMX
    assert "Zero-Clause BSD" in (STATIC / "htmx-LICENSE.txt").read_text(encoding="utf-8")
    assert "htmx-4.0.1.min.js" in (TEMPLATES / "base.html").read_text(encoding="utf-8")


def test_every_template_is_used_and_every_route_is_a_page_s() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in STATIC.parent.rglob("*") if path.suffix in (".py", ".html")
    )
    for template in TEMPLATES.iterdir():
        assert f'"{template.name}"' in source, template.name
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
