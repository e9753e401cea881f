"""What a plan pins from a study's own history: its population medians, and what its stewards changed in the checks.

Both are read from the tables' live files once, and again when an entry has changed them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.entries import Entry
from pipelines.files import DataFile, study_and_family, table_key
from pipelines.store import Store
from pipelines.zones import DAY_US
from quality.checks import Check
from quality.in_force import Approved, approved, checks_of
from schemas.families import DAY_SUMMARY, DECISION
from schemas.registry import Study

DAYS = 28
_SUMMARY = ["level", "metric", "start", "rows", "people", "median"]


class Pinned:
    """For some studies; `live_files` gives the files of a table."""

    def __init__(self, store: Store, live_files: Callable[[str], list[DataFile]], studies: Iterable[Study]) -> None:
        self._store, self._live_files, self._studies = store, live_files, list(studies)
        self._known: dict[tuple[str, str], Any] = {}

    def medians(self) -> dict[str, dict[str, float]]:
        """By study and metric, in the metric's unit: of the newest 28 days that were judged, and of enough people."""
        return {
            study.id: found for study in self._studies if (found := self._of(study, DAY_SUMMARY.name, self._medians))
        }

    def changes(self) -> dict[str, tuple[Approved, ...]]:
        """By study: the changes of the catalogue of checks that two people agreed on, in their order."""
        return {study.id: found for study in self._studies if (found := self._of(study, DECISION.name, self._approved))}

    def checks_of(self, study: Study) -> dict[str, Check]:
        """The catalogue of checks that is in force in a study."""
        changes = self._of(study, DECISION.name, self._approved)
        return checks_of(changes or (), transit_limit_us=study.transit_limit_us)

    def after(self, entry: Entry) -> None:
        """Forget what the entry has changed."""
        for table in entry.tables:
            self._known.pop(study_and_family(table), None)

    def _of(self, study: Study, family: str, read: Callable[[Study, list[DataFile]], Any]) -> Any:
        if (study.id, family) not in self._known:
            files = self._live_files(table_key(study.id, family))
            self._known[study.id, family] = read(study, files) if files else None
        return self._known[study.id, family]

    def _medians(self, study: Study, files: list[DataFile]) -> dict[str, float]:
        since_us = (max(file.start_max_us or 0 for file in files) // DAY_US - DAYS + 1) * DAY_US
        late = [file for file in files if (file.start_max_us or 0) >= since_us]
        rows = pa.concat_tables(self._read(late, _SUMMARY))
        late_rows = pc.greater_equal(rows.column("start").cast(pa.int64()), since_us)
        return medians_of(rows.filter(late_rows), study.smallest_cell)

    def _approved(self, study: Study, files: list[DataFile]) -> tuple[Approved, ...]:
        return approved(row for rows in self._read(files, DECISION.schema.names) for row in rows.to_pylist())

    def _read(self, files: Iterable[DataFile], columns: list[str]) -> Iterator[pa.Table]:
        for file in files:
            with self._store.open_file(file.path) as source:
                yield pq.ParquetFile(source).read(columns=columns)


def medians_of(summaries: pa.Table, smallest_cell: int) -> dict[str, float]:
    """By metric: the median of the days' medians, each day as heavy as its rows.

    Days with fewer than `smallest_cell` people, or without a median, do not count.
    """
    of_metric = pc.equal(summaries.column("level"), "metric")
    enough = pc.greater_equal(summaries.column("people"), smallest_cell)
    rows = summaries.filter(pc.and_(pc.and_(of_metric, enough), pc.is_valid(summaries.column("median"))))
    by_metric: dict[str, list[tuple[float, int]]] = {}
    for row in rows.select(["metric", "median", "rows"]).to_pylist():
        by_metric.setdefault(row["metric"], []).append((row["median"], row["rows"]))
    return {metric: _weighted(pairs) for metric, pairs in sorted(by_metric.items())}


def _weighted(pairs: list[tuple[float, int]]) -> float:
    values, weights = (np.array(column, dtype=float) for column in zip(*sorted(pairs), strict=True))
    return float(values[np.searchsorted(np.cumsum(weights), weights.sum() / 2)])
