"""Whether kits come back and can be used, and whether a result fits the person's last one."""

import numpy as np
import pyarrow as pa

from quality.checks import Check
from quality.desk import LakeDesk
from quality.job.readings import strata_of
from quality.job.results import Answers, Name, answered
from quality.job.segments import DAY_US, Array, codes, integers, numbers, runs_of
from quality.job.times import moment
from quality.job.wear import WEEK
from schemas.specimens import HAEMOLYSED

_KITS = "SELECT sent, received, rejected FROM kit"
_SPECIMENS = """
SELECT pseudonym, partner, coalesce(specimen64, epoch_us(start)) AS specimen,
  bool_or(coalesce(specimen_condition = '{word}', false) OR coalesce(rejected_for = '{word}', false)) AS burst,
  bool_or(specimen_condition IS NOT NULL OR rejected_for IS NOT NULL OR haemolysis_index IS NOT NULL) AS said
FROM (
  SELECT pseudonym, partner, start, specimen64, specimen_condition, rejected_for, haemolysis_index FROM lab_result
  UNION ALL
  SELECT pseudonym, partner, start, specimen64, specimen_condition, rejected_for, haemolysis_index FROM quarantine
  WHERE family = 'lab_result')
WHERE start >= ? AND start < ? GROUP BY ALL"""
_NEVER = int(np.iinfo(np.int64).max)
_EARLIER = """
SELECT pseudonym, partner, 'lab_result' AS family, metric, device_model, firmware, start, value FROM lab_result
WHERE start >= ? AND start < ? AND value IS NOT NULL AND comparator IS NULL AND relation IS NULL
  AND list_contains(?::VARCHAR[], metric)
  AND pseudonym IN (SELECT pseudonym FROM lab_result WHERE start >= ? AND start < ?)"""


def kits_of_week(desk: LakeDesk, study: str, monday: int, check: Check) -> Answers:
    """LK-13: a week's return rate, share of suitable specimens and share of burst ones; each of the three is judged once.

    Returned is what arrived of the kits that were due that week, `due_days` after they were sent; suitable is what was
    not rejected of those that arrived in it; of the specimens taken in it those are burst of which the laboratory says
    so. A rate of nothing does not apply, nor the last one where no laboratory says in which condition a specimen was.
    Measured: the return rate; for people stand kits, each of which is one person's.
    """
    table = desk.query(study, _KITS)
    sent, received, rejected = (integers(table.column(name), _NEVER) for name in ("sent", "received", "rejected"))
    begin, end = monday * DAY_US, (monday + WEEK) * DAY_US
    wait = round(check.number("due_days")) * DAY_US
    due = (sent >= begin - wait) & (sent < end - wait)
    arrived = (received >= begin) & (received < end)
    returned = _share(due, received < end)
    suitable = _share(arrived, rejected >= _NEVER)
    haemolysed = _haemolysed(desk, study, monday)
    fails = [
        returned < check.number("returned_share"),
        suitable < check.number("suitable_share"),
        haemolysed > check.number("haemolysed_share"),
    ]
    judged = ~np.isnan([returned, suitable, haemolysed])
    kits = np.flatnonzero(due | arrived)
    return _of_week(check, monday, kits, judged, np.array(fails), returned)


def _haemolysed(desk: LakeDesk, study: str, monday: int) -> float:
    """The share of burst specimens among those of laboratories that say of any in which condition it was."""
    sql = _SPECIMENS.format(word=HAEMOLYSED)
    table = desk.query(study, sql, [moment(monday), moment(monday + WEEK)])
    partner, partners = codes(table.column("partner"))
    burst, said = (np.asarray(table.column(name)).astype(bool) for name in ("burst", "said"))
    tells = np.bincount(partner, said, minlength=len(partners)) > 0
    return _share(tells[partner], burst)


def _share(of: Array, chosen: Array) -> float:
    return float((of & chosen).sum() / of.sum()) if of.any() else float("nan")


def _of_week(check: Check, monday: int, kits: Array, judged: Array, fails: Array, returned: float) -> Answers:
    """One unit a kit, so that it is known how many there are; the first of them carries the counts."""
    units = max(1, len(kits))
    evaluated, failed, not_applicable = (np.zeros(units, dtype=np.int64) for _ in range(3))
    evaluated[0], failed[0], not_applicable[0] = judged.sum(), (judged & fails).sum(), (~judged).sum()
    person = kits if len(kits) else np.full(1, -1)
    return Answers(
        check.id,
        monday,
        [Name()],
        np.zeros(units, dtype=np.int64),
        person,
        evaluated,
        failed,
        not_applicable,
        np.full(units, returned),
        people=np.array([len(kits)]),
    )


def delta_check(desk: LakeDesk, study: str, day: int, check: Check) -> Answers:
    """LK-14: results that differ from the person's last one of the metric by more than `change_percent` of it.

    Not applicable to a first result, or where the last one is older than `within_days` or is 0. Measured: percent.
    """
    within = round(check.number("within_days"))
    change = check.by_metric("change_percent")
    span = [moment(day - within), moment(day + 1)]
    table = desk.query(study, _EARLIER, [*span, list(change), moment(day), moment(day + 1)])
    return deltas(table, day, within, change, check.id)


def deltas(table: pa.Table, day: int, within: int, change: dict[str, float], check: str) -> Answers:
    """Judge the results of the day that are among results of several; see `delta_check`."""
    (person, _), (metric, metrics) = (codes(table.column(name)) for name in ("pseudonym", "metric"))
    name, names = strata_of(table)
    start, value = integers(table.column("start")), numbers(table.column("value"))
    order = np.lexsort((value, start, metric, person))
    person, metric, name, start, value = person[order], metric[order], name[order], start[order], value[order]
    before, differs = np.full(len(value), np.nan), np.full(len(value), np.nan)
    same = np.flatnonzero(runs_of(person, metric).pairs()) + 1
    recent = same[start[same] - start[same - 1] <= within * DAY_US]
    before[recent] = np.abs(value[recent - 1])
    has = before > 0
    differs[has] = np.abs(value[has] - value[np.flatnonzero(has) - 1]) / before[has] * 100
    limit = np.array([change[code] for code in metrics], dtype=np.float64)[metric]
    today = start >= day * DAY_US
    return answered(
        check,
        day,
        names,
        name[today],
        person[today],
        applies=has[today],
        fails=(differs > limit)[today],
        measured=differs[today],
    )
