"""Source records: the columns that a record of any app export has, before anybody has decided what it means.

A format's schema is these columns and then its own. Times are microseconds, UTC unless a column CLOCK says otherwise;
intervals are half-open, and the end of an instant is its start. Values and units are texts, as the source wrote them.
"""

import pyarrow as pa

from schemas.families import UTC_MICROS

MODALITIES = ("sensed", "self_reported", "derived")

PART = pa.struct(
    [
        pa.field("type", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("unit", pa.string()),
        pa.field("start", UTC_MICROS),
        pa.field("end", UTC_MICROS),
    ]
)
"""A fact nested in a record, such as a workout's distance: times that are null are the record's own."""


def column(name: str, kind: pa.DataType, doc: str, nullable: bool = True) -> pa.Field:
    """A column that says what it holds."""
    return pa.field(name, kind, nullable, {b"doc": doc.encode()})


def doc_of(field: pa.Field) -> str:
    """What a column holds, in words; empty where nobody said."""
    metadata: dict[bytes, bytes] = field.metadata or {}
    return metadata.get(b"doc", b"").decode()


_CORE = (
    column("type", pa.string(), "The vendor's own word for what the record is", nullable=False),
    column("start", UTC_MICROS, "When it began, UTC", nullable=False),
    column("end", UTC_MICROS, "When it ended, UTC; of an instant its start", nullable=False),
    column("offset_min", pa.int16(), "Offset of the source's clock from UTC, minutes"),
    column("zone", pa.string(), "IANA time zone in which it happened, where the record says one"),
    column("value", pa.string(), "The value as written: a number or a code"),
    column("unit", pa.string(), "The value's unit as written"),
    column("modality", pa.string(), "sensed, self_reported or derived", nullable=False),
    column("source_name", pa.string(), "What person or vendor calls the device or app", nullable=False),
    column("device_model", pa.string(), "The device's model, never a single device's number or name"),
    column("firmware", pa.string(), "Version of what runs on the device"),
    column("app", pa.string(), "The app that wrote the record, where it is the vendor's word"),
    column("app_version", pa.string(), "Version of the app or system that wrote the record"),
    column("record_id", pa.string(), "The source's own stable id of the record"),
    column("parts", pa.list_(pa.field("element", PART, nullable=False)), "Facts nested in the record", nullable=False),
)


CLOCK = column(
    "clock",
    pa.string(),
    "Whose time `start` and `end` are: `utc`, or `local`, the wall clock's own, which is placed by the record's offset or "
    "zone, else by the zone that is assumed for the partner",
    nullable=False,
)
"""A column of formats that write the wall clock's time without an offset."""


def core_schema() -> pa.Schema:
    """The columns that every format's records have."""
    return pa.schema(_CORE)


def repeating(schema: pa.Schema) -> frozenset[str]:
    """The columns of texts that many records of an export share: all but what was measured and what is each record's."""
    own = ("value", "record_id")
    return frozenset(field.name for field in schema if pa.types.is_string(field.type) and field.name not in own)


def source_schema(*own: pa.Field) -> pa.Schema:
    """The schema of a format: the core columns and its own."""
    return pa.schema([*_CORE, *own])
