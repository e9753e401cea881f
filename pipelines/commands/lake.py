"""wellspring lake tables|sql|check."""

from typing import Annotated

import typer

from pipelines.commands.common import AsJson, Config, Refused, put, say, settings_of, show_rows
from pipelines.lake_check import lake_check
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.places import store_of
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
    store = store_of(settings_of(config).lake)
    report = lake_check(store, Ledger(store), law=entry_law)
    if as_json:
        put(report.as_json())
    else:
        say(f"{report.entries} entries, {len(report.tables)} tables, {len(report.leavings)} files for the next sweep")
        for problem in report.problems:
            say(f"problem: {problem}")
    if not report.is_sound:
        raise Refused(
            f"{len(report.problems)} problems; restore the ledger, tables and vault from one backup, in that order"
        )
    say("the lake is sound")
