"""What must come of the demo's third act, counted from its story alone, as `expected` counts that of the others."""

from pipelines.demo.doors import Doors
from pipelines.demo.laboratory import Result, results_of
from pipelines.demo.people import HEART
from pipelines.demo.phone import SPRINT, STRAP_OFF, Fact
from pipelines.demo.tally import Expected, Standing, StudySums
from pipelines.entries import rfc3339
from schemas.reasons import Code, Reason


def judge_doors(doors: Doors, sums: Expected) -> None:
    """Add the third act's sums."""
    own = sums.studies.setdefault(doors.choice.study, StudySums())
    let_in: set[Fact] = set()
    for export in doors.exports:
        sums.records += 1  # an export of two weeks is one message
        for fact in export.facts:
            _judge_fact(fact, doors, sums, own, let_in)
    sums.records += sum(len(file.reports) for file in doors.kit.files)
    _judge_results(doors, sums, own)


def _judge_fact(fact: Fact, doors: Doors, sums: Expected, own: StudySums, let_in: set[Fact]) -> None:
    sums.readings += 1
    if fact.metric is None:
        sums.readings_rejected += 1
        sums.rejected[Reason.METRIC] += 1
        return
    own.considered += 1
    windows = doors.choice.may[0].get(fact.metric)
    if windows is None:
        own.withheld[Code.NO_AUTHORITY] += 1
    elif not any(low <= fact.start and max(fact.end, fact.start + 1) <= high for low, high in windows):
        own.withheld[Code.OUTSIDE_WINDOW] += 1
    elif fact in let_in:
        own.duplicate += 1
    else:
        let_in.add(fact)
        _land(fact, own)


def _land(fact: Fact, own: StudySums) -> None:
    if fact.metric == HEART and fact.value == STRAP_OFF:
        own.quarantined += 1
        return
    own.landed += 1
    if fact.metric == HEART:
        assert fact.value is not None
        own.flagged += fact.value == SPRINT
        day = rfc3339(fact.start)[:10]
        number, total = own.heart.get(day, (0, 0.0))
        own.heart[day] = (number + 1, total + fact.value)


def _judge_results(doors: Doors, sums: Expected, own: StudySums) -> None:
    """All of them are agreed to and land; those of before the activation wait for it first."""
    early = len(results_of([doors.kit.early]))
    sums.held += early
    sums.released += early
    said: dict[str, list[Result]] = {}
    for result in results_of(doors.kit.files):
        sums.readings += 1
        own.considered += 1
        own.landed += 1
        earlier = said.setdefault(result.metric, [])
        if result.takes_back:
            sums.recalled += len(earlier)
        earlier.append(result)
    own.results = [
        Standing(last.metric, last.value, last.code, last.comparator, last.status, len(of_metric) - 1)
        for of_metric in said.values()
        for last in of_metric[-1:]
        if not (last.takes_back or last.question)
    ]
