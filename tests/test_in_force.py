"""What a study has changed: approved by two, in order, each change a version, and nothing that makes no sense."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.plan import Plan
from quality.checks import Thresholds, checks
from quality.in_force import Approved, Proposal, approved, checks_of, said_version

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def decision(number: int, threshold: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """A row of the study's table: an approval, that many minutes after noon."""
    about = {"proposal": "0" * 32} | ({"threshold": threshold} if threshold else {"rows": ["00"]})
    row = {"decision": f"{number:032x}", "kind": "approve", "start": NOON + timedelta(minutes=number), "by": "bea"}
    return {
        **row,
        "second": "ada",
        "check": None,
        "about": json.dumps(about),
        "reason": "seen",
        "rows": 0,
        "entry": 1,
    } | changes


def test_an_approved_proposal_is_in_force_and_says_who_and_why() -> None:
    (change,) = approved([decision(1, {"check": "PL-01", "warning": 0.1, "alarm": 0.3})])
    assert (change.proposed_by, change.approved_by, change.reason) == ("ada", "bea", "seen")
    assert change.at_us == round((NOON.timestamp() + 60) * 1_000_000)
    found = checks_of([change])
    assert found["PL-01"].thresholds == Thresholds(warning=0.1, alarm=0.3)
    assert found["PL-01"].version == 101
    assert {name for name, check in found.items() if check != checks()[name]} == {"PL-01"}
    assert checks()["PL-01"].version == 1, "the project's own is as it was"


def test_changes_are_in_force_from_when_they_were_approved_and_the_last_one_holds() -> None:
    rows = [decision(number, {"check": "TM-10", "warning": number / 10}) for number in (3, 1, 2)]
    changes = approved(rows)
    first = changes[0].at_us
    assert [checks_of(changes, at)["TM-10"].version for at in (first - 1, first, changes[1].at_us)] == [1, 101, 201]
    assert checks_of(changes)["TM-10"].thresholds == Thresholds(warning=0.3)
    assert checks_of(changes, changes[1].at_us)["TM-10"].thresholds.warning == 0.2


def test_what_is_no_approval_of_a_threshold_changes_nothing() -> None:
    threshold = {"check": "TM-10", "warning": 0.5}
    rows = [
        decision(1, threshold, kind="propose"),
        decision(2, threshold, kind="decline"),
        decision(3, threshold, second="bea"),
        decision(4, None),
        decision(5, {"check": "TM-99", "warning": 0.5}),
        decision(6, {"check": "TM-10", "warning": 0.5, "parameters": {"gone": 1.0}}),
    ]
    assert approved(rows) == ()
    assert checks_of() == checks()


KEEPS = checks()["LK-05"].by_metric("keeps_h")
NARROWER = {"low": {"heart_rate": 40.0}, "high": {"heart_rate": 200.0}}


@pytest.mark.parametrize(
    ("check", "parameters", "wanted"),
    [
        ("TM-10", {"back_s": 5.0}, {"back_s": 5.0}),
        ("LK-05", {"keeps_h": {"potassium": 4.0}}, {"keeps_h": {**KEEPS, "potassium": 4.0}}),
        ("PL-01", NARROWER, NARROWER),
    ],
)
def test_a_number_is_changed_and_the_others_stay(
    check: str, parameters: dict[str, Any], wanted: dict[str, Any]
) -> None:
    found = Proposal(check=check, warning=0, parameters=parameters).applied(checks()[check])
    assert found.parameters == {**checks()[check].parameters, **wanted}


@pytest.mark.parametrize(
    "proposal",
    [
        {"check": "TM-99", "warning": 0.1},
        {"check": "TM-10", "warning": 1.1},
        {"check": "TM-10", "warning": 0.5, "alarm": 0.1},
        {"check": "TM-10", "warning": 0.5, "parameters": {"forth_s": 1.0}},
        {"check": "TM-10", "warning": 0.5, "parameters": {"back_s": {"heart_rate": 1.0}}},
        {"check": "TM-10", "warning": 0.5, "parameters": {"back_s": [1.0, 2.0]}},
        {"check": "TM-10", "warning": 0.5, "parameters": {"low": {"heart_rate": 1.0}}},
        {"check": "LK-05", "warning": 0.5, "parameters": {"keeps_h": {"heart_rate": 1.0}}},
        {"check": "PL-01", "warning": 0.5, "parameters": {"low": {"spo2": 1.0}}},
        {"check": "PL-00", "warning": 0.5, "parameters": {"low": {"spo2": 1.0}}},
        {"check": "TM-10", "warning": 0.5, "surplus": 1},
        {"check": "TM-10", "warning": 0.5, "parameters": {"back_s": "NaN"}},
        {"check": "LK-05", "warning": 0.5, "parameters": {"keeps_h": {"potassium": float("inf")}}},
        {"check": "LK-06", "warning": 0.5, "parameters": {"age_days": 1e308}},
    ],
)
def test_what_cannot_be_proposed(proposal: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Proposal.model_validate(proposal)


def test_a_studys_own_limit_of_transit_is_a_number_of_its_check() -> None:
    assert checks_of(transit_limit_us=5_400_000_000)["LK-16"].parameters == {"transit_h": 1.5}
    assert checks()["LK-16"].parameters == {}


def test_a_change_travels_in_a_plan() -> None:
    (change,) = approved([decision(1, {"check": "LK-05", "warning": 0.1, "parameters": {"keeps_h": {"folate": 1.0}}})])
    assert Approved.model_validate_json(change.model_dump_json()) == change


def test_a_plan_knows_what_is_in_force_in_each_study() -> None:
    changes = approved([decision(1, {"check": "TM-10", "warning": 0.5})])
    plan = Plan.model_construct(changes={"sleep": changes}, transit_limits_us={"cycle": 3_600_000_000})
    assert (plan.checks_of("sleep")["TM-10"].version, plan.checks_of("cycle")["TM-10"].version) == (101, 1)
    assert (plan.checks_of("sleep")["LK-16"].parameters, plan.checks_of("cycle")["LK-16"].parameters) == (
        {},
        {"transit_h": 1},
    )


@pytest.mark.parametrize(("version", "words"), [(1, "1"), (101, "1, changed once"), (302, "2, changed 3 times")])
def test_a_version_in_words(version: int, words: str) -> None:
    assert said_version(version) == words
