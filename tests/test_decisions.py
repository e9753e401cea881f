"""Stewards' decisions: exactly once, the first of two wins, consent and duplicates asked again, two for what is critical."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import proposals as proposals_module
from pipelines.answer import answer_next
from pipelines.entries import Kind, TableChange
from pipelines.lake_check import lake_check
from pipelines.landing import publish
from pipelines.law import entry_law
from pipelines.moved_rows import MovedRows
from pipelines.requests import ask, everything
from quality.checks import Severity, checks
from quality.chosen import number_of
from quality.gate import Gate
from schemas.consent_events import ConsentEvent
from schemas.families import DISCARDED, LAB_RESULT
from tests.canaries import leaks_in_folder, member, subject
from tests.lakes import Crash
from tests.lakes import rows as made_rows
from tests.mistakes import shift_by
from tests.offline import Offline
from tests.readings import DAY, NOON, RECEIVED, grant, linked, message
from tests.recount import counted, standing

POSSIBLE, FLAGGED, IMPOSSIBLE = [60.0, 61.0], [245.0], [400.0, 401.0, 402.0]
HELD = {"check": "PL-00", "expected": 3}


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with ann and ben, a study that holds three of ann's readings, one of them flagged, and three held back."""
    folder = tmp_path_factory.mktemp("landed") / "lake"
    made = Offline(folder)
    for person in ("ann", "ben"):
        made.consent(linked(subject(person), member(person)), grant(member(person)))
    made.land(sent("ann"))
    made.close()
    return folder


@pytest.fixture
def lake(tmp_path: Path, landed: Path) -> Iterator[Offline]:
    """A copy of it that is the test's own, with a driver."""
    shutil.copytree(landed, tmp_path / "lake")
    made = Offline(tmp_path / "lake", there=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory, landed: Path) -> Iterator[Offline]:
    """A copy in which nothing changes."""
    folder = tmp_path_factory.mktemp("still") / "lake"
    shutil.copytree(landed, folder)
    made = Offline(folder, there=True)
    yield made
    made.close()


def sent(person: str, values: list[float] | None = None, **fields: Any) -> dict[str, Any]:
    return message(subject(person), [*POSSIBLE, *FLAGGED, *IMPOSSIBLE] if values is None else values, **fields)


