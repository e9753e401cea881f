"""What commands share that ask the driver for something: leave a request, and see what becomes of it."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import JsonValue
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from pipelines.commands.common import put, say
from pipelines.entries import Entry, Fenced, RequestRefused, now_us
from pipelines.heartbeat import live_heartbeat
from pipelines.ledger import Ledger
from pipelines.places import store_of
from pipelines.requests import Asked, ask, at
from pipelines.room import telling_no_room
from pipelines.settings import Settings
from pipelines.watch import Watch

EVERY_S = 0.5
PATIENCE_S = 15.0
"""So long nobody may be alive: a driver that is being restarted comes back to its lake before a command takes it."""

Tell = Callable[[Entry], None]


def say_asked(asked: Asked, as_json: bool) -> None:
    """That a request was left, for whoever does not wait for it."""
    if as_json:
        put(row_of(asked))
    else:
        say(f"request {asked.n} is left for the driver; what becomes of it: wellspring requests list")


def leave(
    settings: Settings, kind: str, selection: Mapping[str, JsonValue], no_wait: bool, as_json: bool, tell: Tell
) -> None:
    """Leave a request for the driver, and wait for its entries unless nobody wants to."""
    store = store_of(settings.lake)
    if no_wait:
        say_asked(ask(Ledger(store), kind, selection, now_us()), as_json)
    else:
        await_answer(settings, Watch(store, kind, selection), tell)


def row_of(asked: Asked) -> dict[str, Any]:
    """A request for machines."""
    return {"request": asked.n, "id": asked.id, **(asked.request.model_dump(mode="json") if asked.request else {})}


def await_answer(settings: Settings, watch: Watch, tell: Tell) -> None:
    """Wait until the driver has done it, and tell each entry that it became; do it here once no driver is left.

    RequestRefused, with the reason, where it is not done.
    """
    store, asked = store_of(settings.lake), watch.asked
    alive_at = time.monotonic()
    with _shown() as show:
        while True:
            for entry in watch.look():
                tell(entry)
            if watch.is_over:
                break
            show(watch.state())
            if live_heartbeat(store, now_us()):
                alive_at = time.monotonic()
            elif time.monotonic() - alive_at >= PATIENCE_S:
                show(f"request {asked.n}: no driver is at work any more, so it is done here")
                with telling_no_room(settings.places):
                    _do_here(settings, asked)
                continue
            time.sleep(EVERY_S)
    if watch.refused:
        raise RequestRefused(f"request {asked.n} is refused: {watch.refused}")


def _do_here(settings: Settings, asked: Asked) -> None:
    """Be the driver until the request is answered; if another one has come meanwhile, it is that one's."""
    from pipelines.answer import answer_next
    from pipelines.driver import Driver, DriverAlive

    driver = Driver(settings)
    try:
        driver.start()
        while (found := at(driver.store, asked.key)) and found.waits:
            answer_next(driver)
    except (DriverAlive, Fenced):
        return
    finally:
        driver.close()


@contextmanager
def _shown() -> Iterator[Callable[[str], None]]:
    """Shows how far it is: a line that changes on a terminal, a line for each change elsewhere."""
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    if console.is_terminal:
        with Bar(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
            task = bar.add_task("", total=None)
            yield lambda text: bar.update(task, description=text)
    else:
        said = [""]

        def say_once(text: str) -> None:
            if text != said[-1]:
                said[:] = [text]
                say(text)

        yield say_once
