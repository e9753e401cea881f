"""wellspring kafka up|down|status|grant: a real Apache Kafka on this machine; who may do what in any."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from connectors.client_files import ENVIRONMENT_FILE, write_client_files
from connectors.kafka import KafkaSettings
from infra.local_kafka import Address, LocalKafka
from infra.secured import ADMIN, certificate_port
from pipelines.commands.common import AsJson, Config, put, say, settings_of
from pipelines.commands.grant import EXAMPLE, grant

app = typer.Typer(help="A local broker, and who may do what in any cluster.", no_args_is_help=True)
app.command("grant", epilog=EXAMPLE)(grant)


@app.command(epilog="Examples: wellspring kafka up --port 9092; wellspring kafka up --secure")
def up(
    config: Config = None,
    port: Annotated[int | None, typer.Option(help="Port; that of the setting kafka.bootstrap where not given.")] = None,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="Protect a new broker as production's are: TLS, logins, rights for each user."),
    ] = False,
) -> None:
    """Fetch Kafka and Java where they are missing, and start the broker; it stays when the command ends."""
    settings = settings_of(config)
    kafka = LocalKafka(settings.broker_folder, secure=secure)
    address = kafka.up(port or settings.kafka.addresses[0][1], on_progress=progress)
    say(f"Kafka listens on {address.bootstrap}; its data are in {settings.broker_folder}")
    if kafka.folder.secured.is_there:
        _say_how_to_get_in(kafka, address)
    say("next: wellspring topics create")


def _say_how_to_get_in(kafka: LocalKafka, address: Address) -> None:
    folder = write_admin_files(kafka, address)
    say(f"it is secured: logins on port {address.port}, client certificates on port {certificate_port(address.port)}")
    say(f"you are its administrator with the variables of {folder / ENVIRONMENT_FILE}:")
    say(f"  set -a; . {folder / ENVIRONMENT_FILE}; set +a")


def write_admin_files(kafka: LocalKafka, address: Address) -> Path:
    """The administrator's ways in, as files in a folder of the broker's; the folder."""
    secured, folder = kafka.folder.secured, kafka.folder.path / ADMIN
    way = KafkaSettings(
        bootstrap=address.bootstrap,
        security="SASL_SSL",
        ca_file=secured.ca_file,
        username=ADMIN,
        password=SecretStr(secured.password),
    )
    write_client_files(folder, way)
    return folder


def progress(doing: str, done: int, total: int) -> None:
    """One line for each thing done; fetching says how far it is at every tenth."""
    if total <= 1 or done * 10 // total != max(0, done - 1) * 10 // total:
        say(f"{doing} {done * 100 // total} %" if total > 1 else doing)


@app.command(epilog="Example: wellspring kafka down")
def down(config: Config = None) -> None:
    """Stop the broker; its data stay."""
    say(f"Kafka: {LocalKafka(settings_of(config).broker_folder).down()}")


@app.command(epilog="Example: wellspring kafka status --json")
def status(config: Config = None, as_json: AsJson = False) -> None:
    """Whether the broker runs, where, and since when."""
    found = LocalKafka(settings_of(config).broker_folder).status()
    if as_json:
        put({**asdict(found), "folder": str(found.folder)})
    elif found.running:
        how = ", secured," if found.secured else ""
        say(f"Kafka {found.version}{how} listens on {found.bootstrap} (process {found.pid}); its data: {found.folder}")
    else:
        say(f"no broker runs in {found.folder}; start one with: wellspring kafka up")
