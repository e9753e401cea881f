"""Memory: how much this process may have, what a plan may then hold, and what is done where there was not enough."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow as pa

from pipelines.entries import Kind, LakeError
from pipelines.halt import PlanTooLarge
from pipelines.plan import Plan
from pipelines.settings import Limits

MB = 1024 * 1024
_OF_THE_PROCESS = 400
"""Megabytes of a driver that does nothing: Beam, Arrow, Delta and DuckDB."""
_OF_A_PLAN = 4
"""Times `plan_mb` that a run takes at most: plans of 256 MB were measured at 0.83 to 1.2 GB in all."""
_IN_WORDS = re.compile(r"MemoryError\b|\bmalloc of size \d+ failed|\brealloc of size \d+ failed|\bstd::bad_alloc\b")
"""As Python, Arrow (also `ArrowMemoryError`) and C++ put it; Beam hands on nothing but a text."""
_CGROUP = Path("/sys/fs/cgroup")


class NoMemory(LakeError):
    """There is less memory than one run takes: nothing of it is committed."""


@contextmanager
def telling_no_memory(plan: Plan) -> Iterator[None]:
    """PlanTooLarge where a plan that can be made smaller found no memory; NoMemory where another did."""
    try:
        yield
    except Exception as error:
        if not (_is_want_of_memory(error) or (isinstance(error, PlanTooLarge) and error.why == "memory")):
            raise
        records = sum(item.end - item.start if item.selected is None else len(item.selected) for item in plan.ranges)
        if plan.kind == Kind.INGEST and records > 1:
            raise PlanTooLarge(records, "memory") from None
        raise NoMemory(
            f"there is not enough memory for a run of {records} records, which is not made smaller: nothing of it is "
            "committed, and nothing is lost; give the driver more memory, then start it again, or ask for less at once"
        ) from None


def _is_want_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or _IN_WORDS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def give_back() -> None:
    """Let the machine have what was freed here and is kept for later: at any moment half of what Arrow and numpy had.

    What refers to itself is freed first: Beam leaves much of that, and what was there at the start is not looked at again.
    """
    gc.collect()
    pa.default_memory_pool().release_unused()


def within(limits: Limits, ceiling_mb: int) -> Limits:
    """The limits, with no more megabytes in a plan than this process can hold."""
    most = max(1, (ceiling_mb - _OF_THE_PROCESS) // _OF_A_PLAN)
    return limits if limits.plan_mb <= most else limits.model_copy(update={"plan_mb": most})


def ceiling_mb(cgroup: Path = _CGROUP) -> int:
    """Megabytes that this process may have: of its container where that has a limit, else of the machine."""
    total: int = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            found = (cgroup / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if found.isdigit():
            total = min(total, int(found))
    return total // MB
