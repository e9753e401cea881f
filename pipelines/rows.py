"""Rows of a table from the blocks that a study may have: joined, freed of what is there already, ordered."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, column
from pipelines.zones import NO_OFFSET, QUALITIES
from schemas.families import UTC_MICROS, Family

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]

_GROUP = ("pbucket", "pseudonym", "metric", "source")


@dataclass
class Rows:
    """Rows of one family and month of one study that wait to be written: what is shared by message, and the readings.

    `family_of` is the family of the readings where the table is the quarantine.
    """

    messages: pa.Table
    readings: pa.Table

    def __len__(self) -> int:
        return int(self.readings.num_rows)

    def numbers(self, name: str) -> Array:
        """A column of the readings without nulls."""
        return np.asarray(self.readings.column(name).combine_chunks().to_numpy(zero_copy_only=False))

    def filter(self, keep: Array) -> "Rows":
        return Rows(self.messages, self.readings.filter(pa.array(keep)))

    def with_column(self, name: str, values: Any) -> "Rows":
        return Rows(self.messages, self.readings.append_column(name, pa.array(values)))


def join(blocks: list[Block]) -> Rows:
    """The blocks' rows as one; their messages are counted on."""
    messages, readings, before = [], [], 0
    for block in blocks:
        messages.append(block.messages.append_column("partner", _constant(block.meta["partner"], block.messages.num_rows)))
        place = block.readings.schema.get_field_index("message")
        shifted = pa.array(column(block.readings, "message") + np.int32(before))
        readings.append(block.readings.set_column(place, "message", shifted))
        before += block.messages.num_rows
    return Rows(_stack(messages), _stack(readings))


def _stack(parts: list[pa.RecordBatch]) -> pa.Table:
    return pa.concat_tables([pa.Table.from_batches([part]) for part in parts], promote_options="default").combine_chunks()


def _constant(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)


def ordered(rows: Rows) -> tuple[Rows, Int64s]:
    """The rows with their messages, and the order by (pbucket, pseudonym, metric, source, start) in which they lie."""
    rank = _ranks(rows.messages)[rows.numbers("message")]
    start = rows.numbers("start").astype(np.int64)
    offset = start - start.min()
    bits = max(1, int(offset.max()).bit_length())
    if bits + max(1, int(rank.max()).bit_length()) < 63:
        key = (rank << bits) | offset
        order = np.arange(len(key)) if (key[1:] >= key[:-1]).all() else np.argsort(key, kind="stable")
    else:
        order = np.lexsort((start, rank))
    return rows, order


def _ranks(messages: pa.Table) -> Int64s:
    """Each message's place among the distinct (pbucket, pseudonym, metric, source) in ascending order."""
    names = [np.asarray(messages.column(name).to_numpy(zero_copy_only=False)) for name in _GROUP]
    order = np.lexsort(names[::-1])
    changes = np.zeros(len(order), dtype=bool)
    for values in names:
        in_order = values[order]
        changes[1:] |= in_order[1:] != in_order[:-1]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.cumsum(changes)
    return rank


def table(rows: Rows, order: Int64s, family: Family, entry: int, origin_family: str) -> pa.Table:
    """The family's table of the rows in the given order, landed by ledger entry `entry`."""
    readings = rows.readings.take(pa.array(order)) if (order[1:] != order[:-1] + 1).any() or len(order) != len(rows) else rows.readings
    message = readings.column("message").combine_chunks().to_numpy(zero_copy_only=True)
    made = {
        "entry": lambda: pa.repeat(pa.scalar(entry, pa.int64()), len(message)),
        "family": lambda: _coded(np.zeros(len(message), dtype=np.int32), [origin_family]),
        "time_quality": lambda: _qualities(readings),
        "offset_min": lambda: _offsets(readings),
        "received": lambda: _per_message(rows.messages.column("received").to_numpy(), message, UTC_MICROS),
        "pbucket": lambda: _per_message(rows.messages.column("pbucket").to_numpy(), message, pa.int16()),
        "origin_index": lambda: readings.column("index").combine_chunks(),
    }
    columns = []
    for wanted in family.schema:
        if wanted.name in made:
            columns.append(made[wanted.name]())
        elif wanted.name in readings.column_names:
            columns.append(readings.column(wanted.name).combine_chunks())
        elif wanted.name in rows.messages.column_names:
            columns.append(_spread(rows.messages.column(wanted.name).combine_chunks(), message))
        else:
            columns.append(pa.nulls(len(message), wanted.type))
    return _typed(columns, family)


def _per_message(values: Array, message: Array, kind: pa.DataType) -> pa.Array:
    return pa.array(values[message]).cast(kind)


def _spread(values: pa.Array, message: Array) -> pa.Array:
    """A message's text for each of its readings, as a dictionary of exactly the texts in use."""
    if pa.types.is_list(values.type):
        return values.take(pa.array(message))
    coded = values.dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)[message]
    used = np.zeros(len(coded.dictionary) + 1, dtype=bool)
    used[codes] = True
    if not used[:-1].all():
        place = np.cumsum(used[:-1]) - 1
        codes = np.where(codes < 0, -1, place[codes]).astype(np.int32)
        dictionary = coded.dictionary.filter(pa.array(used[:-1]))
    else:
        dictionary = coded.dictionary
    missing = codes < 0
    indices = pa.array(codes, mask=missing) if missing.any() else pa.array(codes)
    return pa.DictionaryArray.from_arrays(indices, dictionary)


def _coded(codes: Array, names: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names, pa.string()))


def _qualities(readings: pa.Table) -> pa.Array:
    codes = readings.column("quality").combine_chunks().to_numpy(zero_copy_only=True)
    used = np.flatnonzero(np.bincount(codes, minlength=len(QUALITIES)))
    place = np.zeros(len(QUALITIES), dtype=np.int32)
    place[used] = np.arange(len(used))
    return _coded(place[codes], [QUALITIES[code] for code in used])


def _offsets(readings: pa.Table) -> pa.Array:
    offset = readings.column("offset_min").combine_chunks().to_numpy(zero_copy_only=True)
    missing = offset == NO_OFFSET
    return pa.array(offset, mask=missing) if missing.any() else pa.array(offset)


def _typed(columns: list[pa.Array], family: Family) -> pa.Table:
    """The columns under the family's schema, texts still as dictionaries."""
    fields, typed = [], []
    for wanted, values in zip(family.schema, columns, strict=True):
        keep = pa.types.is_dictionary(values.type)
        cast = values if keep or values.type == wanted.type else values.cast(wanted.type)
        typed.append(cast)
        fields.append(pa.field(wanted.name, cast.type, wanted.nullable))
    return pa.Table.from_arrays(typed, schema=pa.schema(fields))
