"""The pipeline's own verdict on single readings, each with the reason in a sentence.

`explain` puts events and readings given as JSON lines into the columns of a run and asks the `judge` of the run. Names
of metrics are taken as they are. Events that the pipeline would not understand close their chain here too.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipelines.consent.arrays import ALWAYS, ChainArrays, ChainPacker, Ints, chain_arrays, running
from pipelines.consent.chains import Chain, ChainEvent, compile_chain
from pipelines.consent.verdict import (
    AMBIGUOUS,
    CODES,
    HOLD_US,
    MISSING,
    NO_CHAIN,
    NO_CHAIN_AT_ALL,
    OTHER,
    OUTCOMES,
    SURE,
    judge,
)
from schemas.consent_events import (
    A_MOMENT,
    ConsentEvent,
    IdentityLink,
    Moment,
    Text,
    Unreadable,
    json_object,
    parse_line,
    unreadable,
    validated,
)
from schemas.reasons import Code, Reason, Rejected
from schemas.registry import Study

ATTRIBUTIONS = {"sure": SURE, "ambiguous": AMBIGUOUS, "other": OTHER}
Key = tuple[str, str]

_EXPECTED = {
    "id": "a text or a whole number",
    "member": "a text of 1 to 200 characters",
    "study": "a text of 1 to 200 characters",
    "metric": "a text of 1 to 200 characters",
    "start": A_MOMENT + ", or null",
    "end": A_MOMENT + ", or null",
    "received": A_MOMENT,
    "attribution": "sure, ambiguous or other",
}
_NOT_UNDERSTOOD = ("kind", "categories", "target_seq")  # an event of a later version, not a broken line


class AskedReading(BaseModel):
    """One reading to explain; times are int microseconds UTC, None where the reading has none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    id: str | int
    member: Annotated[Text, Field(repr=False)]
    study: Text
    metric: Text
    start: Moment | None = None
    end: Moment | None = None
    received: Moment
    attribution: Annotated[Literal["sure", "ambiguous", "other"], BeforeValidator(lambda v: v or "sure")] = "sure"


@dataclass
class _Told:
    """What the event lines said: each chain's events, and the chains that hold something not understood."""

    events: defaultdict[Key, list[ChainEvent]] = field(default_factory=lambda: defaultdict(list))
    closed: set[Key] = field(default_factory=set)


def explain(
    events_lines: Iterable[str],
    readings_lines: Iterable[str],
    studies: Mapping[str, Study] | None = None,
    hold_us: int = HOLD_US,
) -> list[dict[str, Any]]:
    """For each reading {"id", "code", "outcome", "consent_seq", "because"}, in the order of the lines.

    Without `studies` every study runs and may keep; with them, one that is not among them does not run. `because`
    names events by their seq, never the member. Rejected, with the line's number, for a line that is not valid.
    """
    told = _read_events(events_lines)
    readings = _read_readings(readings_lines)
    keys = list(dict.fromkeys([*told.events, *told.closed, *((r.member, r.study) for r in readings)]))
    metrics = list(dict.fromkeys(reading.metric for reading in readings))
    verdicts = judge(
        _chain_arrays(told, keys, metrics, studies),
        _places([(r.member, r.study) for r in readings], keys),
        _places([r.metric for r in readings], metrics),
        _instants([r.start for r in readings]),
        _instants([r.end for r in readings]),
        _instants([r.received for r in readings]),
        np.array([ATTRIBUTIONS[r.attribution] for r in readings], dtype=np.int8),
        hold_us,
    )
    return [
        _answer(reading, CODES[code], int(seq), told, _keeps(studies, reading.study))
        for reading, code, seq in zip(readings, verdicts.code, verdicts.consent_seq, strict=True)
    ]


def _read_events(lines: Iterable[str]) -> _Told:
    told = _Told()
    for number, line in _numbered(lines):
        event: ConsentEvent | IdentityLink | Unreadable
        try:
            event = parse_line(line)
        except Rejected as refusal:
            event = unreadable(json_object(line)) if refusal.path in _NOT_UNDERSTOOD else Unreadable()
            if event.member is None or event.study is None:
                raise _at_line("events", number, refusal) from None
            told.closed.add((event.member, event.study))
        if isinstance(event, ConsentEvent):
            told.events[event.member, event.study].append(ChainEvent.of(event))
    return told


def _read_readings(lines: Iterable[str]) -> list[AskedReading]:
    readings = []
    for number, line in _numbered(lines):
        try:
            readings.append(_reading(line))
        except Rejected as refusal:
            raise _at_line("readings", number, refusal) from None
    return readings


def _reading(line: str) -> AskedReading:
    json_object(line)
    reading = validated(lambda: AskedReading.model_validate_json(line), _EXPECTED)
    if reading.start is not None and reading.end is not None and reading.end < reading.start:
        raise Rejected(Reason.INTERVAL, "end", "a time not before start")
    return reading


