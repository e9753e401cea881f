"""What the desk's pages and the report ask the lake: sums by SQL, so that a page costs a few hundred rows, not millions.

Gate and job are both asked by what the job has found; where a suite judges a check that neither has judged, it is asked
too. Days are of the start, UTC; `first` and `last` are both within.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from quality.desk import LakeDesk
from quality.job.final import is_final, signed_days
from quality.job.times import day_number, moment

BEHIND = ("people", "people_failing", "people_passing", "most_of_one")
"""Who stands behind a count, as CHECK_RESULT says; of several strata there are at least so many, and one person was
evaluated at most so often. Null where nobody knows."""
CHECK_DAYS = pa.schema(
    [
        ("judge", pa.string()),
        ("day", pa.date32()),
        ("check", pa.string()),
        *((name, pa.int64()) for name in ("n_eval", "n_fail", "n_na", *BEHIND)),
        ("is_final", pa.bool_()),
    ]
)
STRATUM = ("partner", "family", "metric", "device_model", "firmware")
_COLUMNS = ", ".join(STRATUM)
_SUMS = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in ("n_eval", "n_fail", "n_na"))
_UNKNOWN = ", ".join(f"CAST(NULL AS BIGINT) AS {name}" for name in (*BEHIND, "entry"))
_KNOWN = ", ".join(
    f"CAST({how}({name}) AS BIGINT) AS {name}"
    for name, how in zip((*BEHIND, "entry"), ("max", "max", "max", "sum", "min"), strict=True)
)

# What the gate has counted of a day is told as the job found it, with the people behind it; of a day that is not judged
# yet nobody knows these. The gate's row without a stratum is about all of them.
_FOUND = f"""
WITH found AS (
  SELECT judge, CAST(start AS DATE) AS day, {_COLUMNS}, "check", n_eval, n_fail, n_na, {", ".join(BEHIND)}, entry,
    judge = 'gate' AND family IS NULL AS is_whole
  FROM check_result WHERE start >= ? AND start < ? AND "check" = coalesce(?, "check")
), uncounted AS (
  SELECT 'gate' AS judge, CAST(start AS DATE) AS day, {_COLUMNS}, "check", n_eval, n_fail, n_na
  FROM check_count WHERE start >= ? AND start < ? AND "check" = coalesce(?, "check")
    AND (CAST(start AS DATE), "check") NOT IN (SELECT (day, "check") FROM found WHERE is_whole)
)"""
_STRATA = f"""{_FOUND}, strata AS (
  SELECT judge, day, {_COLUMNS}, "check", {_SUMS}, {_KNOWN} FROM found WHERE NOT is_whole GROUP BY ALL
  UNION ALL BY NAME
  SELECT judge, day, {_COLUMNS}, "check", {_SUMS}, {_UNKNOWN} FROM uncounted GROUP BY ALL
)"""
_OF_CHECK = f'{_STRATA} SELECT * EXCLUDE ("check") FROM strata ORDER BY n_fail DESC, {_COLUMNS}'
_BY_DAY = f"""{_FOUND}
SELECT judge, day, "check", {_SUMS}, {_KNOWN} FROM found WHERE is_whole OR judge <> 'gate' GROUP BY ALL
UNION ALL BY NAME
SELECT judge, day, "check", {_SUMS}, {_UNKNOWN} FROM uncounted GROUP BY ALL
ORDER BY "check", day"""
_JUDGED_STRATA = f"""{_STRATA}
SELECT judge, "check", metric, partner, device_model, dense_rank() OVER (ORDER BY {_COLUMNS}) - 1 AS stratum,
  people, n_na > 0 AS partly
FROM strata WHERE n_eval > 0"""

_COVERAGE = """
SELECT CAST(start AS DATE) AS day, CASE WHEN level = 'study' THEN NULL ELSE metric END AS metric,
  max(people) AS people, max(enrolled) AS enrolled, CAST(sum("rows") AS BIGINT) AS "rows",
  CAST(sum(most_of_one) AS BIGINT) AS most_of_one
FROM day_summary WHERE level IN ('metric', 'study') AND start >= ? AND start < ?
GROUP BY ALL ORDER BY metric NULLS FIRST, day"""
_OUTCOMES = """
SELECT outcome, reason, CAST(sum(n) AS BIGINT) AS n, CASE WHEN count(people) = count(*) THEN max(people) END AS people
FROM outcome WHERE day BETWEEN ? AND ? GROUP BY outcome, reason ORDER BY outcome, n DESC, reason"""
_WAITING = """
WITH held AS (
  SELECT family, metric, partner, device_model, firmware, CAST(start AS DATE) AS day, pseudonym, count(*) AS n
  FROM quarantine WHERE {where} GROUP BY ALL
)
SELECT * EXCLUDE (pseudonym, n), CAST(sum(n) AS BIGINT) AS n, count(*) AS people, max(n) AS most_of_one
FROM held GROUP BY ALL ORDER BY day DESC, n DESC, metric, partner"""
_DECISIONS = "SELECT * FROM decision WHERE {where} ORDER BY start DESC, decision LIMIT ?"


def check_days(desk: LakeDesk, study: str, first: date, last: date, check: str | None = None) -> pa.Table:
    """How each check, or the one, went by day: the columns of CHECK_DAYS; `is_final` is what was signed off."""
    days = _days(first, last)
    found = desk.query(study, _BY_DAY, [*days, check, *days, check])
    return _with_final(desk, study, found).select(CHECK_DAYS.names).cast(CHECK_DAYS)


def strata(desk: LakeDesk, study: str, check: str, day: date) -> pa.Table:
    """How a check went on one day by stratum, most failures first: STRATUM, and the columns of CHECK_DAYS but the check."""
    days = _days(day, day)
    return _with_final(desk, study, desk.query(study, _OF_CHECK, [*days, check, *days, check]))


def _with_final(desk: LakeDesk, study: str, found: pa.Table) -> pa.Table:
    """With whether each row is what was signed off."""
    signed = signed_days(desk, study)
    rows = zip(found.column("day").to_pylist(), found.column("entry").to_pylist(), strict=True)
    final = [entry is not None and is_final(day, entry, signed) for day, entry in rows]
    return found.drop_columns("entry").append_column("is_final", pa.array(final, pa.bool_()))


def judged_strata(desk: LakeDesk, study: str, day: date) -> pa.Table:
    """What each check judged on a day: judge, check, metric, partner, device_model, the stratum's number, people, partly.

    `partly` is where it did not apply to all of the stratum.
    """
    days = _days(day, day)
    return desk.query(study, _JUDGED_STRATA, [*days, None, *days, None])


def coverage(desk: LakeDesk, study: str, first: date, last: date) -> pa.Table:
    """Who has rows: day, metric (null for any), people, enrolled, rows, most_of_one (null where nobody knows)."""
    return desk.query(study, _COVERAGE, _days(first, last))


def outcomes(desk: LakeDesk, study: str, first: date, last: date) -> pa.Table:
    """What came of the readings that were judged on these days: outcome, reason, n, people."""
    return desk.query(study, _OUTCOMES, [first, last])


def waiting(desk: LakeDesk, study: str, where: str = "true", parameters: Sequence[Any] = ()) -> pa.Table:
    """The rows in quarantine by stratum and day, the newest first: family, metric, …, day, n, people, most_of_one."""
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
