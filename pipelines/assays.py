"""What a laboratory's report says around its results: of the specimen, of the run, and what the assay can measure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import texts
from pipelines.identity import record_hash64
from schemas.lab_mapping import LabMapping
from schemas.metrics import Metric
from schemas.specimens import condition, rejection

_UNKNOWN = LabMapping()
_WORDS = ("specimen_condition", "rejected_for", "rejection", "run_controls")


class Limits(NamedTuple):
    """What an assay can measure, in the metric's unit, as far as the laboratory's mapping says so."""

    loq: float | None = None
    low: float | None = None
    high: float | None = None


NO_LIMITS = Limits()


def limits_of(
    metric: Metric, code: str, system: str | None, relation: str | None, laboratory: LabMapping | None
) -> Limits:
    """Of the assay of a code; nothing where the result is two numbers, or the limits' unit is none of the metric's."""
    found = laboratory.limits_of(code, system) if laboratory else None
    conversion = metric.conversion(found.unit or metric.unit) if found else None
    if found is None or conversion is None or relation in ("range", "ratio"):
        return NO_LIMITS
    own = (found.loq, found.low, found.high)
    return Limits(*(None if n is None else n * conversion.factor + conversion.offset for n in own))


def assays(
    reports: pa.RecordBatch, results: pa.RecordBatch, limits: list[Limits], laboratories: Mapping[str, LabMapping]
) -> dict[str, Any]:
    """For each result what is known of its specimen, run and assay: in our own words where it is no number."""
    of = [laboratories.get(name) or _UNKNOWN for name in texts(reports, "laboratory")]
    said = zip(of, *(texts(reports, name) for name in ("conditions", "rejected", "run_controls")), strict=True)
    words = zip(*(_words(*one) for one in said), strict=True)
    report = results.column("message")
    return {
        **{name: pa.array(column, pa.string()).take(report) for name, column in zip(_WORDS, words, strict=True)},
        "haemolysis_index": reports.column("haemolysis_index").take(report),
        "dilution": results.column("dilution"),
        "loq": pa.array([one.loq for one in limits], pa.float64()),
        "reportable_low": pa.array([one.low for one in limits], pa.float64()),
        "reportable_high": pa.array([one.high for one in limits], pa.float64()),
    }


def _words(
    laboratory: LabMapping, conditions: list[str], reasons: list[str], controls: str | None
) -> tuple[str | None, str | None, str | None, str | None]:
    """The specimen's condition; why it was rejected, and whether that can be mended; how the run's controls came out.

    Controls of which nothing is said are None, and `absent` where the laboratory has to say something.
    """
    if controls in (None, "absent"):
        controls = "absent" if laboratory.controls and laboratory.controls.required else None
    told = rejection(reasons, laboratory.rejection_words)
    return condition(conditions, laboratory.condition_words), *told, controls


def runs(partner: str, reports: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """A hash of the run that each report's results were measured in, 0 where that is not known."""
    said = zip(*(texts(reports, name) for name in ("laboratory", "run")), strict=True)
    found = [0 if run is None else record_hash64(partner, laboratory, run) or 1 for laboratory, run in said]
    return np.array(found, dtype=np.uint64)