@pytest.fixture
def mild(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person may decide about impossible values."""
    found = {**checks(), "PL-00": checks()["PL-00"].model_copy(update={"severity": Severity.WARNING})}
    monkeypatch.setattr("quality.chosen.checks", lambda: found)


def withdraw(person: str, **fields: Any) -> ConsentEvent:
    row = {"kind": "withdraw", "member": member(person), "study": "sleep", "seq": 2, "mode": "keep"}
    return ConsentEvent.model_validate({**row, "effective_at": RECEIVED + DAY // 2, **fields})


def assert_sound(lake: Offline) -> None:
    report = lake_check(lake.driver.store, lake.driver.ledger, law=entry_law)
    assert report.problems == []
    assert counted(lake.world, "sleep") == standing(lake.world, "sleep")


# -- release


@pytest.mark.usefixtures("mild")
def test_a_released_row_is_in_its_table_as_it_was_and_says_by_which_entry(lake: Offline) -> None:
    before = {row["key64"]: row for row in lake.world.rows("sleep", view="quarantine")}
    entry = lake.decided("release", HELD)
    assert (entry.kind, entry.cause["rows"], entry.cause["released"], entry.cause["withheld"]) == ("release", 3, 3, {})
    assert lake.values("quarantine") == []
    released = [row for row in lake.world.rows("sleep") if row["released"] is not None]
    assert {row["released"] for row in released} == {entry.n} and lake.values() == sorted(
        [60.0, 61.0, 245.0, *IMPOSSIBLE]
    )
    kept = ("pseudonym", "origin", "origin_index", "received", "entry", "flags", "consent_seq", "value", "start")
    for row in released:
        assert all(row[name] == before[row["key64"]][name] for name in kept)
    assert_sound(lake)


@pytest.mark.usefixtures("mild")
def test_a_decision_has_its_row_in_the_entry_that_carries_it_out(lake: Offline) -> None:
    asked = lake.ask("release", HELD, by="ada", reason="seen on the film")
    assert asked.request is not None
    (entry,) = lake.answer_all()
    (row,) = lake.decisions()
    assert row["decision"] == asked.id and row["entry"] == entry.n and row["rows"] == 3
    assert (row["kind"], row["by"], row["second"], row["check"]) == ("release", "ada", None, "PL-00")
    assert row["reason"] == "seen on the film"
    assert json.loads(row["about"]) == {**HELD, "fingerprint": asked.request.selection["about"]["fingerprint"]}


STRATA: list[tuple[dict[str, Any], list[float]]] = [
    ({"metric": "heart_rate"}, IMPOSSIBLE),
    ({"family": "observation", "partner": "acme", "day": "2025-03-14"}, IMPOSSIBLE),
    ({"device_model": "A1"}, [500.0]),
    ({"firmware": "9.9"}, [500.0]),
    ({"day": "2025-03-15"}, [500.0]),
    ({"check": "PL-00", "day": "2025-03-15"}, [500.0]),
]


@pytest.mark.usefixtures("mild")
@pytest.mark.parametrize(("about", "leave"), STRATA)
def test_a_stratum_is_what_agrees_with_everything_that_is_given(
    lake: Offline, about: dict[str, Any], leave: list[float]
) -> None:
    device = {"source": {"name": "w", "device_model": "A1", "firmware": "9.9"}}
    lake.land(sent("ben", [500.0], start=NOON + DAY - 3_600_000_000 * 11, **device), offset=1)
    if "metric" in about:
        leave = [*leave, 500.0]
    lake.decided("release", {**about, "expected": len(leave)})
    assert lake.values("quarantine") == sorted({*IMPOSSIBLE, 500.0} - {*leave})
    assert_sound(lake)


@pytest.mark.usefixtures("mild")
def test_rows_are_chosen_by_number(lake: Offline) -> None:
    row = next(row for row in lake.world.rows("sleep", view="quarantine") if row["value"] == 401.0)
    lake.decided("release", {"rows": [number_of(row["key64"])], "expected": 1})
    assert lake.values("quarantine") == [400.0, 402.0] and 401.0 in lake.values()


@pytest.mark.usefixtures("mild")
def test_who_has_withdrawn_meanwhile_stays_out_and_it_is_said_how_many_and_not_who(lake: Offline) -> None:
    lake.land(sent("ben", [500.0]), offset=1)
    lake.consent(withdraw("ben"))
    entry = lake.decided("release", {"check": "PL-00", "expected": 4})
    assert (entry.cause["rows"], entry.cause["withheld"]) == (3, {"R_NO_AUTHORITY": 1})
    assert lake.values("quarantine") == [500.0] and 500.0 not in lake.values()
    words = lake.refused("release", {"check": "PL-00", "expected": 1})
    assert words == "consent lets none of these rows be released: 1 R_NO_AUTHORITY"
    lake.consent(grant(member("ben"), seq=3, effective_at=RECEIVED + DAY))
    lake.decided("release", {"check": "PL-00", "expected": 1})
    assert 500.0 in lake.values()
    assert_sound(lake)


@pytest.mark.usefixtures("mild")
@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([withdraw("ann", mode="erase")], "R_ERASED"),
        ([withdraw("ann", seq=3)], "H_CONSENT_LAG"),
        ([grant(member("ann"), seq=2, metrics=("steps_interval",), effective_at=RECEIVED + 1)], "R_NO_AUTHORITY"),
    ],
)
def test_consent_is_the_verdict_of_the_run_then_and_now(lake: Offline, events: list[ConsentEvent], code: str) -> None:
    lake.consent(*events)
    assert lake.refused("release", HELD) == f"consent lets none of these rows be released: 3 {code}"
    assert lake.values("quarantine") == IMPOSSIBLE


@pytest.mark.usefixtures("mild")
def test_a_study_that_has_ended_settles_what_came_in_while_it_ran(
    lake: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = datetime.fromtimestamp((RECEIVED + 1000) / 1e6, UTC)
    study = lake.driver.studies["sleep"].model_copy(update={"active_until": ended})
    lake.driver.studies["sleep"] = study
    lake.decided("release", HELD)
    assert lake.values("quarantine") == []


@pytest.mark.usefixtures("mild")
def test_what_is_in_the_table_meanwhile_is_not_doubled(lake: Offline) -> None:
    lake.decided("release", HELD)
    before = lake.world.rows("sleep")
    again(lake)
    assert counted(lake.world, "sleep") == standing(lake.world, "sleep")
    entry = lake.decided("release", {"check": "PL-00", "expected": 3})
    assert (entry.cause["rows"], entry.cause["released"], entry.cause["duplicate"]) == (3, 0, 3)
    assert lake.world.rows("sleep") == before and lake.values("quarantine") == []
    assert_sound(lake)


def again(lake: Offline) -> None:
    """What was released is in quarantine besides, as it never should be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.landing._tables", lambda place: [f"study={place[0]}/quarantine"])
        lake.land(sent("ann", [*IMPOSSIBLE], start=NOON + 3_000_000), offset=5)


# -- discard


@pytest.mark.usefixtures("mild")
def test_what_is_discarded_is_remembered_by_key_and_does_not_come_back(lake: Offline) -> None:
    keys = {row["key64"] for row in lake.world.rows("sleep", view="quarantine")}
    entry = lake.decided("discard", HELD)
    discarded = lake.world.rows("sleep", view="discarded")
    assert (entry.kind, entry.cause["rows"]) == ("discard", 3)
    assert {row["key64"] for row in discarded} == keys and {row["entry"] for row in discarded} == {entry.n}
    assert not {"value", "code", "metric", "values"} & set(discarded[0])
    assert lake.values("quarantine") == [] and lake.values() == [60.0, 61.0, 245.0]
    assert_sound(lake)
    assert lake.land(sent("ann"), offset=9).cause["duplicate"] == 6
    lake.replay(sent("ann"))
    assert lake.values("quarantine") == [] and lake.values() == [60.0, 61.0, 245.0]
    assert len(lake.world.rows("sleep", view="discarded")) == 3
    assert_sound(lake)


@pytest.mark.usefixtures("mild")
def test_released_rows_that_are_replayed_are_not_doubled(lake: Offline) -> None:
    lake.decided("release", HELD)
    lake.replay(sent("ann"))
    everywhere = lake.values() + lake.values("quarantine")
    assert sorted(everywhere) == sorted([*POSSIBLE, *FLAGGED, *IMPOSSIBLE])
    assert_sound(lake)


@pytest.mark.usefixtures("mild")
def test_what_stewards_have_released_stays_released_through_a_replay(lake: Offline) -> None:
    entry = lake.decided("release", HELD)
    replayed = lake.replay(sent("ann"))
    assert lake.values("quarantine") == [] and lake.values() == sorted([*POSSIBLE, *FLAGGED, *IMPOSSIBLE])
    assert {row["value"]: row["released"] for row in lake.world.rows("sleep")} == {
        **dict.fromkeys([*POSSIBLE, *FLAGGED]), **dict.fromkeys(IMPOSSIBLE, entry.n),
    }  # fmt: skip
    assert {row["entry"] for row in lake.world.rows("sleep")} == {replayed.n}
    assert_sound(lake)
    lake.replay(sent("ann"))
    assert lake.values("quarantine") == [], "and through the next one"


@pytest.mark.usefixtures("mild")
def test_a_released_value_that_a_corrected_mapping_changes_is_judged_anew(lake: Offline) -> None:
    """The same was sent, so the keys are the same: what it means is not."""
    keys = {row["key64"] for row in lake.world.rows("sleep", view="quarantine")}
    lake.decided("release", HELD)
    with pytest.MonkeyPatch.context() as patch:
        shift_by(patch, 1.0)
        lake.replay(sent("ann"))
    assert lake.values("quarantine") == [401.0, 402.0, 403.0] and lake.values() == [61.0, 62.0, 246.0]
    assert {row["key64"] for row in lake.world.rows("sleep", view="quarantine")} == keys
    assert not any(
        row["released"] for view in ("observation", "quarantine") for row in lake.world.rows("sleep", view=view)
    )
    assert_sound(lake)


@pytest.mark.usefixtures("mild")
def test_what_another_check_holds_back_besides_is_judged_anew(lake: Offline) -> None:
    lake.decided("release", HELD)
    with pytest.MonkeyPatch.context() as patch:
        judge = Gate.judge
        more = checks()["LK-03"].mask
        patch.setattr(
            Gate, "judge", lambda gate, judged: judge(gate, judged) | np.where(judged.number("value") == 401, more, 0)
        )
        lake.replay(sent("ann"))
    assert lake.values("quarantine") == [401.0]
    assert [row["value"] for row in lake.world.rows("sleep") if row["released"]] == [400.0, 402.0]


@pytest.mark.usefixtures("mild")
def test_what_is_held_back_by_fewer_checks_stays_released(lake: Offline) -> None:
    """As when a range has become wider; and it stays a row that people have decided about, which a job does not take back."""
    entry = lake.decided("release", HELD)
    with pytest.MonkeyPatch.context() as patch:
        judge, less = Gate.judge, ~checks()["PL-00"].mask
        patch.setattr(Gate, "judge", lambda gate, judged: judge(gate, judged) & less)
        lake.replay(sent("ann"))
    assert lake.values("quarantine") == []
    assert [row["released"] for row in lake.world.rows("sleep") if row["value"] in IMPOSSIBLE] == [entry.n] * 3
    found = {"check": "SQ-05", "metric": "heart_rate", "day": "2025-03-14"}
    lake.decided("recall", found, by="wellspring", reason="SQ-05: gaps")
    assert lake.values("quarantine") == sorted([*POSSIBLE, *FLAGGED])


@pytest.mark.usefixtures("mild")
def test_of_what_is_discarded_only_the_keys_are_held_until_they_are_written(
    lake: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, bring = list[str](), MovedRows.bring

    def brought(moved: Any, table: str, month: str, rows: Any) -> None:
        held.extend(rows.column_names)
        bring(moved, table, month, rows)

    monkeypatch.setattr(MovedRows, "bring", brought)
    lake.decided("discard", HELD)
    assert held == DISCARDED.schema.names


# -- the first of two wins


@pytest.mark.usefixtures("mild")
@pytest.mark.parametrize("kinds", [("release", "discard"), ("discard", "release"), ("release", "release")])
def test_of_two_who_decide_the_same_rows_at_once_the_first_wins(lake: Offline, kinds: tuple[str, str]) -> None:
    first, second = lake.ask(kinds[0], HELD, by="ada"), lake.ask(kinds[1], HELD, by="bob")
    (entry,) = lake.answer_all()
    assert entry.kind == kinds[0] and entry.cause["request"] == first.mark
    (left,) = everything(lake.driver.store)
    assert left.id == second.id and left.request is not None
    assert left.request.refused == f"decided already by decision {first.id}"
    assert len(lake.decisions()) == 1 and lake.values("quarantine") == []


@pytest.mark.usefixtures("mild")
def test_what_is_left_is_only_decided_by_who_has_seen_it(lake: Offline) -> None:
    row = lake.world.rows("sleep", view="quarantine")[0]
    lake.decided("discard", {"rows": [number_of(row["key64"])], "expected": 1})
    assert lake.refused("release", HELD) == "what you were shown has changed: 2 rows now"
    lake.decided("release", {"check": "PL-00", "expected": 2})


# -- two people


def test_what_failed_a_critical_check_one_person_does_not_decide(lake: Offline) -> None:
    words = lake.refused("release", HELD)
    assert words.startswith("a critical check failed: two people decide")
    assert lake.refused("discard", HELD) == words
    assert lake.decisions() == [] and lake.values("quarantine") == IMPOSSIBLE


@pytest.mark.parametrize("kind", ["release", "discard"])
def test_a_second_person_approves_and_it_happens_in_that_entry(lake: Offline, kind: str) -> None:
    proposal = lake.ask("propose", {"decision": kind, **HELD}, by="ada")
    (entry,) = lake.answer_all()
    assert entry.kind == "decide" and lake.values("quarantine") == IMPOSSIBLE
    assert lake.refused("approve", {"proposal": proposal.id}, by="ada").startswith("who proposes does not approve")
    entry = lake.decided("approve", {"proposal": proposal.id}, by="bob")
    assert entry.kind == kind and lake.values("quarantine") == []
    proposed, approved = lake.decisions()
    assert (proposed["kind"], proposed["by"], proposed["rows"]) == ("propose", "ada", 3)
    assert (approved["kind"], approved["by"], approved["second"], approved["rows"]) == ("approve", "bob", "ada", 3)
    assert json.loads(approved["about"]) == {"proposal": proposal.id, **json.loads(proposed["about"])}
    assert HELD.items() <= json.loads(proposed["about"]).items()
    settled = f"the proposal is settled already by decision {approved['decision']}"
    assert lake.refused("approve", {"proposal": proposal.id}, by="cay") == settled
    assert lake.refused("decline", {"proposal": proposal.id}, by="cay") == settled
    assert_sound(lake)


def test_a_proposal_about_rows_that_are_others_by_now_is_not_carried_out(lake: Offline) -> None:
    proposal = lake.ask("propose", {"decision": "release", **HELD})
    lake.answer_all()
    lake.land(sent("ben", [500.0]), offset=1)
    assert lake.refused("approve", {"proposal": proposal.id}, by="bob") == "what you were shown has changed: 4 rows now"
    assert lake.decided("decline", {"proposal": proposal.id}, by="bob").kind == "decide"
    assert lake.refused("approve", {"proposal": proposal.id}, by="bob").startswith("the proposal is settled already")


@pytest.mark.usefixtures("mild")
def test_a_decision_is_about_the_rows_that_were_looked_at_and_not_about_as_many(lake: Offline) -> None:
    """One of the three is discarded meanwhile, and another comes: three again, but others."""
    seen = lake.fingerprint(HELD)
    proposal = lake.ask("propose", {"decision": "release", **HELD})
    row = next(row for row in lake.world.rows("sleep", view="quarantine") if row["value"] == 400.0)
    lake.ask("discard", {"rows": [number_of(row["key64"])], "expected": 1})
    assert len(lake.answer_all()) == 2
    lake.land(sent("ann", [500.0], start=NOON + DAY // 4), offset=1)
    others = "what you were shown has changed: as many rows, but not the same; look at them again"
    assert lake.refused("approve", {"proposal": proposal.id}, by="bob") == others
    assert lake.refused("release", {**HELD, "fingerprint": seen}) == others
    assert lake.refused("recall", {"check": "PL-01", "expected": 1, "fingerprint": seen}) == others
    assert lake.values("quarantine") == [401.0, 402.0, 500.0]
    lake.decided("release", HELD)


def test_rows_that_are_judged_anew_are_others(lake: Offline) -> None:
    """A replay with a corrected mapping keeps what was sent, and so the keys, and changes what it means."""
    proposal = lake.ask("propose", {"decision": "release", **HELD})
    lake.answer_all()
    before = lake.fingerprint(HELD)
    keys = {row["key64"] for row in lake.world.rows("sleep", view="quarantine")}
    lake.replay(sent("ann"))
    assert {row["key64"] for row in lake.world.rows("sleep", view="quarantine")} == keys
    assert lake.fingerprint(HELD) != before
    assert "look at them again" in lake.refused("approve", {"proposal": proposal.id}, by="bob")


def test_a_proposal_of_before_there_were_fingerprints_is_not_carried_out(lake: Offline) -> None:
    proposal = lake.ask("propose", {"decision": "release", **HELD})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.proposals.change", _as_it_was(proposals_module.change))
        lake.answer_all()
    told = lake.refused("approve", {"proposal": proposal.id}, by="bob")
    assert told == "the proposal does not say which rows were looked at: decline it, and propose anew"
    assert lake.decided("decline", {"proposal": proposal.id}, by="bob").kind == "decide"


def _as_it_was(change: Any) -> Any:
    def made(driver: Any, decision: Any, kind: Any, about: Any, **more: Any) -> Any:
        return change(driver, decision, kind, {k: v for k, v in about.items() if k != "fingerprint"}, **more)

    return made


def test_a_threshold_is_proposed_and_approved_by_another(lake: Offline) -> None:
    threshold = {"threshold": {"check": "PL-01", "warning": 0.01, "alarm": 0.05}}
    proposal = lake.ask("propose", threshold)
    lake.answer_all()
    assert lake.refused("approve", {"proposal": "0" * 32}, by="bob") == "there is no such proposal in this study"
    assert (
        lake.refused("approve", {"proposal": proposal.id}, by="bob", study="cycle")
        == "there is no such proposal in this study"
    )
    lake.decided("approve", {"proposal": proposal.id}, by="bob")
    proposed, approved = lake.decisions()
    assert proposed["check"] == approved["check"] == "PL-01"
    assert json.loads(approved["about"]) == {"proposal": proposal.id, **threshold}


def test_a_day_is_signed_off_once(lake: Offline) -> None:
    lake.decided("sign-off", {"day": "2025-03-14"})
    (row,) = lake.decisions()
    assert (row["kind"], json.loads(row["about"])) == ("sign-off", {"day": "2025-03-14"})
    assert (
        lake.refused("sign-off", {"day": "2025-03-14"}, by="bob")
        == f"the day is signed off already by decision {row['decision']}"
    )
    lake.decided("sign-off", {"day": "2025-03-15"})


def test_a_day_that_is_still_to_come_is_not_signed_off(lake: Offline) -> None:
    today = datetime.fromtimestamp(lake.now_us / 1e6, UTC).date()
    told = lake.refused("sign-off", {"day": (today + timedelta(days=1)).isoformat()})
    assert told == "the day is still to come: it is signed off once it has been seen"
    assert lake.refused("sign-off", {"day": "9999-12-31"}) == told
    lake.decided("sign-off", {"day": today.isoformat()})


# -- recall


def test_landed_rows_go_to_quarantine_and_are_decided_there(lake: Offline) -> None:
    entry = lake.decided("recall", {"check": "PL-01", "metric": "heart_rate", "expected": 1})
    assert (entry.kind, entry.cause["rows"]) == ("recall", 1)
    assert lake.values() == POSSIBLE and lake.values("quarantine") == sorted([245.0, *IMPOSSIBLE])
    (row,) = [row for row in lake.world.rows("sleep", view="quarantine") if row["recalled"] is not None]
    assert (row["recalled"], row["family"], row["value"]) == (entry.n, "observation", 245.0)
    assert_sound(lake)
    assert lake.refused("recall", {"check": "PL-01"}) == "there are no such rows in the study's tables"
    assert lake.land(sent("ann"), offset=7).cause["duplicate"] == 6
    lake.decided("release", {"rows": [number_of(row["key64"])], "expected": 1})
    (row,) = [row for row in lake.world.rows("sleep") if row["released"]]
    assert row["value"] == 245.0 and lake.values() == [60.0, 61.0, 245.0]
    assert_sound(lake)


def test_what_a_later_job_finds_is_chosen_by_what_it_found(lake: Offline) -> None:
    """The rows have no flag of the check; by the recall that found it they are shown, and two decide if it is critical."""
    found = {"check": "SQ-05", "metric": "heart_rate", "day": "2025-03-14"}
    assert not checks()["SQ-05"].mask
    lake.decided("recall", found, by="wellspring", reason="SQ-05: gaps")
    assert lake.values() == []
    lake.ask("recall", found, by="wellspring", reason="SQ-05: gaps")
    assert lake.answer_all() == [] and everything(lake.driver.store) == []
    assert lake.refused("recall", {"check": "SQ-05"}) == "this check flags no rows: say which rows are meant"
    with pytest.MonkeyPatch.context() as patch:
        critical = {**checks(), "SQ-05": checks()["SQ-05"].model_copy(update={"severity": Severity.CRITICAL})}
        patch.setattr("quality.chosen.checks", lambda: critical)
        assert lake.refused("release", {"check": "SQ-05", "expected": 3}).startswith("a critical check failed")
    lake.decided("release", {"check": "SQ-05", "expected": 3})
    assert lake.values() == [60.0, 61.0, 245.0]
    lake.ask("recall", found, by="wellspring", reason="SQ-05: gaps")
    assert lake.answer_all() == [], "people have decided about these"
    lake.decided("recall", {"metric": "heart_rate", "expected": 3})
    assert_sound(lake)


def test_a_job_takes_back_what_its_check_did_not_flag(lake: Offline) -> None:
    assert checks()["PL-06"].mask
    assert lake.refused("recall", {"check": "PL-06", "metric": "heart_rate"}).startswith("there are no such rows")
    lake.decided("recall", {"check": "PL-06", "metric": "heart_rate"}, by="wellspring")
    assert lake.values() == []
    assert lake.refused("release", {"check": "PL-06", "expected": 3}).startswith("a critical check failed")


# -- what is refused


@pytest.mark.parametrize(
    ("kind", "about", "words"),
    [
        ("release", {"expected": 3}, "it must say which rows are meant"),
        ("release", {"check": "PL-00"}, "expected: it is missing; it must be how many rows were seen, a whole number"),
        ("release", {"check": "PL-00", "expected": "3"}, "expected: it must be how many rows were seen, a whole number"),
        ("release", {"check": "PL-99", "expected": 3}, "there is no such check"),
        ("release", {"check": "PL-00", "expected": 3, "fingerprint": "zz"}, "fingerprint: it must be which rows were seen, 32"),
        ("release", {"check": 3, "expected": 3}, "check: it must be the id of a check"),
        ("release", {"metric": "somebody" * 40, "expected": 3}, "metric: it must be a text of 1 to 200 characters"),
        ("release", {"rows": ["somebody"], "expected": 1}, "rows: it must be numbers of rows, 16 hexadecimal digits each"),
        ("release", {"rows": ["0" * 16] * 1001, "expected": 1}, "at most 1000 rows are named one by one"),
        ("release", {"zq-somebody": 1, "check": "PL-00", "expected": 3}, "there is a field too many"),
        ("propose", {"decision": "erase", **HELD}, "decision: it must be release or discard"),
        ("propose", {"threshold": {"check": "PL-01", "warning": 2}}, "threshold: it must be a check and shares"),
        ("propose", {"threshold": {"check": "PL-01", "warning": 0.2, "alarm": 0.1}}, "threshold: it must be a check and shares"),
        ("propose", {"threshold": {"check": "PL-99", "warning": 0.2}}, "threshold: there is no such check"),
        ("propose", {"threshold": {"check": "PL-01", "warning": 0.2, "parameters": {"most": 1}}}, "the check has no such number"),
        ("propose", {"threshold": "somebody"}, "threshold: it must be a check and shares"),
        ("approve", {"proposal": "x"}, "proposal: it must be the id of a proposal"),
        ("sign-off", {"day": "somebody"}, "day: it must be a day, as 2026-01-31"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_the_field_and_not_the_value(
    still: Offline, kind: str, about: dict[str, Any], words: str
) -> None:
    told = still.refused(kind, about)
    assert told.startswith("what it is about is not understood: ") and words in told and "somebody" not in told
    assert not re.search(r"Value error|validation error|Input should|Field required|pydantic|String should", told)


def test_other_requests_that_are_no_decisions_are_refused(lake: Offline) -> None:
    assert lake.refused("release", HELD, study="other") == "it names a study that is not registered"
    assert lake.refused("release", {"check": "PL-02", "expected": 1}) == "there are no such rows in quarantine"
    complete = "a decision says its study, who decides, the reason, and what it is about"
    assert lake.refused("release", HELD, reason="  ") == complete
    assert lake.refused("release", HELD, by="Ada Lovelace") == complete


def test_nothing_about_one_person_is_in_a_request_or_the_ledger(lake: Offline) -> None:
    (pseudonym,) = {row["pseudonym"] for row in lake.world.rows("sleep")}
    asked = lake.ask("release", HELD, reason=f"all of {pseudonym}")
    lake.answer_all()
    found = lake.driver.store.get(asked.key) or b""
    assert b"its reason names a participant" in found
    proposal = lake.ask("propose", {"decision": "release", **HELD})
    lake.answer_all()
    lake.decided("approve", {"proposal": proposal.id}, by="bob")
    for key in lake.driver.store.list("_control/ledger/"):
        assert pseudonym.encode() not in (lake.driver.store.get(key) or b"")
    assert list(leaks_in_folder(lake.world.folder, lake.world.settings.lake)) == []


# -- kills


class KillAt:
    """Crashes where a step of that name is come to for the first time."""

    def __init__(self, step: str) -> None:
        self.step = step

    def __call__(self, step: str) -> None:
        if step == self.step:
            raise Crash(step)


@pytest.fixture(scope="module")
def asked_for(tmp_path_factory: pytest.TempPathFactory, landed: Path) -> Path:
    """A deployment in which somebody has just approved a release, and left a recall and the signing off of a day."""
    folder = tmp_path_factory.mktemp("asked") / "lake"
    shutil.copytree(landed, folder)
    lake = Offline(folder, there=True)
    proposal = lake.ask("propose", {"decision": "release", **HELD})
    lake.answer_all()
    lake.ask("approve", {"proposal": proposal.id}, by="bob")
    lake.ask("recall", {"check": "PL-01", "day": "2025-03-14", "expected": 4})
    lake.ask("sign-off", {"day": "2025-03-14"})
    lake.close()
    return folder


STEPS = (
    *("planned", "ran", "manifest", "append.checked", "append.done"),
    *("apply.table", "apply.committed", "apply.synced", "apply.done", "told"),
)


@pytest.mark.parametrize(
    ("step", "decision"),
    [*((step, 0) for step in STEPS), *((step, later) for step in ("manifest", "append.done") for later in (1, 2))],
)
def test_a_kill_at_any_step_decides_exactly_once(tmp_path: Path, asked_for: Path, step: str, decision: int) -> None:
    """A second driver comes and brings to its end what the first was at, and then the rest."""
    folder = tmp_path / "lake"
    shutil.copytree(asked_for, folder)
    killed = Offline(folder, there=True)
    for _ in range(decision):
        answer_next(killed.driver)
    killed.driver.on_step = KillAt(step)
    with pytest.raises(Crash):
        answer_next(killed.driver)
    killed.driver.on_step = lambda step: None
    killed.close()
    lake = Offline(folder, there=True)
    lake.answer_all()
    assert [row["kind"] for row in lake.decisions()] == ["propose", "approve", "recall", "sign-off"]
    assert everything(lake.driver.store) == []
    assert (lake.values(), lake.values("quarantine")) == (POSSIBLE, sorted([245.0, *IMPOSSIBLE]))
    kinds = [entry.kind for entry in lake.world.entries("release", "recall", "decide")]
    assert kinds == ["decide", "release", "recall", "decide"]
    assert_sound(lake)
    lake.close()


def test_what_stewards_have_released_is_not_taken_back_by_the_correction_of_another_result(lake: Offline) -> None:
    driver = lake.driver

    def put(**columns: Any) -> None:
        count, at = len(columns["record64"]), (driver.ledger.next_n, driver.ledger.epoch)
        content = made_rows(LAB_RESULT, count, entry=[at[0]] * count, **columns)
        file = publish(driver.store, content, "study=sleep/lab_result", "2025-01", *at)
        driver.note(Kind.INGEST, {}, {"study=sleep/lab_result": TableChange(add=(file,))})

    def recalled() -> list[int]:
        ask(driver.ledger, "recall", {"study": "sleep"}, lake.now_us)
        lake.answer_all()
        return sorted(row["key64"] for row in lake.world.rows("sleep", view="lab_result"))

    put(record64=[7, 7], revision=[0, 1], status=["F", "D"], key64=[1, 2])
    assert recalled() == [2]
    put(record64=[7], revision=[0], status=["F"], key64=[1], released=[driver.ledger.next_n])
    put(record64=[8, 8], revision=[0, 1], status=["F", "D"], key64=[3, 4])
    assert recalled() == [1, 2, 4]
    put(record64=[7], revision=[2], status=["D"], key64=[5])
    assert recalled() == [4, 5]
