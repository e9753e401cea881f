"""`wellspring quarantine`: the desk without a browser, with the same rights, requests and audit."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from pipelines.commands import asking
from pipelines.entries import RequestRefused
from pipelines.requests import FOLDER, everything
from quality.chosen import number_of
from tests.canaries import member, subject
from tests.offline import Offline
from tests.readings import grant, linked, message
from tests.worlds import Ended

pytestmark = pytest.mark.usefixtures("cheap_sessions")
PASSWORD = "a long password"
ROLES = {"vic": "viewer", "ada": "steward", "bob": "approver"}


@pytest.fixture(scope="module")
def password() -> str:
    """Its hash, a cheap one."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory, password: str) -> Path:
    """A deployment with users: one flagged reading landed, three are held back."""
    folder = tmp_path_factory.mktemp("landed") / "lake"
    made = Offline(folder)
    made.consent(linked(subject("ann"), member("ann")), grant(member("ann")))
    made.land(message(subject("ann"), [60.0, 245.0, 400.0, 401.0, 402.0]))
    made.close()
    users = [{"name": name, "password": password, "studies": {"sleep": role}} for name, role in ROLES.items()]
    (folder / "users.yaml").write_text(json.dumps({"users": users}), encoding="utf-8")
    return folder


@pytest.fixture
def lake(tmp_path: Path, landed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offline]:
    """A copy of it that is the test's own; whoever waits for the driver has it at hand."""
    shutil.copytree(landed, tmp_path / "lake")
    made = Offline(tmp_path / "lake", there=True)
    monkeypatch.setenv("WELLSPRING_STEWARD_PASSWORD", PASSWORD)

    def at_once(settings: Any, watch: Any, tell: Any) -> None:
        made.answer_all()
        for entry in watch.look():
            tell(entry)
        if watch.refused:
            raise RequestRefused(watch.refused)

    monkeypatch.setattr(asking, "await_answer", at_once)
    yield made
    made.close()


def typed(lake: Offline, words: str, *more: str, by: str = "ada") -> Ended:
    return lake.world.execute("quarantine", *words.split(), *more, "--study", "sleep", "--by", by)


def listed(lake: Offline, words: str, *more: str, **who: str) -> list[dict[str, Any]]:
    said = typed(lake, words, *more, "--json", **who)
    assert said.returncode == 0, said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


def audited(lake: Offline) -> list[tuple[str, str]]:
    from pipelines.lake_desk import LakeDesk

    desk = LakeDesk(lake.world.settings)
    try:
        return [(seen.by, seen.what) for seen in desk.audited("sleep")]
    finally:
        desk.close()


def test_a_list_counts_by_check_and_of_too_few_people_nothing(lake: Offline) -> None:
    where = {"metric": "heart_rate", "partner": "acme", "device_model": None, "day": "2025-03-14"}
    assert listed(lake, "list", by="vic") == [{"check": name, **where, "rows": None} for name in ("PL-00", "PL-01")]
    assert "fewer than 10 people" in typed(lake, "list", by="vic").stderr
    registry = lake.world.settings.studies
    registry.write_text(registry.read_text().replace("- id: sleep", "- id: sleep\n  smallest_cell: 2"))
    lake.consent(linked(subject("ben"), member("ben")), grant(member("ben")))
    lake.land(message(subject("ben"), [403.0]), offset=1)
    told = [{"check": name, **where, "rows": 5} for name in ("PL-00", "PL-01")]
    assert listed(lake, "list", by="ada") == told, "they are 4, of whom one person has 3: told by such steps"
    lake.decided("recall", {"check": "SQ-05", "metric": "heart_rate"}, by="wellspring")
    assert ("SQ-05", None) in [(row["check"], row["rows"]) for row in listed(lake, "list", by="ada")]
    assert audited(lake) == []


def test_rows_are_shown_to_stewards_and_that_is_noted(lake: Offline) -> None:
    rows = listed(lake, "show --where check=PL-00 --limit 2")
    assert [row["value"] for row in rows] == [400.0, 401.0] and len(rows[0]["row"]) == 16
    assert audited(lake) == [("ada", "rows")]
    assert typed(lake, "show", by="vic").returncode == 1
    assert audited(lake) == [("ada", "rows")]


