"""Selection: a redrive judges what its holds pointed to and nothing else, and counts the rest as skipped."""

import random

import pytest

from pipelines.decode import Pointer
from pipelines.entries import Kind
from pipelines.plan import Plan, PlannedRange, Selection
from pipelines.selection import Runs, select
from schemas.reasons import Reason
from tests.readings import TOPIC, message, normalised
from tests.test_graph import plan


def plan_of(*selected: Selection, partition: int = 0) -> Plan:
    item = PlannedRange(topic=TOPIC, partition=partition, start=0, end=100, selected=selected or None)
    return plan().model_copy(update={"ranges": (item,), "kind": Kind.REDRIVE})


def chosen(offset: int, *runs: tuple[int, int]) -> Selection:
    return Selection(offset=offset, runs=runs)


def test_without_a_selection_everything_is_judged() -> None:
    block, pointer = normalised(message()), Pointer(TOPIC, 0, 0, 0, 2, Reason.UNIT, "unit")
    blocks, skipped = select([block], [pointer], plan_of())
    assert blocks == [block] and skipped is None


def test_only_the_readings_that_a_hold_points_to_are_judged() -> None:
    block = normalised(message(values=range(60, 70)), message("s2", range(70, 75)), message(), first_offset=20)
    (kept,), skipped = select([block], [], plan_of(chosen(20, (1, 2), (7, 3)), chosen(21, (0, 5))))
    assert kept.readings.column("value").to_pylist() == [61, 62, 67, 68, 69, 70, 71, 72, 73, 74]
    assert kept.messages.num_rows == 3 and skipped == 5 + 3


def test_a_block_of_which_nothing_is_wanted_is_gone() -> None:
    blocks, skipped = select([normalised(message())], [], plan_of(chosen(9, (0, 3))))
    assert blocks == [] and skipped == 3


def test_what_was_rejected_is_skipped_since_it_was_told_before() -> None:
    block = normalised(message(values=[60, float("nan"), 62]))
    pointers = [
        Pointer(TOPIC, 0, 0, 1, 1, Reason.NOT_FINITE, "values"),
        Pointer(TOPIC, 0, 1, 0, 40, Reason.UNIT, "unit"),
    ]
    (kept,), skipped = select([block], pointers, plan_of(chosen(0, (0, 3))))
    assert kept.readings.column("index").to_pylist() == [0, 2] and skipped == 41
    assert select([], pointers, plan_of(chosen(0, (0, 3)))) == ([], 41)


def test_a_selection_of_another_partition_says_nothing() -> None:
    block = normalised(message())
    assert select([block], [], plan_of(chosen(0, (0, 1)), partition=5)) == ([block], None)
    assert select([], [], plan_of(chosen(0, (0, 1)))) == ([], None)


@pytest.mark.parametrize("seed", range(6))
def test_positions_are_those_of_the_message_as_sent(seed: int) -> None:
    """Against a set of (offset, position), with readings missing that were rejected."""
    rng = random.Random(seed)
    sent = [[rng.choice([60.0, 61.0, float("nan")]) for _ in range(rng.randrange(2, 15))] for _ in range(6)]
    block = normalised(*(message(values=[60.0, *values]) for values in sent), first_offset=3)
    wanted: dict[int, Runs] = {}
    for offset in rng.sample(range(3, 9), 4):
        first = sorted(rng.sample(range(0, 15, 3), 2))
        wanted[offset] = tuple((at, rng.randrange(1, 3)) for at in first)
    places = {(offset, at + i) for offset, runs in wanted.items() for at, count in runs for i in range(count)}
    blocks, skipped = select([block], [], plan_of(*(chosen(offset, *runs) for offset, runs in wanted.items())))
    (kept,) = blocks
    offsets = block.messages.column("offset").to_pylist()

    def where(found: list[dict[str, int]]) -> list[tuple[int, int]]:
        return [(offsets[row["message"]], row["index"]) for row in found]

    every = where(block.readings.to_pylist())
    assert where(kept.readings.to_pylist()) == [at for at in every if at in places]
    assert skipped == len([at for at in every if at not in places])
