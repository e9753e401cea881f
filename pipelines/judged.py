"""Messages whose headers have been judged, and what their readings have in common, as columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.blocks import Block, batch, column, texts
from pipelines.identity import hash64
from pipelines.zones import Placed
from schemas.mappings import Mapping
from schemas.registry import Partner

Array = npt.NDArray[Any]
Int64s = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class Judged:
    """The messages of one family in a decoded block: their `rows` there, what each maps to and how its clock stands."""

    block: Block
    partner: Partner
    rows: Int64s
    mappings: list[Mapping]
    placed: list[Placed]

    @property
    def is_live(self) -> bool:
        """Whether a device sends what it measures now; an export may be of any age."""
        return self.partner.live_devices and self.block.meta["live"]

    def numbers(self, name: str) -> Array:
        """A column of the messages [m]."""
        return np.asarray(column(self.block.messages, name)[self.rows])

    def flags(self, name: str) -> Flags:
        return np.asarray(_bools(self.block.messages, name)[self.rows])

    def samples(self, name: str) -> Array:
        """`start` or `end` of every sample (`moments` of each message), by the messages' own clocks."""
        return self._own(column(self.block.parts["samples"], name), column(self.block.messages, "moments"))

    def values(self) -> Array:
        """The values of every sample as sent, channel by channel; codes and counts are not among them."""
        numbers = self._where("coded", 0, self._where("counted", 0, self._sizes()))
        return self._own(column(self.block.parts["values"], "value"), numbers)

    def counts(self) -> Array:
        """The integers of the blocks that were sent as integers, int16 where all were, else int32; channel by channel."""
        return self._own(column(self.block.parts["counts"], "count"), self._where("counted", self._sizes(), 0))

    def codes(self, name: str = "code") -> pa.StringArray:
        """The codes in the catalogue's words; as they were `sent`."""
        return self._own_texts("codes", name, self._where("coded", column(self.block.messages, "samples"), 0))

    def record_ids(self) -> pa.StringArray:
        counts = self._where("identified", column(self.block.messages, "samples"), 0)
        return self._own_texts("record_ids", "record_id", counts)

    def _sizes(self) -> Array:
        return column(self.block.messages, "samples") * column(self.block.messages, "width")

    def _where(self, name: str, yes: Any, no: Any) -> Array:
        return np.asarray(np.where(_bools(self.block.messages, name), yes, no))

    def _own_texts(self, part: str, name: str, counts: Array) -> pa.StringArray:
        every = self.block.parts[part].column(name)
        return every.take(pa.array(self._own(np.arange(len(every)), counts)))

    def _own(self, values: Array, counts: Array) -> Array:
        """These messages' part of a column that holds `counts` items of each message of the block."""
        if len(self.rows) == len(counts):
            return values
        chosen = np.zeros(len(counts), dtype=bool)
        chosen[self.rows] = True
        return np.asarray(values[np.repeat(chosen, counts)])

    def canonical(self, values: Array, counts: Array) -> Array:
        """Values, `counts` of each message, in canonical units: bit for bit the same where the unit is as sent."""
        factor, offset = self.conversion()
        identical = (factor == 1.0) & (offset == 0.0)
        if identical.all():
            return values
        with np.errstate(over="ignore"):
            converted = values * np.repeat(factor, counts) + np.repeat(offset, counts)
        return np.where(np.repeat(identical, counts), values, converted)

    def conversion(self) -> tuple[Array, Array]:
        """What each message's values are multiplied by and then added to, to be in the canonical unit."""
        factor, offset = (np.array([getattr(m, name) for m in self.mappings]) for name in ("factor", "offset"))
        return factor, offset

    def spread(self, name: str, counts: Array, dtype: Any) -> Array:
        """How the clocks stand (a field of Placed) at each of `counts` samples of each message."""
        values = [getattr(placed, name) for placed in self.placed]
        if not any(isinstance(value, np.ndarray) for value in values):
            return np.repeat(np.array(values, dtype=dtype), counts)
        each = [np.broadcast_to(np.asarray(v, dtype=dtype), (n,)) for v, n in zip(values, counts, strict=True)]
        return np.concatenate(each)

    def messages(self) -> pa.RecordBatch:
        """What the readings of a message share: what its header said, the catalogue's words for it, and its hash."""
        chosen = self.block.messages.take(pa.array(self.rows))
        headers = zip(*(texts(chosen, name) for name in ("source_name", "sent_as", "unit_sent")), strict=True)
        hashes = [hash64(self.partner.name, *header) for header in headers]
        return batch(
            {
                **{name: chosen.column(name) for name in _CARRIED},
                "hash": np.array(hashes, dtype=np.uint64),
                "metric_index": pa.array([m.metric for m in self.mappings], pa.int32()),
                "unit": pa.array([m.unit for m in self.mappings], pa.string()),
            }
        )


_CARRIED = (
    *("offset", "received", "subject", "metric", "unit_sent", "modality", "channels", "source_name"),
    *("device_model", "firmware", "app", "app_version"),
)


def bounds(counts: Array) -> Int64s:
    """Where the items of each message begin, and the end of the last: [m + 1]."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _bools(part: pa.RecordBatch, name: str) -> Flags:
    """A column of booleans without nulls; Arrow packs them, so they are copied."""
    return np.asarray(part.column(name).to_numpy(zero_copy_only=False))
