"""wellspring flink up|down|status: Beam's job server for Flink and a worker pool, on this machine."""

import typer

from infra.flink.local_flink import LocalFlink
from pipelines.commands.common import AsJson, Config, put, say, settings_of
from pipelines.commands.kafka import progress
from pipelines.settings import Settings

app = typer.Typer(help="What hands plans to Flink: a job server, and a worker pool.", no_args_is_help=True)


@app.command(epilog="Example: wellspring flink up")
def up(config: Config = None) -> None:
    """Start Beam's job server for Flink and a worker pool; they stay when the command ends.

    The job server's jar is built once per user, in half a minute to a few minutes: by Maven (`mvn` on the path) and a JDK
    17, which fetch about 200 MB from Maven Central. With runner.job_server_jar nothing is built, and a Java
    runtime is enough.

    It takes the ports of runner.job_endpoint (8099) and runner.worker_pool (8100), and two more that are free then, for
    artifacts and expansion; a cluster inside the job server takes more while a job runs. All are open on every interface.
    """
    settings = settings_of(config)
    of_settings(settings).up(progress)
    runner = settings.runner
    say(f"the job server listens on {runner.job_endpoint}, the worker pool on {runner.worker_pool}")
    say("their ports are open on every interface: keep others away with a firewall, for whoever reaches one runs code")
    say("next: wellspring run --runner flink --once")


@app.command(epilog="Example: wellspring flink down")
def down(config: Config = None) -> None:
    """Stop both."""
    say("flink: stopped" if of_settings(settings_of(config)).down() else "flink: nothing was running")


@app.command(epilog="Example: wellspring flink status --json")
def status(config: Config = None, as_json: AsJson = False) -> None:
    """Whether job server and worker pool run."""
    found = of_settings(settings_of(config)).status()
    if as_json:
        put(found)
        return
    for name, process in found.items():
        say(f"{name}: {'does not run' if process is None else f'process {process}'}")


def of_settings(settings: Settings) -> LocalFlink:
    """Job server and worker pool where the settings of the runner look for them."""
    runner = settings.runner
    return LocalFlink(
        runner.folder,
        int(runner.job_endpoint.rpartition(":")[2]),
        int(runner.worker_pool.rpartition(":")[2]),
        runner.flink_master,
        runner.job_server_jar,
        retries=runner.retries,
    )
