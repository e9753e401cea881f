"""What the desk's pages and the report ask the lake: sums by SQL, so that a page costs a few hundred rows, not millions.

The gate and the job after the commit are both asked; where a suite judges a check that neither has judged, it is asked
too. Days are of the start, UTC; `first` and `last` are both within. `people` is a number that there are at least.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from quality.desk import LakeDesk
from quality.job.times import day_number, moment

CHECK_DAYS = pa.schema(
    [
        ("judge", pa.string()),
        ("day", pa.date32()),
        ("check", pa.string()),
        ("n_eval", pa.int64()),
        ("n_fail", pa.int64()),
        ("n_na", pa.int64()),
        ("people", pa.int32()),
    ]
)
STRATUM = ("partner", "family", "metric", "device_model", "firmware")
_COLUMNS = ", ".join(STRATUM)
_OF_COUNTED = ", ".join(f"c.{name}" for name in STRATUM)
_SAME = " AND ".join(f"c.{name} IS NOT DISTINCT FROM k.{name}" for name in STRATUM)

_COUNTED = f"""
WITH counted AS (
  SELECT 'gate' AS judge, CAST(start AS DATE) AS day, {_COLUMNS}, "check", n_eval, n_fail, n_na,
    CAST(NULL AS INTEGER) AS people
  FROM check_count WHERE start >= ? AND start < ? AND "check" = coalesce(?, "check")
  UNION ALL
  SELECT judge, CAST(start AS DATE) AS day, {_COLUMNS}, "check", n_eval, n_fail, n_na, people
  FROM check_result WHERE start >= ? AND start < ? AND "check" = coalesce(?, "check")
), known AS (
  SELECT CAST(start AS DATE) AS day, {_COLUMNS}, max(people) AS people
  FROM day_summary WHERE level = 'stratum' AND start >= ? AND start < ? GROUP BY ALL
)"""
_STRATA = f"""{_COUNTED}
SELECT c.judge, {_OF_COUNTED}, CAST(sum(c.n_eval) AS BIGINT) AS n_eval,
  CAST(sum(c.n_fail) AS BIGINT) AS n_fail, CAST(sum(c.n_na) AS BIGINT) AS n_na,
  max(coalesce(c.people, k.people)) AS people
FROM counted c LEFT JOIN known k ON c.day = k.day AND {_SAME}
GROUP BY ALL ORDER BY n_fail DESC, {_OF_COUNTED}"""
_BY_DAY = f"""{_COUNTED}, of_metric AS (
  SELECT CAST(start AS DATE) AS day, metric, max(people) AS people
  FROM day_summary WHERE level IN ('metric', 'stratum') AND start >= ? AND start < ? GROUP BY ALL
), summed AS (
  SELECT judge, day, "check", metric, sum(n_eval) AS n_eval, sum(n_fail) AS n_fail, sum(n_na) AS n_na,
    max(people) AS people
  FROM counted GROUP BY ALL
)
SELECT s.judge, s.day, s."check", CAST(sum(s.n_eval) AS BIGINT) AS n_eval, CAST(sum(s.n_fail) AS BIGINT) AS n_fail,
  CAST(sum(s.n_na) AS BIGINT) AS n_na,
  max(CASE WHEN s.judge <> 'gate' THEN s.people WHEN s.n_na = 0 THEN m.people END) AS people
FROM summed s LEFT JOIN of_metric m ON s.day = m.day AND s.metric = m.metric
GROUP BY ALL ORDER BY s."check", s.day"""
# A check of rows that judged every row of a metric has judged all who have rows of it. Where it did not apply to some,
# the strata say more, in which it judged any; to join them all costs more than all the rest, so only those checks are.
_PEOPLE = f"""{_COUNTED}
SELECT c.day, c."check", max(k.people) AS people
FROM counted c JOIN known k ON c.day = k.day AND {_SAME}
WHERE c.judge = 'gate' AND c.n_eval > 0 AND c."check" IN (SELECT unnest(?))
GROUP BY ALL"""
_JUDGED_STRATA = f"""{_COUNTED}
SELECT c.judge, c."check", c.metric, c.partner, c.device_model,
  dense_rank() OVER (ORDER BY {_OF_COUNTED}) - 1 AS stratum,
  max(coalesce(c.people, k.people)) AS people, bool_or(c.n_na > 0) AS partly
