"""Reading an export: by the connector into published messages, and by a parser that only counts."""

from pathlib import Path
from xml.parsers import expat

from connectors.app_export import publish_export
from connectors.apple_health import FORMAT
from connectors.publisher import Publisher
from connectors.receipt import Receipt
from pipelines.settings import load_settings
from schemas.registry import load_partners

_PIECE = 1024 * 1024


def count_elements(file: Path) -> int:
    """How many elements expat finds."""
    elements = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    with file.open("rb", buffering=_PIECE) as stream:
        parser.ParseFile(stream)
    return elements


def publish_records(file: Path, config: Path, subject: str) -> None:
    """Publish the export as the person's, in the name of the one partner of these settings."""
    receipt, settings = Receipt(FORMAT.name), load_settings(config)
    (partner,) = load_partners(settings.partners).values()
    with (
        file.open("rb", buffering=_PIECE) as stream,
        Publisher(settings.kafka, partner.topic("app-export")) as sink,
    ):
        publish_export(FORMAT, FORMAT.read(stream, file.name), subject, receipt, sink)
    assert not receipt.problems, "a record of the export was not published"
