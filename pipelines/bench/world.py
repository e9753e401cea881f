"""The world that is measured: a broker of its own, people with consents, and readings by the million."""

import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from connectors.publisher import Publisher
from connectors.topics import create_topics, wanted_topics
from infra.local_kafka import LocalKafka
from pipelines.driver import Driver
from pipelines.entries import Entry, now_us
from pipelines.keys import KeyRing
from pipelines.settings import Settings, load_settings
from pipelines.vault import vault_of
from schemas.consent_events import ConsentEvent, IdentityLink, chain_key
from schemas.contracts import encode
from schemas.registry import Study, load_partners, save_studies

PEOPLE = 2_000
STUDIES = ("alpha", "beta", "gamma")
DAY_US = 86_400_000_000
PARTITIONS = 8


@contextmanager
def own_broker() -> Iterator[tuple[Path, str]]:
    """A folder, and in it a broker that runs for the time of the block: its address."""
    with tempfile.TemporaryDirectory(prefix="wellspring-bench-") as name:
        kafka = LocalKafka(Path(name) / "kafka")
        bootstrap = kafka.up().bootstrap
        try:
            yield Path(name), bootstrap
        finally:
            kafka.down()


def land_all(driver: Driver) -> list[Entry]:
    """Land all that there is, and no more: days are not judged. The entries; the driver is closed."""
    entries = []
    with closing(driver):
        while cycle := driver.cycle():
            entries += cycle
    return entries


