"""What the quality job has found, for the driver's next entry: results in place of earlier ones, and recalls that it wishes."""

from collections.abc import Collection

from pipelines.driver import Driver
from pipelines.entries import Kind
from pipelines.files import table_key
from pipelines.plan import Replacement
from pipelines.replaced_results import replacement, result_goes, summary_goes
from pipelines.requests import ask, everything, selection_of
from quality.desk import THE_JOB as BY
from quality.desk import Stratum
from quality.job.results import Results
from quality.job.times import day_number
from schemas.families import CHECK_RESULT, DAY_SUMMARY


def settle(driver: Driver, study: str, found: Results) -> dict[str, Replacement]:
    """Ask for the recalls that the job wishes, and write its results for the driver's next entry."""
    driver.on_step("judged")
    _ask_for_recalls(driver, study, found.recalls)
    written = _written(driver, study, found)
    driver.on_step("results written")
    return written


def _ask_for_recalls(driver: Driver, study: str, wished: Collection[Stratum]) -> None:
    """Leave a request for each stratum for which none waits. What stewards have released is not taken back by it."""
    waiting = [one.request.selection for one in everything(driver.store) if one.request]
    known = [said.get("about") for said in waiting if said.get("by") == BY]
    for stratum in wished:
        if (about := stratum.as_json()) in known:
            continue
        reason = f"found by {stratum.check} after it had landed" if stratum.check else "found after it had landed"
        ask(driver.ledger, Kind.RECALL, selection_of(study, BY, reason, about), driver.clock())


def _written(driver: Driver, study: str, found: Results) -> dict[str, Replacement]:
    at = driver.ledger.next_n, driver.ledger.epoch
    parts = (
        (
            CHECK_RESULT,
            found.results,
            {day for _, day in found.replaced} | found.counted,
            result_goes(found.replaced, found.counted),
        ),
        (DAY_SUMMARY, found.summaries, found.summarised, summary_goes(found.summarised)),
    )
    changes = {}
    for family, rows, days, goes in parts:
        table = table_key(study, family.name)
        live = driver.tables.live_files(table)
        changes[table] = replacement(driver.store, table, live, rows, map(day_number, days), goes, at)
    return {table: change for table, change in changes.items() if change.add or change.remove}
