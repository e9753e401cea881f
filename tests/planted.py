"""A clean study in Arrow tables, and each defect that the job after the commit looks for, planted in it by hand.

Every `plant` takes a table and whom, what and when it is about, and gives the table back with the defect in it. How often
a check fails then is known from the arguments. The clean study has none of them.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.families import FAMILIES
from tests.desks import ENROLLED, KIT

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FIRST = 20_151
"""A Tuesday, 2025-03-04, as days since 1970."""

_DEFAULTS: dict[str, Any] = {
    "pbucket": 0,
    "pseudonym": "p0",
    "unit": "1",
    "time_quality": "offset_given",
    "partner": "acme",
    "source": "watch",
    "device_model": "W1",
    "firmware": "1.0.0",
    "modality": "sensed",
    "unit_sent": "1",
    "flags": 0,
    "consent_seq": 1,
    "entry": 1,
    "key64": 1,
    "revision": 0,
    "origin": b"o",
    "origin_index": 0,
}


def rows(family: str, count: int, **columns: Any) -> pa.Table:
    """A family's rows: an array for a column, or one value for all of its rows."""
    schema = FAMILIES[family].schema
    given = {**_DEFAULTS, **columns}
    arrays = []
    for field in schema:
        value = given.get(field.name)
        if isinstance(value, np.ndarray | list | pa.Array | pa.ChunkedArray):
            plain = pa.array(value, mask=np.isnan(value)) if _is_float(value) else pa.array(value)
            arrays.append(plain.cast(field.type))
        else:
            arrays.append(_alike(value, field.type, count))
    return pa.table(arrays, schema=schema)


@cache
def _alike(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    """One value for all rows: kept, since most columns of most tables are the same few."""
    return pa.array([value] * count, kind)


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def at(day: int, hour: float = 0.0) -> int:
    """A moment of a day, microseconds UTC."""
    return round(day * DAY + hour * HOUR)


# -- a clean study


def instants(who: str, metric: str, start: np.ndarray, value: np.ndarray, **columns: Any) -> pa.Table:
    """Readings at moments, received ten seconds later where it is not said otherwise."""
    common = {"pseudonym": who, "metric": metric, "offset_min": 0, "received": start + 10 * SECOND}
    return rows("observation", len(start), start=start, end=start, value=value, **{**common, **columns})


def heart_rates(who: str, day: int, every: int = 5 * MINUTE, seed: int = 0, **columns: Any) -> pa.Table:
    """A day's heart rates, lowest about half past three at night, and never the same twice in a row."""
    start = np.arange(day * DAY, (day + 1) * DAY, every, dtype=np.int64)
    hour = (start - day * DAY) / HOUR
    wave = 64 - 12 * np.cos((hour - 3.5) / 24 * 2 * np.pi)
    value = np.round(wave + np.random.default_rng([seed, day]).normal(0, 1, len(start)))
    value += np.arange(len(start)) % 2 * 0.5
    return instants(who, "heart_rate", start, value, **columns)


def skin_temperatures(who: str, day: int, seed: int = 0, **columns: Any) -> pa.Table:
    """A day's skin temperatures, every ten minutes."""
    start = np.arange(day * DAY, (day + 1) * DAY, 10 * MINUTE, dtype=np.int64)
    value = 33 + np.random.default_rng([seed, day, 1]).normal(0, 0.3, len(start))
    return instants(who, "skin_temperature", start, value, **columns)


def steps(who: str, day: int, first_hour: float = 8, hours: float = 4, each: float = 40, **columns: Any) -> pa.Table:
    """Steps of each minute of some hours."""
    start = np.arange(at(day, first_hour), at(day, first_hour + hours), MINUTE, dtype=np.int64)
    common = {"pseudonym": who, "metric": "steps_interval", "received": start + 2 * MINUTE, "offset_min": 0}
    return rows(
        "observation",
        len(start),
        start=start,
        end=start + MINUTE,
        value=np.full(len(start), each),
        **{**common, **columns},
    )


def charges(who: str, day: int, percent: Sequence[float], **columns: Any) -> pa.Table:
    """The battery's charge, every half hour from the day's beginning."""
    start = np.arange(len(percent), dtype=np.int64) * 30 * MINUTE + day * DAY
    return instants(who, "battery_level", start, np.array(percent, dtype=np.float64), **columns)


HZ = 4
PERIOD = SECOND // HZ
BLOCK = 5 * 60 * HZ
SCALE = 9.80665 / 512


def acceleration(
    who: str, day: int, first_hour: float, hours: float, scale_of: float = 0.2, seed: int = 0, **columns: Any
) -> pa.Table:
    """Blocks of five minutes of x, y and z, that move about gravity by `scale_of` [g]."""
    start = np.arange(at(day, first_hour), at(day, first_hour + hours), BLOCK * PERIOD, dtype=np.int64)
    rng = np.random.default_rng([seed, day, 2])
    motion = rng.normal(0, scale_of, (len(start), BLOCK, 3)) + np.array([0.0, 0.1, 0.98])
    return blocks(who, start, np.round(motion * 512).astype(np.int32), **columns)


def blocks(who: str, start: np.ndarray, counts: np.ndarray, **columns: Any) -> pa.Table:
    """Blocks [n, samples, channels] of acceleration, as a view shows them, of counts of 1/512 [g]."""
    samples = counts.shape[1]
    common = {
        "pseudonym": who,
        "metric": "acceleration",
        "period_us": PERIOD,
        "channels": [["x", "y", "z"]] * len(start),
        "samples": samples,
        "values": pa.array([part.ravel() for part in counts * SCALE], pa.list_(pa.float64())),
        "end": start + samples * PERIOD,
        "received": start + samples * PERIOD + 10 * SECOND,
    }
    return rows("waveform", len(start), start=start, **{**common, **columns})


def as_counts(table: pa.Table) -> pa.Table:
    """The same blocks as they lie in a file where a sensor's integers were sent."""
    lists = table.column("values").to_pylist()
    columns = {
        "counts": pa.array([np.round(np.array(one) / SCALE).astype(np.int32) for one in lists]),
        "scale": pa.array([SCALE] * len(lists)),
        "zero": pa.array([0.0] * len(lists)),
        "values": pa.nulls(len(lists)),
    }
    for name, column in columns.items():
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, column.cast(field.type))
    return table


