"""A deployment without Kafka: the driver itself, consent said to its register, readings given to the run's own stages.

lake = Offline(tmp_path)
lake.consent(linked(subject("ann"), member("ann")), grant(member("ann")))
lake.land(message(subject("ann"), [60.0, 400.0]))
asked = lake.ask("release", {"check": "PL-00", "expected": 1}, by="ada")
lake.answer_all()
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow.parquet as pq
from pydantic import ValidationError

from pipelines import delta
from pipelines.accounts import total
from pipelines.answer import answer_next
from pipelines.blocks import Block
from pipelines.check_counts import write_counts
from pipelines.chosen_rows import held_back
from pipelines.commit import table_changes
from pipelines.consent.register import Item
from pipelines.decided import table_of
from pipelines.driver import Driver
from pipelines.entries import Entry, Kind
from pipelines.files import DataFile
from pipelines.ledger import OnStep
from pipelines.plan import Plan, PlannedRange
from pipelines.progress import Progress, json_of
from pipelines.replay import _replacements
from pipelines.requests import Asked, ask, at
from pipelines.settings import load_settings
from pipelines.stages import Check, Consent, Land
from pipelines.tables import quiet
from quality.chosen import Chosen, RowSet
from schemas.consent_events import IdentityLink
from tests.readings import DAY, RECEIVED, TOPIC, normalised
from tests.worlds import World, lay_out

STUDIES = ("sleep", "cycle")
NOWHERE = "127.0.0.1:1"


class _World(World):
    """A deployment whose tables are read file by file: a session of DuckDB takes longer than a small test."""

    def rows(self, study: str, columns: str = "*", view: str = "observation") -> list[dict[str, Any]]:
        """All rows of a study's table with all of their columns and their family, whichever are asked for."""
        handle = delta.open_table(self.store, f"study={study}/{view}")
        files = delta.live_files(handle, f"study={study}/{view}") if handle else []
        found: list[dict[str, Any]] = []
        for live in files:
            with self.store.open_file(live.file.path) as source:
                found += pq.ParquetFile(source).read().to_pylist()
        return [{"family": view, **row} for row in found]


