"""The suites of rows: of a family's rows, by the same catalogue and ranges as the gate's, and not by the gate's answers."""

from collections.abc import Collection, Iterable, Mapping

from quality.checks import Check
from quality.gate_ranges import POSSIBLE, own_range, range_checks
from quality.job.segments import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from quality.suites import Asked, Clause, Compile, Suite, both, compiled, in_turn, one_of
from schemas.families import LAB_RESULT, OBSERVATION, WAVEFORM
from schemas.metrics import Metric, Range, catalogue
from schemas.specimens import HAEMOLYSED, UNKNOWN

VERSION = r"^\d+\.\d+\.\d+\Z"
_SAYS = "says == 1"
"""Results that say a value: what takes another back is not judged."""
Firmware = Mapping[str, tuple[str, ...]]
"""By partner the firmware versions that are known; of others any version of the form 1.2.3 will do."""


def rows_suite(
    of: Mapping[str, Check], family: str, metrics: Collection[str], firmware: Firmware | None = None
) -> Suite:
    """What the rows of a family are asked that are of these metrics, by the catalogue in force `of`."""
    known: dict[str, Compile] = {
        "CF-09": lambda check: _firmware(firmware or {}),
        "TM-04": _clock,
        "TM-06": _offset,
        "TM-10": _order,
        **dict.fromkeys(range_checks(), lambda check: _ranges(check, family, metrics)),
    }
    if family == OBSERVATION.name:
        known["PL-06"] = _units
    if family == LAB_RESULT.name:
        known |= LABORATORY
    return compiled(f"rows of {family}", family, of, known)


# -- devices and clocks


def _firmware(known: Firmware) -> Asked:
    listed = {partner: versions for partner, versions in known.items() if versions}
    own = [
        Clause(
            kind="in_set",
            column="firmware",
            values=versions,
            where=both(f"partner == {partner!r}", "firmware.notnull()"),
        )
        for partner, versions in sorted(listed.items())
    ]
    rest = both(f"partner not in {sorted(listed)!r}" if listed else "", "firmware.notnull()")
    return Asked(
        applies="firmware.notnull()",
        clauses=(*own, Clause(kind="regex", column="firmware", pattern=VERSION, where=rest)),
    )


def _clock(check: Check) -> Asked:
    above_us = check.number("flag_above_s") * SECOND_US
    return Asked(applies="", clauses=(Clause(kind="between", column="ahead_us", high=above_us),))


