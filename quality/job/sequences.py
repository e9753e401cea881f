"""Readings beside the next ones of the same person, source and metric: gaps, rate, flat lines, leaps.

A series is one person's, source's and metric's readings of a day; it counts to the stratum in which it begins.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from quality.checks import Check
from quality.job.readings import Readings
from quality.job.results import Answers, Name, answered, coarser
from quality.job.segments import DAY_US, HOUR_US, MINUTE_US, SECOND_US, Array, groups_of, medians, runs_of
from schemas.families import WAVEFORM


def sequence_answers(readings: Readings, before: Readings, day: int, catalogue: Mapping[str, Check]) -> list[Answers]:
    """SQ-01, SQ-03 and SQ-05 of a day; `before` are readings of rare metrics that came ahead of it, and its own."""
    return [
        *([sampling_gaps(readings, day, catalogue["SQ-01"])] if "SQ-01" in catalogue else []),
        *([flat_lines(readings, day, catalogue["SQ-03"])] if "SQ-03" in catalogue else []),
        *(leaps(readings, before, day, catalogue["SQ-05"]) if "SQ-05" in catalogue else []),
    ]


class _Steps(NamedTuple):
    """From each reading to the next of its series: the series, from start to start, and how long the reading lasts.

    Of a block the reading lasts for its samples; of a single reading, for the series' median step.
    """

    series: Array
    step: Array
    lasts: Array


def _steps(readings: Readings) -> tuple[_Steps, Array]:
    """The steps, and of each series the time from one sample to the next that is usual (NaN where there is no step)."""
    series = readings.series
    here = np.flatnonzero(series.pairs())
    owner, step = series.of_row[here], readings.start[here + 1] - readings.start[here]
    forward = step > 0
    usual = medians(step[forward].astype(np.float64), owner[forward], series.total)
    period = readings.period_us[series.begins]
    extent = (readings.period_us * readings.samples)[here]
    lasts = np.where(extent > 0, extent, usual[owner])
    return _Steps(owner, step, lasts), np.where(period > 0, period, usual)


def sampling_gaps(readings: Readings, day: int, check: Check) -> Answers:
    """SQ-01: series whose gaps are too large a share of the time worn. Measured: the share.

    A gap is a step longer than `gap_periods` usual ones; a silence of `not_worn_min` or longer is time not worn.
    """
    chosen = readings.of_metrics(check.metrics)
    steps, usual = _steps(chosen)
    series = chosen.series
    silence = steps.step - steps.lasts
    worn = silence < check.number("not_worn_min") * MINUTE_US
    beyond = (check.number("gap_periods") - np.where(_in_blocks(chosen)[steps.series], 0, 1)) * usual[steps.series]
    gap = np.where(worn & (silence > beyond), silence, 0)
    total = _sums(steps.series, np.where(worn, steps.step, 0), series.total)
    share = _sums(steps.series, gap, series.total) / np.maximum(total, 1)
    enough = _sums(steps.series, steps.step > 0, series.total) >= _fewest(chosen, check)
    return of_series(chosen, day, check, enough & (total > 0), share > check.number("gap_share"), share)


class Rates(NamedTuple):
    """Of series [n] the stratum in `names`, the person, the usual step, and for blocks when the next one begins, as a
    share of how long the block lasts; whether it is of blocks, has enough steps, and whether these are regular.
    """

    names: list[Name]
    name: Array
    person: Array
    usual: Array
    ratio: Array
    blocks: Array
    enough: Array
    regular: Array


def rates(readings: Readings, check: Check) -> Rates:
    """How often the series of a part's people were sampled."""
    chosen = readings.of_metrics(check.metrics)
    steps, usual = _steps(chosen)
    series, blocks = chosen.series, _in_blocks(chosen)
    ratio = medians(steps.step / np.maximum(steps.lasts, 1), steps.series, series.total)
    near = np.abs(steps.step - usual[steps.series]) <= check.number("regular_within_share") * usual[steps.series]
    count = _sums(steps.series, np.ones(len(steps.step)), series.total)
    regular = _sums(steps.series, near, series.total) >= check.number("regular_share") * count
    enough = count >= _fewest(chosen, check)
    begins = series.begins
    return Rates(chosen.names, chosen.name[begins], chosen.person[begins], usual, ratio, blocks, enough, regular)


def joined(parts: Sequence[Rates]) -> Rates:
    """The rates of all parts; people are numbered on from part to part."""
    places: dict[Name, int] = {}
    name, person, people = [], [], 0
    for part in parts:
        place = np.array([places.setdefault(one, len(places)) for one in part.names], dtype=np.int64)
        name.append(place[part.name])
        person.append(part.person + people)
        people += int(part.person.max(initial=-1)) + 1
    rest = (np.concatenate(columns) for columns in zip(*(part[3:] for part in parts), strict=True))
    return Rates(list(places), np.concatenate(name), np.concatenate(person), *rest)


def sampling_rate(of: Rates, day: int, check: Check) -> Answers:
    """SQ-02: series whose rate is off from what it should be. Measured: by which share.

    Blocks state their period: theirs is judged by when the next block begins. Single readings in regular steps are
    judged by the usual step of the device model, where at least `least_series` of its series are regular.
    """
    expected = _usual_of_model(of, of.enough & of.regular & ~of.blocks, int(check.number("least_series")))
    off = np.abs(np.where(of.blocks, of.ratio, of.usual / expected) - 1)
    applies = of.enough & ~np.isnan(off) & (of.blocks | of.regular)
    fails = off > check.number("deviation_share")
    return answered(check.id, day, of.names, of.name, of.person, applies=applies, fails=fails, measured=off)


