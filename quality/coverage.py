"""Which share of those enrolled has data, by metric and day, as pages, exports and reports tell it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from quality import counts
from quality.coarse import coarse
from quality.desk import LakeDesk, StudyFacts
from quality.overview import days_until
from quality.suppression import Share, share_of_people

COVERAGE_DAYS = 28


@dataclass(frozen=True)
class Coverage:
    """Which share of those enrolled has data: `shares[metric][i]` on `days[i]`, None where nothing is published.

    `any_data` is of any metric.
    """

    days: Sequence[date]
    any_data: list[Share | None]
    shares: Mapping[str, list[Share | None]]


def coverage_of(rows: pa.Table, days: Sequence[date], k: int) -> Coverage:
    """What `counts.coverage` gives, by metric and day. Of a day without a summary nothing is known."""
    found: dict[str | None, dict[date, Share | None]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["metric"], {})[row["day"]] = share_of_people(row["people"], row["enrolled"], k)
    none = {day: share_of_people(0, number, k) for day, number in enrolled_by_day(rows).items()}
    lines = {metric: [shares.get(day, none.get(day)) for day in days] for metric, shares in found.items()}
    any_data = lines.get(None, [None] * len(days))
    return Coverage(days, any_data, {metric: lines[metric] for metric in sorted(filter(None, lines))})


def coarse_coverage(found: Coverage, enrolled: Mapping[date, int], k: int) -> Coverage:
    """Coverage in such steps; `enrolled` is how many there are by day."""

    def line(shares: Sequence[Share | None]) -> list[Share | None]:
        return [
            None if share is None else coarse(share, enrolled[day], k)
            for day, share in zip(found.days, shares, strict=True)
        ]

    return Coverage(found.days, line(found.any_data), {metric: line(shares) for metric, shares in found.shares.items()})


def coverage_until(desk: LakeDesk, facts: StudyFacts, last: date) -> Coverage:
    """The coverage of the days up to that one, rounded: one day's less another's, or one metric's, may be a few people."""
    days = days_until(last, COVERAGE_DAYS)
    return told_coverage(counts.coverage(desk, facts.id, days[0], last), days, facts.smallest_cell)


def told_coverage(rows: pa.Table, days: Sequence[date], k: int) -> Coverage:
    """The same from what `counts.coverage` gives of these days."""
    return coarse_coverage(coverage_of(rows, days, k), enrolled_by_day(rows), k)


def enrolled_by_day(rows: pa.Table) -> dict[date, int]:
    """How many are enrolled, of what `counts.coverage` gives."""
    found: dict[date, int] = {}
    for row in rows.to_pylist():
        found[row["day"]] = max(found.get(row["day"], 0), row["enrolled"])
    return found
