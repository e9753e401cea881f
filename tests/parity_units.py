"""A study with a defect for every check of units that a suite knows, and what the job answers of its last day."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from quality.checks import checks
from quality.desk import StudyFacts
from quality.job.judge import judge_days
from quality.job.results import Answers
from quality.job.times import as_day
from quality.suite_units import Units
from tests import planted
from tests.desks import FakeDesk
from tests.planted import FIRST, MINUTE, at

LAST = FIRST + 5
"""A Sunday."""
_DAYS = range(LAST - 20, LAST + 1)
PEOPLE = planted.people(8)


def study() -> dict[str, pa.Table]:
    """Three weeks of eight people; each defect is somebody's on the last day, or in the last days."""
    hearts = pa.concat_tables(
        [planted.heart_rates(who, day, 10 * MINUTE, seed=n) for n, who in enumerate(PEOPLE) for day in _DAYS]
    )
    hearts = planted.plant_drift(hearts, "p7", at(LAST - 6), 6)
    hearts = planted.plant_night_shift(hearts, "p2", LAST - 2, 4)
    hearts = planted.plant_lateness(hearts, "p3", "heart_rate", LAST, 30)
    hearts = planted.plant_holes(hearts, "p4", "heart_rate", at(LAST, 6), at(LAST, 20), 5)
    hearts = planted.plant_slowness(hearts, "p5", "heart_rate", LAST, 3)
    hearts = planted.plant_absence(hearts, "p6", at(LAST - 5), at(LAST + 1))
    skins = pa.concat_tables(
        [planted.skin_temperatures(who, day, seed=n) for n, who in enumerate(PEOPLE[:6]) for day in _DAYS]
    )
    skins = planted.plant_factor(skins, "skin_temperature", at(LAST), at(LAST + 1), "W1", 1.0, 3.0)
    band = {"device_model": "W2", "source": "band"}
    bands = [
        planted.skin_temperatures(who, day, seed=3, **band) for who in (PEOPLE[5], PEOPLE[7]) for day in _DAYS[:-1]
    ]
    bands += [planted.skin_temperatures(who, LAST, seed=3, firmware="2.0.0", **band) for who in (PEOPLE[5], PEOPLE[7])]
    moved = planted.plant_factor(pa.concat_tables(bands), "skin_temperature", at(LAST), at(LAST + 1), "W2", 1.0, 3.0)
    newer = [planted.skin_temperatures(who, LAST, seed=9, firmware="2.0.0", source="n") for who in PEOPLE[:6]]
    walks = pa.concat_tables([planted.steps("p1", LAST), planted.steps("p2", LAST, each=300)])
    more = planted.steps("p4", LAST, hours=14, each=200)
    twice = [planted.plant_second_source(walks, "p1", "steps_interval", LAST, 0.5)]
    twice.append(planted.plant_second_source(walks, "p2", "steps_interval", LAST, 0.05))
    lab = [planted.results("p1", "potassium", [LAST - 9, LAST], [4.0, 6.0], status="F")]
    lab.append(planted.results("p2", "sodium", [LAST - 9, LAST], [140.0, 141.0], status="F"))
    return {
        "observation": pa.concat_tables([hearts, skins, moved, *newer, walks, more, *twice]),
        "lab_result": pa.concat_tables(lab),
        "enrolled": planted.enrolled(PEOPLE),
    }


def desk() -> FakeDesk:
    """The study, and the summaries of the days before the last."""
    tables = study()
    found = FakeDesk({"s": StudyFacts("s", smallest_cell=2)}, {"s": tables})
    only = {name: check for name, check in checks().items() if name == "PL-08"}
    tables["day_summary"] = judge_days(found, "s", map(as_day, _DAYS[:-1]), only).summaries
    return found


class Judged(NamedTuple):
    """What the job answered of the last day and its week: the counts by check, and the frame of the units."""

    counts: dict[str, tuple[int, int, int]]
    frame: pa.Table


def judged() -> Judged:
    units, found = Units(), dict[str, np.ndarray]()
    monday = LAST - 6

    def heard(one: Answers) -> None:
        if one.day in (LAST, monday):
            units(one)
            sums = np.array([one.evaluated.sum(), one.failed.sum(), one.not_applicable.sum()])
            found[one.check] = found.get(one.check, np.zeros(3, dtype=np.int64)) + sums

    judge_days(desk(), "s", [as_day(LAST)], checks(), heard=heard)
    return Judged({check: (int(n[0]), int(n[1]), int(n[2])) for check, n in found.items()}, units.frame())
