"""wellspring run --once|--follow|--replay."""

import signal
import threading
from typing import Annotated, Any

import typer

from pipelines.commands.common import AsJson, Config, Refused, put, say, settings_of
from pipelines.entries import Entry

EXAMPLE = (
    "Examples: wellspring run --once; wellspring run --follow --json; "
    "wellspring run --replay acme.sensor-reading.v1/0:100-250"
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
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Bring new readings to the lake, as far as their people consented. One JSON object per ledger entry with --json."""
    if sum((once, follow, bool(replay))) != 1:
        raise typer.BadParameter("give one of --once, --follow, --replay")
    if dry_run and not replay:
        raise Refused("--dry-run goes with --replay: --once and --follow only ever add")
    settings = settings_of(config)
    from pipelines.driver import Driver
    from pipelines.follow import follow_until
    from pipelines.replay import dry, parse_ranges, replay_ranges

    wanted = parse_ranges(replay or ())
    driver = Driver(settings, on_entry=put_entry if as_json else say_entry, accept_loss=accept_loss)
    try:
        if dry_run:
            put(dry(driver, wanted))
            return
        driver.start(take_over)
        if wanted:
            replay_ranges(driver, wanted)
        elif follow:
            follow_until(driver, _stopped(), say)
        else:
            while driver.cycle():
                pass
    finally:
        driver.close()


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
    if "readings" not in entry.counts:
        say(f"entry {entry.n} {entry.kind}")
        return
    readings: Any = entry.counts["readings"]
    studies: Any = entry.counts["studies"]
    landed = sum(study["landed"] for study in studies.values())
    say(
        f"entry {entry.n} {entry.kind}: {readings['decoded']} readings, {readings['rejected']} rejected, "
        f"{readings['held']} held, {readings['claimed']} claimed; {landed} rows landed in {len(studies)} studies"
    )
