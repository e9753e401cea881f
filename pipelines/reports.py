"""Laboratories' reports as columns: a row a report, a row a result, and the moments that they speak of, all as sent.

A result is one reading of its record. What a code, a unit or a word means is said later, by `pipelines.lab_results`.
"""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks import Block, batch
from schemas.barcodes import spelled
from schemas.lab_columns import lab_reports
from schemas.reasons import Rejected

NO_MOMENT = -1
"""In place of a moment's number: there is none."""

_CODES = pa.list_(pa.struct([("code", pa.string()), ("system", pa.string()), ("text", pa.string())]))
_Fields = dict[str, Any]


class Reports:
    """Reports as they are gathered. `assumed_zone` is that of their partner's wall clocks.

    `refuse` is told of the records that are none, by their offsets, when the block is made.
    """

    def __init__(self, assumed_zone: str | None, refuse: Callable[[int, Rejected], None]) -> None:
        self._zone, self._refuse = assumed_zone, refuse
        self._messages: list[_Fields] = []
        self._offsets: list[int] = []
        self._received: list[int] = []

    def __len__(self) -> int:
        return len(self._messages)

    def take(self, content: _Fields, offset: int, received_us: int) -> None:
        """The content of a decoded record."""
        self._messages.append(content)
        self._offsets.append(offset)
        self._received.append(received_us)

    def block(self, meta: dict[str, Any]) -> Block | None:
        """The columns: `order` tells the reports of one order from those of others, null where nothing does; a kit that
        stands for it is in its one spelling there, and in `order_sent` as it was sent.

        None where all records were refused.
        """
        reports, refused = lab_reports(self._messages, self._zone)
        for place, fault in refused.items():
            self._refuse(self._offsets[place], fault)
        kept = np.array([place for place in range(len(reports)) if place not in refused], dtype=np.int64)
        if not len(kept):
            return None
        moments = _Moments()
        own = [self._messages[place] for place in kept]
        columns = reports.take(pa.array(kept)) if refused else reports
        came = {
            "offset": np.array(self._offsets, dtype=np.int64)[kept],
            "received": np.array(self._received, dtype=np.int64)[kept],
        }
        parts = {
            "messages": batch({**came, **_of_reports(columns, own, moments)}),
            "results": batch(_of_results(columns.field("results"), own, moments)),
        }
        return Block(meta, {**parts, "moments": moments.columns()})


def _of_reports(reports: pa.StructArray, messages: list[_Fields], moments: "_Moments") -> _Fields:
    specimens = [message["specimen"] or _NOTHING for message in messages]
    return {
        "readings": pc.list_value_length(reports.field("results")).cast(pa.int64()),
        "subject": reports.field("subject"),
        "kit": _is_kit(reports),
        "laboratory": reports.field("laboratory"),
        "order": _order(reports, spelled),
        "order_sent": _order(reports, str),
        "specimen_type": pc.struct_field(reports, ["specimen", "type", "code"]),
        "specimen_site": pc.struct_field(reports, ["specimen", "site", "code"]),
        "collected": moments.numbers(one["collected"] for one in specimens),
        "arrived": moments.numbers(one["received"] for one in specimens),
        "reported": moments.numbers(message["sent"] for message in messages),
        **{name: _codes_of(reports, name) for name in ("conditions", "rejected")},
        "haemolysis_index": pc.struct_field(reports, ["specimen", "haemolysis_index"]),
        "run": pc.struct_field(reports, ["run", "id"]),
        "run_controls": pc.struct_field(reports, ["run", "controls"]),
    }


_NOTHING = {"collected": None, "received": None}
_UNIT = "\x1f"  # between the parts of an order's name


def _codes_of(reports: pa.StructArray, name: str) -> pa.Array:
    """The codes that a report's specimen has in a field, as lists of texts; empty where it says none."""
    lists = pc.struct_field(reports, ["specimen", name])
    codes = pc.list_flatten(lists).field("code")
    sizes = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), codes)


