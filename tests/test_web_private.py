"""Nobody is in the desk's numbers: all that a viewer finds on all pages and in all exports, added and subtracted.

The small groups of this study are of millions, and so is its smallest cell: their numbers are not met by chance.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from quality.desk import StudyFacts
from quality.report.numbers import as_json, report_of
from quality.web.exports import TABLES
from quality.web.routes import ROUTES
from tests.desks import OUTCOME, FakeDesk
from tests.report_world import MONDAY, numbers
from tests.steward_world import FOUND_IN, TODAY, _found, _signed_off, _table, moment
from tests.stewards import app_over, as_

Numbers = npt.NDArray[np.float64]
K = 10_000_000
ENROLLED = 1_987_654_321
WITH_HEART_RATE = 1_613_497_203
STRATA = {
    ("acme", "heart_rate", "watch", "1"): (611_953_007, 40_015_992_511),
    ("acme", "heart_rate", "watch", "2"): (415_926_535, 28_979_323_846),
    ("acme", "heart_rate", "ring", "1"): (7_368_787, 626_433_833),
    ("beat", "heart_rate", "band", None): (585_617_893, 35_028_841_971),
    ("beat", "skin_temperature", "band", None): (3_145_739, 169_399_375),
}
"""People and rows of each."""
ALL_ROWS = sum(rows for _, rows in STRATA.values())
SECRETS = {
    "people of the ring": 7_368_787,
    "rows of the ring": 626_433_833,
    "rows of the ring that failed": 27_182_819,
    "people of the small metric": 3_145_739,
    "rows of the small metric": 169_399_375,
    "people who have the small metric alone": 1_299_709,
    "rows to which a check does not apply": 8_128_011,
    "people who sent nothing": 5_772_157,
    "people who wore nothing": 6_180_339,
    "people whose days were late": 4_669_201,
    "people whose week was bad": 2_685_453,
    "readings of a rare outcome": 9_869_604,
}
JUDGED = ("PL-01", "PL-03", "TM-10", "WT-02", "WT-03", "WT-04", "TM-09")


@pytest.fixture(scope="module")
def world() -> FakeDesk:
    days = [TODAY - timedelta(days=back) for back in range(8)]
    outcomes = [
        {"day": TODAY, "outcome": outcome, "reason": reason, "n": n, "people": people}
        for outcome, reason, n, people in (
            ("landed", "", 98_696_044_011, 1_500_000_001),
            ("withheld", "R_ERASED", SECRETS["readings of a rare outcome"], 1_000_003),
            ("withheld", "R_NOT_MEMBER", 83_610_277_407, 700_000_001),
            ("duplicate", "", 17_320_508_075, 600_000_001),
        )
    ]
    tables = {
        "check_count": _table("check_count", (row for day in days for row in _gate(day))),
        "check_result": _table("check_result", (row for day in days for row in chain(_job(day), _found_by_gate(day)))),
        "decision": _table("decision", _signed_off(days[:2])),
        "day_summary": _table("day_summary", (row for day in days for row in _summary(day))),
        "outcome": pa.Table.from_pylist(outcomes, schema=OUTCOME),
    }
    return FakeDesk({"sleep": StudyFacts("sleep", "Sleep", K)}, {"sleep": tables})


def _source(key: tuple[str, str, str, str | None]) -> dict[str, Any]:
    names = ("partner", "metric", "device_model", "firmware")
    return {"family": "observation", **dict(zip(names, key, strict=True))}


def _gate(day: date) -> Iterator[dict[str, Any]]:
    """A check of all, one of the large metric, one of the small one, and one that does not apply to some rows."""
    for key, (people, rows) in STRATA.items():
        base = {**_source(key), "start": moment(day), "version": 1, "n_eval": rows, "n_fail": 0, "n_na": 0}
        yield {**base, "check": "TM-10", "n_fail": rows // 1_013}
        if key[1] == "skin_temperature":
            yield {**base, "check": "PL-03", "n_fail": 1}
            continue
        failed = SECRETS["rows of the ring that failed"] if people < K else rows // 97
        yield {**base, "check": "PL-01", "n_fail": failed}
        rest = SECRETS["rows to which a check does not apply"] if key[2] == "band" else 0
        yield {**base, "check": "TM-01", "n_eval": rows - rest, "n_na": rest}


def _found_by_gate(day: date) -> Iterator[dict[str, Any]]:
    """What the job found of the gate's counts."""
    people = {key[1:]: people for key, (people, _) in STRATA.items()}
    yield from _found(_gate(day), people, WITH_HEART_RATE + SECRETS["people who have the small metric alone"])


