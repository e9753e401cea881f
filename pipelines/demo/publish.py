"""Publishing an act of the demo to Kafka, as partners, a consent authority and the command line would."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from connectors.file_publishing import Published, publish_file
from connectors.formats import Format
from connectors.kafka import producer
from connectors.publisher import Publisher
from pipelines.commands.common import Refused, partner_named
from pipelines.commands.connect_file import outlet
from pipelines.demo.bad_messages import BOMB_BYTES, Bad
from pipelines.demo.batches import Batch
from pipelines.demo.world import Record
from pipelines.settings import Settings
from schemas.consent_events import IdentityLink, chain_key, parse_line
from schemas.contracts import encode
from schemas.kit_events import CONTRACT as KIT_EVENT
from schemas.kit_events import parse_line as parse_kit_event
from schemas.lab_mapping import LabMapping
from schemas.metrics import catalogue
from schemas.registry import load_partners

Told = Callable[[int, int], None]
"""Hears how many of how many records are on their way."""


def publish_consents(settings: Settings, lines: Sequence[str]) -> None:
    """Publish consent events and links, each validated as `wellspring consent publish` does it."""
    with (
        Publisher(settings.kafka, settings.consent_topic) as events,
        Publisher(settings.kafka, settings.link_topic) as links,
    ):
        for item in [parse_line(line, catalogue().codes) for line in lines]:
            if isinstance(item, IdentityLink):
                links.send(item.link_id.encode(), encode("identity-link", item.to_record()))
            else:
                events.send(chain_key(item.member, item.study), encode("consent-event", item.to_record()))
        _all_there(events, links)


def publish_records(settings: Settings, records: Sequence[Record], on_progress: Told) -> None:
    """Publish the partners' records in their order."""
    partners = load_partners(settings.partners).values()
    topics = [one.topic("sensor-reading") for one in partners if "sensor-reading" in one.contracts]
    with ExitStack() as stack:
        publishers = {topic: stack.enter_context(Publisher(settings.kafka, topic)) for topic in topics}
        for number, record in enumerate(records):
            if _is_too_large(record):
                _throw(settings, record)
            else:
                publishers[record.topic].send(record.key, record.value())
            if number % 50 == 0:
                on_progress(number, len(records))
        _all_there(*publishers.values())
    on_progress(len(records), len(records))


def publish_batches(settings: Settings, batches: Sequence[Batch]) -> None:
    """Publish what a partner's gateway kept, each with the moment at which it took it."""
    with Publisher(settings.kafka, Batch.topic) as publisher:
        for batch in batches:
            publisher.send(batch.key, batch.value_bytes(), batch.headers)
        _all_there(publisher)


def publish_kit_events(settings: Settings, partner: str, lines: Sequence[str]) -> None:
    """Publish events of kits, each validated as `wellspring kits publish` does it."""
    with Publisher(settings.kafka, partner_named(settings, partner).topic(KIT_EVENT)) as publisher:
        for event in map(parse_kit_event, lines):
            publisher.send(event.barcode.encode(), encode(KIT_EVENT, event.to_record()))
        _all_there(publisher)


def publish_source(
    settings: Settings, source: Format, path: Path, partner: str, subject: str = "", mapping: LabMapping | None = None
) -> Published:
    """Publish a file as `wellspring connect` does it; what became of each of its records."""
    with outlet(settings, partner_named(settings, partner), source.contract) as to, path.open("rb") as stream:
        done = publish_file(source, stream, path.name, to, subject, mapping)
    if done.receipt.partial:
        raise Refused(f"the broker did not acknowledge all of {path.name}: run the demo again")
    return done


def _all_there(*publishers: Publisher) -> None:
    failed = sum(receipt.failed + receipt.in_flight for receipt in [publisher.flush() for publisher in publishers])
    if failed:
        raise Refused(f"the broker did not acknowledge {failed} records: run the demo again")


def _is_too_large(record: Record) -> bool:
    return isinstance(record, Bad) and record.zeros > 0


def _throw(settings: Settings, record: Record) -> None:
    """Send what our publisher would not: a record that is small only while it is compressed."""
    hostile = producer(settings.kafka, compression_type="zstd", max_request_size=2 * BOMB_BYTES)
    try:
        hostile.send(record.topic, key=record.key, value=record.value()).get(timeout=30)
    finally:
        hostile.close()
