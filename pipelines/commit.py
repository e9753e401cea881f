"""The commit, the same for every kind of entry: run the plan, hold its sums to the law, append, apply, tell, settle.

Nothing of a plan is visible before its entry is appended, and whatever is left to do once it is can be done again by the
next driver: the ledger and the vault say how far it has come.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.accounts import Accounts
from pipelines.attempts import attempt
from pipelines.entries import Entry, Kind, TableChange
from pipelines.files import DataFile, rows_in_footer
from pipelines.holds import Changes, Holds
from pipelines.law import LawBroken
from pipelines.ledger import Fenced, OnStep
from pipelines.memory import telling_no_memory
from pipelines.plan import Plan
from pipelines.poison import run_carefully
from pipelines.progress import Progress, json_of, private_of
from pipelines.requests import ask
from pipelines.run import Result, read_manifest, run
from pipelines.tables import Tables
from pipelines.tell import Teller
from pipelines.vault import Vault


class Commits:
    """The one way to an entry. `after` hears of each that is applied, whatever becomes of settling it.

    `teller` is there once the driver has reached Kafka.
    """

    teller: Teller

    def __init__(
        self,
        tables: Tables,
        vault: Vault,
        holds: Holds,
        options: PipelineOptions,
        *,
        clock: Callable[[], int],
        on_step: OnStep,
        say: Callable[[str], None],
        after: Callable[[Entry], None],
    ) -> None:
        self._tables, self._ledger, self._store = tables, tables.ledger, tables.store
        self._vault, self._holds, self._options = vault, holds, options
        self._clock, self._on_step, self._say, self._after = clock, on_step, say, after

    def commit(self, plan: Plan, progress: Progress, changes: Changes, cause: Mapping[str, Any]) -> Entry:
        """Run the plan, hold its sums to the law, append it, apply it."""
        with telling_no_memory(plan):
            result = self._run(plan)
        self._on_step("ran")
        result.accounts.count_footers(lambda key: rows_in_footer(self._store, key))
        result.accounts.check()
        changes = Changes(result.holds, changes.released, changes.expired)
        self._write_private(plan, result, changes)
        self._ask_for_recalls(result.accounts)
        self._on_step("manifest")
        entry = self._ledger.draft(
            plan.kind,
            self._clock(),
            cause={"plan": plan.id, **cause},
            tables=table_changes(result.files, plan),
            progress=json_of(progress),
            counts=result.accounts.counts(),
            holds=self._hold_sums(plan, changes, result.accounts),
        )
        self.append(entry)
        self._store.delete(plan.manifest_key)
        return entry

    def _run(self, plan: Plan) -> Result:
        """Run the plan; with care, where others have died over its records."""
        if not plan.ranges:
            return run(plan, self._store)
        with attempt(plan, self._store) as careful:
            if not careful:
                return run(plan, self._store, self._options)
            done = run_carefully(plan, self._store, self._say)
            result = read_manifest(done, self._store)
            self._store.delete(done.manifest_key)
            return result

    def _write_private(self, plan: Plan, result: Result, changes: Changes) -> None:
        content = {
            "pointers": result.pointers,
            "holds": changes.opened,
            "released": changes.released,
            "expired": changes.expired,
        }
        self._vault.store.put(plan.vault_key, json.dumps(content).encode())

    def _ask_for_recalls(self, accounts: Accounts) -> None:
        """Leave a request for each study in which rows are taken back, before they are: it does no harm if they are not."""
        for study in accounts.takes_back:
            ask(self._ledger, Kind.RECALL, {"study": study}, self._clock())

    def _hold_sums(self, plan: Plan, changes: Changes, accounts: Accounts) -> dict[str, Any]:
        """What the entry does to the holds, and the law over all of them: opened = released + expired + open."""
        before = self._holds.totals()
        opened = sum(accounts.held.values())
        released, expired = self._holds.readings_of(changes.released), self._holds.readings_of(changes.expired)
        still = sum(self._holds.open_readings().values()) + opened - released - expired
        if before.opened + opened != before.released + released + before.expired + expired + still:
            raise LawBroken(
                "the readings held, released, expired and still open do not add up: the run is not committed"
            )
        return {"file": plan.vault_key, "opened": opened, "released": released, "expired": expired, "open": still}

    def note(
        self,
        kind: Kind,
        cause: Mapping[str, Any],
        tables: Mapping[str, TableChange],
        progress: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Append and apply an entry that no reading has come or gone by: its files are written already."""
        entry = self._ledger.draft(kind, self._clock(), cause=cause, tables=tables, progress=progress)
        self.append(entry)
        return entry

    def append(self, entry: Entry) -> None:
        """Append the entry, apply it, tell of it, and settle what it means for partners and holds."""
        self._tables.append_and_apply(entry, self._on_step)
        self._after(entry)
        self.settle()

    def settle(self) -> None:
        """For entries that are applied: tell partners what was rejected, then let the vault take in the holds.

        Fenced where another driver has taken over: its entries are its own to settle.
        """
        self.refuse_if_overtaken()
        for entry in self._ledger.entries(self._holds.totals().through + 1):
            changes = Changes([], [], [])
            if entry.holds is not None:
                private = private_of(entry, self._holds, self._vault.store)
                if private is None:
                    continue  # a driver that took over, or was overtaken, has settled it meanwhile
                self.teller.rejected(private["pointers"], entry.n)
                self._on_step("told")
                changes = Changes(private["holds"], private["released"], private["expired"])
            self._holds.apply(entry.n, changes)
            if entry.holds is not None:
                self._on_step("held")
                self._holds.keep()
                self._on_step("kept")
                self._vault.store.delete(str(entry.holds["file"]))

    def refuse_if_overtaken(self) -> None:
        """Fenced where another driver has become the one driver."""
        head = self._ledger.head()
        if head is None or head.epoch != self._ledger.epoch:
            raise Fenced("another driver has taken over: this one stops") from None


def table_changes(files: list[DataFile], plan: Plan) -> dict[str, TableChange]:
    """What each table gains by the run's files, and what a replay takes from it."""
    changes = {}
    for table in sorted({file.table for file in files} | set(plan.replaced)):
        own = [file for file in files if file.table == table]
        replaced = plan.replaced.get(table)
        add = (*own, *(replaced.add if replaced else ()))
        changes[table] = TableChange(add=add, remove=replaced.remove if replaced else ())
    return changes
