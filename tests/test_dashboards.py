"""What is shipped for Prometheus and Grafana: every expression is PromQL over figures and labels that there are, and each
alert says what to do."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import yaml

from pipelines.metrics import METRICS
from quality.checks import Severity
from schemas.reasons import Outcome
from tests.documents import OPERATORS, ROOT, table
from tests.promql import grouped_by, selectors

RULES = ROOT / "infra" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "infra" / "grafana" / "wellspring.json"
VALUES = {
    "outcome": {"decoded", "rejected", "held", "claimed", "skipped", *map(str, Outcome)},
    "severity": set(map(str, Severity)),
    "result": {"told", "failed"},
}
_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


class Expression(NamedTuple):
    """Where it stands, what it says, and the labels that the words beside it name."""

    where: str
    text: str
    named: frozenset[str]


@cache
def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@cache
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[Expression]:
    """All that Prometheus is asked."""
    for rule in rules():
        words = " ".join(rule["annotations"].values())
        yield Expression(rule["alert"], rule["expr"], frozenset(re.findall(r"\$labels\.(\w+)", words)))
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "5m").replace("$study", ".*")
            yield Expression(panel["title"], text, frozenset(re.findall(r"{{(\w+)}}", target["legendFormat"])))
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            yield Expression(f"variable {variable['name']}", name, frozenset([label]))


EXPRESSIONS = list(expressions())


def labels_of(name: str) -> set[str]:
    """The labels of a series of ours; KeyError where there is none of that name."""
    listed = {metric.name: metric for metric in METRICS}
    base = next((name.removesuffix(end) for end in _OF_A_HISTOGRAM if name.endswith(end)), name)
    if base != name and listed[base].kind == "histogram":
        return {*listed[base].labels, *(["le"] if name.endswith("_bucket") else [])}
    if listed[name].kind == "histogram":
        raise KeyError(name)
    return set(listed[name].labels)


@pytest.mark.parametrize("one", EXPRESSIONS, ids=lambda one: one.where)
def test_every_expression_asks_for_what_is_shown(one: Expression) -> None:
    asked = selectors(one.text)
    assert asked
    there: set[str] = set()
    for series in asked:
        labels = labels_of(series.name)
        there |= labels
        assert series.labels <= labels
        assert all(value in VALUES[label] for label, value in series.equals.items())
    assert grouped_by(one.text) <= there and one.named <= there
    if by := grouped_by(one.text):
        assert one.named <= by  # what it sums over cannot be named


def test_a_word_that_is_no_promql_or_no_figure_of_ours_is_noticed() -> None:
    for wrong in ("rate(wellspring_lag_records)", "sum by topic (wellspring_lag_records)", "wellspring_lag_records >"):
        with pytest.raises(ValueError, match=r".+"):
            selectors(wrong)
    for name in ("wellspring_cycle_seconds", "wellspring_lag_records_bucket", "wellspring_lag"):
        with pytest.raises(KeyError):
            labels_of(name)
    assert labels_of("wellspring_cycle_seconds_bucket") == {"le"}
    assert selectors('a{b="1"} + on (c) d')[0] == ("a", {"b": "1"}, frozenset({"b"}))


def test_every_figure_is_on_the_dashboard() -> None:
    shown = {series.name for panel in EXPRESSIONS for series in selectors(panel.text)}
    whole = {
        name for shown_name in shown for name in (shown_name, *(shown_name.removesuffix(e) for e in _OF_A_HISTOGRAM))
    }
    assert [metric.name for metric in METRICS if metric.name not in whole] == []


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket") and re.fullmatch(r"\d+[mhd]", rule["for"])
        assert set(rule["annotations"]) == {"summary", "description"} and rule["annotations"]["description"].endswith(
            "."
        )
        assert re.search(r"[<>=]|^absent", rule["expr"]), "it compares with something"


def test_the_operators_page_has_every_alert_in_its_order() -> None:
    told = [name.strip("`") for name, *_ in table(OPERATORS, "alert-rules")]
    assert told == [rule["alert"] for rule in rules()]


def test_the_dashboard_stands_by_itself() -> None:
    found = dashboard()
    assert found["uid"] == "wellspring" and found["schemaVersion"] >= 36 and "id" not in found
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"] and panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"]
        assert {part["datasource"]["uid"] for part in (panel, *panel["targets"])} == {"${datasource}"}


def test_no_panel_lies_upon_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
