"""What contradicts what: another value for one moment (UQ-02), told by rows that lie in a table's order."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.judged import Array
from schemas.metrics import catalogue

_GROUP = ("pseudonym", "metric", "source")


def contradicting(messages: pa.Table, readings: Mapping[str, Any]) -> Array:
    """Which rows [n] are not the first with their person, source, metric, start and end, and say something else.

    Rows lie by person, metric, source and start; exact duplicates have been taken out. A row whose record had come before
    with another content (`revision`) contradicts that. Of a metric of which one moment may have several values they do not
    contradict each other.
    """
    start, message = readings["start"], readings["message"]
    found = np.asarray(readings["revision"]) > 0
    same = np.flatnonzero(start[1:] == start[:-1])
    same = same[_alike(messages, message[same], message[same + 1])]
    if not len(same):
        return found
    rows = np.union1d(same, same + 1)
    at, end, run = start[rows], readings["end"][rows], np.cumsum(~np.isin(rows - 1, same))
    order = np.lexsort((rows, end, at, run))
    rows, at, end, run = rows[order], at[order], end[order], run[order]
    twice = (run[1:] == run[:-1]) & (at[1:] == at[:-1]) & (end[1:] == end[:-1])
    earlier, later = rows[:-1][twice], rows[1:][twice]
    found[later[_differ(readings, earlier, later) & ~_of_several(messages, message[later])]] = True
    return found


def _alike(messages: pa.Table, one: Array, other: Array) -> Array:
    """Which pairs of messages are of one person, metric and source."""
    alike = np.asarray(one == other)
    asked = np.flatnonzero(~alike)
    if len(asked):
        alike[asked] = True
        for name in _GROUP:
            place = _places(messages.column(name))
            alike[asked] &= place[one[asked]] == place[other[asked]]
    return alike


def _of_several(messages: pa.Table, message: Array) -> Array:
    """Which messages are of a metric of which a moment may have several values."""
    several = [metric.code for metric in catalogue().metrics.values() if metric.several]
    named = messages.column("metric").cast(pa.string())
    return np.asarray(pc.is_in(named, pa.array(several, pa.string())))[message]


def _differ(readings: Mapping[str, Any], one: Array, other: Array) -> Array:
    """Which pairs of rows have another value or code; blocks of a signal do, since the same block is a duplicate."""
    if "value" not in readings:
        return np.ones(len(one), dtype=bool)
    value = np.asarray(readings["value"])
    differ = ~((value[one] == value[other]) | np.isnan(value[one]) & np.isnan(value[other]))
    if "code" in readings:
        place = _places(readings["code"])
        differ |= place[one] != place[other]
    return np.asarray(differ)


def _places(texts: pa.Array | pa.ChunkedArray) -> Array:
    """The place of each text [n] among the distinct ones; null is one of them."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return np.asarray(whole.dictionary_encode(null_encoding="encode").indices)
