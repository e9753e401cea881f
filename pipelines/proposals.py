"""Proposals, which a second person approves or declines, and the signing off of days.

Of rows that failed a critical check one person alone decides nothing; of thresholds neither.
"""

import json
from datetime import date
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pipelines.changed_days import SIGNED_OFF
from pipelines.decided import Decision, DecisionId, change, looked_at, table_of, valid
from pipelines.discard import discard
from pipelines.driver import Driver
from pipelines.entries import Kind, RequestRefused
from pipelines.release import release
from pipelines.requests import Change
from pipelines.zones import DAY_US
from quality.chosen import Counted
from quality.in_force import Proposal
from quality.job.times import as_day

_CARRIED_OUT = {"release": release, "discard": discard}


class Proposed(Counted):
    """What somebody would decide about rows, for another to approve."""

    decision: Literal["release", "discard"]


class _ProposedThreshold(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    threshold: Proposal


class _OfProposal(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    proposal: DecisionId


class _OfDay(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    day: date


def decide_alone(driver: Driver, decision: Decision) -> Change:
    """Release or discard by one person, of rows that failed nothing critical."""
    chosen, decisions = valid(Counted, decision.about), table_of(driver, decision.study)
    found = looked_at(driver, decision.study, chosen, decisions)
    if found.need_two(decisions):
        raise RequestRefused(
            "a critical check failed: two people decide, so propose it and have it approved by another"
        )
    return _CARRIED_OUT[decision.kind](driver, decision, decision.about, found)


def propose(driver: Driver, decision: Decision) -> Change:
    """A proposal about rows, which are still those that were looked at, or about a threshold."""
    if "threshold" in decision.about:
        valid(_ProposedThreshold, decision.about)
        return change(driver, decision, Kind.DECIDE, decision.about)
    proposed = valid(Proposed, decision.about)
    found = looked_at(driver, decision.study, proposed, table_of(driver, decision.study))
    return change(driver, decision, Kind.DECIDE, decision.about, rows=found.chosen.rows)


def approve(driver: Driver, decision: Decision) -> Change:
    """The second person's word: what was proposed happens in the same entry."""
    decisions = table_of(driver, decision.study)
    proposal = _open_proposal(decisions, decision)
    if proposal["by"] == decision.by:
        raise RequestRefused("who proposes does not approve: it takes another person")
    decision = decision.model_copy(update={"second": proposal["by"]})
    about = {**json.loads(proposal["about"]), **decision.about}
    if "threshold" in about:
        return change(driver, decision, Kind.DECIDE, about)
    if "fingerprint" not in about:
        raise RequestRefused("the proposal does not say which rows were looked at: decline it, and propose anew")
    proposed = valid(Proposed, json.loads(proposal["about"]))
    found = looked_at(driver, decision.study, proposed, decisions)
    return _CARRIED_OUT[proposed.decision](driver, decision, about, found)


def decline(driver: Driver, decision: Decision) -> Change:
    """A proposal comes to nothing, by another's word or its own author's."""
    proposal = _open_proposal(table_of(driver, decision.study), decision)
    decision = decision.model_copy(update={"second": proposal["by"]})
    return change(driver, decision, Kind.DECIDE, {**json.loads(proposal["about"]), **decision.about})


def sign_off(driver: Driver, decision: Decision) -> Change:
    """A day of the study that has begun (UTC) is signed off, once."""
    day = valid(_OfDay, decision.about).day
    if day > as_day(driver.clock() // DAY_US):
        raise RequestRefused("the day is still to come: it is signed off once it has been seen")
    for row in table_of(driver, decision.study).to_pylist():
        if row["kind"] == "sign-off" and json.loads(row["about"])["day"] == day.isoformat():
            raise RequestRefused(f"the day is signed off already by decision {row['decision']}")
    return change(driver, decision, Kind.DECIDE, {"day": day.isoformat()}, cause={SIGNED_OFF: day.isoformat()})


def _open_proposal(decisions: pa.Table, decision: Decision) -> dict[str, Any]:
    """The proposal that the decision is about, which nobody has approved or declined."""
    wanted = valid(_OfProposal, decision.about).proposal
    rows = decisions.to_pylist()
    for row in rows:
        if row["kind"] in ("approve", "decline") and json.loads(row["about"])["proposal"] == wanted:
            raise RequestRefused(f"the proposal is settled already by decision {row['decision']}")
    for row in rows:
        if row["kind"] == "propose" and row["decision"] == wanted:
            return dict(row)
    raise RequestRefused("there is no such proposal in this study")
