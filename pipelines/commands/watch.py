"""wellspring watch: a folder or bucket whose files are published as they become complete."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from connectors.file_publishing import Outlet
from connectors.formats import formats
from connectors.gateway import stop_on_signals
from connectors.watch import PATIENCE_S, Outlets, Result, Round, Watcher
from connectors.watch_files import Rules
from connectors.watch_folder import Folder
from connectors.watch_manifest import FileFault, NamePattern
from connectors.watch_place import Place
from pipelines.commands.common import AsJson, Config, Refused, put, say, settings_of
from pipelines.commands.connect_file import DryRun, outlet, progress
from pipelines.settings import Settings
from schemas.laboratories import load_laboratories
from schemas.registry import Partner, load_partners

_CLEAR = "\r\x1b[K"  # of the terminal's line, on which the progress stands

EXAMPLE = (
    "Examples: wellspring watch inbox --once; wellspring watch s3://uploads/acme --partner acme --json; "
    "wellspring watch inbox --names '{partner}_{subject}_{format}_*' --dry-run"
)


def watch(
    place: Annotated[str, typer.Argument(help="A folder, or s3://BUCKET/PREFIX.", metavar="FOLDER")],
    once: Annotated[bool, typer.Option("--once", help="Work off what is there, then end.")] = False,
    names: Annotated[
        str, typer.Option(help="What files without a manifest are called, as {partner}_{subject}_{format}_*.")
    ] = "",
    partner: Annotated[str, typer.Option(help="The only partner whose files are taken; they need not say it.")] = "",
    laboratories: Annotated[
        Path | None, typer.Option(help="Folder of the laboratories' mapping files.  [default: that of the settings]")
    ] = None,
    settle: Annotated[float, typer.Option(min=0, help="Seconds without a change before a file is taken.")] = 5.0,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Publish the files that come into a folder, each once, with a receipt. One JSON object per file with --json."""
    rules = Rules(settle, _pattern(names, partner), partner or None)
    stop, goes_on = threading.Event(), not (once or dry_run)
    told = _Told(as_json, "would be published" if dry_run else "published", goes_on)
    settings = None if dry_run else settings_of(config)
    folder = laboratories or (settings.laboratories if settings else None)
    watcher = Watcher(
        found := _place(place),
        rules,
        _outlets(settings) if settings else None,
        told.result,
        laboratories=load_laboratories(folder) if folder else {},
        progress=progress if sys.stderr.isatty() and not as_json else None,
        stop=stop,
    )
    with stop_on_signals(stop), nullcontext() if dry_run else found.hold():
        if goes_on:
            watcher.run(told.round)
            return
        told.round(watcher.round())
    told.end()


def _place(place: str) -> Place:
    if not place.startswith("s3://"):
        return Folder(Path(place))
    from connectors.watch_bucket import Bucket

    try:
        return Bucket(place)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="FOLDER") from None


def _pattern(names: str, partner: str) -> NamePattern | None:
    try:
        return NamePattern(names, list(formats()), partner or None) if names else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--names") from None


def _outlets(settings: Settings) -> Outlets:
    """Where messages go, by the registry of partners as it is now."""
    return partial(_outlet, settings, load_partners(settings.partners))


@contextmanager
def _outlet(settings: Settings, partners: dict[str, Partner], name: str, contract: str) -> Iterator[Outlet]:
    registered = partners.get(name)
    if registered is None:
        raise FileFault("partner: no partner of that name is registered")
    if contract not in registered.contracts:
        raise FileFault(f"partner: it is not registered for {contract}")
    with outlet(settings, registered, contract, PATIENCE_S) as opened:
        yield opened


class _Told:
    """What is said while files come: on a terminal by their names, elsewhere by the start of their hash."""

    def __init__(self, as_json: bool, word: str, goes_on: bool) -> None:
        self._as_json, self._word, self._goes_on = as_json, word, goes_on
        self._is_terminal = sys.stderr.isatty()
        self._outcomes: Counter[str] = Counter()
        self._waiting: dict[str, str] = {}
        self._trouble = ""

    def result(self, result: Result) -> None:
        """A file is done, or has failed."""
        if self._as_json:
            put(result.as_json())
            return
        receipt = result.published.receipt
        called = f"{result.name} ({result.tag})" if self._is_terminal else result.tag
        start = _CLEAR if self._is_terminal else ""
        sums = f"{receipt.records:,} records, {receipt.published:,} {self._word}"
        say(f"{start}{called} {result.outcome}: {sums}{f'; {result.why}' if result.why else ''}")

    def round(self, found: Round) -> None:
        """A look has ended: say what has changed since the one before."""
        self._outcomes += found.outcomes
        if self._goes_on and found.trouble and found.trouble != self._trouble:
            say(f"{found.trouble}; what is left is tried again")
        if found.waiting != self._waiting and not self._as_json:
            self._say_waiting(found.waiting)
        self._waiting = found.waiting
        if found.trouble or found.outcomes:  # a round in which nothing was tried says nothing about it
            self._trouble = found.trouble

    def _say_waiting(self, waiting: dict[str, str]) -> None:
        if self._is_terminal:
            for name in sorted(waiting.keys()):
                if self._waiting.get(name) != waiting[name]:
                    say(f"{name} waits: {waiting[name]}")
            return
        counts = Counter(waiting.values())
        if counts != Counter(self._waiting.values()):
            said = "; ".join(f"{count:,} {why}" for why, count in sorted(counts.items()))
            say(f"waiting: {said or 'nothing'}")

    def end(self) -> None:
        """Refused where not all that was taken went well."""
        if self._trouble:
            raise Refused(f"not all of it was published: {self._trouble}")
        if failed := self._outcomes["failed"]:
            raise Refused(f"{failed:,} of {self._outcomes.total():,} files failed; the receipt of each says why")
