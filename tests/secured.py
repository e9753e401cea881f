"""Secured brokers for tests, started as `wellspring kafka up --secure` starts one, and who may come in."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from connectors.client_files import SETTINGS_FILE
from connectors.kafka import KafkaRefused, KafkaSettings
from connectors.publisher import Publisher
from infra.local_kafka import Address, LocalKafka
from pipelines.commands.kafka import write_admin_files
from pipelines.settings import load_settings
from tests.worlds import World, make_world


@dataclass
class SecuredBroker:
    """One secured broker that is up; `files` is the folder of its administrator's files."""

    kafka: LocalKafka
    address: Address
    files: Path

    @property
    def admin(self) -> KafkaSettings:
        return load_settings(self.files / SETTINGS_FILE).kafka

    @property
    def section(self) -> dict[str, Any]:
        """The administrator's settings as they stand in a settings file, with absolute paths."""
        content: dict[str, Any] = yaml.safe_load((self.files / SETTINGS_FILE).read_text())["kafka"]
        return {**content, "ca_file": str(self.files / content["ca_file"])}


def start_secured(folder: Path, extra: Mapping[str, str] | None = None, port: int | None = None) -> SecuredBroker:
    """Start the secured broker of this folder, which is made where there is none."""
    kafka = LocalKafka(folder, extra, secure=True)
    address = kafka.up(port)
    return SecuredBroker(kafka, address, write_admin_files(kafka, address))


@contextmanager
def secured_broker(folder: Path) -> Iterator[SecuredBroker]:
    """A secured broker, stopped at the end."""
    try:
        yield start_secured(folder)
    finally:
        LocalKafka(folder).down()


def world_on(broker: SecuredBroker, folder: Path, **more: Any) -> World:
    """A deployment whose settings are those of the broker's administrator."""
    section = {key: value for key, value in broker.section.items() if key != "bootstrap"}
    return make_world(folder, broker.address.bootstrap, kafka=section, **more)


def why_not_published(settings: KafkaSettings, topic: str) -> str:
    """Why this user's record does not get into the topic; empty where it does."""
    try:
        with Publisher(settings, topic, patience_s=10) as publisher:
            publisher.send(b"key", b"value")
    except KafkaRefused as refused:
        return str(refused)
    return "; ".join(publisher.receipt.reasons)
