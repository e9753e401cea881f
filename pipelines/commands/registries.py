"""wellspring studies add|keys|list."""

from datetime import datetime
from typing import Annotated, get_args

import typer

from pipelines.commands.common import AsJson, Config, Refused, say, settings_of, show_rows
from pipelines.keys import KeyRing
from pipelines.ledger import Ledger
from pipelines.places import store_of
from pipelines.progress import Progress
from pipelines.settings import Settings
from pipelines.store_check import check_store
from pipelines.vault import vault_of
from schemas.registry import KeepBasis, checked_study, load_studies, save_studies

studies = typer.Typer(help="The studies that may receive readings.", no_args_is_help=True)


@studies.command(epilog="Example: wellspring studies add sleep-2026 --title 'Sleep and shift work'")
def add(
    study: Annotated[str, typer.Argument(help="Identifier: small letters, digits and hyphens.")],
    title: Annotated[str, typer.Option(help="Its name for people.")] = "",
    basis: Annotated[str, typer.Option(help=f"Basis after a withdrawal: {', '.join(get_args(KeepBasis))}.")] = "none",
    active_from: Annotated[datetime | None, typer.Option(help="First moment in which it may receive, UTC.")] = None,
    active_until: Annotated[datetime | None, typer.Option(help="From when it receives nothing more, UTC.")] = None,
    config: Config = None,
) -> None:
    """Register a study and make its random key in the vault."""
    settings = settings_of(config)
    found = load_studies(settings.studies) if settings.studies.exists() else {}
    if study in found:
        if _key_made(settings, study):
            say(f"study {study} was registered without a key; its key was made in the vault")
            return
        raise Refused(f"study {study} is registered already: edit {settings.studies} to change it")
    found[study] = checked_study(
        {
            "id": study,
            "title": title,
            "basis_after_withdrawal": basis,
            "active_from": _utc(active_from),
            "active_until": _utc(active_until),
        }
    )
    made = _key_made(settings, study)
    save_studies(settings.studies, found)
    say(f"study {study} is registered" + ("; its key was made in the vault" if made else "; its key was in the vault"))
    say("warning: the key is a file (mode 600): keep the vault apart from the lake, and back both up")


def _key_made(settings: Settings, study: str) -> bool:
    vault = vault_of(settings)
    check_store(vault.store, say)
    return KeyRing(vault).create(study)


@studies.command("keys", epilog="Example: wellspring studies keys")
def make_keys(config: Config = None) -> None:
    """Make the random keys that registered studies lack, where `studies.yaml` was written by hand or by a chart.

    Exit code 1 where a study that has landed readings lacks its key: a new one would not fit, so restore the vault's.
    """
    settings = settings_of(config)
    vault = vault_of(settings)
    ring, landed = KeyRing(vault), Progress.of(Ledger(store_of(settings.lake)).head()).keys
    lacking = [study for study in load_studies(settings.studies) if not ring.has(study)]
    if lost := [study for study in lacking if study in landed]:
        raise Refused(f"the ledger knows the keys of {', '.join(lost)}: restore the vault's folder keys/")
    if lacking:
        check_store(vault.store, say)
    for study in lacking:
        ring.create(study)
        say(f"the key of study {study} was made in the vault")
    if not lacking:
        say("every registered study has its key")


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat() + "Z"


@studies.command("list", epilog="Example: wellspring studies list --json")
def list_studies(config: Config = None, as_json: AsJson = False) -> None:
    """The registered studies."""
    show_rows(
        "studies", [s.model_dump(mode="json") for s in load_studies(settings_of(config).studies).values()], as_json
    )
