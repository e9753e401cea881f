"""How often each check passed, failed and did not apply, counted row by row from what stands in a study's tables."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from quality.checks import Check, checks
from quality.in_force import checks_of
from schemas.families import LAB_RESULT, QUARANTINE, READING_FAMILIES
from schemas.metrics import Metric, catalogue
from tests.worlds import World

Answers = dict[tuple[Any, ...], tuple[int, int, int]]
"""(evaluated, failed, not applicable) by (partner, family, metric, device model, firmware, day, check)."""

OF_SPECIMENS = (
    *("collected", "arrived", "lot_expires", "specimen64", "custody_back_us", "specimen_condition", "haemolysis_index"),
    *("rejection", "loq", "reportable_low", "reportable_high", "run_controls"),
)

_STRATUM = ("partner", "family", "metric", "device_model", "firmware")


def standing(world: World, study: str) -> Answers:
    """What the rows of a study's tables say."""
    found = []
    for view in (*READING_FAMILIES, QUARANTINE.name):
        family = "family" if view == QUARANTINE.name else f"'{view}' AS family"
        columns = f'{family}, partner, metric, device_model, firmware, start, "end", offset_min, flags'
        if view in (LAB_RESULT.name, QUARANTINE.name):
            columns += "".join(f", {name}" for name in OF_SPECIMENS)
        found += world.rows(study, columns, view)
    return recount(found, in_force(world, study))


def in_force(world: World, study: str) -> dict[str, Check]:
    """The catalogue of checks with what the world's registry says of the study."""
    studies = yaml.safe_load((world.folder / "studies.yaml").read_text(encoding="utf-8"))["studies"]
    days = next(found.get("transit_limit_days") for found in studies if found["id"] == study)
    return checks_of(transit_limit_us=None if days is None else round(days * 86_400_000_000))


def counted(world: World, study: str) -> Answers:
    """What the study's table of counts says in sum."""
    return summed(world.rows(study, view="check_count"))


def recount(rows: Iterable[Mapping[str, Any]], of: Mapping[str, Check] | None = None) -> Answers:
    """The answers for these rows by their flags and the catalogue in force, which is today's where none is given."""
    sums: dict[tuple[Any, ...], Counter[int]] = {}
    counted = [check for check in (of or checks()).values() if check.is_counted]
    for row in rows:
        metric, lasts = catalogue().metrics[row["metric"]], row["end"] > row["start"]
        for check in counted:
            if check.families and row["family"] not in check.families:
                continue
            applies = _applies(check, metric, lasts, row)
            key = (*(row[name] for name in _STRATUM), row["start"].date(), check.id)
            sums.setdefault(key, Counter()).update({0: applies, 1: bool(row["flags"] & check.mask), 2: not applies})
    return {key: (found[0], found[1], found[2]) for key, found in sums.items()}


def summed(rows: Iterable[Mapping[str, Any]]) -> Answers:
    """The sums over rows of counts."""
    sums: dict[tuple[Any, ...], Counter[int]] = {}
    for row in rows:
        key = (*(row[name] for name in _STRATUM), row["start"].date(), row["check"])
        sums.setdefault(key, Counter()).update({0: row["n_eval"], 1: row["n_fail"], 2: row["n_na"]})
    return {key: (found[0], found[1], found[2]) for key, found in sums.items()}


def _applies(check: Check, metric: Metric, lasts: bool, row: Mapping[str, Any]) -> bool:
    if check.id == "PL-00":
        return metric.hard is not None or (metric.hard_per_second is not None and lasts)
    if check.id.startswith("PL-"):
        limits = (metric.plausible, True), (metric.plausible_per_minute, lasts)
        return any(limit is not None and limit.check == check.id and judged for limit, judged in limits)
    is_set = set(check.study_sets) <= set(check.parameters)
    if not is_set or (check.metrics and metric.code not in check.metrics):
        return False
    needs = [need.split(" or ") for need in check.needs]
    return all(any(row.get(name) is not None or check.parameters.get(name) for name in need) for need in needs)
