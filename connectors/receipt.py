"""The receipt of a file: what became of each of its records, and what it holds beside them. No value, no name."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from connectors.formats import Found, NotRead, Partial, Problem

MOST_LISTED = 100
"""Problems that are listed with their place; all are counted."""
MOST_TYPES = 2000
OTHER_TYPES = "other types"
"""What further types are counted under: no vendor has so many."""


class Receipt:
    """`records` = `published` + the sum of `problems`; `by_type` counts what was published, or would be.

    `not_read` says what was not read and where: first what the file holds beside its records, then the first problems.
    `partial` is where reading ended too early and why, None where the file was read to its end.
    """

    def __init__(self, format_name: str) -> None:
        self.format = format_name
        self.by_type: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        self.beside: list[NotRead] = []
        self.listed: list[Problem] = []
        self.partial: Partial | None = None

    @property
    def published(self) -> int:
        return self.by_type.total()

    @property
    def records(self) -> int:
        return self.published + self.problems.total()

    def batches(self, found: Iterable[Found]) -> Iterator[pa.RecordBatch]:
        """The batches alone; whatever else a format finds is noted. Who publishes them says so by `add`."""
        for one in found:
            if isinstance(one, pa.RecordBatch):
                yield one
            else:
                self.note(one)

    def note(self, one: Problem | NotRead | Partial) -> None:
        """Take in what is no batch."""
        if isinstance(one, Problem):
            self.problems[str(one.reason)] += 1
            if len(self.listed) < MOST_LISTED:
                self.listed.append(one)
        elif isinstance(one, NotRead):
            self.beside.append(one)
        else:
            self.partial = one

    def add(self, published: pa.RecordBatch) -> None:
        """Count records that were published, or would be."""
        counts = published.column("type").value_counts()
        for kind, count in zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True):
            known = kind in self.by_type or len(self.by_type) < MOST_TYPES
            self.by_type[kind if known else OTHER_TYPES] += count

    def as_json(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "records": self.records,
            "published": self.published,
            "problems": dict(sorted(self.problems.items())),
            "not_read": self._not_read(),
            "partial": self.partial is not None,
            "by_type": dict(sorted(self.by_type.items())),
        }

    def _not_read(self) -> list[dict[str, str]]:
        listed = [one._asdict() for one in self.beside]
        listed += [{"what": one.type or "record", "place": one.place, "reason": str(one.reason)} for one in self.listed]
        if self.partial:
            listed.append({"what": "the rest of the file", "place": self.partial.place, "reason": self.partial.why})
        return listed

    def lines(self, done: str) -> Iterator[str]:
        """The receipt in words; `done` says what became of the records, such as "published"."""
        yield f"{self.records:,} records: {self.published:,} {done}, {self.problems.total():,} not"
        for kind, count in sorted(self.by_type.items(), key=lambda item: (-item[1], item[0])):
            yield f"  {count:>11,} {kind}"
        for reason, count in sorted(self.problems.items()):
            yield f"  not published: {count:,} {reason}{self._where(reason)}"
        for one in self.beside:
            yield f"  not read: {one.what} ({one.place})"
        if self.partial:
            yield f"  read as far as {self.partial.place}: {self.partial.why}"

    def _where(self, reason: str) -> str:
        places = [one.place for one in self.listed if str(one.reason) == reason]
        more = self.problems[reason] - len(places)
        return f", at {', '.join(places)}{f' and {more:,} more' if more else ''}" if places else ""
