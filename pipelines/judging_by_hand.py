"""The quality job by hand: a day that somebody wants judged again, through as many turns as it takes; what suites have found."""

import time
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from pipelines import judging
from pipelines.driver import Driver
from pipelines.entries import Kind, RequestRefused
from pipelines.files import table_key
from pipelines.holds import Changes
from pipelines.judged_results import settle
from pipelines.judging import Work, steps_of
from pipelines.lake_desk import LakeDesk
from pipelines.plan import Replacement
from pipelines.replaced_results import replacement
from pipelines.requests import Change, NotYet
from pipelines.suite_findings import Findings
from schemas.families import CHECK_RESULT


class _Day(BaseModel):
    """The day, and what suites found of it where it is this that is asked to be kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    day: date
    suites: Findings | None = None


class _Selection(BaseModel):
    """What is asked for by whoever wants a day judged again."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    study: str
    by: str
    reason: str
    about: _Day


class _ByHand(NamedTuple):
    """A day that is being judged, and the desk by which it is."""

    desk: LakeDesk
    work: Work

    def close(self) -> None:
        self.work.close()
        self.desk.close()


def judge(driver: Driver, selected: Mapping[str, JsonValue]) -> Change | None:
    """The change that judges a day of a study again, or keeps what suites found of it; None where there is nothing to say.

    NotYet where a large day takes more turns: the next call goes on. A driver that comes after a crash begins the day anew.
    """
    try:
        asked = _Selection.model_validate(selected)
    except ValidationError:
        raise RequestRefused("it does not name the study and the day that are judged again") from None
    if asked.study not in driver.studies:
        raise RequestRefused("it names a study that is not registered")
    day = asked.about.day.isoformat()
    cause: dict[str, JsonValue] = {"study": asked.study, "days": 1, "first": day, "last": day}
    driver.consent_now()
    if asked.about.suites is not None:
        kept = _of_suites(driver, asked.study, asked.about.suites)
        return _change(driver, kept, {**cause, "suites": True, "differences": len(asked.about.suites.differences)})
    return _change(driver, _of_turn(driver, asked.study, asked.about.day), cause)


def _of_turn(driver: Driver, study: str, day: date) -> dict[str, Replacement]:
    """The results of a day that this turn brings to its end; NotYet where it does not."""
    going = _taken_up(driver, study, day)
    try:
        found = going.work.go_on(time.monotonic() + judging.TURN_S)
        replaced = None if found is None else settle(driver, study, found)
    except Exception as error:  # quality never stops the stream, and its text may show what a person's rows hold
        _put_down(driver)
        raise RequestRefused(f"the quality job failed ({type(error).__name__}): ask again") from None
    if replaced is None:
        raise NotYet
    _put_down(driver)
    return replaced


def _taken_up(driver: Driver, study: str, day: date) -> _ByHand:
    """The work that goes on, or the day's, begun; NotYet while another day is being judged."""
    going = driver.unfinished
    if going is None:
        desk = LakeDesk(driver.settings, driver.clock, threads=1, vault=driver.vault)
        going = driver.unfinished = _ByHand(desk, Work(study, (day,), steps_of(driver, desk, study, [day])))
    assert isinstance(going, _ByHand), "nothing else is done in turns"
    if (going.work.study, going.work.days) != (study, (day,)):
        raise NotYet
    return going


def _put_down(driver: Driver) -> None:
    assert driver.unfinished is not None
    driver.unfinished.close()
    driver.unfinished = None


def _of_suites(driver: Driver, study: str, found: Findings) -> dict[str, Replacement]:
    """The suites' results in place of their earlier ones."""
    table, at = table_key(study, CHECK_RESULT.name), (driver.ledger.next_n, driver.ledger.epoch)
    live = driver.tables.live_files(table)
    change = replacement(driver.store, table, live, found.table(), found.days(), found.goes, at)
    return {table: change} if change.add or change.remove else {}


def _change(driver: Driver, replaced: dict[str, Replacement], cause: dict[str, JsonValue]) -> Change | None:
    if not replaced:
        return None
    plan = driver.plan(Kind.JUDGE, [], replaced=replaced)
    return Change(plan=plan, holds=Changes([], [], []), cause=cause, rest=None)
