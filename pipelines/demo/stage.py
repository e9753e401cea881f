"""The performance: the acts are published and run through the pipeline, and what came of them is added up."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from connectors.topics import create_topics, wanted_topics
from infra.local_kafka import Address
from pipelines.consent.register import FILE as REGISTER
from pipelines.consent.register import Register
from pipelines.demo.expected import expected
from pipelines.demo.ground import Ground, settle
from pipelines.demo.inspection import Inspection, play_pilot
from pipelines.demo.narrator import Narrator
from pipelines.demo.publish import publish_consents, publish_records
from pipelines.demo.questions import QUESTIONS
from pipelines.demo.running import entry_line, run_out
from pipelines.demo.scenes import Receipts, play_doors
from pipelines.demo.sums import Law, LedgerSums, differences, laws, ledger_sums
from pipelines.demo.world import Act, World, world
from pipelines.driver import Driver
from pipelines.entries import now_us
from pipelines.lake_check import Report, lake_check
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.places import store_of
from pipelines.settings import Settings
from pipelines.vault import vault_of
from pipelines.views import sql
from schemas.registry import load_partners


@dataclass(frozen=True)
class Performance:
    """What was told, and what came of it.

    `receipts` say what was published of each file, `way` what happened to the kit; `answers` are rows by question,
    `inspection` is what checks found and stewards did.
    """

    world: World
    settings: Settings
    sums: LedgerSums
    told: dict[str, Any]
    receipts: Receipts
    way: list[dict[str, Any]]
    answers: dict[str, list[dict[str, Any]]]
    report: Report
    inspection: Inspection

    @property
    def laws(self) -> list[Law]:
        return list(laws(self.sums))

    @property
    def as_told(self) -> bool:
        """Whether every sum is the one that was counted from the story."""
        return not differences(self.told, self.sums.as_json())

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it should be, in words."""
        broken = [f"the sum of {law.name} does not hold" for law in self.laws if not law.holds]
        other = differences(self.told, self.sums.as_json())
        return [*broken, *(f"{name} is not what the story tells" for name in other), *self.report.problems]


def perform(ground: Ground, address: Address, narrator: Narrator) -> Performance:
    """All acts, on the broker at `address`."""
    settings = settle(ground, address)
    partners = load_partners(settings.partners).values()
    topics = create_topics(settings.kafka, wanted_topics(partners, settings.authority, settings.held_us))
    narrator.tick(f"{len(topics)} topics, 2 registries, a random key for each study")
    with narrator.step("imagining the world", lambda: _described(story)):
        story = world(now_us())
        told = expected(story).as_json()
    driver = Driver(settings, on_entry=lambda entry: narrator.tick(entry_line(entry)))
    try:
        driver.start()
        for act in story.acts:
            _play(act, story, ground, driver, narrator)
        receipts = play_doors(story.doors, ground, driver, narrator)
        inspection = play_pilot(story, ground, driver, narrator)
    finally:
        driver.close()
    with narrator.step("adding up the ledger and asking the lake", lambda: "ledger added up, lake checked and asked"):
        return _look(story, settings, told, receipts, inspection)


def _described(story: World) -> str:
    people, watches = len(story.people), len(story.cast.devices) + len(story.pilot.devices)
    messages = sum(len(act.records) for act in story.acts) + len(story.pilot.batches)
    return f"a world of {people} people, {watches} devices, {messages:,} messages, a phone, a kit and a pilot"


_TITLES = (
    "Act 1: what people have agreed to, the first days, and everything that can be wrong with a message",
    "Act 2: a late grant, a late link, second thoughts, a withdrawal; the last day, and what was sent before",
)


def _play(act: Act, story: World, ground: Ground, driver: Driver, narrator: Narrator) -> None:
    narrator.title(_TITLES[act.number])
    lines = story.consent_lines(act.number, now_us() // 1000 * 1000)  # the broker's clock has milliseconds
    ground.consents(act.number).write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = f"published {len(lines)} consent events and links"
    with narrator.step("publishing consents", lambda: said):
        publish_consents(driver.settings, lines)
    sending = "publishing messages"
    with narrator.step(sending, lambda: f"published {len(act.records):,} messages") as tell:
        publish_records(driver.settings, act.records, lambda done, of: tell(sending, done, of))
    run_out(driver, narrator)


def _look(
    story: World, settings: Settings, told: dict[str, Any], receipts: Receipts, inspection: Inspection
) -> Performance:
    store = store_of(settings.lake)
    ledger = Ledger(store)
    sums = ledger_sums(ledger.entries(1))
    answers = {question: sql(store, query).to_pylist() for question, query in QUESTIONS.items()}
    with closing(vault_of(settings)) as vault, closing(Register(vault.read(REGISTER))) as register:
        way = register.kit_events(story.doors.kit.barcode)
    report = lake_check(store, ledger, law=entry_law)
    return Performance(story, settings, sums, told, receipts, way, answers, report, inspection)
