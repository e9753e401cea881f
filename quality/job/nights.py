"""Whether a person's nights lie where they did: a device with the wrong time zone moves them by whole hours."""

from dataclasses import dataclass

import numpy as np

from quality.checks import Check
from quality.desk import LakeDesk
from quality.job.parts import OF_PART
from quality.job.readings import OF_SOURCE, Readings, strata_of
from quality.job.results import Answers, Name, answered
from quality.job.segments import Array, codes, integers, medians, numbers, runs_of
from quality.job.times import moment

BINS = 48
"""Half hours of a day."""
_HALF_HOUR_US = 1_800_000_000
_SMOOTHED = 7
"""Half hours over which a night's lowest heart rate is looked for, in the middle of which it is said to lie."""
_CURVE = f"""
SELECT pseudonym, source, partner, device_model, firmware, max(start) AS last, avg(value) AS value,
  (epoch_us(start) + coalesce(offset_min, 0)::BIGINT * 60000000) // 1800000000 AS half_hour
FROM observation WHERE metric = ? AND start >= ? AND start < ? AND value IS NOT NULL{OF_PART}
  AND pseudonym IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL"""


@dataclass(frozen=True)
class Nights:
    """When the heart beat slowest: `hour` float64 [devices, days] of the wall clock, NaN where too little was measured.

    The last of the days is the one that is judged; `name` and `person` [devices] say whose they are.
    """

    names: list[Name]
    name: Array
    person: Array
    hour: Array


def read_nights(desk: LakeDesk, study: str, readings: Readings, day: int, check: Check) -> Nights:
    """The nights up to a day of people of whom it has a heart rate, by the wall clock where the offset is known."""
    days = round(check.number("days") + check.number("baseline_days"))
    metric = check.metrics[0]
    chosen = readings.of_metrics((metric,))
    people = [chosen.pseudonyms[person] for person in np.unique(chosen.person).tolist()]
    table = desk.query(study, _CURVE, [metric, moment(day + 1 - days), moment(day + 1), *readings.part, people])
    (person, _), (source, _) = (codes(table.column(name)) for name in ("pseudonym", "source"))
    name, names = strata_of(table, OF_SOURCE)
    last, value, half_hour = (
        integers(table.column("last")),
        numbers(table.column("value")),
        integers(table.column("half_hour")),
    )
    order = np.lexsort((last, source, person))
    person, source, value, half_hour = person[order], source[order], value[order], half_hour[order]
    device = runs_of(person, source)
    newest = order[device.begins + device.sizes - 1]
    curve = _curve(device.of_row, device.total, half_hour - (day + 1 - days) * BINS, days, value)
    return Nights(names, name[newest], person[device.begins], _lowest(curve, check.number("least_hours")))


def _curve(device: Array, devices: int, bins: Array, days: int, value: Array) -> Array:
    """[devices, days, half hours] the mean heart rate; what the wall clock puts on another day is left out."""
    curve = np.full((devices, days * BINS), np.nan)
    inside = (bins >= 0) & (bins < days * BINS)
    curve[device[inside], bins[inside]] = value[inside]
    return curve.reshape(devices, days, BINS)


def _lowest(curve: Array, least_hours: float) -> Array:
    """[devices, days] the hour about which the heart beat slowest, NaN on days with less than `least_hours` of it."""
    around = np.concatenate([curve, curve[..., : _SMOOTHED - 1]], axis=-1)
    known = ~np.isnan(around)
    windows = np.lib.stride_tricks.sliding_window_view
    count = windows(known, _SMOOTHED, axis=-1).sum(axis=-1)
    total = windows(np.where(known, around, 0), _SMOOTHED, axis=-1).sum(axis=-1)
    mean = np.where(count > _SMOOTHED // 2, total / np.maximum(count, 1), np.inf)
    middle = (mean.argmin(axis=-1) / 2 + _SMOOTHED / 4) % 24
    enough = (~np.isnan(curve)).sum(axis=-1) >= 2 * least_hours
    return np.asarray(np.where(enough, middle, np.nan))


def night_shift(nights: Nights, day: int, check: Check) -> Answers:
    """TM-08: devices whose last `days` nights all lie `shift_h` or more beside the nights before, to one side.

    Measured: the smallest of these shifts, hours, 0 where they lie to both sides. Not judged where one of them is
    missing, or too many before.
    """
    recent, devices = round(check.number("days")), len(nights.name)
    before, after = nights.hour[:, :-recent], nights.hour[:, -recent:]
    usual = _usual(before, devices)
    shift = (after - usual[:, None] + 12) % 24 - 12
    least = np.abs(shift).min(axis=1, initial=np.inf)
    one_side = (shift > 0).all(axis=1) | (shift < 0).all(axis=1)
    applies = ((~np.isnan(before)).sum(axis=1) >= check.number("least_days")) & ~np.isnan(after).any(axis=1)
    # whole hours: half of one is within what a night's lowest point moves by itself
    fails = one_side & (np.round(least) >= check.number("shift_h"))
    return answered(
        check.id,
        day,
        nights.names,
        nights.name,
        nights.person,
        applies=applies,
        fails=fails,
        measured=np.where(one_side, least, 0.0),
    )


def _usual(before: Array, devices: int) -> Array:
    """[devices] the median hour on the clock's circle, unrolled about its mean direction."""
    known = ~np.isnan(before)
    angle = np.where(known, before, 0) * (2 * np.pi / 24)
    east, north = (np.where(known, part, 0).sum(axis=1) for part in (np.sin(angle), np.cos(angle)))
    centre = np.arctan2(east, north) * 24 / (2 * np.pi)
    beside = (before - centre[:, None] + 12) % 24 - 12
    owner = np.repeat(np.arange(devices), before.shape[1])
    return np.asarray(centre + medians(beside.ravel(), owner, devices))
