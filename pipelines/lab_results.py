"""Laboratory results and answers: one row for each result of the judged reports, in the catalogue's terms.

What a code, a word and a unit mean is in the catalogue, in the reviewed tables beside it, and in the laboratory's own
mapping. Each result is a message of its own from here on, since each has its own metric.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.assays import NO_LIMITS, Limits, assays, limits_of, runs
from pipelines.blocks import Block, batch, column, texts
from pipelines.decode import Pointer
from pipelines.faults import Fault, faults_of_time, without
from pipelines.identity import hash64, record_hash64, sent64
from pipelines.reports import NO_MOMENT
from pipelines.zones import NO_OFFSET, Clock, place_moment
from schemas.barcodes import spelled
from schemas.families import ANSWER, REVISED_FAMILIES
from schemas.lab_mapping import LabMapping
from schemas.lab_terms import coded_value, metric_of, unit_of, worded_value
from schemas.metrics import Metric, catalogue, is_loinc
from schemas.reasons import Reason, Rejected
from schemas.registry import Partner

Array = npt.NDArray[Any]
Laboratories = Mapping[str, LabMapping]
NO_LABORATORIES: Laboratories = MappingProxyType({})

OTHER_CODE = "other"
"""In a pointer's path in place of a code that is not LOINC's: it could be somebody's text."""

_DECIMAL = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


def lab_results(block: Block, partner: Partner, laboratories: Laboratories) -> tuple[list[Block], list[Pointer]]:
    """The results and the answers of a decoded block of reports, each with its own rows, and what was rejected."""
    moments = _placed(block, partner)
    found, rejected = _read(block, laboratories)
    blocks = []
    for family in REVISED_FAMILIES:
        if found[family].rows:
            kept, faults = _family(block, partner, family, found[family], moments, laboratories)
            rejected += faults
            if kept is not None:
                blocks.append(kept)
    return blocks, rejected


class _Meaning(NamedTuple):
    """What a result says in the catalogue's terms; `value` NaN where it is no number, `code` None where it is no code."""

    metric: Metric
    value: float
    code: str | None
    second: float | None
    unit_sent: str
    value_sent: str | None
    value_system: str | None
    limits: Limits = NO_LIMITS


@dataclass
class _Found:
    """The results of a family: their rows in the block, and what each means."""

    rows: list[int] = field(default_factory=list)
    meanings: list[_Meaning] = field(default_factory=list)


def _read(block: Block, laboratories: Laboratories) -> tuple[dict[str, _Found], list[Pointer]]:
    results, found = block.parts["results"], {family: _Found() for family in REVISED_FAMILIES}
    rejected: list[Pointer] = []
    of_message = [laboratories.get(name) for name in texts(block.messages, "laboratory")]
    columns = zip(*(texts(results, name) for name in _READ), strict=True)
    for row, (message, *said) in enumerate(columns):
        result = dict(zip(_READ[1:], said, strict=True))
        try:
            meaning = _meaning(result, of_message[message])
        except Rejected as fault:
            rejected.append(_pointer(block, row, fault))
        else:
            family = ANSWER.name if result["kind"] == "questionnaire" else meaning.metric.family
            found[family].rows.append(row)
            found[family].meanings.append(meaning)
    return found, rejected


_READ = (
    *("message", "kind", "code", "system", "other_code", "other_system", "unit"),
    *("value_kind", "written", "number", "relation", "second", "codes", "text"),
)


def _meaning(result: dict[str, Any], laboratory: LabMapping | None) -> _Meaning:
    """What a result means; Rejected with the field at fault, and the code where it is LOINC's."""
    code, system = result["code"], result["system"]
    metric = metric_of(code, system, result["other_code"], result["other_system"], laboratory)
    if metric is None:
        raise Rejected(Reason.METRIC, f"results.{code if is_loinc(code) else OTHER_CODE}")
    if result["value_kind"] is None:
        return _Meaning(metric, np.nan, None, None, "", None, None)
    if metric.value == "number":
        return _number(metric, result, laboratory)
    return _code(metric, result, laboratory)


def _number(metric: Metric, result: dict[str, Any], laboratory: LabMapping | None) -> _Meaning:
    """A number or a limit in the metric's unit, also where it was sent as a text; of a ratio both numbers as sent."""
    text = (result["text"] or "").strip()
    if result["value_kind"] == "text" and _DECIMAL.fullmatch(text):
        result = {**result, "number": float(text), "written": text}
    elif result["value_kind"] != "number":
        raise Rejected(Reason.CODE, f"results.{metric.code}.value", "a number for a metric of numbers")
    conversion = unit_of(metric, result["unit"], laboratory)
    if conversion is None:
        raise Rejected(Reason.UNIT, f"results.{metric.code}.unit", f"one of: {', '.join(metric.units)}")
    number, second = result["number"], result["second"]
    if result["relation"] in (None, "range"):
        number, second = (None if n is None else n * conversion.factor + conversion.offset for n in (number, second))
    value = np.nan if number is None else number
    limits = limits_of(metric, result["code"], result["system"], result["relation"], laboratory)
    return _Meaning(metric, value, None, second, result["unit"] or "", result["written"], None, limits)


