"""The frames that suites of rows are asked about: a family's rows of a day, all of them or a sample.

Numbers are int64 or float64 and times are UTC with a zone, of which alone Great Expectations judges whole columns at once. A
person is a number that is told anew for each frame; pseudonyms, sources and record ids stay here.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.checks import Check
from quality.desk import LakeDesk
from quality.gate_lab import ROUNDED
from quality.job.segments import MINUTE_US, SECOND_US, Array, Runs, codes, integers, medians, numbers, runs_of
from quality.job.times import day_number, moment
from quality.message_checks import other_units
from schemas.families import LAB_RESULT, OBSERVATION, UTC_MICROS, WAVEFORM
from schemas.lab_results import WITHOUT_VALUE
from schemas.metrics import catalogue

SAMPLED = 10_000
"""About so many rows of a day are looked at again where not all of them are."""
MOST = 1_000_000
"""So many rows at most are judged at once; a day that has more is sampled."""

_COMMON = (
    "pseudonym",
    "partner",
    "metric",
    "firmware",
    "offset_min",
    "start",
    '"end"',
    "received",
    "origin",
    "origin_index",
)
_LAB = (
    *("status", "reference_range", "collected", "arrived", "lot_expires", "specimen64", "specimen_condition"),
    *("rejection", "haemolysis_index", "custody_back_us", "loq", "reportable_low", "reportable_high", "dilution"),
    "run_controls",
)
_ROWS = """
WITH day AS (
  SELECT {columns}, key64 FROM {family}_all WHERE start >= ? AND start < ?
  UNION ALL BY NAME
  SELECT {columns}, key64 FROM quarantine WHERE family = '{family}' AND start >= ? AND start < ?
)"""
_ALL = _ROWS + "SELECT * EXCLUDE (key64) FROM day ORDER BY origin, origin_index"
_COUNT = _ROWS + "SELECT count(*) AS n FROM day"
_SAMPLE = (
    _ROWS
    + """, messages AS (
  SELECT origin, min(key64) AS least, count(*) AS n FROM day GROUP BY origin
), chosen AS (
  SELECT origin, sum(n) OVER (ORDER BY least, origin) - n AS before FROM messages
)
SELECT * EXCLUDE (key64) FROM day WHERE origin IN (SELECT origin FROM chosen WHERE before < {sampled})
ORDER BY origin, origin_index"""
)


def count_rows(desk: LakeDesk, study: str, family: str, day: date) -> int:
    """How many rows a family has of a day, those in quarantine among them."""
    return int(desk.query(study, _of(_COUNT, family), _days(day)).column("n")[0].as_py())


def read_rows(desk: LakeDesk, study: str, family: str, day: date, sampled: int | None = None) -> pa.Table:
    """A family's rows of a day (UTC), those in quarantine among them, by message; or of whole messages about so many.

    Which messages are chosen their keys say, so that the same rows give the same sample.
    """
    asked = _of(_ALL, family) if sampled is None else _of(_SAMPLE, family, sampled)
    return desk.query(study, asked, _days(day))


def _of(sql: str, family: str, sampled: int = 0) -> str:
    columns = [*_COMMON, *(_LAB if family == LAB_RESULT.name else ()), *_values(family)]
    return sql.format(columns=", ".join(columns), family=family, sampled=sampled)


def _values(family: str) -> Iterable[str]:
    """What is judged of a row: its number where it is one and no limit, or a block's lowest and highest."""
    if family == LAB_RESULT.name:
        return ["CASE WHEN comparator IS NULL THEN value END AS value"]
    if family != WAVEFORM.name:
        return ["value"]
    return ['list_min("values") AS low', 'list_max("values") AS high', *_channels()]


def _channels() -> Iterable[str]:
    """The lowest and highest number of each channel that has a range of its own."""
    for code, channel in sorted(_with_ranges()):
        place = f"list_position(channels, '{channel}')"
        own = f'"values"[{place} : len("values") : len(channels)]'
        for end, function in (("low", "list_min"), ("high", "list_max")):
            yield f"CASE WHEN metric = '{code}' AND {place} > 0 THEN {function}({own}) END AS {channel}_{end}"


def _with_ranges() -> set[tuple[str, str]]:
    return {(metric.code, channel) for metric in catalogue().metrics.values() for channel in metric.channels}


def _days(day: date) -> list[Any]:
    number = day_number(day)
    return [moment(number), moment(number + 1)] * 2


# -- rows


