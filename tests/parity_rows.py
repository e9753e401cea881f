"""Rows with planted defects of every kind a suite of rows knows, as the gate sees them and as they lie in the lake.

The values of each are drawn from what is right, what is wrong, and what lies exactly on the border.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from quality.checks import Check
from quality.gate import Gate
from quality.judged import NO_OFFSET, Judged
from quality.message_checks import MessageChecks
from quality.strata import tally
from schemas.lab_results import STATUSES
from tests.planted import DAY, FIRST, HOUR, MINUTE, SECOND, at, rows

MEDIANS = {"weight": 70.0, "skin_temperature": 33.0}
FIRMWARE = {"acme": ("1.0.0", "beta")}
_VALUES: dict[str, tuple[float, ...]] = {
    "heart_rate": (60, 61.5, 25, 24.9, 240, 241, 20, 19, 300, 301),
    "spo2": (97, 70, 50, 49.5, 100, 100.5, 101),
    "skin_temperature": (33, 33.2, 15, 14, 45, 46, 91.4, 250),
    "steps_interval": (0, 40, 300, 301, 600, 1500, 20_000, 100_001),
    "glucose_cgm": (5.5, 2.2, 2.1, 22.2, 23, 90),
    "battery_level": (50, 0, 100, -1, 101),
    "weight": (70, 71, 154.3, 154, 31.75),
    "sleep_stage": (float("nan"),),
}
_LASTS = (0, SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, HOUR)
_ANALYTES = ("potassium", "folate", "magnesium", "zinc", "ldl_cholesterol", "ast")
_LAB_TYPES = {
    **dict.fromkeys(("comparator", "status", "reference_range", "specimen_condition", "rejection"), pa.string()),
    "run_controls": pa.string(),
    **dict.fromkeys(("haemolysis_index", "dilution", "loq", "reportable_low", "reportable_high"), pa.float64()),
    **dict.fromkeys(("collected", "arrived", "lot_expires", "specimen64", "custody_back_us"), pa.int64()),
}


class Batch(NamedTuple):
    """A block as the gate judges it, and the same readings as rows of their family."""

    family: str
    messages: pa.RecordBatch
    readings: pa.RecordBatch
    rows: pa.Table

    def counts(self, of: Mapping[str, Check]) -> dict[str, tuple[int, int, int]]:
        """By check how often the gate and the checks of messages evaluated it, failed it, and found it not applicable."""
        judged = Judged.of(self.messages, self.readings, self.family)
        flags = np.zeros(len(judged), dtype=np.int64)
        partner = self.messages.column("partner").to_pylist()
        for name in sorted(set(partner)):  # the gate knows one partner's versions at a time
            mine = np.array([one == name for one in partner])[judged.message]
            one = Judged.of(self.messages, self.readings.filter(pa.array(mine)), self.family, FIRMWARE.get(name, ()))
            flags[mine] = Gate(of).judge(one)
        answers = MessageChecks(MEDIANS, of).judge(judged)
        columns: dict[str, Any] = {name: self.readings.column(name) for name in self.readings.schema.names}
        columns |= {name: np.asarray(columns[name]) for name in ("message", "start", "end", "offset_min")}
        columns |= {"flags": flags | answers.flags, "compared": _where(answers.compared)}
        found = tally(pa.Table.from_batches([self.messages]), columns, self.family, of)
        total: dict[str, list[int]] = {}
        for place, counter in enumerate((found.evaluated, found.failed, found.not_applicable)):
            for stratum, number in counter.items():
                total.setdefault(stratum.check, [0, 0, 0])[place] += number
        return {check: (one[0], one[1], one[2]) for check, one in total.items()}


def _where(chosen: Any) -> pa.Array:
    """A column that is there where it is chosen, as checks are told."""
    return pa.array(np.ones(len(chosen)), mask=~chosen)


def observations(seed: int, messages: int = 300) -> Batch:
    """Messages of one metric each, of one to twelve readings."""
    rng = np.random.default_rng([seed, 1])
    header, owner = _headers(rng, messages, list(_VALUES))
    usual = rng.random(messages) < 0.6
    value = np.array(
        [
            _VALUES[header["metric"][one]][0] if usual[one] else rng.choice(_VALUES[header["metric"][one]])
            for one in owner
        ]
    )
    in_pounds = np.array([metric == "weight" for metric in header["metric"]]) & (rng.random(messages) < 0.5)
    value = np.where(in_pounds[owner], 154.3, value)
    return _batch("observation", rng, header, owner, {"value": value})


def signals(seed: int, messages: int = 120) -> Batch:
    """Blocks of acceleration and of places on the earth."""
    rng = np.random.default_rng([seed, 2])
    header, owner = _headers(rng, messages, ["acceleration", "location"])
    channels = [["x", "y", "z"] if one == "acceleration" else ["longitude", "latitude"] for one in header["metric"]]
    header["channels"] = channels
    limits = {"acceleration": (10, -313.8128, 313.8128, 313.82, -400), "location": (40, 90, -90, 90.5, 181, -180)}
    samples = [
        [
            float(rng.choice(limits[header["metric"][one]]) if rng.random() < 0.1 else 10.0)
            for _ in range(2 * len(channels[one]))
        ]
        for one in owner
    ]
    columns = {
        "low": np.array([min(one) for one in samples]),
        "high": np.array([max(one) for one in samples]),
        "values": pa.array(samples, pa.list_(pa.float64())),
        "counts": pa.nulls(len(owner), pa.list_(pa.int32())),
        "scale": pa.nulls(len(owner), pa.float64()),
        "zero": pa.nulls(len(owner), pa.float64()),
    }
    return _batch("waveform", rng, header, owner, columns, {"channels": [channels[one] for one in owner]})


def results(seed: int, messages: int = 300) -> Batch:
    """Laboratory results, of each of which this or that is known or wrong."""
    rng = np.random.default_rng([seed, 3])
    header, owner = _headers(rng, messages, list(_ANALYTES), most=4)
    n, noon = len(owner), at(FIRST, 2)
    collected = _some(rng, n, noon, noon - HOUR)
    waits = rng.choice([1, 8, 9, 12, 13, 24, 25, 72, 73, 24 * 30, 24 * 30 + 1], n)
    columns: dict[str, Any] = {
        "comparator": _some(rng, n, None, None, None, "<"),
        "status": _some(rng, n, "F", "F", "C", *sorted(STATUSES)),
        "reference_range": _some(rng, n, "10-18", "10-18", None),
        "specimen_condition": _some(rng, n, None, "cool", "haemolysed"),
        "rejection": _some(rng, n, None, None, "recoverable", "unknown"),
        "run_controls": _some(rng, n, None, "passed", "passed", "failed", "absent"),
        "haemolysis_index": _some(rng, n, None, 5.0, 40.0, 41.0, 90.0, 90.5),
        "dilution": _some(rng, n, None, 1.0, 10.0),
        "loq": _some(rng, n, None, 1.0, 12.0, 12.5),
        "reportable_low": _some(rng, n, None, 2.0, 12.0, 13.0),
        "reportable_high": _some(rng, n, None, 50.0, 12.0, 11.0),
        "collected": [None if rng.random() < 0.1 else one for one in collected],
        "arrived": [
            None if rng.random() < 0.2 else one + int(wait) * HOUR for one, wait in zip(collected, waits, strict=True)
        ],
        "lot_expires": [None if rng.random() < 0.5 else noon + int(rng.choice([0, 1, DAY, -1])) for _ in range(n)],
        "specimen64": _some(rng, n, None, 5, 6),
        "custody_back_us": _some(rng, n, None, -HOUR, 5 * MINUTE, 5 * MINUTE + 1),
    }
    typed = {name: pa.array(columns[name], kind) for name, kind in _LAB_TYPES.items()}
    return _batch("lab_result", rng, header, owner, {"value": rng.choice([12.0, 0.5, 60.0], n), **typed})


def _some(rng: np.random.Generator, count: int, *choices: Any) -> list[Any]:
    """So many of the choices, each as likely as the other."""
    return [choices[place] for place in rng.integers(0, len(choices), count)]


def _headers(
    rng: np.random.Generator, count: int, metrics: Sequence[str], most: int = 12
) -> tuple[dict[str, list[Any]], np.ndarray]:
    """Columns of messages, and of which message each reading is."""
    header: dict[str, list[Any]] = {
        "metric": _some(rng, count, *metrics),
        "partner": _some(rng, count, "acme", "other"),
        "device_model": _some(rng, count, None, "W1"),
        "firmware": _some(rng, count, None, "1.0.0", "2.0.1", "beta", "1.0", "1.0.0\n"),
        "channels": [None] * count,
    }
    return header, np.repeat(np.arange(count), rng.integers(1, most + 1, count))


def _batch(
    family: str,
    rng: np.random.Generator,
    header: dict[str, list[Any]],
    owner: np.ndarray,
    columns: dict[str, Any],
    further: dict[str, Any] | None = None,
) -> Batch:
    """Times, offsets and receipts are drawn here; `further` are columns of the rows alone."""
    n, place = len(owner), np.arange(len(owner))
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    back = rng.choice([0, 0, 0, 0, SECOND, SECOND + 1, 5 * MINUTE], n)
    start = at(FIRST, 3) + (place - np.repeat(begins, np.diff(begins, append=n))) * MINUTE - back
    end = start + rng.choice(_LASTS, n)
    latest = np.maximum.reduceat(end, begins)
    received = latest - rng.choice([-HOUR, 0, 60 * SECOND, 60 * SECOND + 1, 240 * SECOND, 299 * SECOND], len(begins))
    offset = rng.choice([NO_OFFSET, 0, 60, 345, 7, -720, 840, -735, 855], n).astype(np.int16)
    texts = {name: pa.array(header[name], pa.string()) for name in ("metric", "partner", "device_model", "firmware")}
    channels = pa.array(header["channels"], pa.list_(pa.string()))
    messages = pa.RecordBatch.from_pydict({**texts, "channels": channels, "received": received})
    common = {"message": owner.astype(np.int32), "start": start, "end": end, "offset_min": offset}
    readings = pa.RecordBatch.from_pydict({**{name: pa.array(of) for name, of in {**common, **columns}.items()}})
    lake = {name: of for name, of in columns.items() if name not in ("low", "high")}
    made = rows(
        family,
        n,
        start=start,
        end=end,
        offset_min=pa.array(offset, mask=offset == NO_OFFSET),
        received=received[owner],
        origin=[b"%d" % one for one in owner.tolist()],
        origin_index=place,
        key64=rng.integers(-(1 << 62), 1 << 62, n),
        pseudonym=[f"p{one % 7}" for one in owner.tolist()],
        **{name: [header[name][one] for one in owner.tolist()] for name in texts},
        **lake,
        **(further or {}),
    )
    return Batch(family, messages, readings, made.take(pa.array(rng.permutation(n))))