class BenchWorld:
    """One lake with its topics on a running broker. People with an odd number are in two studies, the others in one;
    every tenth person's grants name another metric, so that a tenth is withheld."""

    def __init__(
        self,
        folder: Path,
        bootstrap: str,
        *,
        studies: Iterable[str] = STUDIES,
        plan_records: int = 1_000_000,
        contracts: Sequence[str] = ("sensor-reading",),
        metrics: Sequence[str] = ("acceleration", "heart_rate"),
        lake: str = "lake",
    ) -> None:
        folder.mkdir(parents=True)
        name = f"b{secrets.token_hex(4)}"
        self.partner, self.authority, self.studies = name, f"{name}-consent", tuple(studies)
        self.metrics, self.config = tuple(sorted(metrics)), folder / "wellspring.yaml"
        (folder / "partners.yaml").write_text(
            f"partners:\n- name: {name}\n  partitions: {PARTITIONS}\n  contracts: [{', '.join(contracts)}]\n",
            encoding="utf-8",
        )
        save_studies(folder / "studies.yaml", {study: Study(id=study) for study in self.studies})
        self.config.write_text(
            f"lake: {lake}\nauthority: {self.authority}\nkafka:\n  bootstrap: {bootstrap}\n"
            f"limits:\n  plan_records: {plan_records}\n  plan_mb: 1000000\n  freshness_s: 1\n  compact_files: 1000\n",
            encoding="utf-8",
        )
        self.settings: Settings = load_settings(self.config)
        for study in self.studies:
            KeyRing(vault_of(self.settings)).create(study)
        partners = load_partners(self.settings.partners).values()
        create_topics(self.settings.kafka, wanted_topics(partners, self.authority, self.settings.held_us))
        self.begin_us = now_us() - 20 * DAY_US
        self.begin_us -= self.begin_us % DAY_US
        self._publisher: Publisher | None = None
        self.random = np.random.default_rng(7)

    @property
    def topic(self) -> str:
        return self.topic_of("sensor-reading")

    def topic_of(self, contract: str) -> str:
        return f"{self.partner}.{contract}.v1"

    def driver(self) -> Driver:
        driver = Driver(self.settings)
        driver.start()
        return driver

    def consent(self, people: int = PEOPLE) -> None:
        """Publish links and grants."""
        with Publisher(self.settings.kafka, self.settings.link_topic) as links:
            for person in range(people):
                link = IdentityLink(
                    link_id=f"l{person}", partner=self.partner, subject=f"s{person}", member=f"m{person}"
                )
                links.send(link.link_id.encode(), encode("identity-link", link.to_record()))
        with Publisher(self.settings.kafka, self.settings.consent_topic) as events:
            for event in self.grants(people):
                events.send(chain_key(event.member, event.study), encode("consent-event", event.to_record()))

    def grants(self, people: int) -> Iterator[ConsentEvent]:
        """A grant for each study of each person."""
        for person in range(people):
            metrics = ("skin_temperature",) if person % 10 == 0 else self.metrics
            for place in range(1 + person % 2):
                study = self.studies[(person // 2 + place) % len(self.studies)]
                yield ConsentEvent(
                    kind="grant",
                    member=f"m{person}",
                    study=study,
                    seq=1,
                    effective_at=self.begin_us - 90 * DAY_US,
                    metrics=metrics,
                )

    def publish_one(self, person: int, start_us: int) -> None:
        """One message of one reading; returns when it is acknowledged."""
        if self._publisher is None:
            self._publisher = Publisher(self.settings.kafka, self.topic)
        message = _scalar(person, start_us, self.random.integers(480, 1500, 1) / 10.0)
        self._publisher.send(f"s{person}".encode(), encode("sensor-reading", message))
        self._publisher.flush()

    def publish_scalars(self, messages: int, readings: int, begin_us: int, older_us: int | None = None) -> None:
        """Messages of heart rate, one reading a second; with `older_us` one in twenty begins there instead."""
        with Publisher(self.settings.kafka, self.topic) as publisher:
            for number in range(messages):
                person, turn = number % PEOPLE, number // PEOPLE
                base = older_us if older_us is not None and number % 20 == 7 else begin_us
                start = base + turn * readings * 1_000_000 + person
                values = self.random.integers(480, 1500, readings) / 10.0
                publisher.send(f"s{person}".encode(), encode("sensor-reading", _scalar(person, start, values)))

    def publish_minutes(self, person: int, start_us: int, readings: int) -> None:
        """One message of a person's heart rate, a reading a minute."""
        values = self.random.integers(480, 1500, readings) / 10.0
        message = _scalar(person, start_us, values, period_us=60_000_000)
        with Publisher(self.settings.kafka, self.topic) as publisher:
            publisher.send(f"s{person}".encode(), encode("sensor-reading", message))

    def publish_waveforms(self, messages: int, samples: int, begin_us: int) -> None:
        """Messages of acceleration in three channels at 32 Hz, as 16-bit numbers of a real device's resolution."""
        with Publisher(self.settings.kafka, self.topic) as publisher:
            for number in range(messages):
                person, turn = number % PEOPLE, number // PEOPLE
                start = begin_us + turn * samples * 31_250 + person
                values = self.random.normal(0, 300, 3 * samples).astype("<i2")
                publisher.send(f"s{person}".encode(), encode("sensor-reading", _waveform(person, start, values)))


def _scalar(person: int, start: int, values: Any, period_us: int = 1_000_000) -> dict[str, Any]:
    return {
        **_header(person, "heart_rate", "/min"),
        "times": {"start": start, "period": period_us},
        "values": {"dtype": "f8", "data": values.astype("<f8").tobytes(), "scale": 1.0},
    }


def _waveform(person: int, start: int, values: Any) -> dict[str, Any]:
    return {
        **_header(person, "acceleration", "m/s2"),
        "channels": ["x", "y", "z"],
        "times": {"start": start, "period": 31_250},
        "values": {"dtype": "i2", "data": values.tobytes(), "scale": 0.0098},
    }


def _header(person: int, metric: str, unit: str) -> dict[str, Any]:
    source = {
        "name": f"watch of {person}",
        "device_model": f"W{person % 4}",
        "firmware": f"1.{person % 3}.0",
        "app": "org.example.app",
    }
    return {
        "subject": f"s{person}",
        "metric": metric,
        "unit": unit,
        "modality": "sensed",
        "source": source,
        "offset_min": 60,
    }
