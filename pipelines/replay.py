"""Replay: records are judged again with today's catalogue, and what they gave replaces what they had given.

The rows of the replayed coordinates go and come in one ledger entry. They are found by their origins, which only the
studies' keys can open; files that hold such rows are written again without them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from pipelines.check_counts import TakenOut
from pipelines.driver import Driver
from pipelines.entries import Entry, Kind, RequestRefused
from pipelines.files import DataFile, family_of, table_key
from pipelines.holds import Changes
from pipelines.keys import StudyKey, topic_hash
from pipelines.landing import publish
from pipelines.plan import PlannedRange, Replacement, partition_key, partition_of
from pipelines.progress import Progress
from pipelines.requests import Change
from pipelines.wanted import Wanted, selection, wanted_of
from schemas.families import CHECK_COUNT, FAMILIES, QUARANTINE, READING_FAMILIES, Family

Flags = npt.NDArray[np.bool_]


def dry(driver: Driver, wanted: list[Wanted]) -> dict[str, Any]:
    """How many records would be judged again, by partition; nothing changes."""
    driver.look()
    return {item.key: item.end - item.start for item in _ranges(driver, wanted)}


def replay_ranges(driver: Driver, wanted: list[Wanted]) -> list[Entry]:
    """Judge the records again, a plan at a time. RequestRefused for records that have not been read yet or are gone."""
    entries: list[Entry] = []
    left: Mapping[str, JsonValue] | None = selection(wanted)
    with driver.at_work():
        while left is not None:
            change = replay(driver, left)
            progress = Progress.of(driver.ledger.head())
            entries.append(driver.commit(change.plan, progress, change.holds, change.cause))
            left = change.rest
    return entries


def replay(driver: Driver, selected: Mapping[str, JsonValue]) -> Change:
    """The first plan of the selection: its records, what they gave before, and the consent of now."""
    driver.consent_now()
    first, *others = _ranges(driver, wanted_of(selected))
    end = min(first.end, first.start + driver.settings.limits.plan_records)
    item, rest = first.model_copy(update={"end": end}), first.model_copy(update={"start": end})
    left = [*((rest,) if rest.start < rest.end else ()), *others]
    held = driver.holds.at(item.topic, item.partition, item.start, item.end)
    return Change(
        plan=driver.plan(Kind.REPLAY, [item], replaced=_replacements(driver, item)),
        holds=Changes([], [hold.id for hold in held], []),
        cause={"records": item.end - item.start, "partition": item.key},
        rest=selection(Wanted(r.topic, r.partition, r.start, r.end - 1) for r in left) if left else None,
    )


def _ranges(driver: Driver, wanted: list[Wanted]) -> list[PlannedRange]:
    """What is named, as far as it was read: at least one record. RequestRefused where that cannot be."""
    read = Progress.of(driver.ledger.head()).offsets
    begin = {partition_key(*at): first for at, first in driver.begin_offsets().items()}
    found = []
    for item in wanted:
        keys = [key for key in sorted(read.keys() & begin.keys()) if _matches(item, key)]
        if not keys:
            raise RequestRefused(f"nothing of {item.topic} has been read yet: there is nothing to replay")
        for key in keys:
            start = begin[key] if item.first is None else item.first
            end = read[key] if item.last is None else item.last + 1
            if start < begin[key] or end > read[key]:
                raise RequestRefused(f"{key}: only records {begin[key]} to {read[key] - 1} can be replayed")
            if start < end:
                found.append(PlannedRange.of(key, start, end))
    if not found:
        raise RequestRefused("Kafka keeps none of the records that are named: there is nothing to replay")
    return found


def _matches(item: Wanted, key: str) -> bool:
    topic, partition = partition_of(key)
    return topic == item.topic and item.partition in (None, partition)


def _replacements(driver: Driver, item: PlannedRange) -> dict[str, Replacement]:
    """For each table with rows of these records: the files that go, and the files with what stays."""
    found = {}
    for study in driver.studies:
        key, taken = driver.keys.key(study), TakenOut()
        for family in (*READING_FAMILIES, QUARANTINE.name):
            table = table_key(study, family)
            found[table] = _replacement(driver, table, key, item, taken)
        table = table_key(study, CHECK_COUNT.name)
        found[table] = lessened(driver, table, taken)
    return {table: replacement for table, replacement in found.items() if replacement.remove}


def _replacement(driver: Driver, table: str, key: StudyKey, item: PlannedRange, taken: TakenOut) -> Replacement:
    remove, add = [], []
    family = FAMILIES[family_of(table)]
    for file in driver.tables.live_files(table):
        with driver.store.open_file(file.path) as source:
            parquet = pq.ParquetFile(source)  # texts as they are: a dictionary would bring along what goes
            mine = _made_by(parquet.read(columns=["origin"]).column("origin").combine_chunks(), key, item)
            if not mine.any():
                continue
            remove.append(file.path)
            _note(parquet, mine, family, taken)
            rows = parquet.read(columns=family.schema.names).filter(pa.array(~mine))
        if rows.num_rows:
            add.append(rewritten(driver, file, rows))
    return Replacement(remove=tuple(remove), add=tuple(add))


def _note(parquet: pq.ParquetFile, mine: Flags, family: Family, taken: TakenOut) -> None:
    """Let the counts of the checks know of the rows that go."""
    of = ("family",) if family is QUARANTINE else ()
    specimens = [name for name in TakenOut.OF_SPECIMENS if name in family.schema.names]
    rows = parquet.read(columns=[*TakenOut.COLUMNS, *specimens, *of]).filter(pa.array(mine))
    taken.add(rows, rows.column("family") if of else pa.repeat(family.name, len(rows)))


def lessened(driver: Driver, table: str, taken: TakenOut) -> Replacement:
    """The files of counts that are about rows that go, and the files with what is left of these counts."""
    remove, add = [], []
    months = taken.months()
    for file in driver.tables.live_files(table):
        if file.month not in months:
            continue
        with driver.store.open_file(file.path) as source:
            counted = pq.ParquetFile(source).read(columns=CHECK_COUNT.schema.names)
        rows = taken.lessened(counted)
        if rows is None:
            continue
        remove.append(file.path)
        if rows.num_rows:
            add.append(rewritten(driver, file, rows))
    return Replacement(remove=tuple(remove), add=tuple(add))


def _made_by(origins: pa.Array, key: StudyKey, item: PlannedRange) -> Flags:
    """Which rows came from the records of the range."""
    coded = origins.dictionary_encode()
    wanted = topic_hash(item.topic)
    inside = np.array(
        [_is_in(key.coordinates(token), wanted, item) for token in coded.dictionary.to_pylist()], dtype=bool
    )
    return np.asarray(inside[coded.indices.to_numpy()])


def _is_in(coordinates: tuple[bytes, int, int], topic: bytes, item: PlannedRange) -> bool:
    found, partition, offset = coordinates
    return found == topic and partition == item.partition and item.start <= offset < item.end


def rewritten(driver: Driver, file: DataFile, rows: pa.Table) -> DataFile:
    """A file with what stays of another one's rows, for the driver's next entry."""
    return publish(driver.store, rows, file.table, file.month, driver.ledger.next_n, driver.ledger.epoch)
