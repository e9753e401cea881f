"""App exports: the facts of a message's source records, grouped by kind, unit and source, in the catalogue's words.

What a type, a unit and a code mean is in the format's mapping; a kind that it does not name goes on as UNMAPPED, which
no catalogue has, and is rejected and counted like any other unknown metric. A fact is a record's own value or one of
its parts, and its place among all facts of the message is its index, whatever the mapping.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.app_export import ExportHeader, read_export
from connectors.formats import format_named
from pipelines.blocks import Int64s
from pipelines.messages import Message, Messages
from schemas.clocks import is_zone
from schemas.export_mappings import ExportMapping, Rule, export_mapping
from schemas.headers import SensorHeader, sensor_header
from schemas.reasons import Reason, Rejected
from schemas.series import Series

UNMAPPED = "unmapped"

_SHARED = (
    "modality",
    "source_name",
    "device_model",
    "firmware",
    "app",
    "app_version",
    "clock",
    "zone",
    "offset_min",
    "offset_of",
)
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_SHOWN = re.compile(r"[A-Za-z0-9/_.]{1,100}")
_OTHER = "other"
_WORD = 200


class ExportMessages(Messages):
    """Those of the contract app-export: a record is as many messages as it has kinds of facts."""

    def take(self, content: dict[str, Any], offset: int, received_us: int) -> None:
        """The messages of a decoded record; Rejected where it is none."""
        for message in export_messages(content):
            self.add(message, offset, received_us)


def export_messages(content: dict[str, Any]) -> list[Message]:
    """The facts of a decoded message of the contract app-export, a message for each kind; Rejected where it is none."""
    header, records = read_export(content)
    mapping = _mapping(header.format)
    facts = _facts(records, mapping)
    if not len(facts):
        raise Rejected(Reason.NO_READINGS, "records")
    return [_message(header, records, facts, mapping, places) for places in _groups(records, facts)]


def _mapping(name: str) -> ExportMapping | None:
    """What the records of a known format mean; None where nobody has said it."""
    source = format_named(name)
    return export_mapping(source.mapping) if source and source.mapping else None


class _Facts:
    """All facts of the records as columns: own values first, then parts; `row` is the record, `index` the place."""

    def __init__(
        self, row: Int64s, index: Int64s, is_part: npt.NDArray[np.bool_], columns: dict[str, pa.Array]
    ) -> None:
        self.row, self.index, self.is_part, self.columns = row, index, is_part, columns

    def __len__(self) -> int:
        return len(self.row)


def _facts(records: pa.RecordBatch, mapping: ExportMapping | None) -> _Facts:
    lists = records.column("parts")
    counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    before = np.cumsum(counts) - counts
    own = np.arange(records.num_rows, dtype=np.int64)
    own_index = own + before
    parents = np.repeat(own, counts)
    part_index = np.repeat(own_index + 1 - before, counts) + np.arange(len(parents))
    kept = own[
        ~pc.is_in(records.column("type"), pa.array(_containers(mapping), pa.string())).to_numpy(zero_copy_only=False)
    ]
    parts = lists.flatten()
    row = np.concatenate([kept, parents])
    columns = {
        name: pa.concat_arrays(
            [records.column(name).take(pa.array(kept)), parts.field(name).cast(records.column(name).type)]
        )
        for name in ("type", "unit", "value")
    }
    for name in ("start", "end"):
        inherited = records.column(name).take(pa.array(parents))
        columns[name] = pa.concat_arrays(
            [records.column(name).take(pa.array(kept)), pc.coalesce(parts.field(name), inherited)]
        )
    is_part = np.concatenate([np.zeros(len(kept), dtype=bool), np.ones(len(parents), dtype=bool)])
    return _Facts(row, np.concatenate([own_index[kept], part_index]), is_part, columns)


def _containers(mapping: ExportMapping | None) -> list[str]:
    return sorted(mapping.containers) if mapping else []


def _groups(records: pa.RecordBatch, facts: _Facts) -> Iterator[Int64s]:
    """The facts' places by kind, unit, source and clock, in the order in which they lie in the message."""
    shared = _Kinds(records.num_rows)
    for name in _SHARED:
        if name in records.schema.names:
            shared.tell_apart(*_codes(records.column(name)))
    kinds = _Kinds(len(facts))
    kinds.tell_apart(shared.number[facts.row], shared.count)
    for values in (facts.columns["type"], facts.columns["unit"]):
        kinds.tell_apart(*_codes(values))
    kinds.tell_apart(facts.is_part.astype(np.int64), 2)
    _, kind = np.unique(kinds.number, return_inverse=True)
    in_order = np.argsort(facts.index, kind="stable")
    order = in_order[np.argsort(kind[in_order].astype(np.int32), kind="stable")]
    begins = np.flatnonzero(np.diff(kind[order], prepend=-1))
    yield from np.split(order, begins[1:])


