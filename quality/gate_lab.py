"""The gate's checks of laboratories' results, by what is known of the specimen, the run and the assay.

Each is made from its check, whose numbers are the study's, and answers for a block which readings fail.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.checks import Check
from quality.judged import Array, Judged, Kernel
from schemas.lab_results import WITHOUT_VALUE
from schemas.metrics import catalogue
from schemas.specimens import HAEMOLYSED, UNKNOWN

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
ROUNDED = 1e-9
"""By how much of itself a number may differ after it was converted from one unit to another and is the same."""
_EMPTY = pa.array(sorted(WITHOUT_VALUE))


def of_values(make: Callable[[Check], Kernel]) -> Callable[[Check], Kernel]:
    """Only of results that say a value: one that takes another back must not wait in quarantine itself."""

    def made(check: Check) -> Kernel:
        kernel = make(check)

        def fails(of: Judged) -> Array | None:
            found = kernel(of)
            if found is None or not found.any() or "status" not in of.columns.schema.names:
                return found
            return np.asarray(found & ~np.asarray(pc.is_in(of.columns.column("status").cast(pa.string()), _EMPTY)))

        return fails

    return made


def out_of_order(check: Check) -> Kernel:
    """LK-03: of two of its events the one that should be the earlier is the later, by more than two clocks may differ."""
    differ_us = round(check.number("clocks_differ_min") * MINUTE_US)

    def fails(of: Judged) -> Array | None:
        back, is_known = of.moments("custody_back_us")
        return np.asarray(is_known & (back > differ_us))

    return fails


def custody_unknown(check: Check) -> Kernel:
    """LK-04: of a kit, and nobody has said when the specimen was taken, or when it arrived."""

    def fails(of: Judged) -> Array | None:
        (_, is_of_kit), (_, has_begin), (_, has_end) = map(of.moments, ("specimen64", "collected", "arrived"))
        return np.asarray(is_of_kit & ~(has_begin & has_end))

    return fails


def spoilt(check: Check) -> Kernel:
    """LK-05: longer on its way than what was measured keeps."""
    keeps_us = np.full(len(catalogue().codes), np.iinfo(np.int64).max)
    for code, hours in check.by_metric("keeps_h").items():
        keeps_us[catalogue().index[code]] = round(hours * HOUR_US)

    def fails(of: Judged) -> Array | None:
        return _longer(of, keeps_us[of.metric[of.message]])

    return fails


def expired(check: Check) -> Kernel:
    """LK-06: taken with a kit whose lot had expired, or too long before it arrived."""
    age_us = round(check.number("age_days") * DAY_US)

    def fails(of: Judged) -> Array | None:
        collected, is_known = of.moments("collected")
        ends, has_lot = of.moments("lot_expires")
        return np.asarray(is_known & has_lot & (collected >= ends) | _longer(of, age_us))

    return fails


def rejected_for_nobody_knows_what(check: Check) -> Kernel:
    """LK-07: rejected for a reason that is neither known to be mended nor known not to be."""

    def fails(of: Judged) -> Array | None:
        return _is(of, "rejection", UNKNOWN)

    return fails


def haemolysed(check: Check) -> Kernel:
    """LK-08: a haemolysis index above what the analyte bears; without one, a specimen that is said to be haemolysed."""
    bears, is_sensitive = np.full(len(catalogue().codes), np.inf), np.zeros(len(catalogue().codes), dtype=bool)
    for code, index in check.by_metric("index_above").items():
        bears[catalogue().index[code]], is_sensitive[catalogue().index[code]] = index, True

    def fails(of: Judged) -> Array | None:
        metric, index = of.metric[of.message], _numbers(of, "haemolysis_index")
        seen = np.isnan(index) & is_sensitive[metric] & _is(of, "specimen_condition", HAEMOLYSED)
        return np.asarray(seen | (index > bears[metric]))

    return fails


def too_little(check: Check) -> Kernel:
    """LK-09: below what the assay quantifies, and sent as a value all the same. A limit's value is not judged."""

    def fails(of: Judged) -> Array | None:
        loq = _numbers(of, "loq")
        return np.asarray(of.low < loq - np.abs(loq) * ROUNDED)

    return fails


def out_of_range(check: Check) -> Kernel:
    """LK-10: outside what the assay reports, undiluted, or without the range of usual values."""

    def fails(of: Judged) -> Array | None:
        low, high = _numbers(of, "reportable_low"), _numbers(of, "reportable_high")
        below, above = of.low < low - np.abs(low) * ROUNDED, of.high > high + np.abs(high) * ROUNDED
        is_diluted = _numbers(of, "dilution") > 1
        has_range = ~(np.isnan(low) & np.isnan(high))
        return np.asarray((below | above) & ~is_diluted | has_range & ~_has(of, "reference_range"))

    return fails


def controls_failed(check: Check) -> Kernel:
    """LK-11: of a run whose controls failed; where they are required, also of one of which nothing is said."""
    is_required = bool(check.number("required"))

    def fails(of: Judged) -> Array | None:
        failed = _is(of, "run_controls", "failed") | _is(of, "run_controls", "absent")
        return np.asarray(failed | ~_has(of, "run_controls")) if is_required else failed

    return fails


def slow(check: Check) -> Kernel:
    """LK-16: longer on its way than the study allows, where it says so."""
    if "transit_h" not in check.parameters:
        return lambda of: None
    limit_us = round(check.number("transit_h") * HOUR_US)

    def fails(of: Judged) -> Array | None:
        return _longer(of, limit_us)

    return fails


def _longer(of: Judged, limit_us: int | Array) -> Array:
    """Which specimens were surely longer on their way than this: of a date it is taken that it was the end of the day."""
    taken = "collected_by" if _is_there(of, "collected_by") else "collected"
    (begin, has_begin), (end, has_end) = of.moments(taken), of.moments("arrived")
    return np.asarray(has_begin & has_end & (end - begin > limit_us))


def _is(of: Judged, name: str, word: str) -> Array:
    """Which readings have this word in a column."""
    if not _is_there(of, name):
        return np.zeros(len(of), dtype=bool)
    return np.asarray(pc.equal(of.columns.column(name), word).fill_null(False))


def _numbers(of: Judged, name: str) -> Array:
    """A column of numbers, NaN where there is none."""
    if not _is_there(of, name):
        return np.full(len(of), np.nan)
    return np.asarray(of.columns.column(name).cast(pa.float64()).fill_null(np.nan))


def _has(of: Judged, name: str) -> Array:
    """Which readings have something in a column."""
    if not _is_there(of, name):
        return np.zeros(len(of), dtype=bool)
    return np.asarray(of.columns.column(name).is_valid())


def _is_there(of: Judged, name: str) -> bool:
    return name in of.columns.schema.names


KERNELS: dict[str, Callable[[Check], Kernel]] = {
    "LK-03": of_values(out_of_order),
    "LK-04": of_values(custody_unknown),
    "LK-05": of_values(spoilt),
    "LK-06": of_values(expired),
    "LK-07": rejected_for_nobody_knows_what,
    "LK-08": of_values(haemolysed),
    "LK-09": of_values(too_little),
    "LK-10": of_values(out_of_range),
    "LK-11": of_values(controls_failed),
    "LK-16": slow,
}
