"""wellspring lake tables|sql|check|copy|verify."""

from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.backup import Side
from pipelines.backup import copy as copy_sides
from pipelines.commands.common import AsJson, Config, Refused, put, say, settings_of, show_rows
from pipelines.commands.copying import telling
from pipelines.copy_check import copy_check
from pipelines.entries import LedgerLost
from pipelines.holds import FILE as HOLDS
from pipelines.holds import Holds
from pipelines.lake_check import Report, lake_check
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.places import COPY, Address, place_of, store_of
from pipelines.progress import check_settled
from pipelines.store_check import check_store
from pipelines.vault import VAULT_COPY, vault_at, vault_of
from pipelines.views import sql as run_sql
from pipelines.views import tables as list_tables

app = typer.Typer(help="What has landed: tables, queries, and whether everything agrees.", no_args_is_help=True)


@app.command(epilog="Example: wellspring lake tables --json")
def tables(config: Config = None, as_json: AsJson = False) -> None:
    """Rows, files, bytes and version of each table."""
    show_rows("tables", [info._asdict() for info in list_tables(store_of(settings_of(config).lake))], as_json)


@app.command(
    epilog="""Example: wellspring lake sql "select metric, count(*) from sleep_observation group by metric" """
)
def sql(
    query: Annotated[str, typer.Argument(help="SQL of DuckDB; a view per study and family.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Ask the lake: one view per study and family shows current rows, <view>_all every revision."""
    rows = run_sql(store_of(settings_of(config).lake), query).to_pylist()
    show_rows("answer", rows, as_json)


@app.command(epilog="Example: wellspring lake check --json")
def check(config: Config = None, as_json: AsJson = False) -> None:
    """Whether every table agrees with the ledger, every entry's sums hold, and no file is missing or too many."""
    settings = settings_of(config)
    store = store_of(settings.lake)
    ledger = Ledger(store)
    if ledger.head() is None:
        raise LedgerLost(
            "there is no ledger in the lake: see the setting lake, or restore it, if a driver has ever run"
        )
    with closing(vault_of(settings)) as vault:
        if vault.has(HOLDS):
            with closing(Holds(vault, settings.hold_us, settings.kit_hold_us)) as holds:
                check_settled(ledger, holds, vault.store)
    report = lake_check(store, ledger, law=entry_law)
    _tell(report, as_json)
    if not report.is_sound:
        raise Refused(
            f"{len(report.problems)} problems; restore the ledger, tables and vault from one backup, in that order"
        )
    say("the lake is sound")


def _tell(report: Report, as_json: bool) -> None:
    if as_json:
        put(report.as_json())
        return
    say(f"{report.entries} entries, {len(report.tables)} tables, {len(report.leavings)} files for the next sweep")
    for problem in report.problems:
        say(f"problem: {problem}")


@app.command(
    epilog="Examples: wellspring lake copy --to backup/lake --vault backup/vault; "
    "wellspring lake copy --to s3://backups/lake --dry-run --json"
)
def copy(
    to: Annotated[str, typer.Option(help="Where the lake is copied to: a folder, or s3://BUCKET/PREFIX.")],
    vault: Annotated[
        str | None,
        typer.Option(help="Where the vault is copied to; without it the copy can be read, not gone on with."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be copied, and copy nothing.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Copy lake and vault, also while a driver is at work; what was copied before is passed over."""
    settings = settings_of(config)
    target = _place(to)
    if target == settings.lake or (vault and _place(vault) == settings.vault):
        raise Refused("the other place is the one that is copied")
    with ExitStack() as vaults:
        source, other = Side(store_of(settings.lake), None), Side(store_of(target, called=COPY), None)
        if vault is not None:
            source = source._replace(vault=vaults.enter_context(closing(vault_of(settings))))
            other = other._replace(
                vault=vaults.enter_context(closing(vault_at(_place(vault), settings.vault_work, VAULT_COPY)))
            )
        for store in (other.lake, *([other.vault.store] if other.vault else [])):
            if not dry_run:
                check_store(store, say)
        with telling() as tell:
            copied = copy_sides(source, other, settings.vault_work, tell, dry_run)
    if as_json:
        put({**asdict(copied), "dry_run": dry_run})
        return
    words = "would be copied" if dry_run else "copied"
    say(f"{words}: {copied.files} files of rows ({copied.bytes:,} bytes) and {copied.entries} entries")
    say(f"the copy {'would hold' if dry_run else 'holds'} everything through entry {copied.through}")


@app.command(epilog="Example: wellspring lake verify backup/lake --vault backup/vault --deep --json")
def verify(
    place: Annotated[str, typer.Argument(help="Where a copy of a lake is: a folder, or s3://BUCKET/PREFIX.")],
    vault: Annotated[str | None, typer.Option(help="Where the copy of its vault is.")] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every row, not only what files say of themselves.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a copy is whole: every file, every table at the ledger's last entry, and the vault that belongs to it."""
    with ExitStack() as vaults:
        found = None
        if vault is not None:
            found = vaults.enter_context(closing(vault_at(_place(vault), settings_of(config).vault_work, VAULT_COPY)))
        report = copy_check(store_of(_place(place), called=COPY), found, deep)
    _tell(report, as_json)
    if not report.is_sound:
        raise Refused(f"{len(report.problems)} problems; copy again, or use another copy")
    say("the copy is whole" if vault else "the copy of the lake is whole; its vault was not looked at (--vault)")


def _place(said: str) -> Path | Address:
    try:
        return place_of(said)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