def _job(day: date) -> Iterator[dict[str, Any]]:
    for row in _of_people(day):
        failing, passing = row["n_fail"], row["n_eval"] - row["n_fail"]
        behind = {"people_failing": failing, "people_passing": passing, "most_of_one": 1}
        yield {**row, "entry": FOUND_IN, **({} if row["check"] == "WT-04" else behind)}


def _of_people(day: date) -> Iterator[dict[str, Any]]:
    base = {"judge": "job", "version": 1, "start": moment(day), "n_na": 0, "people": ENROLLED, "n_eval": ENROLLED}
    worn = ENROLLED - SECRETS["people who wore nothing"]
    yield {**base, "check": "WT-01", "n_eval": worn, "people": worn, "n_fail": 500_000_003, "measure": 14.0}
    yield {**base, "check": "WT-03", "n_fail": SECRETS["people who sent nothing"]}
    for metric, people in _with_data():
        yield {**base, "check": "WT-04", "metric": metric, "n_fail": ENROLLED - people}
    for key, (people, _) in STRATA.items():
        late = SECRETS["people whose days were late"] if key[0] == "beat" else people // 5
        yield {
            **base,
            **_source(key),
            "check": "TM-09",
            "n_eval": people,
            "people": people,
            "n_fail": min(late, people),
        }
    if day == MONDAY:
        yield {**base, "check": "WT-02", "n_fail": SECRETS["people whose week was bad"]}


def _with_data() -> list[tuple[str | None, int]]:
    small = SECRETS["people of the small metric"]
    alone = SECRETS["people who have the small metric alone"]
    return [(None, WITH_HEART_RATE + alone), ("heart_rate", WITH_HEART_RATE), ("skin_temperature", small)]


def _summary(day: date) -> Iterator[dict[str, Any]]:
    base = {"family": "observation", "start": moment(day), "enrolled": ENROLLED}
    for key, (people, rows) in STRATA.items():
        yield {**base, **_source(key), "level": "stratum", "rows": rows, "people": people}
    for metric, people in _with_data():
        rows = sum(n for key, (_, n) in STRATA.items() if metric in (None, key[1]))
        level, most = ("metric", 200) if metric else ("study", None)
        yield {**base, "level": level, "metric": metric, "rows": rows, "people": people, "most_of_one": most}


# -- what is found


def addresses() -> Iterator[str]:
    """Every page and export that a viewer may see, those of a check for each that was judged; and the day before."""
    yield "/"
    study = "/studies/sleep"
    yield from (f"{study}{name}" for name in ("", "/coverage", "/waiting", "/proposals", "/decisions"))
    yield from (f"{study}/checks/{name}" for name in JUDGED)
    for table in TABLES:
        of = JUDGED if table in ("trend", "strata") else JUDGED[:1]
        yield from (f"{study}/export/{table}.json?day={TODAY}&check={check}" for check in of)
    before = TODAY - timedelta(days=1)
    yield from (f"{study}{name}?day={before}" for name in ("", "/coverage", "/export/checks.json"))


def written(html: str) -> Iterator[float]:
    """Every number that a page says, shares per cent as such."""
    text = re.sub(r"<[^>]+>", " ", html).replace("\N{NARROW NO-BREAK SPACE}", "").replace("\N{NO-BREAK SPACE}", " ")
    for number, per_cent in re.findall(r"(?<![\w.-])(\d+(?:\.\d+)?)( ?%)?", text):
        yield float(number) / (100 if per_cent else 1)


