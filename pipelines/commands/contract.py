"""wellspring contract check FILE."""

from pathlib import Path
from typing import Annotated

import typer

import connectors.app_export  # noqa: F401  (the judge of its contract)
from pipelines.commands.common import AsJson, Refused, put, say
from schemas.contract_check import check as check_message

app = typer.Typer(help="The contracts that partners publish.", no_args_is_help=True)


@app.callback()
def contracts() -> None:
    """What can be asked about contracts."""


@app.command(epilog="Example: wellspring contract check message.avro")
def check(
    file: Annotated[Path, typer.Argument(help="One message: its bytes, or its JSON form.")],
    contract: Annotated[
        str | None, typer.Option(help="Contract that it should be of; found out where not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Is this message what the contract says; if not, where and why."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from None
    finding = check_message(data, contract)
    if as_json:
        put(finding.as_json())
    if not finding.ok:
        where = f" at {finding.path}" if finding.path else ""
        raise Refused(f"{file}: {finding.reason}{where}: expected {finding.expected}")
    if not as_json:
        say(
            f"{file}: a message of {finding.contract} {finding.version} with {finding.readings} readings, as the contract says"
        )