def _numbered(lines: Iterable[str]) -> Iterable[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _at_line(which: str, number: int, refusal: Rejected) -> Rejected:
    return Rejected(refusal.reason, f"{which} line {number}: {refusal.path or 'the line'}", refusal.expected)


def _chain_arrays(
    told: _Told, keys: Sequence[Key], metrics: Sequence[str], studies: Mapping[str, Study] | None
) -> ChainArrays:
    """A chain for every pair that has events or is asked about; one without events says what its absence means."""
    there = told.closed | set(told.events)
    members = {member for member, _ in there}
    chains = {key: _compiled(told, key, _keeps(studies, key[1])) for key in keys}
    lagging = {member for (member, _), chain in chains.items() if chain.lagging}
    absence = [0 if key in there else NO_CHAIN if key[0] in members else NO_CHAIN_AT_ALL for key in keys]
    packer = ChainPacker(metrics)
    for chain in chains.values():
        packer.add(chain)
    return chain_arrays(
        packer.columns(),
        np.array([member in lagging for member, _ in keys], dtype=np.bool_),
        [ALWAYS if studies is None else running(studies.get(study)) for _, study in keys],
        np.array(absence, dtype=np.int8),
    )


def _compiled(told: _Told, key: Key, keeps: bool) -> Chain:
    return Chain(lagging=True) if key in told.closed else compile_chain(told.events.get(key, ()), keeps)


def _keeps(studies: Mapping[str, Study] | None, name: str) -> bool:
    if studies is None:
        return True
    study = studies.get(name)
    return study is not None and study.keeps_after_withdrawal


def _places(items: Sequence[Hashable], known: Sequence[Hashable]) -> NDArray[np.int32]:
    place = {item: number for number, item in enumerate(known)}
    return np.array([place[item] for item in items], dtype=np.int32)


def _instants(times: Sequence[int | None]) -> Ints:
    return np.array([MISSING if time is None else time for time in times], dtype=np.int64)


def _answer(reading: AskedReading, code: Code, seq: int, told: _Told, keeps: bool) -> dict[str, Any]:
    events = told.events.get((reading.member, reading.study), [])
    because = _because(reading, code, seq, {event.seq: event for event in events}, keeps)
    outcome = OUTCOMES[code].value
    return {"id": reading.id, "code": code.value, "outcome": outcome, "consent_seq": seq, "because": because}


_PLAINLY = {
    Code.FUTURE: "The reading ends more than 5 minutes after it was received.",
    Code.STUDY_INACTIVE: "The study was not running when the reading was received.",
    Code.NOT_MEMBER: "The reading is surely someone else's.",
    Code.ATTRIBUTION: "Whose reading it is cannot be told, so it waits for confirmation.",
    Code.CONSENT_LAG: "A chain of the member has a missing, contradictory or unknown event, so the reading waits.",
    Code.NO_CONSENT: "The member has no consent chain with any study, so the reading waits for one.",
    Code.NOT_CONSIDERED: "The member has consent chains, but none with this study.",
}


def _because(reading: AskedReading, code: Code, seq: int, events: Mapping[int, ChainEvent], keeps: bool) -> str:
    if code in _PLAINLY:
        return _PLAINLY[code]
    if code == Code.ERASED:
        return _erased(reading, events, keeps)
    late = seq in events and events[seq].effective_at > reading.received
    asked = "when it came into force, for which the reading had waited" if late else "when the reading was received"
    if code == Code.NO_AUTHORITY:
        return _no_authority(reading, events.get(seq), asked)
    if code == Code.OK:
        return f"Grant {seq} was live {asked}, and the windows of its metric cover the whole interval."
    lacking = "start or end is missing" if code == Code.UNDATED else "no window of its metric covers the whole interval"
    return f"A live grant named the metric, event {seq} being the last {asked}, but {lacking}."


def _no_authority(reading: AskedReading, last: ChainEvent | None, asked: str) -> str:
    if last is None:
        return "No event of the chain was in force when the reading was received."
    if last.kind != "grant":
        return f"Event {last.seq}, a {last.kind}, was the last {asked}, and no live grant named the metric."
    lacking = "its time to store had ended" if reading.metric in last.metrics else "it does not name the metric"
    return f"Grant {last.seq} was the last event {asked}, and {lacking}."


def _erased(reading: AskedReading, events: Mapping[int, ChainEvent], keeps: bool) -> str:
    erasing = sorted((event for event in events.values() if event.erases(keeps)), key=lambda event: event.effective_at)
    later = [event for event in erasing if event.effective_at > reading.received]
    if later:
        return f"Withdrawal {later[-1].seq} erases what the study received before it."
    voiding = next(event for event in erasing if reading.end is not None and event.effective_at >= reading.end)
    return f"Withdrawal {voiding.seq} voided the windows of the interval, and no fill_gap has opened them again."