def results(who: str, metric: str, days: Iterable[int], values: Iterable[float], **columns: Any) -> pa.Table:
    """A laboratory's results, at noon."""
    start = np.array([at(day, 12) for day in days], dtype=np.int64)
    common = {"pseudonym": who, "metric": metric, "source": "lab", "device_model": None, "firmware": None}
    return rows(
        "lab_result",
        len(start),
        start=start,
        end=start,
        received=start + DAY,
        value=np.array(list(values), dtype=np.float64),
        **{**common, **columns},
    )


def enrolled(people: Iterable[str], since: int = at(FIRST - 100), until: int | None = None) -> pa.Table:
    """Everybody since one moment, until another or for good."""
    return pa.Table.from_pylist([{"pseudonym": who, "since": since, "until": until} for who in people], ENROLLED)


def kits(count: int, sent: int, received: int | None, **moments: Any) -> pa.Table:
    """Kits that were all sent at one moment, and received at another, or never."""
    each = [{"barcode_hash": f"k{n}", "sent": sent, "received": received, **moments} for n in range(count)]
    return pa.Table.from_pylist(each, KIT)


def people(count: int) -> list[str]:
    return [f"p{number}" for number in range(count)]


def clean_study(count: int, days: Iterable[int]) -> dict[str, pa.Table]:
    """The tables of a study in which nothing is wrong: heart rate, skin temperature, steps, an hour and a half of motion."""
    observed, moved = [], []
    for day in days:
        for seed, who in enumerate(people(count)):
            observed += [heart_rates(who, day, seed=seed), skin_temperatures(who, day, seed=seed), steps(who, day)]
            moved.append(acceleration(who, day, 9, 1.5, seed=seed))
    return {
        "observation": pa.concat_tables(observed),
        "waveform": pa.concat_tables(moved),
        "enrolled": enrolled(people(count)),
    }


# -- defects


def _chosen(table: pa.Table, who: str | None, metric: str | None, since: int, until: int) -> np.ndarray:
    start = table.column("start").cast(pa.int64()).to_numpy()
    chosen = (start >= since) & (start < until)
    for name, wanted in (("pseudonym", who), ("metric", metric)):
        if wanted is not None:
            chosen &= pc.equal(table.column(name), wanted).to_numpy(zero_copy_only=False)
    return chosen


def _replace(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    place = table.schema.get_field_index(name)
    plain = pa.array(values, mask=np.isnan(values)) if values.dtype.kind == "f" else pa.array(values)
    return table.set_column(place, table.schema.field(name), plain.cast(table.schema.field(name).type))


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """A column as int64, or as float64 with NaN where it is null."""
    column = table.column(name)
    if pa.types.is_floating(column.type):
        return column.to_numpy(zero_copy_only=False).astype(np.float64)
    return column.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.int64)


def plant_holes(table: pa.Table, who: str, metric: str, since: int, until: int, keep: int) -> pa.Table:
    """SQ-01: of a stretch only every `keep`th reading came."""
    chosen = _chosen(table, who, metric, since, until)
    place = np.cumsum(chosen) - 1
    return table.filter(pa.array(~chosen | (place % keep == 0)))


