"""The catalogue of checks: complete, with bits that never move, few asleep, and nothing in it that is not one."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from quality.checks import ACTIONS, Action, CatalogueError, Check, Where, checks, parse, quarantine_mask
from quality.gate import BITS, QUARANTINES
from quality.gate_ranges import range_checks
from schemas.metrics import catalogue
from schemas.reasons import Code, Reason
from tests.sources import ROOT

NUMBERED = {"CF": 12, "UQ": 4, "TM": 10, "SQ": 5, "PL": 10, "WT": 4, "LK": 15, "QN": 4}
BESIDE = {"PL-00", "LK-16"}
"""Checks that stand beside the 64: what is impossible, and the study's own limit."""
FROZEN = {
    "PL-00": 0, "PL-01": 1, "PL-02": 2, "PL-03": 3, "PL-04": 4, "PL-05": 5, "PL-09": 6, "PL-06": 8,
    "UQ-02": 12, "UQ-04": 13, "TM-06": 16, "TM-10": 17, "TM-04": 18, "CF-09": 24,
    "LK-03": 32, "LK-05": 33, "LK-06": 34, "LK-04": 35, "LK-07": 36, "LK-08": 37, "LK-09": 38, "LK-10": 39,
    "LK-11": 40, "LK-16": 41,
}  # fmt: skip
"""Rows in lakes carry these: a line may come, none may change or go."""
FROZEN_MILD = {"TM-04": 19}
MAY_SLEEP = {"CF-11", "CF-12", "LK-12", "LK-15", "QN-01", "QN-02", "QN-03", "QN-04"}


def test_all_checks_are_there() -> None:
    wanted = {f"{kind}-{number:02d}" for kind, count in NUMBERED.items() for number in range(1, count + 1)}
    assert len(wanted) == 64
    assert set(checks()) == wanted | BESIDE


def test_bits_never_move() -> None:
    assert {check.id: check.bit for check in checks().values() if check.bit is not None} == FROZEN == BITS
    assert {check.id: check.mild_bit for check in checks().values() if check.mild_bit is not None} == FROZEN_MILD


def test_what_holds_a_row_back_follows_from_the_action() -> None:
    wanted = {"PL-00", "PL-06", "UQ-04", "TM-04", "LK-03", "LK-04", "LK-05", "LK-06", "LK-08", "LK-09", "LK-11"}
    assert quarantine_mask() == QUARANTINES == sum(1 << FROZEN[check] for check in wanted)


def test_few_checks_sleep_and_each_says_what_it_waits_for() -> None:
    asleep = {check.id for check in checks().values() if not check.is_active}
    assert asleep <= MAY_SLEEP
    assert not any(checks()[check].gx for check in asleep)


def test_at_least_thirty_are_judged_by_suites_too() -> None:
    in_suites = [check.id for check in checks().values() if check.gx]
    print(f"{len(in_suites)} of {len(checks())} checks are in suites")
    assert len(in_suites) >= 30


def test_every_number_of_a_rule_is_read() -> None:
    """A study may change each of them: one that nothing reads would be changed without a word, and without an effect."""
    read = "".join(path.read_text(encoding="utf-8") for room in ("quality", "pipelines") for path in sources(room))
    unread = [
        (check.id, name)
        for check in checks().values()
        for name in check.parameters
        if check.is_active and f'"{name}"' not in read and not any(name in need.split(" or ") for need in check.needs)
    ]
    assert unread == []


def sources(room: str) -> list[Path]:
    return [path for path in (ROOT / room).rglob("*.py") if "demo" not in path.parts]


def test_every_reason_of_rejection_is_counted_by_a_check() -> None:
    counted = {reason for check in checks().values() for reason in check.reasons}
    assert set(Reason) <= counted
    kept_apart = {Code.OK, Code.FUTURE, Code.NOT_CONSIDERED}
    assert set(Code) - kept_apart <= counted


