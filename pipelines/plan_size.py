"""How much the next plan takes: caps in records, in bytes and in files, and what the last plans teach about them.

All of it is learned from the ledger's entries, so that a driver that is started anew knows what the one before it knew.
Bytes are estimated before a plan is made. Its files are only known while it runs: a run that would write too many stops,
the next plan is half as large, and plans grow back as long as the files of the last one allow it.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pipelines.entries import Entry, Kind
from pipelines.halt import PlanTooLarge
from pipelines.plan import PlannedRange, partition_of
from pipelines.settings import Limits

MB = 1024 * 1024
UNKNOWN_BYTES = 64 * 1024  # a record of a topic of which nothing was read yet: between a line and a whole file
LAST = 4  # plans; the dearest of them counts, so that many small messages do not make light of a few large ones
_SCATTER = 2  # so many times the estimate may be read before it is taken for wrong


class Cut(NamedTuple):
    """What one plan takes of the backlog: ranges, the bounds that its run keeps, and what the entry says of it."""

    ranges: list[PlannedRange]
    bounds: dict[str, int]
    cause: dict[str, Any]


class PlanSize:
    """How much a plan takes, after the entries that it has learned from."""

    def __init__(self, limits: Limits, past: Iterable[Entry] = ()) -> None:
        self._limits = limits
        self._records, self._bound_by = limits.plan_records, "plan_records"
        self._ceiling = (
            limits.plan_records
        )  # what was too much for the memory stays too much as long as this driver lives
        self._bytes: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LAST))
        self._spread: deque[float] = deque(maxlen=LAST)
        for entry in past:
            self.learn(entry)

    def cut(self, begin: Mapping[str, int], end: Mapping[str, int]) -> Cut:
        """What the next plan takes of the records from `begin` to `end`, offsets by partition.

        A partition that is not in `begin` starts at 0.
        """
        backlog = {key: size for key in sorted(end) if (size := end[key] - begin.get(key, 0)) > 0}
        costs = {key: self._cost(key) for key in backlog}
        chosen = in_turn(backlog, sum(begin.values()), self._records)
        taken = capped(chosen, costs, self._records, self._most_bytes)
        ranges = [PlannedRange.of(key, begin.get(key, 0), begin.get(key, 0) + count) for key, count in taken.items()]
        records = sum(taken.values())
        estimate = sum(count * costs[key] for key, count in taken.items())
        return Cut(ranges, self._bounds(records, estimate), self._cause(records, sum(backlog.values()) - records))

    def is_full(self, backlog: Mapping[str, int]) -> bool:
        """Whether as much waits as a plan takes; records by partition."""
        records = sum(backlog.values())
        return records >= self._records or sum(n * self._cost(key) for key, n in backlog.items()) >= self._most_bytes

    def learn(self, entry: Entry) -> None:
        """Take in what an appended plan read, landed and wrote; entries of other kinds teach nothing."""
        counts: Any = entry.counts
        if entry.kind != Kind.INGEST or not counts:
            return
        for topic, sums in counts.get("topics", {}).items():
            self._bytes[topic].append(sums["bytes"] / sums["records"])
        if decoded := counts["readings"]["decoded"]:
            crossed = sum(study["considered"] - sum(study["withheld"].values()) for study in counts["studies"].values())
            self._spread.append(crossed / decoded)
        self._grow(entry)

    def shrink(self, cut: PlanTooLarge) -> str:
        """From now on take half as much as the plan that was too large; what to tell the operator."""
        self._records = max(1, cut.records // 2)
        if cut.why == "files":
            self._bound_by = "plan_files"
            what = f"would write more than {self._limits.plan_files} files"
        else:
            self._bound_by = "plan_mb"
            self._ceiling = self._records if cut.why == "memory" else self._ceiling
            held = f"holds far more than {self._limits.plan_mb} MB"
            what = held if cut.why == "bytes" else "needs more memory than there is"
        return (
            f"the plan of {cut.records} records {what} (limits.{self._bound_by}): nothing of it is committed, "
            f"and the next one takes {self._records}"
        )

    def _grow(self, entry: Entry) -> None:
        """What was cut before grows back twofold, if the last plan's files say that twice as many records fit."""
        cause: Any = entry.cause
        most, by = cause.get("shrunk", (self._limits.plan_records, ""))
        files = sum(len(change.add) for change in entry.tables.values())
        if cause["records"] and files * 2 * most <= self._limits.plan_files * cause["records"]:
            most *= 2
        most = min(most, self._ceiling)
        shrunk = most < self._limits.plan_records
        self._records, self._bound_by = (most, by) if shrunk else (self._limits.plan_records, "plan_records")

    @property
    def _most_bytes(self) -> int:
        return self._limits.plan_mb * MB

    @property
    def _fan_out(self) -> float:
        """Rows that cross into studies per reading decoded, duplicates too, since they are carried as far as the others."""
        return max((1.0, *self._spread))

    def _cost(self, key: str) -> float:
        """Bytes that a record of the partition comes to in all studies."""
        learned: Iterable[float] = self._bytes.get(partition_of(key)[0], (UNKNOWN_BYTES,))
        return max((1.0, *learned)) * self._fan_out

    def _bounds(self, records: int, estimate: float) -> dict[str, int]:
        """A record cannot be divided: alone, it goes through whatever it is."""
        if records <= 1:
            return {}
        most_bytes = _SCATTER * max(self._most_bytes, estimate) / self._fan_out
        return {"most_files": self._limits.plan_files, "most_bytes": round(most_bytes)}

    def _cause(self, records: int, left: int) -> dict[str, Any]:
        cause: dict[str, Any] = {"records": records}
        if left:
            cause |= {"left": left, "cut_by": self._bound_by if records == self._records else "plan_mb"}
        if self._records < self._limits.plan_records:
            cause["shrunk"] = [self._records, self._bound_by]
        return cause


def in_turn(backlog: Mapping[str, int], turn: int, records: int) -> dict[str, int]:
    """As many partitions of the backlog as there are records to take, others at another turn: each comes to its own."""
    names = sorted(backlog)
    return {name: backlog[name] for name in (names[(turn + i) % len(names)] for i in range(min(records, len(names))))}


def capped(backlog: Mapping[str, int], costs: Mapping[str, float], records: int, most_bytes: float) -> dict[str, int]:
    """How many records of each partition a plan takes: shared evenly, at least one of each, however large it is.

    `backlog` in records and `costs` in bytes a record, by partition; `records` are at least as many as partitions.
    """

    def share_of_all(key: str) -> float:
        return max(backlog[key] / records, backlog[key] * costs[key] / most_bytes)

    taken: dict[str, int] = {}
    left, room = records, most_bytes
    for place, key in enumerate(sorted(backlog, key=share_of_all)):
        sharers = len(backlog) - place
        affordable = max(1, int(room / sharers / costs[key]))
        taken[key] = min(backlog[key], left // sharers, affordable)
        left -= taken[key]
        room -= taken[key] * costs[key]
    return taken
