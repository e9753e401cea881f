"""Publishing an act of the demo to Kafka, as partners and a consent authority would."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from connectors.kafka import producer
from connectors.publisher import Publisher
from pipelines.commands.common import Refused
from pipelines.demo.bad_messages import BOMB_BYTES, Bad
from pipelines.demo.world import Record
from pipelines.settings import Settings
from schemas.consent_events import IdentityLink, chain_key, parse_line
from schemas.contracts import encode
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
    topics = [partner.topic("sensor-reading") for partner in load_partners(settings.partners).values()]
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
