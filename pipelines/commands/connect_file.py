"""wellspring connect <format> FILE: what a file of a registered format holds, published as its contract's messages."""

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.app_export import publish_export
from connectors.formats import FileRefused, Format, Found, Partial, read_file
from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.lab_results import publish_results
from connectors.publisher import Publisher
from connectors.receipt import Receipt
from connectors.sending import MOST_BYTES
from pipelines.commands.common import AsJson, Config, Refused, partner_named, put, say, settings_of
from pipelines.decode import READING_CONTRACTS

_TELL_EVERY_S = 0.25
_BUFFER = 1024 * 1024
_MB = 1_000_000

File = Annotated[Path, typer.Argument(help="The file.", show_default=False)]
PartnerName = Annotated[str, typer.Option(help="Partner in whose name it is published.")]
Subject = Annotated[str, typer.Option(help="The person whose file it is, as the partner knows them.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be published; needs no broker and no settings.")
]

Publish = Callable[[Iterable[Found], Receipt, Publisher | None, int], None]
"""What is done with what a file holds: counted in the receipt, and sent where there is a publisher, in messages of so
many bytes."""


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
        publish_file(source, path, partner, _publish(source, subject), dry_run, config, as_json)

    connect.__doc__ = f"{source.title}: a file, published with a receipt."
    return connect


def _publish(source: Format, subject: str) -> Publish:
    if source.contract == "lab-result":
        return lambda found, receipt, sink, most: publish_results(found, receipt, sink, most_bytes=most)
    return lambda found, receipt, sink, most: publish_export(source, found, subject, receipt, sink, most)


def publish_file(
    source: Format, path: Path, partner: str, publish: Publish, dry_run: bool, config: Path | None, as_json: bool
) -> None:
    """Publish a file and say what became of each of its records; Refused where not all of it was read and confirmed."""
    receipt = Receipt(source.name)
    with ExitStack() as stack:
        sink, most_bytes = None, MOST_BYTES
        stream = stack.enter_context(_opened(path))
        if not dry_run:
            settings = settings_of(config)
            found = partner_named(settings, partner)
            most_bytes = min(MOST_BYTES, found.max_message_bytes // 2)
            sink = stack.enter_context(Publisher(settings.kafka, found.topic(source.contract)))
            if source.contract not in READING_CONTRACTS:
                say(f"`wellspring run` does not read {source.contract} yet: it waits for {found.retention_days} days")
        try:
            read = read_file(source, stream, path.name)
            if sys.stderr.isatty() and not as_json:
                read = _told(read, stream, receipt)
            publish(read, receipt, sink, most_bytes)
        except FileRefused as refusal:
            receipt.note(Partial("its beginning", str(refusal)))
        except (KafkaUnreachable, KafkaRefused) as failure:
            receipt.note(Partial("the first message that was not confirmed", str(failure)))
    _report(receipt, "would be published" if dry_run else "published", as_json)


class _Counted(io.FileIO):
    """A file that knows how much of it was read."""

    read_bytes = 0

    def readinto(self, buffer: Any) -> int | None:
        size = super().readinto(buffer)
        self.read_bytes += size or 0
        return size


def _opened(path: Path) -> "_Source":
    try:
        return _Source(path)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None


class _Source(io.BufferedReader):
    """A file that is read in pieces, its size, and how much of it was read."""

    def __init__(self, path: Path) -> None:
        self._file = _Counted(path)
        super().__init__(self._file, _BUFFER)
        self.size = path.stat().st_size

    @property
    def read_bytes(self) -> int:
        return self._file.read_bytes


def _told(found: Iterator[Found], source: _Source, receipt: Receipt) -> Iterator[Found]:
    """The same, and now and then a word on how far it is."""
    told_at = 0.0
    for one in found:
        yield one
        if time.monotonic() - told_at >= _TELL_EVERY_S:
            told_at = time.monotonic()
            read = f"{source.read_bytes / _MB:,.0f} of {source.size / _MB:,.0f} MB read"
            print(f"\r{read}, {receipt.records:,} records", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _report(receipt: Receipt, done: str, as_json: bool) -> None:
    if as_json:
        put(receipt.as_json())
    elif receipt.records or not receipt.partial:
        for line in receipt.lines(done):
            say(line)
    if receipt.partial:
        place, why = receipt.partial
        read = receipt.records or receipt.beside
        raise Refused(f"not all of it was read or confirmed, only as far as {place}: {why}" if read else why)
