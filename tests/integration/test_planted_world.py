"""Planted worlds through a real broker and the driver: of every defect exactly what was planted is found, and no more."""

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from connectors.publisher import Publisher
from infra.local_kafka import Address
from pipelines.demo.bad_messages import Bad, bad_messages
from pipelines.demo.cast import DAY
from pipelines.demo.defects import DEFECTS, By, found_in
from pipelines.demo.people import HEART, PACER
from pipelines.demo.pilot import DAYS, Pilot, pilot
from pipelines.demo.publish import publish_batches, publish_consents
from pipelines.driver import Driver
from pipelines.entries import now_us
from pipelines.follow import work_off
from pipelines.judging_status import status
from pipelines.lake_desk import LakeDesk
from pipelines.requests import ask, selection_of
from pipelines.views import sql
from quality.checks import Where, checks
from quality.report.numbers import as_json, report_of
from schemas.reasons import Reason
from tests import planted_weeks
from tests.worlds import ROOT, World, make_world

CLEAN, PLANTED, CLEAN_WEEKS, WEEKS = STUDIES = "clean", "planted", "cleanweeks", "weeks"
SEED = 20_261
SMALLEST = 2
"""So that a report tells as much as it may."""

_OF_RESULTS = "it is about a laboratory's kits and results"
ELSEWHERE = {
    "CF-10": ("only a pipeline that loses readings breaks it", "tests/test_law.py", "whose sums were edited"),
    "UQ-04": (_OF_RESULTS, "tests/test_second_finals.py", "UQ-04"),
    "LK-02": (_OF_RESULTS, "tests/integration/test_demo.py", "H_KIT"),
    **{
        f"LK-{number:02}": (_OF_RESULTS, "tests/integration/test_lab_checks.py", f"LK-{number:02}")
        for number in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16)
    },
    "LK-13": ("it takes a week of many kits", "tests/test_job_kits.py", "LK-13"),
    "LK-14": ("it takes results of two kits", "tests/test_job_kits.py", "LK-14"),
}
"""Active checks whose defect no device can have: why, the test that plants it, and what stands there of it."""

OF_ALL = {"PL-00", "TM-06"}
"""Checks of rows that are told of: less another check's counts they leave no small group."""
BAD = ("alarm", "warning")


class Planted(NamedTuple):
    """Worlds that have been worked off, the bad messages that came with them, and the pilots' first day since 1970."""

    world: World
    bad: list[Bad]
    first_day: int


