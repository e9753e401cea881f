"""wellspring report."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.common import AsJson, Config, Refused, day_of, put, say, settings_of, study_named
from pipelines.entries import now_us

EXAMPLE = (
    "Examples: wellspring report --study sleep --html report.html; "
    "wellspring report --study sleep --day 2026-01-31 --html report.html --json"
)


def report(
    study: Annotated[str, typer.Option(help="A registered study.", show_default=False)],
    day: Annotated[
        str | None, typer.Option(help="The day that it is about, UTC: YYYY-MM-DD.  [default: yesterday]")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write it to this file, which loads nothing from elsewhere and prints.", show_default=False),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """How a study's data stood on a day: as a file to read and print, as JSON, or both. No number is of too few people."""
    if html is None and not as_json:
        raise typer.BadParameter("say what to make: --html FILE, --json, or both")
    about = day_of(day) if day else datetime.fromtimestamp(now_us() / 1_000_000, UTC).date() - timedelta(days=1)
    settings = settings_of(config)
    study_named(settings, study)
    from pipelines.lake_desk import LakeDesk
    from quality.report.numbers import as_json as told
    from quality.report.numbers import report_of
    from quality.report.page import page
    from quality.whole_file import write_whole

    with closing(LakeDesk(settings)) as desk:
        found = report_of(desk, study, about)
    if html is not None:
        try:
            write_whole(html, page(found))
        except OSError as error:
            raise Refused(f"{html} cannot be written: {error.strerror}") from None
        say(f"the report of {study} on {about} is in {html}")
    if found.is_empty:
        say(f"nothing is known of {study} on {about}: no readings, or the day has not been judged yet")
    if as_json:
        put(told(found))