def _is_kit(reports: pa.StructArray) -> pa.Array:
    return pc.equal(reports.field("subject_kind"), "kit")


def _order(reports: pa.StructArray, spelling: Callable[[str], str]) -> pa.Array:
    """What tells the order: the laboratory's number, else that of whoever ordered, the specimen's, or the kit's."""
    numbers = [pc.struct_field(reports, path) for path in (["order", "id"], ["order", "placer_id"], ["specimen", "id"])]
    said = zip(reports.field("subject").to_pylist(), _is_kit(reports).to_pylist(), strict=True)
    kit = pa.array([spelling(subject) if is_kit else None for subject, is_kit in said], pa.string())
    service = pc.struct_field(reports, ["order", "service", "code"]).fill_null("")
    return pc.binary_join_element_wise(pc.coalesce(*numbers, kit), service, _UNIT)


def _of_results(lists: pa.ListArray, messages: list[_Fields], moments: "_Moments") -> _Fields:
    results, said = pc.list_flatten(lists), [result for message in messages for result in message["results"]]
    message = pc.list_parent_indices(lists).to_numpy()
    begins = np.searchsorted(message, message)
    codes = {name: pc.struct_field(results, [name, "code"]) for name in ("code", "other_code", "unit", "method")}
    return {
        "message": message.astype(np.int32),
        "index": (np.arange(len(message)) - begins).astype(np.int32),
        **{name: results.field(name) for name in _AS_SENT},
        **codes,
        "system": pc.struct_field(results, ["code", "system"]),
        "other_system": pc.struct_field(results, ["other_code", "system"]),
        "observed": moments.numbers(one["observed"] for one in said),
        "analysed": moments.numbers(one["analysed"] for one in said),
        **_values(results.field("value"), said),
    }


_AS_SENT = (
    *("kind", "status", "sub_id", "reference_range", "range_applies_to", "abnormal_flags", "occurrence"),
    "dilution",
)


def _values(values: pa.StructArray, results: list[_Fields]) -> _Fields:
    """What each value is (`value_kind`: number, codes, text, time, or null), and the columns of its kind."""
    own = {field.name: part for field, part in zip(values.type, values.flatten(), strict=True)}
    is_time = pc.or_(own["moment"].is_valid(), own["time_of_day"].is_valid())
    kinds = [own["codes"].is_valid(), own["text"].is_valid(), is_time, values.is_valid()]
    kind = pc.case_when(pa.StructArray.from_arrays(kinds, list("ctdn")), "codes", "text", "time", "number")
    return {
        "value_kind": kind,
        "written": pc.if_else(pc.equal(kind, "number"), own["written"], None),
        **{name: own[name] for name in ("comparator", "number", "relation", "second", "text")},
        "codes": pa.array([_triples(result["value"]) for result in results], _CODES),
    }


def _triples(value: _Fields | None) -> list[_Fields] | None:
    return value["codes"] + value["other_codes"] if value and "codes" in value else None


class _Moments:
    """Moments by number, each once: most results of a report speak of the same."""

    def __init__(self) -> None:
        self._number_of: dict[tuple[Any, ...], int] = {}

    def numbers(self, moments: Iterable[_Fields | None]) -> pa.Array:
        """The number of each, NO_MOMENT for none."""
        known = self._number_of
        said = [None if moment is None else _said(moment) for moment in moments]
        return pa.array([NO_MOMENT if one is None else known.setdefault(one, len(known)) for one in said], pa.int32())

    def columns(self) -> pa.RecordBatch:
        columns = zip(*self._number_of, strict=True)
        return batch({name: pa.array(said, kind) for (name, kind), said in zip(_MOMENT.items(), columns, strict=True)})


_MOMENT = {
    "at": pa.int64(),
    "clock": pa.string(),
    "offset_min": pa.int16(),
    "zone": pa.string(),
    "precision": pa.string(),
    "taken_from": pa.string(),
    "offset_from": pa.string(),
}
_said = itemgetter(*_MOMENT)