def _usual_of_model(of: Rates, chosen: Array, fewest: int) -> Array:
    """For each series the median step of its partner's, metric's and model's chosen series; NaN where these are few."""
    distinct, place = coarser(of.names, lambda name: name._replace(firmware=None))
    model = place[of.name]
    typical = medians(np.where(chosen, of.usual, np.nan), model, len(distinct))
    typical[np.bincount(model[chosen], minlength=len(distinct)) < fewest] = np.nan
    return np.asarray(typical[model])


def flat_lines(readings: Readings, day: int, check: Check) -> Answers:
    """SQ-03 of single readings: windows of `flat_minutes` in which one value did not change for that long.

    A window is judged where it has `least_readings`; a silence of a quarter of the minutes ends a flat stretch.
    """
    minutes = check.by_metric("flat_minutes")
    chosen = readings.of_metrics(tuple(minutes))
    length, fewest = (_each(chosen, minutes) * MINUTE_US).astype(np.int64), check.number("least_readings")
    pairs = chosen.series.pairs() & (chosen.value[1:] == chosen.value[:-1])
    pairs &= np.diff(chosen.start) <= length[1:] // 4
    stretch = runs_of(np.cumsum(np.concatenate([[True], ~pairs])[: len(chosen)]))
    lasted = chosen.start[stretch.begins + stretch.sizes - 1] - chosen.start[stretch.begins]
    flat = ((lasted >= length[stretch.begins]) & (stretch.sizes >= fewest))[stretch.of_row]
    window = runs_of(chosen.series.of_row, chosen.start // np.maximum(length, 1))
    judged = window.sizes >= fewest
    fails = judged & (window.counts(flat) > 0)
    return _of_rows(chosen, window.begins, day, check.id, judged, fails)


def leaps(readings: Readings, before: Readings, day: int, check: Check) -> list[Answers]:
    """SQ-05: readings that differ by more than `change` from the one ahead of them, where that is not long ago.

    Pairs further apart than `within_s` are not judged, nor nearer than `after_s`. Of metrics that are rarely measured the
    readings `before` are looked at, of others the day's.
    """
    rare = rare_metrics(check)
    frequent = tuple(metric for metric in check.by_metric("within_s") if metric not in rare)
    return [_leaps(readings.of_metrics(frequent), day, check), _leaps(before.of_metrics(tuple(rare)), day, check)]


def rare_metrics(check: Check) -> dict[str, float]:
    """The metrics whose reading ahead may well be another day's, and how far back it counts, in seconds."""
    return {
        metric: seconds for metric, seconds in check.by_metric("within_s").items() if seconds >= HOUR_US / SECOND_US
    }


def _leaps(chosen: Readings, day: int, check: Check) -> Answers:
    change, within, after = (_each(chosen, check.by_metric(name)) for name in ("change", "within_s", "after_s"))
    here = np.flatnonzero(chosen.series.pairs()) + 1
    step = (chosen.start[here] - chosen.start[here - 1]) / SECOND_US
    moved = np.abs(chosen.value[here] - chosen.value[here - 1])
    near = (step > 0) & (step >= after[here]) & (step <= within[here]) & ~np.isnan(moved)
    judged, fails = np.zeros(len(chosen), dtype=bool), np.zeros(len(chosen), dtype=bool)
    judged[here], fails[here] = near, near & (moved > change[here])
    today = np.flatnonzero(chosen.start >= day * DAY_US)
    return _of_rows(chosen, today, day, check.id, judged[today], fails[today])


def _each(readings: Readings, by_metric: Mapping[str, float]) -> Array:
    """A number of each reading's metric, 0 where the metric has none."""
    of_names = [by_metric.get(name.metric or "", 0.0) for name in readings.names]
    return np.array(of_names, dtype=np.float64)[readings.name]


def of_series(chosen: Readings, day: int, check: Check, applies: Array, fails: Array, measured: Array) -> Answers:
    """The answers about the series of some readings, each judged once."""
    begins = chosen.series.begins
    who = chosen.name[begins], chosen.person[begins]
    return answered(check.id, day, chosen.names, *who, applies=applies, fails=fails, measured=measured)


def _of_rows(chosen: Readings, rows: Array, day: int, check: str, applies: Array, fails: Array) -> Answers:
    """Answers about units that begin with some rows, added up by person and stratum."""
    if not len(rows):
        rows, group, first = rows.astype(np.int64), rows.astype(np.int64), rows.astype(np.int64)
    else:
        group, first = groups_of(chosen.person[rows], chosen.name[rows])
    counts = [np.bincount(group, part, minlength=len(first)).astype(np.int64) for part in (applies, fails, ~applies)]
    who = chosen.name[rows][first], chosen.person[rows][first]
    return Answers(check, day, chosen.names, *who, counts[0], counts[1], counts[2])


def _in_blocks(readings: Readings) -> Array:
    """Of each series whether its readings are blocks of a signal in equal steps."""
    return np.asarray(readings.period_us[readings.series.begins] > 0)


def _fewest(readings: Readings, check: Check) -> Any:
    """How many steps a series must have to be judged: of a signal's blocks fewer."""
    blocks = np.array([name.family == WAVEFORM.name for name in readings.names], dtype=bool)
    of_series = blocks[readings.name[readings.series.begins]]
    return np.where(of_series, check.number("least_blocks"), check.number("least_readings"))


def _sums(group: Array, values: Array, count: int) -> Array:
    return np.bincount(group, values, minlength=count)