def plant_slowness(table: pa.Table, who: str, metric: str, day: int, keep: int) -> pa.Table:
    """SQ-02: a device that samples `keep` times as rarely as its model does."""
    return plant_holes(table, who, metric, at(day), at(day + 1), keep)


def plant_flat_line(table: pa.Table, who: str, metric: str, since: int, until: int, value: float) -> pa.Table:
    """SQ-03: one value all the time; it fails as many windows by the clock as it touches."""
    chosen = _chosen(table, who, metric, since, until)
    return _replace(table, "value", np.where(chosen, value, numbers(table, "value")))


def plant_leap(who: str, metric: str, moment: int, apart: int, low: float, high: float, **columns: Any) -> pa.Table:
    """SQ-05: two further readings that lie far apart, to be added to a table."""
    start = np.array([moment, moment + apart], dtype=np.int64)
    return instants(who, metric, start, np.array([low, high]), **columns)


def plant_stillness(table: pa.Table, who: str, since: int, until: int) -> pa.Table:
    """SQ-03 of acceleration: a device that lies on a table."""
    return _recounted(table, who, since, until, np.array([0, 51, 502]))


def plant_clipping(table: pa.Table, who: str, since: int, until: int) -> pa.Table:
    """SQ-04: x at the end of a range of 8 [g]."""
    return _recounted(table, who, since, until, np.array([4090, 51, 502]))


def _recounted(table: pa.Table, who: str, since: int, until: int, sample: np.ndarray) -> pa.Table:
    chosen = _chosen(table, who, "acceleration", since, until)
    values, still = table.column("values").to_pylist(), np.tile(sample * SCALE, BLOCK).tolist()
    changed = [still if here else one for here, one in zip(chosen, values, strict=True)]
    place = table.schema.get_field_index("values")
    return table.set_column(place, table.schema.field("values"), pa.array(changed, table.schema.field("values").type))


def plant_drift(table: pa.Table, who: str, begin: int, seconds_a_day: float) -> pa.Table:
    """TM-05: a clock that was right at `begin` and loses some seconds a day from then on."""
    chosen = _chosen(table, who, None, begin, at(FIRST + 10_000))
    received = numbers(table, "received")
    behind = (received - begin) / DAY * seconds_a_day * SECOND
    return _replace(table, "received", np.where(chosen, received + behind.astype(np.int64), received))


def plant_zone_jump(table: pa.Table, who: str, since: int, until: int, offset_min: int) -> pa.Table:
    """TM-07: another offset from UTC for a while."""
    offset = numbers(table, "offset_min")
    chosen = _chosen(table, who, None, since, until)
    return _replace(table, "offset_min", np.where(chosen, offset_min, offset))


def plant_night_shift(table: pa.Table, who: str, first_day: int, hours: float) -> pa.Table:
    """TM-08: from a day on, everything is dated by some hours too late, within its day."""
    chosen = _chosen(table, who, "heart_rate", at(first_day), at(FIRST + 10_000))
    start = numbers(table, "start")
    moved = start // DAY * DAY + (start + round(hours * HOUR)) % DAY
    found = table
    for name in ("start", "end"):
        found = _replace(found, name, np.where(chosen, moved, start))
    return _replace(found, "received", np.where(chosen, moved + 10 * SECOND, numbers(table, "received")))


def plant_lateness(table: pa.Table, who: str, metric: str, day: int, hours: float) -> pa.Table:
    """TM-09: a day that came late."""
    received = numbers(table, "received")
    chosen = _chosen(table, who, metric, at(day), at(day + 1))
    return _replace(table, "received", np.where(chosen, received + round(hours * HOUR), received))


def plant_second_source(table: pa.Table, who: str, metric: str, day: int, share: float) -> pa.Table:
    """UQ-03: a phone that counts the last `share` of the minutes too, to be added to the table."""
    found = table.filter(pa.array(_chosen(table, who, metric, at(day), at(day + 1))))
    found = found.slice(round(found.num_rows * (1 - share)))
    return found.set_column(
        found.schema.get_field_index("source"), found.schema.field("source"), pa.array(["phone"] * found.num_rows)
    )


def plant_factor(
    table: pa.Table, metric: str, since: int, until: int, model: str, factor: float, zero: float = 0
) -> pa.Table:
    """PL-06, PL-07, PL-08: all values of a model in another unit, or shifted."""
    chosen = _chosen(table, None, metric, since, until)
    chosen &= pc.equal(table.column("device_model"), model).to_numpy(zero_copy_only=False)
    value = numbers(table, "value")
    return _replace(table, "value", np.where(chosen, value * factor + zero, value))


def plant_absence(table: pa.Table, who: str, since: int, until: int) -> pa.Table:
    """WT-01 to WT-04: nothing of a person for a while."""
    return table.filter(pa.array(~_chosen(table, who, None, since, until)))
