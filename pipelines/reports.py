"""Laboratories' reports as columns: a row a report, a row a result, and the moments that they speak of, all as sent.

A result is one reading of its record. What a code, a unit or a word means is said later, by `pipelines.lab_results`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.blocks import Block, batch
from schemas.lab_results import Code, CodeValue, LabReport, Moment, NumberValue, Result, TextValue, lab_report

NO_MOMENT = -1
"""In place of a moment's number: there is none."""

_CODES = pa.list_(pa.struct([("code", pa.string()), ("system", pa.string()), ("text", pa.string())]))


class Reports:
    """Reports as they are gathered. `assumed_zone` is that of their partner's wall clocks."""

    def __init__(self, assumed_zone: str | None) -> None:
        self._zone = assumed_zone
        self._reports: list[LabReport] = []
        self._offsets: list[int] = []
        self._received: list[int] = []

    def __len__(self) -> int:
        return len(self._reports)

    def take(self, content: dict[str, Any], offset: int, received_us: int) -> None:
        """The report of a decoded record; Rejected where it is none."""
        self._reports.append(lab_report(content, self._zone))
        self._offsets.append(offset)
        self._received.append(received_us)

    def block(self, meta: dict[str, Any]) -> Block:
        """The columns: `order` tells the reports of one order from those of others, null where nothing does."""
        moments = _Moments()
        parts = {"messages": self._messages(moments), "results": self._results(moments)}
        return Block(meta, {**parts, "moments": moments.columns()})

    def _messages(self, moments: "_Moments") -> pa.RecordBatch:
        reports = self._reports
        specimens = [report.specimen for report in reports]
        return batch(
            {
                "offset": np.array(self._offsets, dtype=np.int64),
                "received": np.array(self._received, dtype=np.int64),
                "readings": np.array([len(report.results) for report in reports], dtype=np.int64),
                "subject": pa.array([report.subject for report in reports], pa.string()),
                "kit": pa.array([report.subject_kind == "kit" for report in reports], pa.bool_()),
                "laboratory": pa.array([report.laboratory for report in reports], pa.string()),
                "order": pa.array([_order(report) for report in reports], pa.string()),
                "specimen_type": _codes(specimen.type if specimen else None for specimen in specimens),
                "specimen_site": _codes(specimen.site if specimen else None for specimen in specimens),
                "collected": moments.numbers(one.collected if one else None for one in specimens),
                "arrived": moments.numbers(one.received if one else None for one in specimens),
                "reported": moments.numbers(report.sent for report in reports),
            }
        )

    def _results(self, moments: "_Moments") -> pa.RecordBatch:
        results = [result for report in self._reports for result in report.results]
        sizes = [len(report.results) for report in self._reports]
        own = {name: pa.array([getattr(one, name) for one in results], pa.string()) for name in _TEXTS}
        lists = {name: pa.array([getattr(one, name) for one in results], pa.list_(pa.string())) for name in _LISTS}
        return batch(
            {
                "message": np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
                "index": np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
                **own,
                **lists,
                "occurrence": pa.array([one.occurrence for one in results], pa.int32()),
                "code": _codes(one.code for one in results),
                "system": pa.array([one.code.system for one in results], pa.string()),
                "other_code": _codes(one.other_code for one in results),
                "other_system": pa.array([one.other_code and one.other_code.system for one in results], pa.string()),
                "unit": _codes(one.unit for one in results),
                "method": _codes(one.method for one in results),
                "observed": moments.numbers(one.observed for one in results),
                "analysed": moments.numbers(one.analysed for one in results),
                **_values(results),
            }
        )


_TEXTS = ("kind", "status", "sub_id", "reference_range")
_LISTS = ("range_applies_to", "abnormal_flags")
_UNIT = "\x1f"  # between the parts of an order's name


def _order(report: LabReport) -> str | None:
    """What tells the order: the laboratory's number, else that of whoever ordered, the specimen's, or the kit's."""
    specimen, kit = report.specimen, report.subject if report.subject_kind == "kit" else None
    number = report.order.id or report.order.placer_id or (specimen and specimen.id) or kit
    service = report.order.service.code if report.order.service else ""
    return None if number is None else f"{number}{_UNIT}{service}"


def _codes(codes: Iterable[Code | None]) -> pa.Array:
    return pa.array([code and code.code for code in codes], pa.string())


def _values(results: list[Result]) -> dict[str, Any]:
    """What each value is (`value_kind`: number, codes, text, time, or null), and the columns of its kind."""
    values = [result.value for result in results]
    numbers = [value if isinstance(value, NumberValue) else None for value in values]
    return {
        "value_kind": pa.array([_kind(value) for value in values], pa.string()),
        "written": pa.array([number and number.written for number in numbers], pa.string()),
        "comparator": pa.array([number and number.comparator for number in numbers], pa.string()),
        "number": pa.array([number.number if number else None for number in numbers], pa.float64()),
        "relation": pa.array([number and number.relation for number in numbers], pa.string()),
        "second": pa.array([number.second if number else None for number in numbers], pa.float64()),
        "codes": pa.array([_triples(value) if isinstance(value, CodeValue) else None for value in values], _CODES),
        "text": pa.array([value.text if isinstance(value, TextValue) else None for value in values], pa.string()),
    }


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "time")


_KINDS = ((NumberValue, "number"), (CodeValue, "codes"), (TextValue, "text"))


def _triples(value: CodeValue) -> list[dict[str, str | None]]:
    return [{"code": c.code, "system": c.system, "text": c.text} for c in (*value.codes, *value.other_codes)]


class _Moments:
    """Moments by number, each once: most results of a report speak of the same."""

    def __init__(self) -> None:
        self._number_of: dict[tuple[Any, ...], int] = {}

    def numbers(self, moments: Iterable[Moment | None]) -> pa.Array:
        """The number of each, NO_MOMENT for none."""
        known = self._number_of
        said = [None if moment is None else tuple(vars(moment).values()) for moment in moments]
        return pa.array([NO_MOMENT if one is None else known.setdefault(one, len(known)) for one in said], pa.int32())

    def columns(self) -> pa.RecordBatch:
        columns = zip(*self._number_of, strict=True)
        return batch(
            {name: pa.array(said, _MOMENT[name]) for name, said in zip(Moment.model_fields, columns, strict=True)}
        )


_MOMENT = {
    "at": pa.int64(),
    "clock": pa.string(),
    "offset_min": pa.int16(),
    "zone": pa.string(),
    "precision": pa.string(),
    "taken_from": pa.string(),
    "offset_from": pa.string(),
}