def _code(metric: Metric, result: dict[str, Any], laboratory: LabMapping | None) -> _Meaning:
    """A code of the metric's, from a code or a word that was sent; nothing of a text that nobody has reviewed lands."""
    kind, sent, system = result["value_kind"], None, None
    if kind == "codes":
        triples = [(one["code"], one["system"], one["text"]) for one in result["codes"]]
        found = coded_value(metric, triples, laboratory)
        sent, system = triples[0][:2]
    elif kind in ("number", "text"):
        sent = result["written"] if kind == "number" else result["text"]
        found = worded_value(metric, sent, laboratory)
    else:
        found = None
    if found is None:
        raise Rejected(Reason.CODE, f"results.{metric.code}.value", "a code or a word that the metric knows")
    return _Meaning(metric, np.nan, found, None, "", sent, system)


def _pointer(block: Block, row: int, fault: Rejected) -> Pointer:
    results = block.parts["results"]
    message, index = (int(column(results, name)[row]) for name in ("message", "index"))
    offset = int(column(block.messages, "offset")[message])
    return Pointer(block.meta["topic"], block.meta["partition"], offset, index, 1, fault.reason, fault.path)


class _Moments(NamedTuple):
    """The block's moments by number: microseconds in UTC, the offset as it was, and how sure that is."""

    utc: Array
    offset_min: Array
    quality: Array
    unknown: Array
    to_minute: Array

    def at(self, numbers: Array) -> pa.Array:
        """The moments of these numbers in UTC, null for none, and for one of which UTC is not known."""
        places = np.maximum(numbers, 0)
        return pa.array(self.utc[places], mask=(numbers == NO_MOMENT) | self.unknown[places])

    def exact(self, numbers: Array) -> Array:
        """Which of them are known to the minute, so that they can be put in an order with others."""
        return np.asarray((numbers != NO_MOMENT) & self.to_minute[np.maximum(numbers, 0)])


def _placed(block: Block, partner: Partner) -> _Moments:
    """All moments in UTC. Unknown is only when a report was sent or a specimen analysed: others were asked of at decode."""
    moments = block.parts["moments"]
    placed = [_place(partner, *said) for said in zip(*(texts(moments, name) for name in _CLOCK), strict=True)]
    utc, offset_min, quality, unknown = (np.array(values) for values in zip(*placed, strict=True))
    to_minute = np.array([precision in _TO_MINUTE for precision in texts(moments, "precision")])
    return _Moments(utc, offset_min.astype(np.int16), quality.astype(np.int8), unknown, to_minute)


def _place(
    partner: Partner, at: int, clock: str, offset_min: int | None, zone: str | None, borrowed_from: str | None
) -> tuple[int, int, int, bool]:
    """A moment in UTC, its offset, how sure that is, and whether it is unknown.

    A zone that the moment borrowed is the laboratory's own: it is assumed of it.
    """
    own, assumed = (None, zone) if zone and borrowed_from else (zone, partner.assumed_zone)
    try:
        return *place_moment(at, Clock(clock == "local", offset_min, own, assumed)), False
    except Rejected:
        return at, NO_OFFSET, 0, True


_TO_MINUTE = ("minute", "second")
_CLOCK = ("at", "clock", "offset_min", "zone", "offset_from")


def _family(
    block: Block, partner: Partner, family: str, found: _Found, moments: _Moments, laboratories: Laboratories
) -> tuple[Block | None, list[Pointer]]:
    """One family's block, without the results that break a rule of time."""
    rows = np.array(found.rows)
    results = block.parts["results"].take(pa.array(rows))
    report = column(results, "message")
    reports = block.messages.take(results.column("message"))
    messages = _messages(reports, partner, results, found.meanings)
    observed = column(results, "observed")
    start, value = moments.utc[observed], np.array([meaning.value for meaning in found.meanings])
    records, bits = _hashes(partner, reports, results)
    readings = {
        "message": np.arange(len(rows), dtype=np.int32),
        "index": column(results, "index"),
        "start": start,
        "end": start,
        "value": value,
        "code": pa.array([meaning.code for meaning in found.meanings], pa.string()),
        "offset_min": moments.offset_min[observed],
        "quality": moments.quality[observed],
        "sent": sent64(column(messages, "hash"), start, start, bits),
        "record": records,
        "specimen": _specimens(block.messages)[report],
        "run": runs(partner.name, block.messages)[report],
        **_as_sent(block, results, reports, found.meanings, moments),
        **assays(block.messages, results, [meaning.limits for meaning in found.meanings], laboratories),
    }
    faults = faults_of_time(start, start, column(messages, "received"), is_live=False)
    faults.append(Fault(np.isinf(value), Reason.NOT_FINITE, "results.value"))
    meta = {**block.meta, "family": family}
    return without(faults, Block(meta, {"messages": messages, "readings": batch(readings)}))


