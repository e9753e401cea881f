"""The facts of a message's source records, as columns: each record's own value and its parts; and what tells kinds apart.

A fact's place among all facts of the message is its index, whatever anybody makes of it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks import Int64s

Ints = npt.NDArray[Any]
_MOST_KINDS = 1 << 62
_FEW_KINDS = 1 << 16


class Words(NamedTuple):
    """A column of which many items are alike: `codes` [n] number the distinct `texts`, of which None may be one."""

    codes: Ints
    texts: list[Any]

    def take(self, places: Any) -> "Words":
        return Words(self.codes[places], self.texts)

    def then(self, others: "Words") -> "Words":
        """These and then the others, none of whose texts counts as one of these."""
        codes = [self.codes.astype(np.int64), others.codes.astype(np.int64) + len(self.texts)]
        return Words(np.concatenate(codes), self.texts + others.texts)


def words(values: pa.Array) -> Words:
    """The column, which may be coded already, as numbers and what they stand for."""
    if values.null_count == len(values):
        return Words(np.zeros(len(values), dtype=np.int8), [None])
    coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    texts, codes = coded.dictionary.to_pylist(), coded.indices
    if codes.null_count:
        codes = codes.fill_null(len(texts))
        texts.append(None)
    return Words(codes.to_numpy(), texts)


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts: own values first, then parts, both in the order of the message.

    `row` [n] is the record, `index` [n] the place in the message; times are microseconds. Types from `first_part` on are
    those of parts: what a part is called is never what a record is.
    """

    row: Int64s
    index: Int64s
    type: Words
    first_part: int
    unit: Words
    value: pa.StringArray
    start: Int64s
    end: Int64s

    def __len__(self) -> int:
        return len(self.row)

    def is_part(self, kind: int) -> bool:
        """Whether the type of this number is that of a part."""
        return kind >= self.first_part


def facts_of(records: pa.RecordBatch, containers: Collection[str]) -> Facts:
    """The facts of source records; those of the types `containers` have no value of their own, only parts."""
    lists, kinds = records.column("parts"), words(records.column("type"))
    parts, own = lists.flatten(), np.arange(records.num_rows, dtype=np.int64)
    valued = np.array([text not in containers for text in kinds.texts])
    kept = slice(None) if valued.all() else np.flatnonzero(valued[kinds.codes])
    begin, end = (_micros(records.column(name)) for name in ("start", "end"))
    facts = Facts(
        row=own[kept],
        index=own[kept],
        type=kinds.take(kept),
        first_part=len(kinds.texts),
        unit=words(records.column("unit")).take(kept),
        value=_values(records.column("value"), kept),
        start=begin[kept],
        end=end[kept],
    )
    return _with_parts(facts, lists, parts, (begin, end)) if len(parts) else facts


def _values(own: pa.StringArray, kept: Any) -> pa.StringArray:
    return own if isinstance(kept, slice) else own.take(pa.array(kept))


def _micros(times: pa.Array) -> Int64s:
    return np.asarray(times.cast(pa.int64()))


def _with_parts(facts: Facts, lists: pa.ListArray, parts: pa.StructArray, times: tuple[Int64s, Int64s]) -> Facts:
    """The records' own facts, and then those of their parts; `times` are start and end of every record."""
    counts = np.diff(np.asarray(lists.offsets)).astype(np.int64)
    before, parents = np.cumsum(counts) - counts, np.repeat(np.arange(len(lists), dtype=np.int64), counts)
    start, end = (
        _own_times(parts.field(name), of_records[parents])
        for name, of_records in zip(("start", "end"), times, strict=True)
    )
    return Facts(
        row=np.concatenate([facts.row, parents]),
        index=np.concatenate([facts.index + before[facts.row], np.arange(len(parents)) + parents + 1]),
        type=facts.type.then(words(parts.field("type"))),
        first_part=facts.first_part,
        unit=facts.unit.then(words(parts.field("unit"))),
        value=pa.concat_arrays([facts.value, parts.field("value")]),
        start=np.concatenate([facts.start, start]),
        end=np.concatenate([facts.end, end]),
    )


def _own_times(times: pa.Array, inherited: Int64s) -> Int64s:
    """The parts' own times, and their records' where they have none."""
    return np.asarray(pc.coalesce(times.cast(pa.int64()), pa.array(inherited)))


class Kinds:
    """Numbers that are equal where everything is by which the items were told apart, and lie in the order of that."""

    def __init__(self, items: int) -> None:
        self.number: Int64s = np.zeros(items, dtype=np.int64)
        self.count = 1

    def tell_apart(self, code: Ints, count: int) -> None:
        """By one more thing, of which there are `count`; the numbers are drawn together where they get too large."""
        if self.count * count >= _MOST_KINDS:
            self._draw_together()
        if self.count == 1:
            self.number[:] = code
        elif count > 1:
            self.number *= count
            self.number += code
        self.count *= count

    def grouped(self) -> tuple[Int64s, Int64s]:
        """The items' places kind by kind, each kind's in their order; and where the kinds begin, the last end with it."""
        if self.count > _FEW_KINDS:
            self._draw_together()
        narrow = np.uint16 if self.count <= _FEW_KINDS else np.int64  # numbers of 16 bits are put in order at once
        number = self.number.astype(narrow)
        order = np.argsort(number, kind="stable")
        in_order = number[order]
        begins = np.flatnonzero(in_order[1:] != in_order[:-1]) + 1
        return order, np.concatenate([[0], begins, [len(order)]])

    def _draw_together(self) -> None:
        distinct, self.number = np.unique(self.number, return_inverse=True)
        self.count = len(distinct)
