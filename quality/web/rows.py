"""What only those see who decide about it, and what is written down before it is shown: rows with their values."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from starlette.responses import Response

from quality.chosen import failed, recalled_for
from quality.overview import days_until
from quality.pictures import Cell, heat_map
from quality.web.visit import Fault, Visit, stratum_of

PAGE = 100
PEOPLE = 50
MAP_DAYS = 28
COLUMNS = {
    "pseudonym": "Participant",
    "metric": "Metric",
    "value": "Value",
    "unit": "Unit",
    "start": "Start",
    "partner": "Partner",
    "device_model": "Device model",
    "firmware": "Firmware",
}

_PARTICIPANTS = """
WITH known AS (SELECT DISTINCT pseudonym FROM enrolled), page AS (
  SELECT pseudonym FROM known ORDER BY pseudonym LIMIT ? OFFSET ?
)
SELECT page.pseudonym, CAST(o.start AS DATE) AS day, count(o.start) AS n
FROM page LEFT JOIN observation o ON o.pseudonym = page.pseudonym AND o.start >= ? AND o.start < ?
GROUP BY ALL ORDER BY page.pseudonym, day"""


def rows(visit: Visit) -> Response:
    """The rows of a stratum that wait, a page of them. The audit has it before the page is made."""
    stratum, offset = stratum_of(visit.asked), _offset(visit)
    visit.note("rows", {**stratum.as_json(), "offset": offset})
    found = visit.desk.rows(visit.study.id, stratum, PAGE, offset)
    words = recalled_for(visit.desk, visit.study.id)
    shown = [{**_cells(row), "failed": failed(row["flags"], row["recalled"], words)} for row in found.rows.to_pylist()]
    return visit.page(
        "rows.html",
        stratum=stratum,
        rows=shown,
        total=found.total,
        offset=offset,
        size=PAGE,
        columns=COLUMNS,
    )


def participants(visit: Visit) -> Response:
    """Who has data on which day, participant by participant. The audit has it before the page is made."""
    last, offset = visit.day() or visit.now.date(), _offset(visit)
    days = days_until(last, MAP_DAYS)
    visit.note("participants", {"day": last.isoformat(), "offset": offset})
    begin = datetime.combine(days[0], time(), UTC)
    asked = [PEOPLE, offset, begin, begin + timedelta(days=MAP_DAYS)]
    found: dict[str, dict[Any, int]] = {}
    for row in visit.desk.query(visit.study.id, _PARTICIPANTS, asked).to_pylist():
        found.setdefault(row["pseudonym"], {})[row["day"]] = row["n"]
    lines = {name: [of_day.get(day, 0) for day in days] for name, of_day in found.items()}
    return visit.page(
        "participants.html",
        days=days,
        day=last,
        lines=lines,
        picture=_map_of(lines, [day.isoformat() for day in days]),
        offset=offset,
        size=PEOPLE,
    )


def audit(visit: Visit) -> Response:
    """Who decided and saw what, the newest first."""
    return visit.page("audit.html", lines=visit.desk.audited(visit.study.id, 500))


def _offset(visit: Visit) -> int:
    text = visit.one("offset", visit.asked) or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Fault(422, "There is no such page.")
    return int(text)


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    value = row["value"] if row["value"] is not None else row["code"]
    if value is None and row.get("samples"):
        value = f"{row['samples']} samples"
    return {**{name: row[name] for name in COLUMNS if name != "value"}, "value": value, "row": row["row"]}


def _map_of(lines: dict[str, list[int]], days: list[str]) -> str:
    cells = [
        [Cell(1.0 if n else 0.0, f"{days[i]}: {'data' if n else 'no data'}") for i, n in enumerate(numbers)]
        for numbers in lines.values()
    ]
    words = "Each row is a participant, each column a day; the table below says the same."
    return heat_map("participants", list(lines), days, cells, "Days with data by participant", words)
