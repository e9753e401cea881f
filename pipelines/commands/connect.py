"""wellspring connect <format>: readings from a source, published as the contract."""

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from connectors.formats import formats as registered
from connectors.gateway import Progress, Result, run_gateway, stop_on_signals
from connectors.publisher import Publisher
from connectors.sensor_json import MOST_BYTES
from pipelines.commands.common import AsJson, Config, Refused, partner_named, put, say, settings_of
from pipelines.commands.connect_file import command_of
from pipelines.commands.connect_hl7v2 import hl7v2

app = typer.Typer(help="Publish readings from a source as contract messages.", no_args_is_help=True)


@app.callback()
def formats() -> None:
    """One word a format."""


@app.command(
    "sensor-json", epilog="Example: wellspring connect sensor-json day.ndjson --partner acme --subject u17 --dry-run"
)
def sensor_json(
    path: Annotated[str, typer.Argument(help="A file of newline-delimited JSON, or - for standard input.")],
    partner: Annotated[str, typer.Option(help="Partner in whose name it is published.")] = "",
    subject: Annotated[str | None, typer.Option(help="The person, where the lines do not say it.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be published; needs no broker and no settings.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Newline-delimited JSON readings from a gateway; streams from standard input."""
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(stop_on_signals(stop))
        stream = sys.stdin.buffer if path == "-" else stack.enter_context(_opened(path))
        publisher, needs_zone, most_bytes = None, False, MOST_BYTES
        if not dry_run:
            settings = settings_of(config)
            found = partner_named(settings, partner)
            publisher = stack.enter_context(Publisher(settings.kafka, found.topic("sensor-reading")))
            needs_zone, most_bytes = found.assumed_zone is None, min(MOST_BYTES, found.max_message_bytes // 2)
        result = run_gateway(
            stream,
            publisher,
            subject=subject,
            dry_run=dry_run,
            needs_zone=needs_zone,
            most_bytes=most_bytes,
            stop=stop,
            on_progress=_on_progress(as_json),
            on_problem=None if as_json else lambda problem: say(str(problem)),
        )
        if publisher and result.partial:
            publisher.close(0)  # it was waited for long enough
    _report(result, dry_run, as_json)


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None


def _on_progress(as_json: bool) -> Callable[[Progress], None] | None:
    if as_json or not sys.stderr.isatty():
        return None
    return lambda progress: print(f"\r{progress}", end="", file=sys.stderr, flush=True)


def _report(result: Result, dry_run: bool, as_json: bool) -> None:
    if as_json:
        put(result.as_json())
    else:
        said = ", ".join(f"{count} {metric}" for metric, count in sorted(result.by_type.items())) or "nothing"
        say(f"{result.records} readings; {'would publish' if dry_run else 'published'}: {said}")
        for reason, count in sorted(result.problems.items()):
            say(f"  not published: {count} {reason}")
    if result.failure:
        raise Refused(result.failure)
    if result.partial:
        raise Refused("not all of it was read or confirmed: send the same again, what has arrived does not count twice")


_WITH_MORE_OPTIONS = {"hl7v2": hl7v2}

for _name, _source in registered().items():
    app.command(_name, epilog=f"Example: wellspring connect {_name} FILE --partner acme --subject u17")(
        _WITH_MORE_OPTIONS.get(_name) or command_of(_source)
    )
