"""How often each check passed, failed and did not apply, counted row by row from what stands in a study's tables."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from quality.gate import BITS, OF_SPECIMENS
from schemas.families import LAB_RESULT, QUARANTINE, READING_FAMILIES
from schemas.metrics import Metric, catalogue
from tests.worlds import World

Answers = dict[tuple[Any, ...], tuple[int, int, int]]
"""(evaluated, failed, not applicable) by (partner, family, metric, device model, firmware, day, check)."""

_STRATUM = ("partner", "family", "metric", "device_model", "firmware")


def standing(world: World, study: str) -> Answers:
    """What the rows of a study's tables say."""
    found = []
    for view in (*READING_FAMILIES, QUARANTINE.name):
        family = "family" if view == QUARANTINE.name else f"'{view}' AS family"
        columns = f'{family}, partner, metric, device_model, firmware, start, "end", offset_min, flags'
        if view in (LAB_RESULT.name, QUARANTINE.name):
            columns += ", collected, arrived, lot_expires"
        found += world.rows(study, columns, view)
    return recount(found)


def counted(world: World, study: str) -> Answers:
    """What the study's table of counts says in sum."""
    return summed(world.rows(study, view="check_count"))


def recount(rows: Iterable[Mapping[str, Any]]) -> Answers:
    """The answers for these rows by today's catalogue and their flags."""
    sums: dict[tuple[Any, ...], Counter[int]] = {}
    for row in rows:
        metric, lasts = catalogue().metrics[row["metric"]], row["end"] > row["start"]
        for check, bit in BITS.items():
            if check in OF_SPECIMENS and row["family"] != "lab_result":
                continue
            applies = _applies(check, metric, lasts, row)
            key = (*(row[name] for name in _STRATUM), row["start"].date(), check)
            sums.setdefault(key, Counter()).update({0: applies, 1: row["flags"] >> bit & 1, 2: not applies})
    return {key: (found[0], found[1], found[2]) for key, found in sums.items()}


def summed(rows: Iterable[Mapping[str, Any]]) -> Answers:
    """The sums over rows of counts."""
    sums: dict[tuple[Any, ...], Counter[int]] = {}
    for row in rows:
        key = (*(row[name] for name in _STRATUM), row["start"].date(), row["check"])
        sums.setdefault(key, Counter()).update({0: row["n_eval"], 1: row["n_fail"], 2: row["n_na"]})
    return {key: (found[0], found[1], found[2]) for key, found in sums.items()}


def _applies(check: str, metric: Metric, lasts: bool, row: Mapping[str, Any]) -> bool:
    own = {"TM-10": True, "TM-06": row["offset_min"] is not None, "CF-09": row["firmware"] is not None}
    if check in own:
        return own[check]
    if check in OF_SPECIMENS:
        other = "lot_expires" if check == "LK-06" else "arrived"
        return row["collected"] is not None and row[other] is not None
    if check == "PL-00":
        return metric.hard is not None or (metric.hard_per_second is not None and lasts)
    limits = (metric.plausible, True), (metric.plausible_per_minute, lasts)
    return any(limit is not None and limit.check == check and judged for limit, judged in limits)
