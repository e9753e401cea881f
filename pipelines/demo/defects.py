"""What goes wrong in the pilot: each defect, who finds it, and how often, counted by hand.

What a defect brings about besides stands with it: a heart rate of 0 is not plausible either.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipelines.demo import faults
from pipelines.demo.batches import BATTERY, FEVER, GLUCOSE, OXYGEN, STEPS_OF_DAY, Batch
from pipelines.demo.people import HEART
from pipelines.demo.pilot import DAYS, METRICS


class By(StrEnum):
    """Who finds a defect: the ledger's words for what lands nowhere, the gate by its flags, the job after the commit.

    What the job finds of a whole group of readings is taken back, and then no longer there for it to find.
    """

    WITHHELD = "withheld"
    HELD = "held"
    DUPLICATE = "duplicate"
    GATE = "gate"
    JOB = "job"
    RECALL = "recall"


Found = Mapping[tuple[By, str], int]
"""How often a check fails, by who finds it."""


@dataclass(frozen=True)
class Defect:
    """Something wrong, and what is found of it."""

    what: str
    found: Found
    plant: faults.Plant


def found_in(defects: Iterable[Defect]) -> Counter[tuple[By, str]]:
    """How often each check fails because of all of them, by who finds it."""
    counts: Counter[tuple[By, str]] = Counter()
    for defect in defects:
        counts.update(defect.found)
    return counts


RELEASED = 6
"""The rows of `faults.twice_the_weight`, which two people release."""
_ABSENT = {(By.JOB, "WT-03"): 1, (By.JOB, "WT-04"): DAYS * (1 + len(METRICS))}
"""Nothing came for three days; each day of no metric, which is asked of all of them together and of each."""

DEFECTS = (
    Defect(
        "seven heart rates of 0",
        {(By.GATE, "PL-00"): 7, (By.GATE, "PL-01"): 7},
        faults.values(0, HEART, range(20, 160, 20), 0, True),
    ),
    Defect("three heart rates of 245", {(By.GATE, "PL-01"): 3}, faults.values(1, HEART, (30, 90, 150), 245)),
    Defect("two oxygen saturations of 65 %", {(By.GATE, "PL-02"): 2}, faults.values(2, OXYGEN, (5, 25), 65)),
    Defect("a body temperature of 44 °C", {(By.GATE, "PL-03"): 1}, faults.values(3, FEVER, (2,), 44)),
    Defect("a day of 61,000 steps", {(By.GATE, "PL-04"): 1}, faults.values(6, STEPS_OF_DAY, (0,), 61_000)),
    Defect(
        "four glucose values below the sensor's range",
        {(By.GATE, "PL-05"): 4},
        faults.values(4, GLUCOSE, (3, 9, 27, 81), 39.2),
    ),
    Defect(
        "two batteries charged to 103 %, which cannot be",
        {(By.GATE, "PL-09"): 2, (By.GATE, "PL-00"): 2},
        faults.values(5, BATTERY, (1, 2), 103, True),
    ),
    Defect(
        "a reading that comes before the one ahead of it",
        {(By.GATE, "TM-10"): 1},
        lambda d: d.change(4, OXYGEN, 2, faults.swapped),
    ),
    Defect("four readings 37 minutes from UTC", {(By.GATE, "TM-06"): 4}, faults.odd_offset),
    Defect("48 readings of a firmware without a proper version", {(By.GATE, "CF-09"): 48}, faults.odd_firmware),
    Defect("two values for one moment", {(By.GATE, "UQ-02"): 1}, faults.two_values),
    Defect("24 readings that were not agreed to", {(By.WITHHELD, "CF-03"): 24}, faults.not_agreed),
    Defect("12 readings from before the study", {(By.WITHHELD, "TM-02"): 12}, faults.before_it_began),
    Defect("nine readings of a device of two people", {(By.HELD, "CF-04"): 9}, faults.of_two_people),
    Defect("a message of 48 readings, sent twice", {(By.DUPLICATE, "UQ-01"): 48}, faults.sent_twice),
    Defect("six weights in pounds for kilograms", {(By.GATE, "PL-06"): 6}, faults.pounds_for_kilograms),
    Defect("six true weights that look so", {(By.GATE, "PL-06"): RELEASED}, faults.twice_the_weight),
    Defect("a clock that is four minutes ahead", {(By.GATE, "TM-04"): 6}, faults.clock_ahead(7, 6, 250, Batch.held)),
    Defect("a clock that is two minutes ahead", {(By.GATE, "TM-04"): 5}, faults.clock_ahead(8, 5, 100, Batch.doubtful)),
    Defect("a borrowed scale in pounds", {(By.RECALL, "PL-06"): 5}, faults.borrowed_scales),
    Defect("a heart rate with holes", {(By.JOB, "SQ-01"): 1}, faults.kept(9, HEART, 1, faults.with_holes)),
    Defect(
        "a device that samples half as often",
        {(By.JOB, "SQ-02"): 1},
        faults.kept(10, HEART, 1, lambda _: slice(None, None, 2)),
    ),
    Defect("a temperature that stands still in two hours", {(By.JOB, "SQ-03"): 2}, faults.flat),
    Defect("an hour on a table", {(By.JOB, "SQ-03"): 1}, faults.blocks(11, 2, (9, 10), (0.0, 0.1, 0.98))),
    Defect(
        "a quarter of an hour at the sensor's end",
        {(By.JOB, "SQ-04"): 1},
        faults.blocks(12, 1, (10, 10.1), (7.99, 0.1, 0.98)),
    ),
    Defect("five kilograms in a day", {(By.JOB, "SQ-05"): 1}, faults.leap),
    Defect("a clock that was in another zone for hours", {(By.JOB, "TM-07"): 1}, faults.jumped),
    Defect("a day that came more than a day late", {(By.JOB, "TM-09"): 1}, faults.late),
    Defect("a phone that counts the same steps", {(By.JOB, "UQ-03"): 1}, faults.second_source),
    Defect("64,800 steps, minute by minute", {(By.JOB, "PL-04"): 1}, faults.many_steps),
    Defect("a battery that ran empty", {(By.JOB, "PL-10"): 1}, faults.emptied),
    Defect(
        "nine hours on the wrist",
        {(By.JOB, "WT-01"): 1},
        faults.kept(13, HEART, 1, lambda batch: faults.hour_of(batch) < 9),
    ),
    Defect(
        "somebody who sends nothing", _ABSENT, lambda draft: draft.change(14, None, None, lambda b: b.pick(slice(0)))
    ),
)
