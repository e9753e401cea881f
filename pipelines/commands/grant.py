"""wellspring kafka grant: the rights, quotas and users of an installation, as the registry wants them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.granting import EVERYBODY, RightOutcome, RightResult
from connectors.granting import grant as grant_rights
from connectors.principals import principals, system, wanted_rights
from pipelines.commands.common import AsJson, Config, Refused, settings_of, show_rows
from pipelines.credentials import Given, make_login
from pipelines.partners import set_quota_of
from pipelines.settings import Settings
from schemas.registry import load_partners

EXAMPLE = "Examples: wellspring kafka grant --dry-run; wellspring kafka grant --users credentials"
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]


def grant(
    users: Annotated[
        Path | None,
        typer.Option(
            help="Also make the users of the system and of the consent authority that are missing, and write how each "
            "comes in to a folder of its own in this one."
        ),
    ] = None,
    new_passwords: Annotated[
        bool, typer.Option("--new-passwords", help="With --users: give those who are there another password.")
    ] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take away what a principal may do and need not.")] = False,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give every principal of the system, and every registered partner, the rights that it needs, and no more."""
    settings = settings_of(config)
    partners = list(load_partners(settings.partners).values())
    wanted = wanted_rights(partners, settings.authority, settings.principals)
    who = [*principals(partners, settings.authority, settings.principals), EVERYBODY]
    results = grant_rights(settings.kafka, wanted, who, revoke=revoke, dry_run=dry_run)
    rows = [_right_row(result) for result in results]
    for partner in partners:
        quota = set_quota_of(settings.kafka, partner, dry_run=dry_run)
        rows.append({"principal": partner.name, "what": quota.what, "result": quota.result})
    if users is not None:
        names = (*system(settings.principals), settings.authority)
        rows += [_user_row(settings, name, users / name, renew=new_passwords, dry_run=dry_run) for name in names]
    show_rows("rights", rows, as_json)
    _refuse_surplus(results)


def _right_row(result: RightResult) -> dict[str, Any]:
    """A right for people and machines."""
    who = "everybody" if result.right.principal == EVERYBODY else result.right.principal
    return {"principal": who, "what": result.right.words, "result": result.outcome}


def _user_row(settings: Settings, name: str, folder: Path, *, renew: bool, dry_run: bool) -> dict[str, Any]:
    given = Given(folder.absolute(), {"authority": settings.authority})
    result = make_login(settings.kafka, settings.kafka.bootstrap, name, given, renew=renew, dry_run=dry_run)
    return {"principal": name, "what": f"user, its files in {folder}", "result": result}


def _refuse_surplus(results: list[RightResult]) -> None:
    """Refused where somebody may do what they need not, and keeps it."""
    surplus = sum(result.outcome == RightOutcome.TOO_MUCH for result in results)
    if surplus:
        raise Refused(f"{surplus} rights are more than is needed: look at them, and take them away with --revoke")