def test_a_row_is_recalled_released_and_listed_among_the_decisions(lake: Offline) -> None:
    said = typed(lake, "recall --where check=PL-01 --expected 1", "--reason", "loose")
    assert said.returncode == 0 and said.stderr.endswith("recall: 1 rows\n"), said.stderr
    key = next(row["key64"] for row in lake.world.rows("sleep", view="quarantine") if row["value"] == 245.0)
    said = typed(lake, f"release --where row={number_of(key)} --expected 1 --reason seen")
    assert said.returncode == 0 and "release: 1 rows released\n" in said.stderr, said.stderr
    assert [(row["kind"], row["by"], row["reason"]) for row in listed(lake, "decisions", by="vic")] == [
        ("recall", "ada", "loose"), ("release", "ada", "seen"),
    ]  # fmt: skip
    noted = ["release", "preview", "recall", "preview"]
    assert audited(lake) == [("ada", what) for what in noted]


def test_of_how_many_rows_and_which_a_decision_was_a_viewer_is_not_told(lake: Offline) -> None:
    key = next(row["key64"] for row in lake.world.rows("sleep", view="quarantine") if row["value"] == 400.0)
    said = typed(lake, f"propose discard --where row={number_of(key)} --expected 1 --reason no")
    assert said.returncode == 0, said.stderr
    (of_steward,), (of_viewer,) = (listed(lake, "decisions", by=name) for name in ("ada", "vic"))
    assert of_steward["rows"] == 1 and json.loads(of_steward["about"])["rows"] == [number_of(key)]
    assert "rows" not in of_viewer and json.loads(of_viewer["about"]) == {"decision": "discard"}
    assert of_viewer["decision"] == of_steward["decision"] and of_viewer["reason"] == "no"


def test_of_a_part_of_what_waits_a_viewer_is_told_no_number(lake: Offline) -> None:
    """A part less another part may be a few people, and the desk divides by other things than the command."""
    registry = lake.world.settings.studies
    registry.write_text(registry.read_text().replace("- id: sleep", "- id: sleep\n  smallest_cell: 2"))
    lake.consent(linked(subject("ben"), member("ben")), grant(member("ben")))
    lake.land(message(subject("ben"), [403.0]), offset=1)
    for where, by, rows in (
        ("", "ada", 5),
        ("", "vic", None),
        ("--where check=PL-00", "ada", 5),
        ("--where check=PL-00", "vic", None),
        ("--where day=2025-03-14", "vic", None),
    ):
        assert {row["rows"] for row in listed(lake, f"list {where}", by=by)} == {rows}, (where, by)


def test_a_steward_declines_their_own_proposals_only_and_an_approver_any(lake: Offline) -> None:
    def proposed(by: str) -> str:
        (entry,) = listed(lake, "propose discard --where check=PL-00 --expected 3 --reason no", by=by)
        return str(entry["cause"]["request"]["id"])

    of_bob, of_ada, another_of_ada = proposed("bob"), proposed("ada"), proposed("ada")
    said = typed(lake, f"decline {of_bob} --reason no", by="ada")
    assert said.returncode == 1 and "an approver, or who has proposed it" in said.stderr
    assert ("ada", "decline") not in audited(lake)
    assert typed(lake, f"decline {of_ada} --reason no", by="ada").returncode == 0
    assert typed(lake, f"decline {another_of_ada} --reason no", by="bob").returncode == 0


def test_two_people_decide_what_is_critical(lake: Offline) -> None:
    said = typed(lake, "discard --where check=PL-00 --expected 3 --reason no")
    assert said.returncode == 1 and "wellspring quarantine propose discard" in said.stderr
    (entry,) = listed(lake, "propose discard --where check=PL-00 --expected 3 --reason no")
    assert entry["kind"] == "decide"
    proposal = entry["cause"]["request"]["id"]
    assert typed(lake, f"approve {proposal} --reason yes", by="ada").returncode == 1  # no approver
    (entry,) = listed(lake, f"approve {proposal} --reason yes", by="bob")
    assert (entry["kind"], entry["cause"]["rows"]) == ("discard", 3)
    assert typed(lake, f"decline {proposal} --reason no", by="bob").returncode == 1
    assert lake.values("quarantine") == []


