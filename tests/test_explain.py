"""`consent explain`: codes, sentences, refused lines; and that it asks the very function of the run."""

import json
from typing import Any

import numpy as np
import pytest

from pipelines.consent import verdict
from pipelines.consent.explain import explain
from schemas.reasons import Rejected
from schemas.registry import Study


def event(kind: str, seq: int, day: int, **fields: Any) -> str:
    mode = {"mode": "keep"} if kind == "withdraw" else {}
    metrics = {"metrics": ["heart-rate"]} if kind == "grant" else {}
    own = {"kind": kind, "member": "mia", "study": "sleep", "seq": seq, "effective_at": at(day)}
    return json.dumps(own | mode | metrics | fields)


def reading(day: float, arrived: float, **fields: Any) -> str:
    own = {"id": "r1", "member": "mia", "study": "sleep", "metric": "heart-rate", "attribution": "sure"}
    return json.dumps(own | {"start": at(day), "end": at(day), "received": at(arrived)} | fields)


def at(day: float) -> str:
    hours = round(day * 24)
    return f"2026-03-{hours // 24:02d}T{hours % 24:02d}:00:00Z"


def one(events: list[str], asked: str, studies: dict[str, Study] | None = None) -> tuple[str, str, int, str]:
    (answer,) = explain(events, [asked], studies)
    assert set(answer) == {"id", "code", "outcome", "consent_seq", "because"}
    assert answer["id"] == "r1"
    assert "mia" not in answer["because"]
    return answer["code"], answer["outcome"], answer["consent_seq"], answer["because"]


def test_a_reading_under_a_live_grant_lands() -> None:
    code, outcome, seq, because = one([event("grant", 1, 1)], reading(2, 2))
    assert (code, outcome, seq) == ("L_OK", "landed", 1)
    assert because == (
        "Grant 1 was live when the reading was received, and the windows of its metric cover the whole interval."
    )


EVERY_CODE = [
    ([], {"received": at(1)}, "R_FUTURE", "rejected", 0, "5 minutes"),
    ([event("grant", 1, 1)], {"attribution": "other"}, "R_NOT_MEMBER", "withheld", 1, "someone else's"),
    ([event("grant", 1, 1)], {"attribution": "ambiguous"}, "H_ATTRIBUTION", "held", 0, "cannot be told"),
    ([event("grant", 2, 1)], {}, "H_CONSENT_LAG", "held", 0, "missing"),
    ([event("grant", 1, 1), event("refuse", 2, 2)], {}, "H_CONSENT_LAG", "held", 0, "unknown"),
    ([event("grant", 1, 1, categories=["heart"])], {}, "H_CONSENT_LAG", "held", 0, "unknown"),
    ([event("grant", 2, 1, study="mood")], {}, "H_CONSENT_LAG", "held", 0, "A chain of the member"),
    ([event("grant", 1, 1, member="ann")], {}, "H_NO_CONSENT", "held", 0, "no consent chain"),
    ([event("grant", 1, 1, study="mood")], {}, "N_NOT_CONSIDERED", "not_considered", 0, "none with this study"),
    ([event("grant", 1, 9)], {}, "R_NO_AUTHORITY", "withheld", 0, "No event"),
    ([event("grant", 1, 1), event("pause", 2, 2)], {}, "R_NO_AUTHORITY", "withheld", 2, "Event 2, a pause"),
    ([event("grant", 1, 1, metrics=["steps"])], {}, "R_NO_AUTHORITY", "withheld", 1, "does not name"),
    ([event("grant", 1, 1, store_until=at(2))], {}, "R_NO_AUTHORITY", "withheld", 1, "time to store"),
    ([event("grant", 1, 1), event("withdraw", 2, 4, mode="erase")], {}, "R_ERASED", "withheld", 1, "Withdrawal 2"),
    ([event("grant", 1, 1, collect_until=at(2))], {}, "R_OUTSIDE_WINDOW", "withheld", 1, "no window"),
    ([event("grant", 1, 1)], {"end": None}, "R_UNDATED", "withheld", 1, "missing"),
]


