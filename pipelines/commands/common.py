"""What the commands share: the settings option, output for people and for machines, and failures in words."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from connectors.kafka import KafkaRefused, KafkaUnreachable
from connectors.ranges import DataDamaged, DataMissing
from connectors.source_file import StorageFailed
from connectors.watch_place import PlaceRefused
from infra.certificates import CertificateRefused
from infra.flink.local_flink import FlinkFailed
from infra.java import JavaMissing
from infra.kafka_jars import JarsMissing
from infra.local_kafka import BrokerFailed, PortTaken
from pipelines.consent.packed import DamagedError
from pipelines.consent.register import FILE as REGISTER
from pipelines.keys import KeyMissing
from pipelines.law import LawBroken
from pipelines.ledger import LakeError
from pipelines.partners import PartnerRefused
from pipelines.runner_settings import RunnerFailed, RunnerRefused
from pipelines.settings import Settings, SettingsError, load_settings
from pipelines.vault import FolderVault, Vault, vault_of
from schemas.lab_mapping import LabMappingError
from schemas.reasons import Rejected
from schemas.registry import Partner, RegistryError, Study, load_partners, load_studies

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="WELLSPRING_CONFIG", help="Settings file.  [default: wellspring.yaml]", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

_REFUSED = (
    *(
        SettingsError,
        RegistryError,
        LabMappingError,
        KafkaUnreachable,
        KafkaRefused,
        DataDamaged,
        PlaceRefused,
        StorageFailed,
        KeyMissing,
        DamagedError,
        LawBroken,
        Rejected,
    ),
    *(BrokerFailed, FlinkFailed, PortTaken, JarsMissing, JavaMissing, CertificateRefused, PartnerRefused),
    *(RunnerFailed, RunnerRefused),
)


class Refused(Exception):
    """What a command will not do; the text says why and what to do."""


def settings_of(config: Path | None) -> Settings:
    """The settings that a command was told to use."""
    return load_settings(config)


def partner_named(settings: Settings, name: str) -> Partner:
    """The registered partner of that name; Refused where there is none."""
    found = load_partners(settings.partners).get(name)
    if found is None:
        raise Refused(
            f"no partner of that name is registered in {settings.partners}: add it there, then create its topics"
        )
    return found


def study_named(settings: Settings, name: str) -> Study:
    """The registered study of that name; Refused where there is none."""
    found = load_studies(settings.studies).get(name)
    if found is None:
        raise Refused(f"no study of that name is registered in {settings.studies}")
    return found


@contextmanager
def known_vault(settings: Settings) -> Iterator[Vault]:
    """The vault, or an empty one where no driver has made it yet: looking must not make what the driver could not open."""
    with closing(vault_of(settings)) as vault:
        if vault.has(REGISTER):
            yield vault
            return
    with TemporaryDirectory(prefix="wellspring-") as folder:
        yield FolderVault(Path(folder))


def day_of(text: str) -> date:
    """The day that an option `--day` names; wrong usage where it names none, or one of which there can be no readings."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("--day takes YYYY-MM-DD") from None
    if not 1900 <= day.year < 3000:
        raise typer.BadParameter("--day takes a day from 1900 to 2999")
    return day


def failure_of(error: Exception) -> int | None:
    """The exit code for an error that is an answer to the operator; None where it is a defect of ours."""
    if isinstance(error, LakeError):
        return error.exit_code
    if isinstance(error, DataMissing):
        return 4
    return 1 if isinstance(error, (Refused, *_REFUSED)) else None


def say(text: str) -> None:
    """A line for people, on standard error, so that standard output stays a machine's."""
    print(text, file=sys.stderr, flush=True)


def put(value: Any) -> None:
    """One JSON value on one line of standard output."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def show_rows(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    """Rows as JSON, one object a line, or as a table."""
    if as_json:
        for row in rows:
            put(row)
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ("nothing",):
        table.add_column(name)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console().print(table)


def console() -> Console:
    """A console for people: as wide as the terminal, 140 columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else 140, soft_wrap=False)
