"""The job after the commit: what a study's days look like as a whole, from the rows that stand there now.

Only days that were changed are judged, and the weeks that hold them. The same rows give the same results.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, ParamSpec

from quality.checks import Check
from quality.desk import LakeDesk, Stratum
from quality.job import blocks, clocks, counted, kits, nights, overlaps, sequences, shifts, summaries, wear
from quality.job.final import read_final, without_final
from quality.job.parts import EVERYBODY, Part, parts_of_day
from quality.job.readings import Readings, read_between, read_day
from quality.job.results import Answers, Results, Tallies, summary_table
from quality.job.segments import DAY_US, SECOND_US
from quality.job.times import as_day, day_number, instant, moment
from quality.job.totals import Totals
from schemas.families import LAB_RESULT, OBSERVATION

DAILY = (
    *("SQ-01", "SQ-02", "SQ-03", "SQ-04", "SQ-05", "TM-05", "TM-07", "TM-08", "TM-09", "UQ-03"),
    *("PL-04", "PL-06", "PL-07", "PL-08", "PL-10", "WT-01", "WT-03", "WT-04", "LK-14"),
)
WEEKLY = ("WT-02", "LK-13")
"""Results of weeks stand at the week's Monday."""
JUDGED = frozenset((*DAILY, *WEEKLY))
"""The checks that the job knows; of PL-04 and PL-06, which others judge by row and by message, the days."""


Heard = Callable[[Answers], None]
"""Whoever hears each answer of units before they are added up."""


@dataclass(frozen=True)
class _Job:
    """What is the same for all days: whom it asks, by which checks, and what is known by now."""

    desk: LakeDesk
    study: str
    checks: Mapping[str, Check]
    smallest_cell: int
    now: datetime | None
    enrolled: wear.Enrolled
    history: summaries.History
    failed: shifts.FailedShares
    heard: Heard | None = None
    tallies: Tallies = field(default_factory=Tallies)
    gate: list[dict[str, Any]] = field(default_factory=list)

    def add(self, answers: Iterable[Answers]) -> None:
        for one in answers:
            if self.heard is not None:
                self.heard(one)
            self.tallies.add(one)

    def has_ended(self, day: int) -> bool:
        """Whether nobody is living through it any more; without a clock every day has ended."""
        return self.now is None or moment(day + 1) <= self.now

    def asks(self, *checks: str) -> bool:
        return any(check in self.checks for check in checks)


Steps = Generator[None, None, Results]
"""A job that can be interrupted after each part of a day; it returns its results."""
_Of = ParamSpec("_Of")


def judge_in_steps(
    desk: LakeDesk,
    study: str,
    days: Iterable[date],
    catalogue: Mapping[str, Check],
    now: datetime | None = None,
    heard: Heard | None = None,
) -> Steps:
    """Judge days (UTC) of a study by the catalogue that is in force there.

    How long something was worn, who sent something and who fell silent is judged of days and weeks that are over by
    `now`, without which all of them are. What changes between steps may count or not: judge such days again. Results of
    days that are signed off stay as they were found then.
    """
    numbered = sorted({day_number(day) for day in days})
    checks = {name: check for name, check in catalogue.items() if name in JUDGED and check.is_active}
    if not numbered:
        return Results(Tallies().table(checks, 0), summary_table([]))
    job = replace(_prepared(desk, study, numbered, checks, now), heard=heard)
    recalls: list[Stratum] = []
    rows: list[dict[str, Any]] = []
    for day in numbered:
        summaries_of_day, recalls_of_day = yield from _judge_day(job, day)
        rows += summaries_of_day
        recalls += recalls_of_day
    mondays = sorted({monday_of(day) for day in numbered})
    for monday in mondays:
        job.add(_week(job, monday))
        yield
    job.add(_silence(job, numbered))
    asked = {(check, day) for check in checks for day in (mondays if check in WEEKLY else numbered)}
    asked |= job.tallies.units()
    found = Results(
        job.tallies.table(checks, job.smallest_cell, job.gate),
        summary_table(rows),
        frozenset((check, as_day(day)) for check, day in asked),
        frozenset(map(as_day, numbered)),
        tuple(recalls),
        frozenset(map(as_day, numbered)),
    )
    return without_final(found, read_final(desk, study), WEEKLY)


