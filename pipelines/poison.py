"""Finding the record that ends whoever reads it, so that it is rejected (R_POISON) and everything else goes on.

A plan over records within which two runs have died is run in a process of its own. Where that dies, too, halves of it are
run alone, and halves of these, until one record is left. It is called poison where the process that ran it alone has
died of itself twice, and the same process without it has not. An error is never poison: it is raised.
"""

import signal
import uuid
from collections import defaultdict
from collections.abc import Callable

from pipelines.halt import PlanTooLarge, heed
from pipelines.isolated import OwnProcess, discard
from pipelines.plan import Plan, PlannedRange
from pipelines.runner_settings import RunnerFailed
from pipelines.store import Store

Say = Callable[[str], None]
Ranges = tuple[PlannedRange, ...]


def run_carefully(plan: Plan, store: Store, say: Say) -> Plan:
    """Run the plan in processes of their own until one comes to its end; the plan that did, whose manifest is there.

    PlanTooLarge where it dies as a whole, and in parts does not: then it needs more memory than there is.
    """
    say(f"runs have died twice over the same {records_in(plan.ranges)} records: this one has a process of its own")
    with OwnProcess(store) as process:
        if process.run(plan) is not None:
            search = _Search(plan, store, process, say)
            search.among(plan.ranges)
            plan = search.plan_of(plan.ranges)
            if not search.found or process.run(plan, new=True) is not None:
                raise PlanTooLarge(records_in(plan.ranges), "memory")
    heed(plan, store)
    return plan


class _Search:
    """`found` are the records that have been called poison, offsets by partition."""

    def __init__(self, plan: Plan, store: Store, process: OwnProcess, say: Say) -> None:
        self._plan, self._store, self._process, self._say = plan, store, process, say
        self.found: dict[str, list[int]] = defaultdict(list)

    def among(self, ranges: Ranges) -> None:
        """Look for poison in ranges that, run alone, have killed."""
        if records_in(ranges) == 1:
            self._judge(ranges)
            return
        for half in halves(ranges):
            if self._kills(half) is not None:
                self.among(half)

    def _judge(self, ranges: Ranges) -> None:
        """A record that has killed alone once: does the same without it live, and it kill again?"""
        (planned,) = ranges
        offset = planned.start if planned.selected is None else planned.selected[0].offset
        if self._kills(ranges, {planned.key: (offset,)}) is not None:
            raise RunnerFailed("a process dies even where it reads no record: it is this machine, not what was sent")
        by = self._kills(ranges)
        if by is not None:
            self.found[planned.key].append(offset)
            self._say(f"{planned.key} offset {offset} has ended its process twice ({by.name}): rejected, R_POISON")

    def _kills(self, ranges: Ranges, poison: dict[str, tuple[int, ...]] | None = None) -> signal.Signals | None:
        trial = self.plan_of(ranges, poison)
        by = self._process.run(trial, new=records_in(ranges) == 1)
        if by is None:
            discard(trial, self._store)
        return by

    def plan_of(self, ranges: Ranges, poison: dict[str, tuple[int, ...]] | None = None) -> Plan:
        """The plan with these ranges; without reading what was found, or the poison given."""
        known = {key: tuple(offsets) for key, offsets in self.found.items()} if poison is None else poison
        return self._plan.model_copy(update={"id": uuid.uuid4().hex, "ranges": ranges, "poison": known})


def records_in(ranges: Ranges) -> int:
    """How many records the ranges read."""
    return sum(_size(item) for item in ranges)


def _size(item: PlannedRange) -> int:
    return item.end - item.start if item.selected is None else len(item.selected)


def halves(ranges: Ranges) -> tuple[Ranges, Ranges]:
    """The ranges, at least two records of them, in two parts of as many records."""
    first: list[PlannedRange] = []
    second: list[PlannedRange] = []
    room = records_in(ranges) // 2
    for item in ranges:
        before, after = split(item, min(room, _size(item)))
        room -= min(room, _size(item))
        first += [before] if _size(before) else []
        second += [after] if _size(after) else []
    return tuple(first), tuple(second)


def split(item: PlannedRange, count: int) -> tuple[PlannedRange, PlannedRange]:
    """The first so many records of a range, and the others."""
    if item.selected is None:
        middle = item.start + count
        return item.model_copy(update={"end": middle}), item.model_copy(update={"start": middle})
    chosen = item.selected
    return item.model_copy(update={"selected": chosen[:count]}), item.model_copy(update={"selected": chosen[count:]})
