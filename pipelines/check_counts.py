"""The checks' counts as rows, by study: written with what a run lands, lessened by what is taken out of the tables.

A row says how the check went for what entry `entry` landed of a stratum, so far as that still stands.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.files import DataFile, table_key
from pipelines.landing import publish
from pipelines.store import Store
from quality.applicable import columns, conditions, fulfilled, of_rows
from quality.checks import checks
from quality.message_checks import UNITS
from quality.strata import DAY_US, KINDS
from schemas.families import CHECK_COUNT

_COLUMNS = ("partner", "family", "metric", "device_model", "firmware", "start", "check", "version")
_NUMBERS = ("n_eval", "n_fail", "n_na")


def write_counts(
    checks: Mapping[str, Counter[tuple[Any, ...]]], store: Store, n: int, epoch: int
) -> Iterator[DataFile]:
    """A file for each study and month of the days counted, for ledger entry n."""
    for study, counts in sorted(checks.items()):
        if not counts:  # nothing but duplicates
            continue
        rows = _rows(counts, n)
        months = rows.column("start").to_numpy().astype("datetime64[M]")
        for month in np.unique(months):
            part = rows.filter(pa.array(months == month))
            yield publish(store, part, table_key(study, CHECK_COUNT.name), str(month), n, epoch)


def _rows(counts: Mapping[tuple[Any, ...], int], n: int) -> pa.Table:
    """One row a stratum, of which there are some, in the family's order."""
    strata: dict[tuple[Any, ...], list[int]] = {}
    for (*stratum, kind), count in counts.items():
        strata.setdefault(tuple(stratum), [0] * len(KINDS))[KINDS.index(kind)] += count
    in_order = sorted(strata, key=itemgetter(*(_COLUMNS.index(name) for name in CHECK_COUNT.sort_key)))
    columns: dict[str, Any] = dict(zip(_COLUMNS, zip(*in_order, strict=True), strict=True))
    columns |= zip(_NUMBERS, zip(*(strata[stratum] for stratum in in_order), strict=True), strict=True)
    columns["start"] = [day * DAY_US for day in columns["start"]]
    columns["entry"] = [n] * len(in_order)
    return pa.Table.from_pydict(columns, schema=CHECK_COUNT.schema)


_STRATUM = ("entry", "partner", "family", "metric", "device_model", "firmware", "day")


class TakenOut:
    """Rows that are taken out of a study's tables, by what their answers were counted by when they landed."""

    COLUMNS = (
        *("entry", "partner", "metric", "device_model", "firmware"),
        *("start", "end", "offset_min", "flags", "origin"),
    )
    OF_SPECIMENS = tuple(sorted(columns(conditions()) - {"lasting", "compared", *COLUMNS}))

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)

    def add(self, rows: pa.Table, family: pa.Array) -> None:
        """Note rows with these columns, those of laboratory results also OF_SPECIMENS, and the family that each is of."""
        start = rows.column("start").cast(pa.int64()).to_numpy()
        has = partial(_has, rows)
        said = {
            **{name: rows.column(name) for name in ("entry", "partner", "metric", "device_model", "firmware", "flags")},
            "family": family,
            "day": start // DAY_US,
            **{str(condition): fulfilled(condition, has, len(rows)) for condition in conditions()},
        }
        groups = pa.table(said).group_by(list(said), use_threads=False).aggregate([([], "count_all")])
        for group in groups.to_pylist():
            self._groups[tuple(group[name] for name in _STRATUM)].append(group)

    def months(self) -> set[str]:
        """The months in which the rows began."""
        return {str(np.datetime64(day, "D"))[:7] for *_, day in self._groups}

    def lessened(self, counts: pa.Table) -> pa.Table | None:
        """The counts without the answers for these rows, a count of nothing left out; None where none is about them."""
        less = {name: np.zeros(len(counts), dtype=np.int64) for name in _NUMBERS}
        for place, row in self._concerned(counts):
            for group in self._groups.get(tuple(row[name] for name in _STRATUM), ()):
                for name, number in _answers(row, group).items():
                    less[name][place] += number
        if not any(numbers.any() for numbers in less.values()):
            return None
        left = _settled({name: counts.column(name).to_numpy() - numbers for name, numbers in less.items()})
        for name, numbers in left.items():
            column = counts.schema.get_field_index(name)
            counts = counts.set_column(column, counts.schema.field(name), pa.array(numbers))
        return counts.filter((pc.field("n_eval") > 0) | (pc.field("n_na") > 0))

    def _concerned(self, counts: pa.Table) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows of the entries that the taken rows are of, and their places."""
        entries = pa.array({entry for entry, *_ in self._groups}, pa.int64())
        places = np.flatnonzero(pc.is_in(counts.column("entry"), entries).to_numpy())
        days = counts.column("start").cast(pa.int64()).to_numpy() // DAY_US
        rows = counts.append_column("day", pa.array(days)).take(pa.array(places)).drop_columns("start")
        yield from zip(places.tolist(), rows.to_pylist(), strict=True)


def _settled(left: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of which none is below 0, of as many rows as are left.

    Of a message only some rows may have been here, and it was taken for one that had too few to be compared, or that had
    enough: then the rest goes from those that the check did apply to, or did not.
    """
    judged = np.maximum(left["n_eval"] + np.minimum(left["n_na"], 0), 0)
    others = np.maximum(left["n_na"] + np.minimum(left["n_eval"], 0), 0)
    return {"n_eval": judged, "n_fail": np.clip(left["n_fail"], 0, judged), "n_na": others}


def _has(rows: pa.Table, name: str) -> Any:
    """Which rows have a column."""
    if name == "lasting":
        return pc.greater(rows.column("end"), rows.column("start")).to_numpy()
    if name == "compared":
        return _of_enough(rows)
    return rows.column(name).is_valid().to_numpy() if name in rows.column_names else np.zeros(len(rows), dtype=bool)


def _of_enough(rows: pa.Table) -> Any:
    """Which rows are of a message that had enough readings to be compared, as far as these rows tell."""
    message = rows.column("origin").combine_chunks().dictionary_encode().indices.to_numpy()
    return np.bincount(message, minlength=1)[message] >= checks()[UNITS].number("least_readings")


def _answers(row: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, int]:
    """How a group of alike rows was counted in a row of counts.

    Whether the check applied says the row, since ranges may have changed since: to all, to none, or to those of a kind.
    """
    size, check = group["count_all"], checks()[row["check"]]
    failed = bool(group["flags"] & check.mask)
    partly = failed or group[str(of_rows(check))]  # of a message not all rows may be here; what failed was judged
    applied = partly if row["n_eval"] and row["n_na"] else bool(row["n_eval"])
    return {"n_eval": size * applied, "n_fail": size * failed, "n_na": size * (not applied)}
