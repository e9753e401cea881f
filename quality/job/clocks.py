"""Clocks: how late readings come, whether a device's clock drifts from one delivery to the next, and offsets that leap.

A reading's lag is the time from its end to its receipt: what the device's clock is behind ours, and how long the reading
waited. The reading of a day that lags least waited hardly at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quality.checks import Check
from quality.desk import LakeDesk
from quality.job.parts import OF_PART
from quality.job.readings import OF_SOURCE, Readings, strata_of
from quality.job.results import Answers, Name, answered
from quality.job.segments import (
    DAY_US,
    HOUR_US,
    SECOND_US,
    Array,
    Runs,
    codes,
    integers,
    medians,
    quantiles,
    runs_of,
)
from quality.job.sequences import of_series
from quality.job.times import moment
from quality.judged import NO_OFFSET

SENSORS = ("observation", "waveform")
_PERCENTILE = 0.95
_HOURS = f"""
SELECT pseudonym, source, partner, device_model, firmware, offset_min, epoch_us(start) // 3600000000 AS hour,
  min(start) AS first, max(start) AS last, min(epoch_us(received) - epoch_us("end")) AS lag_us,
  arg_min(received, epoch_us(received) - epoch_us("end")) AS received
FROM {{family}} WHERE start >= ? AND start < ?{OF_PART}
  AND pseudonym IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL"""


@dataclass(frozen=True)
class Hours:
    """What a source took in an hour with one offset from UTC [n], sorted by person, source and start.

    `first` and `last` are the hour's first and last start, `lag_us` the least lag in it, `received` when that reading was;
    `offset` is minutes, NO_OFFSET where none was said.
    """

    names: list[Name]
    person: Array
    source: Array
    name: Array
    received: Array
    offset: Array
    first: Array
    last: Array
    lag_us: Array

    @cached_property
    def devices(self) -> Runs:
        return runs_of(self.person, self.source)


def read_hours(desk: LakeDesk, study: str, readings: Readings, day: int, days: int) -> Hours:
    """The hours of the last `days` days up to this one, of the people and families of which it has readings."""
    families = [family for family in SENSORS if readings.has(family=(family,))]
    sql = " UNION ALL ".join(_HOURS.format(family=family) for family in families)
    asked = [moment(day + 1 - days), moment(day + 1), *readings.part, readings.pseudonyms]
    table = desk.query(study, sql, asked * len(families))
    (person, _), (source, _) = (codes(table.column(name)) for name in ("pseudonym", "source"))
    name, names = strata_of(table, OF_SOURCE)
    columns = {column: integers(table.column(column)) for column in ("received", "first", "last", "lag_us")}
    offset = integers(table.column("offset_min"), NO_OFFSET)
    order = np.lexsort((columns["last"], columns["first"], source, person))
    rest = {"person": person, "source": source, "name": name, "offset": offset, **columns}
    return Hours(names, **{column: values[order] for column, values in rest.items()})


def clock_answers(hours: Hours, day: int, catalogue: Mapping[str, Check]) -> list[Answers]:
    """TM-05 and TM-07 of a day."""
    return [
        *([clock_drift(hours, day, catalogue["TM-05"])] if "TM-05" in catalogue else []),
        *([zone_jumps(hours, day, catalogue["TM-07"])] if "TM-07" in catalogue else []),
    ]


def clock_drift(hours: Hours, day: int, check: Check) -> Answers:
    """TM-05: devices whose least lag of a day moves steadily. Measured: by how many seconds a day.

    The drift is the median slope between all pairs of days. It is not judged of fewer than `least_days` days, nor where
    one of them lies beside it by more than `scatter_s`: then readings waited, and it is not the clock.
    """
    devices = hours.devices
    owner, when, lag = _least_lags(hours, devices)
    first, second = _pairs(owner)
    slope = (lag[second] - lag[first]) / (when[second] - when[first])
    drift = medians(slope, owner[first], devices.total)
    rest = lag - drift[owner] * when
    level = medians(rest, owner, devices.total)
    scatter = np.zeros(devices.total)
    np.maximum.at(scatter, owner, np.nan_to_num(np.abs(rest - level[owner])))
    days = np.bincount(owner, minlength=devices.total)
    applies = (days >= check.number("least_days")) & (scatter <= check.number("scatter_s")) & ~np.isnan(drift)
    return _of_devices(hours, day, check.id, applies, np.abs(drift) > check.number("drift_s_per_day"), abs(drift))


def _least_lags(hours: Hours, devices: Runs) -> tuple[Array, Array, Array]:
    """Of each device and day of receipt the least lag: device, when (days), and how many seconds."""
    day = hours.received // DAY_US
    order = np.lexsort((hours.lag_us, day, devices.of_row))
    least = order[runs_of(devices.of_row[order], day[order]).begins]
    return devices.of_row[least], hours.received[least] / DAY_US, hours.lag_us[least] / SECOND_US


def _pairs(owner: Array) -> tuple[Array, Array]:
    """All pairs of rows of one owner, the earlier first; owners lie together and have few rows."""
    most = int(np.bincount(owner).max(initial=0)) if len(owner) else 0
    firsts, seconds = [], []
    for apart in range(1, most):
        first = np.flatnonzero(owner[apart:] == owner[:-apart])
        firsts.append(first)
        seconds.append(first + apart)
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *firsts]), np.concatenate([none, *seconds])


def zone_jumps(hours: Hours, day: int, check: Check) -> Answers:
    """TM-07: devices whose offset from UTC came back this day from where it had jumped to not long before.

    An offset that is known at one moment of the two days only, or never, is not judged.
    """
    jump, within = check.number("jump_min"), check.number("back_within_h") * HOUR_US
    devices = hours.devices
    known = (hours.offset != NO_OFFSET) & (hours.last >= (day - 1) * DAY_US)
    owner = np.concatenate([devices.of_row[known]] * 2)
    when = np.concatenate([hours.first[known], hours.last[known]])
    offset = np.concatenate([hours.offset[known]] * 2)
    order = np.lexsort((when, owner))
    owner, when, offset = owner[order], when[order], offset[order]
    stay = runs_of(owner, offset)
    who, where, since = owner[stay.begins], offset[stay.begins], when[stay.begins]
    before, away, after = slice(0, -2), slice(1, -1), slice(2, None)
    returned = (who[before] == who[after]) & (where[before] == where[after])
    returned &= np.abs(where[away] - where[before]) > jump
    returned &= (since[after] - since[away] <= within) & (since[after] >= day * DAY_US)
    fails = np.bincount(who[after][returned], minlength=devices.total) > 0
    today = hours.last >= day * DAY_US
    located = np.bincount(devices.of_row[known & today], minlength=devices.total) > 0
    return _of_devices(hours, day, check.id, located, fails, None)


def _of_devices(hours: Hours, day: int, check: str, applies: Array, fails: Array, measured: Array | None) -> Answers:
    """Of each device that has a reading this day, by what it was in its first hour of it."""
    devices = hours.devices
    today = np.flatnonzero(hours.last >= day * DAY_US)
    device, first = np.unique(devices.of_row[today], return_index=True)
    row = today[first]
    return answered(
        check,
        day,
        hours.names,
        hours.name[row],
        hours.person[row],
        applies=applies[device],
        fails=fails[device],
        measured=None if measured is None else measured[device],
    )


def latency(readings: Readings, day: int, check: Check) -> Answers:
    """TM-09: series whose readings came later than `late_h` after they were taken. Measured: hours, 95th percentile."""
    chosen = readings.pick(readings.where(family=SENSORS))
    late = (chosen.received - chosen.end).astype(np.float64)
    series = chosen.series
    hours = quantiles(late, series.of_row, series.total, _PERCENTILE) / HOUR_US
    everywhere = np.ones(series.total, dtype=bool)
    return of_series(chosen, day, check, everywhere, hours > check.number("late_h"), hours)
