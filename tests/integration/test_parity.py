"""One catalogue, judged twice: gate and job on the one side, Great Expectations on the other, find the same defects.

The frames of all tests are judged in one process of suites, since it takes seconds to start.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
import pytest

from quality import suite_frames
from quality.checks import Check, checks
from quality.desk import StudyFacts
from quality.in_force import Approved, Proposal, checks_of
from quality.job.times import as_day
from quality.suite_process import SuiteProcess
from quality.suite_rows import OF_ROWS, rows_suite
from quality.suite_units import OF_UNITS, units_suite
from quality.suites import Suite
from tests import parity_rows, parity_units
from tests.desks import FakeDesk
from tests.parity_rows import FIRMWARE, MEDIANS, Batch
from tests.planted import FIRST

FEWEST = 30
CATALOGUES = {1: "plain", 2: "plain", 3: "changed"}
"""By seed: the project's catalogue, or a study's."""
Counts = tuple[int, int, int]


def changed() -> dict[str, Check]:
    """A study's catalogue that is not the project's."""
    changes = {
        "PL-01": {"low": {"heart_rate": 61.0}},
        "LK-11": {"required": 1.0},
        "TM-04": {"flag_above_s": 100.0},
        "TM-06": {"step_min": 60.0},
        "LK-08": {"index_above": {"potassium": 4.0}},
    }
    approved = [
        Approved(
            decision=str(at),
            proposed_by="a",
            approved_by="b",
            at_us=at,
            reason="tried",
            proposal=Proposal(check=check, warning=0, parameters=numbers),
        )
        for at, (check, numbers) in enumerate(changes.items())
    ]
    return checks_of(approved, transit_limit_us=12 * 3_600_000_000)


class Compared(NamedTuple):
    """By frame and check: what gate or job counted, and what the suite did."""

    ours: dict[str, dict[str, Counts]]
    theirs: dict[str, dict[str, Counts]]


@pytest.fixture(scope="module")
def compared() -> Compared:
    frames: list[tuple[Suite, pa.Table]] = []
    ours: dict[str, dict[str, Counts]] = {}
    for seed, name in CATALOGUES.items():
        of = checks() if name == "plain" else changed()
        for batch in (parity_rows.observations(seed), parity_rows.signals(seed), parity_rows.results(seed)):
            frames.append(_frame(f"{batch.family} {seed} {name}", batch, of))
            ours[frames[-1][0].name] = batch.counts(of)
    units = parity_units.judged()
    frames.append((units_suite(checks()), units.frame))
    ours["units"] = units.counts
    # a suite's number stands in place of the day, by which its rows are told apart
    numbered = [(suite.on(place), table) for place, (suite, table) in enumerate(frames)]
    with SuiteProcess(numbered, longest_s=300) as process:
        answered = process.wait()
    assert answered.failures == []
    theirs: dict[str, dict[str, Counts]] = {suite.name: {} for suite, _ in frames}
    starts = answered.results.column("start").cast(pa.int64()).to_pylist()
    for place, row in zip(starts, answered.results.to_pylist(), strict=True):
        theirs[frames[place][0].name][row["check"]] = (row["n_eval"], row["n_fail"], row["n_na"])
    return Compared(ours, theirs)


def _frame(name: str, batch: Batch, of: Mapping[str, Check]) -> tuple[Suite, pa.Table]:
    desk = FakeDesk({"s": StudyFacts("s")}, {"s": {batch.family: batch.rows}})
    rows = suite_frames.read_rows(desk, "s", batch.family, as_day(FIRST))
    assert rows.num_rows == batch.rows.num_rows
    metrics = set(rows.column("metric").to_pylist())
    suite = rows_suite(of, batch.family, metrics, FIRMWARE)
    return suite.model_copy(update={"name": name}), suite_frames.rows_frame(rows, batch.family, of, MEDIANS)


def test_the_suites_count_what_gate_and_job_count(compared: Compared) -> None:
    different = [
        f"{frame}, {check}: {compared.ours[frame].get(check)} is {found} in the suite"
        for frame, checked in compared.theirs.items()
        for check, found in checked.items()
        if compared.ours[frame].get(check) != found
    ]
    assert different == []


def test_every_check_with_a_suite_has_found_its_planted_defects_and_passed_the_rest(
    compared: Compared, capsys: pytest.CaptureFixture[str]
) -> None:
    marked = {check.id for check in checks().values() if check.gx}
    found = {
        check
        for counts in compared.theirs.values()
        for check, (evaluated, failed, _) in counts.items()
        if 0 < failed < evaluated
    }
    assert found == marked
    assert len(found) >= FEWEST
    with capsys.disabled():
        print(f"\n{len(found)} checks in parity: the same counts of {len(compared.theirs)} frames with planted defects")


def test_the_catalogue_marks_what_the_suites_know() -> None:
    assert {check.id for check in checks().values() if check.gx} == OF_ROWS | OF_UNITS
