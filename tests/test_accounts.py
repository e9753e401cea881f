"""Accounts: every note finds its sum, and one reading or record too few or too many anywhere breaks the law."""

import json
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from pipelines.accounts import Accounts, claims_note, note, rejection_note, total
from pipelines.claims import Claims, Hold
from pipelines.decode import Pointer
from pipelines.law import LawBroken
from schemas.reasons import Code, Outcome, Reason

TOPIC = "acme.sensor-reading.v1"


def pointer(offset: int, readings: int, reason: Reason = Reason.UNIT) -> Pointer:
    """About readings of a message, or about a record that was none where there are no readings."""
    return Pointer(TOPIC, 0, offset, 0 if readings else None, readings, reason, "unit")


def hold(readings: int, reason: Code = Code.NO_CONSENT) -> Hold:
    return Hold(TOPIC, 0, 7, 0, readings, 1, "acme", "s1", reason)


def claims() -> Claims:
    """30 readings held, 60 claimed: 60 considered by sleep, 20 by cycle."""
    none = np.zeros(0, dtype=np.int64)
    found = Claims(none, none, none, claimed=60, considered=Counter(sleep=60, cycle=20))
    found.holds = [hold(10), hold(20, Code.CONSENT_LAG)]
    found.withheld = Counter({("sleep", str(Code.NO_AUTHORITY)): 9, ("cycle", str(Code.OUTSIDE_WINDOW)): 20})
    found.people = Counter({("sleep", str(Code.NO_AUTHORITY)): 2, ("cycle", str(Code.OUTSIDE_WINDOW)): 4})
    return found


def file(study: str, family: str, path: str) -> dict[str, Any]:
    return {"table": f"study={study}/{family}", "path": path, "rows": 999}  # what the writer believes


NOTES = [
    note("read", topic=TOPIC, records=0, bytes=0),
    note("read", topic=TOPIC, records=6, bytes=900),
    note("read", topic="beta.sensor-reading.v1", records=4, bytes=100),
    note("read", topic="idle.sensor-reading.v1", records=0, bytes=0),
    rejection_note("decode", [pointer(3, 0, Reason.EMPTY), pointer(4, 0, Reason.EMPTY)], messages=8, decoded=100),
    rejection_note("normalise", [pointer(5, 4), pointer(5, 3, Reason.FUTURE)], skipped=3),
    claims_note(claims()),
    note(
        "write",
        study="sleep",
        duplicate=5,
        people={"duplicate": 3, "quarantined": 0, "landed": 9},
        files=[file("sleep", "observation", "a"), file("sleep", "waveform", "b")],
        answers=[["PL-00", "evaluated", 38], ["PL-00", "failed", 2]],
    ),
    note(
        "write",
        study="sleep",
        duplicate=1,
        people={"duplicate": 1, "quarantined": 4, "landed": 2},
        files=[file("sleep", "quarantine", "c"), file("sleep", "check_count", "d")],
        answers=[["PL-00", "evaluated", 7], ["PL-00", "not_applicable", 1]],
    ),
]
FOOTERS = {"a": 30, "b": 8, "c": 7, "d": 1000}


def accounts(notes: list[str] = NOTES, footers: dict[str, int] = FOOTERS) -> Accounts:
    found = total(random.Random(1).sample(notes, len(notes)))
    found.count_footers(footers.__getitem__)
    return found


def test_the_sums_of_a_run_are_those_of_its_notes() -> None:
    found = accounts()
    found.check()
    assert found.checks == {
        "sleep": {("PL-00", "evaluated"): 45, ("PL-00", "failed"): 2, ("PL-00", "not_applicable"): 1}
    }
    assert found.counts() == {
        "records": {"read": 10, "decoded": 8, "rejected": 2},
        "topics": {TOPIC: {"records": 6, "bytes": 900}, "beta.sensor-reading.v1": {"records": 4, "bytes": 100}},
        "readings": {"decoded": 100, "rejected": 7, "held": 30, "claimed": 60, "skipped": 3},
        "rejected": {"R_EMPTY": 2, "R_FUTURE": 3, "R_UNIT": 4},
        "held": {"H_CONSENT_LAG": 20, "H_NO_CONSENT": 10},
        "studies": {
            "cycle": {
                "considered": 20,
                "withheld": {"R_OUTSIDE_WINDOW": 20},
                "quarantined": 0,
                "duplicate": 0,
                "landed": 0,
            },
            "sleep": {
                "considered": 60,
                "withheld": {"R_NO_AUTHORITY": 9},
                "quarantined": 7,
                "duplicate": 6,
                "landed": 38,
            },
        },
        "people": {
            "cycle": {"R_OUTSIDE_WINDOW": 4},
            "sleep": {"R_NO_AUTHORITY": 2, "duplicate": 3, "landed": 9, "quarantined": 4},
        },
    }