def test_a_dry_run_says_what_would_change_and_changes_nothing(lake: Offline) -> None:
    (found,) = listed(lake, "release --where check=PL-00 --reason x --dry-run")
    assert found == {
        "rows": 3, "fingerprint": lake.fingerprint({"check": "PL-00"}),
        "people": None, "needs_two": True, "by_check": {"PL-00": 3, "PL-01": 3},
        "by_metric": {"heart_rate": 3}, "by_day": {"2025-03-14": 3},
    }  # fmt: skip
    said = typed(lake, "recall --where metric=heart_rate --reason x --dry-run")
    assert "recall would be about 2 rows, too few to say of how many people\n" in said.stderr
    assert not list(lake.driver.store.list(FOLDER))
    assert audited(lake) == [("ada", "preview")] * 2  # it was shown


def test_without_a_number_and_a_terminal_nothing_is_decided(lake: Offline) -> None:
    said = typed(lake, "propose release --where check=PL-00 --reason x")
    assert said.returncode == 1 and "look with --dry-run, then say --expected 3" in said.stderr
    said = typed(lake, "propose release --where check=PL-00 --reason x --expected 4")
    assert said.returncode == 1 and "what you were shown has changed: 3 rows now" in said.stderr
    said = typed(lake, f"propose release --where check=PL-00 --reason x --expected 3 --fingerprint {'0' * 32}")
    assert said.returncode == 1 and "not the same; look at them again" in said.stderr
    assert typed(lake, "recall --where check=PL-02 --reason x --expected 4").returncode == 1
    said = typed(lake, f"recall --where check=PL-01 --reason {'A2' * 13} --expected 1")
    assert said.returncode == 1 and "the reason names a participant" in said.stderr
    assert {what for _, what in audited(lake)} == {"preview"}
    assert not list(lake.driver.store.list(FOLDER))


def test_what_was_looked_at_is_what_is_asked_for(lake: Offline) -> None:
    said = typed(lake, "propose release --where check=PL-00 --reason x --dry-run").stderr
    fingerprint = lake.fingerprint({"check": "PL-00"})
    assert f"--fingerprint {fingerprint}\n" in said
    listed(lake, f"propose release --where check=PL-00 --reason x --fingerprint {fingerprint}")
    (row,) = lake.decisions()
    assert json.loads(row["about"])["fingerprint"] == fingerprint
    (of_viewer,) = listed(lake, "decisions", by="vic")
    assert fingerprint not in json.dumps(of_viewer)


def test_a_request_is_left_for_a_driver_that_comes(lake: Offline) -> None:
    (said,) = listed(lake, "replay --where check=PL-00 --reason x --expected 3 --no-wait")
    (asked,) = everything(lake.driver.store)
    assert said["id"] == asked.id and asked.request is not None
    seen = {"expected": 3, "fingerprint": lake.fingerprint({"check": "PL-00"})}
    assert asked.request.selection == {
        "study": "sleep", "by": "ada", "reason": "x", "about": {"check": "PL-00", **seen},
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        "release --where check=PL-00 --reason x --expected 3",
        "recall --where check=PL-01 --reason x --expected 1",
        "replay --where check=PL-00 --reason x --expected 3",
        "propose release --where check=PL-00 --reason x --expected 3",
        f"approve {'0' * 32} --reason x",
        f"decline {'0' * 32} --reason x",
        "show",
    ],
)
def test_a_viewer_decides_nothing(lake: Offline, words: str) -> None:
    said = typed(lake, words, by="vic")
    assert said.returncode == 1 and "you may not do this in that study" in said.stderr
    assert not list(lake.driver.store.list(FOLDER)) and audited(lake) == []


def test_nobody_sees_anything_of_another_study_nor_whether_there_is_one(lake: Offline) -> None:
    told = {
        lake.world.execute("quarantine", "list", "--study", study, "--by", "bob").stderr
        for study in ("cycle", "no-such")
    }
    assert len(told) == 1 and "you may not do this in that study" in told.pop()


def test_a_wrong_password_opens_nothing(lake: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLSPRING_STEWARD_PASSWORD", "another password")
    told = {typed(lake, "list", by=name).stderr for name in ("ada", "nobody")}
    assert told == {"wellspring: no user has this name and password\n"}
    monkeypatch.delenv("WELLSPRING_STEWARD_PASSWORD")
    assert "set WELLSPRING_STEWARD_PASSWORD" in typed(lake, "list").stderr


@pytest.mark.parametrize("where", ["", "check", "checks=PL-00", "rows=1", "check=PL-99", "day=x", "row=x"])
def test_what_names_no_rows_is_wrong_usage(lake: Offline, where: str) -> None:
    said = typed(lake, "release --reason x", *(["--where", where] if where else []))
    assert said.returncode == 2 and not list(lake.driver.store.list(FOLDER))
