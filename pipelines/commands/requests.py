"""wellspring requests list."""

import json
from typing import Any

import typer

from pipelines.commands.common import AsJson, Config, settings_of, show_rows
from pipelines.ledger import Ledger
from pipelines.places import store_of
from pipelines.progress import Answered, Progress
from pipelines.requests import Asked, everything

app = typer.Typer(help="What the driver was asked for and has not done.", no_args_is_help=True)


@app.callback()
def words() -> None:
    """One word so far."""


@app.command("list", epilog="Example: wellspring requests list --json")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """What waits for the driver, in its order, and what it refused in the last seven days. What is done is in the ledger."""
    store = store_of(settings_of(config).lake)
    begun = Progress.of(Ledger(store).head()).request
    show_rows("requests", [_row(asked, begun, as_json) for asked in everything(store)], as_json)


def _row(asked: Asked, begun: Answered | None, as_json: bool) -> dict[str, Any]:
    request, at_work = asked.request, begun is not None and begun.id == asked.id
    selection = request.selection if request else None
    return {
        "request": asked.n,
        "kind": request.kind if request else None,
        "asked_at": request.asked_at if request else None,
        "selection": selection if as_json else json.dumps(selection),
        "state": "refused" if not asked.waits else "at work" if at_work else "waits",
        "why": request.refused if request else "it cannot be read",
        **({"id": asked.id} if as_json else {}),
    }
