"""wellspring connect <format>: readings from a source, published as the contract."""

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from connectors.gateway import Result, run_gateway
from connectors.publisher import Publisher
from pipelines.commands.common import AsJson, Config, Refused, put, say, settings_of
from schemas.registry import load_partners

app = typer.Typer(help="Publish readings from a source as contract messages.", no_args_is_help=True)


@app.callback()
def formats() -> None:
    """One word a format."""


@app.command("sensor-json", epilog="Example: wellspring connect sensor-json day.ndjson --partner acme --subject u17 --dry-run")
def sensor_json(
    path: Annotated[str, typer.Argument(help="A file of newline-delimited JSON, or - for standard input.")],
    partner: Annotated[str, typer.Option(help="Partner in whose name it is published.")] = "",
    subject: Annotated[str | None, typer.Option(help="The person, where the lines do not say it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be published; needs no broker and no settings.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Newline-delimited JSON readings from a gateway; streams from standard input."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with ExitStack() as stack:
        stream = sys.stdin.buffer if path == "-" else stack.enter_context(_opened(path))
        publisher = None if dry_run else stack.enter_context(_publisher(config, partner))
        result = run_gateway(stream, publisher, subject=subject, dry_run=dry_run, stop=stop, on_progress=_progress(as_json))
    _report(result, dry_run, as_json)


def _opened(path: str):  # type: ignore[no-untyped-def]
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None


def _publisher(config: Path | None, partner: str) -> Publisher:
    settings = settings_of(config)
    found = load_partners(settings.partners).get(partner)
    if found is None:
        raise Refused(f"no partner of that name is registered in {settings.partners}: add it there, then create its topics")
    return Publisher(settings.kafka, found.topic("sensor-reading"))


def _progress(as_json: bool):  # type: ignore[no-untyped-def]
    return (lambda text: None) if as_json or not sys.stderr.isatty() else say


def _report(result: Result, dry_run: bool, as_json: bool) -> None:
    if as_json:
        put(result.as_json())
    else:
        verb = "would be published" if dry_run else "published"
        say(f"{result.records} readings: {result.published} {verb}; by metric: {result.by_type}")
        for problem in result.first_problems:
            say(str(problem))
