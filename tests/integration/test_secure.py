"""A local broker that is secured as production's is: who comes in, what an expired certificate does, and a whole run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from connectors import granting, users
from connectors.client_files import ENVIRONMENT_FILE, read_client_files
from connectors.granting import grant
from connectors.kafka import KafkaRefused, KafkaSettings, KafkaUnreachable, admin, consumer
from connectors.principals import CONNECTOR, DRIVER, OPERATOR, Right
from connectors.publisher import Publisher
from connectors.quotas import Quota, quota_of, set_quota
from connectors.ranges import OffsetRange, read_range
from connectors.topics import TopicSpec, create_topics, delete_topics
from infra.certificates import ends, key_pem, private_key
from infra.local_kafka import Address, BrokerFailed, LocalKafka
from infra.secured import BROKER, certificate_port
from tests.canaries import subject
from tests.integration.conftest import StartBroker
from tests.secured import SecuredBroker, start_secured, why_not_published, world_on
from tests.worlds import ROOT, World, make_world, once, wait_for

NOW = datetime.now(UTC)


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


def start_expired(broker: SecuredBroker) -> None:
    """Start it again with a certificate that has expired, on the port for logins alone."""
    broker.kafka.down()
    expired = broker.kafka.folder.path.parent / "expired.pem"
    broker.kafka.folder.secured.authority(NOW).issue(BROKER, expired, NOW, timedelta(hours=-1))
    extra = {"listener.name.scram.ssl.keystore.location": str(expired)}
    start_secured(broker.kafka.folder.path, extra, broker.address.port)


@pytest.mark.timeout(600)
def test_an_expired_certificate_is_said_and_nothing_is_lost_or_doubled_by_it(own_folder: Path, tmp_path: Path) -> None:
    broker = start_secured(own_folder)
    world = world_on(broker, tmp_path / "world")
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    world.work()
    world.publish(world.reading("ann", range(10, 20)))
    start_expired(broker)
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


def by_the_other_door(world: World, broker: SecuredBroker) -> World:
    """The same deployment, as the broker itself reaches it by its own certificate, on the port for certificates."""
    secured = broker.kafka.folder.secured
    kafka = KafkaSettings(
        bootstrap=f"127.0.0.1:{certificate_port(broker.address.port)}",
        security="SSL",
        ca_file=secured.ca_file,
        cert_file=secured.broker_pem,
        key_file=secured.broker_pem,
    )
    return replace(world, settings=world.settings.model_copy(update={"kafka": kafka}))


@pytest.mark.timeout(600)
def test_a_driver_that_follows_waits_while_the_certificate_is_expired_and_goes_on_after_the_repair(
    own_folder: Path, tmp_path: Path
) -> None:
    broker = start_secured(own_folder)
    world = world_on(broker, tmp_path / "world")
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    with world.following("run", "--follow") as driver:

        def has_ended() -> bool:
            return driver.process.poll() is not None

        wait_for(lambda: world.landed("sleep") == once(range(10)) or has_ended())
        start_expired(broker)
        wait_for(lambda: "the broker's certificate has expired" in driver.errors or has_ended())
        by_the_other_door(world, broker).publish(world.reading("ann", range(10, 20)))

        broker.kafka.down()
        start_secured(own_folder, port=broker.address.port)
        world.publish(world.reading("ann", range(15, 30)))
        wait_for(lambda: world.landed("sleep") == once(range(30)) or has_ended())
        assert driver.end() == 0, driver.errors
    for said in ("waiting for Kafka", "the broker's certificate has expired", "Kafka is back"):
        assert driver.errors.count(said) == 1, driver.errors
    assert "Traceback" not in driver.errors
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


@pytest.fixture
def world(secured: SecuredBroker, tmp_path: Path) -> World:
    """A deployment whose settings are the administrator's."""
    return world_on(secured, tmp_path / "world")


FRESH = ("--revoke", "--new-passwords")
"""The session's broker has been another deployment's before."""


