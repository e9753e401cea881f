"""A report as one HTML file: its style inside, its pictures as SVG, no script, and nothing that is loaded."""

from functools import cache
from pathlib import Path

from jinja2 import Template

from quality.check_numbers import TREND_DAYS, CheckNumbers
from quality.checks import Dimension
from quality.overview import State
from quality.report.numbers import Report
from quality.shown import DESK, coverage_map, drawn, templates, trend_picture
from quality.suppression import said
from schemas.reasons import Code

_HERE = Path(__file__).parent
_STYLES = (DESK / "static" / "desk.css", _HERE / "templates" / "report.css")

MEANINGS: dict[str, str] = {
    Code.FUTURE: "it ends after it was received",
    Code.STUDY_INACTIVE: "the study was not active then",
    Code.NOT_MEMBER: "of nobody who takes part in the study",
    Code.ATTRIBUTION: "nobody was linked to the device then",
    Code.CONSENT_LAG: "consent was not known up to then",
    Code.NO_CONSENT: "no consent has come yet",
    Code.KIT_NOT_ACTIVATED: "the kit was not activated",
    Code.NO_AUTHORITY: "no consent to this metric was in force when it came",
    Code.ERASED: "the person's data were erased",
    Code.OUTSIDE_WINDOW: "taken at a time that was not agreed to",
    Code.UNDATED: "no time is known at which it was taken",
}
"""Why a study may not have a reading, for whoever reads a report."""


def page(report: Report) -> str:
    """The file's text."""
    applying = [one for one in report.checks if one.state is not State.NOT_APPLICABLE]
    trends = [(one, _picture(one)) for one in report.checks if one.has_trend]
    return _template().render(
        report=report,
        facts=report.facts,
        day=report.day,
        few=said(report.facts.smallest_cell),
        css="".join(style.read_text(encoding="utf-8") for style in _STYLES),
        judged=applying,
        others=[one for one in report.checks if one.state is State.NOT_APPLICABLE],
        complete=[one for one in applying if one.check.dimension is Dimension.COMPLETENESS],
        map=coverage_map(report.covered.coverage),
        trend_days=TREND_DAYS,
        trends=trends,
    )


def _picture(one: CheckNumbers) -> str:
    name, shares = f"trend-{one.check.id}", [drawn(share) for share in one.trend.values()]
    return trend_picture(name, one.check, list(one.trend), shares)


@cache
def _template() -> Template:
    environment = templates(_HERE / "templates")
    environment.filters["meaning"] = lambda reason: MEANINGS.get(reason, "")
    return environment.get_template("report.html")
