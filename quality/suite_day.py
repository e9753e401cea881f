"""A study's days as suites judge them: every row of laboratories and questionnaires, a sample of what sensors sent or all of
one family, and the units that the job after the commit measures."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

import pyarrow as pa

from quality.checks import Check
from quality.desk import LakeDesk
from quality.job import judge as job
from quality.job.segments import DAY_US
from quality.job.times import day_number
from quality.parity import Difference, differences, gate_counts
from quality.suite_frames import MOST, SAMPLED, count_rows, read_rows, rows_frame
from quality.suite_process import LONGEST_S, SuiteProcess
from quality.suite_rows import Firmware, rows_suite
from quality.suite_run import Answered, Failure
from quality.suite_units import Units, units_suite
from quality.suites import Suite
from schemas.families import ANSWER, LAB_RESULT, READING_FAMILIES

EVERY_ROW = (LAB_RESULT.name, ANSWER.name)


@dataclass(frozen=True)
class Asked:
    """What is judged: a study's day (UTC) by the checks in force `of`; of `whole` families of sensors all rows are.

    `families` are those whose rows are looked at; `units` whether the job's units are judged too.
    `firmware` are the partners' lists of known versions, `medians` the population's by metric, as the gate has them.
    """

    study: str
    day: date
    of: Mapping[str, Check]
    whole: Collection[str] = ()
    firmware: Firmware = field(default_factory=dict)
    medians: Mapping[str, float] = field(default_factory=dict)
    now: datetime | None = None
    families: Collection[str] = READING_FAMILIES
    units: bool = True


@dataclass
class Judged:
    """What suites found of days: rows of CHECK_RESULT, what could not be judged, and where the gate counted differently.

    `rows` are how many rows of each family were looked at, of `whole` families all there are.
    """

    results: pa.Table
    failures: list[Failure]
    differences: list[Difference]
    rows: dict[str, int]
    whole: tuple[tuple[date, str], ...]


class _Looked(NamedTuple):
    """What was looked at: how many rows of each family, and of which days and families all of them."""

    rows: Counter[str]
    whole: list[tuple[date, str]]


def judge_days(desk: LakeDesk, days: Sequence[Asked], longest_s: float = LONGEST_S) -> Judged:
    """Judge days in a process of its own, and compare what was looked at as a whole with the gate's counters."""
    looked = _Looked(Counter(), [])
    frames = (frame for asked in days for frame in _frames(desk, asked, looked))
    with SuiteProcess(frames, longest_s) as process:
        answered = process.wait()
    found = [difference for asked in days for difference in _differences(desk, asked, answered, looked)]
    return Judged(answered.results, answered.failures, found, dict(looked.rows), tuple(looked.whole))


def _frames(desk: LakeDesk, asked: Asked, looked: _Looked) -> Iterator[tuple[Suite, pa.Table]]:
    """Frame by frame, so that one is in memory at a time; notes in passing what is looked at."""
    number = day_number(asked.day)
    for family in asked.families:
        count = count_rows(desk, asked.study, family, asked.day)
        if not count:
            continue
        is_whole = count <= MOST and (family in EVERY_ROW or family in asked.whole or count <= SAMPLED)
        found = read_rows(desk, asked.study, family, asked.day, None if is_whole else SAMPLED)
        looked.rows[family] += found.num_rows
        looked.whole.extend([(asked.day, family)] if is_whole else [])
        suite = rows_suite(asked.of, family, set(found.column("metric").to_pylist()), asked.firmware)
        yield suite.on(number * DAY_US), rows_frame(found, family, asked.of, asked.medians)
    if not asked.units:
        return
    units = Units()
    job.judge_days(
        desk, asked.study, [asked.day], asked.of, asked.now, heard=units.of_days({number, job.monday_of(number)})
    )
    if len(frame := units.frame()):
        weeks = dict.fromkeys(job.WEEKLY, job.monday_of(number) * DAY_US)
        yield units_suite(asked.of).on(number * DAY_US, weeks), frame


def _differences(desk: LakeDesk, asked: Asked, answered: Answered, looked: _Looked) -> list[Difference]:
    found: list[Difference] = []
    for day, family in looked.whole:
        if day != asked.day:
            continue
        counted = gate_counts(desk, asked.study, family, asked.day)
        found += differences(answered.results, counted, family, asked.day, asked.of)
    return found
