"""A small deployment for integration tests: its own topics on a shared broker, its own lake, vault and settings.

    world = make_world(tmp_path, broker.bootstrap)
    world.consent(world.link("ann"), world.grant("ann", "sleep"))
    world.publish(world.reading("ann", range(10)))
    world.work()
    assert world.landed("sleep") == once(range(10))

A person named "ann" has planted names (`tests.canaries`) as the partner's subject, as the authority's member and for
their watch, which after the test are searched for in all that may not hold them. Readings are numbered by the test; a
reading's number is planted in its value, so that the lake tells which readings it holds, and how often.
"""

import io
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from connectors.kafka import admin
from connectors.kafka_python import TopicPartition
from connectors.publisher import Publisher, Receipt
from connectors.ranges import OffsetRange, RangeReader
from connectors.topics import create_topics, wanted_topics
from pipelines.answer import answer_next
from pipelines.driver import Driver
from pipelines.entries import Entry, now_us
from pipelines.keys import KeyRing
from pipelines.lake_check import lake_check
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.places import folder_of, store_of
from pipelines.settings import Settings, load_settings
from pipelines.store import Store
from pipelines.vault import vault_of
from pipelines.views import sql, tables
from schemas.consent_events import ConsentEvent, IdentityLink, chain_key
from schemas.contracts import decode, encode
from schemas.registry import load_partners
from tests.canaries import member, source, subject
from tests.command import execute

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
METRIC, UNIT = "heart_rate", "/min"
LOW, STEP = 40.0, 1e-6  # reading n has the value LOW + n * STEP: plausible for numbers up to 100 million
OUTSIDE = 360_000_000  # reading n + OUTSIDE has a value outside the hard range: it is quarantined

ROOT = Path(__file__).parent.parent
Message = tuple[bytes, bytes]
Consent = ConsentEvent | IdentityLink


class Ended(NamedTuple):
    """A command that has come to its end."""

    returncode: int
    stdout: str
    stderr: str


class Command:
    """A command that runs; what it has said so far can be asked at any time."""

    def __init__(self, words: list[str], folder: Path) -> None:
        folder.mkdir()
        self._files = folder / "output", folder / "errors"
        with open(self._files[0], "w") as output, open(self._files[1], "w") as errors:
            self.process = subprocess.Popen(words, stdout=output, stderr=errors, cwd=ROOT)

    @property
    def output(self) -> str:
        return self._files[0].read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        return self._files[1].read_text(encoding="utf-8")

    def end(self) -> int:
        """Ask it to stop (SIGTERM); its exit code."""
        self.process.terminate()
        return self.process.wait(120)