class Offline:
    """One life of a driver on the deployment in `folder`, begun; a second one recovers what the first left."""

    def __init__(self, folder: Path, on_step: OnStep = quiet, there: bool = False) -> None:
        if not there:
            lay_out(folder, NOWHERE, studies=STUDIES, partner={"name": "acme"})
        config = folder / "wellspring.yaml"
        self.world = _World(folder, config, load_settings(config), "acme")
        self.now_us = RECEIVED + DAY
        self.said: list[str] = []
        self.driver = Driver(self.world.settings, clock=lambda: self.now_us, on_step=on_step, say=self.said.append)
        self.driver.tables.verify()
        self.driver.ledger.takeover(self.now_us, {})
        self.driver.tables.recover(on_step)
        driver = cast(Any, self.driver)
        driver.commits.teller = SimpleNamespace(rejected=lambda pointers, n: None)
        driver.consent_now = self._consent_now
        driver.commits.settle()
        self._consent_now()

    def _consent_now(self) -> None:
        self.driver._snapshot = self.driver.snapshots.refresh()

    def close(self) -> None:
        self.driver.close()

    def consent(self, *items: Item) -> None:
        """Say events and links to the register, as if they had been read from their topics."""
        settings = self.world.settings
        for item in items:
            topic = settings.link_topic if isinstance(item, IdentityLink) else settings.consent_topic
            offset = self.driver.register.positions().get((topic, 0), 0)
            self.driver.register.apply(topic, 0, [(offset, self.now_us, None, item)])
        self._consent_now()

    # -- readings

    def land(self, *messages: dict[str, Any], offset: int = 0, received: int = RECEIVED) -> Entry:
        """The messages, records from `offset` on, come in."""
        return self._commit(self._plan(Kind.INGEST), messages, offset, received)

    def replay(self, *messages: dict[str, Any], offset: int = 0) -> Entry:
        """The messages, records from `offset` on, are judged again, and replace what they gave before."""
        item = PlannedRange(topic=TOPIC, partition=0, start=offset, end=offset + len(messages))
        plan = self._plan(Kind.REPLAY, replaced=_replacements(self.driver, item))
        return self._commit(plan, messages, offset, RECEIVED)

    def _plan(self, kind: Kind, **more: Any) -> Plan:
        self._consent_now()
        return self.driver.plan(kind, [PlannedRange(topic=TOPIC, partition=0, start=0, end=1)], **more)

    def _commit(self, plan: Plan, messages: Iterable[dict[str, Any]], offset: int, received: int) -> Entry:
        notes = list(_run(plan, normalised(*messages, first_offset=offset, received=received)))
        accounts = total(notes)
        files = [DataFile.model_validate(file) for file in accounts.files]
        files += write_counts(accounts.checks, self.driver.store, plan.n, plan.epoch)
        entry = self.driver.ledger.draft(
            plan.kind,
            self.now_us,
            cause={"duplicate": sum(sums["duplicate"] for sums in accounts.outcomes.values())},
            tables=table_changes(files, plan),
            progress=json_of(Progress.of(self.driver.ledger.head())),
        )
        self.driver.commits.append(entry)
        return entry

    # -- decisions

    def ask(
        self,
        kind: str,
        about: Mapping[str, Any],
        by: str = "ada",
        study: str = "sleep",
        reason: str = "the strap was loose",
    ) -> Asked:
        """Leave a steward's request, about the rows that are there now unless it says others."""
        if "expected" in about and kind != "recall":
            about = {"fingerprint": self.fingerprint(about, study), **about}
        selection = {"study": study, "by": by, "reason": reason, "about": dict(about)}
        return ask(self.driver.ledger, kind, selection, self.now_us)

    def fingerprint(self, about: Mapping[str, Any], study: str = "sleep") -> str:
        """That of the rows that a decision is about and that wait; of none where it says nothing that can be understood."""
        names = {name: value for name, value in about.items() if name in Chosen.model_fields}
        try:
            stratum = Chosen.model_validate(names).stratum
        except ValidationError:
            return RowSet().fingerprint
        return held_back(self.driver, study, stratum, table_of(self.driver, study)).chosen.fingerprint

    def answer_all(self) -> list[Entry]:
        """Do all that waits."""
        entries = []
        while entry := answer_next(self.driver):
            entries.append(entry)
        return entries

    def decided(self, kind: str, about: Mapping[str, Any], **more: Any) -> Entry:
        """Ask, and have it done in one entry."""
        asked = self.ask(kind, about, **more)
        (entry,) = self.answer_all()
        assert entry.cause["request"] == asked.mark
        return entry

    def refused(self, kind: str, about: Mapping[str, Any], **more: Any) -> str:
        """Ask, and be refused; the words."""
        asked = self.ask(kind, about, **more)
        before = self.driver.ledger.head()
        assert self.answer_all() == [] and self.driver.ledger.head() == before
        found = at(self.driver.store, asked.key)
        assert found is not None and found.request is not None and not found.waits
        return found.request.refused

    # -- what is there

    def values(self, view: str = "observation", study: str = "sleep") -> list[float]:
        """The values of a view's rows, in order."""
        return sorted(row["value"] for row in self.world.rows(study, "value", view))

    def decisions(self, study: str = "sleep") -> list[dict[str, Any]]:
        """The rows of the study's table of decisions in the order of their entries."""
        return sorted(self.world.rows(study, view="decision"), key=lambda row: row["entry"])


def _run(plan: Plan, block: Block) -> Iterable[str]:
    """The stages from consent on; their notes."""
    consent, check, land = Consent(plan), Check(plan), Land(plan)
    for stage in (consent, check, land):
        stage.start()
    for claimed in consent.each(block):
        if isinstance(claimed, Block):
            for judged in check.each(claimed):
                assert isinstance(judged, Block)
                yield from land.each(judged)
    yield from land.finish()
