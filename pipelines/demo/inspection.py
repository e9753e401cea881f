"""The fourth act on its stage: a pilot whose devices go wrong, what the checks find, and what two stewards do about it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipelines.commands.common import Refused
from pipelines.demo.cast import DAY
from pipelines.demo.defects import RELEASED
from pipelines.demo.ground import Ground
from pipelines.demo.narrator import Narrator, counted
from pipelines.demo.pilot import Pilot
from pipelines.demo.publish import publish_batches, publish_consents
from pipelines.demo.running import run_out
from pipelines.demo.stewards import APPROVER, STEWARD, welcome
from pipelines.demo.world import STUDIES, World
from pipelines.driver import Driver
from pipelines.entries import Kind
from pipelines.lake_desk import LakeDesk
from quality.checks import checks
from quality.chosen import effect
from quality.coarse import count_told
from quality.desk import Seen, Stratum
from quality.job.times import as_day
from quality.overview import State
from quality.report.numbers import as_json, report_of
from quality.report.write import write_report
from quality.suppression import withheld_rows

TITLE = "Act 4: a pilot whose devices go wrong, what the checks find, and what two stewards do about it"
CHECK = "PL-06"
"""What held back the true weights of somebody heavy, as if they were pounds."""
_WHY_PROPOSED = "the clinic's scale says the same: these weights are true"
_WHY_APPROVED = "seen too"
_WAITING = """
WITH held AS (
  SELECT c.name AS "check", q.pseudonym, count(*) AS n
  FROM quarantine AS q JOIN (SELECT unnest(?) AS name, unnest(?) AS mask) AS c
    ON q.flags & c.mask <> 0 OR q.recalled IN (SELECT entry FROM decision WHERE kind = 'recall' AND "check" = c.name)
  GROUP BY ALL
)
SELECT "check", CAST(sum(n) AS BIGINT) AS n, count(*) AS people, max(n) AS most_of_one FROM held GROUP BY ALL ORDER BY ALL"""


@dataclass(frozen=True)
class Inspection:
    """What was seen and done: the users' passwords, and by study what its last day's checks found and what waits.

    Checks are as the report's JSON has them: numbers are None where they would tell of too few people. `decision` is the
    row of the table.
    """

    passwords: Mapping[str, str]
    found: Mapping[str, Sequence[Mapping[str, Any]]]
    waiting: Mapping[str, Sequence[tuple[str, int | None]]]
    decision: Mapping[str, Any]
    reports: Sequence[Path]


def play_pilot(story: World, ground: Ground, driver: Driver, narrator: Narrator) -> Inspection:
    """All of the act."""
    narrator.title(TITLE)
    pilot, lines = story.pilot, story.pilot.consent_lines()
    ground.consents(3).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    with narrator.step("publishing consents", lambda: f"published {len(lines)} consent events and links"):
        publish_consents(driver.settings, lines)
    for later in (False, True):
        _send(pilot, later, driver, narrator)
    passwords = welcome(ground.users)
    with closing(LakeDesk(driver.settings, vault=driver.vault)) as desk:
        _decide(desk, pilot, driver, narrator)
        days = _days_over(story)
        with narrator.step("writing reports", lambda: f"{counted(len(reports), 'report')} in {ground.reports.name}/"):
            reports = [write_report(desk, study, day, ground.reports) for study, day in _asked(story, days)]
            found = {study: _violated(desk, study, days[-1]) for study in STUDIES}
            waiting = {study: _waiting(desk, study) for study in STUDIES}
        decision = desk.query(pilot.study, "SELECT * FROM decision WHERE kind = 'approve'").to_pylist()[0]
    return Inspection(passwords, found, waiting, decision, reports)


def _send(pilot: Pilot, later: bool, driver: Driver, narrator: Narrator) -> None:
    batches = pilot.sent(later)
    with narrator.step("publishing messages", lambda: f"published {counted(len(batches), 'message')} of a gateway"):
        publish_batches(driver.settings, batches)
    run_out(driver, narrator)


def _decide(desk: LakeDesk, pilot: Pilot, driver: Driver, narrator: Narrator) -> None:
    """One steward proposes to release what was held back wrongly, another approves it: the check is a critical one."""
    stratum = Stratum(check=CHECK, day=as_day(pilot.first_day + 1))
    seen = effect(desk, pilot.study, stratum)
    if seen.rows != RELEASED:
        raise Refused(
            f"{CHECK} held back {seen.rows} rows and not {RELEASED}: the quality job did not go as it should have"
        )
    about = {"decision": "release", **stratum.as_json(), "expected": seen.rows, "fingerprint": seen.fingerprint}
    proposal = _ask(desk, pilot.study, "propose", about, (STEWARD, _WHY_PROPOSED))
    run_out(driver, narrator)
    approval = _ask(desk, pilot.study, "approve", {"proposal": proposal}, (APPROVER, _WHY_APPROVED))
    run_out(driver, narrator)
    released = driver.ledger.read(desk.answer(approval).entry or 0)
    if released.kind != Kind.RELEASE:
        raise Refused("the rows that two stewards wanted to release were not released")
    narrator.tick(
        f"{STEWARD} proposed and {APPROVER} approved: ledger entry {released.n} released "
        f"{counted(int(str(released.cause['released'])), 'row')} that {CHECK} had held back"
    )


def _ask(desk: LakeDesk, study: str, kind: str, about: Mapping[str, Any], said: tuple[str, str]) -> str:
    """Leave a request, noted in the audit first, as the desk does it; its id."""
    by, reason = said
    desk.audit(Seen(datetime.now(UTC), by, study, kind, {**about, "reason": reason}))
    return desk.request(kind, study, about, by, reason)


def _days_over(story: World) -> list[date]:
    """The days (UTC) that the world touches and that are over."""
    first, today = story.begin // DAY, story.now_us // DAY
    return [as_day(number) for number in range(first, today)]


def _asked(story: World, days: Sequence[date]) -> Iterator[tuple[str, date]]:
    """Each study's days; the pilot began later than the others."""
    began = as_day(story.pilot.first_day)
    return ((study, day) for study in STUDIES for day in days if study != story.pilot.study or day >= began)


def _violated(desk: LakeDesk, study: str, day: date) -> list[Mapping[str, Any]]:
    """The checks of the day's report that are above a threshold, the gravest first."""
    told = as_json(report_of(desk, study, day))["checks"]
    return [one for one in told if one["state"] in (State.ALARM, State.WARNING)]


def _waiting(desk: LakeDesk, study: str) -> list[tuple[str, int | None]]:
    """How many rows wait, by the check that they failed, rounded so that what one person sends does not show."""
    known = [(check.id, check.mask) for check in checks().values() if check.action == "quarantine"]
    rows = desk.query(study, _WAITING, [[name for name, _ in known], [mask for _, mask in known]]).to_pylist()
    least = desk.studies()[study].smallest_cell
    hidden = withheld_rows([row["people"] for row in rows], least)
    told = [
        None if hides else count_told(row["n"], row["most_of_one"], least)
        for row, hides in zip(rows, hidden, strict=True)
    ]
    return [(row["check"], number) for row, number in zip(rows, told, strict=True)]