@dataclass
class World:
    """One deployment. Times are microseconds since the epoch, UTC; `began` is when it was made.

    Readings are taken from so much as `past` before that on. `bucket` is the folder behind a lake in a bucket.
    """

    folder: Path
    config: Path
    settings: Settings
    partner: str
    began: int = field(default_factory=now_us)
    past: int = DAY
    seqs: Counter[tuple[str, str]] = field(default_factory=Counter)
    bucket: Path | None = None

    # -- consent

    def link(self, person: str, link_id: str | None = None, **limits: Any) -> IdentityLink:
        """The person's subject is the person's member; `from_us` and `to_us` limit it in reading time."""
        name = link_id or f"link-{person}"
        return IdentityLink(
            link_id=name,
            partner=self.partner,
            subject=subject(person),
            member=member(person),
            **{{"from_us": "from", "to_us": "to"}[key]: value for key, value in limits.items()},
        )

    def event(self, kind: str, person: str, study: str, **fields: Any) -> ConsentEvent:
        """The next event of the person's chain, effective now unless told otherwise."""
        seq = fields.pop("seq", None)
        if seq is None:
            self.seqs[person, study] += 1
            seq = self.seqs[person, study]
        effective = fields.pop("effective_at", None)
        row = {"kind": kind, "member": member(person), "study": study, "seq": seq, **fields}
        return ConsentEvent.model_validate({**row, "effective_at": now_us() if effective is None else effective})

    def grant(self, person: str, study: str, **fields: Any) -> ConsentEvent:
        """A grant of heart rate; effective since ten days before the world began unless told otherwise."""
        return self.event(
            "grant", person, study, **{"metrics": (METRIC,), "effective_at": self.began - 10 * DAY, **fields}
        )

    def withdraw(self, person: str, study: str, mode: str = "keep", **fields: Any) -> ConsentEvent:
        return self.event("withdraw", person, study, mode=mode, **fields)

    @contextmanager
    def authority(self) -> Iterator[Callable[..., None]]:
        """A function that publishes events and links, in order; they are acknowledged when it returns."""
        kafka = self.settings.kafka
        with (
            Publisher(kafka, self.settings.consent_topic) as events,
            Publisher(kafka, self.settings.link_topic) as links,
        ):

            def say(*items: Consent) -> None:
                for item in items:
                    publisher, key, value = (
                        (links, *_link(item)) if isinstance(item, IdentityLink) else (events, *_event(item))
                    )
                    publisher.send(key, value)
                    publisher.flush()
                    assert not publisher.receipt.failed

            yield say

    def consent(self, *items: Consent) -> None:
        """Publish events and links, in this order; they are acknowledged when this returns."""
        with self.authority() as say:
            say(*items)

    # -- readings

    @property
    def topic(self) -> str:
        return f"{self.partner}.sensor-reading.v1"

    def start_of(self, number: int) -> int:
        """When reading `number` was taken unless a test says otherwise: a second apart, from `past` before the world."""
        return self.began - self.past + number % OUTSIDE * SECOND

    def reading(
        self,
        person: str,
        numbers: Iterable[int],
        *,
        values: Sequence[float] | dict[str, Any] | None = None,
        start: int | None = None,
        **fields: Any,
    ) -> Message:
        """One message with these readings, a second apart from `start`; `fields` replace what is in the message."""
        wanted = list(numbers)
        planted = np.array([value_of(n) for n in wanted], dtype="<f8").tobytes()
        first = self.start_of(wanted[0]) if start is None else start
        message = {
            "subject": subject(person),
            "metric": METRIC,
            "unit": UNIT,
            "source": source(person),
            "times": {"start": first, "period": SECOND},
            "values": {"dtype": "f8", "data": planted, "scale": 1.0} if values is None else values,
            **fields,
        }
        return str(message["subject"]).encode(), encode("sensor-reading", message)

    def publish(self, *messages: Message) -> Receipt:
        """Publish to the partner's topic; the receipt counts what was acknowledged."""
        with Publisher(self.settings.kafka, self.topic) as publisher:
            for key, value in messages:
                publisher.send(key, value)
        assert publisher.receipt.acknowledged == len(messages)
        return publisher.receipt

    # -- the driver

    @contextmanager
    def driver(self, *, take_over: bool = False, **options: Any) -> Iterator[Driver]:
        """A driver that has started; closed at the end."""
        driver = Driver(self.settings, **options)
        try:
            driver.start(take_over)
            yield driver
        finally:
            driver.close()

    def work(self, **options: Any) -> list[Entry]:
        """A driver works off everything there is; the entries that it appended, its takeover aside."""
        with self.driver(**options) as driver:
            return work_off(driver)

    def execute(self, *words: str) -> Ended:
        """Run the command line to its end in this process, which costs no import."""
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            code = execute([*words, "--config", str(self.config)])
        return Ended(code, output.getvalue(), errors.getvalue())

    def command(self, *words: str, timeout_s: float = 180.0) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end in a process of its own."""
        return subprocess.run(self._words(*words), capture_output=True, text=True, timeout=timeout_s, check=False)

    @contextmanager
    def following(self, *words: str) -> Iterator["Command"]:
        """The command line in a process of its own; killed at the end, unless it has ended."""
        command = Command(self._words(*words), self.folder / f"command-{uuid.uuid4().hex[:8]}")
        try:
            yield command
        finally:
            command.process.kill()
            command.process.wait()

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pipelines.cli", *words, "--config", str(self.config)]

    # -- the lake

    @property
    def store(self) -> Store:
        return store_of(self.settings.lake)

    @property
    def lake_folder(self) -> Path:
        """Where the lake's objects lie on the disk: its folder, or that of the server's bucket."""
        return self.bucket or folder_of(self.settings.lake)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store)

    def entries(self, *kinds: str) -> list[Entry]:
        """The ledger's entries, of these kinds where any are named."""
        return [entry for entry in self.ledger.entries() if not kinds or entry.kind in kinds]

    def landed(self, study: str, view: str = "observation") -> Counter[int]:
        """How often the study's table holds each numbered reading."""
        return Counter(number_of(row["value"]) for row in self.rows(study, "value", view))

    def rows(self, study: str, columns: str = "*", view: str = "observation") -> list[dict[str, Any]]:
        """All rows of a study's table, every revision of them; none where there is no table."""
        if f"study={study}/{view}" not in [info.table for info in tables(self.store)]:
            return []
        found: list[dict[str, Any]] = sql(
            self.store, f"SELECT {columns} FROM {study.replace('-', '_')}_{view}_all"
        ).to_pylist()
        return found

    def assert_sound(self) -> None:
        """The lake agrees with its ledger, every entry's sums hold, and so do those over the holds."""
        report = lake_check(self.store, self.ledger, law=entry_law)
        assert report.problems == []
        assert holds_law(self.entries()) == []

    def rejected_bytes(self) -> list[bytes]:
        """The values of the partner's topic of rejections, as they lie there."""
        topic = f"{self.partner}.rejected.v1"
        with RangeReader(self.settings.kafka) as reader:
            wanted = OffsetRange(topic, 0, 0, reader.end_offsets([topic])[topic, 0])
            return [value for block in reader.read(wanted) for value in block.column("value").to_pylist()]

    def rejected(self) -> list[dict[str, Any]]:
        """What the partner was told of its rejected records and readings."""
        return [decode(value, "rejected") for value in self.rejected_bytes()]

    def leavings(self) -> list[str]:
        """Files that no entry names."""
        return lake_check(self.store, self.ledger).leavings