@pytest.fixture(scope="module")
def planted(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    world = make_world(folder, broker.bootstrap, studies=STUDIES, partner={"name": PACER, "received": "header"})
    world.partner = PACER
    studies = [{"id": study, "smallest_cell": SMALLEST} for study in STUDIES]
    (folder / "studies.yaml").write_text(yaml.safe_dump({"studies": studies}), encoding="utf-8")
    stories = _stories()
    publish_consents(world.settings, [line for story in stories for line in story.consent_lines()])
    bad = _bad(stories[1])
    with world.driver() as driver:
        for later in (False, True):
            publish_batches(world.settings, [batch for story in stories for batch in story.sent(later)])
            if later:
                _publish_bad(world, bad)
            work_off(driver)
        _sign_off(driver, stories[1].first_day)
        work_off(driver)
    world.assert_sound()
    assert status(world.store)["last_failure"] is None
    return Planted(world, bad, stories[1].first_day)


def _stories() -> list[Pilot]:
    """The days are over, and the weeks are whole ones."""
    today = now_us() // DAY
    monday = today - (today + 3) % 7 - planted_weeks.DAYS
    return [
        pilot(today - DAYS, SEED, study=CLEAN, name="clean"),
        pilot(today - DAYS, SEED, DEFECTS, PLANTED, "planted"),
        planted_weeks.weeks(monday, CLEAN_WEEKS, SEED, planted=False),
        planted_weeks.weeks(monday, WEEKS, SEED, planted=True),
    ]


def _sign_off(driver: Driver, first_day: int) -> None:
    """A steward signs off the pilots' days, which are judged once more."""
    for study in (CLEAN, PLANTED):
        for day in _days(first_day):
            said = selection_of(study, "bob", "it looks good", {"day": day.isoformat()})
            ask(driver.ledger, "sign-off", said, driver.clock())


def _days(first_day: int) -> list[date]:
    return [date(1970, 1, 1) + timedelta(days=first_day + number) for number in range(DAYS)]


def _bad(story: Pilot) -> list[Bad]:
    """One for each reason for which a partner's record can be refused, but for the large ones, and a name too long."""
    device = story.devices[0]
    found = [bad for bad in bad_messages(device, story.first_day * DAY) if not bad.zeros]
    heart = next(batch for batch in story.batches if batch.metric == HEART)
    named = Bad(0, device, replace(heart, subject="x" * 300).value_bytes(), Reason.FIELD)
    return [*found, named]


def _publish_bad(world: World, bad: Iterable[Bad]) -> None:
    with Publisher(world.settings.kafka, world.topic) as publisher:
        for one in bad:
            publisher.send(one.key, one.value(), [("received", str(now_us()).encode())])


def found(world: World, study: str) -> Counter[tuple[By, str]]:
    """How often each check has failed, by who found it."""
    counts: Counter[tuple[By, str]] = Counter()
    for by, table in ((By.GATE, "check_count"), (By.JOB, "check_result WHERE judge <> 'gate'")):
        query = f'SELECT "check", CAST(sum(n_fail) AS BIGINT) AS n FROM {study}_{table} GROUP BY ALL'
        counts.update({(by, row["check"]): row["n"] for row in sql(world.store, query).to_pylist()})
    reasons = {reason: check.id for check in checks().values() for reason in check.reasons}
    for entry in world.entries():
        told: Any = entry.counts
        sums = told.get("studies", {}).get(study)
        if sums:
            counts.update({(By.WITHHELD, reasons[code]): n for code, n in sums["withheld"].items()})
            counts[By.DUPLICATE, "UQ-01"] += sums["duplicate"]
        if entry.kind == "recall" and entry.cause["study"] == study:
            counts[By.RECALL, "PL-06"] += int(str(entry.cause["rows"]))
    return +counts


def test_clean_worlds_have_nothing_that_fails(planted: Planted) -> None:
    for study in (CLEAN, CLEAN_WEEKS):
        assert found(planted.world, study) == {}
        assert planted.world.rows(study, "metric", "quarantine") == []


def test_of_every_defect_exactly_what_was_planted_is_found(planted: Planted) -> None:
    wanted = found_in(DEFECTS)
    assert found(planted.world, PLANTED) == Counter({of: n for of, n in wanted.items() if of[0] != By.HELD})
    held = Counter[str]()
    for entry in planted.world.entries():
        told: Any = entry.counts
        held.update(told.get("held", {}))
    assert held == {"H_ATTRIBUTION": wanted[By.HELD, "CF-04"]}


_GATE = """
SELECT "check", CAST(sum(n_eval) AS BIGINT) AS n_eval, CAST(sum(n_fail) AS BIGINT) AS n_fail,
  min(people_failing) FILTER (n_fail > 0) AS fewest
FROM {study}_check_result WHERE judge = 'gate' AND family IS NULL GROUP BY ALL HAVING sum(n_eval) > 0"""


def test_the_reports_tell_what_was_planted_and_of_the_clean_world_nothing(planted: Planted) -> None:
    """As far as they may: where fewer than two people fail they say nothing, and of the others what was signed off."""
    days = _days(planted.first_day)
    with closing(LakeDesk(planted.world.settings)) as desk:
        told = {study: [as_json(report_of(desk, study, day))["checks"] for day in days] for study in (CLEAN, PLANTED)}
    assert {one["state"] for checks_of_day in told[CLEAN] for one in checks_of_day} <= {"passed", "not applicable"}
    for study in (CLEAN, PLANTED):
        gate = {row["check"]: row for row in sql(planted.world.store, _GATE.format(study=study)).to_pylist()}
        sums, hidden = Counter[tuple[str, str]](), set[str]()
        for one in (one for checks_of_day in told[study] for one in checks_of_day if one["state"] != "not applicable"):
            hidden |= {one["check"]} if one["failed"] is None else set()
            sums.update({(one["check"], name): one[name] or 0 for name in ("judged", "failed")})
        for name in gate.keys() - hidden:
            assert (sums[name, "judged"], sums[name, "failed"]) == (gate[name]["n_eval"], gate[name]["n_fail"]), name
        of_few = {name for name, row in gate.items() if row["fewest"] is not None and row["fewest"] < SMALLEST}
        assert of_few <= hidden and (study == PLANTED) is bool(of_few)
        assert gate.keys() - hidden >= OF_ALL - of_few
    wanted = found_in(DEFECTS)
    violated = {one["check"] for checks_of_day in told[PLANTED] for one in checks_of_day if one["state"] in BAD}
    assert violated <= {check for _, check in wanted}


def test_what_takes_weeks_is_found_as_often_as_it_was_planted(planted: Planted) -> None:
    assert found(planted.world, WEEKS) == Counter(planted_weeks.FOUND)


def test_what_is_refused_is_counted_by_its_reason(planted: Planted) -> None:
    rejected, wanted = Counter[str](), Counter[str]()
    for entry in planted.world.entries():
        told: Any = entry.counts
        rejected.update(told.get("rejected", {}))
    for bad in planted.bad:
        wanted[bad.reason] += bad.readings or 1
    assert rejected == wanted


def test_every_active_check_has_a_defect_that_is_planted(planted: Planted) -> None:
    """Here, or by the test that `ELSEWHERE` names."""
    active = {name for name, check in checks().items() if check.is_active}
    refused = {bad.reason for bad in planted.bad}
    here = {check for _, check in [*found_in(DEFECTS), *planted_weeks.FOUND]}
    here |= {name for name in active - {*ELSEWHERE} if checks()[name].where is Where.NORMALISE}
    assert all(refused & {*checks()[name].reasons} for name in here if checks()[name].where is Where.NORMALISE)
    assert here | {*ELSEWHERE} == active
    assert not here & {*ELSEWHERE}
    for name, (_, test, words) in ELSEWHERE.items():
        assert words in (Path(ROOT) / test).read_text(encoding="utf-8"), name
    print(f"a defect is planted and found for {len(here)} of {len(active)} active checks; {len(ELSEWHERE)} elsewhere")
