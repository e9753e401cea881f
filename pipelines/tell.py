"""Telling partners: where their rejected records and readings lie, and why, on a topic that only they read."""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from connectors.kafka import KafkaSettings, KafkaUnreachable
from connectors.publisher import Publisher
from pipelines.decode import Pointer
from schemas.contracts import encode
from schemas.registry import Partner


class Teller:
    """Publishes rejections; a publisher for a partner is opened when there is something to tell them."""

    def __init__(self, kafka: KafkaSettings, partners: Mapping[str, Partner]) -> None:
        self._kafka, self._partners = kafka, partners
        self._publishers: dict[str, Publisher] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for publisher in self._publishers.values():
            publisher.close()

    def rejected(self, pointers: Iterable[Iterable[Any]], entry: int) -> None:
        """Publish what ledger entry `entry` rejected. After a crash it may be told twice: entry and coordinates are equal."""
        told = set()
        for row in pointers:
            pointer = Pointer(*row)
            partner = self._partners.get(pointer.topic.split(".", 1)[0])
            if partner is None:  # removed meanwhile: nobody is there to be told
                continue
            publisher = self._publisher(partner)
            publisher.send(partner.name.encode(), encode("rejected", {**pointer._asdict(), "entry": entry}))
            told.add(partner.name)
        for name in told:
            receipt = self._publishers[name].flush()
            if receipt.failed or receipt.in_flight:
                self._publishers.pop(name).close()
                raise KafkaUnreachable(
                    "rejections could not be published: they are told again as soon as Kafka answers"
                )

    def _publisher(self, partner: Partner) -> Publisher:
        if partner.name not in self._publishers:
            self._publishers[partner.name] = Publisher(self._kafka, partner.topic("rejected"))
        return self._publishers[partner.name]
