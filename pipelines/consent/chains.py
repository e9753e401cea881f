"""What a chain's events mean: who had authority when, which intervals are covered, which were erased.

A chain is the log of one member's decisions about one study. `compile_chain` folds its events, ordered by
(effective instant, seq), into a `Chain` that `pipelines.consent.arrays` packs into columns and
`pipelines.consent.verdict` asks. All instants are int microseconds UTC, all intervals half-open.

The rules of the fold:

* Sequence numbers run from 1 without holes. A hole, a seq with two different events, or an event that is not
  understood makes the chain `lagging`: nothing is concluded from it. The same event twice counts once.
* `grant` becomes the live grant. It opens a window [retro_from or effective_at, collect_until or no end) for its
  metrics; windows that are open already stay open until their own end. It ends a gap, whoever opened it.
* `narrow` leaves, from its instant on, only the metrics it lists: in the live or paused grant and in open windows.
* `pause` suspends the live grant and opens a gap; `resume` restores it and ends the gap.
* `withdraw` ends the live or paused grant, closes every window, and opens a gap (before any grant too). With mode
  erase, or keep where the study may not keep, the windows up to its instant are voided.
* A gap is subtracted from coverage for ever. Only a grant with fill_gap opens again what earlier gaps and voided
  windows lie within its own window, for its own metrics. Expiry (collect_until, store_until) makes no gap.
* Without effect: a pause where no grant is live, a resume where none is paused, a narrow where there is neither.
  A grant past its store_until lets nothing land, but is live in this sense: an objection to it is an objection.

A withdrawal whose append is known is in force from min(effective_at, append) on: from the append it is folded once
more, and grants with a lower seq that would have begun between the two instants never begin.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from schemas.consent_events import ConsentEvent, EventKind, Mode

NO_END = 2**63 - 1
"""The instant that never comes: the end of a window or a grant without end."""
NEVER = -(2**63)
"""The instant before all others: of what never happened."""

Interval = tuple[int, int]


class ChainEvent(NamedTuple):
    """One event as the fold needs it; `appended_us` is the broker's time of its record, None where there is none."""

    kind: EventKind
    seq: int
    effective_at: int
    metrics: frozenset[str] = frozenset()
    retro_from: int | None = None
    fill_gap: bool = False
    collect_until: int | None = None
    store_until: int | None = None
    mode: Mode | None = None
    appended_us: int | None = None

    @classmethod
    def of(cls, event: ConsentEvent, appended_us: int | None = None) -> "ChainEvent":
        return cls(
            kind=event.kind,
            seq=event.seq,
            effective_at=event.effective_at,
            metrics=frozenset(event.metrics or ()),
            retro_from=event.retro_from,
            fill_gap=bool(event.fill_gap),
            collect_until=event.collect_until,
            store_until=event.store_until,
            mode=event.mode,
            appended_us=appended_us,
        )

    @property
    def window(self) -> Interval:
        """Of a grant: the readings it covers."""
        start = self.effective_at if self.retro_from is None else self.retro_from
        return start, NO_END if self.collect_until is None else self.collect_until

    def erases(self, keeps: bool) -> bool:
        """Whether it is a withdrawal after which a study may not keep what it has."""
        return self.kind == "withdraw" and (self.mode == "erase" or not keeps)

    def says_the_same(self, other: "ChainEvent") -> bool:
        """Whether two messages are one event, whenever each was appended."""
        return self._replace(appended_us=None) == other._replace(appended_us=None)


class Span(NamedTuple):
    """From `from_us` until the next span: the last event, and the live grant (seq 0 and no metrics where none is)."""

    from_us: int
    last_seq: int
    grant_seq: int
    store_until: int
    metrics: frozenset[str]


class Coverage(NamedTuple):
    """Metrics that share their history, and the intervals covered and voided: sorted, disjoint, not touching."""

    metrics: frozenset[str]
    covered: list[Interval]
    voided: list[Interval]


class Chain(NamedTuple):
    """A compiled chain. `first_grant`: instant of its first grant; `erased_until`: of its last erasing withdrawal."""

    spans: Sequence[Span] = ()
    coverage: Sequence[Coverage] = ()
    first_grant: int = NO_END
    erased_until: int = NEVER
    lagging: bool = False


def compile_chain(events: Iterable[ChainEvent], keeps: bool) -> Chain:
    """The meaning of a chain's events, in whatever order they came.

    `keeps`: whether the study's legal basis lets it keep data after a withdrawal.
    """
    numbered = without_repeats(events)
    if numbered is None:
        return Chain(lagging=True)
    steps = _in_order_of_force(numbered)
    spans, acting = _fold(steps)
    return Chain(
        spans=spans,
        coverage=[_coverage(acting, metrics, keeps) for metrics in _alike(acting)],
        first_grant=next((step.effective_at for step in steps if step.kind == "grant"), NO_END),
        erased_until=max((step.effective_at for step in steps if step.erases(keeps)), default=NEVER),
    )