def _offset(check: Check) -> Asked:
    lowest, highest, step = (round(check.number(name)) for name in ("lowest_min", "highest_min", "step_min"))
    first = -(-lowest // step) * step
    offsets = tuple(float(offset) for offset in range(first, highest + 1, step))
    return Asked(
        applies="offset_min.notnull()",
        clauses=(Clause(kind="in_set", column="offset_min", values=offsets, where="offset_min.notnull()"),),
    )


def _order(check: Check) -> Asked:
    back_us = float(round(check.number("back_s") * SECOND_US))
    return Asked(applies="", clauses=(Clause(kind="between", column="back_us", high=back_us),))


def _units(check: Check) -> Asked:
    """By how much the median of a row's message is off from the nearest one in another unit, as a share of that."""
    share = check.number("off_share")
    compared = "unit_off.notnull()"
    return Asked(
        applies=compared, clauses=(Clause(kind="between", column="unit_off", low=share, strict=True, where=compared),)
    )


# -- ranges


def _ranges(check: Check, family: str, metrics: Collection[str]) -> Asked:
    """The metrics whose ranges and rates are the same are asked at once; one that is in the catalogue no longer has none."""
    groups: dict[tuple[Clause, ...], list[str]] = {}
    ranged: list[str] = []
    rated: list[str] = []
    for code in sorted(set(metrics) & set(catalogue().metrics)):
        limits, rate = _limits(check, catalogue().metrics[code], family)
        if limits or rate:
            groups.setdefault((*limits, *rate), []).append(code)
            (ranged if limits else rated).append(code)
    clauses = [one for limits, codes in groups.items() for one in in_turn(one_of("metric", codes), limits)]
    applies = [one_of("metric", ranged)] if ranged else []
    applies += [both(one_of("metric", rated), "lasting == 1")] if rated else []
    return Asked(applies=" or ".join(f"({one})" for one in applies) or None, clauses=tuple(clauses))


def _limits(check: Check, metric: Metric, family: str) -> tuple[list[Clause], list[Clause]]:
    """What a metric's values, and what they come to a second or minute, must be within by this check."""
    if check.id == POSSIBLE:
        bounds, rate = metric.hard, metric.hard_per_second
        limits = _within(bounds, "low", "high", family) if bounds else []
        limits += [one for name, own in metric.channels.items() for one in _within(own, f"{name}_low", f"{name}_high")]
        return limits, [Clause(kind="between", column="per_second", high=rate.limit)] if rate else []
    plausible = metric.plausible if metric.plausible and metric.plausible.check == check.id else None
    limits = _within(own_range(check, metric.code, plausible), "low", "high", family) if plausible else []
    per_minute = metric.plausible_per_minute
    is_own = per_minute is not None and per_minute.check == check.id
    rates = [Clause(kind="between", column="per_minute", high=per_minute.limit)] if per_minute and is_own else []
    return limits, rates


def _within(bounds: Range, low: str, high: str, family: str = WAVEFORM.name) -> list[Clause]:
    """Of a block its lowest and its highest number must be within, of anything else its value."""
    if family != WAVEFORM.name:
        return [Clause(kind="between", column="value", low=bounds.low, high=bounds.high)]
    return [Clause(kind="between", column=low, low=bounds.low), Clause(kind="between", column=high, high=bounds.high)]


# -- laboratories


def _custody(check: Check) -> Asked:
    differ_us = float(round(check.number("clocks_differ_min") * MINUTE_US))
    known = "custody_back_us.notnull()"
    clause = Clause(kind="between", column="custody_back_us", high=differ_us, where=both(known, _SAYS))
    return Asked(applies=known, clauses=(clause,))


def _moments_known(check: Check) -> Asked:
    moments = [Clause(kind="not_null", column=name) for name in ("collected", "arrived")]
    return Asked(applies="of_kit == 1", clauses=in_turn(both("of_kit == 1", _SAYS), moments))


def _keeps(check: Check) -> Asked:
    clauses = [
        Clause(
            kind="between",
            column="transit_us",
            high=float(round(hours * HOUR_US)),
            where=both(one_of("metric", codes), _SAYS),
        )
        for hours, codes in _by_number(check.by_metric("keeps_h"))
    ]
    applies = both(one_of("metric", check.metrics), "transit_us.notnull()")
    return Asked(applies=applies, clauses=tuple(clauses))


def _expiry(check: Check) -> Asked:
    age_us = float(round(check.number("age_days") * DAY_US))
    young = Clause(kind="between", column="transit_us", high=age_us)
    in_date = Clause(kind="greater", column="lot_expires", other="collected", strict=True)
    known = both("collected.notnull()", "lot_expires.notnull() or arrived.notnull()")
    return Asked(applies=known, clauses=in_turn(_SAYS, (young, in_date)))


def _rejection(check: Check) -> Asked:
    known = "rejection.notnull()"
    clause = Clause(kind="not_in_set", column="rejection", values=(UNKNOWN,), where=known)
    return Asked(applies=known, clauses=(clause,))


def _haemolysis(check: Check) -> Asked:
    index = [
        Clause(kind="between", column="haemolysis_index", high=limit, where=both(one_of("metric", codes), _SAYS))
        for limit, codes in _by_number(check.by_metric("index_above"))
    ]
    sensitive = one_of("metric", check.metrics)
    unmeasured = both(sensitive, _SAYS, "haemolysis_index.isnull()", "specimen_condition.notnull()")
    seen = Clause(kind="not_in_set", column="specimen_condition", values=(HAEMOLYSED,), where=unmeasured)
    return Asked(
        applies=both(sensitive, "haemolysis_index.notnull() or specimen_condition.notnull()"), clauses=(*index, seen)
    )


def _quantifies(check: Check) -> Asked:
    enough = Clause(kind="greater", column="value", other="loq_least", where=_SAYS)
    return Asked(applies="loq_least.notnull()", clauses=(enough,))


def _reports(check: Check) -> Asked:
    has_range = "reportable_least.notnull() or reportable_most.notnull()"
    reported = [
        Clause(kind="greater", column="undiluted", other="reportable_least"),
        Clause(kind="greater", column="reportable_most", other="undiluted"),
        Clause(kind="between", column="with_range", low=1.0),
    ]
    return Asked(applies=has_range, clauses=in_turn(both(_SAYS, has_range), reported))


def _controls(check: Check) -> Asked:
    known = "run_controls.notnull()"
    failed = Clause(kind="not_in_set", column="run_controls", values=("failed", "absent"), where=both(known, _SAYS))
    if not check.number("required"):
        return Asked(applies=known, clauses=(failed,))
    return Asked(applies="", clauses=(failed, Clause(kind="not_null", column="run_controls", where=_SAYS)))


def _transit(check: Check) -> Asked:
    if "transit_h" not in check.parameters:
        return Asked(applies=None)
    limit_us = float(round(check.number("transit_h") * HOUR_US))
    return Asked(applies="transit_us.notnull()", clauses=(Clause(kind="between", column="transit_us", high=limit_us),))


def _by_number(numbers: Mapping[str, float]) -> Iterable[tuple[float, list[str]]]:
    found: dict[float, list[str]] = {}
    for code, number in numbers.items():
        found.setdefault(float(number), []).append(code)
    return sorted(found.items())


LABORATORY: dict[str, Compile] = {
    "LK-03": _custody,
    "LK-04": _moments_known,
    "LK-05": _keeps,
    "LK-06": _expiry,
    "LK-07": _rejection,
    "LK-08": _haemolysis,
    "LK-09": _quantifies,
    "LK-10": _reports,
    "LK-11": _controls,
    "LK-16": _transit,
}
OF_ROWS = frozenset({"CF-09", "TM-04", "TM-06", "TM-10", "PL-06", *range_checks(), *LABORATORY})
"""The checks that suites of rows know."""
BY_MESSAGE = frozenset({"TM-04", "TM-10", "PL-06"})
"""Those that look at a row's whole message, of which rows may lie on another day or be nowhere."""
