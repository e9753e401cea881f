"""What a study's stewards changed in the catalogue of checks, and the catalogue that is in force there.

A change is an approved proposal. The study's table of decisions keeps who proposed and who approved it, when and why.
"""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from quality.checks import Check, CheckId, Parameter, Share, Thresholds, checks
from quality.chosen import Unfit
from quality.job.times import micros
from schemas.metrics import catalogue

OF_STUDY = 100
"""A check's version in a study is the catalogue's, and this much more for each change that the study has made."""

LARGEST = 1e8
"""No number of a check is larger: so many days are still a number of microseconds."""

_RANGE = frozenset({"low", "high"})
"""By metric: what a study puts in place of the metric catalogue's plausible range, where the check judges by one."""


class Proposal(BaseModel):
    """What somebody proposes for a check: its thresholds, and the numbers that shall be others; the rest stays.

    ValidationError where there is no such check, no such number, or where the check would make no sense.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    check: CheckId
    warning: Share
    alarm: Share | None = None
    parameters: dict[str, Parameter] = {}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.check not in checks():
            raise Unfit("there is no such check")
        self.applied(checks()[self.check])
        return self

    def applied(self, check: Check) -> Check:
        """The check as it would be, of the version that it has."""
        thresholds = Thresholds(warning=self.warning, alarm=self.alarm)
        parameters = dict(check.parameters)
        for name, value in self.parameters.items():
            parameters[name] = _changed(check, name, value)
        return check.model_copy(update={"thresholds": thresholds, "parameters": parameters})


def _changed(check: Check, name: str, value: Parameter) -> Parameter:
    """The new number, or the old numbers by metric with the new ones in place of theirs."""
    if any(not math.isfinite(number) or abs(number) > LARGEST for number in _numbers(value)):
        raise Unfit("the check cannot have such a number")
    before = check.parameters.get(name, {} if name in _RANGE and _ranged(check) else None)
    if before is None or isinstance(before, dict) != isinstance(value, dict):
        raise Unfit("the check has no such number")
    if not isinstance(before, dict) or not isinstance(value, dict):
        if isinstance(before, tuple) != isinstance(value, tuple):
            raise Unfit("the check has no such number")
        return value
    known = _ranged(check) if name in _RANGE else set(check.metrics) or set(before)
    if not set(value) <= known:
        raise Unfit("the check does not judge such a metric")
    return {**before, **value}


def _numbers(value: Parameter) -> Iterable[float]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, tuple) else (value,)


def _ranged(check: Check) -> set[str]:
    """The metrics whose plausible range the check judges by."""
    return {m.code for m in catalogue().metrics.values() if m.plausible and m.plausible.check == check.id}


class Approved(BaseModel):
    """A change in force: of which decision, by whom, approved when (microseconds, UTC), and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    decision: str
    proposed_by: str
    approved_by: str
    at_us: int
    reason: str
    proposal: Proposal


def approved(decisions: Iterable[Mapping[str, Any]]) -> tuple[Approved, ...]:
    """The changes among the rows of a study's table `decision`, in the order in which they were approved.

    A change of a check that there is no longer, or of a number that it has no longer, is left out.
    """
    found = []
    for row in decisions:
        about = json.loads(row["about"]) if row["kind"] == "approve" else {}
        if "threshold" not in about or row["by"] == row["second"]:
            continue
        try:
            proposal = Proposal.model_validate(about["threshold"])
        except ValidationError:
            continue
        at_us = row["start"] if isinstance(row["start"], int) else micros(row["start"])
        said = {"proposed_by": row["second"] or "", "approved_by": row["by"], "reason": row["reason"]}
        found.append(Approved(decision=row["decision"], at_us=at_us, proposal=proposal, **said))
    return tuple(sorted(found, key=lambda change: (change.at_us, change.decision)))


def checks_of(
    changes: Iterable[Approved] = (), at_us: int | None = None, transit_limit_us: int | None = None
) -> dict[str, Check]:
    """The catalogue in force in a study at a moment (None: after all changes), with what its registry says of transit."""
    found = dict(checks())
    for change in changes:
        if at_us is None or change.at_us <= at_us:
            check = found[change.proposal.check]
            found[check.id] = change.proposal.applied(check).model_copy(update={"version": check.version + OF_STUDY})
    if transit_limit_us is not None:
        limited = found["LK-16"]
        found["LK-16"] = limited.model_copy(update={"parameters": {"transit_h": transit_limit_us / 3_600_000_000}})
    return found


def said_version(version: int) -> str:
    """A check's version in words: the catalogue's, and how often the study has changed it since."""
    changes, of_catalogue = divmod(version, OF_STUDY)
    if not changes:
        return str(of_catalogue)
    return f"{of_catalogue}, changed {'once' if changes == 1 else f'{changes} times'}"