class _Kinds:
    """Numbers below `count` that are equal where everything is by which the items were told apart."""

    def __init__(self, items: int) -> None:
        self.number, self.count = np.zeros(items, dtype=np.int64), 1

    def tell_apart(self, code: Int64s, count: int) -> None:
        """By one more thing, of which there are `count`; the numbers are drawn together where they get too large."""
        if self.count * count >= _MOST_KINDS:
            distinct, self.number = np.unique(self.number, return_inverse=True)
            self.count = len(distinct)
        self.number, self.count = self.number * count + code, self.count * count


_MOST_KINDS = 1 << 62


def _codes(values: pa.Array) -> tuple[Int64s, int]:
    """A number for each value, null being one, and how many there are."""
    coded = values.dictionary_encode(null_encoding="encode")
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), max(1, len(coded.dictionary))


def _message(
    header: ExportHeader, records: pa.RecordBatch, facts: _Facts, mapping: ExportMapping | None, places: Int64s
) -> Message:
    """The facts at these places, which are of one kind, unit, source and clock."""
    first = int(places[0])
    kind, unit = (facts.columns[name][first].as_py() for name in ("type", "unit"))
    rule = mapping.rule(kind, bool(facts.is_part[first]), unit) if mapping else None
    found = {name: _text(records, name, int(facts.row[first])) for name in _SHARED}
    series, sent_codes = _series(records, facts, places, rule)
    return Message(
        header=_header(header, found, rule),
        series=series,
        sent_as=kind,
        unit_sent=unit or "",
        sent_codes=sent_codes,
        index=facts.index[places].astype(np.int32),
        shown=None if rule else _shown(kind),
        export_offset=found["offset_of"] == "export",
    )


def _text(records: pa.RecordBatch, name: str, row: int) -> Any:
    return records.column(name)[row].as_py() if name in records.schema.names else None


def _header(header: ExportHeader, found: dict[str, Any], rule: Rule | None) -> SensorHeader:
    """What the facts share, judged as the header of a sensor message is: its own zone before the exporter's offset."""
    zone = found["zone"] if is_zone(found["zone"]) else None
    source = {name: found[name] or None for name in ("device_model", "firmware", "app", "app_version")}
    return sensor_header(
        {
            "subject": header.subject,
            "metric": rule.metric.code if rule else UNMAPPED,
            "unit": (rule.unit if rule else "") or "1",
            "modality": found["modality"],
            "source": {"name": found["source_name"], **source},
            "clock": found["clock"] or "utc",
            "offset_min": None if zone else found["offset_min"],
            "zone": zone,
        }
    )


def _shown(kind: str) -> str:
    """A kind that nobody knows, where it is a plain word; anything else could be somebody's text."""
    return kind if _SHOWN.fullmatch(kind) else _OTHER


def _series(
    records: pa.RecordBatch, facts: _Facts, places: Int64s, rule: Rule | None
) -> tuple[Series, list[str] | None]:
    """The facts as intervals, and their codes as sent. A value that is no number is NaN, and rejected as such."""
    at = pa.array(places)
    start, end = (np.asarray(facts.columns[name].take(at).cast(pa.int64())) for name in ("start", "end"))
    value = facts.columns["value"].take(at)
    numbers = codes = sent = None
    if rule and rule.is_coded:
        sent = [rule.code or "" if text is None else text for text in value.to_pylist()]
        codes = [rule.code or rule.codes.get(text, text) for text in sent]
    else:
        numbers = _numbers(value)
    return Series(len(places), start, end, 0, numbers, 1.0, codes, _record_ids(records, facts, places)), sent


def _numbers(value: pa.Array) -> Any:
    """The numbers that the texts are, NaN where one is none: at once where all are, which is much quicker.

    Not so where one has an exponent: Arrow reads some that are none by our rule, and a text must not be a number or none
    by what lies beside it.
    """
    if not pc.any(pc.match_substring(value, "e", ignore_case=True)).as_py():
        with suppress(pa.ArrowInvalid):
            return value.cast(pa.float64()).to_numpy(zero_copy_only=False)  # null becomes NaN
    is_number = pc.match_substring_regex(value, _NUMBER).fill_null(False)
    return pc.if_else(is_number, value, "nan").cast(pa.float64()).to_numpy(zero_copy_only=False)


def _record_ids(records: pa.RecordBatch, facts: _Facts, places: Int64s) -> list[str] | None:
    """The source's own ids of records; a part has none."""
    ids = records.column("record_id")
    if facts.is_part[places[0]] or ids.null_count == len(ids):
        return None
    return [text or "" for text in ids.take(pa.array(facts.row[places])).to_pylist()]
