"""wellspring settings show|diff."""

import json

import typer

from pipelines.circumstances import changes, circumstances, kept
from pipelines.commands.common import AsJson, Config, put, say, settings_of
from pipelines.places import store_of
from pipelines.settings import shown
from schemas.laboratories import load_laboratories
from schemas.registry import load_partners, load_studies

app = typer.Typer(help="The settings, and what has changed in them.", no_args_is_help=True)


@app.command(epilog="Example: wellspring settings show --json")
def show(config: Config = None, as_json: AsJson = False) -> None:
    """The settings as they are used, file and environment together, without secrets."""
    found = shown(settings_of(config))
    if as_json:
        put(found)
    else:
        print(json.dumps(found, indent=2, ensure_ascii=False))


@app.command(epilog="Example: wellspring settings diff")
def diff(config: Config = None, as_json: AsJson = False) -> None:
    """What is different from when a driver last began: what readings go by, partners, studies, mappings, versions.

    Not compared are places, ports, who is told and shown what (alerts, metrics, the desk), and how one logs in.
    """
    settings = settings_of(config)
    before = kept(store_of(settings.lake))
    if before is None:
        say("no driver has begun on this lake, or only one of an older version")
        return
    now = circumstances(
        settings,
        load_partners(settings.partners),
        load_studies(settings.studies),
        load_laboratories(settings.laboratories),
    )
    lines = changes(before, now)
    if as_json:
        put({"changed": lines})
    else:
        print("\n".join(map(str, lines)) or "nothing is different")