def rows_frame(rows: pa.Table, family: str, of: Mapping[str, Check], medians_known: Mapping[str, float]) -> pa.Table:
    """The frame of rows that `read_rows` gave, which lie by message.

    `medians_known` are the population's by metric, in its unit: without one a message's unit is not compared.
    """
    start, end = integers(rows.column("start")), integers(rows.column("end"))
    messages = runs_of(codes(rows.column("origin"))[0])
    frame: dict[str, Any] = {
        "person": codes(rows.column("pseudonym"))[0].astype(np.int64),
        **{name: rows.column(name).cast(pa.string()) for name in ("partner", "metric", "firmware")},
        "offset_min": _floats(rows.column("offset_min")),
        "lasting": (end > start).astype(np.int64),
        "back_us": _back(start, messages.pairs()),
        "ahead_us": _ahead(end, integers(rows.column("received")), messages.begins)[messages.of_row],
    }
    if family == WAVEFORM.name:
        ends = ["low", "high", *(f"{name}_{side}" for _, name in sorted(_with_ranges()) for side in ("low", "high"))]
        return _table({**frame, **{name: _floats(rows.column(name)) for name in ends}})
    frame["value"] = _floats(rows.column("value"))
    frame |= _rates(numbers(rows.column("value")), end - start)
    if family == OBSERVATION.name and "PL-06" in of:
        frame["unit_off"] = _unit_off(rows, messages, of["PL-06"], medians_known)[messages.of_row]
    if family == LAB_RESULT.name:
        frame |= _laboratory(rows)
    return _table(frame)


def _table(columns: Mapping[str, Any]) -> pa.Table:
    """Of arrays of floats NaN is null."""
    return pa.table(
        {name: pa.array(of, from_pandas=True) if isinstance(of, np.ndarray) else of for name, of in columns.items()}
    )


def _floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.float64())


def _back(start: Array, pairs: Array) -> Array:
    """How much earlier a reading starts than the one ahead of it in its message, microseconds; NaN for the first."""
    back = np.full(len(start), np.nan)
    back[1:][pairs] = (start[:-1] - start[1:])[pairs]
    return back


def _ahead(end: Array, received: Array, begins: Array) -> Array:
    """[messages] by how much the latest reading ends after its message was received, microseconds."""
    if not len(begins):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(np.maximum.reduceat(end, begins) - received[begins])


def _rates(value: Array, duration: Array) -> dict[str, Array]:
    """What a value comes to in a second and a minute of its interval, which counts as one at least; NaN of an instant."""
    units = (("per_second", SECOND_US), ("per_minute", MINUTE_US))
    lasting = duration > 0
    return {name: np.where(lasting, value / (np.maximum(duration, unit) / unit), np.nan) for name, unit in units}


def _unit_off(rows: pa.Table, messages: Runs, check: Check, known: Mapping[str, float]) -> Array:
    """[messages] how far its median is from the nearest usual one in another unit, as a share of that; NaN: not compared."""
    metrics = rows.column("metric").take(pa.array(messages.begins)).to_pylist()
    middle = medians(numbers(rows.column("value")), messages.of_row, messages.total)
    off = np.full(messages.total, np.nan)
    for place in np.flatnonzero(messages.sizes >= check.number("least_readings")).tolist():
        code = metrics[place]
        if code in check.metrics and code in known:
            others = np.array(other_units(code, known[code]))
            off[place] = np.min(np.abs(middle[place] - others) / np.abs(others), initial=np.inf)
    return off


def _laboratory(rows: pa.Table) -> dict[str, Any]:
    """What is known of specimens, runs and assays."""
    low, high, loq = (numbers(rows.column(name)) for name in ("reportable_low", "reportable_high", "loq"))
    has_value = pc.invert(pc.is_in(rows.column("status"), pa.array(sorted(WITHOUT_VALUE))))
    diluted = np.nan_to_num(numbers(rows.column("dilution"))) > 1
    transit = pc.subtract(rows.column("arrived").cast(pa.int64()), rows.column("collected").cast(pa.int64()))
    return {
        **{name: rows.column(name).cast(pa.string()) for name in ("rejection", "run_controls", "specimen_condition")},
        **{name: rows.column(name).cast(UTC_MICROS) for name in ("collected", "arrived", "lot_expires")},
        **{name: _floats(rows.column(name)) for name in ("haemolysis_index", "custody_back_us")},
        "says": has_value.cast(pa.int64()),
        "of_kit": rows.column("specimen64").is_valid().cast(pa.int64()),
        "with_range": rows.column("reference_range").is_valid().cast(pa.float64()),
        "transit_us": _floats(transit),
        "loq_least": loq - np.abs(loq) * ROUNDED,
        "reportable_least": low - np.abs(low) * ROUNDED,
        "reportable_most": high + np.abs(high) * ROUNDED,
        "undiluted": np.where(diluted, np.nan, numbers(rows.column("value"))),
    }
