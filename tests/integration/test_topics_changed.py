"""Topics that an operator changes: more partitions are read as they come, too short a retention is refused in words."""

from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from connectors import ranges
from connectors.kafka import admin
from infra.local_kafka import Address
from pipelines.progress import KeptTooShort
from tests.worlds import World, make_world, once, wait_for, work_off

HOUR_MS = 3_600_000
PEOPLE = [f"p{n}" for n in range(12)]


def keep(world: World, hours: int) -> None:
    """Set how long the partner's topic keeps its records."""
    with admin(world.settings.kafka) as client:
        topic = ConfigResource(ConfigResourceType.TOPIC, world.topic, {"retention.ms": str(hours * HOUR_MS)})
        client.alter_configs([topic])


def test_a_topic_that_forgets_before_a_hold_ends_is_refused_at_the_start(tmp_path: Path, broker: Address) -> None:
    world = make_world(tmp_path, broker.bootstrap, hold_hours=48)
    keep(world, 71)
    with pytest.raises(KeptTooShort, match="keeps its records for 71 h, but has to for 72 h"), world.driver():
        pass
    assert world.ledger.head() is None
    refused = world.execute("run", "--once")
    assert (refused.returncode, "retention.ms" in refused.stderr) == (1, True)
    keep(world, 72)
    assert world.execute("run", "--once").returncode == 0


def test_partitions_that_are_added_are_read_by_a_driver_that_is_at_work(
    tmp_path: Path, broker: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path, broker.bootstrap, partitions=1)
    for person in PEOPLE:
        world.consent(world.link(person), world.grant(person, "sleep"))
    monkeypatch.setattr(ranges, "LOOK_MS", 500)
    with world.driver() as driver:
        monkeypatch.setattr(ranges, "LOOK_MS", 300_000)  # the run's own reader knows only what it saw at first
        publish(world, 0)
        work_off(driver)
        with admin(world.settings.kafka) as client:
            client.create_partitions({world.topic: 4})
        publish(world, len(PEOPLE))
        wait_for(lambda: set(driver.unread()) == {f"{world.topic}/{n}" for n in range(4)})
        assert min(driver.unread().values()) > 0
        work_off(driver)
    assert world.landed("sleep") == once(range(2 * len(PEOPLE)))
    world.assert_sound()


def publish(world: World, first: int) -> None:
    """One reading of each person."""
    world.publish(*(world.reading(person, [first + n]) for n, person in enumerate(PEOPLE)))
