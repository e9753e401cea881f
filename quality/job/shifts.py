"""A day beside the days before it, by the summaries of both: shifts, new firmware, and units that were mixed up."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quality.checks import Check
from quality.desk import LakeDesk, Stratum
from quality.job.results import Answers, Name, answered
from quality.job.segments import DAY_US, MAD_TO_SD, Array
from quality.job.summaries import METRIC, STRATUM, History
from quality.job.times import as_day, moment
from quality.job.totals import Totals
from quality.message_checks import is_near, other_units
from schemas.families import OBSERVATION

USUAL_DAYS = 28
"""From how many days before what a metric usually measures is known."""
_FARTHEST = 1e6
"""What stands for a distance in standard deviations where these are 0."""
_FAILED = """
SELECT partner, family, metric, device_model, firmware, start,
  sum(n_fail)::DOUBLE / (sum(n_eval + n_na) / count(DISTINCT "check")) AS share
FROM check_count WHERE start >= ? AND start < ? GROUP BY ALL"""


@dataclass(frozen=True)
class FailedShares:
    """How many checks of the gate failed for each reading, by stratum and day."""

    by_name: Mapping[Name, Mapping[int, float]]

    def before(self, name: Name, day: int, days: int) -> Array:
        known = self.by_name.get(name, {})
        return np.array([known[at] for at in sorted(known) if day - days <= at < day])

    def on(self, name: Name, day: int) -> float:
        return self.by_name.get(name, {}).get(day, float("nan"))


def read_failed_shares(desk: LakeDesk, study: str, first: int, last: int) -> FailedShares:
    table = desk.query(study, _FAILED, [moment(first), moment(last + 1)])
    names = map(Name, *(table.column(name).to_pylist() for name in Name._fields))
    days = table.column("start").cast(pa.int64()).to_pylist()
    found: dict[Name, dict[int, float]] = {}
    for name, start, share in zip(names, days, table.column("share").to_pylist(), strict=True):
        found.setdefault(name, {})[start // DAY_US] = share
    return FailedShares(found)


def robust_z(value: float, before: Array, floor: float) -> float:
    """How many robust standard deviations a value lies from the median of earlier ones, which vary by `floor` at least."""
    middle = float(np.median(before))
    deviation = max(MAD_TO_SD * float(np.median(np.abs(before - middle))), floor)
    if value == middle:
        return 0.0
    return float(
        np.clip((value - middle) / deviation if deviation else np.inf * (value - middle), -_FARTHEST, _FARTHEST)
    )


def distribution_shift(
    today: Totals, history: History, failed: FailedShares, day: int, ended: bool, check: Check
) -> Answers:
    """PL-07: strata whose median, failures or rows of a person are far from the days before. Measured: the farthest z.

    Each of the three is judged where `least_days` days have it; rows only of a day that has ended. Not applicable where
    none of them can be judged.
    """
    known, farthest = history.on(STRATUM, day), []
    names = [name for name in today.names if not check.families or name.family in check.families]
    for name in names:
        found = _shifts(name, known[name], history, failed, day, check)
        judged = [z for kind, z in found.items() if not np.isnan(z) and (ended or kind != "rows")]
        farthest.append(max(judged, key=abs) if judged else float("nan"))
    return _of_strata(
        today, names, day, check.id, np.array(farthest), np.abs(np.array(farthest)) > check.number("robust_z")
    )


def _shifts(
    name: Name, today: Array, history: History, failed: FailedShares, day: int, check: Check
) -> dict[str, float]:
    """The z of each of the three, NaN where it cannot be judged."""
    days, least = round(check.number("baseline_days")), check.number("least_days")
    _, known = history.before(STRATUM, name, day, days)
    middle = known[~np.isnan(known[:, 2])]
    shares = failed.before(name, day, days)
    usual_spread = MAD_TO_SD * float(np.median(middle[:, 3])) if len(middle) else 0.0
    judged = {
        "median": (today[2], middle[:, 2], check.number("floor_spread_share") * usual_spread),
        "failed": (failed.on(name, day), shares, check.number("floor_failed_share")),
        "rows": (_log_rows(today[None])[0], _log_rows(known), check.number("floor_rows_share")),
    }
    return {
        kind: robust_z(float(value), before, floor) if len(before) >= least and not np.isnan(value) else float("nan")
        for kind, (value, before, floor) in judged.items()
    }


def _log_rows(known: Array) -> Array:
    """[n] the logarithm of rows a person: twice as many is as far as half."""
    return np.asarray(np.log(known[:, 0] / np.maximum(known[:, 1], 1)))


def firmware_change(today: Totals, history: History, day: int, check: Check) -> Answers:
    """PL-08: firmware that measures otherwise than the one before it on the same model. Measured: by how many robust SD.

    Not applicable without a firmware before it, or where too few people stand behind one of them for a median.
    """
    days, known, moved = round(check.number("baseline_days")), history.on(STRATUM, day), []
    names = [name for name in today.names if name.firmware and name.family == OBSERVATION.name]
    others: dict[Name, list[Name]] = {}
    for name in history.names(STRATUM):
        others.setdefault(name._replace(firmware=None), []).append(name)
    for name in names:
        own, _ = history.before(STRATUM, name, day, days)
        began = int(own[0]) if len(own) else day
        rivals = [one for one in others[name._replace(firmware=None)] if one != name]
        moved.append(_moved(float(known[name][2]), [history.before(STRATUM, one, began, days) for one in rivals]))
    return _of_strata(today, names, day, check.id, np.array(moved), np.abs(np.array(moved)) > check.number("robust_sd"))


def _moved(median: float, rivals: list[tuple[Array, Array]]) -> float:
    """How far a median lies from that of the firmware that was seen last, in its values' robust standard deviations."""
    known = [(int(days[-1]), part) for days, part in rivals if len(days)]
    if not known or np.isnan(median):
        return float("nan")
    _, before = max(known, key=lambda one: one[0])
    before = before[~np.isnan(before[:, 2])]
    if not len(before):
        return float("nan")
    middle, deviation = float(np.median(before[:, 2])), MAD_TO_SD * float(np.median(before[:, 3]))
    if median == middle:
        return 0.0
    return float(np.clip((median - middle) / deviation if deviation else np.inf, -_FARTHEST, _FARTHEST))


