"""wellspring bench [GROUP]: the measurements, on real parts of their own."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.commands.common import AsJson, Refused, console, put, say

if TYPE_CHECKING:
    from pipelines.bench.figures import Figure

EXAMPLE = "Example: wellspring bench spine --json"
GROUPS = ("spine", "doors", "quality", "operators")


def bench(
    group: Annotated[str, typer.Argument(help=f"Group of measurements: {', '.join(GROUPS)}.")] = "spine",
    as_json: AsJson = False,
) -> None:
    """Measure on a broker and in a folder of its own; each figure beside its bound in the same run (under 15 minutes)."""
    if group not in GROUPS:
        raise typer.BadParameter(f"there is no group of that name; the groups are: {', '.join(GROUPS)}")
    figures = []
    for figure in _group(group)(say):
        figures.append(figure.as_json())
        say(f"  {figure.figure}: {figures[-1]['ours']} {figure.unit} {'met' if figure.met else 'MISSED'}")
    if as_json:
        put(figures)
    else:
        table = Table(title=f"bench {group}", title_justify="left")
        for name in figures[0] if figures else ():
            table.add_column(name)
        for row in figures:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        console().print(table)
    if not all(row["met"] for row in figures):
        raise Refused("some targets are missed")


def _group(name: str) -> Callable[[Callable[[str], None]], Iterator["Figure"]]:
    if name == "doors":
        from pipelines.bench.doors import doors

        return doors
    if name == "operators":
        from pipelines.bench.operators import operators

        return operators
    if name == "quality":
        from pipelines.bench.quality import quality

        return quality
    from pipelines.bench.spine import spine

    return spine
