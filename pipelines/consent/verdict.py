"""The verdict of consent on readings: one code each, decided for whole columns at once.

Two clocks. Authority is asked at r, the reading's received time: a grant must be live then and name the metric.
Coverage is asked at the reading's own interval [start, end), of the chain as a whole: it must lie in windows that name
the metric, outside gaps and what was voided. An instant t (start == end) is [t, t + 1 us).

The first condition that holds decides:

    R_FUTURE           the reading ends more than 5 minutes after r
    R_STUDY_INACTIVE   the study does not run at r
    R_NOT_MEMBER       the reading is surely someone else's
    H_ATTRIBUTION      whose it is cannot be told
    H_CONSENT_LAG      a chain of the member cannot be trusted to be whole
    H_NO_CONSENT       the member has no chain with any study
    N_NOT_CONSIDERED   the member has chains, but none with this study
    R_NO_AUTHORITY     no live grant names the metric at r
    R_ERASED           an erasing withdrawal is effective after r, or the interval lies wholly in what one voided
    R_OUTSIDE_WINDOW   the interval is not wholly covered (not asked of a reading without its times)
    R_UNDATED          start or end is missing
    L_OK               it may land

A late grant: where all of a chain is effective after r and its first grant within the hold period from r, authority is
asked at that grant's instant, since the reading was held for it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.consent.arrays import Bools, ChainArrays, ChainColumns, Ints, Seqs
from pipelines.consent.chains import NEVER, NO_END
from schemas.reasons import Code, Outcome

MISSING = NEVER
"""The start or end that a reading does not have."""
NO_CHAIN = -1
"""In place of a chain: the member has chains, but none with this study."""
NO_CHAIN_AT_ALL = -2
"""In place of a chain: the member has no chain with any study."""
SURE, AMBIGUOUS, OTHER = 0, 1, 2
"""Attribution: the reading is the member's, may be someone else's, is someone else's."""
FUTURE_TOLERANCE_US = 5 * 60 * 1_000_000
HOLD_US = 72 * 3600 * 1_000_000

CODES = (
    Code.OK,
    Code.UNDATED,
    Code.OUTSIDE_WINDOW,
    Code.ERASED,
    Code.NO_AUTHORITY,
    Code.NOT_CONSIDERED,
    Code.NO_CONSENT,
    Code.CONSENT_LAG,
    Code.ATTRIBUTION,
    Code.NOT_MEMBER,
    Code.STUDY_INACTIVE,
    Code.FUTURE,
)
"""The codes by the number that stands for each in `Verdicts.code`, the one that gives way to all others first."""
NUMBER = {code: number for number, code in enumerate(CODES)}
OUTCOMES = {
    Code.OK: Outcome.LANDED,
    Code.UNDATED: Outcome.WITHHELD,
    Code.OUTSIDE_WINDOW: Outcome.WITHHELD,
    Code.ERASED: Outcome.WITHHELD,
    Code.NO_AUTHORITY: Outcome.WITHHELD,
    Code.NOT_CONSIDERED: Outcome.NOT_CONSIDERED,
    Code.NO_CONSENT: Outcome.HELD,
    Code.CONSENT_LAG: Outcome.HELD,
    Code.ATTRIBUTION: Outcome.HELD,
    Code.NOT_MEMBER: Outcome.WITHHELD,
    Code.STUDY_INACTIVE: Outcome.WITHHELD,
    Code.FUTURE: Outcome.REJECTED,
}
_REFUSES = np.array([OUTCOMES[code] == Outcome.WITHHELD for code in CODES])
_ROWS = 32_768  # readings judged together: their columns stay in the cache


@dataclass(frozen=True)
class Verdicts:
    """Per reading: `code`, an index into CODES; `consent_seq`.

    consent_seq is the live grant's seq for L_OK, the last event's in force at the instant asked for what the chain
    refuses, 0 where no event was in force or none was asked.
    """

    code: NDArray[np.uint8]
    consent_seq: Seqs


