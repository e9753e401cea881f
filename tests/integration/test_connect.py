"""The gateway against real brokers: one that goes away for a while loses nothing, and a first message is taken."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from connectors.gateway import Progress, run_gateway
from connectors.kafka import KafkaSettings
from connectors.publisher import Publisher
from connectors.ranges import OffsetRange, end_offsets, read_range
from connectors.topics import Held, create_topics, wanted_topics
from infra.local_kafka import Address
from schemas.contracts import FOLDER, decode
from schemas.registry import Partner
from schemas.series import series
from tests.integration.conftest import StartBroker

EXAMPLES = Path(__file__).parents[2] / "connectors" / "examples"
EPOCH_S = 1_751_284_800


def line(number: int) -> bytes:
    reading = {"metric": "heart_rate", "unit": "/min", "source": "watch", "time": EPOCH_S + number, "value": 60}
    return json.dumps(reading).encode() + b"\n"


def topic_of(settings: KafkaSettings, partner: str) -> str:
    create_topics(settings, wanted_topics([Partner(name=partner)], "authority", Held(0, 0)))
    return f"{partner}.sensor-reading.v1"


def seconds_in(settings: KafkaSettings, topic: str) -> list[int]:
    """Which lines' readings are in the topic, in the order of their time."""
    found = []
    for (name, partition), end in end_offsets(settings, [topic]).items():
        for block in read_range(settings, OffsetRange(name, partition, 0, end)):
            for value in block.column("value").to_pylist():
                found += series(decode(value, "sensor-reading")).start.tolist()
    return sorted(us // 1_000_000 - EPOCH_S for us in found)


def test_a_broker_that_stops_and_comes_back_has_everything(own_broker: StartBroker) -> None:
    kafka, address = own_broker()
    settings = KafkaSettings(bootstrap=address.bootstrap)
    topic = topic_of(settings, "acme")
    ours, theirs = os.pipe()
    came, missed = threading.Event(), threading.Event()

    def note(progress: Progress) -> None:
        if progress.published >= 10:
            came.set()
        if progress.waiting:
            missed.set()

    with (
        os.fdopen(ours, "rb") as stream,
        ThreadPoolExecutor(1) as pool,
        Publisher(settings, topic, patience_s=3.0) as publisher,
        os.fdopen(theirs, "wb", buffering=0) as writer,
    ):
        future = pool.submit(run_gateway, stream, publisher, subject="p1", on_progress=note)
        writer.write(b"".join(line(i) for i in range(10)))
        assert came.wait(60)
        kafka.down()
        writer.write(b"".join(line(i) for i in range(10, 20)))
        assert missed.wait(60)
        kafka.up(address.port)
        writer.write(b"".join(line(i) for i in range(20, 30)))
        writer.close()
        result = future.result(120)
    assert (result.published, result.problems, result.partial) == (30, {}, False)
    assert sorted(set(seconds_in(settings, topic))) == list(range(30))


def test_the_guides_first_message_is_taken(broker: Address) -> None:
    settings = KafkaSettings(bootstrap=broker.bootstrap)
    topic = topic_of(settings, "first-message")
    contract = max(FOLDER.glob("sensor-reading.*.avsc"))
    command = [sys.executable, str(EXAMPLES / "first_message.py"), broker.bootstrap, topic, "p-17", str(contract)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=180)
    assert done.stdout.startswith(b"4 readings are at first-message.sensor-reading.v1, partition ")
    assert len(seconds_in(settings, topic)) == 4
