"""Three brokers, of which one is killed and another restarted while a driver reads and a connector publishes."""

from pathlib import Path

import pytest

from connectors.publisher import Publisher, Receipt
from connectors.ranges import RangeReader
from connectors.topics import list_topics
from pipelines.entries import Entry
from tests.three_brokers import NODES, three_brokers
from tests.worlds import World, make_world, once, wait_for

A_MESSAGE = 5
"""Readings."""


class Stream:
    """Messages of numbered readings, one after another, as a connector that stays open sends them."""

    def __init__(self, world: World, publisher: Publisher) -> None:
        self._world, self._publisher = world, publisher
        self.sent = 0

    def send(self, messages: int) -> None:
        for _ in range(messages):
            self._publisher.send(*self._world.reading("ann", range(self.sent, self.sent + A_MESSAGE)))
            self.sent += A_MESSAGE


@pytest.mark.timeout(900)
def test_a_leader_is_killed_and_another_node_restarted_and_every_record_lands_once(tmp_path: Path) -> None:
    with three_brokers(tmp_path / "kafka") as cluster:
        world = make_world(tmp_path / "world", cluster.bootstrap, partitions=1)
        assert cluster.in_sync(world.topic, 0) == cluster.in_sync(world.settings.consent_topic, 0) == list(NODES)
        assert list_topics(world.settings.kafka, [world.topic])[0].settings["min.insync.replicas"] == "2"
        world.consent(world.link("ann"), world.grant("ann", "sleep"))
        with world.following("run", "--follow") as driver, Publisher(world.settings.kafka, world.topic) as publisher:
            stream = Stream(world, publisher)
            stream.send(20)
            wait_for(lambda: sum(world.landed("sleep").values()) > 0)

            killed = cluster.leader(world.topic, 0)
            stream.send(20)
            cluster.kill(killed)
            stream.send(20)
            assert publisher.flush(120).in_flight == 0
            assert cluster.leader(world.topic, 0) != killed
            wait_for(lambda: world.landed("sleep") == once(range(stream.sent)))

            cluster.start(killed)
            stream.send(20)
            wait_for(lambda: cluster.in_sync(world.topic, 0) == list(NODES))
            stream.send(20)
            cluster.restart(next(node for node in NODES if node != killed))
            stream.send(20)

            assert publisher.flush(120) == Receipt(acknowledged=stream.sent // A_MESSAGE)
            wait_for(lambda: world.landed("sleep") == once(range(stream.sent)))
            assert driver.end() == 0, driver.errors
        assert "Traceback" not in driver.errors
        with RangeReader(world.settings.kafka) as reader:
            assert reader.end_offsets([world.topic])[world.topic, 0] == stream.sent // A_MESSAGE
        assert sum(_read(entry) for entry in world.entries("ingest")) == stream.sent // A_MESSAGE
        world.assert_sound()


def _read(entry: Entry) -> int:
    """How many records an entry is of."""
    records: dict[str, int] = dict(entry.counts["records"])
    return records["read"]
