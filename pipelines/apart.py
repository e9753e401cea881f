"""Whether bundles that ran apart have brought the same: each knows of its own readings only, and of what landed before.

A runner shares a plan's partitions among workers. A reading that lies in two of them, since its partner has changed the
number of partitions or the name of a person, would then land twice, and a record's revisions would have equal numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.store import Store

Bundles = Mapping[str, Mapping[str, Sequence[str]]]
"""By study and bundle, the files that the bundle has written."""


def bring_the_same(bundles: Bundles, store: Store) -> bool:
    """Whether two bundles have written the same reading, or the same record of a source, for the same study."""
    return any(_meet(list(of_study.values()), store) for of_study in bundles.values() if len(of_study) > 1)


def _meet(bundles: Sequence[Sequence[str]], store: Store) -> bool:
    people = [_people(files, store) for files in bundles]
    if not _repeated(people):  # the usual case, and a column that costs nothing
        return False
    return any(_repeated([_numbers(files, column, store) for files in bundles]) for column in ("key64", "record64"))


def _people(files: Iterable[str], store: Store) -> Any:
    found: set[str] = set()
    for column in _columns(files, "pseudonym", store):
        found.update(pc.unique(column).to_pylist())
    return np.array(sorted(found), dtype=object)


def _numbers(files: Iterable[str], column: str, store: Store) -> Any:
    """Each number once; none where a row has none."""
    parts = [part.drop_null().to_numpy() for part in _columns(files, column, store)]
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *parts]))


def _columns(files: Iterable[str], column: str, store: Store) -> Iterable[pa.ChunkedArray]:
    for file in files:
        with store.open_file(file) as source:
            yield pq.read_table(source, columns=[column]).column(column)


def _repeated(parts: Sequence[Any]) -> bool:
    """Whether something is in two of the parts, each of which has it once."""
    whole = np.sort(np.concatenate(parts))
    return bool((whole[1:] == whole[:-1]).any())
