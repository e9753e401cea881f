"""What the pages show as tables, as CSV and JSON: made by the same functions, so withheld in the same way."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from starlette.responses import Response

from quality import counts
from quality.breakdowns import outcome_rows
from quality.check_numbers import TREND_DAYS, trend
from quality.coverage import coverage_until
from quality.overview import by_check, days_until
from quality.suppression import Share, bound_of
from quality.web.decide import decided
from quality.web.pages import checks_of_day
from quality.web.strata import check_of_name, strata_of_day
from quality.web.visit import Fault, Visit

Row = dict[str, Any]


def export(visit: Visit) -> Response:
    """A table by its name and form, as `checks.csv`."""
    name, _, form = visit.place["name"].partition(".")
    if name not in TABLES or form not in ("csv", "json"):
        raise Fault(404, "There is no such table.")
    visit.note("export", {"table": name})
    rows = list(TABLES[name](visit))
    headers = {"Content-Disposition": f'attachment; filename="{visit.study.id}-{name}.{form}"'}
    if form == "json":
        text = json.dumps(
            {"study": visit.study.id, "smallest_cell": visit.study.smallest_cell, "rows": rows}, default=str
        )
        return Response(text, media_type="application/json", headers=headers)
    return Response(_csv(rows), media_type="text/csv", headers=headers)


def _checks(visit: Visit) -> Iterator[Row]:
    _, found = checks_of_day(visit)
    for one in found:
        check = one.check
        yield {
            "day": one.of,
            "check": check.id,
            "version": check.version,
            "title": check.title,
            "dimension": check.dimension,
            "context": check.context,
            "severity": check.severity,
            "state": one.state,
            "judged": one.judged,
            "failed": one.failed,
            **_share(one.fails),
            "not_applicable": one.not_applicable.value if one.not_applicable else None,
            "warning": check.thresholds.warning,
            "alarm": check.thresholds.alarm,
        }


def _trend(visit: Visit) -> Iterator[Row]:
    facts, known = visit.study, check_of_name(visit, visit.one("check", visit.asked))
    days = days_until(visit.day() or visit.now.date(), TREND_DAYS)
    found = by_check(counts.check_days(visit.desk, facts.id, days[0], days[-1], known.id))
    for day, share in trend(known, found.get(known.id, {}), days, facts.smallest_cell).items():
        yield {"check": known.id, "day": day, **_share(share)}


def _strata(visit: Visit) -> Iterator[Row]:
    known, day = check_of_name(visit, visit.one("check", visit.asked)), visit.day() or visit.now.date()
    found = strata_of_day(visit, known, day)
    for name, rows in found.tables.items():
        for row in rows:
            yield {"check": known.id, "day": day, "by": name, "stratum": row.key[0], **_share(row.fails)}
    for row in found.finest:
        stratum = " / ".join(part or "–" for part in row.key)
        by = " / ".join(counts.STRATUM)
        yield {"check": known.id, "day": day, "by": by, "stratum": stratum, **_share(row.fails)}


def _coverage(visit: Visit) -> Iterator[Row]:
    found = coverage_until(visit.desk, visit.study, visit.day() or visit.now.date())
    for metric, shares in {"any": found.any_data, **found.shares}.items():
        for day, share in zip(found.days, shares, strict=True):
            yield {"metric": metric, "day": day, **_share(share)}


def _outcomes(visit: Visit) -> Iterator[Row]:
    day = visit.day() or visit.now.date()
    for row in outcome_rows(counts.outcomes(visit.desk, visit.study.id, day, day), visit.study.smallest_cell):
        yield {"day": day, **vars(row)}


def _decisions(visit: Visit) -> Iterator[Row]:
    for one in decided(visit):
        yield {
            "decision": one.id,
            "kind": one.kind,
            "at": one.at.isoformat(),
            "by": one.by,
            "second": one.second,
            "check": one.check,
            "reason": one.reason,
        }


TABLES: dict[str, Callable[[Visit], Iterator[Row]]] = {
    "checks": _checks,
    "trend": _trend,
    "strata": _strata,
    "coverage": _coverage,
    "outcomes": _outcomes,
    "decisions": _decisions,
}


def _share(share: Share | None) -> Row:
    """Null where nothing was judged or it is withheld; of a `bound` the true share is that or more, or less."""
    return {"share": share.value if share else None, "bound": bound_of(share)}


def _csv(rows: list[Row]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]) if rows else ["nothing"], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
