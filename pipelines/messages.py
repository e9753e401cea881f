"""Messages as columns: what the headers say, and the samples, numbers, codes and record ids one after the other."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from pipelines.blocks import Block, Int64s, arrow, batch
from schemas.headers import SensorHeader, sensor_header
from schemas.metrics import catalogue
from schemas.series import Series, Texts, series

Int32s = npt.NDArray[np.int32]


@dataclass(slots=True)
class Message:
    """Readings that share a header: those of a sensor message, or the facts of one kind in a record of an export.

    The header is in the catalogue's words; `sent_as`, `unit_sent` and `sent_codes` are the source's own for metric, unit
    and codes, None where they are the same. `index` [n] are the readings' places among the record's, None for 0, 1, 2, ….
    `shown` is what may be told of a kind that nobody knows. `export_offset`: the offset is the exporting device's.
    """

    header: SensorHeader
    series: Series
    sent_as: str | None = None
    unit_sent: str | None = None
    sent_codes: Texts | None = None
    index: Int32s | None = None
    shown: str | None = None
    export_offset: bool = False


@dataclass
class Messages:
    """Messages as they are gathered, with the offset of their record and the time at which it was received."""

    messages: list[Message] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, message: Message, offset: int, received_us: int) -> None:
        self.messages.append(message)
        self.offsets.append(offset)
        self.received.append(received_us)

    def block(self, meta: dict[str, Any]) -> Block:
        """The columns: a row a message, and parts for what there are several of in each.

        A block of a high-rate signal keeps its integers as they were sent, in the part `counts`: they are a quarter of
        the size of the values.
        """
        contents = [message.series for message in self.messages]
        is_block = [_is_block(message.header) for message in self.messages]
        counted = [
            block and c.numbers is not None and c.numbers.dtype.kind == "i"
            for block, c in zip(is_block, contents, strict=True)
        ]
        moments = [c.moments if block else c.start for block, c in zip(is_block, contents, strict=True)]
        parts = {
            "messages": batch({**self._headers(), **_counts(contents, is_block, counted, moments)}),
            "samples": self._samples(contents, moments),
            **_content(contents, counted, [message.sent_codes for message in self.messages]),
        }
        return Block(meta, parts)

    def _headers(self) -> dict[str, Any]:
        headers = [message.header for message in self.messages]
        unit, metric = (
            pa.array([h.unit for h in headers], pa.string()),
            pa.array([h.metric for h in headers], pa.string()),
        )
        return {
            "offset": np.array(self.offsets, dtype=np.int64),
            "received": np.array(self.received, dtype=np.int64),
            "local": np.array([h.clock == "local" for h in headers]),
            "subject": pa.array([h.subject for h in headers], pa.string()),
            "metric": metric,
            "unit": unit,
            "sent_as": self._own("sent_as", metric),
            "unit_sent": self._own("unit_sent", unit),
            "shown": pa.array([message.shown for message in self.messages], pa.string()),
            "modality": pa.array([h.modality for h in headers], pa.string()),
            "zone": pa.array([h.zone for h in headers], pa.string()),
            "offset_min": pa.array([h.offset_min for h in headers], pa.int16()),
            "export_offset": np.array([message.export_offset for message in self.messages]),
            "width": np.array([max(1, len(h.channels)) for h in headers], dtype=np.int64),
            "channels": pa.array([list(h.channels) for h in headers], pa.list_(pa.string())),
            "source_name": pa.array([h.source.name for h in headers], pa.string()),
            "device_model": pa.array([h.source.device_model for h in headers], pa.string()),
            "firmware": pa.array([h.source.firmware for h in headers], pa.string()),
            "app": pa.array([h.source.app for h in headers], pa.string()),
            "app_version": pa.array([h.source.app_version for h in headers], pa.string()),
        }

    def _own(self, name: str, otherwise: pa.Array) -> pa.Array:
        texts = [getattr(message, name) for message in self.messages]
        if all(text is None for text in texts):
            return otherwise
        return pa.compute.coalesce(pa.array(texts, pa.string()), otherwise)

    def _samples(self, contents: list[Series], moments: list[Int64s]) -> pa.RecordBatch:
        start = np.concatenate(moments)
        columns = {"start": start, "end": start}
        if any(c.end is not None for c in contents):
            ends = [m if c.end is None else c.end for c, m in zip(contents, moments, strict=True)]
            columns["end"] = np.concatenate(ends)
        if any(message.index is not None for message in self.messages):
            indexes = [m.index if m.index is not None else np.arange(len(m.series)) for m in self.messages]
            columns["index"] = np.concatenate(indexes).astype(np.int32)
        return batch(columns)


class SensorMessages(Messages):
    """Those of the contract sensor-reading: a record is a message."""

    def take(self, content: dict[str, Any], offset: int, received_us: int) -> None:
        """The message of a decoded record; Rejected where it is none."""
        self.add(Message(sensor_header(content), series(content)), offset, received_us)


def _is_block(header: SensorHeader) -> bool:
    """Whether the message is one reading, a block of a high-rate signal; otherwise each sample is one."""
    metric = catalogue().get(header.metric)
    return metric is not None and metric.family == "waveform"


def _counts(
    contents: list[Series], is_block: list[bool], counted: list[bool], moments: list[Int64s]
) -> dict[str, npt.NDArray[Any]]:
    """How much there is of each message, and in what form."""
    return {
        "readings": np.array([1 if b else len(c) for b, c in zip(is_block, contents, strict=True)], dtype=np.int64),
        "samples": np.array([len(c) for c in contents], dtype=np.int64),
        "moments": np.array([len(m) for m in moments], dtype=np.int64),
        "period": np.array([c.period for c in contents], dtype=np.int64),
        "instant": np.array([c.end is None for c in contents]),
        "coded": np.array([c.codes is not None for c in contents]),
        "counted": np.array(counted),
        "scale": np.array([c.scale for c in contents]),
        "identified": np.array([c.record_ids is not None for c in contents]),
    }


def _content(contents: list[Series], counted: list[bool], sent_codes: list[Texts | None]) -> dict[str, pa.RecordBatch]:
    counts, values = [], []
    for content, is_counted in zip(contents, counted, strict=True):
        if is_counted and content.numbers is not None:
            counts.append(content.numbers)
        elif (own := content.values) is not None:
            values.append(own)
    codes = [c.codes for c in contents]
    sent = [c.codes if own is None else own for c, own in zip(contents, sent_codes, strict=True)]
    return {
        "counts": batch({"count": np.concatenate(counts) if counts else np.empty(0, np.int16)}),
        "values": batch({"value": np.concatenate(values) if values else np.empty(0)}),
        "codes": batch({"code": _texts(codes), "sent": _texts(sent)}),
        "record_ids": batch({"record_id": _texts([c.record_ids for c in contents])}),
    }


def _texts(columns: list[Texts | None]) -> pa.StringArray:
    """The texts of all messages, one after the other."""
    return pa.concat_arrays(
        [pa.array([], pa.string()), *(arrow(own, pa.string()) for own in columns if own is not None)]
    )