@pytest.mark.parametrize(("events", "fields", "code", "outcome", "seq", "word"), EVERY_CODE)
def test_every_code_is_explained(
    events: list[str], fields: dict[str, Any], code: str, outcome: str, seq: int, word: str
) -> None:
    got = one(events, reading(2, 3, **fields))
    assert got[:3] == (code, outcome, seq)
    assert word in got[3]


def test_what_an_erasure_voided_is_explained_by_the_withdrawal_that_did_it() -> None:
    events = [event("grant", 1, 1), event("withdraw", 2, 4, mode="erase"), event("grant", 3, 5, retro_from=at(1))]
    assert one(events, reading(2, 6))[::3] == (
        "R_ERASED",
        "Withdrawal 2 voided the windows of the interval, and no fill_gap has opened them again.",
    )


def test_a_late_grant_is_said_to_be_waited_for() -> None:
    code, _, seq, because = one([event("grant", 1, 5, retro_from=at(2))], reading(3, 3))
    assert (code, seq) == ("L_OK", 1)
    assert "for which the reading had waited" in because
    assert one([event("grant", 1, 7, retro_from=at(2))], reading(3, 3))[0] == "R_NO_AUTHORITY"


def test_the_registry_says_whether_a_study_runs_and_may_keep() -> None:
    events = [event("grant", 1, 1), event("withdraw", 2, 4)]
    runs = Study(id="sleep")
    assert one(events, reading(2, 3), {"sleep": runs})[0] == "R_ERASED"
    keeps = Study(id="sleep", basis_after_withdrawal="public_interest_research")
    assert one(events, reading(2, 3), {"sleep": keeps})[0] == "L_OK"
    ended = Study.model_validate({"id": "sleep", "active_until": at(3)})
    assert one(events, reading(2, 3), {"sleep": ended})[::2] == ("R_STUDY_INACTIVE", 1)
    assert one(events, reading(2, 3), {})[0] == "R_STUDY_INACTIVE"
    assert one([], reading(2, 3), {})[0] == "R_STUDY_INACTIVE", "asked before whether there is a chain"


def test_links_among_the_events_are_passed_over_and_answers_keep_the_order_of_the_readings() -> None:
    link = '{"kind":"link","link_id":"l","partner":"acme","subject":"s","member":"mia","from":null,"to":null}'
    readings = [reading(2, 2, id=7), "", reading(2, 2, id="x", metric="steps")]
    answers = explain([link, "\n", event("grant", 1, 1)], readings)
    assert [(answer["id"], answer["code"]) for answer in answers] == [(7, "L_OK"), ("x", "R_NO_AUTHORITY")]


@pytest.mark.parametrize(
    ("events", "readings", "where"),
    [
        ([event("grant", 1, 1), event("grant", 0, 1)], [], "events line 2: seq"),
        (['{"kind":"mystery"}'], [], "events line 1: kind"),
        (["[1]"], [], "events line 1: the line"),
        ([], [reading(2, 2), "", reading(2, 2, start="2026-03-01T00:00:00")], "readings line 3: start"),
        ([], [reading(3, 4, end=at(2))], "readings line 1: end"),
        ([], [reading(2, 2, attribution="secret-7")], "readings line 1: attribution"),
        ([], [reading(2, 2, secret=7)], "readings line 1: (unknown field)"),
        ([], [reading(2, 2, received=None)], "readings line 1: received"),
    ],
)
def test_a_line_that_is_not_valid_is_refused_by_its_number_without_its_value(
    events: list[str], readings: list[str], where: str
) -> None:
    with pytest.raises(Rejected) as refusal:
        explain(events, readings)
    assert refusal.value.path == where
    assert "secret" not in str(refusal.value)
    assert "mia" not in str(refusal.value)


def test_explain_asks_the_judge_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """With coverage broken inside `judge`, explain changes its answer: it has no verdict of its own."""
    events, outside = [event("grant", 1, 2)], reading(1, 3)
    assert one(events, outside)[0] == "R_OUTSIDE_WINDOW"
    whole = lambda at, from_us, to_us, rows, start, end: np.ones(len(rows), dtype=np.bool_)  # noqa: E731
    monkeypatch.setattr(verdict, "_within", whole)
    assert one(events, outside)[0] == "L_OK"
