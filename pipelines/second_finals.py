"""UQ-04: a final result of another report for what has a final result already.

It is the same where kit, metric, the laboratory's code and its run are. A correction has the record of what it corrects, and is a
revision; what one report says twice is the laboratory's own matter; of a result that is of no kit nobody can tell.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.blocks import arrow
from pipelines.duplicates import KeyedFile
from pipelines.store import Store
from quality.gate import QUARANTINES

FINAL = ("F", "C", "A")
"""The statuses of a result that is not to change any more, except by a correction."""

_WHAT = ("specimen64", "metric", "code_sent", "run")
_COLUMNS = (*_WHAT, "origin", "status", "record64", "key64")


class SecondFinals:
    """What a plan knows of final results: those that it has looked at itself, and those of the files it is shown."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[tuple[str, ...], list[pa.Table]] = defaultdict(list)

    def second(
        self, messages: pa.Table, readings: Mapping[str, Any], files: Sequence[KeyedFile], of: tuple[str, ...]
    ) -> npt.NDArray[np.bool_]:
        """Which rows [n] of a place are a second final result, after those of its files and those that came before."""
        fails = np.zeros(len(readings["message"]), dtype=bool)
        rows = np.flatnonzero(_has_specimen(readings))
        if len(rows):
            own = _own(messages, readings).take(pa.array(rows))
            before = [*self._seen[of], *(self._read(file, pc.unique(own.column("what"))) for file in files)]
            fails[rows] = _second(pa.concat_tables([*before, own]))[-len(rows) :]
            stands = ~fails[rows] & ((np.asarray(readings["flags"])[rows] & QUARANTINES) == 0)
            self._seen[of].append(own.filter(pa.array(stands)))
        return fails

    def _read(self, file: KeyedFile, asked: pa.Array) -> pa.Table:
        """The file's results of what is asked about."""
        with self._store.open_file(file.path) as source:
            found = _told(pq.ParquetFile(source).read(columns=list(_COLUMNS)))
        return found.filter(pc.is_in(found.column("what"), asked))


def _has_specimen(readings: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    if "specimen64" not in readings:
        return np.zeros(len(readings["message"]), dtype=bool)
    return np.asarray(pc.is_valid(arrow(readings["specimen64"])))


def _own(messages: pa.Table, readings: Mapping[str, Any]) -> pa.Table:
    place = pa.array(readings["message"])
    shared = {name: messages.column(name).take(place) for name in ("metric", "origin")}
    return _told(pa.table(shared | {name: arrow(readings[name]) for name in _COLUMNS if name not in shared}))


def _told(rows: pa.Table) -> pa.Table:
    """Of each result what it is of, its record (its own key where it has none), its report, and whether it is final."""
    texts = [rows.column(name).cast(pa.string()).fill_null("") for name in _WHAT]
    return pa.table(
        {
            "what": pc.binary_join_element_wise(*texts, "\x1f"),
            "record": pc.coalesce(rows.column("record64"), rows.column("key64")),
            "report": rows.column("origin").cast(pa.binary()),
            "is_final": pc.is_in(rows.column("status").cast(pa.string()), pa.array(FINAL)),
        }
    )


def _second(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows [n] are final and of another record and report than the first final one of the same."""
    final = rows.column("is_final").to_numpy()
    what, report = (
        rows.column(name).combine_chunks().dictionary_encode().indices.to_numpy()[final] for name in ("what", "report")
    )
    record = rows.column("record").to_numpy()[final]
    _, first, of = np.unique(what, return_index=True, return_inverse=True)
    found = np.zeros(len(rows), dtype=bool)
    found[np.flatnonzero(final)] = (record != record[first][of]) & (report != report[first][of])
    return found
