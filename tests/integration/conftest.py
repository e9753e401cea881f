"""Real brokers for tests: one shared by the whole session, and others for the tests that stop or kill theirs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas  # noqa: F401  before the command is imported, whose process does without it
import pytest

from infra.local_kafka import Address, LocalKafka
from tests.s3_server import S3Server, s3_server, versitygw
from tests.secured import SecuredBroker, secured_broker


class OwnBroker(NamedTuple):
    """A broker that its test may stop, start and kill, and where it was reached at first (`up` keeps the port)."""

    kafka: LocalKafka
    address: Address


class StartBroker(Protocol):
    """What `own_broker` gives: a function that starts a broker of the test's own, as many times as it is called."""

    def __call__(self, extra: Mapping[str, str] | None = None, port: int | None = None) -> OwnBroker: ...


@contextmanager
def _running(folder: Path) -> Iterator[Address]:
    kafka = LocalKafka(folder)
    try:
        yield kafka.up()
    finally:
        kafka.down()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The session's broker: nobody stops it, and every test uses topics and groups of its own."""
    with _running(tmp_path_factory.mktemp("kafka")) as address:
        yield address


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A broker of a module's own: the topics of the demo have names of their own, which other tests use as well."""
    with _running(tmp_path_factory.mktemp("kafka")) as address:
        yield address


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """The session's secured broker: nobody stops it, and every test uses partners and principals of its own."""
    with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[StartBroker]:
    """Starts brokers of the test's own, each in a folder of its own; all are ended with the test."""
    with ExitStack() as brokers:

        def start(extra: Mapping[str, str] | None = None, port: int | None = None) -> OwnBroker:
            kafka = LocalKafka(tmp_path / f"kafka-{len(list(tmp_path.glob('kafka-*')))}", extra)
            brokers.callback(kafka.kill)
            return OwnBroker(kafka, kafka.up(port))

        yield start


@pytest.fixture(scope="session")
def s3_program() -> Path:
    """A real S3 server's program; the test is skipped where there is none and none can be built."""
    program = versitygw()
    if program is None:
        pytest.skip("no S3 server: install versitygw, or Go, by which it is built once")
    return program


@pytest.fixture
def s3(s3_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server of the test's own, which the environment names."""
    with s3_server(s3_program, tmp_path / "s3") as server:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TMPDIR", str(tmp_path))  # where files are on their way to a bucket
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        yield server
