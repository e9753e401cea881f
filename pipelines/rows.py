"""Rows of a table from the blocks that a study may have: joined, freed of what is there already, ordered."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, arrow, column, is_lists_of_numbers, is_said_once, said_once, taken
from pipelines.zones import NO_OFFSET, QUALITIES
from schemas.families import Family

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]

_GROUP = ("pbucket", "pseudonym", "metric", "source")


@dataclass
class Rows:
    """Rows of one family and month of one study that wait to be written: what is shared by message, and the readings.

    A column of the readings is a NumPy array, or an Arrow array, maybe in chunks, where it has texts, lists or nulls.
    """

    messages: pa.Table
    readings: dict[str, Any]

    def __len__(self) -> int:
        return len(self.readings["message"])

    def filter(self, keep: Array) -> "Rows":
        return self.take(np.flatnonzero(keep))

    def take(self, places: Int64s) -> "Rows":
        """The rows at these places, in this order."""
        return Rows(self.messages, {name: taken(values, places) for name, values in self.readings.items()})

    def with_column(self, name: str, values: Any) -> "Rows":
        return Rows(self.messages, {**self.readings, name: values})


def people_in(rows: Rows, chosen: Array) -> int:
    """Of how many people the chosen rows [n] are, looked up by message."""
    if not chosen.any():
        return 0
    messages = np.flatnonzero(np.bincount(rows.readings["message"][chosen]))
    return len(rows.messages.column("pseudonym").take(pa.array(messages)).unique())


def join(blocks: list[Block]) -> Rows:
    """The blocks' rows as one; their messages are counted on."""
    messages, before, counted = [], 0, []
    for block in blocks:
        messages.append(
            block.messages.append_column("partner", _constant(block.meta["partner"], block.messages.num_rows))
        )
        counted.append(column(block.readings, "message") + np.int32(before))
        before += block.messages.num_rows
    names = dict.fromkeys(name for block in blocks for name in block.readings.schema.names)
    readings = {name: _stack([block.readings for block in blocks], name) for name in names}
    readings["message"] = np.concatenate(counted)
    whole = pa.concat_tables([pa.Table.from_batches([part]) for part in messages], promote_options="default")
    return Rows(whole.combine_chunks(), readings)


def _stack(parts: list[pa.RecordBatch], name: str) -> Any:
    """One column over all parts; null for the rows of a part that lacks it."""
    kind = next(part.schema.field(name).type for part in parts if name in part.schema.names)
    columns = [part.column(name) if name in part.schema.names else pa.nulls(part.num_rows, kind) for part in parts]
    if is_lists_of_numbers(kind):
        return pa.chunked_array(_of_one_width(columns))
    if pa.types.is_primitive(kind) and not any(values.null_count for values in columns):
        return _joined([values.to_numpy(zero_copy_only=True) for values in columns])
    return pa.concat_arrays(columns)


def _joined(parts: list[Array]) -> Array:
    """The numbers of all parts: said once where they are integers and all the same, as offsets and flags mostly are."""
    first = next((part[0] for part in parts if len(part)), None)
    if first is None or first.dtype.kind != "i" or not all(_are_all(part, first) for part in parts):
        return np.concatenate(parts)
    return said_once(first, sum(len(part) for part in parts))


def _are_all(numbers: Array, number: Any) -> bool:
    return not len(numbers) or bool(numbers[0] == number == numbers[-1] and (numbers == number).all())


def _of_one_width(lists: list[pa.Array]) -> list[pa.Array]:
    """Lists of integers in the widest of their types."""
    kinds = sorted({values.type for values in lists}, key=lambda kind: kind.value_type.bit_width)
    return lists if len(kinds) == 1 else [values.cast(kinds[-1]) for values in lists]


def _constant(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)


