"""A local broker that is secured as production's is: who comes in, what an expired certificate does, and a whole run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.client_files import ENVIRONMENT_FILE
from connectors.kafka import KafkaSettings, KafkaUnreachable, admin, consumer
from connectors.publisher import Publisher
from infra.certificates import ends, key_pem, private_key
from infra.local_kafka import BrokerFailed, LocalKafka
from infra.secured import BROKER, certificate_port
from tests.integration.conftest import StartBroker
from tests.secured import SecuredBroker, start_secured
from tests.worlds import ROOT, World, make_world, once

NOW = datetime.now(UTC)


def world_on(broker: SecuredBroker, folder: Path, **more: Any) -> World:
    """A deployment whose settings are those of the broker's administrator."""
    section = {key: value for key, value in broker.section.items() if key != "bootstrap"}
    return make_world(folder, broker.address.bootstrap, kafka=section, **more)


def test_nobody_comes_in_without_tls_or_a_login(secured: SecuredBroker) -> None:
    admin(secured.admin).close()
    open_door = KafkaSettings(bootstrap=secured.address.bootstrap)
    with pytest.raises(KafkaUnreachable, match="TLS is expected there"):
        consumer(open_door)
    tls = KafkaSettings(bootstrap=secured.address.bootstrap, security="SSL", ca_file=secured.admin.ca_file)
    with pytest.raises(KafkaUnreachable, match="a login is expected there"):
        consumer(tls)
    other_door = secured.admin.model_copy(update={"bootstrap": f"127.0.0.1:{certificate_port(secured.address.port)}"})
    with pytest.raises(KafkaUnreachable, match="asks for a client certificate"):
        consumer(other_door.model_copy(update={"security": "SSL"}))


@pytest.mark.parametrize(("lasts", "words"), [(90, None), (-1, "this client's certificate has expired")])
def test_who_shows_a_certificate_is_who_it_says(
    secured: SecuredBroker, tmp_path: Path, lasts: int, words: str | None
) -> None:
    key = private_key()
    authority = secured.kafka.folder.secured.authority(NOW)
    (tmp_path / "some.key").write_bytes(key_pem(key))
    (tmp_path / "some.crt").write_bytes(authority.certify("some", key.public_key(), NOW, timedelta(days=lasts)))
    settings = KafkaSettings(
        bootstrap=f"127.0.0.1:{certificate_port(secured.address.port)}",
        security="SSL",
        ca_file=authority.certificate,
        cert_file=tmp_path / "some.crt",
        key_file=tmp_path / "some.key",
    )
    if words is None:
        consumer(settings).close()
    else:
        with pytest.raises(KafkaUnreachable, match=words):
            consumer(settings)


def test_an_open_brokers_data_are_not_made_secure_and_a_secured_one_never_opens(
    own_broker: StartBroker, secured: SecuredBroker
) -> None:
    kafka, _ = own_broker()
    with pytest.raises(BrokerFailed, match="laid out as an open one"):
        LocalKafka(kafka.folder.path, secure=True).up()
    kafka.down()
    with pytest.raises(BrokerFailed, match="laid out as an open one"):
        LocalKafka(kafka.folder.path, secure=True).up()
    again = LocalKafka(secured.kafka.folder.path).up()
    assert not again.started
    assert "SASL_SSL" in secured.kafka.folder.properties.read_text()


@pytest.fixture
def own_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a broker of the test's own, which is ended with the test."""
    try:
        yield tmp_path / "kafka"
    finally:
        LocalKafka(tmp_path / "kafka").kill()


@pytest.mark.timeout(600)
def test_an_expired_certificate_is_said_and_nothing_is_lost_or_doubled_by_it(own_folder: Path, tmp_path: Path) -> None:
    broker = start_secured(own_folder)
    world = world_on(broker, tmp_path / "world")
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    world.work()
    world.publish(world.reading("ann", range(10, 20)))
    broker.kafka.down()

    expired = own_folder.parent / "expired.pem"
    broker.kafka.folder.secured.authority(NOW).issue(BROKER, expired, NOW, timedelta(hours=-1))
    start_secured(own_folder, {"listener.name.scram.ssl.keystore.location": str(expired)}, broker.address.port)
    ended = world.command("run", "--once")
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert "the broker's certificate has expired" in ended.stderr
    with pytest.raises(KafkaUnreachable, match="the broker's certificate has expired"):
        Publisher(world.settings.kafka, world.topic)

    broker.kafka.down()
    start_secured(own_folder, port=broker.address.port)
    world.publish(world.reading("ann", range(15, 30)))
    world.work()
    assert world.landed("sleep") == once(range(30))
    world.assert_sound()


def test_a_certificate_that_ends_soon_is_said_while_it_runs_and_made_anew_at_the_next_start(own_folder: Path) -> None:
    broker = start_secured(own_folder)
    secured = broker.kafka.folder.secured
    secured.authority(NOW).issue(BROKER, secured.broker_pem, NOW, timedelta(days=10))
    heard: list[str] = []
    broker.kafka.up(on_progress=lambda doing, done, total: heard.append(doing))
    assert "stop it and start it again for a new one" in heard[-1]
    assert ends(secured.broker_pem) < NOW + timedelta(days=11)
    broker.kafka.down()
    assert broker.kafka.up(broker.address.port).started
    assert ends(secured.broker_pem) > NOW + timedelta(days=89)


@pytest.mark.timeout(300)
def test_the_command_says_how_its_administrator_gets_in(own_folder: Path) -> None:
    folder = own_folder.parent
    (folder / "wellspring.yaml").write_text(yaml.safe_dump({"kafka": {"bootstrap": "127.0.0.1:9"}}))
    (folder / "partners.yaml").write_text("partners: [{name: acme, partitions: 1}]\n")
    broker = start_secured(own_folder)
    broker.kafka.down()
    command = [sys.executable, "-m", "pipelines.cli"]
    options = ["--config", str(folder / "wellspring.yaml")]
    port = str(broker.address.port)
    up = subprocess.run(
        [*command, "kafka", "up", "--secure", "--port", port, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    file = own_folder / "admin" / ENVIRONMENT_FILE
    assert f"set -a; . {file}; set +a" in up.stderr
    assert broker.kafka.folder.secured.password not in up.stderr + up.stdout
    line = f"set -a; . {file}; exec " + " ".join([*command, "topics", "create", "--json", *options])
    made = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ)
    assert '"acme.sensor-reading.v1", "result": "created"' in made.stdout