def on_topic(world: World, contract: str) -> list[Message]:
    """Keys and values of all records of the partner's topic of a contract, unpacked."""
    name = f"{world.partner}.{contract}.v1"
    with RangeReader(world.settings.kafka) as reader:
        ends = reader.end_offsets([name])
        blocks = [block for (_, part), end in ends.items() for block in reader.read(OffsetRange(name, part, 0, end))]
    columns = [(block.column("key").to_pylist(), block.column("value").to_pylist()) for block in blocks]
    return [pair for keys, values in columns for pair in zip(keys, values, strict=True)]


_MADE: list[World] = []


def make_world(
    folder: Path,
    bootstrap: str,
    *,
    studies: Sequence[str] = ("sleep", "cycle"),
    partitions: int = 2,
    partner: dict[str, Any] | None = None,
    bucket: Path | None = None,
    vault_bucket: Path | None = None,
    kafka: dict[str, str] | None = None,
    **limits: Any,
) -> World:
    """A deployment in `folder` with topics of its own; `limits` are those of the settings."""
    places = {"bucket": bucket, "vault_bucket": vault_bucket}
    world = lay_out(
        folder, bootstrap, studies=studies, partitions=partitions, partner=partner, kafka=kafka, **places, **limits
    )
    make_topics(world.settings)
    return world