def _at_once(steps: Callable[_Of, Steps]) -> Callable[_Of, Results]:
    def judge(*args: _Of.args, **kwargs: _Of.kwargs) -> Results:
        steps_left = steps(*args, **kwargs)
        while True:
            try:
                next(steps_left)
            except StopIteration as end:
                found: Results = end.value
                return found

    return judge


judge_days = _at_once(judge_in_steps)
"""The same without steps."""


def monday_of(day: int) -> int:
    """The Monday of a day's week, both counted from 1970, which began on a Thursday."""
    return day - (day + 3) % 7


def _prepared(
    desk: LakeDesk, study: str, days: Sequence[int], checks: Mapping[str, Check], now: datetime | None
) -> _Job:
    spans = [checks[name].number("baseline_days") for name in ("PL-07", "PL-08") if name in checks]
    back = round(max([shifts.USUAL_DAYS, *spans]))
    return _Job(
        desk,
        study,
        checks,
        desk.studies()[study].smallest_cell,
        now,
        wear.read_enrolled(desk, study),
        summaries.read_history(desk, study, days[0] - back, days[-1]),
        shifts.read_failed_shares(desk, study, days[0] - back, days[-1]),
    )


def _judge_day(job: _Job, day: int) -> Generator[None, None, tuple[list[dict[str, Any]], list[Stratum]]]:
    """Judge a day part by part; its summaries, which are part of the history of the next, and what is to be recalled."""
    coverage = wear.Coverage(job.enrolled, day)
    rates: list[sequences.Rates] = []
    gate = counted.GateCounts(counted.read_counts(job.desk, job.study, day)) if job.heard is None else None
    with closing(Totals()) as totals:
        parts = parts_of_day(job.desk, job.study, day)
        for part in parts:
            _count(job, gate, day, part)
            readings = read_day(job.desk, job.study, day, part)
            totals.add(readings)
            coverage.add(readings)
            if "SQ-02" in job.checks:
                rates.append(sequences.rates(readings, job.checks["SQ-02"]))
            job.add(_sequences(job, readings, day))
            job.add(_clocks(job, readings, day))
            job.add(_single(job, readings, day))
            del readings
            yield
        if not parts:  # all of it is in quarantine
            _count(job, gate, day, EVERYBODY)
        job.gate.extend(gate.results(day) if gate else ())
        rows = totals.summaries(day, coverage.enrolled, job.smallest_cell)
        job.history.replace(day, rows)
        job.add(_whole(job, totals, coverage, rates, day))
        mixed = _mixed(job, totals, day)
    job.add(mixed)
    return rows, [stratum for one in mixed for stratum in shifts.recalls(one)]


def _count(job: _Job, gate: counted.GateCounts | None, day: int, part: Part) -> None:
    """Who of a part stands behind the gate's counts; whoever hears of units asks for nothing else."""
    if gate is not None and gate.anything:
        gate.add(counted.read_rows(job.desk, job.study, day, part))


def _sequences(job: _Job, readings: Readings, day: int) -> Iterator[Answers]:
    """What looks at readings in their order, and at how long devices were worn."""
    checks, windows = job.checks, None
    yield from sequences.sequence_answers(readings, _before(job, readings, day), day, checks)
    if "SQ-04" in checks and readings.has(metric=(blocks.METRIC,)):
        windows = blocks.read_windows(job.desk, job.study, readings, day, checks["SQ-04"])
        yield blocks.clipping(windows, day, checks["SQ-04"])
        if "SQ-03" in checks:
            yield blocks.stillness(windows, day, checks["SQ-03"])
    if "WT-01" in checks and job.has_ended(day):
        yield wear.wear_time(readings, windows, day, checks["WT-01"], checks.get("SQ-03"))


