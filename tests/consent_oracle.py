"""The verdict once more, told tick by tick in the plainest way, to hold the pipeline's own against.

Time is a handful of whole ticks. Every tick is lived through one after another with sets of ticks for all that is
open, forbidden or voided; no interval arithmetic, nothing shared with `pipelines`. Events are plain dicts with the
field names of the event's JSON and `appended`.
"""

from dataclasses import dataclass, field
from typing import Any

FUTURE_TICKS = 2
HOLD_TICKS = 8
END_OF_TIME = 70

Event = dict[str, Any]


@dataclass(slots=True)
class Reading:
    chain: int  # -1: chains elsewhere only, -2: none at all
    metric: str
    start: int | None
    end: int | None
    received: int
    attribution: str = "sure"


@dataclass
class Life:
    """One chain, as remembered when all its ticks have passed."""

    lagging: bool = False
    authority: dict[int, tuple[int, frozenset[str]]] = field(default_factory=dict)  # tick: live seq and its metrics
    last_seq: dict[int, int] = field(default_factory=dict)
    covered: dict[str, set[int]] = field(default_factory=dict)
    voided: dict[str, set[int]] = field(default_factory=dict)
    first_event: int | None = None
    first_grant: int | None = None
    erased_at: list[int] = field(default_factory=list)


@dataclass
class _Moment:
    """The state while the ticks pass."""

    grant: Event | None = None
    named: set[str] = field(default_factory=set)
    paused: bool = False
    in_gap: bool = False
    windows: dict[str, list[set[int]]] = field(default_factory=dict)
    gaps: dict[str, set[int]] = field(default_factory=dict)
    voided: dict[str, set[int]] = field(default_factory=dict)


def live_through(events: list[Event], metrics: list[str], keeps: bool) -> Life:
    if _cannot_be_trusted(events):
        return Life(lagging=True)
    life = Life()
    now = _Moment(
        windows={m: [] for m in metrics}, gaps={m: set() for m in metrics}, voided={m: set() for m in metrics}
    )
    seq = 0
    eventful = {event[when] for event in events for when in ("effective_at", "appended")}
    for tick in range(END_OF_TIME):
        for event in _due(events, tick) if tick in eventful else []:
            seq = event["seq"]
            _happen(event, tick, now, life, keeps)
            life.first_event = tick if life.first_event is None else life.first_event
        if now.in_gap:
            for metric in metrics:
                now.gaps[metric].add(tick)
        life.last_seq[tick] = seq
        if now.grant and not now.paused and not _over(now.grant["store_until"], tick):
            life.authority[tick] = now.grant["seq"], frozenset(now.named)
    for metric in metrics:
        opened = set().union(*now.windows[metric])
        life.covered[metric] = opened - now.gaps[metric] - now.voided[metric]
    life.voided = now.voided
    return life


def _cannot_be_trusted(events: list[Event]) -> bool:
    said: dict[int, Event] = {}
    for event in events:
        words = {name: value for name, value in event.items() if name != "appended"}
        if event["seq"] in said and said[event["seq"]] != words:
            return True
        said[event["seq"]] = words
    return any(number not in said for number in range(1, max(said, default=0) + 1))


def _due(events: list[Event], tick: int) -> list[Event]:
    """What happens at this tick, in order of seq; a withdrawal also happens at its append, if that is earlier."""
    due = {}
    for event in events:
        if event["effective_at"] == tick and not _stopped_before_it_began(event, events):
            due[event["seq"]] = event
        if event["kind"] == "withdraw" and event["appended"] is not None:
            appends = [other["appended"] for other in events if other["seq"] == event["seq"]]
            if min(when for when in appends if when is not None) == tick < event["effective_at"]:
                due[event["seq"]] = event
    return [due[seq] for seq in sorted(due)]