def granted(world: World, *options: str) -> list[dict[str, str]]:
    """What `kafka grant` says that it did."""
    done = world.execute("kafka", "grant", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def login(world: World, name: str) -> KafkaSettings:
    """How a principal comes in, by the files that it was given."""
    return read_client_files(world.folder / "users" / name)


def as_principal(world: World, name: str) -> World:
    """The same deployment, as that principal reaches it."""
    return replace(world, settings=world.settings.model_copy(update={"kafka": login(world, name)}))


def test_another_installation_on_the_cluster_leaves_this_one_s_principals_alone(world: World) -> None:
    granted(world, *FRESH, "--users", str(world.folder / "users"))
    other = replace(world, config=world.folder / "north.yaml")
    content = yaml.safe_load(world.config.read_text())
    other.config.write_text(yaml.safe_dump({**content, "principals": "north-"}))
    did = granted(other, "--revoke", "--new-passwords", "--users", str(world.folder / "users"))
    new = {row["principal"] for row in did if row["principal"].startswith("north-")}
    assert new == {f"north-{role}" for role in ("driver", "connector", "mirror", "operator")}
    assert not [row for row in did if row["principal"].startswith("wellspring-")]
    assert {row["result"] for row in granted(world)} == {"there"}
    assert why_not_published(login(world, "north-connector"), world.topic) == ""


def settings_as(world: World, name: str) -> World:
    """The same deployment with a settings file by which commands are this principal's."""
    kafka = login(world, name)
    assert kafka.password is not None
    section = {**kafka.model_dump(mode="json", exclude_none=True), "password": kafka.password.get_secret_value()}
    theirs = replace(world, config=world.folder / f"{name}.yaml")
    theirs.config.write_text(yaml.safe_dump({**yaml.safe_load(world.config.read_text()), "kafka": section}))
    return theirs


def test_grant_says_what_it_would_do_does_it_once_and_names_what_is_too_much(world: World) -> None:
    users = ("--users", str(world.folder / "users"))
    would = granted(world, *FRESH, *users, "--dry-run")
    writing = {row["result"] for row in would if row["what"].startswith("WRITE")}
    assert writing - {"would be revoked"} == {"would be granted"}, "others have been here before"
    assert not (world.folder / "users").exists()
    did = granted(world, *FRESH, *users)
    assert [row["result"].replace("would be ", "") for row in would if "granted" in row["result"]] == [
        row["result"] for row in did if row["result"] == "granted"
    ]
    assert {row["result"] for row in granted(world, *users)} == {"there"}

    more = Right(DRIVER, "READ", "TOPIC", "PREFIXED", f"{world.partner}.")
    everybody = Right("*", "READ", "TOPIC", "LITERAL", "*")
    _create(world.settings.kafka, more, everybody)
    refused = world.execute("kafka", "grant", "--json")
    assert refused.returncode == 1
    assert "2 rights are more than is needed" in refused.stderr
    assert {row["principal"] for row in granted(world, "--revoke") if row["result"] == "revoked"} == {
        *("everybody", DRIVER),
    }
    assert {row["result"] for row in granted(world)} == {"there"}


def _create(settings: KafkaSettings, *rights: Right) -> None:
    grant(settings, rights, [])


def test_a_change_of_rights_users_or_quotas_that_is_refused_is_noticed(world: World) -> None:
    """kafka-python raises for none of the first two."""
    granted(world, *FRESH, "--users", str(world.folder / "users"))
    driver = login(world, DRIVER)
    right = Right(DRIVER, "READ", "TOPIC", "PREFIXED", "a")
    with admin(driver) as client:
        with pytest.raises(KafkaRefused, match="1 of 1 were not granted: this user may not do that on the cluster"):
            granting._create(client, [right])
        with pytest.raises(KafkaRefused, match="1 of 1 were not revoked: this user may not do that on the cluster"):
            granting._delete(client, [right])
        with pytest.raises(KafkaRefused, match="this user may not do that on the cluster"):
            users._set(client, DRIVER, users.new_password(), 4096)
    with pytest.raises(KafkaRefused, match="rights: this user may not do that on the cluster"):
        grant(driver, [right], [DRIVER])
    with pytest.raises(KafkaRefused, match="the quota of user .*: this user may not do that on the cluster"):
        set_quota(driver, DRIVER, Quota(1.0))


def test_an_open_cluster_asks_nobody_for_rights(tmp_path: Path, broker: Address) -> None:
    refused = make_world(tmp_path / "world", broker.bootstrap).execute("kafka", "grant")
    assert (refused.returncode, "the cluster asks nobody for rights: it has no authorizer" in refused.stderr) == (
        1,
        True,
    )


@pytest.mark.timeout(600)
def test_a_whole_run_with_everybody_under_their_own_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Driver, connector and authority each with the least that they need; what they need not, they may not."""
    granted(world, *FRESH, "--users", str(world.folder / "users"))
    authority = as_principal(world, world.settings.authority)
    connector = as_principal(world, CONNECTOR)
    authority.consent(world.link("ann"), world.grant("ann", "sleep"))
    connector.publish(world.reading("ann", range(10)))
    for line in (world.folder / "users" / DRIVER / ENVIRONMENT_FILE).read_text().splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value.strip("'"))
    with world.following("run", "--follow") as driver:
        wait_for(lambda: world.landed("sleep") == once(range(10)) or driver.process.poll() is not None)
        connector.publish(world.reading("ann", range(5, 30)), (b"nobody", b"no message"))
        authority.consent(world.withdraw("ann", "sleep"))
        wait_for(lambda: world.rejected() or driver.process.poll() is not None)
        connector.publish(world.reading("ann", range(30, 40)))
        wait_for(lambda: len(world.entries("ingest")) >= 3 or driver.process.poll() is not None)
        assert driver.end() == 0, driver.errors
    assert world.landed("sleep") == once(range(30))
    assert len(world.rejected()) == 1
    world.assert_sound()

    assert why_not_published(login(world, DRIVER), world.topic) == "this user may not do that with the topic"
    assert why_not_published(login(world, CONNECTOR), world.settings.consent_topic)
    assert why_not_published(login(world, world.settings.authority), world.topic)
    with pytest.raises(KafkaRefused, match="may not"):
        list(read_range(login(world, CONNECTOR), OffsetRange(world.topic, 0, 0, 1)))
    with pytest.raises(KafkaRefused, match="may not"):
        list(read_range(login(world, world.settings.authority), OffsetRange(world.settings.consent_topic, 0, 0, 1)))


def test_who_sees_a_topic_and_may_not_write_to_it_is_told_who_where_and_what_to_do(world: World) -> None:
    """kafka-python's producer is done for after the first refusal, and says of the rest only its own state."""
    granted(world, *FRESH, "--users", str(world.folder / "users"))
    theirs = settings_as(world, DRIVER)
    lines = [
        json.dumps({"metric": "heart_rate", "unit": "/min", "source": f"w{n % 200}", "time": f"2025-06-{1 + n % 28:02}"
                    f"T08:15:00+02:00", "value": 61, "subject": subject(f"p{n % 50}")})
        for n in range(20_000)
    ]  # fmt: skip
    day = world.folder / "day.ndjson"
    day.write_text("\n".join(lines) + "\n")
    refused = theirs.execute("connect", "sensor-json", str(day), "--partner", world.partner, "--json")
    assert (refused.returncode, "KafkaError" in refused.stderr) == (1, False), refused.stderr
    words = f"{world.topic}: user {DRIVER} may not write to this topic: `wellspring kafka grant` gives"
    assert words in refused.stderr
    told = json.loads(refused.stdout)
    assert (told["published"], told["partial"]) == (0, True)
    assert told["problems"] == {"R_UNACKNOWLEDGED": told["records"]}
    with pytest.raises(KafkaRefused, match=f"user {DRIVER} may not write to this topic"):
        _publish_for_long(login(world, DRIVER), world.topic)
    assert _publish_for_long(login(world, CONNECTOR), world.topic) == []


def test_who_may_not_read_a_topic_s_settings_is_told_so_and_not_that_it_differs(world: World) -> None:
    granted(world, *FRESH, "--users", str(world.folder / "users"))
    refused = settings_as(world, DRIVER).execute("topics", "create", "--json")
    assert (refused.returncode, "differ" in refused.stderr) == (1, False), refused.stderr
    assert f"user {DRIVER} needs the right DESCRIBE_CONFIGS on them; say this as {OPERATOR}" in refused.stderr
    result = {row["topic"]: row["result"] for row in map(json.loads, refused.stdout.splitlines())}
    assert result.pop(world.topic) == "exists" and set(result.values()) == {"not comparable"}
    done = settings_as(world, OPERATOR).execute("topics", "create", "--json")
    assert (done.returncode, done.stdout.count('"exists"')) == (0, len(result) + 1)


def _publish_for_long(settings: KafkaSettings, topic: str) -> list[str]:
    """Publish in two bursts, as who does not look at each receipt; what is refused then."""
    with Publisher(settings, topic, patience_s=10) as publisher:
        publisher.send(b"key", b"value")
        publisher.flush(5)
        publisher.send(b"key", b"value")
        publisher.flush(5)
        publisher.send(b"key", b"value")
    return publisher.receipt.refusals


@pytest.mark.timeout(300)
def test_an_operator_needs_no_administrator(world: World) -> None:
    """It makes topics, gives rights, adds and removes partners, and deletes no consent."""
    granted(world, *FRESH, "--users", str(world.folder / "users"))
    operator = login(world, OPERATOR)
    specs = [TopicSpec(f"{world.partner}.lab-result.v1", 1)]
    assert create_topics(operator, specs)[0].outcome == "created"
    new = Right("new-one", "READ", "TOPIC", "LITERAL", "new-one.rejected.v1")
    assert [result.outcome for result in grant(operator, [new], ["new-one"])] == ["granted"]
    assert [result.outcome for result in grant(operator, [], ["new-one"], revoke=True)] == ["revoked"]
    users.set_password(operator, "new-one", users.new_password())
    assert users.shut_out(operator, "new-one")
    set_quota(operator, "new-one", Quota(1.0, 50.0))
    assert quota_of(operator, "new-one") == Quota(1.0, 50.0)
    set_quota(operator, "new-one", Quota())
    delete_topics(operator, [specs[0].name])
    with pytest.raises(KafkaRefused, match="this user may not do that with the topic"):
        delete_topics(operator, [world.settings.consent_topic])


@pytest.mark.timeout(300)
def test_who_was_shut_out_stays_out_and_nobody_else_is_forgotten_by_a_restart(own_folder: Path) -> None:
    """A broker that has deleted a user and reads its metadata from the beginning may forget all of them."""
    broker = start_secured(own_folder)
    names = [f"user-{n}" for n in range(8)]
    for name in names:
        users.set_password(broker.admin, name, users.new_password())
    password = users.new_password()
    users.set_password(broker.admin, names[0], password)
    for name in names:
        assert users.shut_out(broker.admin, name)
        assert not users.shut_out(broker.admin, name)
    broker.kafka.down()
    start_secured(own_folder, port=broker.address.port)
    assert not any(users.user_exists(broker.admin, name) for name in names)
    with pytest.raises(KafkaUnreachable, match="wrong user name or password"):
        consumer(broker.admin.model_copy(update={"username": names[0], "password": password}))
