"""The gate's counts as rows: of one run, by study, written with what the run lands and committed with it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.files import DataFile, table_key
from pipelines.landing import publish
from pipelines.store import Store
from quality.strata import DAY_US, Counts
from schemas.families import CHECK_COUNT

_KINDS = ("evaluated", "failed", "not_applicable")
_COLUMNS = ("partner", "family", "metric", "device_model", "firmware", "start", "check", "version")


def as_note(counts: Counts) -> list[list[Any]]:
    """The counts as lists that add up: a stratum, which of the three answers, and how often."""
    return [[*stratum, kind, count] for kind in _KINDS for stratum, count in getattr(counts, kind).items()]


def write_counts(
    checks: Mapping[str, Counter[tuple[Any, ...]]], store: Store, n: int, epoch: int
) -> Iterator[DataFile]:
    """A file for each study and month of the days counted, for ledger entry n."""
    for study, counts in sorted(checks.items()):
        rows = _rows(counts, n)
        months = rows.column("start").to_numpy().astype("datetime64[M]")
        for month in np.unique(months):
            part = rows.filter(pa.array(months == month))
            yield publish(store, part, table_key(study, CHECK_COUNT.name), str(month), n, epoch)


def _rows(counts: Mapping[tuple[Any, ...], int], n: int) -> pa.Table:
    """One row a stratum, in the family's order."""
    strata: dict[tuple[Any, ...], dict[str, int]] = {}
    for (*stratum, kind), count in counts.items():
        strata.setdefault(tuple(stratum), dict.fromkeys(_KINDS, 0))[kind] += count
    rows = [
        {
            **dict(zip(_COLUMNS, stratum, strict=True)),
            "start": stratum[5] * DAY_US,
            "n_eval": answers["evaluated"],
            "n_fail": answers["failed"],
            "n_na": answers["not_applicable"],
            "entry": n,
        }
        for stratum, answers in strata.items()
    ]
    rows.sort(key=lambda row: tuple(row[name] for name in CHECK_COUNT.sort_key))
    return pa.Table.from_pylist(rows, schema=CHECK_COUNT.schema)
