"""wellspring kits issue|check|publish|status|show."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from connectors.publisher import Publisher
from pipelines.commands.common import (
    AsJson,
    Config,
    Refused,
    known_vault,
    partner_named,
    put,
    say,
    settings_of,
    show_rows,
)
from pipelines.commands.publishing import Lines, parsed, refuse_unconfirmed
from pipelines.consent.register import FILE as REGISTER
from pipelines.consent.register import Register
from schemas.barcodes import checked, in_groups, issue_many
from schemas.contracts import encode
from schemas.kit_events import CONTRACT, KitEvent, parse_line
from schemas.reasons import Rejected

MOST_ISSUED = 100_000
_CODES = "Exit codes: 0 done, 1 refused or not valid, 2 wrong usage."

app = typer.Typer(help="Self-sampling kits: their barcodes and what happened to them.", no_args_is_help=True)


@app.command(epilog=f"{_CODES} Example: wellspring kits issue 500 > barcodes.txt")
def issue(
    count: Annotated[int, typer.Argument(min=1, max=MOST_ISSUED, help="How many.")],
    as_json: AsJson = False,
) -> None:
    """New barcodes for printing, one a line; random, so that nobody guesses another kit's. Needs no settings."""
    for barcode in issue_many(count):
        if as_json:
            put({"barcode": barcode, "in_groups": in_groups(barcode)})
        else:
            print(barcode)


@app.command(epilog=f"{_CODES} Example: wellspring kits check 9Y87-5XRT-6M0N-FKBN")
def check(
    barcodes: Annotated[list[str], typer.Argument(help="Barcodes, as they were printed or typed.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Whether each is a barcode, and what is wrong with one that is not. Needs no settings; repeats no barcode."""
    rows = [{"place": place, **_judged(barcode)} for place, barcode in enumerate(barcodes, start=1)]
    show_rows("barcodes", rows, as_json)
    wrong = sum(not row["ok"] for row in rows)
    if wrong:
        raise Refused(f"{wrong} of {len(rows)} are not valid")


def _judged(barcode: str) -> dict[str, object]:
    try:
        checked(barcode)
    except Rejected as fault:
        return {"ok": False, "expected": fault.expected}
    return {"ok": True, "expected": None}


@app.command(epilog=f"{_CODES} Example: wellspring kits publish events.ndjson --partner north-lab --dry-run")
def publish(
    file: Annotated[Path, typer.Argument(help="Events of kits, one JSON object a line.")],
    partner: Annotated[str, typer.Option(help="Registered partner that tells of them.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only validate; needs no broker and no settings.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Publish events of kits; nothing is sent unless every line is valid."""
    events = [event for _, event in parsed(file, parse_line)]
    if not dry_run:
        _send(events, partner, config)
    Lines(Counter(event.event for event in events), dry_run).tell(as_json)


def _send(events: list[KitEvent], name: str, config: Path | None) -> None:
    settings = settings_of(config)
    partner = partner_named(settings, name)
    if CONTRACT not in partner.contracts:
        raise Refused(
            f"the partner sends no {CONTRACT}: add it to its contracts in {settings.partners}, then create its topics"
        )
    with Publisher(settings.kafka, partner.topic(CONTRACT)) as publisher:
        for event in events:
            publisher.send(event.barcode.encode(), encode(CONTRACT, event.to_record()))
        receipt = publisher.flush()
    refuse_unconfirmed([receipt], len(events))


@app.command(epilog=f"{_CODES} Example: wellspring kits status --json")
def status(config: Config = None, as_json: AsJson = False) -> None:
    """How many kits there are by their last event, how many contradict themselves, as far as the driver has read."""
    with known_vault(settings_of(config)) as vault, closing(Register(vault.read(REGISTER))) as register:
        found = register.kit_status().as_json()
    if as_json:
        put(found)
        return
    for name, value in found.items():
        say(f"{name}: {value}")


@app.command(epilog=f"{_CODES} Example: wellspring kits show 9Y87-5XRT-6M0N-FKBN --json")
def show(
    barcode: Annotated[str, typer.Argument(help="The kit's barcode, as it was printed or typed.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """One kit's events in their order; only for the eyes of who may see the vault."""
    asked = checked(barcode)
    with known_vault(settings_of(config)) as vault, closing(Register(vault.read(REGISTER))) as register:
        events = register.kit_events(asked)
    if not events:
        raise Refused("no event of this kit has been read")
    names = list(dict.fromkeys(name for event in events for name in event))
    show_rows("events", [{name: event.get(name) for name in names} for event in events], as_json)
