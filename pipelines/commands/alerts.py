"""wellspring alerts test|status."""

from typing import Annotated

import typer

from pipelines.alerting import send_test
from pipelines.alerting import status as status_of
from pipelines.commands.common import AsJson, Config, Refused, put, say, settings_of, show_rows, study_named
from pipelines.entries import now_us

app = typer.Typer(help="Who is told when checks begin or cease to fail.", no_args_is_help=True)


@app.command("test", epilog="Example: wellspring alerts test --study sleep")
def try_out(
    study: Annotated[
        str | None, typer.Option(help="Only those who hear of this study.  [default: everybody]", show_default=False)
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Tell the receivers that this is a test, at once and also in quiet hours; exit code 1 where one does not take it."""
    settings = settings_of(config)
    if study is not None:
        study_named(settings, study)
    tried = send_test(settings, now_us(), study)
    if not tried:
        raise Refused("nobody is to be told: add a receiver to alerts.receivers")
    show_rows("receivers", [{**one._asdict(), "why": one.why or None} for one in tried], as_json)
    if failed := [one.name for one in tried if one.why]:
        raise Refused(f"not everybody could be told: {', '.join(failed)}")


@app.command(epilog="Example: wellspring alerts status --json")
def status(config: Config = None, as_json: AsJson = False) -> None:
    """What stands not well by now, and how it went with each receiver."""
    told = status_of(settings_of(config))
    if as_json:
        put(told)
        return
    show_rows("not well", told["standing"], as_json)
    show_rows("receivers", told["receivers"], as_json)
    if any(receiver["last_failure"] for receiver in told["receivers"]):
        say("some receivers could not be told: it is tried again until they can")
