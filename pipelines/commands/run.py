"""wellspring run --once|--follow|--replay."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.asking import leave
from pipelines.commands.common import AsJson, Config, Refused, put, say, settings_of
from pipelines.entries import Entry, Kind
from pipelines.room import telling_no_room
from pipelines.runner_settings import RunnerKind
from pipelines.settings import MetricsSettings
from pipelines.wanted import parse_ranges, selection

if TYPE_CHECKING:
    from pipelines.metrics import Metrics

EXAMPLE = (
    "Examples: wellspring run --once; wellspring run --follow --json; "
    "wellspring run --replay acme.sensor-reading.v1/0:100-250 --no-wait"
)


def run(
    once: Annotated[bool, typer.Option("--once", help="Work off what there is, then end.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until SIGTERM or Ctrl-C.")] = False,
    replay: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge records again and replace their rows: TOPIC, TOPIC/PARTITION or TOPIC/PARTITION:FIRST-LAST."
        ),
    ] = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="Replace a driver that is still at work.")] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on although retention has deleted records that were not read.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --replay: say what would be judged again, change nothing.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="With --replay: leave it to the driver as a request, and end.")
    ] = False,
    runner: Annotated[
        RunnerKind | None,
        typer.Option(help="Where plans are run: embedded, flink or prism; the setting runner.kind else."),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Bring new readings to the lake, as far as their people consented. One JSON object per ledger entry with --json."""
    if sum((once, follow, bool(replay))) != 1:
        raise typer.BadParameter("give one of --once, --follow, --replay")
    if dry_run and not replay:
        raise Refused("--dry-run goes with --replay: --once and --follow only ever add")
    if no_wait and (not replay or dry_run or take_over):
        raise Refused("--no-wait goes with --replay, and neither with --dry-run nor with --take-over")
    settings, wanted = settings_of(config), parse_ranges(replay or ())
    if runner is not None:
        settings = settings.on_runner(runner)
    tell = put_entry if as_json else say_entry
    if no_wait:
        leave(settings, "replay", selection(wanted), no_wait, as_json, tell)
        return
    from pipelines.answer import answer_next
    from pipelines.driver import Driver, DriverAlive
    from pipelines.follow import follow_until, work_off
    from pipelines.replay import dry, replay_ranges

    try:
        with (
            telling_no_room(settings.places),
            closing(Driver(settings, on_entry=tell, say=say, accept_loss=accept_loss)) as driver,
            _shown(settings.metrics if follow else None) as metrics,
        ):
            if dry_run:
                put(dry(driver, wanted))
                return
            driver.start(take_over)
            if wanted:
                replay_ranges(driver, wanted)
                while answer_next(driver):  # what is taken back is, again
                    pass
            elif follow:
                follow_until(driver, _stopped(), say, metrics)
            else:
                work_off(driver)
    except DriverAlive:
        if not wanted:
            raise
        leave(settings, "replay", selection(wanted), no_wait, as_json, tell)


@contextmanager
def _shown(settings: MetricsSettings | None) -> "Iterator[Metrics | None]":
    """The figures that are shown while the driver follows; None where they are not."""
    if settings is None or settings.port is None:
        yield None
        return
    from pipelines.metrics import Metrics
    from pipelines.metrics_server import serving

    metrics = Metrics()
    with ExitStack() as stack:
        try:
            port = stack.enter_context(serving(settings.host, settings.port, metrics))
        except OSError as error:
            raise Refused(f"nothing can listen on {settings.host} port {settings.port}: {error.strerror}") from None
        say(f"figures are on {settings.host} port {port}: /metrics, /healthz")
        yield metrics


def _stopped() -> threading.Event:
    """Set by SIGTERM and SIGINT, so that the cycle in hand is finished first."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def put_entry(entry: Entry) -> None:
    put(entry.model_dump(mode="json"))


def say_entry(entry: Entry) -> None:
    """An entry in a line, after another of what was lost, if anything was."""
    if lost := entry.cause.get("lost"):
        say(f"{lost} records were lost to retention: they had not been read")
    if entry.kind == Kind.JUDGE and "study" in entry.cause:
        say(f"entry {entry.n} judge: {entry.cause['days']} days of {entry.cause['study']}")
        return
    if "readings" not in entry.counts:
        say(f"entry {entry.n} {entry.kind}")
        return
    readings: Any = entry.counts["readings"]
    studies: Any = entry.counts["studies"]
    landed = sum(study["landed"] for study in studies.values())
    say(
        f"entry {entry.n} {entry.kind}: {readings['decoded']} readings, {readings['rejected']} rejected, "
        f"{readings['held']} held, {readings['claimed']} claimed; {landed} rows landed in {len(studies)} studies"
        + _left(entry)
    )


def _left(entry: Entry) -> str:
    """What the plan had no room for, and the setting that says so."""
    if "left" not in entry.cause:
        return ""
    return f"; {entry.cause['left']} records are left to the next plan (limits.{entry.cause['cut_by']})"
