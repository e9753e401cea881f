"""wellspring ledger list|show."""

import json
from typing import Annotated

import typer

from pipelines.commands.common import AsJson, Config, Refused, put, settings_of, show_rows
from pipelines.entries import Entry
from pipelines.ledger import Ledger
from pipelines.places import store_of

app = typer.Typer(help="What happened to the lake, entry by entry.", no_args_is_help=True)


@app.command("list", epilog="Example: wellspring ledger list --last 20")
def list_(
    last: Annotated[int | None, typer.Option(help="Only the newest so many.", min=1)] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The entries, a line each."""
    ledger = Ledger(store_of(settings_of(config).lake))
    head = ledger.head()
    first = max(1, head.n - last + 1) if head and last else 1
    show_rows("ledger", [_row(entry) for entry in ledger.entries(first)], as_json)


@app.command(epilog="Example: wellspring ledger show 12")
def show(
    n: Annotated[int, typer.Argument(help="Number of the entry.")], config: Config = None, as_json: AsJson = False
) -> None:
    """One entry, whole: why, which files came and went, the counts, how far it brought the lake."""
    ledger = Ledger(store_of(settings_of(config).lake))
    head = ledger.head()
    if head is None or not 1 <= n <= head.n:
        raise Refused(f"there is no entry {n}: " + (f"the ledger ends at {head.n}" if head else "the ledger is empty"))
    entry = ledger.read(n)
    if as_json:
        put(entry.model_dump(mode="json"))
    else:
        print(json.dumps(entry.model_dump(mode="json"), indent=2))


def _row(entry: Entry) -> dict[str, object]:
    readings = entry.counts.get("readings")
    decoded = readings["decoded"] if isinstance(readings, dict) else None
    added = sum(file.rows for change in entry.tables.values() for file in change.add)
    return {
        "n": entry.n,
        "kind": str(entry.kind),
        "epoch": entry.epoch,
        "at": entry.at,
        "readings": decoded,
        "tables": len(entry.tables),
        "rows": added,
    }
