"""The checks of whole messages: a mixed-up unit and a clock that is ahead hold all of a message back, and nothing else."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines import stages
from pipelines.blocks import Block, column, with_columns
from quality.checks import checks
from quality.gate import BITS, QUARANTINES
from quality.in_force import Approved, Proposal, checks_of
from quality.judged import Judged
from quality.message_checks import UNITS, Answers, MessageChecks, other_units
from quality.strata import tally
from schemas.metrics import catalogue
from tests.messages import SECOND, normalised, packed, sensor
from tests.test_graph import plan

MEDIANS = {"weight": 70.0, "body_temperature": 36.8, "glucose_cgm": 110.0, "spirometry_pef": 400.0, "steps_24h": 9000.0}


def message(metric: str, *values: float, **fields: Any) -> dict[str, Any]:
    """A message of readings a second apart in the metric's own unit."""
    own = catalogue().metrics[metric]
    return sensor(metric=metric, unit=own.unit, values=packed("f8", *values), **fields)


def block_of(*messages: dict[str, Any]) -> Block:
    blocks, pointers = normalised(*messages)
    assert pointers == [] and len(blocks) == 1
    return blocks[0]


def answers(*messages: dict[str, Any], medians: dict[str, float] = MEDIANS, of: Any = None) -> Answers:
    block = block_of(*messages)
    return MessageChecks(medians, of).judge(Judged.of(block.messages, block.readings, block.meta["family"]))


def failing(found: Answers, check: str = UNITS) -> list[bool]:
    return (found.flags & checks()[check].mask != 0).tolist()


# -- units


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("weight", [154.0, 155.0, 154.5, 153.8, 156.0]),  # pounds
        ("weight", [31.2, 31.8, 32.0, 31.9, 31.7]),  # kilograms that were sent as pounds
        ("body_temperature", [98.2, 98.6, 97.9, 98.4, 98.9]),  # Fahrenheit
        ("glucose_cgm", [6.1, 6.4, 5.9, 6.2, 6.0]),  # mmol/L
        ("spirometry_pef", [6.6, 6.8, 6.5, 6.9, 6.7]),  # litres a second
    ],
)
def test_a_message_in_another_unit_than_it_says_is_held_back_as_a_whole(metric: str, values: list[float]) -> None:
    found = answers(message(metric, *values))
    assert failing(found) == [True] * 5 and found.compared.all()
    assert (found.flags & QUARANTINES != 0).all()


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("weight", [69.0, 71.0, 70.2, 70.4, 70.0]),
        ("weight", [120.0, 121.0, 120.2, 120.4, 120.0]),
        ("body_temperature", [39.9, 40.2, 40.0, 40.1, 40.0]),
    ],
)
def test_an_unusual_message_is_not_a_mixed_up_one(metric: str, values: list[float]) -> None:
    found = answers(message(metric, *values))
    assert failing(found) == [False] * 5 and found.compared.all()


def test_what_cannot_be_compared_is_not_judged() -> None:
    few = message("weight", 154.0, 154.0, 154.0, 154.0)
    assert not answers(few).compared.any() and not answers(few).flags.any()
    enough = message("weight", *[154.0] * 5)
    assert not answers(enough, medians={}).compared.any()
    unjudged = message("heart_rate", *[70.0] * 5)
    assert not answers(unjudged, medians={"heart_rate": 70.0}).compared.any()


def test_each_message_is_judged_by_itself() -> None:
    right, wrong = message("weight", *[70.0] * 6), message("weight", *[154.3] * 5)
    found = answers(right, wrong, message("weight", 154.3))
    assert failing(found) == [False] * 6 + [True] * 5 + [False]
    assert found.compared.tolist() == [True] * 11 + [False]


def test_a_metric_s_own_units_say_what_it_may_be_taken_for() -> None:
    assert [round(other, 2) for other in other_units("body_temperature", 37.0)] == [-236.15, 2.78, 98.6, 310.15]
    assert min(o for o in other_units("weight", 70.0) if o > 100) == pytest.approx(70 / 0.45359237)
    assert other_units("steps_24h", 9000.0) == ()
    assert all(checks()[UNITS].metrics.count(metric) == 1 for metric in checks()[UNITS].metrics)


def test_a_study_s_own_numbers_are_judged_by() -> None:
    proposal = Proposal(check=UNITS, warning=0.0, alarm=0.0, parameters={"least_readings": 2.0})
    change = Approved(decision="d", proposed_by="a", approved_by="b", at_us=0, reason="", proposal=proposal)
    assert failing(answers(message("weight", 154.0, 154.0), of=checks_of([change]))) == [True, True]


# -- clocks


def judged_after(*, late_s: float, count: int = 3) -> Answers:
    """A message whose latest reading ends so many seconds after it was received."""
    block = block_of(message("weight", *[70.0] * count))
    last = int(column(block.readings, "end").max())
    received = np.full(block.messages.num_rows, last - round(late_s * SECOND))
    messages = with_columns(block.messages, [("received", received)])
    return MessageChecks({}).judge(Judged.of(messages, block.readings, "observation"))


@pytest.mark.parametrize(
    ("late_s", "bits"),
    [(-86_400, 0), (0, 0), (60, 0), (60.1, 1 << 19), (240, 1 << 19), (240.1, 1 << BITS["TM-04"]), (299, 1 << 18)],
)
def test_a_clock_that_is_ahead_is_flagged_and_far_ahead_held_back(late_s: float, bits: int) -> None:
    assert judged_after(late_s=late_s).flags.tolist() == [bits] * 3
    assert bool(bits & QUARANTINES) == (late_s > 240)


# -- in the run


def checked(*messages: dict[str, Any], medians: dict[str, float]) -> Block:
    block = block_of(*messages)
    made = plan().model_copy(update={"medians": {"sleep": medians}})
    partner = next(iter(made.partners))
    stage = stages.Check(made)
    stage.start()
    meta = {"study": "sleep", "partner": partner, "family": "observation"}
    (found,) = stage.each(Block(meta, block.parts))
    assert isinstance(found, Block)
    return found


def test_the_plan_s_medians_are_judged_by_and_the_answers_counted_by_row() -> None:
    right, wrong = message("weight", *[70.0] * 6), message("weight", *[154.3] * 5)
    block = checked(right, wrong, message("weight", 70.0), medians=MEDIANS)
    assert Counter((column(block.readings, "flags") >> BITS[UNITS] & 1).tolist()) == {0: 7, 1: 5}
    messages = pa.Table.from_batches([block.messages]).append_column("partner", pa.repeat("acme", 3))
    readings = {name: column(block.readings, name) for name in ("message", "start", "end", "offset_min", "flags")}
    counts = tally(messages, {**readings, "compared": block.readings.column("compared")}, "observation")
    assert [
        sum(n for stratum, n in counter.items() if stratum.check == UNITS)
        for counter in (counts.evaluated, counts.failed, counts.not_applicable)
    ] == [11, 5, 1]


def test_a_plan_without_medians_compares_nothing_and_carries_nothing_along() -> None:
    block = checked(message("weight", *[154.3] * 5), medians={})
    assert "compared" not in block.readings.schema.names
    assert not (column(block.readings, "flags") >> BITS[UNITS] & 1).any()
