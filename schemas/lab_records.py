"""Laboratories' source records: the columns that every format of results has, one row an observation.

`order`, `specimen`, `sent`, `run` and `result` are the records of the contract lab-result, field by field; of `result.value`
one of the four kinds is there, or none. Where a clock is local, `start` and `end` are the wall clock's.
"""

import pyarrow as pa

from schemas.source_records import column, source_schema

_TEXT = pa.string()


def _record(**fields: pa.DataType) -> pa.StructType:
    return pa.struct(list(fields.items()))


def _list(item: pa.DataType) -> pa.ListType:
    return pa.list_(pa.field("element", item, nullable=False))


CODE = _record(code=_TEXT, system=_TEXT, text=_TEXT)
MOMENT = _record(
    at=pa.int64(),
    clock=_TEXT,
    offset_min=pa.int16(),
    zone=_TEXT,
    precision=_TEXT,
    taken_from=_TEXT,
    offset_from=_TEXT,
)
NUMBER = _record(written=_TEXT, comparator=_TEXT, number=pa.float64(), relation=_TEXT, second=pa.float64())
VALUE = _record(
    number=NUMBER,
    codes=_record(codes=_list(CODE), other_codes=_list(CODE)),
    text=_TEXT,
    time=_record(written=_TEXT, moment=MOMENT, time_of_day=pa.int64()),
)
RESULT = _record(
    kind=_TEXT,
    code=CODE,
    other_code=CODE,
    sub_id=_TEXT,
    occurrence=pa.int32(),
    value=VALUE,
    unit=CODE,
    reference_range=_TEXT,
    range_applies_to=_list(_TEXT),
    abnormal_flags=_list(_TEXT),
    status=_TEXT,
    method=CODE,
    observed=MOMENT,
    analysed=MOMENT,
    dilution=pa.float64(),
)
ORDER = _record(id=_TEXT, placer_id=_TEXT, service=CODE)
SPECIMEN = _record(
    id=_TEXT,
    type=CODE,
    site=CODE,
    method=CODE,
    collected=MOMENT,
    received=MOMENT,
    conditions=_list(CODE),
    rejected=_list(CODE),
    haemolysis_index=pa.float64(),
)
RUN = _record(id=_TEXT, controls=_TEXT)

LAB_SCHEMA = source_schema(
    column("message", pa.int32(), "Number of the message in the file, from 1", nullable=False),
    column(
        "report",
        pa.int32(),
        "Number of the report in the file, from 1: rows of one share all but result",
        nullable=False,
    ),
    column("subject", _TEXT, "The kit's barcode, or the person as the laboratory knows them", nullable=False),
    column("subject_kind", _TEXT, "kit or person", nullable=False),
    column("order", ORDER, "The order that the results answer", nullable=False),
    column("specimen", SPECIMEN, "The specimen that was examined"),
    column("sent", MOMENT, "When the laboratory sent the report"),
    column("run", RUN, "The run in which the results were measured, and how its controls came out"),
    column("result", RESULT, "The observation", nullable=False),
)