def _before(job: _Job, readings: Readings, day: int) -> Readings:
    """Readings of metrics that are measured rarely, of the day and of as long before as they are compared."""
    rare = sequences.rare_metrics(job.checks["SQ-05"]) if "SQ-05" in job.checks else {}
    if not readings.has(metric=rare):
        return readings
    back_us = round(max(rare.values(), default=0) * SECOND_US)
    names = ", ".join(f"'{metric}'" for metric in rare)
    since, until = instant(day * DAY_US - back_us), moment(day + 1)
    also = f" AND metric IN ({names})"
    return read_between(job.desk, job.study, (OBSERVATION.name,), since, until, readings.part, also)


def _clocks(job: _Job, readings: Readings, day: int) -> Iterator[Answers]:
    checks = job.checks
    if job.asks("TM-05", "TM-07") and readings.has(family=clocks.SENSORS):
        days = round(checks["TM-05"].number("days")) if "TM-05" in checks else 2
        yield from clocks.clock_answers(
            clocks.read_hours(job.desk, job.study, readings, day, max(2, days)), day, checks
        )
    if "TM-08" in checks and readings.has(metric=checks["TM-08"].metrics):
        found = nights.read_nights(job.desk, job.study, readings, day, checks["TM-08"])
        yield nights.night_shift(found, day, checks["TM-08"])


def _single(job: _Job, readings: Readings, day: int) -> Iterator[Answers]:
    """The checks that need the part's readings and nothing else."""
    judges: dict[str, Callable[[Check], Answers]] = {
        "TM-09": lambda check: clocks.latency(readings, day, check),
        "UQ-03": lambda check: overlaps.overlapping_sources(readings, day, check),
        "PL-04": lambda check: overlaps.steps_of_day(readings, day, check),
        "PL-10": lambda check: overlaps.batteries(readings, day, job.has_ended(day), check),
    }
    for name, judge in judges.items():
        if name in job.checks:
            yield judge(job.checks[name])


def _whole(
    job: _Job, totals: Totals, coverage: wear.Coverage, rates: list[sequences.Rates], day: int
) -> Iterator[Answers]:
    """The checks that look at all people of a day, by what was kept of its parts."""
    checks, ended = job.checks, job.has_ended(day)
    if rates:
        yield sequences.sampling_rate(sequences.joined(rates), day, checks["SQ-02"])
    if "PL-07" in checks:
        yield shifts.distribution_shift(totals, job.history, job.failed, day, ended, checks["PL-07"])
    if "PL-08" in checks:
        yield shifts.firmware_change(totals, job.history, day, checks["PL-08"])
    if "WT-04" in checks and ended:
        yield coverage.answers(checks["WT-04"])
    if "LK-14" in checks and totals.has(LAB_RESULT.name, checks["LK-14"].metrics):
        yield kits.delta_check(job.desk, job.study, day, checks["LK-14"])


def _mixed(job: _Job, totals: Totals, day: int) -> list[Answers]:
    if "PL-06" not in job.checks or not totals.names:
        return []
    return [shifts.mixed_units(totals, totals.medians(), job.history, day, job.checks["PL-06"])]


def _week(job: _Job, monday: int) -> Iterator[Answers]:
    """The checks of a week that has ended."""
    if not job.has_ended(monday + wear.WEEK - 1):
        return
    if job.asks("WT-02") and job.asks("WT-01"):
        checks = job.checks["WT-01"], job.checks["WT-02"]
        yield wear.valid_days(job.desk, job.study, monday, job.enrolled, *checks)
    if "LK-13" in job.checks:
        yield kits.kits_of_week(job.desk, job.study, monday, job.checks["LK-13"])


def _silence(job: _Job, days: Sequence[int]) -> list[Answers]:
    """WT-03 of the days that are over, and of those after them on which what has come now ends a silence."""
    if "WT-03" not in job.checks:
        return []
    check = job.checks["WT-03"]
    after = round(check.number("lost_days"))
    touched = sorted({day + more for day in days for more in range(after)})
    touched = [day for day in touched if job.has_ended(day) and (day in days or job.now is not None)]
    if not touched:
        return []
    presence = wear.read_presence(job.desk, job.study, touched[0] - after, touched[-1])
    return [wear.silent(presence, job.enrolled, day, check) for day in touched]