def judge(
    chains: ChainArrays,
    chain: NDArray[np.int32],
    metric: NDArray[np.int32],
    start_us: Ints,
    end_us: Ints,
    received_us: Ints,
    attribution: NDArray[np.int8],
    hold_us: int | Ints = HOLD_US,
) -> Verdicts:
    """The verdict on n readings, each with the number of its chain in `chains`, or NO_CHAIN or NO_CHAIN_AT_ALL.

    `metric` counts the columns of the chains' sets; times are microseconds UTC, MISSING where there is none;
    `attribution` is SURE, AMBIGUOUS or OTHER; `hold_us` is how long a reading, or each of them [n], waits for a first grant.
    """
    holds = np.broadcast_to(np.asarray(hold_us, dtype=np.int64), len(chain))
    code = np.empty(len(chain), dtype=np.uint8)
    seq = np.zeros(len(chain), dtype=np.int32)
    for first in range(0, len(chain), _ROWS):
        rows = slice(first, first + _ROWS)
        code[rows], seq[rows] = _judge_rows(
            chains,
            chain[rows],
            metric[rows],
            start_us[rows],
            end_us[rows],
            received_us[rows],
            attribution[rows],
            holds[rows],
        )
    return Verdicts(code, seq)


def _judge_rows(
    chains: ChainArrays,
    chain: NDArray[np.int32],
    metric: NDArray[np.int32],
    start: Ints,
    end: Ints,
    received: Ints,
    attribution: NDArray[np.int8],
    hold_us: Ints,
) -> tuple[NDArray[np.uint8], Seqs]:
    code = np.zeros(len(chain), dtype=np.uint8)
    live, last = np.zeros((2, len(chain)), dtype=np.int32)
    absence = np.minimum(chain, 0).astype(np.int8)
    rows = np.flatnonzero(chain >= 0)
    if len(rows):
        at = chain[rows].astype(np.int64)
        code[rows], live[rows], last[rows] = _of_chain(
            chains.columns, at, metric[rows].astype(np.int64), start[rows], end[rows], received[rows], hold_us[rows]
        )
        absence[rows] = chains.absence[at]
        _raise(code, Code.CONSENT_LAG, chains.lagging[at], rows)
        active = (chains.active_from[at] <= received[rows]) & (received[rows] < chains.active_until[at])
        _raise(code, Code.STUDY_INACTIVE, ~active, rows)
    _raise(code, Code.NOT_CONSIDERED, absence == NO_CHAIN)
    _raise(code, Code.NO_CONSENT, absence == NO_CHAIN_AT_ALL)
    _raise(code, Code.ATTRIBUTION, attribution == AMBIGUOUS)
    _raise(code, Code.NOT_MEMBER, attribution == OTHER)
    _raise(code, Code.FUTURE, np.maximum(start, end) > received + FUTURE_TOLERANCE_US)
    return code, np.where(code == NUMBER[Code.OK], live, np.where(_REFUSES[code], last, 0))


def _raise(code: NDArray[np.uint8], to: Code, where: Bools, rows: Ints | None = None) -> None:
    """Let `to` decide where it holds, unless something that comes before it has decided."""
    chosen = np.flatnonzero(where) if rows is None else rows[where]
    code[chosen] = np.maximum(code[chosen], NUMBER[to])


def _of_chain(
    columns: ChainColumns, chain: Ints, metric: Ints, start: Ints, end: Ints, received: Ints, hold_us: Ints
) -> tuple[NDArray[np.uint8], Seqs, Seqs]:
    """What the chains' own events say, with the seqs of the live grant and of the last event in force."""
    if not len(columns.span_from):
        none = np.zeros(len(chain), dtype=np.int32)
        return np.full(len(chain), NUMBER[Code.NO_AUTHORITY], dtype=np.uint8), none, none
    span = _span_in_force(columns, chain, received, hold_us)
    stores = received < columns.span_store_until[span]  # of a late grant too: it stores beyond its own instant
    authority = _names(columns, columns.span_set[span], metric) & (span >= 0) & stores
    covered, voided = _coverage(columns, chain, metric, start, np.maximum(end, start + 1))
    dated = (start != MISSING) & (end != MISSING)
    erased = (received < columns.erased_until[chain]) | (voided & dated)
    code = np.where(dated, np.where(covered, NUMBER[Code.OK], NUMBER[Code.OUTSIDE_WINDOW]), NUMBER[Code.UNDATED])
    code = np.where(erased, NUMBER[Code.ERASED], code)
    code = np.where(authority, code, NUMBER[Code.NO_AUTHORITY]).astype(np.uint8)
    return code, columns.span_grant_seq[span], np.where(span >= 0, columns.span_last_seq[span], 0)


