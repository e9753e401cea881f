"""Replay: records are judged again with today's catalogue, and what they gave replaces what they had given.

The rows of the replayed coordinates go and come in one ledger entry. They are found by their origins, which only the
studies' keys can open; files that hold such rows are written again without them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.driver import Driver
from pipelines.entries import Entry, Kind
from pipelines.files import DataFile, family_of, table_key
from pipelines.holds import Changes
from pipelines.keys import StudyKey, topic_hash
from pipelines.landing import publish
from pipelines.ledger import LakeError
from pipelines.plan import PlannedRange, Replacement, partition_key, partition_of
from pipelines.progress import Progress
from schemas.families import FAMILIES, QUARANTINE, READING_FAMILIES

_TEXT = re.compile(r"^([a-z0-9.-]+?)(?:/(\d+)(?::(\d+)-(\d+))?)?$")


@dataclass(frozen=True)
class Wanted:
    """Records to replay: of a topic, of one partition of it, or of some offsets of that (both ends in it)."""

    topic: str
    partition: int | None = None
    first: int | None = None
    last: int | None = None


def parse_ranges(texts: Iterable[str]) -> list[Wanted]:
    """TOPIC, TOPIC/PARTITION or TOPIC/PARTITION:FIRST-LAST; LakeError where a text is none of these."""
    found = []
    for text in texts:
        match = _TEXT.match(text)
        if match is None:
            raise LakeError("--replay takes TOPIC, TOPIC/PARTITION or TOPIC/PARTITION:FIRST-LAST")
        topic, *numbers = match.groups()
        found.append(Wanted(topic, *(None if n is None else int(n) for n in numbers)))
    return found


def dry(driver: Driver, wanted: list[Wanted]) -> dict[str, Any]:
    """How many records would be judged again, by partition; nothing changes."""
    driver.look()
    return {item.key: item.end - item.start for item in _ranges(driver, wanted)}


def replay_ranges(driver: Driver, wanted: list[Wanted]) -> list[Entry]:
    """Judge the records again, a plan at a time. LakeError for records that have not been read yet or are gone."""
    limit = driver.settings.limits.plan_records
    with driver.at_work():
        driver.consent_now()
        return [_replay(driver, part) for item in _ranges(driver, wanted) for part in _parts(item, limit)]


def _ranges(driver: Driver, wanted: list[Wanted]) -> list[PlannedRange]:
    read = Progress.of(driver.ledger.head()).offsets
    begin = {partition_key(*at): first for at, first in driver.begin_offsets().items()}
    found = []
    for item in wanted:
        keys = [key for key in sorted(read) if _matches(item, key)]
        if not keys:
            raise LakeError(f"nothing of {item.topic} has been read yet: there is nothing to replay")
        for key in keys:
            start = begin[key] if item.first is None else item.first
            end = read[key] if item.last is None else item.last + 1
            if start < begin[key] or end > read[key]:
                raise LakeError(f"{key}: only records {begin[key]} to {read[key] - 1} can be replayed")
            if start < end:
                found.append(PlannedRange.of(key, start, end))
    return found


def _matches(item: Wanted, key: str) -> bool:
    topic, partition = partition_of(key)
    return topic == item.topic and item.partition in (None, partition)


def _parts(item: PlannedRange, limit: int) -> Iterator[PlannedRange]:
    for start in range(item.start, item.end, limit):
        yield item.model_copy(update={"start": start, "end": min(start + limit, item.end)})


def _replay(driver: Driver, item: PlannedRange) -> Entry:
    held = driver.holds.at(item.topic, item.partition, item.start, item.end)
    replaced = _replacements(driver, item)
    plan = driver.plan(Kind.REPLAY, [item], replaced=replaced)
    changes = Changes([], [hold.id for hold in held], [])
    cause = {"records": item.end - item.start, "partition": item.key}
    return driver.commit(plan, Progress.of(driver.ledger.head()), changes, cause)


def _replacements(driver: Driver, item: PlannedRange) -> dict[str, Replacement]:
    """For each table with rows of these records: the files that go, and the files with what stays."""
    found = {}
    for study in driver.studies:
        key = driver.keys.key(study)
        for family in (*READING_FAMILIES, QUARANTINE.name):
            table = table_key(study, family)
            replacement = _replacement(driver, table, key, item)
            if replacement.remove:
                found[table] = replacement
    return found


def _replacement(driver: Driver, table: str, key: StudyKey, item: PlannedRange) -> Replacement:
    remove, add = [], []
    family = FAMILIES[family_of(table)]
    for file in driver.tables.live_files(table):
        with driver.store.open_file(file.path) as source:
            parquet = pq.ParquetFile(source)  # texts as they are: a dictionary would bring along what goes
            mine = _made_by(parquet.read(columns=["origin"]).column("origin").combine_chunks(), key, item)
            if not mine.any():
                continue
            remove.append(file.path)
            rows = parquet.read(columns=family.schema.names).filter(pa.array(~mine))
        if rows.num_rows:
            add.append(_rewritten(driver, file, rows))
    return Replacement(remove=tuple(remove), add=tuple(add))


def _made_by(origins: pa.Array, key: StudyKey, item: PlannedRange) -> np.ndarray[Any, np.dtype[np.bool_]]:
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


def _rewritten(driver: Driver, file: DataFile, rows: pa.Table) -> DataFile:
    return publish(driver.store, rows, file.table, file.month, driver.ledger.next_n, driver.ledger.epoch)
