"""How far a copy has come: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from pipelines.commands.common import say
from pipelines.lake_copy import Tell

EVERY_S = 30.0


@contextmanager
def telling() -> Iterator[Tell]:
    """What to tell of it."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _shown(console) as tell:
            yield tell
    else:
        yield _Lines()


class _Lines:
    def __init__(self) -> None:
        self._what, self._said = "", time.monotonic()

    def __call__(self, what: str, done: int, of: int) -> None:
        if time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            say(f"copying {what}: {done:,} of {of:,}")


@contextmanager
def _shown(console: Console) -> Iterator[Tell]:
    columns = (SpinnerColumn(), TextColumn("copying {task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=of)
            progress.update(tasks[what], completed=done, total=of)

        yield tell
