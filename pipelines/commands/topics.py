"""wellspring topics create|list."""

from typing import Annotated

import typer

from connectors.topics import BROKER_DEFAULT, TopicOutcome, TopicSpec, create_topics, list_topics, wanted_topics
from pipelines.commands.common import AsJson, Config, Refused, settings_of, show_rows
from schemas.registry import load_partners

app = typer.Typer(help="The topics of the partners and of the consent authority.", no_args_is_help=True)


@app.command(epilog="Examples: wellspring topics create; wellspring topics create --replication 3")
def create(
    replication: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=32767,
            show_default=False,
            help="Copies of each partition of a topic that is created.  [default: the cluster's]",
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create what the registry wants and is not there; say where an existing topic differs."""
    settings = settings_of(config)
    specs = wanted_topics(load_partners(settings.partners).values(), settings.authority, settings.held_us)
    results = create_topics(settings.kafka, specs, replication=replication or BROKER_DEFAULT)
    show_rows(
        "topics",
        [{"topic": r.name, "result": r.outcome, "differs": "; ".join(r.differences)} for r in results],
        as_json,
    )
    if any(result.outcome == TopicOutcome.UNREADABLE for result in results):
        raise Refused(
            f"some topics could not be compared: {settings.kafka.principal} needs the right DESCRIBE_CONFIGS on them; say "
            f"this as {settings.principals}operator, which has it, or as an administrator"
        )
    if any(result.outcome == TopicOutcome.DIFFERS for result in results):
        raise Refused(
            "some topics differ from the registry: change the topic or the registry, so that both say the same"
        )


@app.command("list", epilog="Example: wellspring topics list --json")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """What is there: partitions, retention, whose clock stamps records, size limits."""
    settings = settings_of(config)
    specs = wanted_topics(load_partners(settings.partners).values(), settings.authority, settings.held_us)
    show_rows("topics", [_row(spec) for spec in list_topics(settings.kafka, [spec.name for spec in specs])], as_json)


def _row(spec: TopicSpec) -> dict[str, object]:
    """A topic as it is, its settings that matter by name."""
    shown = ("message.timestamp.type", "retention.ms", "max.message.bytes", "cleanup.policy")
    return {"topic": spec.name, "partitions": spec.partitions, **{name: spec.settings.get(name) for name in shown}}
