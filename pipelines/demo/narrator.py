"""Telling a person what the demo is doing: moving progress on a terminal, a plain line a step elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Doing = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and of how much; 0 where there is no measure."""


def nothing() -> None:
    """Before a step of which nobody wants to know."""


class Narrator:
    """Speaks to one console; `before_step` is asked before each line and each piece of work, and may raise."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.before_step: Callable[[], None] = nothing

    def say(self, text: str = "") -> None:
        """A line of its own."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def title(self, text: str) -> None:
        """The head of what follows."""
        self.say(f"\n[bold]{text}[/]")

    def tick(self, text: str, fine: bool = True) -> None:
        """Something that is as it should be, or is not."""
        self.before_step()
        self.say(f"[green]✓[/] {text}" if fine else f"[red]✗[/] {text}")

    @contextmanager
    def working(self, doing: str) -> Iterator[Doing]:
        """Show that something is being done; what is yielded says how far it has come."""
        self.before_step()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(doing, total=None)

            def tell(text: str, done: int, total: int) -> None:
                progress.update(task, description=text, completed=done, total=total or None)

            yield tell

    @contextmanager
    def step(self, doing: str, done: Callable[[], str]) -> Iterator[Doing]:
        """The same, and a tick with `done()` and the seconds it took when it is done."""
        began = time.monotonic()
        with self.working(doing) as tell:
            yield tell
        self.tick(f"{done()} [dim]({time.monotonic() - began:.1f} s)[/]")


def counted(number: int, word: str) -> str:
    """So many of a word's things: `1 record`, `2,000 records`."""
    return f"{number:,} {word}{'s' * (number != 1)}"
