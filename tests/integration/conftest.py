"""Real brokers for tests: one shared by the whole session, and others for the tests that stop or kill theirs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from infra.local_kafka import Address, LocalKafka


class OwnBroker(NamedTuple):
    """A broker that its test may stop, start and kill, and where it was reached at first (`up` keeps the port)."""

    kafka: LocalKafka
    address: Address


class StartBroker(Protocol):
    """What `own_broker` gives: a function that starts a broker of the test's own, as many times as it is called."""

    def __call__(self, extra: Mapping[str, str] | None = None, port: int | None = None) -> OwnBroker: ...


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The session's broker: nobody stops it, and every test uses topics and groups of its own."""
    kafka = LocalKafka(tmp_path_factory.mktemp("kafka"))
    try:
        yield kafka.up()
    finally:
        kafka.down()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[StartBroker]:
    """Starts brokers of the test's own, each in a folder of its own; all are ended with the test."""
    with ExitStack() as brokers:

        def start(extra: Mapping[str, str] | None = None, port: int | None = None) -> OwnBroker:
            kafka = LocalKafka(tmp_path / f"kafka-{len(list(tmp_path.glob('kafka-*')))}", extra)
            brokers.callback(kafka.kill)
            return OwnBroker(kafka, kafka.up(port))

        yield start
