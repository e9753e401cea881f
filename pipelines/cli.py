"""The command `wellspring`: its words, and how it ends.

Exit codes: 0 done; 1 refused or failed, with a message; 2 wrong usage; 3 fenced by another driver; 4 data missing
(retention, another cluster, a lost ledger or vault).
"""

import logging
import os
import sys
from typing import NoReturn

import typer

from pipelines.commands import (
    alerts,
    bench,
    connect,
    consent,
    contract,
    demo,
    flink,
    kafka,
    kits,
    lake,
    ledger,
    partners,
    quality,
    quarantine,
    registries,
    report,
    requests,
    run,
    settings,
    status,
    steward,
    topics,
    watch,
)
from pipelines.commands.common import failure_of

app = typer.Typer(
    help="Wellspring: readings from wearables and kits, from Kafka to a lake by study, as far as each person consented.",
    epilog="Begin with: wellspring demo. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 fenced, 4 data missing.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(kafka.app, name="kafka")
app.add_typer(flink.app, name="flink")
app.add_typer(topics.app, name="topics")
app.add_typer(registries.studies, name="studies")
app.add_typer(partners.app, name="partners")
app.add_typer(connect.app, name="connect")
app.add_typer(consent.app, name="consent")
app.add_typer(kits.app, name="kits")
app.add_typer(lake.app, name="lake")
app.add_typer(ledger.app, name="ledger")
app.add_typer(requests.app, name="requests")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(quality.app, name="quality")
app.add_typer(steward.app, name="steward")
app.add_typer(alerts.app, name="alerts")
app.add_typer(settings.app, name="settings")
app.add_typer(contract.app, name="contract")
app.command("run", epilog=run.EXAMPLE)(run.run)
app.command("status", epilog=status.EXAMPLE)(status.status)
app.command("watch", epilog=watch.EXAMPLE)(watch.watch)
app.command("report", epilog=report.EXAMPLE)(report.report)
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)
app.command("bench", epilog=bench.EXAMPLE)(bench.bench)


def execute(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code. What went wrong is said on standard error, in words."""
    try:
        app(args=arguments)
    except SystemExit as end:  # typer has said what is wrong with the usage
        return end.code if isinstance(end.code, int) else 1
    except Exception as error:
        code = failure_of(error)
        if code is None:
            raise
        print(f"wellspring: {error}", file=sys.stderr)
        return code
    return 0


def main() -> NoReturn:
    """The console command. It leaves by os._exit, since a native library may abort while the interpreter ends."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)  # which logs what it then raises
    code = execute()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
