"""wellspring partners list|add|check|remove."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from connectors.client_files import SETTINGS_FILE, read_client_files
from connectors.kafka import KafkaRefused, KafkaSettings
from connectors.permits import Finding, try_out
from connectors.quotas import quota_of
from pipelines.commands.common import AsJson, Config, Refused, put, say, settings_of, show_rows
from pipelines.commands.grant import DryRun
from pipelines.partner_removal import remove as remove_steps
from pipelines.partners import Coming, Step, Way, contracts_to_send, registered_quota, territory
from pipelines.partners import add as add_steps
from pipelines.settings import Settings
from schemas.registry import load_partners

app = typer.Typer(help="The partners who may publish readings.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The partner: small letters, digits and hyphens.")]
Files = Annotated[
    Path | None,
    typer.Option(
        "--files",
        help="Folder of the partners' files, one folder each.  [default: credentials, beside the registry]",
        show_default=False,
    ),
]


@app.command("list", epilog="Example: wellspring partners list --json")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """The registered partners."""
    show_rows(
        "partners", [p.model_dump(mode="json") for p in load_partners(settings_of(config).partners).values()], as_json
    )


@app.command(epilog="Example: wellspring partners add acme --contracts sensor-reading,lab-result --quota-mb-s 2")
def add(
    name: Name,
    contracts: Annotated[
        str | None, typer.Option(help=f"What it may publish, with commas between: {', '.join(contracts_to_send())}.")
    ] = None,
    auth: Annotated[str, typer.Option(help=f"How it comes in: {', '.join(get_args(Way))}.")] = "scram",
    quota_mb_s: Annotated[
        float | None, typer.Option(help="Most megabytes a second that a broker takes from it.")
    ] = None,
    quota_percent: Annotated[
        float | None, typer.Option(help="Most of the time of a broker's thread, in percent.")
    ] = None,
    partitions: Annotated[int | None, typer.Option(help="Partitions of its topics; they cannot be changed.")] = None,
    replication: Annotated[int | None, typer.Option(help="Copies of each partition of a topic that is made.")] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Where it reaches the brokers, if elsewhere than we do.")
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(help="Certificate request (PEM) of a partner who keeps its key; with --auth certificate."),
    ] = None,
    new_password: Annotated[bool, typer.Option("--new-password", help="Give its login another password.")] = False,
    files: Files = None,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Register a partner, make its topics, and give it a way in with the least rights; what is there already stays."""
    settings = settings_of(config)
    given = {
        "name": name,
        "contracts": contracts.split(",") if contracts else None,
        "partitions": partitions,
        "quota_mb_s": quota_mb_s,
        "quota_percent": quota_percent,
    }
    fields = {key: value for key, value in given.items() if value is not None}
    folder = _files(files, settings.partners)
    coming = Coming(fields, _way(auth, request), folder, replication, bootstrap, request, new_password)
    _show(name, add_steps(settings, coming, datetime.now(UTC), dry_run=dry_run), as_json)
    if not dry_run:
        say("restart the driver, which reads the registry when it starts")
        if coming.way != "none":
            say(f"hand over {folder / name} by a way that nobody else reads; then: wellspring partners check {name}")


def _way(auth: str, request: Path | None) -> Way:
    for way in get_args(Way):
        if auth == way and (request is None or way == "certificate"):
            return way  # type: ignore[no-any-return]
    raise typer.BadParameter(f"--auth takes {', '.join(get_args(Way))}; --request goes with certificate")


def _files(files: Path | None, registry: Path) -> Path:
    return (files or registry.parent / "credentials").absolute()


def _show(name: str, steps: Iterable[Step], as_json: bool) -> None:
    """Each step as it happens for machines; a table at the end for people, of what was done before a failure too."""
    rows: list[dict[str, Any]] = []
    try:
        for step in steps:
            rows.append({"partner": name, "what": step.what, "result": step.result})
            if as_json:
                put(rows[-1])
    finally:
        if rows and not as_json:
            show_rows(name, rows, as_json)


@app.command(epilog="Example: wellspring partners check acme")
def check(name: Name, files: Files = None, config: Config = None, as_json: AsJson = False) -> None:
    """Try with a partner's own files what it may do and what it may not; nothing is published or read by it."""
    settings = settings_of(config)
    own = _partners_own(settings, name, files)
    rows = [_row(finding) for finding in try_out(own, territory(settings, name))]
    if own != settings.kafka:
        rows += _quota_row(settings, name)
    show_rows(f"what {name} may do", rows, as_json)
    wrong = sum(row["right"] == "NO" for row in rows)
    if wrong:
        raise Refused(
            f"{wrong} of {len(rows)} are not as they should be: wellspring kafka grant mends rights and quotas"
        )


def _row(finding: Finding) -> dict[str, str]:
    return {
        "right": "yes" if finding.right else "NO",
        "tried": finding.what,
        "wanted": "allowed" if finding.wanted else "refused",
        "found": "allowed" if finding.allowed else "refused",
        "said": finding.said,
    }


def _quota_row(settings: Settings, name: str) -> list[dict[str, str]]:
    """The quota of the registry beside the cluster's; nothing where this user may not ask for it."""
    try:
        found = quota_of(settings.kafka, name)
    except KafkaRefused:
        return []
    wanted = registered_quota(load_partners(settings.partners)[name])
    right = "yes" if found == wanted else "NO"
    return [{"right": right, "tried": "quota", "wanted": wanted.words, "found": found.words, "said": ""}]


def _partners_own(settings: Settings, name: str, files: Path | None) -> KafkaSettings:
    """How the partner reaches Kafka; where it asks itself, that is what the settings say."""
    certificate = settings.kafka.cert_file
    if files is None and name in (settings.kafka.username, certificate and certificate.stem):
        return settings.kafka
    folder = _files(files, settings.partners) / name
    try:
        return read_client_files(folder)
    except FileNotFoundError:
        raise Refused(
            f"there is no {folder / SETTINGS_FILE}: name the folder of the partners' files with --files"
        ) from None


@app.command(epilog="Examples: wellspring partners remove acme --dry-run; wellspring partners remove acme")
def remove(
    name: Name,
    delete_topics: Annotated[
        bool, typer.Option("--delete-topics", help="Delete its topics too, with all that is in them; needs --yes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, delete the topics that --dry-run names.")] = False,
    files: Files = None,
    dry_run: DryRun = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Shut a partner out and take it from the registry; its topics stay unless told otherwise, what was read stays."""
    settings = settings_of(config)
    if delete_topics and not (yes or dry_run):
        raise Refused("--delete-topics deletes what nobody can bring back: look with --dry-run, then say it with --yes")
    folder = _files(files, settings.partners)
    _show(name, remove_steps(settings, name, folder, with_topics=delete_topics, dry_run=dry_run), as_json)
    if not dry_run:
        say("restart the driver; wellspring kafka grant --revoke then takes away what our own users need no more")