def _span_in_force(columns: ChainColumns, chain: Ints, received: Ints, hold_us: Ints) -> Ints:
    """The span in force at r, or at a late grant's instant; -1 where no event is."""
    span = last_not_after(columns.span_at, columns.span_from, chain, received)
    before_all = np.flatnonzero(span < 0)
    if len(before_all):
        grant = columns.first_grant[chain[before_all]]
        waits = (grant != NO_END) & (grant <= received[before_all] + hold_us[before_all])
        late = before_all[waits]
        span[late] = last_not_after(columns.span_at, columns.span_from, chain[late], grant[waits])
    return span


def _coverage(columns: ChainColumns, chain: Ints, metric: Ints, start: Ints, end: Ints) -> tuple[Bools, Bools]:
    """Whether each interval lies wholly in what is covered, and wholly in what is voided, for its metric."""
    group = _group(columns, chain, metric)
    rows = np.flatnonzero(group >= 0)
    if len(rows) < len(group):
        group, start, end = group[rows], start[rows], end[rows]
    covered = np.zeros(len(chain), dtype=np.bool_)
    covered[rows] = _within(columns.cover_at, columns.cover_from, columns.cover_to, group, start, end)
    voided = np.zeros(len(chain), dtype=np.bool_)
    if len(columns.void_from):
        voided[rows] = _within(columns.void_at, columns.void_from, columns.void_to, group, start, end)
    return covered, voided


def _group(columns: ChainColumns, chain: Ints, metric: Ints) -> Ints:
    """The chain's group of metrics that the metric is in, -1 where it is in none."""
    group = np.full(len(chain), -1, dtype=np.int64)
    rows = np.arange(len(chain))
    at, last = columns.group_at[chain], columns.group_at[chain + 1]
    while True:
        some = np.flatnonzero(at < last)
        rows, at, last = rows[some], at[some], last[some]
        if not len(rows):
            return group
        hit = _names(columns, columns.group_set[at], metric[rows])
        group[rows[hit]] = at[hit]
        rows, at, last = rows[~hit], at[~hit] + 1, last[~hit]


def _names(columns: ChainColumns, sets: Seqs, metric: Ints) -> Bools:
    """Whether each set, by its row, holds the metric beside it."""
    held: Bools = columns.sets.ravel()[sets * np.int64(columns.sets.shape[1]) + metric]
    return held


def _within(at: Ints, from_us: Ints, to_us: Ints, rows: Ints, start: Ints, end: Ints) -> Bools:
    if not len(from_us):
        return np.zeros(len(rows), dtype=np.bool_)
    found = last_not_after(at, from_us, rows, start)
    return (found >= 0) & (end <= to_us[found])


def last_not_after(at: Ints, values: Ints, rows: Ints, instants: Ints) -> Ints:
    """For each row of a list column of ascending `values`: where its last item <= the instant is, -1 if none is.

    `at` are the column's offsets, `rows` and `instants` have one length. A binary search in all rows at once.
    """
    first, stop = at[rows], at[rows + 1]
    found = first - 1
    longest = int((stop - first).max(initial=0))
    for power in reversed(range(longest.bit_length())):
        probe = found + (1 << power)
        reached = (probe < stop) & (values.take(probe, mode="clip") <= instants)
        found = np.where(reached, probe, found)
    return np.where(found >= first, found, -1)