def _messages(
    reports: pa.RecordBatch, partner: Partner, results: pa.RecordBatch, meanings: list[_Meaning]
) -> pa.RecordBatch:
    """A row a result: whose it is, and its metric."""
    laboratory = texts(reports, "laboratory")
    said = zip(laboratory, *(texts(results, name) for name in ("code", "system", "unit")), strict=True)
    count, answered = len(meanings), texts(results, "kind")
    nothing = pa.nulls(count, pa.string())
    return batch(
        {
            **{name: reports.column(name) for name in ("offset", "received", "subject", "kit")},
            "metric": pa.array([meaning.metric.code for meaning in meanings], pa.string()),
            "unit": pa.array([meaning.metric.unit for meaning in meanings], pa.string()),
            "unit_sent": pa.array([meaning.unit_sent for meaning in meanings], pa.string()),
            "modality": pa.array(["self_reported" if kind == "questionnaire" else "sensed" for kind in answered]),
            "channels": pa.nulls(count, pa.list_(pa.string())),
            "source_name": reports.column("laboratory"),
            **dict.fromkeys(("device_model", "firmware", "app", "app_version"), nothing),
            "hash": np.array([hash64(partner.name, *header) for header in said], dtype=np.uint64),
            "metric_index": pa.array([catalogue().index[meaning.metric.code] for meaning in meanings], pa.int32()),
        }
    )


def _specimens(reports: pa.RecordBatch) -> Array:
    """A hash of the kit that each report is of, however its barcode is spelled, 0 where it is of none."""
    said = zip(texts(reports, "subject"), texts(reports, "kit"), strict=True)
    return np.array([hash64(spelled(subject)) or 1 if is_kit else 0 for subject, is_kit in said], dtype=np.uint64)


def _hashes(partner: Partner, reports: pa.RecordBatch, results: pa.RecordBatch) -> tuple[Array, Array]:
    """A hash of what a correction has in common with what it corrects, 0 where nothing tells; and one of all but that.

    The second is over what was sent, a barcode as it was spelled there; the first knows a kit in any spelling.
    """
    of_report = zip(*(texts(reports, name) for name in ("laboratory", "order", "order_sent")), strict=True)
    of_result = zip(*(texts(results, name) for name in ("code", "sub_id", "occurrence")), strict=True)
    content = zip(*(texts(results, name) for name in ("status", "written", "codes", "text")), strict=True)
    records, bits = [], []
    for (laboratory, order, sent), own, (status, written, codes, text) in zip(
        of_report, of_result, content, strict=True
    ):
        record = record_hash64(partner.name, laboratory, order, *own) or 1
        records.append(record if order is not None else 0)
        as_sent = record if sent == order else record_hash64(partner.name, laboratory, sent, *own) or 1
        value = [(one["code"], one["system"]) for one in codes] if codes else written or text
        bits.append(record_hash64(as_sent, status, value))
    return np.array(records, dtype=np.uint64), np.array(bits, dtype=np.uint64)


def _as_sent(
    block: Block, results: pa.RecordBatch, reports: pa.RecordBatch, meanings: list[_Meaning], moments: _Moments
) -> dict[str, Any]:
    """What stays as the laboratory sent it, beside the catalogue's words."""
    of_moment = {name: block.parts["moments"].column(name) for name in ("precision", "taken_from")}
    observed = results.column("observed")
    return {
        **{name: results.column(name) for name in _CARRIED},
        **{name: reports.column(name) for name in ("laboratory", "specimen_type", "specimen_site")},
        **{name: moments.at(column(reports, name)) for name in ("collected", "arrived", "reported")},
        **{f"{name}_exact": moments.exact(column(reports, name)) for name in ("collected", "arrived")},
        "analysed": moments.at(column(results, "analysed")),
        "code_sent": results.column("code"),
        "system_sent": results.column("system"),
        "second": pa.array([meaning.second for meaning in meanings], pa.float64()),
        "value_sent": pa.array([meaning.value_sent for meaning in meanings], pa.string()),
        "value_system": pa.array([meaning.value_system for meaning in meanings], pa.string()),
        "precision": of_moment["precision"].take(observed),
        "time_from": of_moment["taken_from"].take(observed),
    }


_CARRIED = ("status", "comparator", "relation", "method", "reference_range", "range_applies_to", "abnormal_flags")