def crawl(world: FakeDesk, pages: Iterable[str], *days: date) -> Numbers:
    """All numbers that a viewer finds there, and in the reports of these days."""
    told = crawl_as(world, "vic", pages)
    for day in days:
        told |= set(numbers(json.loads(json.dumps(as_json(report_of(world, "sleep", day))))))
    return np.array(sorted(told))


def crawl_as(world: FakeDesk, name: str, pages: Iterable[str]) -> set[float]:
    """All numbers that somebody finds there."""
    browser, told = as_(app_over(world), name), set[float]()
    for address in pages:
        answer = browser.get(address)
        assert answer.status_code == 200, address
        told |= set(numbers(answer.json())) if "/export/" in address else set(written(answer.text))
    return told


def given_away(found: Numbers) -> set[str]:
    """Which secrets are a number, a share of a count, a difference of two of these, or one of a count and two others."""
    large, shares = found[found > K / 20], found[(found > 0) & (found < 1)]
    parts = np.unique(np.concatenate([found, *(shares * whole for whole in large), *(large / n for n in shares)]))
    sums = np.unique(np.add.outer(large, large))
    return {
        name
        for name, secret in SECRETS.items()
        if _any_among(np.array([float(secret)]), parts)
        or _any_among(parts + secret, parts)
        or _any_among(large + secret, sums)
        or _any_among(large - secret, sums)
    }


def _any_among(wanted: Numbers, known: Numbers) -> bool:
    """Whether any of these is known, to the half of one; `known` is sorted."""
    place = np.minimum(np.searchsorted(known, wanted - 0.5), len(known) - 1)
    return bool((np.abs(known[place] - wanted) <= 0.5).any())


def test_no_small_group_is_a_sum_or_difference_of_what_a_viewer_finds(world: FakeDesk) -> None:
    found = crawl(world, addresses(), TODAY, TODAY - timedelta(days=1))
    assert {ALL_ROWS, 98_696_044_011, 0.81} <= set(found), "the crawl has read the numbers"
    assert given_away(found) == set()


@pytest.mark.parametrize("page", ["", "/coverage", "/checks/TM-10", "/checks/WT-03", "/export/checks.json"])
def test_no_role_is_told_more(world: FakeDesk, page: str) -> None:
    viewer, approver = (crawl_as(world, name, [f"/studies/sleep{page}"]) for name in ("vic", "cyd"))
    assert viewer == approver


@pytest.mark.parametrize(
    ("rule", "instead", "secrets"),
    [
        (
            "check_numbers.telling_checks",
            lambda judged, k: frozenset(),
            {"rows of the small metric", "rows to which a check does not apply"},
        ),
        (
            "check_numbers._counts_people",
            lambda check, row: False,
            {"people who wore nothing"},
        ),
        ("coverage.coarse", lambda share, whole, k: share, {"people who have the small metric alone"}),
    ],
)
def test_without_a_rule_the_same_search_finds_what_it_keeps(
    world: FakeDesk, monkeypatch: pytest.MonkeyPatch, rule: str, instead: Any, secrets: set[str]
) -> None:
    monkeypatch.setattr(f"quality.{rule}", instead)
    pages = ("/studies/sleep", f"/studies/sleep/export/coverage.json?day={TODAY}")
    assert given_away(np.append(crawl(world, pages), ENROLLED)) >= secrets


def test_the_crawl_leaves_no_page_of_a_viewer_s_out() -> None:
    seen = {re.sub(r"/checks/[^/]+", "/checks/{check}", address.split("?")[0]) for address in addresses()}
    seen = {re.sub(r"/export/.+", "/export/{name}", path.replace("sleep", "{study}")) for path in seen}
    wanted = {route.path for route in ROUTES if route.method == "GET" and route.access in ("user", "view", "export")}
    assert {path for path in wanted if "requests" not in path} == seen, "a request's page has rows for stewards only"
