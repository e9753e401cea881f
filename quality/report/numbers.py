"""All that a report of a study's day says, in numbers; the page and the JSON are made of the same."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

from quality import counts
from quality.breakdowns import OutcomeRow, outcome_rows
from quality.check_numbers import CheckNumbers, check_numbers
from quality.checks import Check, Context, Dimension, Severity
from quality.desk import LakeDesk, StudyFacts
from quality.overview import KahnCell, by_severity, matrix
from quality.report import sections
from quality.shown import in_force_of, signed_off
from quality.suppression import Share, bound_of, said

Json = Any


@dataclass(frozen=True)
class Report:
    """A study's day (UTC)."""

    facts: StudyFacts
    day: date
    checks: list[CheckNumbers]
    matrix: Mapping[Dimension, Mapping[Context, KahnCell]]
    violated: Mapping[Severity, int]
    covered: sections.Covered
    wear: sections.Wear
    latency: list[sections.Late]
    kits: list[sections.KitWeek]
    came_in: list[OutcomeRow]
    waiting: sections.Waiting
    decisions: list[sections.Decided]
    signed_off_by: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing was judged of that day, and nothing came in on it."""
        return not self.came_in and not any(one.judged != 0 and one.of == self.day for one in self.checks)


def report_of(desk: LakeDesk, study: str, day: date) -> Report:
    """The report of a registered study; of a day of which nothing is known it says that."""
    facts, in_force = desk.studies()[study], in_force_of(desk, study)
    checks = check_numbers(desk, facts, day, in_force)
    return Report(
        facts,
        day,
        checks,
        matrix(checks),
        by_severity(checks),
        sections.covered(desk, facts, day),
        sections.wear(desk, facts, day),
        sections.latency(desk, facts, day, in_force),
        sections.kits(desk, facts, day, in_force),
        outcome_rows(counts.outcomes(desk, study, day, day), facts.smallest_cell),
        sections.waiting(desk, facts, day),
        sections.decided(desk, facts, day),
        signed_off(desk, study, day),
    )


def as_json(report: Report) -> dict[str, Json]:
    """The same numbers for machines: days as text, shares as `value` and `bound`, null where something is withheld."""
    facts = report.facts
    cells = [
        {"dimension": str(dimension), "context": str(context), **vars(cell)}
        for dimension, row in report.matrix.items()
        for context, cell in row.items()
    ]
    return {
        "study": facts.id,
        "title": facts.title,
        "day": report.day.isoformat(),
        "nothing_known": report.is_empty,
        "smallest_cell": facts.smallest_cell,
        "null_means": said(facts.smallest_cell),
        "signed_off_by": report.signed_off_by or None,
        "overview": {"matrix": cells, "violated": _plain(report.violated)},
        "checks": [_check(one) for one in report.checks],
        "coverage": {
            "days": _plain(report.covered.coverage.days),
            "any_data": _plain(report.covered.coverage.any_data),
            "metrics": _plain(report.covered.coverage.shares),
            "enrolled_at_least": report.covered.enrolled,
            "readings_a_participant": _plain(report.covered.readings),
        },
        "wear": _plain(report.wear),
        "latency": _plain(report.latency),
        "kits": _plain(report.kits),
        "came_in": _plain(report.came_in),
        "waiting": _plain(report.waiting),
        "decisions": _plain(report.decisions),
    }


def _check(one: CheckNumbers) -> dict[str, Json]:
    check: Check = one.check
    return {
        "check": check.id,
        "version": check.version,
        "title": check.title,
        "dimension": str(check.dimension),
        "context": str(check.context),
        "scope": str(check.scope),
        "severity": str(check.severity),
        "action": str(check.action),
        "waits_for": check.missing or None,
        "warning": check.thresholds.warning,
        "alarm": check.thresholds.alarm,
        "state": str(one.state),
        "of": one.of.isoformat(),
        "judged": one.judged,
        "failed": one.failed,
        "fails": _plain(one.fails),
        "not_applicable": _plain(one.not_applicable),
        "trend": _plain(one.trend) if one.has_trend else {},
    }


def _plain(value: Any) -> Json:
    """A dataclass, a mapping or a list as JSON has it."""
    if isinstance(value, Share):
        return {"value": value.value, "bound": bound_of(value)}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Enum) else value
