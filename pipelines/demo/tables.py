"""Tables that the demo prints."""

from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table


def table(rows: list[dict[str, Any]]) -> Table:
    """Rows of the same columns; numbers stand at the right."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, value in (rows[0] if rows else {"nothing": ""}).items():
        found.add_column(name, justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        found.add_row(*map(_cell, row.values()))
    return found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
