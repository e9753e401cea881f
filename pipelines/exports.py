"""App exports: the facts of a message's source records, grouped by kind, unit and source, in the catalogue's words.

What a type, a unit and a code mean is in the format's mapping; a kind that it does not name goes on as UNMAPPED, which
no catalogue has, and is rejected and counted like any other unknown metric. The facts are put in order once, numbers
first and codes last; then each kind is a slice of them.
"""

import re
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.app_export import ExportHeader, read_export
from connectors.formats import format_named
from pipelines.blocks import Int64s
from pipelines.facts import Facts, Kinds, facts_of, words
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
_FORMS = 3
_NUMBERS, _UNMAPPED, _CODES = range(_FORMS)


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
    facts = facts_of(records, mapping.containers if mapping else ())
    if not len(facts):
        raise Rejected(Reason.NO_READINGS, "records")
    return _Grouped(header, records, facts, mapping).messages()


def _mapping(name: str) -> ExportMapping | None:
    """What the records of a known format mean; None where nobody has said it."""
    source = format_named(name)
    return export_mapping(source.mapping) if source and source.mapping else None


class _Grouped:
    """The facts of one message kind by kind, as columns: kinds of numbers, then those that are unmapped, then codes."""

    def __init__(
        self, header: ExportHeader, records: pa.RecordBatch, facts: Facts, mapping: ExportMapping | None
    ) -> None:
        self._header, self._facts, self._mapping = header, facts, mapping
        self._shared = {name: words(records.column(name)) for name in _SHARED if name in records.schema.names}
        forms = np.array([self._form(kind) for kind in range(len(facts.type.texts))])
        self._order, self._begins = self._in_order(records.num_rows, forms)
        values = facts.value.take(pa.array(self._order))
        unmapped_from, codes_from = self._bounds(forms)
        numbers = _numbers(values.slice(0, unmapped_from))
        self._numbers = np.concatenate([numbers, np.full(codes_from - unmapped_from, np.nan)])
        self._codes, self._texts = words(values.slice(codes_from)), dict[int, tuple[pa.Array, pa.Array]]()
        self._start, self._end = facts.start[self._order], facts.end[self._order]
        self._index = facts.index[self._order].astype(np.int32)
        self._record_ids = _record_ids(records, facts, self._order)

    def _in_order(self, records: int, forms: Int64s) -> tuple[Int64s, Int64s]:
        """The facts' places kind by kind, those of a kind as they lie in the message; and where the kinds begin.

        `forms` has what the values of each type are.
        """
        shared, facts, kinds = Kinds(records), self._facts, Kinds(len(self._facts))
        for column in self._shared.values():
            shared.tell_apart(column.codes, len(column.texts))
        kinds.tell_apart(forms[facts.type.codes], _FORMS)
        if shared.count > 1:
            kinds.tell_apart(shared.number[facts.row], shared.count)
        for column in (facts.type, facts.unit):
            kinds.tell_apart(column.codes, len(column.texts))
        return kinds.grouped()

    def _bounds(self, forms: Int64s) -> tuple[int, int]:
        """Where in the order the facts begin that nobody knows, and where those that are codes."""
        begins, kinds = self._begins[:-1], self._facts.type.codes
        of_kinds = forms[kinds[self._order[begins]]]
        unmapped, codes = np.searchsorted(of_kinds, (_UNMAPPED, _CODES))
        return int(self._begins[unmapped]), int(self._begins[codes])

    def _form(self, kind: int) -> int:
        """What the values of a type are."""
        rule = self._rule(kind, None)
        return _UNMAPPED if rule is None else _CODES if rule.is_coded else _NUMBERS

    def _rule(self, kind: int, unit: str | None) -> Rule | None:
        is_part = self._facts.is_part(kind)
        return self._mapping.rule(self._facts.type.texts[kind], is_part, unit) if self._mapping else None

    def messages(self) -> list[Message]:
        """A message for each kind."""
        return [self._message(int(low), int(high)) for low, high in pairwise(self._begins.tolist())]

    def _message(self, low: int, high: int) -> Message:
        first, facts = int(self._order[low]), self._facts
        kind, row = int(facts.type.codes[first]), int(facts.row[first])
        text, unit = facts.type.texts[kind], facts.unit.texts[facts.unit.codes[first]]
        rule = self._rule(kind, unit)
        found = {name: column.texts[column.codes[row]] for name, column in self._shared.items()}
        series, sent_codes = self._series(low, high, rule, kind)
        return Message(
            header=_header(self._header, found, rule),
            series=series,
            sent_as=text,
            unit_sent=unit or "",
            sent_codes=sent_codes,
            index=self._index[low:high],
            shown=None if rule else _shown(text),
            export_offset=found.get("offset_of") == "export",
        )

    def _series(self, low: int, high: int, rule: Rule | None, kind: int) -> tuple[Series, pa.Array | None]:
        """The facts as intervals, and their codes as sent. A value that is no number is NaN, and rejected as such."""
        numbers = codes = sent = None
        if rule and rule.is_coded:
            before = len(self._numbers)
            places = pa.array(self._codes.codes[low - before : high - before])
            sent, codes = (texts.take(places) for texts in self._coded(kind, rule))
        else:
            numbers = self._numbers[low:high]
        ids = None
        if self._record_ids is not None and not self._facts.is_part(kind):
            ids = self._record_ids.slice(low, high - low)
        return Series(high - low, self._start[low:high], self._end[low:high], 0, numbers, 1.0, codes, ids), sent

    def _coded(self, kind: int, rule: Rule) -> tuple[pa.Array, pa.Array]:
        """The codes of the message as a type has them, as sent and in the catalogue's words: looked up once for each."""
        if kind not in self._texts:
            sent = [rule.code or "" if text is None else text for text in self._codes.texts]
            codes = [rule.code or rule.codes.get(text, text) for text in sent]
            self._texts[kind] = pa.array(sent, pa.string()), pa.array(codes, pa.string())
        return self._texts[kind]