FROM counted c LEFT JOIN known k ON c.day = k.day AND {_SAME}
WHERE c.n_eval > 0
GROUP BY c.judge, c."check", {_OF_COUNTED}"""

_COVERAGE = """
SELECT CAST(start AS DATE) AS day, CASE WHEN level = 'study' THEN NULL ELSE metric END AS metric,
  max(people) AS people, max(enrolled) AS enrolled, CAST(sum("rows") AS BIGINT) AS "rows"
FROM day_summary WHERE level IN ('metric', 'study') AND start >= ? AND start < ?
GROUP BY ALL ORDER BY metric NULLS FIRST, day"""
_OUTCOMES = """
SELECT outcome, reason, CAST(sum(n) AS BIGINT) AS n FROM outcome WHERE day BETWEEN ? AND ?
GROUP BY ALL ORDER BY outcome, n DESC, reason"""
_WAITING = """
SELECT family, metric, partner, device_model, firmware, CAST(start AS DATE) AS day, count(*) AS n,
  count(DISTINCT pseudonym) AS people
FROM quarantine WHERE {where} GROUP BY ALL ORDER BY day DESC, n DESC, metric, partner"""
_DECISIONS = "SELECT * FROM decision WHERE {where} ORDER BY start DESC, decision LIMIT ?"


def check_days(desk: LakeDesk, study: str, first: date, last: date, check: str | None = None) -> pa.Table:
    """How each check, or the one, went by day: judge, day, check, n_eval, n_fail, n_na, people."""
    days, k = _days(first, last), desk.studies()[study].smallest_cell
    asked = [*days, check, *days, check, *days]
    found = desk.query(study, _BY_DAY, [*asked, *days]).to_pylist()
    few = [row for row in found if row["judge"] == "gate" and row["n_na"] and (row["people"] or 0) < k]
    if few:
        names = sorted({row["check"] for row in few})
        people = desk.query(study, _PEOPLE, [*asked, names]).to_pylist()
        known = {(row["check"], row["day"]): row["people"] for row in people}
        for row in few:
            row["people"] = max(row["people"] or 0, known.get((row["check"], row["day"]), 0))
    return pa.Table.from_pylist(found, schema=CHECK_DAYS)


def strata(desk: LakeDesk, study: str, check: str, day: date) -> pa.Table:
    """How a check went on one day by stratum, most failures first: judge, STRATUM, n_eval, n_fail, n_na, people."""
    days = _days(day, day)
    return desk.query(study, _STRATA, [*days, check, *days, check, *days])


def judged_strata(desk: LakeDesk, study: str, day: date) -> pa.Table:
    """What each check judged on a day: judge, check, metric, partner, device_model, the stratum's number, people, partly.

    `partly` is where it did not apply to all of the stratum.
    """
    days = _days(day, day)
    return desk.query(study, _JUDGED_STRATA, [*days, None, *days, None, *days])


def coverage(desk: LakeDesk, study: str, first: date, last: date) -> pa.Table:
    """Who has rows: day, metric (null for any), people, enrolled, rows."""
    return desk.query(study, _COVERAGE, _days(first, last))


def outcomes(desk: LakeDesk, study: str, first: date, last: date) -> pa.Table:
    """What came of the readings that were judged on these days: outcome, reason, n."""
    return desk.query(study, _OUTCOMES, [first, last])


def waiting(desk: LakeDesk, study: str, where: str = "true", parameters: Sequence[Any] = ()) -> pa.Table:
    """The rows in quarantine by stratum and day, the newest first: family, metric, …, day, n, people."""
    return desk.query(study, _WAITING.format(where=where), parameters)


def anything_waits(desk: LakeDesk, study: str, where: str = "true", parameters: Sequence[Any] = ()) -> bool:
    """Whether there are such rows in quarantine."""
    return bool(desk.query(study, f"SELECT 1 AS one FROM quarantine WHERE {where} LIMIT 1", parameters).num_rows)


def decisions(desk: LakeDesk, study: str, kinds: Sequence[str] = (), limit: int = 10_000) -> pa.Table:
    """What was decided, all or of some kinds, the newest first: the columns of DECISION."""
    where = f"kind IN ({', '.join('?' for _ in kinds)})" if kinds else "true"
    return desk.query(study, _DECISIONS.format(where=where), [*kinds, limit])


def _days(first: date, last: date) -> list[datetime]:
    return [moment(day_number(first)), moment(day_number(last) + 1)]
