"""wellspring demo: a small world on real parts, from an empty folder to answers from the lake."""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipelines.commands.common import AsJson, Refused, put

if TYPE_CHECKING:
    from pipelines.demo.ground import Ground
    from pipelines.demo.narrator import Narrator
    from pipelines.demo.stage import Performance

EXAMPLE = "Examples: wellspring demo; wellspring demo --dir /tmp/demo --keep; wellspring demo --json"


def demo(
    directory: Annotated[
        Path, typer.Option("--dir", help="Folder for everything; an earlier demo in it is replaced.")
    ] = Path("demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the broker running at the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Play the demo world: a real Kafka, some fifty people, a phone, a kit, and what becomes of it. Needs nothing else."""
    from pipelines.demo.narrator import Narrator
    from pipelines.demo.show_quality import show_sign_in

    began = time.monotonic()
    narrator = Narrator(_console(as_json))
    try:
        with _quiet_libraries(), _terminated_as_interrupted(narrator):
            ground, performance = _played(directory, keep, narrator)
    except KeyboardInterrupt:
        raise Refused(
            "the demo was stopped before its end, and its broker with it: run it again to begin anew"
        ) from None
    show_sign_in(performance.inspection, narrator)
    if as_json:
        put({**_as_json(ground, performance, keep), "seconds": round(time.monotonic() - began, 1)})
    else:
        _farewell(ground, performance, keep, narrator, time.monotonic() - began)
    if performance.problems:
        raise Refused("the demo did not go as it should have:\n" + "\n".join(performance.problems))


def _console(as_json: bool) -> Console:
    """Standard output is a machine's where it asks for JSON."""
    stream = sys.stderr if as_json else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 140)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Beam logs warnings about itself at import and with every pipeline; nobody who watches a demo can act on them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _terminated_as_interrupted(narrator: "Narrator") -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: in good order, without a broker left behind.

    An interruption that is lost in some library's callback counts all the same, at the next step.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def again() -> None:
        if came:
            raise KeyboardInterrupt

    heeded = [signal.SIGTERM, *([signal.SIGINT] if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else [])]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    narrator.before_step = again
    try:
        yield
        again()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _played(directory: Path, keep: bool, narrator: "Narrator") -> tuple["Ground", "Performance"]:
    """The demo, from an empty folder to its report. No broker stays, unless it ends well and is to be kept."""
    from pipelines.demo.ground import break_ground
    from pipelines.demo.narrator import nothing
    from pipelines.demo.show import show
    from pipelines.demo.stage import perform
    from pipelines.entries import now_us

    with narrator.step(
        "clearing the ground", lambda: f"everything lies in {directory.expanduser().absolute()}"
    ) as tell:
        ground = break_ground(directory, now_us(), tell)
    done = False
    try:
        with narrator.step("starting Apache Kafka", lambda: f"Apache Kafka is up on {address.bootstrap}") as tell:
            address = ground.kafka.up(on_progress=tell)
        performance = perform(ground, address, narrator)
        show(performance, narrator)
        done = True
    finally:
        narrator.before_step = nothing  # the broker is stopped, whatever came
        if not (done and keep):
            with narrator.step("stopping Apache Kafka", lambda: "Apache Kafka is stopped") as tell:
                ground.kafka.down(tell)
    return ground, performance


def _farewell(ground: "Ground", performance: "Performance", keep: bool, narrator: "Narrator", seconds: float) -> None:
    from pipelines.demo.show import next_commands

    narrator.title(f"Done in {seconds:.0f} s. Everything lies in {ground.folder}")
    for name, what in _paths(ground).items():
        narrator.say(f"  {what.relative_to(ground.folder)!s:<20} {_MEANING[name]}")
    narrator.title("Try next" + (" (the broker runs until the last of these)" if keep else ""))
    for line in next_commands(ground.config, performance.world.doors.kit.barcode, keep):
        narrator.console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)


_MEANING = {
    "config": "the settings; partners.yaml and studies.yaml are the registries, laboratories/ says what codes mean",
    "lake": "the studies' tables, and in _control/ the ledger",
    "vault": "keys, consent register and holds: not for studies",
    "kafka": "the broker's data and logs",
    "consents": "what people agreed to; consents-2.ndjson is the second act's, and so on",
    "exports": "what the phone and the laboratory gave, and what happened to the kit",
    "reports": "how each study's data stood on each day: open them in a browser",
    "users": "the stewards' desk's users, with hashes of their passwords",
}


def _paths(ground: "Ground") -> dict[str, Path]:
    folders = {name: ground.folder / name for name in ("lake", "vault", "kafka")}
    return {
        "config": ground.config,
        **folders,
        "consents": ground.consents(0),
        "exports": ground.folder / "exports",
        "reports": ground.reports,
        "users": ground.users,
    }


def _as_json(ground: "Ground", performance: "Performance", keep: bool) -> dict[str, Any]:
    from pipelines.demo.show_quality import as_json

    story = performance.world
    return {
        "world": {
            "now_us": story.now_us,
            "begin_us": story.begin,
            "end_us": story.end,
            "people": len(story.people),
        },
        "entries": dict(performance.sums.entries),
        "counts": performance.sums.as_json(),
        "expected": performance.told,
        "laws": [law.as_json() for law in performance.laws],
        "receipts": {name: receipt.as_json() for name, receipt in performance.receipts.items()},
        "kit": performance.way,
        "figures": performance.answers,
        "lake": performance.report.as_json(),
        "quality": as_json(performance.inspection),
        "problems": performance.problems,
        "paths": {name: str(path) for name, path in _paths(ground).items()},
        "kafka": {"bootstrap": performance.settings.kafka.bootstrap, "running": keep},
    }