def lay_out(
    folder: Path,
    bootstrap: str,
    *,
    studies: Sequence[str] = ("sleep", "cycle"),
    partitions: int = 2,
    partner: dict[str, Any] | None = None,
    bucket: Path | None = None,
    vault_bucket: Path | None = None,
    kafka: dict[str, str] | None = None,
    **limits: Any,
) -> World:
    """The files of a deployment, without a word to Kafka.

    The buckets are those of lake and vault; `kafka` are more of the settings by which it is reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"p{uuid.uuid4().hex[:12]}"
    config = folder / "wellspring.yaml"
    _write(
        config,
        {
            "lake": f"s3://{bucket.name}/lake" if bucket else "lake",
            "vault": f"s3://{vault_bucket.name}/vault" if vault_bucket else "vault",
            "authority": f"a{name}",
            "kafka": {"bootstrap": bootstrap, **(kafka or {})},
            "limits": {"freshness_s": 0.5, **limits},
        },
    )
    _write(folder / "partners.yaml", {"partners": [{"name": name, "partitions": partitions, **(partner or {})}]})
    basis = "public_interest_research"
    _write(folder / "studies.yaml", {"studies": [{"id": study, "basis_after_withdrawal": basis} for study in studies]})
    settings = load_settings(config)
    for study in studies:
        KeyRing(vault_of(settings)).create(study)
    world = World(folder, config, settings, name, bucket=bucket / "lake" if bucket else None)
    _MADE.append(world)
    return world


def forget_made() -> list[World]:
    """The worlds made since this was asked last."""
    made = list(_MADE)
    _MADE.clear()
    return made


def make_topics(settings: Settings) -> None:
    """Create the topics that the registries want."""
    partners = load_partners(settings.partners).values()
    create_topics(settings.kafka, wanted_topics(partners, settings.authority, settings.held_us))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _link(link: IdentityLink) -> Message:
    return link.link_id.encode(), encode("identity-link", link.to_record())


def _event(event: ConsentEvent) -> Message:
    return chain_key(event.member, event.study), encode("consent-event", event.to_record())


def value_of(number: int) -> float:
    """The value in which a reading's number is planted."""
    return LOW + number * STEP


def number_of(value: float) -> int:
    """The number of the reading with this value."""
    return round((value - LOW) / STEP)


def once(numbers: Iterable[int]) -> Counter[int]:
    """What a lake holds that has each of these readings once."""
    return Counter(set(numbers))


def work_off(driver: Driver) -> list[Entry]:
    """Cycle and do what was asked for, until nothing is left of either; the entries."""
    entries: list[Entry] = []
    while found := driver.cycle() or [answered for answered in (answer_next(driver),) if answered]:
        entries += found
    return entries


def holds_law(entries: Iterable[Entry]) -> list[str]:
    """Where readings held are not released + expired + open, over all entries; empty where it holds throughout."""
    opened = closed = 0
    wrong = []
    for entry in entries:
        if entry.holds is not None:
            counts: dict[str, Any] = dict(entry.holds)
            opened += counts["opened"]
            closed += counts["released"] + counts["expired"]
            if opened != closed + counts["open"]:
                wrong.append(f"entry {entry.n}: {opened} held, {closed} closed, {counts['open']} open")
    return wrong


def outcomes(entries: Iterable[Entry], study: str) -> Counter[str]:
    """The sums of a study's outcomes over entries; withheld readings by their code."""
    found: Counter[str] = Counter()
    for entry in entries:
        studies: Any = entry.counts.get("studies", {})
        for name, count in studies.get(study, {}).items():
            found.update(count if isinstance(count, dict) else {name: count})
    return +found


def wait_for(what: Callable[[], Any], timeout_s: float = 120.0, every_s: float = 0.1) -> Any:
    """Ask until the answer is true; the answer. AssertionError when it never is."""
    deadline = time.monotonic() + timeout_s
    while not (answer := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every_s)
    return answer


def delete_records(world: World) -> None:
    """Retention takes everything that the partner has published."""
    with RangeReader(world.settings.kafka) as reader:
        ends = reader.end_offsets([world.topic])
    with admin(world.settings.kafka) as client:
        client.delete_records({TopicPartition(*at): end for at, end in ends.items()})
