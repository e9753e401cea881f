"""The broker goes away and comes back, loses what was not read, or is not the one that the ledger goes on from."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka import KafkaUnreachable, admin
from connectors.ranges import OffsetRange, RangeReader
from infra.broker_process import free_port
from infra.local_kafka import Address
from pipelines.commands.common import failure_of
from pipelines.progress import DataGone
from tests.integration.conftest import StartBroker
from tests.worlds import World, delete_records, make_topics, make_world, once, wait_for


@pytest.fixture
def world(tmp_path: Path, broker: Address) -> World:
    made = make_world(tmp_path / "world", broker.bootstrap)
    made.consent(made.link("ann"), made.grant("ann", "sleep"))
    return made


def refusal(world: World) -> str:
    """What a driver says that must not go on; its exit code is 4."""
    with pytest.raises(Exception, match=".") as refused:
        world.work()
    assert failure_of(refused.value) == 4, repr(refused.value)
    return str(refused.value)


@pytest.mark.timeout(600)
def test_a_broker_that_is_away_for_a_while_is_waited_for(tmp_path: Path, own_broker: StartBroker) -> None:
    kafka, address = own_broker()
    world = make_world(tmp_path / "world", address.bootstrap)
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    with world.following("run", "--follow") as driver:
        wait_for(lambda: world.landed("sleep") == once(range(10)))
        kafka.kill()
        wait_for(lambda: "waiting for Kafka" in driver.errors)
        time.sleep(4)  # it tries again, and says nothing
        kafka.up(address.port)
        world.publish(world.reading("ann", range(5, 20)))
        wait_for(lambda: world.landed("sleep") == once(range(20)))
        assert driver.end() == 0, driver.errors
    assert driver.errors.count("waiting for Kafka") == driver.errors.count("Kafka is back") == 1
    assert "Traceback" not in driver.errors
    world.assert_sound()


def test_a_broker_that_goes_away_while_a_plan_is_read_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error that Beam hands on is still the one that following waits for, and nothing of the plan has happened."""

    def away(reader: RangeReader, wanted: OffsetRange, offsets: Any = None) -> Iterator[Any]:
        if wanted.topic == world.topic:
            raise KafkaUnreachable("nothing listens")
        return read(reader, wanted, offsets)

    read = RangeReader.read
    world.publish(world.reading("ann", range(10)))
    with world.driver() as driver:
        with monkeypatch.context() as patch:
            patch.setattr(RangeReader, "read", away)
            with pytest.raises(KafkaUnreachable):
                driver.cycle()
        assert world.landed("sleep") == once([])
        driver.cycle()
    assert world.landed("sleep") == once(range(10))
    world.assert_sound()


def test_nothing_listens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("WELLSPRING_KAFKA__BOOTSTRAP", nowhere)
    done = world.execute("run", "--once")
    assert (done.returncode, done.stdout) == (1, "")
    assert nowhere in done.stderr
    assert "nothing listens" in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.setattr(world.settings, "kafka", world.settings.kafka.model_copy(update={"bootstrap": nowhere}))
    began = time.monotonic()
    with pytest.raises(KafkaUnreachable):
        world.work()
    assert time.monotonic() - began < 20.0  # kafka-python would try for half a minute


def test_retention_that_passed_the_ledger_is_refused_until_the_loss_is_accepted(world: World) -> None:
    world.publish(world.reading("ann", range(10)))
    world.work()
    world.publish(world.reading("ann", range(10, 20)), world.reading("ann", range(20, 30)))
    delete_records(world)
    assert "run with --accept-loss" in refusal(world)
    world.publish(world.reading("ann", range(30, 40)))
    refused = world.execute("run", "--once")
    assert refused.returncode == 4
    assert "records 1 to 2 were deleted by retention" in refused.stderr
    done = world.execute("run", "--once", "--accept-loss")
    assert done.returncode == 0, done.stderr
    assert "2 records were lost to retention" in done.stderr
    assert world.entries("ingest")[-1].cause["lost"] == 2
    assert world.landed("sleep") == once([*range(10), *range(30, 40)])
    assert world.work() == []
    world.assert_sound()


def test_retention_that_passed_a_running_driver_stops_it(world: World) -> None:
    world.publish(world.reading("ann", range(10)))
    with world.driver() as driver:
        driver.cycle()
        world.publish(world.reading("ann", range(10, 20)))
        delete_records(world)
        with pytest.raises(DataGone, match="deleted by retention"):
            driver.cycle()


def test_a_topic_that_was_made_anew_is_refused(world: World) -> None:
    world.publish(world.reading("ann", range(10)))
    world.work()
    make_anew(world, world.topic)
    assert f"the topic {world.topic} was deleted and made anew" in refusal(world)
    world.publish(world.reading("ann", range(10, 20)), world.reading("ann", range(20, 30)))
    assert f"the topic {world.topic} was deleted and made anew" in refusal(world)


def test_a_consent_topic_that_was_made_anew_is_refused(world: World) -> None:
    world.publish(world.reading("ann", range(10)))
    world.work()
    make_anew(world, world.settings.consent_topic)
    assert f"the topic {world.settings.consent_topic} was deleted and made anew" in refusal(world)


def test_a_topic_that_is_made_anew_under_a_running_driver_stops_it(world: World) -> None:
    world.publish(world.reading("ann", range(10)))
    with world.driver() as driver:
        driver.cycle()
        make_anew(world, world.topic)
        world.publish(*(world.reading("ann", [n]) for n in range(10, 20)))  # more than were read of the old one
        with pytest.raises(DataGone, match="deleted and made anew"):
            driver.cycle()


def make_anew(world: World, topic: str) -> None:
    """Delete the topic, and create one of the same name."""
    with admin(world.settings.kafka) as client:
        client.delete_topics([topic])
        wait_for(lambda: topic not in client.list_topics())
    make_topics(world.settings)


def test_another_cluster_under_the_same_name_is_refused(world: World, tmp_path: Path, own_broker: StartBroker) -> None:
    world.publish(world.reading("ann", range(10)))
    world.work()
    other = own_broker().address
    world.settings.kafka = world.settings.kafka.model_copy(update={"bootstrap": other.bootstrap})
    make_topics(world.settings)
    world.publish(*(world.reading("ann", [n]) for n in range(10, 20)))  # more than were read of the first one
    assert "another Kafka cluster" in refusal(world)
    assert world.landed("sleep") == once(range(10))
