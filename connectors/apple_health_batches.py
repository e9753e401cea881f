"""Apple Health, the batches: what the handlers gathered becomes columns of source records, a batch at a time."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.apple_health_beats import beat_times
from connectors.apple_health_devices import devices
from connectors.apple_health_elements import ENTERED_KEY, ZONE_KEY, Attributes, Entry, RawPart, Taken
from connectors.apple_health_times import DAY_US, Bools, Instants, Ints, instants
from schemas.clocks import iana_zone
from schemas.families import UTC_MICROS
from schemas.reasons import Reason, Rejected
from schemas.source_records import PART, column, source_schema

LONGEST_TEXT = 200
MOST_PARTS = 4000
MOST_METADATA = 100
_ENTRY = pa.struct([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.string(), nullable=False)])

SCHEMA = source_schema(
    column("manufacturer", pa.string(), "The device's maker"),
    column(
        "offset_of",
        pa.string(),
        "Whose clock offset_min is: `export`, the exporting phone's on the day of the export, or `record`, that of the "
        "record's own zone at its start",
        nullable=False,
    ),
    column(
        "metadata",
        pa.list_(pa.field("element", _ENTRY, nullable=False)),
        "Those of the record's metadata that say how something was measured",
        nullable=False,
    ),
)

_TRUE = frozenset({"1", "true", "yes"})
_TYPE = r"^[A-Za-z0-9_.:/-]+$"  # what the receipt repeats must be a vendor's word
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REASONS = (None, Reason.INTERVAL, Reason.ZONE, Reason.FIELD, Reason.TOO_LARGE)
_FINE, _INTERVAL, _ZONE, _FIELD, _TOO_LARGE = range(len(_REASONS))


class Fault(NamedTuple):
    """A record that is none: its row among those taken, why, and its type where it says one."""

    row: int
    reason: Reason
    type: str | None


def batch_of(taken: Taken) -> tuple[pa.RecordBatch, list[Fault]]:
    """The records as a batch of SCHEMA, without those at fault, and these."""
    rows = taken.rows
    texts = {name: _texts(rows, name) for name in ("type", "sourceName", "value", "unit", "sourceVersion")}
    start, end = (instants(_texts(rows, name)) for name in ("startDate", "endDate"))
    if taken.summaries:
        end.us[taken.summaries] += DAY_US
    parts = _parts(taken.parts, start, end)
    faults = _faults(taken, texts, start, end, parts)
    manufacturer, model, firmware = devices(_texts(rows, "device"))
    metadata = [entry for entry in taken.metadata if entry[1] not in (ZONE_KEY, ENTERED_KEY)]
    zone, offset_min = _zones(taken.metadata, start)
    nothing = pa.nulls(len(rows), pa.string())
    columns = {
        "type": texts["type"],
        "start": _times(start.us),
        "end": _times(end.us),
        "offset_min": pa.array(offset_min),
        "zone": zone,
        "value": texts["value"],
        "unit": texts["unit"],
        "modality": _modalities(taken),
        "source_name": texts["sourceName"],
        "device_model": model,
        "firmware": firmware,
        "app": nothing,
        "app_version": texts["sourceVersion"],
        "record_id": nothing,
        "parts": _lists(parts.facts, parts.rows, "parts", len(rows)),
        "manufacturer": manufacturer,
        "offset_of": pa.array(np.where(np.asarray(zone.is_valid()), "record", "export"), pa.string()),
        "metadata": _lists(_entries(metadata), _rows(metadata), "metadata", len(rows)),
    }
    return _without(faults, columns), faults


def _texts(rows: list[Attributes], name: str) -> pa.StringArray:
    return pa.array([attributes.get(name) for attributes in rows], pa.string())


def _times(us: Ints, known: Bools | None = None) -> pa.TimestampArray:
    return pa.array(us, pa.int64(), mask=None if known is None else ~known).cast(UTC_MICROS)


def _modalities(taken: Taken) -> pa.StringArray:
    said = ["sensed"] * len(taken.rows)
    for row in taken.summaries:
        said[row] = "derived"
    for row, key, value in taken.metadata:
        if key == ENTERED_KEY and value.strip().lower() in _TRUE:
            said[row] = "self_reported"
    return pa.array(said, pa.string())


def _zones(metadata: list[Entry], start: Instants) -> tuple[pa.StringArray, npt.NDArray[np.int16]]:
    """The zones that records name, and the offset of each record: by its zone where it has one, else as written."""
    zones: list[str | None] = [None] * len(start.us)
    offset_min = start.offset_min.copy()
    for row, key, value in metadata:
        if key == ZONE_KEY and (offset := _offset(value, int(start.us[row]))) is not None:
            zones[row], offset_min[row] = value, offset
    return pa.array(zones, pa.string()), offset_min


def _offset(zone: str, us: int) -> int | None:
    """A zone's offset at a moment, whole minutes; None where it is no zone of the IANA's."""
    try:
        offset = (_EPOCH + timedelta(microseconds=us)).astimezone(iana_zone(zone)).utcoffset()
    except Rejected:
        return None
    return None if offset is None else round(offset.total_seconds() / 60)


class _Parts(NamedTuple):
    """Parts [n] as structs, the row of each, and whether it is at fault."""

    facts: pa.StructArray
    rows: Ints
    faulty: Bools


def _parts(raw: list[RawPart], start: Instants, end: Instants) -> _Parts:
    rows = _rows(raw)
    texts = list(zip(*raw, strict=True))[1:] if raw else [()] * 6
    kind, value, unit, begun, ended, clock = (pa.array(text, pa.string()) for text in texts)
    from_text, to_text = instants(begun), instants(ended)
    beat, known = beat_times(clock, start.us[rows], end.us[rows], start.offset_min[rows])
    from_us, to_us = (np.where(known, beat, text.us) for text in (from_text, to_text))
    timed = known | ~(from_text.unreadable | to_text.unreadable)
    faulty = (np.asarray(begun.is_valid()) | np.asarray(ended.is_valid())) & ~timed
    faulty |= from_text.unplaced | to_text.unplaced | _too_long(kind) | _too_long(value) | _too_long(unit)
    faulty |= np.asarray(kind.is_null())
    arrays = [kind, value, unit, _times(from_us, timed), _times(to_us, timed)]
    return _Parts(pa.StructArray.from_arrays(arrays, fields=list(PART)), rows, faulty)


def _rows(inside: list[Entry] | list[RawPart]) -> Ints:
    return np.array([one[0] for one in inside], np.int64)


def _entries(metadata: list[Entry]) -> pa.StructArray:
    texts = [pa.array([entry[place] for entry in metadata], pa.string()) for place in (1, 2)]
    return pa.StructArray.from_arrays(texts, fields=list(_ENTRY))


def _lists(values: pa.Array, rows: Ints, name: str, count: int) -> pa.ListArray:
    """A list for each row of what is in it; `rows` are in order."""
    offsets = np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=SCHEMA.field(name).type)


def _too_long(texts: pa.StringArray) -> Bools:
    return np.asarray(pc.fill_null(pc.greater(pc.utf8_length(texts), LONGEST_TEXT), False))


def _faults(
    taken: Taken, texts: dict[str, pa.StringArray], start: Instants, end: Instants, parts: _Parts
) -> list[Fault]:
    """What is wrong with the records at fault, the gravest of each."""
    found = np.zeros(len(taken.rows), np.int8)
    found[end.us < start.us] = _INTERVAL
    found[start.unplaced | end.unplaced] = _ZONE
    found[start.unreadable | end.unreadable] = _FIELD
    named = pc.match_substring_regex(texts["type"], _TYPE)
    sourced = pc.greater(pc.binary_length(texts["sourceName"]), 0)
    found[~np.asarray(pc.fill_null(pc.and_(named, sourced), False))] = _FIELD
    found[parts.rows[parts.faulty]] = _FIELD
    for column_ in texts.values():
        found[_too_long(column_)] = _TOO_LARGE
    found[[row for row, _, value in taken.metadata if len(value) > LONGEST_TEXT]] = _TOO_LARGE
    found[np.bincount(parts.rows, minlength=len(found)) > MOST_PARTS] = _TOO_LARGE
    found[np.bincount(_rows(taken.metadata), minlength=len(found)) > MOST_METADATA] = _TOO_LARGE
    return [_fault(int(row), int(found[row]), named, texts["type"]) for row in np.flatnonzero(found)]


def _fault(row: int, code: int, named: pa.BooleanArray, types: pa.StringArray) -> Fault:
    reason = _REASONS[code]
    assert reason is not None
    known = named[row].as_py() and len(types[row].as_py()) <= LONGEST_TEXT
    return Fault(row, reason, types[row].as_py() if known else None)


def _without(faults: list[Fault], columns: dict[str, pa.Array]) -> pa.RecordBatch:
    whole = pa.schema([field.with_nullable(True) for field in SCHEMA])
    batch = pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=whole)
    if faults:
        good = np.ones(batch.num_rows, np.bool_)
        good[[fault.row for fault in faults]] = False
        batch = batch.filter(pa.array(good))
    return pa.RecordBatch.from_arrays(batch.columns, schema=SCHEMA)