def test_the_counts_name_nobody() -> None:
    said = json.dumps(accounts().counts())
    assert "s1" not in said and '"unit"' not in said


def shifted(stage: str, key: str, by: int) -> list[str]:
    """The notes with one number of one stage changed."""
    notes = [json.loads(text) for text in NOTES]
    victim = next(said for said in notes if said["stage"] == stage and said.get(key))
    victim[key] += by
    return [json.dumps(said) for said in notes]


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(
    ("stage", "key", "law"),
    [
        ("read", "records", "records read"),
        ("decode", "messages", "records read"),
        ("decode", "records", "records read"),
        ("decode", "decoded", "readings decoded"),
        ("normalise", "readings", "readings decoded"),
        ("normalise", "skipped", "readings decoded"),
        ("consent", "claimed", "readings decoded"),
        ("write", "duplicate", "considered by sleep"),
    ],
)
def test_one_too_few_or_too_many_at_a_stage_breaks_the_law(stage: str, key: str, law: str, by: int) -> None:
    with pytest.raises(LawBroken, match=law):
        accounts(shifted(stage, key, by)).check()


@pytest.mark.parametrize("path", "abc")
@pytest.mark.parametrize("by", [-1, 1])
def test_one_row_too_few_or_too_many_in_a_file_breaks_the_law(path: str, by: int) -> None:
    with pytest.raises(LawBroken, match="considered by sleep"):
        accounts(footers={**FOOTERS, path: FOOTERS[path] + by}).check()


@pytest.mark.parametrize("name", ["considered", "withheld"])
def test_what_a_study_considered_is_its_verdicts_word(name: str) -> None:
    found = accounts()
    if name == "considered":
        found.considered["cycle"] -= 1
    else:
        found.withheld["cycle"][str(Code.OUTSIDE_WINDOW)] -= 1
    with pytest.raises(LawBroken, match="considered by cycle"):
        found.check()


def test_a_whole_message_lost_after_decoding_breaks_the_law() -> None:
    with pytest.raises(LawBroken, match="readings decoded"):
        accounts([text for text in NOTES if '"stage": "consent"' not in text]).check()


def test_a_study_that_nobody_considered_may_not_land_anything() -> None:
    stray = note("write", study="mood", duplicate=0, people={}, files=[file("mood", "observation", "a")], answers=[])
    with pytest.raises(LawBroken, match="considered by mood"):
        accounts([*NOTES, stray]).check()


def test_errors_that_undo_each_other_in_the_sum_over_studies_are_seen() -> None:
    found = accounts()
    found.outcomes["sleep"][Outcome.LANDED] -= 1
    found.outcomes.setdefault("cycle", Counter())[Outcome.LANDED] += 1
    with pytest.raises(LawBroken):
        found.check()


def test_the_manifest_carries_the_sums_and_nothing_of_single_people() -> None:
    found = accounts()
    again = Accounts.from_json(found.to_json())
    assert again.counts() == found.counts() and again.files == found.files
    again.check()
    assert "s1" not in found.to_json() and '"unit"' not in found.to_json()
    assert again.pointers == [] and again.holds == []
    assert len(found.pointers) == 4 and len(found.holds) == 2


def test_a_run_of_nothing_keeps_the_law() -> None:
    empty = Accounts()
    empty.check()
    assert empty.counts()["records"] == {"read": 0, "decoded": 0, "rejected": 0}
