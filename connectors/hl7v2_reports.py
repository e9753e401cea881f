"""HL7 v2, the reports: one OBR with its observations becomes rows of source records, or problems with their place."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from connectors.formats import Problem
from connectors.hl7v2_about import Aside
from connectors.hl7v2_fields import (
    MOST_WANTED,
    Marks,
    Segment,
    Unreadable,
    Wanted,
    check_letters,
    field,
    first_components,
    parsed,
    whole,
    word,
    words,
)
from connectors.hl7v2_heads import Head, Heads, moment_in
from connectors.hl7v2_messages import Group, Observation
from connectors.hl7v2_times import end_us, moment, stamp
from connectors.hl7v2_values import LOINC, TYPES, Code, code_in, code_pair, value
from connectors.problems import NO_TIME, NO_VALUE, STATUS, VALUE_TYPE
from schemas.lab_mapping import LabMapping
from schemas.lab_results import MOST_WORDS, STATUSES, WITHOUT_VALUE
from schemas.reasons import Reason

_AT_A_TIME = 100  # observations that are taken apart together
_NOTHING = "OBX"
_WANTED = Wanted({"OBX": (2, 3, 4, 5, 6, 7, 8, 10, 11, 14, 17, 19, 29)})
_QUESTIONS = ("QST", "AOE")  # OBX-29: a question, one asked when the test was ordered


class Row(NamedTuple):
    """One observation: its report's head, and a result of the contract, whose value is `{form: …}`."""

    head: Head
    result: dict[str, Any]
    end_us: int


class Reports:
    """Reads groups by a laboratory's mapping; with a `subject` all of them are of that person."""

    def __init__(self, mapping: LabMapping, subject: str | None) -> None:
        self._not_detected = mapping.not_detected
        self._heads = Heads(mapping, subject)
        self._aside = Aside(mapping)

    def read(self, group: Group) -> Iterator[Row | Problem]:
        """A row or a problem for each observation of the group that is a result, in their order."""
        marks = group.message.marks
        said_beside, observations = self._aside.of(group.observations, marks)
        try:
            head = self._heads.of(group, marks, said_beside)
        except Unreadable as why:
            yield from (Problem(str(why.reason), one.place) for one in observations)
            return
        seen: Counter[tuple[str, str | None]] = Counter()
        for begin in range(0, len(observations), _AT_A_TIME):
            some = [(one, _WANTED.of(one.text, marks.field)) for one in observations[begin : begin + _AT_A_TIME]]
            segments = parsed([text if len(text) <= MOST_WANTED else _NOTHING for _, text in some], marks)
            for (one, text), segment in zip(some, segments, strict=True):
                if len(text) > MOST_WANTED:
                    yield Problem(_too_large(text, marks), one.place)
                else:
                    yield self._row(one, text, segment, head, marks, seen)

    def _row(
        self, one: Observation, text: str, segment: Segment, head: Head, marks: Marks, seen: Counter[Any]
    ) -> Row | Problem:
        name = None
        try:
            check_letters(text)
            first, other = code_pair(first_components(field(segment, 3), marks), marks, LOINC)
            if first is None:
                raise Unreadable(Reason.FIELD)
            name = first["code"]
            return self._result(segment, first, other, head, marks, seen)
        except Unreadable as why:
            return Problem(str(why.reason), one.place, name)

    def _result(
        self, segment: Segment, first: Code, other: Code | None, head: Head, marks: Marks, seen: Counter[Any]
    ) -> Row:
        sub_id = whole(segment, 4, marks)
        occurrence = seen[first["code"], sub_id]
        seen[first["code"], sub_id] += 1  # one at fault counts: sent again without its fault, it moves no other
        status = word(segment, 11, marks)
        if status not in STATUSES:
            raise Unreadable(STATUS)
        found = value(word(segment, 2, marks) or "", field(segment, 5), marks, self._not_detected)
        if found is None and status not in WITHOUT_VALUE:
            raise Unreadable(NO_VALUE)
        observed = self._observed(segment, head, marks)
        result = {
            "kind": "questionnaire" if word(segment, 29, marks) in _QUESTIONS else "lab",
            "code": first,
            "other_code": other,
            "sub_id": sub_id,
            "occurrence": occurrence,
            "value": found,
            "unit": code_in(segment, 6, marks),
            "reference_range": whole(segment, 7, marks, MOST_WORDS),
            "range_applies_to": words(segment, 10, marks),
            "abnormal_flags": words(segment, 8, marks),
            "status": status,
            "method": code_in(segment, 17, marks),
            "observed": observed,
            "analysed": moment_in(segment, 19, "OBX-19", marks, head.lab_clocks),
            "dilution": head.dilution,
        }
        return Row(head, result, end_us(observed))

    def _observed(self, segment: Segment, head: Head, marks: Marks) -> dict[str, Any]:
        """The time of the observation, else of the collection; one that is there and cannot be read is not replaced."""
        written = word(segment, 14, marks)
        own = stamp(written) if written else None
        taken = (own, "OBX-14") if own else None if written else head.taken
        if taken is None:
            raise Unreadable(NO_TIME)
        return moment(*taken, head.clocks)


def _too_large(text: str, marks: Marks) -> str:
    """Why an OBX that is larger than any that is taken apart is refused: mostly it is a document."""
    kind = text.split(marks.field, 3)[2].strip()
    return str(Reason.TOO_LARGE) if kind in TYPES else VALUE_TYPE
