"""The gate: the checks that look at one reading, on whole columns, between consent and the lake.

A gate is made once for a study and a plan from the catalogue in force: what it takes from `checks.yaml` and the metric
catalogue is by then numbers in arrays. Every check answers pass, fail or not applicable; how often, is counted of what
lands (`quality/strata.py`).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import pyarrow as pa

from quality import gate_lab
from quality.checks import Check, Where, checks, quarantine_mask
from quality.gate_ranges import POSSIBLE, limits, outside_channels, range_checks
from quality.judged import NO_OFFSET, Array, Judged, Kernel

SECOND_US = 1_000_000

BITS: dict[str, int] = {check.id: check.bit for check in checks().values() if check.bit is not None}
"""The bit of each check in `flags`; a bit is never given to another check."""
QUARANTINES = quarantine_mask()
"""The bits of which one is enough for a row to be held back in quarantine."""


class Gate:
    """The checks of rows, ready for a study's blocks; `of` is the catalogue in force there."""

    def __init__(self, of: Mapping[str, Check] | None = None) -> None:
        found = checks() if of is None else of
        self._limits = limits(found)
        self._possible = found[POSSIBLE].mask
        self._kernels = [
            (check.mask, check.families, KERNELS[check.id](check))
            for check in found.values()
            if check.where is Where.GATE and check.is_active and check.id not in range_checks()
        ]

    def flags(
        self, messages: pa.RecordBatch, readings: pa.RecordBatch, family: str, firmware: tuple[str, ...] = ()
    ) -> Array:
        """Flags int64 [n] of the readings; readings of a message lie together.

        `firmware` is the partner's list of known versions; where it is empty any version of the form a.b.c will do.
        """
        return self.judge(Judged.of(messages, readings, family, firmware))

    def judge(self, judged: Judged) -> Array:
        """Flags int64 [n] of the readings."""
        flags = np.zeros(len(judged), dtype=np.int64)
        for bounds in self._limits:
            bounds.judge(judged, flags)
        _add(flags, outside_channels(judged), self._possible)
        for bits, families, kernel in self._kernels:
            if not families or judged.family in families:
                _add(flags, kernel(judged), bits)
        return flags


def _add(flags: Array, fails: Array | None, bits: int) -> None:
    if fails is not None:
        flags[fails] |= bits


def odd_offset(check: Check) -> Kernel:
    """TM-06. Judged once for each stretch of readings that have the same offset: mostly one a message, or less."""
    lowest, highest, step = (check.number(name) for name in ("lowest_min", "highest_min", "step_min"))

    def fails(of: Judged) -> Array | None:
        offset = of.number("offset_min")
        begins = np.flatnonzero(np.concatenate([[True], offset[1:] != offset[:-1]]))
        stated = offset[begins]
        odd = (stated != NO_OFFSET) & ((stated < lowest) | (stated > highest) | (stated % step != 0))
        return np.repeat(odd, np.diff(begins, append=len(offset))) if odd.any() else None

    return fails


def out_of_order(check: Check) -> Kernel:
    """TM-10. The order of messages is not judged."""
    back_us = round(check.number("back_s") * SECOND_US)

    def fails(of: Judged) -> Array | None:
        start = of.number("start")
        found = np.zeros(len(start), dtype=bool)
        np.less(np.diff(start), -back_us, out=found[1:])
        found[of.begins] = False
        return found if found.any() else None

    return fails


def unknown_firmware(check: Check) -> Kernel:
    """CF-09. A device that says no version is not judged."""

    def fails(of: Judged) -> Array | None:
        place, versions = of.distinct("firmware")
        wrong = np.array([version is not None and not _acceptable(version, of.known) for version in versions])[place]
        return wrong[of.message] if wrong.any() else None

    return fails


@lru_cache(maxsize=4096)
def _acceptable(version: str, known: tuple[str, ...]) -> bool:
    parts = version.split(".")
    return version in known if known else len(parts) == 3 and all(part.isdigit() for part in parts)


KERNELS: dict[str, Callable[[Check], Kernel]] = {
    "TM-06": odd_offset,
    "TM-10": out_of_order,
    "CF-09": unknown_firmware,
    **gate_lab.KERNELS,
}
"""How each check of rows is made that does not judge by the metric catalogue's ranges."""
