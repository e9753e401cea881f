"""wellspring connect <format> FILE: what a file of a registered format holds, published as its contract's messages."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from connectors.file_publishing import Outlet, Published, Tell, publish_file
from connectors.formats import Format
from connectors.hl7v2_answers import Answers
from connectors.publisher import Publisher
from connectors.receipt import Receipt
from connectors.sending import MOST_BYTES
from connectors.source_file import SourceFile
from pipelines.commands.common import AsJson, Config, Refused, partner_named, put, say, settings_of
from pipelines.settings import Settings
from schemas.lab_mapping import LabMapping
from schemas.registry import Partner

_TELL_EVERY_S = 0.25
_MB = 1_000_000
_NAMED = 10

File = Annotated[Path, typer.Argument(help="The file.", show_default=False)]
PartnerName = Annotated[str, typer.Option(help="Partner in whose name it is published.")]
Subject = Annotated[str, typer.Option(help="The person whose file it is, as the partner knows them.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be published; needs no broker and no settings.")
]


def command_of(source: Format) -> Callable[..., None]:
    """The command that publishes a file of the format."""

    def connect(
        path: File,
        partner: PartnerName = "",
        subject: Subject = "",
        dry_run: DryRun = False,
        config: Config = None,
        as_json: AsJson = False,
    ) -> None:
        if not dry_run and not subject and source.contract == "app-export":
            raise typer.BadParameter("whose file is it?", param_hint="--subject")
        connect_file(source, path, partner, subject, None, dry_run, config, as_json)

    connect.__doc__ = f"{source.title}: a file, published with a receipt."
    return connect


def connect_file(
    source: Format,
    path: Path,
    partner: str,
    subject: str,
    mapping: LabMapping | None,
    dry_run: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Publish a file and say what became of each of its records; Refused where not all of it was read and confirmed."""
    with ExitStack() as stack:
        stream = stack.enter_context(_opened(path))
        to = Outlet()
        if not dry_run:
            settings = settings_of(config)
            found = partner_named(settings, partner)
            to = stack.enter_context(outlet(settings, found, source.contract))
        tell = progress(stream) if sys.stderr.isatty() and not as_json else None
        done = publish_file(source, stream, path.name, to, subject, mapping, tell)
        if tell:
            print(file=sys.stderr)
    _report(done, "would be published" if dry_run else "published", as_json)


@contextmanager
def outlet(settings: Settings, partner: Partner, contract: str, patience_s: float = 120.0) -> Iterator[Outlet]:
    """Where a partner's messages of the contract go; raises as the Publisher does."""
    with Publisher(settings.kafka, partner.topic(contract), patience_s=patience_s) as publisher:
        yield Outlet(publisher, min(MOST_BYTES, partner.max_message_bytes // 2))


def _opened(path: Path) -> SourceFile:
    try:
        return SourceFile(io.FileIO(path), path.stat().st_size)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None


def progress(source: SourceFile) -> Tell:
    """Says now and then, on one line, how far it is."""
    told_at = 0.0

    def tell(receipt: Receipt) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _TELL_EVERY_S:
            told_at = time.monotonic()
            read = f"{source.read_bytes / _MB:,.0f} of {source.size / _MB:,.0f} MB read"
            print(f"\r{read}, {receipt.records:,} records", end="", file=sys.stderr, flush=True)

    return tell


def _report(done: Published, word: str, as_json: bool) -> None:
    receipt = done.receipt
    if as_json:
        put(receipt.as_json())
    else:
        if receipt.records or not receipt.partial:
            for line in receipt.lines(word):
                say(line)
        if done.answers:
            _say_answers(done.answers)
    if receipt.partial:
        place, why = receipt.partial
        read = receipt.records or receipt.beside
        raise Refused(f"not all of it was read or confirmed, only as far as {place}: {why}" if read else why)


def _say_answers(answers: Answers) -> None:
    """What each message would be acknowledged with: nothing is sent to the laboratory."""
    for code, count in sorted(answers.counts().items()):
        numbers = answers.first(code, _NAMED) if code != "AA" else []
        more = ", …" if count > len(numbers) else ""
        which = f": messages {', '.join(map(str, numbers))}{more}" if numbers else ""
        say(f"  {code} for {count:,} message{'s' if count > 1 else ''}{which}")