def _header(header: ExportHeader, found: dict[str, Any], rule: Rule | None) -> SensorHeader:
    """What the facts share, judged as the header of a sensor message is: its own zone before the exporter's offset."""
    zone = found["zone"] if found["zone"] and is_zone(found["zone"]) else None  # to list all zones is slow, once
    source = {name: found[name] or None for name in ("device_model", "firmware", "app", "app_version")}
    return sensor_header(
        {
            "subject": header.subject,
            "metric": rule.metric.code if rule else UNMAPPED,
            "unit": (rule.unit if rule else "") or "1",
            "modality": found["modality"],
            "source": {"name": found["source_name"], **source},
            "clock": found.get("clock") or "utc",
            "offset_min": None if zone else found["offset_min"],
            "zone": zone,
        }
    )


def _shown(kind: str) -> str:
    """A kind that nobody knows, where it is a plain word; anything else could be somebody's text."""
    return kind if _SHOWN.fullmatch(kind) else _OTHER


def _numbers(value: pa.Array) -> Any:
    """The numbers that the texts are, NaN where one is none: at once where all are, which is much quicker.

    Not so where one has an exponent: Arrow reads some that are none by our rule, and a text must not be a number or none
    by what lies beside it.
    """
    if not _has_exponents(value):
        with suppress(pa.ArrowInvalid):
            return value.cast(pa.float64()).to_numpy(zero_copy_only=False)  # null becomes NaN
    is_number = pc.match_substring_regex(value, _NUMBER).fill_null(False)
    return pc.if_else(is_number, value, "nan").cast(pa.float64()).to_numpy(zero_copy_only=False)


def _has_exponents(texts: pa.StringArray) -> bool:
    """Whether an e is in any of the texts: a look at their bytes."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return False
    ends = np.frombuffer(offsets, np.int32)
    said = data[int(ends[texts.offset]) : int(ends[texts.offset + len(texts)])].to_pybytes()
    return b"e" in said or b"E" in said


def _record_ids(records: pa.RecordBatch, facts: Facts, places: Int64s) -> pa.Array | None:
    """The source's own ids of the records of the facts at these places; None where no record has any."""
    ids = records.column("record_id")
    if ids.null_count == len(ids):
        return None
    return ids.take(pa.array(facts.row[places])).fill_null("")
