"""The stages of a run, each around plain functions: what it opens, and what it notes for the accounts.

A stage is made with the plan, started once a bundle on its worker, given elements, and finished. It yields blocks for
the next stage and texts for the manifest.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.ranges import OffsetRange, RangeReader
from connectors.unread import without
from pipelines import delta
from pipelines.accounts import claims_note, note, rejection_note, total
from pipelines.apart import bring_the_same
from pipelines.blocks import Block, column, with_columns
from pipelines.check_counts import write_counts
from pipelines.claims import claim
from pipelines.consent.snapshot import Snapshot
from pipelines.decode import decode_block
from pipelines.duplicates import FileKeys, KeyedFile
from pipelines.fan_out import study_block
from pipelines.halt import Halt
from pipelines.keys import KeyRing
from pipelines.kits import with_kit_facts
from pipelines.landing import Landing
from pipelines.lent import Lent
from pipelines.normalise import normalise
from pipelines.places import store_of
from pipelines.plan import Plan, PlannedRange, partition_key
from pipelines.selection import select
from pipelines.store import Store
from pipelines.vault import worker_vault
from quality.gate import Gate
from quality.judged import Judged
from quality.message_checks import MessageChecks

BROKER_CLOCK = 1  # the record's timestamp is the broker's (LogAppendTime)


class Stage:
    """What the stages have in common: a plan, and nothing to do at the start and the end of a bundle."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def start(self) -> None:
        """Open what the bundle needs."""

    def finish(self) -> Iterator[str]:
        """Yield what is left at the end of a bundle."""
        yield from ()


class Ranges(Stage):
    """The plan becomes ranges of offsets as texts, each with its partition."""

    def each(self, _: bytes) -> Iterator[tuple[str, str]]:
        for planned in self.plan.ranges:
            yield "" if self.plan.in_one_piece else planned.key, planned.model_dump_json()


class Read(Stage):
    """Ranges of offsets become blocks of Kafka records."""

    def start(self) -> None:
        self._halt = Halt(self.plan, store_of(self.plan.lake))
        self._bytes = 0

    def each(self, of_partition: tuple[str, Iterable[str]]) -> Iterator[Block | str]:
        for text in of_partition[1]:
            if not self._halt.is_called:
                yield from self._range(PlannedRange.model_validate_json(text))

    def _range(self, planned: PlannedRange) -> Iterator[Block | str]:
        wanted = None if planned.selected is None else [chosen.offset for chosen in planned.selected]
        topic = planned.topic
        offsets = OffsetRange(topic, planned.partition, planned.start, planned.end)
        meta = {"topic": topic, "partition": planned.partition}
        yield note("read", topic=topic, records=0, bytes=0)  # a range of nothing but markers has its manifest, too
        with _reader(self.plan) as reader:
            for records in without(offsets, wanted, self.plan.poison_of(planned.key), reader.read):
                self._bytes += records.nbytes
                self._halt.bytes(self._bytes)
                if self._halt.is_called:
                    return
                yield note("read", topic=topic, records=records.num_rows, bytes=records.nbytes)
                yield Block(meta, {"records": records})


_READERS: Lent[RangeReader] = Lent()  # consumers by cluster: to connect anew would cost more than a small plan


def _reader(plan: Plan) -> AbstractContextManager[RangeReader]:
    return _READERS.lend(repr(plan.kafka), lambda: RangeReader(plan.kafka))


def close_readers() -> None:
    """Close this process's consumers; the next plan connects anew."""
    for reader in _READERS.clear():
        reader.close()


class Decode(Stage):
    """Records become messages; those that are none are rejected."""

    def each(self, block: Block) -> Iterator[Block | str]:
        topic, partition = block.meta["topic"], block.meta["partition"]
        records = block.parts["records"]
        zone = self.plan.partner_of(topic).assumed_zone
        poison = self.plan.poison_of(partition_key(topic, partition))
        decoded, pointers = decode_block(records, topic, partition, self._received(records, topic), zone, poison)
        messages = len(np.unique(column(decoded.messages, "offset"))) if decoded else 0
        readings = int(column(decoded.messages, "readings").sum()) if decoded else 0
        yield rejection_note("decode", pointers, messages=messages, decoded=readings)
        if decoded:
            yield decoded

    def _received(self, records: Any, topic: str) -> Any:
        """When each record came in, microseconds: by the broker, by our own mirror's header, or the plan's time."""
        planned = np.int64(self.plan.planned_at_us)
        if self.plan.partner_of(topic).received == "header":
            return records.column("received_header_us").fill_null(int(planned)).to_numpy(zero_copy_only=False)
        by_broker = column(records, "timestamp_type") == BROKER_CLOCK
        return np.where(by_broker, column(records, "timestamp_us"), planned)


class Normalise(Stage):
    """Messages become readings in the catalogue's terms; what breaks a rule is rejected."""

    def each(self, block: Block) -> Iterator[Block | str]:
        blocks, pointers = normalise(block, self.plan.partner_of(block.meta["topic"]), self.plan.laboratories)
        selected, skipped = select(blocks, pointers, self.plan)
        yield rejection_note("normalise", [] if skipped is not None else pointers, skipped=skipped or 0)
        yield from selected


