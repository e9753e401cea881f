"""The performance: the two acts are published and run through the pipeline, and what came of them is added up."""

from dataclasses import dataclass
from typing import Any

from connectors.topics import create_topics, wanted_topics
from infra.local_kafka import Address
from pipelines.demo.expected import expected
from pipelines.demo.ground import Ground, settle
from pipelines.demo.narrator import Narrator
from pipelines.demo.publish import publish_consents, publish_records
from pipelines.demo.sums import Law, LedgerSums, differences, laws, ledger_sums
from pipelines.demo.world import Act, World, world
from pipelines.driver import Driver
from pipelines.entries import Entry, now_us
from pipelines.lake_check import Report, lake_check
from pipelines.law import entry_law
from pipelines.ledger import Ledger
from pipelines.settings import Settings
from pipelines.store import FolderStore
from pipelines.views import sql
from schemas.registry import load_partners

QUESTIONS = {
    "How fast did the hearts of each study beat, day by day?": """\
select study, day, people, readings, round(mean, 1) as mean from (
  select 'shiftwork' as study, strftime(start, '%Y-%m-%d') as day, count(distinct pseudonym) as people,
         count(*) as readings, avg(value) as mean
  from shiftwork_observation where metric = 'heart_rate' group by all
  union all
  select 'heatwave', strftime(start, '%Y-%m-%d'), count(distinct pseudonym), count(*), avg(value)
  from heatwave_observation where metric = 'heart_rate' group by all
) order by study, day""",
    "Which readings of shiftwork are in doubt?": """\
select metric, 'landed with a flag' as fate, count(*) as readings, min(value) as lowest, max(value) as highest
from shiftwork_observation where flags <> 0 group by all
union all
select metric, 'in quarantine', count(*), min(value), max(value) from shiftwork_quarantine group by all
order by metric, fate""",
}


@dataclass(frozen=True)
class Performance:
    """What was told, and what came of it. `answers` are rows by question."""

    world: World
    settings: Settings
    sums: LedgerSums
    told: dict[str, Any]
    answers: dict[str, list[dict[str, Any]]]
    report: Report

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
    """Both acts, on the broker at `address`."""
    settings = settle(ground, address)
    topics = create_topics(settings.kafka, wanted_topics(load_partners(settings.partners).values(), settings.authority))
    narrator.tick(f"{len(topics)} topics, 2 registries, a random key for each study")
    with narrator.step("imagining the world", lambda: _described(story)):
        story = world(now_us())
        told = expected(story).as_json()
    driver = Driver(settings, on_entry=lambda entry: narrator.tick(_line(entry)))
    try:
        driver.start()
        for act in story.acts:
            _play(act, story, ground, driver, narrator)
    finally:
        driver.close()
    with narrator.step("adding up the ledger and asking the lake", lambda: "ledger added up, lake checked and asked"):
        return _look(story, settings, told)


def _described(story: World) -> str:
    people, watches = len(story.cast.people), len(story.cast.devices)
    messages = sum(len(act.records) for act in story.acts)
    return f"a world of {people} people, {watches} devices and {messages:,} messages"


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
    _run(driver, narrator)


def _run(driver: Driver, narrator: Narrator) -> None:
    """Cycle until nothing is new; each entry is told as soon as it is applied."""
    with narrator.working("running the pipeline") as tell:
        driver.on_step = lambda step: tell(f"running the pipeline: {step}", 0, 0)
        while driver.cycle():
            pass


def _line(entry: Entry) -> str:
    counts: Any = entry.counts
    if not counts:
        return f"ledger entry {entry.n}: {entry.kind}"
    readings = counts["readings"]
    landed = sum(study["landed"] for study in counts["studies"].values())
    came_of_it = f"{readings['rejected']:,} rejected, {readings['held']:,} held, {landed:,} rows landed"
    return f"ledger entry {entry.n}: {entry.kind} of {readings['decoded']:,} readings, {came_of_it}"


def _look(story: World, settings: Settings, told: dict[str, Any]) -> Performance:
    store = FolderStore(settings.lake)
    ledger = Ledger(store)
    sums = ledger_sums(ledger.entries(1))
    answers = {question: sql(store, query).to_pylist() for question, query in QUESTIONS.items()}
    return Performance(story, settings, sums, told, answers, lake_check(store, ledger, law=entry_law))
