"""HL7 v2, the heads: what the observations of a report share – whose they are, the order, the specimen, the clocks."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from connectors.hl7v2_about import NOTHING, Said
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
    repetitions,
    said,
    short,
    unescaped,
    word,
)
from connectors.hl7v2_messages import Group
from connectors.hl7v2_times import Clocks, Stamp, moment, stamp
from connectors.hl7v2_values import Code, code, code_in, value
from connectors.problems import SUBJECT
from schemas.lab_entries import SubjectField
from schemas.lab_mapping import LabMapping
from schemas.reasons import Reason

_OF_SPECIMENS = (2, 4, 7, 8, 17, 18, 21, 24)
_OF_CONTAINERS = (29,)
_OF_ORDERS = (2, 3)
_OF_REQUESTS = (2, 3, 4, 7, 14, 15)
_UNKNOWN_LABORATORY = "unknown"


class Head(NamedTuple):
    """What the observations of a report share."""

    subject: str
    subject_kind: str
    laboratory: str
    order: dict[str, Any]
    specimen: dict[str, Any] | None
    sent: dict[str, Any] | None
    taken: tuple[Stamp, str] | None
    clocks: Clocks
    lab_clocks: Clocks
    run: dict[str, Any] | None
    dilution: float | None


class Heads:
    """Reads the segments around observations by a laboratory's mapping; with a `subject` all are of that person."""

    def __init__(self, mapping: LabMapping, subject: str | None) -> None:
        self._mapping, self._subject = mapping, subject
        named: dict[str, set[int]] = {}
        for one in mapping.subject:
            named.setdefault(one.segment, set()).add(one.number)
        own = {"SPM": _OF_SPECIMENS, "OBR": _OF_REQUESTS, "ORC": _OF_ORDERS, "SAC": _OF_CONTAINERS}
        self._wanted = Wanted(named | {name: {*fields, *named.get(name, ())} for name, fields in own.items()})

    def of(self, group: Group, marks: Marks, said_beside: Said = NOTHING) -> Head:
        """What the group's observations share; Unreadable where no subject can be told."""
        segments = self._segments(group, marks)
        request, order = (segments.get(name, [[]])[0] for name in ("OBR", "ORC"))
        specimen = segments.get("SPM", [[]])[0]
        stamps = {
            name: found
            for name, segment, number in (("SPM-17", specimen, 17), ("OBR-7", request, 7))
            if (found := stamp(word(segment, number, marks) or ""))
        }
        sent = stamp(group.message.sent or "")
        clocks, lab_clocks = self._clocks(stamps, sent)
        subject, kind = self._whose(segments, marks)
        taken = next(((stamps[name], name) for name in ("OBR-7", "SPM-17") if name in stamps), None)
        return Head(
            subject=subject,
            subject_kind=kind,
            laboratory=self._mapping.laboratory or group.message.laboratory or _UNKNOWN_LABORATORY,
            order=_order(request, order, marks),
            specimen=_specimen(specimen, request, stamps, marks, clocks, lab_clocks, said_beside.haemolysis_index),
            sent=moment(sent, "MSH-7", Clocks((), self._mapping.zone)) if sent else None,
            taken=taken,
            clocks=clocks,
            lab_clocks=lab_clocks,
            run=said_beside.run,
            dilution=_dilution(segments.get("SAC", [[]])[0], marks),
        )

    def _clocks(self, stamps: dict[str, Stamp], sent: Stamp | None) -> tuple[Clocks, Clocks]:
        """What places times without an offset: those about the person, and those of the laboratory's own work."""
        about = [(name, one.offset_min) for name, one in stamps.items() if one.offset_min is not None]
        of_lab = [("MSH-7", sent.offset_min)] if sent and sent.offset_min is not None else []
        zone = self._mapping.zone
        return Clocks(about + of_lab, zone), Clocks(of_lab or ([] if zone else about), zone)

    def _segments(self, group: Group, marks: Marks) -> dict[str, list[Segment]]:
        """The segments around the observations, taken apart, by their names; only those that are wanted."""
        if group.cut:
            raise Unreadable(Reason.TOO_LARGE)
        around = [group.patient, group.order, group.request, group.container, *group.specimens]
        texts = [self._wanted.of(text, marks.field) for text in around if text and text[:3] in self._wanted]
        for text in texts:
            if len(text) > MOST_WANTED:
                raise Unreadable(Reason.TOO_LARGE)
            check_letters(text)
        found: dict[str, list[Segment]] = {}
        for text, segment in zip(texts, parsed(texts, marks), strict=True):
            found.setdefault(text[:3], []).append(segment)
        return found

    def _whose(self, segments: dict[str, list[Segment]], marks: Marks) -> tuple[str, str]:
        """The kit or person, by the first field of the mapping that has something."""
        if self._subject is not None:
            return self._subject, "person"
        for one in self._mapping.subject:
            found = {name for segment in segments.get(one.segment, ()) for name in _names(segment, one, marks)}
            if len(found) > 1 or any(len(name) > 200 for name in found):
                raise Unreadable(SUBJECT)
            if found:
                return found.pop(), one.kind
        raise Unreadable(SUBJECT)


