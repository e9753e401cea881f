"""How everything stands, over a real broker: while a driver works, once it has stopped or was killed, and without Kafka."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from infra.local_kafka import Address
from tests.canaries import member, subject
from tests.integration.conftest import StartBroker
from tests.integration.test_metrics import soon
from tests.worlds import World, lay_out, make_topics, make_world


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    """How full this machine's disk is fails no test."""
    monkeypatch.setattr("pipelines.figures.shutil.disk_usage", lambda _: SimpleNamespace(free=10**12, total=2 * 10**12))


def asked(world: World, code: int) -> dict[str, Any]:
    """What `status --json` says, and that it ends with this exit code."""
    ended = world.execute("status", "--json")
    assert ended.returncode == code, (ended.stdout, ended.stderr)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def about(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["urgency"], one["about"]) for one in found["problems"]]


def test_a_stream_is_followed_from_the_first_record_to_the_last(broker: Address, tmp_path: Any) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, studies=("sleep",), partitions=1)
    new = asked(world, 0)
    assert new["driver"] == {"state": "none"} and new["ledger"] == {"last": None, "last_that_read": None}
    assert about(new) == [("soon", "driver")]

    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)), world.reading("bob", range(20, 25)))
    waits = asked(world, 1)
    assert waits["kafka"]["unread"] == {world.topic: {"0": 2}} and waits["kafka"]["records"] == 2
    assert waits["kafka"]["consent_unread"] == {world.settings.consent_topic: 1, world.settings.link_topic: 1}
    assert waits["at"] > waits["kafka"]["oldest_unread"] and waits["at"] < waits["kafka"]["kept_until"]
    first = waits["kafka"]["behind_s"]
    time.sleep(0.5)
    assert asked(world, 1)["kafka"]["behind_s"] >= first + 0.5
    assert about(waits) == [("now", "driver")]

    world.work()
    done = asked(world, 0)
    assert done["kafka"]["records"] == 0 and not any(done["kafka"]["consent_unread"].values())
    assert done["kafka"]["oldest_unread"] is done["kafka"]["kept_until"] is None
    assert done["kafka"]["behind_s"] == 0.0
    outcomes = done["ledger"]["last_that_read"]["outcomes"]
    assert outcomes["decoded"] == 15 and outcomes["held"] == 5 and outcomes["landed"] == 10
    assert done["consent"]["held"] == {"H_NO_CONSENT": 5} and done["consent"]["expiring"] == {}
    assert done["disks"]["lake"]["free"] > 0 and done["quarantine"] == {"sleep": {"rows": 0, "is_late": False}}
    words = world.execute("status")
    assert "15 decoded" in words.stdout and "held: 5 readings (H_NO_CONSENT)" in words.stdout
    assert "no driver is at work" in words.stdout and "wellspring run --follow" in words.stdout
    told = words.stdout + json.dumps([new, waits, done])
    assert [name for person in ("ann", "bob") for name in (subject(person), member(person)) if name in told] == []


def test_what_is_held_and_will_soon_be_given_up_is_told(broker: Address, tmp_path: Any) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, studies=("sleep",), partitions=1, hold_hours=1.0)
    world.publish(world.reading("bob", range(5)))
    world.work()
    found = asked(world, 0)
    assert found["consent"]["expiring"] == found["consent"]["held"] != {}
    assert sum(found["consent"]["expiring"].values()) == 5


def test_a_driver_that_works_is_told_from_one_that_was_killed(broker: Address, tmp_path: Any) -> None:
    world = make_world(tmp_path / "world", broker.bootstrap, studies=("sleep",), partitions=1)
    with world.following("run", "--follow") as command:
        found = soon(lambda: now if (now := asked(world, 0))["driver"]["state"] == "alive" else None)
        assert found["driver"]["epoch"] == 1 and found["driver"]["memory_bytes"] > 50_000_000
        assert about(found) == []
        command.process.kill()
        command.process.wait()
        killed = asked(world, 1)
    assert killed["driver"]["state"] == "silent" and about(killed) == [("now", "driver")]


def test_topics_that_are_not_there_are_told(broker: Address, tmp_path: Any) -> None:
    world = lay_out(tmp_path / "world", broker.bootstrap, studies=("sleep",))
    found = asked(world, 1)
    assert f"there is no topic {world.settings.consent_topic}" in found["kafka"]["error"]
    assert "wellspring topics list" in found["problems"][0]["next"]
    make_topics(world.settings)
    assert about(asked(world, 0)) == [("soon", "driver")]


def test_the_rest_is_told_while_kafka_is_away(own_broker: StartBroker, tmp_path: Any) -> None:
    kafka, address = own_broker()
    world = make_world(tmp_path / "world", address.bootstrap, studies=("sleep",), partitions=1)
    world.config.write_text(
        json.dumps(
            yaml.safe_load(world.config.read_text())
            | {"kafka": {"bootstrap": address.bootstrap, "connect_timeout_s": 1}}
        )
    )
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    world.work()
    kafka.kill()
    found = asked(world, 1)
    assert "nothing listens there" in found["kafka"]["error"] and "records" not in found["kafka"]
    assert found["ledger"]["last_that_read"]["outcomes"]["landed"] == 10 and found["consent"]["held"] == {}
    assert ("now", "kafka") in about(found)
    words = world.execute("status").stdout
    assert "not known: Kafka at" in words and "10 landed" in words
