"""Figures of a lake at work, from what Kafka, the ledger, the vault and the disks say: `status` and `/metrics` share them."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.entries import Entry, Kind
from pipelines.ledger import Ledger
from pipelines.outcomes import SETTLED
from pipelines.plan import partition_key
from pipelines.progress import Progress
from quality.coarse import count_told
from quality.desk import LakeDesk
from schemas.reasons import Outcome
from schemas.registry import Study

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NEAR_US = DAY_US
"""A hold that expires within this time is near its end."""
RECENT = 500
"""Most entries from which the rate follows at which a lake grows."""

_WAITING = """
WITH held AS (
  SELECT pseudonym, count(*) AS n, count(*) FILTER (coalesce(recalled, entry) <= ?) AS late FROM quarantine GROUP BY ALL
)
SELECT CAST(coalesce(sum(n), 0) AS BIGINT) AS n, count(*) AS people, coalesce(max(n), 0) AS most_of_one,
  CAST(coalesce(sum(late), 0) AS BIGINT) AS late
FROM held"""

Partition = tuple[str, int]


def unread(progress: Progress, begin: Mapping[Partition, int], end: Mapping[Partition, int]) -> dict[str, int]:
    """How many records of each data partition wait to be read, of those that Kafka still keeps."""
    read = {at: progress.offsets.get(partition_key(*at), 0) for at in end}
    return {partition_key(*at): max(0, last - max(read[at], begin.get(at, 0))) for at, last in end.items()}


def not_taken_in(taken: Mapping[Partition, int], end: Mapping[Partition, int]) -> dict[Partition, int]:
    """How many events and links, or events of kits, the register has not taken in yet."""
    return {at: max(0, last - taken.get(at, 0)) for at, last in end.items()}


def by_topic(partitions: Mapping[str, int]) -> dict[str, int]:
    """Sums over the partitions of each topic."""
    found = Counter[str]()
    for key, n in partitions.items():
        found[key.rpartition("/")[0]] += n
    return dict(found)


# -- the ledger


def recent_entries(ledger: Ledger, now_us: int) -> list[Entry]:
    """The entries of the last day, the newest of them at most, and the one before; the newest first."""
    found: list[Entry] = []
    head = ledger.head()
    for n in range(head.n if head else 0, 0, -1):
        found.append(ledger.read(n))
        if found[-1].at_us < now_us - DAY_US or len(found) >= RECENT:
            break
    return found


def outcomes_of(entry: Entry) -> dict[str, int] | None:
    """What came of an entry's readings: as decoded, and summed over studies; None where it has read none."""
    readings: Any = entry.counts.get("readings")
    if readings is None:
        return None
    studies: Any = entry.counts.get("studies", {})
    return dict(readings) | dict(sum((Counter(study_outcomes(sums)) for sums in studies.values()), Counter()))


def study_outcomes(sums: Mapping[str, Any]) -> dict[str, int]:
    """What came of the readings that one study considered."""
    return {str(Outcome.WITHHELD): sum(sums["withheld"].values())} | {str(one): sums[one] for one in SETTLED}


def bytes_per_day(recent: list[Entry]) -> float | None:
    """How much has been added to the lake a day, by entries with the newest first; None where they span less than an hour.

    Compaction puts files in place of others; whatever else goes is not taken off, so the lake grows by no more.
    """
    if not recent or (took_us := recent[0].at_us - recent[-1].at_us) < HOUR_US:
        return None
    return sum(map(_bytes_added, recent[:-1])) * DAY_US / took_us


def _bytes_added(entry: Entry) -> int:
    if entry.kind == Kind.COMPACT:
        return 0
    return sum(file.bytes for change in entry.tables.values() for file in change.add)


def entry_before(ledger: Ledger, at_us: int) -> int:
    """The newest entry that was appended at that moment or before it; 0 where none was."""
    head = ledger.head()
    low, high = 0, head.n if head else 0
    while low < high:
        middle = (low + high + 1) // 2
        if ledger.read(middle).at_us <= at_us:
            low = middle
        else:
            high = middle - 1
    return low


# -- quarantine


class Waiting(NamedTuple):
    """Rows that wait for a steward, rounded so that what one person sends does not show, and whether one has for too long.

    `rows` is None where they are of too few people, or nothing is left of it.
    """

    rows: int | None
    is_late: bool


def waiting(desk: LakeDesk, ledger: Ledger, study: Study, days: float, now_us: int) -> Waiting:
    """A study's rows in quarantine; late are those that came `days` ago or before."""
    through = entry_before(ledger, now_us - round(days * DAY_US))
    (row,) = desk.query(study.id, _WAITING, [through]).to_pylist()
    least = study.smallest_cell
    is_told = not row["n"] or row["people"] >= least
    return Waiting(count_told(row["n"], row["most_of_one"], least) if is_told else None, bool(row["late"]))


# -- disks


class Disk(NamedTuple):
    """Of the file system that a folder is on, bytes."""

    free: int
    size: int


def disks(places: Mapping[str, object]) -> Iterator[tuple[str, Disk]]:
    """The disks of those places that are folders; one that is not there yet will be on its parent's."""
    for name, place in places.items():
        if isinstance(place, Path):
            there = next(folder for folder in (place, *place.parents) if folder.exists())
            usage = shutil.disk_usage(there)
            yield name, Disk(usage.free, usage.total)


def rounded(numbers: Mapping[str, int], step: int) -> dict[str, int]:
    """In whole steps."""
    return {name: n // step * step for name, n in numbers.items()}
