"""What several sources, or one, add up to in a day: minutes counted twice, and more steps than anybody walks."""

import numpy as np

from quality.checks import Check
from quality.job.readings import Readings
from quality.job.results import Answers, Name, answered, coarser
from quality.job.segments import DAY_US, HOUR_US, MINUTE_US, Array, runs_of
from quality.job.sequences import of_series
from schemas.metrics import catalogue

MINUTES = 1440
_STEPS, _STEPS_OF_DAY = "steps_interval", "steps_24h"
_AT_ONCE = 256
"""People's metrics whose minutes are held in memory at once."""


def overlapping_sources(readings: Readings, day: int, check: Check) -> Answers:
    """UQ-03: people of whom several sources count the same minutes, by metric. Measured: the share of the minutes.

    Of a person with one source of a metric nothing can overlap: not applicable.
    """
    chosen = readings.of_metrics(check.metrics)
    chosen = chosen.pick(chosen.end > chosen.start)
    order = np.lexsort((chosen.source, chosen.metric, chosen.person))
    person, metric, source = chosen.person[order], chosen.metric[order], chosen.source[order]
    first = np.clip((chosen.start[order] - day * DAY_US) // MINUTE_US, 0, MINUTES - 1)
    until = np.clip(-((day * DAY_US - chosen.end[order]) // MINUTE_US), first + 1, MINUTES)
    units, series = runs_of(person, metric), runs_of(person, metric, source)
    of_series = units.of_row[series.begins]
    covered, twice = np.zeros(units.total, dtype=np.int64), np.zeros(units.total, dtype=np.int64)
    edges = np.searchsorted(units.of_row, np.arange(0, units.total + _AT_ONCE, _AT_ONCE))
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        _count(covered, twice, slice(begin, end), (units.of_row, series.of_row, of_series), (first, until))
    share = twice / np.maximum(covered, 1)
    applies = np.bincount(of_series, minlength=units.total) > 1
    distinct, place = coarser(chosen.names, lambda name: Name(family=name.family, metric=name.metric))
    return answered(
        check.id,
        day,
        distinct,
        place[chosen.name[order][units.begins]],
        person[units.begins],
        applies=applies,
        fails=share > check.number("overlap_share"),
        measured=share,
    )


def _count(
    covered: Array, twice: Array, rows: slice, owners: tuple[Array, Array, Array], minutes: tuple[Array, Array]
) -> None:
    """Count of some units the minutes that any source has, and those that more than one has."""
    unit, series, of_series = owners
    first, until = minutes[0][rows], minutes[1][rows]
    if not len(first):
        return
    lowest, least = series[rows][0], unit[rows][0]
    here = series[rows] - lowest
    has = has_minute(here, first, until, int(here[-1]) + 1)
    sources = np.zeros((int(unit[rows][-1] - least) + 1, MINUTES), dtype=np.int16)
    np.add.at(sources, of_series[lowest : lowest + len(has)] - least, has.astype(np.int16))
    covered[least : least + len(sources)] = (sources > 0).sum(axis=1)
    twice[least : least + len(sources)] = (sources > 1).sum(axis=1)


def minutes_covered(owner: Array, first: Array, until: Array, owners: int) -> Array:
    """[owners] how many minutes of the day are in one of an owner's intervals [first, until) at least."""
    begins, ends = owner * (MINUTES + 1) + first, owner * (MINUTES + 1) + until
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], ends[order]
    reached = np.maximum.accumulate(ends)
    begins[1:] = np.maximum(begins[1:], reached[:-1])
    return np.bincount(owner[order], np.maximum(ends - begins, 0), minlength=owners)


def has_minute(owner: Array, first: Array, until: Array, owners: int) -> Array:
    """[owners, minutes] whether an owner has an interval [first, until) in minutes of the day that holds the minute."""
    changes = np.bincount(owner * (MINUTES + 1) + first, minlength=owners * (MINUTES + 1))
    changes -= np.bincount(owner * (MINUTES + 1) + until, minlength=owners * (MINUTES + 1))
    return np.asarray(np.cumsum(changes.reshape(owners, MINUTES + 1), axis=1)[:, :-1] > 0)


def steps_of_day(readings: Readings, day: int, check: Check) -> Answers:
    """PL-04 of days: sources whose intervals add up to more steps than the catalogue holds for plausible in a day."""
    limit = catalogue().metrics[_STEPS_OF_DAY].plausible
    assert limit is not None
    chosen = readings.of_metrics((_STEPS,))
    series = chosen.series
    total = series.sums(np.nan_to_num(chosen.value))
    everywhere = np.ones(series.total, dtype=bool)
    return of_series(chosen, day, check, everywhere, total > limit.high, total)


def batteries(readings: Readings, day: int, ended: bool, check: Check) -> Answers:
    """PL-10: devices that fell silent after their battery had been low for long, by the readings that tell of it.

    A hole is a silence of `hole_min` in everything that the source sends, also one that lasts until the end of a day that
    has ended. Not applicable to devices that do not tell their charge.
    """
    devices = readings.sources
    tells = devices.counts(readings.where(metric=check.metrics)) > 0
    fails = np.zeros(devices.total, dtype=bool)
    fails[tells] = _emptied(readings.pick(tells[devices.of_row]), day, ended, check)
    return _of_devices(readings, devices.begins, day, check.id, tells, fails)


def _emptied(readings: Readings, day: int, ended: bool, check: Check) -> Array:
    """[devices] whether a hole came after the charge had been low for so long."""
    if not len(readings):
        return np.zeros(0, dtype=bool)
    hole, end = check.number("hole_min") * MINUTE_US, (day + 1) * DAY_US
    order = np.lexsort((readings.start, readings.source, readings.person))
    start, devices = readings.start[order], runs_of(readings.person[order], readings.source[order])
    goes_on = np.append(devices.pairs(), False)
    after = np.where(goes_on, np.append(start[1:], end), end if ended else 0)
    charge = readings.where(metric=check.metrics)[order]
    is_low = readings.value[order][charge] < check.number("below_percent")
    drained = np.zeros(len(start), dtype=np.int64)
    drained[charge] = _low_for(devices.of_row[charge], start[charge], is_low)
    # what was last known of the charge when the silence began, where that was told not long before it
    place = np.maximum.accumulate(np.where(charge, np.arange(len(start)), -1))
    known = (place >= 0) & (devices.of_row[place] == devices.of_row) & (start - start[place] < hole)
    empty = (after - start >= hole) & known & (drained[place] > check.number("hours") * HOUR_US)
    return devices.counts(empty) > 0


def _low_for(device: Array, start: Array, is_low: Array) -> Array:
    """[n] how long the charge has been low without a break, microseconds; 0 where it is not."""
    stretch = runs_of(device, is_low)
    return np.asarray(np.where(is_low, start - start[stretch.begins][stretch.of_row], 0)) if len(start) else start


def _of_devices(readings: Readings, rows: Array, day: int, check: str, applies: Array, fails: Array) -> Answers:
    distinct, place = coarser(readings.names, lambda name: name.of_source)
    return answered(
        check, day, distinct, place[readings.name[rows]], readings.person[rows], applies=applies, fails=fails
    )
