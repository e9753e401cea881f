"""What the desk's pages and the report show alike: the catalogue in force, coverage, who has signed off, and the words."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from quality import counts
from quality.checks import Check
from quality.coverage import Coverage
from quality.desk import LakeDesk
from quality.in_force import approved, checks_of
from quality.pictures import Cell, heat_map, percent, trend
from quality.suppression import Share, bound_of

DESK = Path(__file__).parent / "web"
"""Where the desk's templates and style lie, of which a report takes its part."""


def in_force_of(desk: LakeDesk, study: str) -> dict[str, Check]:
    """The catalogue with the thresholds that the study's people have agreed on."""
    return checks_of(approved(counts.decisions(desk, study, ("approve",)).to_pylist()))


def coverage_map(found: Coverage) -> str:
    """The coverage as a picture, beside which its table stands."""
    lines = {"any data": found.any_data, **found.shares}
    cells = [
        [
            Cell(share.value if share else None, f"{name}, {day.isoformat()}: {of_share(share)}")
            for day, share in zip(found.days, shares, strict=True)
        ]
        for name, shares in lines.items()
    ]
    days = [day.isoformat() for day in found.days]
    words = "Each row is a metric, each column a day; the table below says the same in numbers."
    return heat_map("coverage", list(lines), days, cells, "Coverage: share of participants with data", words)


def trend_picture(name: str, check: Check, days: Sequence[date], shares: Sequence[float | None]) -> str:
    """A check's shares of failures by day (at least one), with its thresholds; a table with each stands below it."""
    shown = [share for share in shares if share is not None]
    words = "Nothing is published of these days."
    if shown:
        words = f"Between {percent(min(shown))} and {percent(max(shown))} failed; the table below has each day."
    levels = {"warning": check.thresholds.warning}
    if check.thresholds.alarm is not None:
        levels["alarm"] = check.thresholds.alarm
    if shown and max(shown) < levels["warning"] / 5:  # a threshold far above would flatten the line
        levels = {}
    title = f"{check.id}: share of failures in {(days[-1] - days[0]).days + 1} days"
    return trend(name, shares, [day.isoformat() for day in days], title, words, levels)


def drawn(share: Share | None) -> float | None:
    """Where a share is drawn: at half of it where it is said to be at most so much."""
    if share is None:
        return None
    return share.value / 2 if share.at_most else share.value


def of_share(share: Share | None) -> str:
    """A share of people in words."""
    if share is None:
        return "not published"
    return " ".join(filter(None, (bound_of(share), percent(share.value))))


def signed_off(desk: LakeDesk, study: str, day: date) -> str:
    """Who has signed off the day; empty where nobody has."""
    signed = counts.decisions(desk, study, ("sign-off",)).to_pylist()
    return next((str(row["by"]) for row in signed if f'"{day.isoformat()}"' in row["about"]), "")


def grouped(value: float | None) -> str:
    """A number with narrow spaces between its thousands; a dash where there is none."""
    return "–" if value is None else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def templates(*folders: Path) -> Environment:
    """The templates of these folders, with the desk's: what they show is text unless they say otherwise."""
    environment = Environment(
        loader=FileSystemLoader([*folders, DESK / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": grouped, "of_share": of_share}
    return environment
