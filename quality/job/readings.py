"""A study-day's readings as sorted arrays, the same for all checks that look at one reading beside the next."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from quality.desk import LakeDesk
from quality.job.parts import EVERYBODY, OF_PART, Part
from quality.job.results import Name
from quality.job.segments import Array, Runs, codes, groups_of, integers, numbers, runs_of
from quality.job.times import moment
from schemas.families import READING_FAMILIES, WAVEFORM

_COLUMNS = """
SELECT pseudonym, source, partner, '{family}' AS family, metric, device_model, firmware, start, "end", received,
  {block} FROM {family} WHERE start >= ? AND start < ?"""
_TEXTS = ("pseudonym", "source", "metric")
_TIMES = ("start", "end", "received", "period_us", "samples")
_NO_BLOCK = "value, NULL::BIGINT AS period_us, NULL::INTEGER AS samples"
_BLOCK = "NULL::DOUBLE AS value, period_us, samples"


@dataclass(frozen=True)
class Readings:
    """Readings sorted by person, source, metric and start; of a block of a signal its extent, not its numbers.

    `person`, `source` and `name` are places in `pseudonyms`, `devices` and the strata `names`; times are microseconds, UTC;
    `value` is NaN where there is no number; `period_us` and `samples` are 0 where it is no block of equal steps. `part`
    says whose readings they are, for questions about more of the same people.
    """

    pseudonyms: list[str]
    devices: list[str]
    names: list[Name]
    person: Array
    source: Array
    metric: Array
    name: Array
    start: Array
    end: Array
    received: Array
    value: Array
    period_us: Array
    samples: Array
    part: Part = EVERYBODY

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def series(self) -> Runs:
        """Runs of one person's, source's and metric's readings."""
        return runs_of(self.person, self.source, self.metric)

    @cached_property
    def sources(self) -> Runs:
        """Runs of one person's and source's readings, of all metrics."""
        return runs_of(self.person, self.source)

    def of_metrics(self, metrics: tuple[str, ...]) -> "Readings":
        """Those of some metrics."""
        return self.pick(self.where(metric=metrics))

    def has(self, **wanted: Collection[str]) -> bool:
        """Whether there is a reading whose stratum has, by field, one of the wanted words."""
        return any(_says(name, wanted) for name in self.names)

    def where(self, **wanted: Collection[str]) -> Array:
        """[n] which readings' strata have, by field, one of the wanted words."""
        return np.array([_says(name, wanted) for name in self.names], dtype=bool)[self.name]

    def pick(self, chosen: Array) -> "Readings":
        """Those that are chosen [n], in their order."""
        rows = np.flatnonzero(chosen)
        columns = {name: part[rows] for name, part in vars(self).items() if isinstance(part, np.ndarray)}
        return Readings(self.pseudonyms, self.devices, self.names, **columns, part=self.part)


def _says(name: Name, wanted: Mapping[str, Collection[str]]) -> bool:
    return all(getattr(name, field) in words for field, words in wanted.items())


def read_day(desk: LakeDesk, study: str, day: int, part: Part = EVERYBODY) -> Readings:
    """All readings of a part's people that start on a day (UTC, counted from 1970)."""
    return read_between(desk, study, READING_FAMILIES, moment(day), moment(day + 1), part)


def read_between(
    desk: LakeDesk,
    study: str,
    families: tuple[str, ...],
    since: datetime,
    until: datetime,
    part: Part = EVERYBODY,
    also: str = "",
) -> Readings:
    """The readings of some families that start in [since, until), narrowed by a further condition `also`."""
    parts = [_COLUMNS.format(family=name, block=_BLOCK if name == WAVEFORM.name else _NO_BLOCK) for name in families]
    sql = " UNION ALL ".join(one + OF_PART + also for one in parts)
    return of_table(desk.query(study, sql, [since, until, *part] * len(families)), part)


def of_table(table: pa.Table, part: Part = EVERYBODY) -> Readings:
    """A table's rows sorted and numbered."""
    name, names = strata_of(table)
    table = table.select([*_TEXTS, *_TIMES, "value"])  # texts are most of it: what is not needed any more goes
    (person, pseudonyms), (source, devices), (metric, _) = (codes(table.column(text)) for text in _TEXTS)
    columns = {"person": person, "source": source, "metric": metric, "name": name.astype(np.int32)}
    table = table.select([*_TIMES, "value"])
    order = _order([person, source, metric], integers(table.column("start")))
    columns = {column: values[order] for column, values in columns.items()}
    columns |= {column: integers(table.column(column))[order] for column in _TIMES}
    return Readings(pseudonyms, devices, names, **columns, value=numbers(table.column("value"))[order], part=part)


def _order(keys: list[Array], start: Array) -> Any:
    """How the rows are sorted; tables lie sorted mostly, and then they stay as they are."""
    combined = np.zeros(len(start), dtype=np.int64)
    for key in keys:
        combined = combined * (int(key.max(initial=0)) + 1) + key
    rises = (combined[1:] > combined[:-1]) | ((combined[1:] == combined[:-1]) & (start[1:] >= start[:-1]))
    return slice(None) if rises.all() else np.lexsort((start, combined))


def strata_of(table: pa.Table, said: tuple[str, ...] = Name._fields) -> tuple[Array, list[Name]]:
    """The number of each row's stratum by some columns, and the strata: told apart by runs, of which there are few."""
    parts = [codes(table.column(column)) for column in said]
    runs = runs_of(*(place for place, _ in parts))
    if not runs.total:
        return runs.of_row, []
    firsts = [place[runs.begins] for place, _ in parts]
    group, first = groups_of(*firsts)
    words = ([values[code] for code in place[first]] for place, (_, values) in zip(firsts, parts, strict=True))
    names = [Name(**dict(zip(said, one, strict=True))) for one in zip(*words, strict=True)]
    return group[runs.of_row], names


OF_SOURCE = ("partner", "device_model", "firmware")
"""What a stratum says of devices, whatever they measured."""
