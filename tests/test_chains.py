"""The fold of a chain's events into spans, coverage and voided intervals."""

from typing import Any

import pytest

from pipelines.consent.chains import NEVER, NO_END, ChainEvent, Coverage, Span, compile_chain, subtract, union
from schemas.consent_events import ConsentEvent

HR, STEPS = frozenset({"hr"}), frozenset({"steps"})
BOTH = HR | STEPS


def grant(seq: int, at: int, metrics: frozenset[str] = HR, **fields: Any) -> ChainEvent:
    return ChainEvent("grant", seq, at, metrics)._replace(**fields)


def test_one_grant_is_one_span_and_one_window() -> None:
    chain = compile_chain([grant(1, 10, retro_from=5, collect_until=20, store_until=30)], keeps=True)
    assert chain.spans == [Span(10, 1, 1, 30, HR)]
    assert chain.coverage == [Coverage(HR, [(5, 20)], [])]
    assert (chain.first_grant, chain.erased_until, chain.lagging) == (10, NEVER, False)


def test_no_event_is_a_chain_that_says_nothing() -> None:
    chain = compile_chain([], keeps=True)
    assert (list(chain.spans), list(chain.coverage), chain.first_grant, chain.lagging) == ([], [], NO_END, False)


@pytest.mark.parametrize(
    "events",
    [
        [grant(2, 1)],
        [grant(1, 1), grant(3, 2)],
        [grant(1, 1), grant(1, 2)],
        [grant(1, 1), grant(1, 1, metrics=BOTH)],
    ],
)
def test_a_hole_or_a_contradiction_lags(events: list[ChainEvent]) -> None:
    assert compile_chain(events, keeps=True).lagging


def test_an_event_appended_twice_counts_once_with_its_earliest_append() -> None:
    late = ChainEvent("withdraw", 2, 50, mode="keep", appended_us=40)
    events = [grant(1, 1, appended_us=2), late, late._replace(appended_us=30), grant(1, 1, appended_us=9)]
    assert [span.from_us for span in compile_chain(events, keeps=True).spans] == [1, 30, 50]


def test_metrics_with_different_histories_are_told_apart() -> None:
    events = [grant(1, 0, BOTH), ChainEvent("narrow", 2, 10, HR), ChainEvent("withdraw", 3, 20, mode="erase")]
    chain = compile_chain(events, keeps=True)
    assert sorted(chain.coverage) == sorted([Coverage(HR, [], [(0, 20)]), Coverage(STEPS, [], [(0, 10)])])
    assert chain.erased_until == 20


def test_keep_voids_where_the_study_may_not_keep() -> None:
    events = [grant(1, 0), ChainEvent("withdraw", 2, 10, mode="keep")]
    assert compile_chain(events, keeps=True).coverage == [Coverage(HR, [(0, 10)], [])]
    assert compile_chain(events, keeps=False).coverage == [Coverage(HR, [], [(0, 10)])]


def test_fill_gap_opens_only_what_lies_in_its_own_window_and_metrics() -> None:
    gap = [grant(1, 0, BOTH), ChainEvent("pause", 2, 10)]
    filled = compile_chain([*gap, grant(3, 30, HR, retro_from=20, fill_gap=True)], keeps=True)
    assert sorted(filled.coverage) == sorted(
        [Coverage(HR, [(0, 10), (20, NO_END)], []), Coverage(STEPS, [(0, 10), (30, NO_END)], [])]
    )


def test_a_pause_of_no_length_leaves_no_gap() -> None:
    events = [grant(1, 0), ChainEvent("pause", 2, 10), ChainEvent("resume", 3, 10)]
    assert compile_chain(events, keeps=True).coverage == [Coverage(HR, [(0, NO_END)], [])]


@pytest.mark.parametrize("kind", ["pause", "resume", "narrow"])
def test_events_that_find_no_grant_have_no_effect(kind: str) -> None:
    event = ChainEvent(kind, 1, 5, STEPS if kind == "narrow" else frozenset())  # type: ignore[arg-type]
    chain = compile_chain([event, grant(2, 10, retro_from=0)], keeps=True)
    assert chain.coverage == [Coverage(HR, [(0, NO_END)], [])]
    assert chain.spans == [Span(5, 1, 0, NEVER, frozenset()), Span(10, 2, 2, NO_END, HR)]


def test_a_resume_does_not_open_what_a_withdrawal_closed() -> None:
    events = [grant(1, 0), ChainEvent("pause", 2, 5), ChainEvent("withdraw", 3, 10, mode="keep")]
    chain = compile_chain([*events, ChainEvent("resume", 4, 15), grant(5, 20, retro_from=0)], keeps=True)
    assert chain.coverage == [Coverage(HR, [(0, 5), (20, NO_END)], [])]
    assert [(span.from_us, span.grant_seq) for span in chain.spans] == [(0, 1), (5, 0), (10, 0), (15, 0), (20, 5)]


def test_a_pause_after_storage_expired_is_an_objection_all_the_same() -> None:
    events = [grant(1, 0, store_until=5), ChainEvent("pause", 2, 10), grant(3, 20, retro_from=0)]
    assert compile_chain(events, keeps=True).coverage == [Coverage(HR, [(0, 10), (20, NO_END)], [])]


def test_a_withdrawal_in_force_early_stops_the_grants_that_were_waiting() -> None:
    withdraw = ChainEvent("withdraw", 3, 100, mode="keep", appended_us=50)
    chain = compile_chain([grant(1, 0), grant(2, 80), withdraw, grant(4, 90)], keeps=True)
    assert [(span.from_us, span.grant_seq) for span in chain.spans] == [(0, 1), (50, 0), (90, 4), (100, 0)]
    assert chain.coverage == [Coverage(HR, [(0, 50), (90, 100)], [])]


def test_an_event_becomes_what_the_fold_needs() -> None:
    said = ConsentEvent(kind="grant", member="m", study="s", seq=1, effective_at=9, metrics=("hr",), fill_gap=True)
    assert ChainEvent.of(said, appended_us=11) == grant(1, 9, fill_gap=True, appended_us=11)


def test_intervals_are_joined_and_cut_as_sets_of_instants_are() -> None:
    assert union([(5, 7), (0, 3), (3, 4), (6, 9), (2, 2)]) == [(0, 4), (5, 9)]
    assert subtract([(0, 10), (20, 30)], [(2, 3), (8, 22), (25, 25), (29, 40)]) == [(0, 2), (3, 8), (22, 29)]
    assert subtract([], [(0, 1)]) == []