def without_repeats(events: Iterable[ChainEvent]) -> list[ChainEvent] | None:
    """Events by seq, each once with its earliest append; None where a seq is missing or is of two different events."""
    found: dict[int, ChainEvent] = {}
    for event in events:
        first = found.setdefault(event.seq, event)
        if first is not event:
            if not first.says_the_same(event):
                return None
            found[event.seq] = min(first, event, key=_appended)
    if found and len(found) != max(found):
        return None
    return [found[seq] for seq in sorted(found)]


def _appended(event: ChainEvent) -> int:
    return NO_END if event.appended_us is None else event.appended_us


def _in_order_of_force(events: list[ChainEvent]) -> list[ChainEvent]:
    """Events as they are folded; a withdrawal that was appended before it is effective stands at both instants."""
    early = [event for event in events if event.kind == "withdraw" and _appended(event) < event.effective_at]
    steps = events
    if early:
        steps = [event for event in events if not any(_forestalls(withdrawal, event) for withdrawal in early)]
        steps += [withdrawal._replace(effective_at=_appended(withdrawal)) for withdrawal in early]
    return sorted(steps, key=lambda step: (step.effective_at, step.seq))


def _forestalls(withdrawal: ChainEvent, event: ChainEvent) -> bool:
    meanwhile = _appended(withdrawal) <= event.effective_at <= withdrawal.effective_at
    return event.kind == "grant" and event.seq < withdrawal.seq and meanwhile


def _fold(steps: list[ChainEvent]) -> tuple[list[Span], list[ChainEvent]]:
    """Who has authority from when, and the steps that have an effect."""
    spans: list[Span] = []
    acting: list[ChainEvent] = []
    grant: ChainEvent | None = None
    metrics: frozenset[str] = frozenset()
    paused = False
    for step in steps:
        if _acts(step, grant, paused):
            acting.append(step)
            if step.kind == "grant":
                grant, metrics = step, step.metrics
            elif step.kind == "narrow":
                metrics = metrics & step.metrics
            elif step.kind == "withdraw":
                grant = None
            paused = step.kind == "pause" or (paused and step.kind == "narrow")
        if spans and spans[-1].from_us == step.effective_at:
            spans.pop()
        spans.append(_span(step, None if paused else grant, metrics))
    return spans, acting


def _acts(step: ChainEvent, grant: ChainEvent | None, paused: bool) -> bool:
    if step.kind == "narrow":
        return grant is not None
    if step.kind == "pause":
        return grant is not None and not paused
    return paused if step.kind == "resume" else True


def _span(step: ChainEvent, live: ChainEvent | None, metrics: frozenset[str]) -> Span:
    if live is None:
        return Span(step.effective_at, step.seq, 0, NEVER, frozenset())
    return Span(step.effective_at, step.seq, live.seq, _or_no_end(live.store_until), metrics)


def _or_no_end(until: int | None) -> int:
    return NO_END if until is None else until


def _alike(acting: list[ChainEvent]) -> list[frozenset[str]]:
    """The granted metrics in classes whose members are named by the same events."""
    classes: list[frozenset[str]] = []
    for step in acting:
        if step.kind not in ("grant", "narrow"):
            continue
        unseen = step.metrics.difference(*classes) if step.kind == "grant" else None
        classes = [part for known in classes for part in (known & step.metrics, known - step.metrics) if part]
        if unseen:
            classes.append(unseen)
    return classes


def _coverage(acting: list[ChainEvent], metrics: frozenset[str], keeps: bool) -> Coverage:
    """The fold for metrics that are alike, asked of any one of them."""
    metric = next(iter(metrics))
    windows: list[Interval] = []
    gaps: list[Interval] = []
    voided: list[Interval] = []
    gap_from: int | None = None
    for step in acting:
        at = step.effective_at
        if gap_from is not None and step.kind in ("grant", "resume"):
            gaps.append((gap_from, at))
            gap_from = None
        if step.kind in ("pause", "withdraw") and gap_from is None:
            gap_from = at
        if step.kind == "grant" and metric in step.metrics:
            windows.append(step.window)
            if step.fill_gap:
                gaps, voided = subtract(gaps, [step.window]), subtract(voided, [step.window])
        elif step.kind == "withdraw" or (step.kind == "narrow" and metric not in step.metrics):
            windows = [(start, min(end, at)) for start, end in windows]
        if step.erases(keeps):
            voided = voided + windows
    if gap_from is not None:
        gaps.append((gap_from, NO_END))
    return Coverage(metrics, subtract(windows, gaps + voided), union(voided))


def union(intervals: list[Interval]) -> list[Interval]:
    """The same instants as sorted, disjoint, not touching intervals, empty ones left out."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def subtract(intervals: list[Interval], holes: list[Interval]) -> list[Interval]:
    """The instants of `intervals` that are in none of `holes`, as `union` gives them."""
    if not holes:
        return union(intervals)
    left: list[Interval] = []
    cuts = union(holes)
    first = 0
    for start, end in union(intervals):
        while first < len(cuts) and cuts[first][1] <= start:
            first += 1
        rest = start
        for from_us, to_us in islice(cuts, first, None):
            if from_us >= end:
                break
            if rest < from_us:
                left.append((rest, from_us))
            rest = to_us
        if rest < end:
            left.append((rest, end))
    return left
