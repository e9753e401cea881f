"""Many laboratories' messages at once: judged as columns, and one by one only where the columns leave a doubt.

What is refused, and in which words, is `lab_report`'s alone; here is said, never too seldom, which to ask it about.
"""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.avro_columns import message_type
from schemas.barcodes import is_barcode
from schemas.clocks import is_zone
from schemas.contracts import latest
from schemas.lab_results import WITHOUT_VALUE, LabReport, lab_report, may_be_barcode
from schemas.limits import Flags, either, limits_of, of_lists
from schemas.reasons import Rejected

_TWO_NUMBERS = pa.array(["range", "ratio"])
_WITHOUT_VALUE = pa.array(sorted(WITHOUT_VALUE))


@cache
def _type() -> pa.DataType:
    return message_type(latest("lab-result"))


def lab_reports(
    messages: list[dict[str, Any]], assumed_zone: str | None = None
) -> tuple[pa.StructArray, dict[int, Rejected]]:
    """Decoded messages as a column, and which of them `lab_report` refuses, by their place in it."""
    column = pa.array(messages, _type())
    refused = {}
    for place in np.flatnonzero(_doubtful(column, assumed_zone)).tolist():
        try:
            lab_report(messages[place], assumed_zone)
        except Rejected as fault:
            refused[place] = fault
    return column, refused


def _doubtful(column: pa.StructArray, assumed_zone: str | None) -> Flags:
    lists = column.field("results")
    results = pc.list_flatten(lists)
    rules = _without_value(results) | _of_value(results.field("value")) | _unplaced(results, "observed", assumed_zone)
    found = either(limits_of(LabReport)(column), of_lists(lists, rules))
    for name in ("collected", "received"):
        found = either(found, _unplaced(column.field("specimen"), name, assumed_zone))
    beside = _flags(pc.equal(pc.list_value_length(lists), 0)) | _misread(column)
    return beside if found is None else np.asarray(beside | found)


def _misread(column: pa.StructArray) -> Flags:
    """Reports of kits whose number is meant as a barcode and is none."""
    subjects = column.field("subject").dictionary_encode()
    misread = [may_be_barcode(one) and not is_barcode(one) for one in subjects.dictionary.to_pylist()]
    of_kits = pc.equal(column.field("subject_kind"), "kit")
    return _flags(pc.and_(pa.array(misread, pa.bool_()).take(subjects.indices), of_kits))


def _without_value(results: pa.StructArray) -> Flags:
    """Results that have no value although their status wants one."""
    allowed = pc.is_in(results.field("status"), _WITHOUT_VALUE)
    return _flags(pc.and_not(results.field("value").is_null(), allowed))


def _of_value(value: pa.StructArray) -> Flags:
    """Values whose fields contradict each other; what no field tells to be of another kind counts as a number."""
    there = {field.name: _flags(own.is_valid()) for field, own in zip(value.type, value.flatten(), strict=True)}
    is_time = there["moment"] | there["time_of_day"]
    is_number = _flags(value.is_valid()) & ~(there["codes"] | there["text"] | is_time)
    unlimited = pc.equal(value.field("comparator"), "not_detected").fill_null(False)
    two = _flags(pc.is_in(value.field("relation"), _TWO_NUMBERS))
    not_whole = (~there["number"] & ~_flags(unlimited)) | (there["second"] != two)
    return np.asarray(is_number & not_whole | there["moment"] & there["time_of_day"])


def _unplaced(of: pa.StructArray, name: str, assumed_zone: str | None) -> Flags:
    """Moments whose clock has no offset, and no zone that is one."""
    moment = pc.struct_field(of, name)
    zone, local = pc.struct_field(moment, "zone"), pc.equal(pc.struct_field(moment, "clock"), "local")
    strange = pa.array([one for one in zone.unique().to_pylist() if one is not None and not is_zone(one)], pa.string())
    without_zone = local if assumed_zone is None else pa.repeat(not is_zone(assumed_zone), len(zone))
    unknown = pc.if_else(zone.is_valid(), pc.is_in(zone, strange), without_zone)
    unsaid = pc.and_(moment.is_valid(), pc.struct_field(moment, "offset_min").is_null())
    return _flags(pc.and_(unsaid, unknown.fill_null(False)))


def _flags(values: pa.Array) -> Flags:
    return np.asarray(values.to_numpy(zero_copy_only=False))
