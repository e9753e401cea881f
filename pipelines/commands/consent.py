"""wellspring consent publish|explain|status."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from connectors.publisher import Publisher
from pipelines.commands.common import AsJson, Config, Refused, known_vault, put, say, settings_of, show_rows
from pipelines.commands.publishing import Lines, lines_of, parsed, refuse_unconfirmed
from pipelines.consent.explain import explain as explain_readings
from pipelines.consent.register import FILE as REGISTER
from pipelines.consent.register import Register
from pipelines.holds import Holds
from pipelines.settings import Settings
from schemas.consent_events import ConsentEvent, IdentityLink, chain_key, parse_line
from schemas.contracts import encode
from schemas.metrics import catalogue
from schemas.registry import KIT, load_partners, load_studies

app = typer.Typer(help="What people decided, and what follows from it.", no_args_is_help=True)


@app.command(epilog="Example: wellspring consent publish events.ndjson --dry-run")
def publish(
    file: Annotated[Path, typer.Argument(help="Consent events and identity links, one JSON object a line.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only validate; needs no broker and no settings.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Publish consent events and identity links; nothing is sent unless every line is valid."""
    numbered = parsed(file, lambda line: parse_line(line, catalogue().metrics))
    if not dry_run:
        settings = settings_of(config)
        _refuse_unknown_names(numbered, settings)
        _send([item for _, item in numbered], settings)
    Lines(Counter(item.kind for _, item in numbered), dry_run).tell(as_json)


def _refuse_unknown_names(numbered: list[tuple[int, ConsentEvent | IdentityLink]], settings: Settings) -> None:
    studies, partners = load_studies(settings.studies), load_partners(settings.partners)
    for number, item in numbered:
        if isinstance(item, IdentityLink) and item.partner not in {*partners, KIT}:
            raise Refused(f"line {number}: partner: expected {KIT}, or a partner registered in {settings.partners}")
        if isinstance(item, ConsentEvent) and item.study not in studies:
            raise Refused(f"line {number}: study: expected a study registered in {settings.studies}")


def _send(items: list[ConsentEvent | IdentityLink], settings: Settings) -> None:
    with (
        Publisher(settings.kafka, settings.consent_topic) as events,
        Publisher(settings.kafka, settings.link_topic) as links,
    ):
        for item in items:
            if isinstance(item, IdentityLink):
                links.send(item.link_id.encode(), encode("identity-link", item.to_record()))
            else:
                events.send(chain_key(item.member, item.study), encode("consent-event", item.to_record()))
        receipts = events.flush(), links.flush()
    refuse_unconfirmed(receipts, len(items))


@app.command(epilog="Example: wellspring consent explain --events E.ndjson --readings R.ndjson --json")
def explain(
    events: Annotated[Path, typer.Option(help="Consent events, one JSON object a line.")],
    readings: Annotated[
        Path, typer.Option(help="Readings: id, member, study, metric, start, end, received, attribution.")
    ],
    studies: Annotated[
        Path | None, typer.Option(help="Registry of studies; without it each is active and may keep.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The pipeline's own verdict on each reading, and because of what."""
    registry = load_studies(studies) if studies else None
    rows = explain_readings(lines_of(events), lines_of(readings), registry)
    show_rows("verdicts", rows, as_json)


@app.command(epilog="Example: wellspring consent status --json")
def status(config: Config = None, as_json: AsJson = False) -> None:
    """Open holds, chains with gaps, removals owed."""
    settings = settings_of(config)
    with (
        known_vault(settings) as vault,
        closing(Register(vault.read(REGISTER))) as register,
        closing(Holds(vault, settings.hold_us, settings.kit_hold_us)) as holds,
    ):
        found = {
            "held": holds.open_readings(),
            "holds": holds.totals()._asdict(),
            **register.status(load_studies(settings.studies)).as_json(),
        }
    if as_json:
        put(found)
        return
    for name, value in found.items():
        say(f"{name}: {value}")