def _names(segment: Segment, one: SubjectField, marks: Marks) -> Iterator[str]:
    """What a field names: in each repetition the component, by default the first, of SPM-2 the first that is there."""
    for parts in repetitions(field(segment, one.number), marks):
        if one.identifier_type and one.identifier_type != "".join(parts[4:5]):
            continue
        chosen = parts[one.component - 1 :][:1] if one.component else parts[:2] if one.field == "SPM-2" else parts[:1]
        ids = [said(unescaped(part.split(marks.subcomponent)[0], marks)) for part in chosen]
        yield from [name for name in ids if name][:1]


def _order(request: Segment, order: Segment, marks: Marks) -> dict[str, Any]:
    def number(place: int) -> str | None:
        return word(request, place, marks) or word(order, place, marks)

    return {"id": number(3), "placer_id": number(2), "service": code_in(request, 4, marks)}


def _specimen(
    specimen: Segment,
    request: Segment,
    stamps: dict[str, Stamp],
    marks: Marks,
    clocks: Clocks,
    lab_clocks: Clocks,
    haemolysis_index: float | None,
) -> dict[str, Any] | None:
    """What is said of the specimen: in SPM, before 2.5 in OBR-14 and OBR-15."""
    source = first_components(field(request, 15), marks)
    collected = next((name for name in ("SPM-17", "OBR-7") if name in stamps), None)
    number = first_components(field(specimen, 2), marks)[:2]
    found = {
        "id": next((name for part in number if (name := short(part.split(marks.subcomponent)[0], marks))), None),
        "type": code_in(specimen, 4, marks) or code(source[0].split(marks.subcomponent), marks),
        "site": code_in(specimen, 8, marks) or code("".join(source[3:4]).split(marks.subcomponent), marks),
        "method": code_in(specimen, 7, marks),
        "collected": moment(stamps[collected], collected, clocks) if collected else None,
        "received": moment_in(specimen, 18, "SPM-18", marks, lab_clocks)
        or moment_in(request, 14, "OBR-14", marks, lab_clocks),
        "conditions": _codes(specimen, 24, marks),
        "rejected": _codes(specimen, 21, marks),
        "haemolysis_index": haemolysis_index,
    }
    return found if any(one not in (None, []) for one in found.values()) else None


def _codes(segment: Segment, number: int, marks: Marks) -> list[Code]:
    """The code in each repetition of a field."""
    one = field(segment, number)
    if one == [""]:
        return []
    return [found for parts in repetitions(one, marks) if (found := code(parts, marks))]


def _dilution(container: Segment, marks: Marks) -> float | None:
    """How many times the specimen was diluted (SAC-29): a structured number such as `^10` or `^1^:^10`."""
    one = field(container, 29)
    if one == [""]:
        return None
    try:
        found = value("SN", one, marks, ())
    except Unreadable:
        return None
    if found is None:
        return None
    number = found["number"]
    return float(number["second" if number["relation"] == "ratio" else "number"])


def moment_in(segment: Segment, number: int, name: str, marks: Marks, clocks: Clocks) -> dict[str, Any] | None:
    """The moment in a field; None where there is none that can be read."""
    written = word(segment, number, marks)
    found = stamp(written) if written else None
    return moment(found, name, clocks) if found else None
