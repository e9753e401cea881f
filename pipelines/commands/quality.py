"""wellspring quality run|suites|status."""

import getpass
import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.asking import await_answer, leave
from pipelines.commands.common import AsJson, Config, Refused, day_of, put, say, settings_of, study_named
from pipelines.commands.run import put_entry, say_entry
from pipelines.entries import now_us
from pipelines.judging_status import status as status_of
from pipelines.ledger import Ledger
from pipelines.places import store_of
from pipelines.requests import ask, selection_of
from pipelines.watch import Watch
from schemas.families import READING_FAMILIES
from schemas.registry import Study

if TYPE_CHECKING:
    from quality.suite_day import Judged

_TOLD = ("check", "version", "family", "n_eval", "n_fail", "n_na")

app = typer.Typer(help="How readings that have landed are judged as a whole.", no_args_is_help=True)


@app.command(epilog="Example: wellspring quality run --study sleep --day 2026-01-31")
def run(
    study: Annotated[str, typer.Option(help="A registered study.")],
    day: Annotated[str, typer.Option(help="The day that is judged again, UTC: YYYY-MM-DD.")],
    reason: Annotated[str, typer.Option(help="Why, for the request.")] = "judged again by hand",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Leave it to the driver as a request, and end.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Judge a day of a study again; its results replace the earlier ones. Days that changed are judged without being asked."""
    settings = settings_of(config)
    asked = selection_of(study_named(settings, study).id, _by(), reason, {"day": day_of(day).isoformat()})
    leave(settings, "judge", asked, no_wait, as_json, put_entry if as_json else say_entry)


@app.command(epilog="Example: wellspring quality suites --study sleep --day 2026-01-31")
def suites(
    study: Annotated[str, typer.Option(help="A registered study.")],
    day: Annotated[
        str | None, typer.Option(help="The day that is judged, UTC: YYYY-MM-DD; the newest one that has ended.")
    ] = None,
    whole: Annotated[
        list[str] | None,
        typer.Option(help="A family of which every row is looked at, not a sample. May be given again."),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Leave the results to the driver, and end.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Judge a day of a study a second time, by Great Expectations, and compare with what the gate has counted.

    Exit code 1 where the gate counted otherwise, or something could not be judged.
    """
    from pipelines.suiting import NothingToJudge, judge_by_suites, request_of  # imports the job

    if unknown := set(whole or ()) - set(READING_FAMILIES):
        raise typer.BadParameter(f"--whole takes {', '.join(READING_FAMILIES)}, not {', '.join(sorted(unknown))}")
    settings = settings_of(config)
    registered = study_named(settings, study)
    name = registered.id
    try:
        chosen, found, _ = judge_by_suites(settings, name, day_of(day) if day else None, whole)
    except NothingToJudge as nothing:
        raise Refused(str(nothing)) from None
    selection = request_of(name, chosen, found, _by())
    if not found.results.num_rows:
        pass  # there is nothing to keep
    elif no_wait:
        ask(Ledger(store_of(settings.lake)), "judge", selection, now_us())
    else:
        await_answer(settings, Watch(store_of(settings.lake), "judge", selection), lambda entry: None)
    _tell_suites(registered, chosen, found, as_json)
    if found.failures or found.differences:
        raise typer.Exit(1)


def _told(row: dict[str, Any], least: int) -> dict[str, Any]:
    """A check's answer; how often it failed only where that is never, or of as many people."""
    may = not row["n_fail"] or (row.get("people_failing") or 0) >= least
    return row if may else {**row, "n_fail": None}


def _tell_suites(study: Study, day: date, found: "Judged", as_json: bool) -> None:
    """Nothing is counted of fewer people than the study's smallest cell."""
    least = study.smallest_cell
    answers = [_told(row, least) for row in found.results.to_pylist() if row["people"] >= least]
    if as_json:
        put(
            {
                "study": study.id,
                "day": day.isoformat(),
                "rows": found.rows,
                "whole": [family for _, family in found.whole],
                "checks": [{name: row[name] for name in _TOLD} for row in answers],
                "differences": [one.words for one in found.differences],
                "failures": [one._asdict() for one in found.failures],
            }
        )
        return
    from pipelines.suiting import words_of

    looked = ", ".join(f"{count} of {family}" for family, count in found.rows.items()) or "none"
    failing = sum(row["n_fail"] > 0 for row in answers)
    say(f"{study.id}, {day}: {len(answers)} answers of suites, {failing} with failures; rows: {looked}")
    for line in words_of(found):
        say(line)


@app.command(epilog="Example: wellspring quality status --json")
def status(config: Config = None, as_json: AsJson = False) -> None:
    """How far the job has come: entries that it has not looked at, days that wait, and what went wrong last."""
    told = status_of(store_of(settings_of(config).lake))
    if as_json:
        put(told)
        return
    left = ", ".join(f"{days} of {study}" for study, days in told["days_left"].items()) or "none"
    say(f"judged through entry {told['judged_through']}, {told['entries_since']} entries since; days left: {left}")
    if failure := told["last_failure"]:
        say(f"the job of {failure['study']} failed last at {failure['at']} ({failure['error']})")
    for study, one in told["suites"]["studies"].items():
        failed = f", {one['failed_today']} tries of today failed" if one["failed_today"] else ""
        say(f"suites of {study} were last judged at {one['done'] or 'no time yet'}{failed}")


def _by() -> str:
    """Whoever runs the command, as the system knows them."""
    try:
        name = getpass.getuser().lower()
    except OSError:  # nobody the system knows
        name = ""
    return name if re.fullmatch(r"[a-z][a-z0-9.-]{0,39}", name) else "operator"
