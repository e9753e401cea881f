"""The driver: plan, run, append, apply, tell, and again. The one process that changes a lake.

It begins by taking over, which fences whoever drove before, brings the tables to the ledger, and refuses to go on
where Kafka, the vault or a table is not what the ledger was written with. Every change is an entry, whatever its kind.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from connectors.principals import check_authority
from connectors.ranges import Identity, RangeReader
from pipelines import redrive
from pipelines.circumstances import COLUMNS, Circumstances, changes, circumstances, keep, kept, told
from pipelines.commit import Commits
from pipelines.compaction import DEFAULT, choose, compact
from pipelines.consent.follow import follow, follow_kits, kit_topics
from pipelines.consent.kept_register import KeptRegister
from pipelines.consent.snapshot import Snapshots
from pipelines.entries import Entry, Kind, now_us
from pipelines.figures import unread
from pipelines.files import family_of
from pipelines.halt import PlanTooLarge
from pipelines.heartbeat import Heartbeat, live_heartbeat
from pipelines.holds import Changes, Holds
from pipelines.keys import KeyRing
from pipelines.lake_check import refuse_unfinished
from pipelines.ledger import LakeError, Ledger, OnStep
from pipelines.memory import NoMemory, ceiling_mb, within
from pipelines.pinned import Pinned
from pipelines.places import store_of
from pipelines.plan import Plan, PlannedRange, partition_key, partition_of
from pipelines.plan_size import PlanSize
from pipelines.progress import Progress, Surroundings, check_consent
from pipelines.runners import cancel_jobs, job_name, pipeline_options
from pipelines.settings import Settings
from pipelines.stages import close_readers
from pipelines.steady_clock import SteadyClock, behind_the_ledger
from pipelines.store_check import check_store
from pipelines.sweep import clear_removed, sweep, sweep_runs
from pipelines.tables import Tables, quiet
from pipelines.tell import Teller
from pipelines.upgrade import upgrade
from pipelines.vault import vault_of
from pipelines.write import write_sorted
from schemas.families import FAMILIES
from schemas.laboratories import load_laboratories
from schemas.metrics import catalogue
from schemas.registry import load_partners, load_studies, reading_topics

Clock = Callable[[], int]
REDRIVE_HOLDS = 5_000
LEARN_FROM = 50  # entries, from which the size of the first plan follows


class DriverAlive(LakeError):
    """Another driver is at work; this one did not touch anything."""


class Unfinished(Protocol):
    """What a request has begun, and goes on with at its next turn."""

    def close(self) -> None: ...


class Driver:
    """One driver's life. `on_step` hears of each step (tests stop it there), `on_entry` of each entry once it is applied.

    `say` takes what an operator should read. StorageUnfit where the lake's server, or the vault's, may lose a commit.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        on_step: OnStep = quiet,
        on_entry: Callable[[Entry], None] = lambda entry: None,
        say: Callable[[str], None] = quiet,
        accept_loss: bool = False,
    ) -> None:
        self.settings, self.on_step, self.on_entry, self.say = settings, on_step, on_entry, say
        self.clock, self._wall = clock or SteadyClock(say), clock or now_us
        self.partners = load_partners(settings.partners)
        check_authority(self.partners.values(), settings.authority, settings.principals)
        self.studies = load_studies(settings.studies)
        self.laboratories = load_laboratories(settings.laboratories)
        self.store = store_of(settings.lake)
        self.vault = vault_of(settings)
        for store in (self.store, self.vault.store):  # before anything is made there that has to last
            check_store(store, say)
        self.ledger = Ledger(self.store)
        self.tables = Tables(self.store, self.ledger)
        self.pinned = Pinned(self.store, self.tables.live_files, self.studies.values())
        self.keys = KeyRing(self.vault)
        self.holds = Holds(self.vault, settings.hold_us, settings.kit_hold_us)
        self.register = KeptRegister(self.vault)
        self.snapshots = Snapshots(self.register, self.vault.snapshots(), self.studies, catalogue().codes)
        self._accept_loss = accept_loss
        self._stack = ExitStack()
        self._touched: set[str] = set()
        self._limits = within(settings.limits, ceiling_mb())
        self._size = PlanSize(self._limits)
        self.unfinished: Unfinished | None = None
        options = pipeline_options(settings.runner, job_name(str(settings.lake)))
        self.commits = Commits(
            self.tables,
            self.vault,
            self.holds,
            options,
            clock=self.clock,
            on_step=lambda step: self.on_step(step),
            say=say,
            after=self._after,
        )
        self.commit, self.note = self.commits.commit, self.commits.note

    # -- the beginning

    def start(self, take_over: bool = False) -> None:
        """Become the driver. DriverAlive, Fenced, LedgerLost, DataGone, KafkaUnreachable, StorageFailed say why not."""
        refuse_unfinished(self.store)
        beat = live_heartbeat(self.store, self.clock())
        if beat is not None and not take_over:
            raise DriverAlive(
                f"a driver (epoch {beat.epoch}) is at work on this lake: stop it, or run with --take-over to replace it"
            )
        self.tables.verify()
        self.look()
        self.commits.teller = self._stack.enter_context(Teller(self.settings.kafka, self.partners))
        self._around.check(self.ledger, self.holds)
        now, before = circumstances(self.settings, self.partners, self.studies, self.laboratories), kept(self.store)
        self._take_over("take-over" if take_over else "start", before, now)
        self._stack.enter_context(Heartbeat(self.store, self.ledger.epoch, self._wall))
        self.on_step("takeover")
        self.cancel_left()
        for entry in self.tables.recover(self.on_step):
            self.on_entry(entry)
        self._size = PlanSize(self._limits, self.ledger.entries(max(1, self.ledger.next_n - LEARN_FROM)))
        self.commits.settle()
        self._go_on_with(before, now)
        sweep(self.store, self.ledger, self.clock())
        sweep_runs(self.store, self.vault.store, self.ledger.epoch)
        self.vault.sweep()
        self.on_step("swept")

    def cancel_left(self) -> None:
        """Cancel jobs of this lake that nobody waits for any more: they would keep the places of ours.

        Fenced where another driver has taken over: those that run are its own.
        """
        self.commits.refuse_if_overtaken()
        if self.settings.runner.is_elsewhere and (left := cancel_jobs(self.settings.runner, str(self.settings.lake))):
            self.say(f"{left} jobs that nobody waits for any more are cancelled")

    def _take_over(self, reason: str, before: Circumstances | None, now: Circumstances) -> None:
        """Become the one driver, and say what is different from when the last one did."""
        changed = [] if before is None else changes(before, now)
        if behind := behind_the_ledger(self.ledger.head(), self.clock()):
            self.say(behind)
        if self._limits.plan_mb < self.settings.limits.plan_mb:
            self.say(f"there is memory for plans of {self._limits.plan_mb} MB: limits.plan_mb is larger, and not used")
        cause: dict[str, Any] = {"reason": reason, **({"changed": changed} if changed else {})}
        self.ledger.takeover(self.clock(), cause)
        if changed:
            self.say(told(changed))

    def _go_on_with(self, before: Circumstances | None, now: Circumstances) -> None:
        """Bring older tables to this version's columns; kept last, so that a driver that is killed in it does it again."""
        if before is None or before.get(COLUMNS) != now[COLUMNS]:
            upgrade(self.tables, self.ledger, self.note, self.say)
        if before != now:
            keep(self.store, now)

    def look(self) -> None:
        """Reach Kafka to look, without becoming the driver."""
        self.reader = self._stack.enter_context(RangeReader(self.settings.kafka))
        asked = self._stack.enter_context(Identity(self.settings.kafka))
        kits = kit_topics(self.partners.values())
        self._around = Surroundings(
            self.settings,
            self.vault,
            self._topics(),
            self.studies,
            self.keys,
            self.reader,
            asked,
            self._accept_loss,
            self.partners,
            kits,
        )

    def begin_offsets(self) -> dict[tuple[str, int], int]:
        """The first record that Kafka keeps of each data partition."""
        return self.reader.begin_offsets(self._topics())

    def a_plan_waits(self) -> bool:
        """Whether as many records wait to be read as one plan takes."""
        return self._size.is_full(self.unread())

    def unread(self) -> dict[str, int]:
        """How many records of each data partition wait to be read."""
        topics = self._topics()
        return unread(
            Progress.of(self.ledger.head()), self.reader.begin_offsets(topics), self.reader.end_offsets(topics)
        )

    def consent_now(self) -> None:
        """Bring the register to the end of the consent topics."""
        self._follow(Progress.of(self.ledger.head()))

    def _topics(self) -> list[str]:
        return reading_topics(self.partners.values())

    def close(self) -> None:
        """Leave in good order; nothing stays open, whatever goes wrong."""
        with ExitStack() as last:
            for close in (self.vault.close, self.register.close, self.holds.close, close_readers, self._stack.close):
                last.callback(close)
            if self.unfinished is not None:
                last.callback(self.unfinished.close)
            if self.ledger.epoch:
                self.tables.save()
                self.register.keep()

    # -- one cycle

    def cycle(self) -> list[Entry]:
        """All that can be done now: what is new, what waited for consent, what wants compacting. The entries appended."""
        with self.at_work():
            self.commits.settle()
            entries = [entry for entry in (self._ingest(), *self._redrives()) if entry is not None]
            entries += self._compactions()
            clear_removed(self.store, self.ledger, self.tables.standing, self.clock())
            return entries

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """What goes wrong once another driver has taken over is that one's doing: it sweeps what this one was writing."""
        try:
            yield
        except Exception:  # whatever it is, it is raised
            self.commits.refuse_if_overtaken()
            raise

    def _ingest(self) -> Entry | None:
        """What is new, as far as one plan takes it; a plan that turns out too large is made again, and smaller."""
        while True:
            try:
                return self._ingest_plan()
            except PlanTooLarge as cut:
                self.say(self._size.shrink(cut))

    def _ingest_plan(self) -> Entry | None:
        """Everything up to now, or as much as one plan takes: data ends first, then the consent that goes with them."""
        progress = Progress.of(self.ledger.head())
        begin, ends, lost = self._around.offsets(progress)
        consent_ends = self._follow(progress)
        position = {
            partition_key(*at): max(progress.offsets.get(partition_key(*at), first), first)
            for at, first in begin.items()
        }
        wanted = {partition_key(*at): end for at, end in ends.items()}
        cut = self._size.cut(position, wanted)
        expired = sorted({*self.holds.expired(self.clock()), *self.holds.orphaned(self.partners)})
        if not (cut.ranges or expired or lost):
            return None
        offsets = {**position, **{item.key: item.end for item in cut.ranges}}
        plan = self.plan(Kind.INGEST, cut.ranges, **cut.bounds)
        after = self._around.after(progress, offsets, consent_ends)
        cause = {**cut.cause, **({"lost": lost} if lost else {})}
        return self.commit(plan, after, Changes([], [], expired), cause)

    def _follow(self, progress: Progress) -> dict[tuple[str, int], int]:
        ends = follow(self.reader, self.register, self.settings.consent_topic, self.settings.link_topic)
        check_consent(progress, ends)
        known = {} if self._accept_loss else {partition_of(key): end for key, end in progress.consent.items()}
        kits = follow_kits(self.reader, self.register, kit_topics(self.partners.values()), known)
        self._snapshot = self.snapshots.refresh()
        self.register.keep_now_and_then()
        return {**ends, **kits}

    def _redrives(self) -> list[Entry]:
        """Holds whose link or grant has come since they were last looked at, each judged once."""
        seen = self.holds.looked_at(self.register.id)
        if seen == self.register.version:
            return []
        entries, through, limit = list[Entry](), self.holds.newest(), REDRIVE_HOLDS

        def has_news(partner: str, subject: str) -> bool:
            return self.register.news_of(partner, subject) > seen

        while True:
            self.consent_now()  # a withdrawal that came while other plans ran is heeded by this one
            version = self.register.version
            found = redrive.releasable(self.holds, self._snapshot.open(), has_news, limit, through)
            if not found:
                break
            lost = redrive.gone(found, self.begin_offsets())
            kept = [hold for hold in found if hold.id not in set(lost)]
            plan = self.plan(Kind.REDRIVE, list(redrive.ranges(kept)))
            changes = Changes([], [hold.id for hold in kept], lost)
            try:
                entries.append(self.commit(plan, Progress.of(self.ledger.head()), changes, {"holds": len(kept)}))
            except NoMemory:
                if len(kept) == 1:
                    raise
                limit = len(kept) // 2
        self.holds.look_at(self.register.id, version)
        return entries

    def plan(self, kind: Kind, ranges: list[PlannedRange], **more: Any) -> Plan:
        """A plan under today's circumstances; what it judges readings by is pinned where it reads any."""
        pins: dict[str, Any] = {"medians": self.pinned.medians(), "changes": self.pinned.changes()} if ranges else {}
        plan = Plan(
            n=self.ledger.next_n,
            epoch=self.ledger.epoch,
            kind=kind,
            planned_at_us=self.clock(),
            hold_us=self.settings.hold_us,
            kit_hold_us=self.settings.kit_hold_us,
            ranges=tuple(ranges),
            snapshot=self.vault.publish(self._snapshot.path),
            lake=str(self.settings.lake),
            vault=str(self.settings.vault),
            vault_work=str(self.settings.vault_work),
            kafka=self.settings.kafka,
            is_elsewhere=self.settings.runner.is_elsewhere,
            partners=self.partners,
            laboratories=self.laboratories,
            transit_limits_us={
                study.id: limit for study in self.studies.values() if (limit := study.transit_limit_us) is not None
            },
            **pins,
            **more,
        )
        self.on_step("planned")
        return plan

    def _after(self, entry: Entry) -> None:
        """An entry is applied: what the driver remembers of the tables and of plans follows."""
        self._touched.update(entry.tables if entry.kind != Kind.COMPACT else ())
        self.pinned.after(entry)
        self._size.learn(entry)
        self.on_entry(entry)

    # -- compaction

    def _compactions(self) -> list[Entry]:
        limits = DEFAULT._replace(hot_files=self.settings.limits.compact_files)
        live = {table: self.tables.live(table) for table in sorted(self._touched)}
        self._touched.clear()
        entries = []
        for job in choose(live, self.clock(), limits):
            family = FAMILIES[family_of(job.table)]
            change = compact(job, family, self.store, self.ledger.next_n, self.ledger.epoch, write_sorted)
            self.on_step("compacted")
            cause = {"files": len(job.files), "rows": job.rows}
            entries.append(self.note(Kind.COMPACT, cause, {job.table: change}))
        return entries