def test_once_a_study_considers_it_nothing_is_rejected() -> None:
    in_a_study = (Where.GATE, Where.MESSAGE, Where.LANDING, Where.JOB)
    assert {check.action for check in checks().values() if check.where in in_a_study} == {
        *(Action.QUARANTINE, Action.FLAG, Action.DROP, Action.REPORT)
    }
    assert {where for where, actions in ACTIONS.items() if Action.REJECT in actions} == {Where.NORMALISE}


def test_the_metric_catalogue_names_only_checks_of_the_gate() -> None:
    assert {checks()[name].where for name in range_checks()} == {Where.GATE}
    ranged = [check for check in checks().values() if check.id in range_checks()]
    assert not any(check.parameters for check in ranged), "their numbers are the metric catalogue's"


def test_rules_name_the_numbers_that_there_are() -> None:
    for check in checks().values():
        named = set(re.findall(r"`(\w+)`", check.rule))
        assert named <= {*check.parameters, "factors", "transit_limit_days"}, check.id
        assert not re.search(r"\b\d+ ?(%|min|h|s)\b", check.rule), check.id


def test_numbers_by_metric_are_of_metrics_with_numbers() -> None:
    for check in checks().values():
        for name, value in check.parameters.items():
            if isinstance(value, dict):
                assert check.by_metric(name) == value
                assert all(catalogue().metrics[metric].value == "number" for metric in value), (check.id, name)
            elif isinstance(value, tuple):
                assert check.numbers(name) == value
            else:
                assert check.number(name) == value


GOOD = {
    "id": "LK-03", "title": "t", "rule": "r", "dimension": "completeness", "scope": "row", "severity": "info",
    "action": "flag", "where": "gate", "bit": 3, "source": "s", "gx": True,
}  # fmt: skip


def written(*rows: dict[str, Any]) -> str:
    return yaml.safe_dump({"checks": list(rows)})


def test_a_small_catalogue() -> None:
    (found,) = parse(written(GOOD)).values()
    assert (found.id, found.mask, found.is_active, found.is_counted, found.version) == ("LK-03", 8, True, True, 1)
    mild = Check.model_validate({**GOOD, "mild_bit": 4, "needs": ["collected", "lot_expires or arrived"]})
    assert mild.mask == 24 and mild.alternatives == (("collected",), ("lot_expires", "arrived"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([GOOD, GOOD], "given twice"),
        ([GOOD, {**GOOD, "id": "LK-04"}], "given twice"),
        ([GOOD, {**GOOD, "id": "LK-04", "bit": 4, "mild_bit": 3}], "given twice"),
        ([{**GOOD, "id": "XX-03"}], "id"),
        ([{**GOOD, "bit": 63}], "bit"),
        ([{**GOOD, "bit": None}], "needs a bit"),
        ([{**GOOD, "action": "reject"}], "what follows"),
        ([{**GOOD, "where": "normalise", "action": "reject"}], "reasons"),
        ([{**GOOD, "where": "normalise", "action": "reject", "reasons": ["H_KIT"]}], "reasons"),
        ([{**GOOD, "where": "landing", "reasons": ["duplicate"]}], "a bit or an outcome"),
        ([{**GOOD, "gx": False}], "no_gx"),
        ([{**GOOD, "no_gx": "because"}], "no_gx"),
        ([{**GOOD, "families": ["nobody"]}], "families"),
        ([{**GOOD, "metrics": ["nobody"]}], "metrics"),
        ([{**GOOD, "parameters": {"s": {"nobody": 1}}}], "metrics"),
        ([{**GOOD, "metrics": ["heart_rate"], "parameters": {"s": {"weight": 1}}}], "metrics"),
        ([{**GOOD, "thresholds": {"warning": 0.5, "alarm": 0.1}}], "below the warning"),
        ([{**GOOD, "thresholds": {"alarm": 2}}], "alarm"),
        ([{**GOOD, "surplus": "nobody"}], "surplus"),
    ],
)
def test_what_is_no_catalogue(rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(CatalogueError, match=words) as refused:
        parse(written(*rows))
    assert "nobody" not in str(refused.value)


def test_what_is_no_yaml() -> None:
    with pytest.raises(CatalogueError, match="not YAML"):
        parse("checks: [")
