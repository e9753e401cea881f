"""The alert rules, tried by Prometheus' own promtool where it is installed: what fires over time, and what keeps quiet."""

import shutil
import subprocess

import pytest
import yaml

from tests.documents import ROOT
from tests.test_dashboards import RULES, rules

TRIED = ROOT / "tests" / "alert_rules.yaml"


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: it comes with Prometheus (on Debian: apt-get install prometheus)")
    return found


def test_prometheus_takes_them(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_fires_when_it_should(promtool: str) -> None:
    done = subprocess.run([promtool, "test", "rules", TRIED], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_is_tried_both_ways() -> None:
    tried = yaml.safe_load(TRIED.read_text(encoding="utf-8"))["tests"]
    quiet = {one["alertname"] for test in tried for one in test.get("alert_rule_test", ())}
    fires = str([one for test in tried for one in test.get("promql_expr_test", ())])
    assert quiet == {rule["alert"] for rule in rules()}
    assert [name for name in quiet if name not in fires] == []