def mixed_units(today: Totals, medians: Array, history: History, day: int, check: Check) -> Answers:
    """PL-06 of whole strata: those whose median is what another unit would make of the metric's usual median.

    `medians` [strata] are of all values, however few people stand behind them: they are compared here, and not told.
    Measured: the ratio to the usual median. Not applicable where there are few readings, the metric takes no other unit,
    or nobody knows its usual median.
    """
    names, known_today, ratios, mixed = today.names, history.on(STRATUM, day), [], []
    for name, median in zip(names, medians.tolist(), strict=True):
        usual = _usual(history, name, day)
        others = other_units(name.metric, usual) if name.metric in check.metrics and not np.isnan(usual) else ()
        enough = known_today[name][0] >= check.number("least_readings")
        known = enough and bool(others) and not np.isnan(median)
        ratios.append(median / usual if known else float("nan"))
        mixed.append(known and is_near(median, others, check.number("off_share")))
    return _of_strata(today, names, day, check.id, np.array(ratios), np.array(mixed, dtype=bool))


def recalls(answers: Answers) -> tuple[Stratum, ...]:
    """The strata whose rows ought to be taken back: those that failed as a whole.

    What a stratum does not say, a recall would take for anything: where others of the day differ by that alone it is left
    to a steward.
    """
    failed = [answers.names[place] for place in answers.name[answers.failed > 0].tolist()]
    alone = [name for name in failed if sum(_agrees(other, name) for other in answers.names) == 1]
    return tuple(Stratum(check=answers.check, **name._asdict(), day=as_day(answers.day)) for name in alone)


def _agrees(other: Name, name: Name) -> bool:
    return all(said is None or said == has for said, has in zip(name, other, strict=True))


def _of_strata(today: Totals, names: list[Name], day: int, check: str, measured: Array, fails: Array) -> Answers:
    """One unit a stratum, judged where it has a statistic; the people behind it are those who sent its readings."""
    people = dict(zip(today.names, today.people(STRATUM).tolist(), strict=True))
    return answered(
        check,
        day,
        names,
        np.arange(len(names)),
        np.full(len(names), -1),
        applies=~np.isnan(measured.astype(np.float64)),
        fails=fails,
        measured=measured.astype(np.float64),
        people=np.array([people[name] for name in names], dtype=np.int64),
    )


def _usual(history: History, name: Name, day: int) -> float:
    _, known = history.before(METRIC, Name(family=name.family, metric=name.metric), day, USUAL_DAYS)
    middle = known[~np.isnan(known[:, 2]), 2]
    return float(np.median(middle)) if len(middle) else float("nan")
