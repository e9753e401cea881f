"""The command line in a test's own process: typer puts the commands together once, not anew for each line."""

from functools import cache
from typing import Any
from unittest.mock import patch

import typer.main

from pipelines import cli

_get_command = typer.main.get_command


@cache
def put_together() -> Any:
    """The command with all that is below it."""
    return _get_command(cli.app)


def execute(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    with patch.object(typer.main, "get_command", lambda _: put_together()):
        return cli.execute(arguments)