def ordered(rows: Rows) -> Rows:
    """The rows by (pbucket, pseudonym, metric, source, start), as they lie in a file."""
    rank = _ranks(rows.messages)[rows.readings["message"]]
    start = rows.readings["start"]
    offset = start - start.min()
    bits = max(1, int(offset.max()).bit_length())
    if bits + max(1, int(rank.max()).bit_length()) < 63:
        rank <<= bits
        rank |= offset
        return rows if (rank[1:] >= rank[:-1]).all() else rows.take(np.argsort(rank, kind="stable"))
    return rows.take(np.lexsort((start, rank)))


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


def table(rows: Rows, family: Family, entry: int, origin_family: str) -> pa.Table:
    """The family's table of rows that lie in order, landed by ledger entry `entry`."""
    readings, messages = rows.readings, rows.messages
    shared = _Spread(readings["message"])
    made = {
        "entry": lambda: pa.repeat(pa.scalar(entry, pa.int64()), len(rows)),
        "family": lambda: _coded(np.zeros(len(rows), dtype=np.int32), [origin_family]),
        "time_quality": lambda: _qualities(readings["quality"]),
        "offset_min": lambda: _offsets(readings["offset_min"]),
        "origin_index": lambda: readings["index"],
        "value": lambda: _numbers(readings["value"]) if "value" in readings else pa.nulls(len(rows), pa.float64()),
    }
    columns = []
    for wanted in family.schema:
        if wanted.name in made:
            columns.append(arrow(made[wanted.name]()))
        elif wanted.name in readings:
            columns.append(arrow(readings[wanted.name]))
        elif wanted.name in messages.column_names:
            columns.append(shared.column(messages.column(wanted.name).combine_chunks()))
        else:
            columns.append(pa.nulls(len(rows), wanted.type))
    return _typed(columns, family)


def _numbers(value: Array) -> pa.Array:
    """Values as they land: null where the reading is a code, which is NaN until here."""
    missing = np.isnan(value)
    return pa.array(value, mask=missing) if missing.any() else pa.array(value)


class _Spread:
    """What messages share, for each of their readings: readings of a message mostly lie together, as runs."""

    def __init__(self, message: Array) -> None:
        begins = np.flatnonzero(np.concatenate([[True], message[1:] != message[:-1]]))
        self._message = message[begins].astype(np.intp)
        self._runs = np.diff(np.concatenate([begins, [len(message)]]))
        self._first = pa.array(np.zeros(len(message), dtype=np.int32))

    def column(self, values: pa.Array) -> pa.Array:
        """A message's value for each reading; texts as a dictionary of exactly those in use."""
        if pa.types.is_list(values.type):
            return values.take(pa.array(np.repeat(self._message, self._runs)))
        if pa.types.is_primitive(values.type):
            return pa.array(np.repeat(values.to_numpy()[self._message], self._runs))
        coded = values.take(pa.array(self._message)).dictionary_encode()
        return pa.DictionaryArray.from_arrays(self._indices(coded.indices, len(coded.dictionary)), coded.dictionary)

    def _indices(self, codes: pa.Int32Array, texts: int) -> pa.Int32Array:
        """The codes of the runs for each reading; one array for all columns that have one text only."""
        if not texts:
            return pa.nulls(len(self._first), pa.int32())
        if texts == 1 and not codes.null_count:
            return self._first
        spread = np.repeat(codes.fill_null(0).to_numpy(), self._runs)
        if codes.null_count:
            missing = codes.is_null().to_numpy(zero_copy_only=False)
            return pa.array(spread, mask=np.repeat(missing, self._runs))
        return pa.array(spread)


def _coded(codes: Array, names: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names, pa.string()))


def _qualities(codes: Array) -> pa.Array:
    if is_said_once(codes):
        return _coded(said_once(np.int32(0), len(codes)), [QUALITIES[codes[0]]])
    used = np.flatnonzero(np.bincount(codes, minlength=len(QUALITIES)))
    place = np.zeros(len(QUALITIES), dtype=np.int32)
    place[used] = np.arange(len(used))
    return _coded(place[codes], [QUALITIES[code] for code in used])


def _offsets(offset: Array) -> pa.Array:
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