class Consent(Stage):
    """Readings become what each study may have of them."""

    def start(self) -> None:
        vault = worker_vault(self.plan.vault, self.plan.vault_work)
        self._snapshot = Snapshot.open(vault.snapshot(self.plan.snapshot))
        self._keys = KeyRing(vault)

    def each(self, block: Block) -> Iterator[Block | str]:
        partner = self.plan.partner_of(block.meta["topic"]).name
        claims = claim(block, partner, self._snapshot, self.plan.hold_us, self.plan.kit_hold_us)
        yield claims_note(claims)
        block = with_kit_facts(block, self._snapshot)
        for grant in claims.grants:
            yield study_block(block, partner, claims, grant, self._snapshot, self._keys)


class Check(Stage):
    """A study's readings get the flags of the checks that they fail."""

    def start(self) -> None:
        self._judges: dict[str, tuple[Gate, MessageChecks]] = {}

    def each(self, block: Block) -> Iterator[Block | str]:
        study, partner, family = (block.meta[name] for name in ("study", "partner", "family"))
        gate, message_checks = self._judges_of(study)
        judged = Judged.of(block.messages, block.readings, family, self.plan.partners[partner].firmware)
        answers = message_checks.judge(judged)
        columns: list[tuple[str, Any]] = [("flags", gate.judge(judged) | answers.flags)]
        if answers.compared.any():  # null where not: then the check does not apply
            columns.append(("compared", pa.array(answers.compared.astype(np.int8), mask=~answers.compared)))
        readings = with_columns(block.readings, columns)
        yield Block(block.meta, {**block.parts, "readings": readings})

    def _judges_of(self, study: str) -> tuple[Gate, MessageChecks]:
        found = self._judges.get(study)
        if found is None:
            of = self.plan.checks_of(study)
            found = self._judges[study] = (Gate(of), MessageChecks(self.plan.medians.get(study, {}), of))
        return found


class Land(Stage):
    """A study's readings become data files of its tables."""

    def start(self) -> None:
        store = store_of(self.plan.lake)
        self._halt = Halt(self.plan, store)
        self._keys = _FILE_KEYS.take(self.plan.lake, lambda: FileKeys(store))
        self._keys.store = store  # files never change, but who reads them may
        self._files = _LiveFiles(store, self.plan, self._keys)
        self._landing = Landing(
            store,
            self.plan.n,
            self.plan.epoch,
            self._files,
            self._keys,
            self._files.replaced_of,
            lru_cache(self.plan.checks_of),
        )

    def each(self, block: Block) -> Iterator[str]:
        yield from self._landing.add(block)
        self._halt.files(self._landing.files)

    def finish(self) -> Iterator[str]:
        if not self._halt.is_called:
            yield from self._landing.finish()
        _FILE_KEYS.give_back(self.plan.lake, self._keys)
        del self._landing  # and the keys of all that landed: the runner may keep the stage itself for a while


_FILE_KEYS: Lent[FileKeys] = Lent()  # caches of keys by lake: files never change, so they outlive the plan


class _LiveFiles:
    """The live files of tables as the plan finds them, a replay's replacements in place of what they replace."""

    def __init__(self, store: Store, plan: Plan, keys: FileKeys) -> None:
        self._store, self._replaced, self._keys = store, plan.replaced, keys
        self._tables: dict[str, list[Any]] = {}

    def __call__(self, table: str, month: str) -> list[KeyedFile]:
        """Files of one month, or of all months where `month` is empty."""
        files = self._tables.get(table)
        if files is None:
            files = self._tables[table] = self._open(table)
            self._keys.keep_only(table, {file.path for file in files})
        return [
            KeyedFile(file.path, file.start_min_us, file.start_max_us) for file in files if month in ("", file.month)
        ]

    def replaced_of(self, table: str) -> tuple[str, ...]:
        """The files that a replay takes from the table."""
        return self._replaced[table].remove if table in self._replaced else ()

    def _open(self, table: str) -> list[Any]:
        handle = delta.current_table(self._store, table)
        files = [live.file for live in delta.live_files(handle, table)] if handle else []
        replaced = self._replaced.get(table)
        if replaced is None:
            return files
        return [file for file in files if file.path not in replaced.remove] + list(replaced.add)


class Manifest(Stage):
    """All that the stages noted becomes the manifest."""

    def each(self, notes: tuple[str, Iterable[str]]) -> Iterator[str]:
        write_manifest(self.plan, notes[1])
        yield from ()


def write_manifest(plan: Plan, notes: Iterable[str]) -> str:
    """The accounts of a run under the plan's name; what concerns single people goes to the vault beside it.

    There are none of a run that was stopped, and none of one whose workers have together written too many files. A runner
    may begin a run anew while a worker of the former attempt still writes: each writes under names of its own, and the
    manifest is one object, so that whichever was written last names only what belongs to it.
    """
    accounts = total(notes)
    store, vault = store_of(plan.lake), worker_vault(plan.vault, plan.vault_work).store
    halt = Halt(plan, store)
    if not halt.is_called and bring_the_same(accounts.bundles, store):
        halt.apart()
        for file in accounts.files:
            store.delete(file["path"])
    if not halt.is_called:
        written = write_counts(accounts.checks, store, plan.n, plan.epoch)
        accounts.files += [file.model_dump(mode="json") for file in written]
        halt.files(len(accounts.files))
    if not halt.is_called:
        accounts.private = plan.new_vault_key()
        vault.put(accounts.private, json.dumps({"pointers": accounts.pointers, "holds": accounts.holds}).encode())
        store.put(plan.manifest_key, accounts.to_json().encode())
    return plan.manifest_key