def _stopped_before_it_began(event: Event, events: list[Event]) -> bool:
    for other in events:
        if event["kind"] == "grant" and other["kind"] == "withdraw" and other["seq"] > event["seq"]:
            waiting = other["appended"] is not None and other["appended"] < other["effective_at"]
            if waiting and other["appended"] <= event["effective_at"] <= other["effective_at"]:
                return True
    return False


def _happen(event: Event, tick: int, now: _Moment, life: Life, keeps: bool) -> None:
    kind = event["kind"]
    if kind == "grant":
        _grant(event, tick, now)
        life.first_grant = tick if life.first_grant is None else life.first_grant
    elif kind == "narrow" and now.grant:
        now.named &= set(event["metrics"])
        for metric, windows in now.windows.items():
            if metric not in event["metrics"]:
                now.windows[metric] = [_until(window, tick) for window in windows]
    elif kind == "pause" and now.grant and not now.paused:
        now.paused = now.in_gap = True
    elif kind == "resume" and now.grant and now.paused:
        now.paused = now.in_gap = False
    elif kind == "withdraw":
        now.grant, now.paused, now.in_gap = None, False, True
        for metric, windows in now.windows.items():
            now.windows[metric] = [_until(window, tick) for window in windows]
        if event["mode"] == "erase" or not keeps:
            life.erased_at.append(tick)
            for metric, windows in now.windows.items():
                now.voided[metric] |= set().union(*windows)
                now.windows[metric] = []


def _grant(event: Event, tick: int, now: _Moment) -> None:
    first = tick if event["retro_from"] is None else event["retro_from"]
    last = END_OF_TIME if event["collect_until"] is None else event["collect_until"]
    now.grant, now.named, now.paused, now.in_gap = event, set(event["metrics"]), False, False
    for metric in event["metrics"]:
        now.windows[metric].append(set(range(first, last)))
        if event["fill_gap"]:
            now.gaps[metric] -= set(range(first, last))
            now.voided[metric] -= set(range(first, last))


def _until(ticks: set[int], end: int) -> set[int]:
    return {tick for tick in ticks if tick < end}


def _over(until: int | None, tick: int) -> bool:
    return until is not None and tick >= until


def verdict(life: Life | None, none_at_all: bool, active: bool, member_lags: bool, reading: Reading) -> tuple[str, int]:
    """The code and the seq that it names."""
    r = reading.received
    known = [t for t in (reading.start, reading.end) if t is not None]
    if known and max(known) > r + FUTURE_TICKS:
        return "R_FUTURE", 0
    asked = life.first_grant if life and life.first_grant is not None and _waited_for(life, r) else r
    last = life.last_seq.get(asked, 0) if life else 0
    if not active:
        return "R_STUDY_INACTIVE", last
    if reading.attribution == "other":
        return "R_NOT_MEMBER", last
    if reading.attribution == "ambiguous":
        return "H_ATTRIBUTION", 0
    if member_lags:
        return "H_CONSENT_LAG", 0
    if life is None:
        return ("H_NO_CONSENT" if none_at_all else "N_NOT_CONSIDERED"), 0
    seq, named = life.authority.get(asked, (0, frozenset()))
    if reading.metric not in named:
        return "R_NO_AUTHORITY", last
    return _of_the_data(life, reading, seq, last)


def _waited_for(life: Life, received: int) -> bool:
    """Whether the reading came before all the chain's events, and was still held at the first grant."""
    before_all = life.first_event is not None and received < life.first_event
    return before_all and life.first_grant is not None and life.first_grant <= received + HOLD_TICKS


def _of_the_data(life: Life, reading: Reading, seq: int, last: int) -> tuple[str, int]:
    if any(reading.received < tick for tick in life.erased_at):
        return "R_ERASED", last
    if reading.start is None or reading.end is None:
        return "R_UNDATED", last
    ticks = set(range(reading.start, max(reading.end, reading.start + 1)))
    if ticks <= life.voided[reading.metric]:
        return "R_ERASED", last
    if not ticks <= life.covered[reading.metric]:
        return "R_OUTSIDE_WINDOW", last
    return "L_OK", seq
